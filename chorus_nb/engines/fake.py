"""No isolation: the agent as a plain child process, for tests that need no engine."""

from __future__ import annotations

import os
import platform
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..config import MIRROR, SecurityPolicy
from ..errors import ConfigurationError, EngineError, ImageNotFoundError, ImageUnsupportedError
from .attach import RECEIVE_BYTES, Tail
from .base import (
    OWNER_LABEL,
    SESSION_LABEL,
    ByteStream,
    Container,
    ContainerProcess,
    ContainerSpec,
    ContainerState,
    Engine,
    EngineCapabilities,
    ResolvedImage,
)
from .owner import owner_label

FAKE = "fake"
"""The other name, besides ``mirror``, of the only image there is."""

_REFUSED = ("runtime", "masked_paths", "read_only_paths", "seccomp")
"""Of the locks, which are none here at all, those that nobody asks for without meaning them."""

_MARK = "CHORUS_NB_FAKE_CONTAINER"
"""The variable by which processes are found that have left the agent's session and family."""

_KILL_TIMEOUT_S = 5.0
_POLL_S = 0.05
_PROC = Path("/proc")


class FakeEngine(Engine):
    """NO ISOLATION: what runs here can read, change and delete everything you can.

    It runs the same agent as the real engines, as a plain child process of this one with this interpreter: no
    container, no limits, no other file system, the same network. It is there for unit tests, yours as well as ours, on
    machines without an engine. Never give it code that you would not run yourself.
    """

    def __init__(self) -> None:
        self._containers: dict[str, FakeContainer] = {}
        self._lock = threading.Lock()

    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities(
            name=FAKE,
            isolation=False,
            limits=False,
            mirror=False,
            repository_mounts=False,
            unsupported=dict.fromkeys(_REFUSED, "it isolates nothing"),
            details={"version": platform.python_version(), "isolation": "none: a plain process"},
        )

    def resolve(self, image: str) -> ResolvedImage:
        if image not in (MIRROR, FAKE):
            raise ImageNotFoundError(
                f"The fake engine has no image {image!r}.",
                next_step=f"It only runs the notebook's own interpreter: use {MIRROR!r}, or a real engine.",
            )
        return ResolvedImage(reference=FAKE, interpreters=(sys.executable,))

    def create(self, spec: ContainerSpec) -> Container:
        default = SecurityPolicy()
        if asked := [name for name in _REFUSED if getattr(spec.security, name) != getattr(default, name)]:
            raise ConfigurationError(
                f"{', '.join(asked)} can't be had of the fake engine, which isolates nothing.",
                next_step="Leave it out, or use a real engine.",
            )
        container = FakeContainer(spec, self._forget)
        with self._lock:
            self._containers[container.id] = container
        return container

    def owned(self) -> list[tuple[str, Mapping[str, str]]]:
        with self._lock:
            return [(each.id, each.labels) for each in self._containers.values()]

    def remove_id(self, container_id: str) -> None:
        with self._lock:
            container = self._containers.get(container_id)
        if container is not None:
            container.remove()

    def _forget(self, container_id: str) -> None:
        with self._lock:
            self._containers.pop(container_id, None)


class FakeContainer(Container):
    """A child process, in a session of its own, with an empty home folder."""

    def __init__(self, spec: ContainerSpec, on_remove: Callable[[str], None]) -> None:
        self.id = secrets.token_hex(32)
        self.labels = {OWNER_LABEL: owner_label(), SESSION_LABEL: spec.session_name, **spec.labels}
        self._spec = spec
        self._on_remove = on_remove
        self._process: subprocess.Popen[bytes] | None = None
        self._kill_lock = threading.Lock()
        self._removed = False
        self._kill_lock = threading.Lock()
        self._home = tempfile.mkdtemp(prefix="chorus-nb-fake-")
        pipes = [os.pipe() for _ in range(3)]
        self._child_ends = [pipes[0][0], pipes[1][1], pipes[2][1]]
        self.stream = PipeStream(stdin=pipes[0][1], stdout=pipes[1][0], stderr=pipes[2][0])

    def start(self) -> None:
        program = self._spec.image.interpreters[0]
        stdin, stdout, stderr = self._child_ends
        try:
            self._process = subprocess.Popen(
                [program, *self._spec.arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise ImageUnsupportedError(f"{program} can't be run: {error}.", next_step="Install it again.") from error
        finally:
            self._close_child_ends()

    def _environment(self) -> dict[str, str]:
        """Pass on none of this process's variables but where programs are."""
        own = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        return {**own, **self._spec.image.environment, **self._spec.environment, "HOME": self._home, _MARK: self.id}

    def _close_child_ends(self) -> None:
        while self._child_ends:
            os.close(self._child_ends.pop())

    def exec(self, argv: Sequence[str], *, user: str, working_dir: str = "/", stdin: bool = False) -> ContainerProcess:
        if self.inspect().status != "running":
            raise EngineError("The container is not running.", next_step="Run the cell again to start a new one.")
        return FakeProcess(argv, working_dir, self._environment(), stdin)

    def inspect(self) -> ContainerState:
        if self._removed:
            return ContainerState("removed")
        if self._process is None:
            return ContainerState("created")
        with self._kill_lock:  # Looking also reaps, and then the number is nobody's.
            exit_code = self._process.poll()
        if exit_code is None:
            return ContainerState("running")
        # As a shell and an engine count it: 128 plus the signal.
        return ContainerState("exited", exit_code if exit_code >= 0 else 128 - exit_code)

    def layer_bytes(self) -> int:
        return 0  # There is no image, and so no file system of one.

    def kill(self) -> None:
        with self._kill_lock:
            if self._process is not None:
                self._kill(self._process)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        # Until it is waited for, even a dead process keeps its number, so nobody else's processes are meant by it.
        root = process.pid if process.returncode is None else None
        if root is not None:
            # Stopped, it can neither start more children nor end and leave them to somebody else.
            os.kill(root, signal.SIGSTOP)
        _kill_all(lambda: _relatives(root, self.id))
        if root is not None:
            os.killpg(root, signal.SIGKILL)
        process.wait()

    def remove(self) -> None:
        self.stream.close()
        self._close_child_ends()
        self.kill()
        self._removed = True
        shutil.rmtree(self._home, ignore_errors=True)
        self._on_remove(self.id)


class FakeProcess(ContainerProcess):
    """One more child process, in a session of its own and as this user."""

    def __init__(self, argv: Sequence[str], working_dir: str, environment: Mapping[str, str], stdin: bool) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=working_dir,
            env=environment,
            start_new_session=True,
        )
        self._closed = threading.Event()
        pipes = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        self._open = {name: pipe for name, pipe in pipes.items() if pipe}

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
        except (OSError, ValueError) as error:
            raise ConnectionError("the program is gone") from error

    def receive(self) -> tuple[str, bytes] | None:
        while self._open and not self._closed.is_set():
            ready, _, _ = select.select(self._open.values(), (), (), _POLL_S)
            for name in [name for name, pipe in self._open.items() if pipe in ready]:
                if piece := os.read(self._open[name].fileno(), RECEIVE_BYTES):
                    return name, piece
                self._open.pop(name).close()
        return None

    def exit_code(self) -> int | None:
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        self._closed.set()


class PipeStream(ByteStream):
    """The stream over three pipes, which it owns from now on."""

    def __init__(self, *, stdin: int, stdout: int, stderr: int) -> None:
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._wake, self._wake_up = os.pipe()
        for descriptor in (stdin, stdout, stderr):
            os.set_blocking(descriptor, False)
        self._readable = select.poll()
        for descriptor in (stdout, stderr, self._wake):
            self._readable.register(descriptor, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(stdin, select.POLLOUT)
        self._writable.register(self._wake, select.POLLIN)
        self._tail = Tail()
        self._closed = False
        self._close_lock, self._send_lock, self._receive_lock = threading.Lock(), threading.Lock(), threading.Lock()

    def send(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        with self._send_lock:
            while view:
                if not self._closed:
                    self._writable.poll()
                if self._closed:
                    raise ConnectionError("the stream to the container is closed")
                with suppress(BlockingIOError):
                    view = view[os.write(self._stdin, view) :]

    def receive(self) -> bytes:
        with self._receive_lock:
            while not self._closed:
                ready = {descriptor for descriptor, _ in self._readable.poll()}
                if self._stderr in ready:
                    self._read_stderr()
                if self._stdout in ready and not self._closed:
                    return os.read(self._stdout, RECEIVE_BYTES)
            return b""

    def _read_stderr(self) -> None:
        if piece := os.read(self._stderr, RECEIVE_BYTES):
            self._tail.append(piece)
        else:
            self._readable.unregister(self._stderr)

    def close(self) -> None:
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
            os.write(self._wake_up, b"x")
        # Only once nobody waits on them: a number that is closed under a waiting thread may soon mean another file.
        with self._send_lock, self._receive_lock:
            for descriptor in (self._stdin, self._stdout, self._stderr, self._wake, self._wake_up):
                os.close(descriptor)

    @property
    def diagnostics(self) -> str:
        return str(self._tail)


def _kill_all(find: Callable[[], list[int]]) -> None:
    """Kill what ``find`` returns until it finds nothing more: what was killed may have started something before."""
    give_up_at = time.monotonic() + _KILL_TIMEOUT_S
    while (processes := find()) and time.monotonic() < give_up_at:
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.002)


def _relatives(root: int | None, mark: str) -> list[int]:
    """Return the living processes that descend from ``root``, are in its session, or carry the mark; not ``root``."""
    if not _PROC.is_dir():
        return []
    table = {pid: fields for pid, *fields in _processes()}
    found = []
    for pid, (parent, session) in table.items():
        family = root is not None and (session == root or root in _ancestors(parent, table))
        if pid not in (root, os.getpid()) and (family or _is_marked(pid, mark)):
            found.append(pid)
    return found


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield process, parent and session of everything that runs: fields 1, 4 and 6 of ``/proc/PID/stat`` (proc(5))."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent, _, session, *_ = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if state not in "ZX":
                    yield int(entry.name), int(parent), int(session)


def _ancestors(parent: int, table: Mapping[int, list[int]]) -> Iterator[int]:
    while True:
        yield parent
        if parent not in table:
            return
        parent = table[parent][0]


def _is_marked(pid: int, mark: str) -> bool:
    with suppress(OSError):
        return f"{_MARK}={mark}".encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return False
