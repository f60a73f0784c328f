"""The contract of an engine: an isolated place with our agent running in it, and a duplex byte stream to that agent.

Nothing else is asked of an engine. Cells, commands, files, usage and interrupts are messages on the stream
(:mod:`chorus_nb.agent.wire`), so no port is published, nothing is polled, and a second engine is a small file.
The one exception is for images without Python, in which no agent can run: :meth:`Container.exec`.

The life of a sandbox, from here::

    image = engine.resolve(config.image)              # which interpreter, which mounts
    container = engine.create(spec)                   # created and attached, not started
    container.start()                                 # the interpreter runs spec.command
    container.stream.send(...) / container.stream.receive()
    container.remove()                                # always, also after any failure; may be called twice
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..config import NetworkPolicy, ResourceLimits, SecurityPolicy

WORKSPACE = "/workspace"
"""Where the repository is mounted, and the working directory of every cell."""

GIT_DIRECTORY = "/workspace.git"
"""Where the repository's git directory is mounted, where that lies outside of the repository's folder."""

AGENT_SOCKET = "/chorus-nb.sock"
"""Where an engine may have put a socket that the agent is to use in place of its standard streams."""

HOME = "/home/sandbox"
"""The home folder of the code in the sandbox: a tmpfs."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host, bound into the container at ``target``."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the engine, mounted into the container at ``target``.

    Attributes
    ----------
    target : str
    name : str
        What the engine keeps it as, also when the container is gone; empty for one that goes with its container.
    read_only : bool
    driver_options : mapping of str to str
        ``type``, ``device`` and ``o`` of the engine's ``local`` driver, as mount(8) has them; empty for a folder.
    """

    target: str
    name: str = ""
    read_only: bool = False
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mask:
    """A path in a mounted folder at which nothing is to be seen: the null device, or an empty folder, lies over it."""

    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image as the engine will run it.

    Attributes
    ----------
    reference : str
        What to create the container from.
    interpreters : tuple of str
        Programs to try as Python, the likeliest first.
    mounts : tuple of Mount
        What the image needs from the host: empty but for the mirror.
    environment : mapping of str to str
        Variables the interpreter needs.
    world_readable : bool
        Whether any user may read the interpreter: False forces the notebook's own user.
    volumes : tuple of str
        Folders that the image declares as volumes: the engine covers them with empty ones of limited size.
    """

    reference: str
    interpreters: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    world_readable: bool = True
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineHost:
    """The machine that an engine runs containers on, as far as their locks depend on it.

    Attributes
    ----------
    security_modules : frozenset of str
        What the engine uses there, of ``seccomp``, ``apparmor``, ``selinux``, ``userns`` and ``rootless``.
    kernel_release : str
        ``uname -r`` there; empty where it does not say.
    socket : str
        The path of the socket that the engine answers on; empty where that is none.
    shares_files : bool
        Whether its file system is this process's own, so that paths mean the same in both.
    """

    security_modules: frozenset[str] = frozenset()
    kernel_release: str = ""
    socket: str = ""
    shares_files: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """All an engine needs to know to create one container.

    ``arguments`` follow the interpreter on its command line. ``mounts`` already include the image's.
    ``user`` is ``UID:GID``. ``working_dir`` is where the cells run; the process itself starts in ``/``.
    A ``keeper`` is a main process that only keeps the container, for :meth:`Container.exec`: it runs as another user,
    :meth:`keeper_user`, so that code in the container can't signal or trace it, and below an init that reaps.
    """

    session_name: str
    image: ResolvedImage
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_dir: str
    user: str
    mounts: tuple[Mount, ...]
    limits: ResourceLimits
    network: NetworkPolicy
    security: SecurityPolicy
    labels: Mapping[str, str]
    keeper: bool = False
    seccomp_profile: str = ""
    """The JSON text of the profile, where ``security.seccomp`` names a file."""
    host: EngineHost = EngineHost()
    git_fixed: tuple[str, ...] = ()
    """Paths on this machine that its git takes settings from, and that the sandbox is not to change."""
    volumes: tuple[Volume, ...] = ()
    masks: tuple[Mask, ...] = ()
    umask: str = "022"
    git_credentials: bool = False
    """Whether git in it may ask the host for credentials, by the proxy of the agent."""
    agent_token: str = ""
    """What the agent says first where it connects to :data:`AGENT_SOCKET`: nobody else knows it."""
    git_notes: tuple[str, ...] = ()
    """What of git does not work in it, and why, for people; the engine has nothing to do with it."""

    @property
    def keeper_user(self) -> str:
        """``UID:GID`` that is neither root nor ``user``."""
        return "65533:65533" if self.user.partition(":")[0] != "65533" else "65532:65532"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine says of a container."""

    status: Literal["created", "running", "paused", "exited", "removed"]
    exit_code: int | None = None
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine can do. Asking for something an engine lacks is an error, never a silent lack."""

    name: str
    isolation: bool
    """False: code runs as an ordinary process of this user, for tests only."""
    limits: bool
    """Whether memory, CPU and process limits are enforced."""
    mirror: bool
    """Whether the notebook's own interpreter can be mounted: a local engine on Linux."""
    repository_mounts: bool
    """Whether the repository is mounted at :data:`WORKSPACE`; otherwise it is used where it lies."""
    unsupported: Mapping[str, str] = field(default_factory=dict)
    """Options that can't be had here, each with the reason; asking for one is an error before anything is created."""
    runtimes: tuple[str, ...] = ()
    """OCI runtimes that a container may name; empty where it can't choose."""
    host: EngineHost = EngineHost()
    """Where its containers run."""
    overlays: bool = False
    """Whether a volume can be an overlay of folders that this process has on this machine."""
    overlay_owner: str = ""
    """``UID:GID`` of the only user whose overlay it can mount; empty for any."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Versions and drivers, for people."""


class ByteStream(ABC):
    """The duplex stream to the agent: its standard input and output."""

    @abstractmethod
    def send(self, data: bytes | memoryview) -> None:
        """Write all of ``data``, blocking. Raises ``ConnectionError`` once the container is gone."""

    @abstractmethod
    def receive(self) -> bytes:
        """Return the next bytes, blocking; ``b""`` at the end of the stream. Raises nothing else for a dead peer."""

    @abstractmethod
    def close(self) -> None:
        """End both directions and wake a blocked :meth:`receive`. May be called twice and from any thread."""

    @property
    @abstractmethod
    def diagnostics(self) -> str:
        """The last few KiB the container wrote to its standard error: why an agent that never spoke did not start."""


class ContainerProcess(ABC):
    """A program that was started in a running container, beside its main process."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Write to its standard input. Raises ``ConnectionError`` once it is gone."""

    @abstractmethod
    def receive(self) -> tuple[str, bytes] | None:
        """Return the next bytes after ``stdout`` or ``stderr``, blocking; None at the end, also of the container."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """Return its exit status as a shell counts it, once both streams have ended; None where nobody knows."""

    @abstractmethod
    def close(self) -> None:
        """Let go of its streams and wake a blocked :meth:`receive`; the program itself may go on."""


class Container(ABC):
    """One created container, attached before it starts so that no byte is lost."""

    id: str
    stream: ByteStream
    keeps_quota: bool = False
    """Whether the engine itself keeps what is written to the image's file system to ``disk_bytes``."""

    @abstractmethod
    def start(self) -> None:
        """Start it. Raises an ``EngineError`` or ``ImageError``; the caller then removes the container."""

    @abstractmethod
    def exec(self, argv: Sequence[str], *, user: str, working_dir: str = "/", stdin: bool = False) -> ContainerProcess:
        """Start a program in it, under the same policy: its environment, limits and locks.

        Parameters
        ----------
        argv : sequence of str
            The program and its arguments.
        user : str
            ``UID:GID``.
        working_dir : str
        stdin : bool
            Whether it gets a standard input; else that is empty.

        Raises
        ------
        EngineError
            It was not started.
        """

    @abstractmethod
    def inspect(self) -> ContainerState:
        """Ask the engine; a container that is gone is ``removed``, not an error."""

    def layer_bytes(self) -> int:
        """Return what was written to the image's file system, and is still there. Raises ``EngineError``."""
        return 0  # Nothing, where the image takes no writes.

    def limits_outside(self) -> Mapping[str, Any]:
        """Return what an agent reports of its cgroup, as the machine has it while the container runs.

        Asked where a runtime shows the container no cgroup. Empty where that can't be seen from here either.
        """
        return {}

    @abstractmethod
    def kill(self) -> None:
        """End all its processes at once. A container that is gone already is fine."""

    @abstractmethod
    def remove(self) -> None:
        """Kill and remove it and close its stream. A container that is gone already is fine."""

    def abandon(self) -> None:
        """Let go of it where its engine does not answer; an engine that lasts removes it when it does again."""
        self.stream.close()


class Engine(ABC):
    """Where containers come from. Safe to use from several threads."""

    @abstractmethod
    def capabilities(self) -> EngineCapabilities:
        """Ask the engine what it can do. Raises ``EngineNotFoundError`` or ``EnginePermissionError``."""

    @abstractmethod
    def resolve(self, image: str) -> ResolvedImage:
        """Find the image. Raises ``ImageNotFoundError``; never pulls."""

    @abstractmethod
    def create(self, spec: ContainerSpec) -> Container:
        """Create and attach, without starting. Leaves nothing behind when it raises."""

    @abstractmethod
    def owned(self) -> list[tuple[str, Mapping[str, str]]]:
        """Return id and labels of every container that carries :data:`OWNER_LABEL`, in any state."""

    def make_volume(
        self, name: str, labels: Mapping[str, str], user: str, image: ResolvedImage, archive: Iterable[bytes]
    ) -> None:
        """Make a volume that is kept under a name until it is removed, for ``user`` and with what is in an archive.

        Parameters
        ----------
        name : str
        labels : mapping of str to str
        user : str
            ``UID:GID``, who owns its root.
        image : ResolvedImage
            Any: nothing of it is run.
        archive : iterable of bytes
            A tar archive of what to put into it.

        Raises
        ------
        EngineError
            Nothing is left of it.
        """
        raise NotImplementedError  # Of an engine without mounts nobody asks it, nor the next two.

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container has. One that is gone already is fine. Raises ``EngineError``."""
        raise NotImplementedError

    def owned_volumes(self) -> list[tuple[str, Mapping[str, str]]]:
        """Return name and labels of every volume that carries :data:`OWNER_LABEL`. Raises ``EngineError``."""
        return []

    def empty_work(self, volume: Volume) -> None:
        """Mount an overlay and unmount it again: its kernel empties the overlay's work folder, which only root can.

        Raises
        ------
        EngineError
        """
        raise NotImplementedError  # Of an engine without overlays nobody asks it.

    @abstractmethod
    def remove_id(self, container_id: str) -> None:
        """Force the removal of a container by id. One that is gone already is fine."""


OWNER_LABEL = "chorus-nb.owner"
"""``MACHINE/BOOT-ID/PID-NAMESPACE/PID/START-TIME`` of the process that the container belongs to."""

VOLUME_LABEL = "chorus-nb.volume"
"""On volumes that outlive a session: the name that the user has given one."""

VOLUME_PREFIX = "chorus-nb-"
"""What such a volume's name begins with in the engine."""

SESSION_LABEL = "chorus-nb.session"
