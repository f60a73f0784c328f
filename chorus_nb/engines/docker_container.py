"""A container of a Docker Engine."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..errors import ChorusError, EngineError, ImageNotFoundError, ImageUnsupportedError, PolicyNotEnforcedError
from .attach import attach
from .base import AGENT_SOCKET, Container, ContainerProcess, ContainerSpec, ContainerState
from .direct_stream import DirectStream, Rendezvous
from .docker_body import container_body, mount_body
from .docker_calls import again_if_away, again_if_it_fails, gone_is_fine
from .docker_exec import start_process
from .docker_limits import explain
from .docker_locks import wider_paths
from .docker_volumes import mount_refused
from .host_cgroup import limits_of

if TYPE_CHECKING:
    from .docker import DockerEngine

_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|permission denied|is a directory", re.I)
_NO_SOURCE = re.compile(r"bind source path does not exist: (?P<path>\S+)")


def _next_step(spec: ContainerSpec) -> str:
    other = "Use an image with CPython 3.8 or later, such as python:3-slim."
    if spec.image.world_readable or "userns" not in spec.host.security_modules:
        return other
    return (
        "This engine maps users, so the notebook's own Python has to be open to others: `chmod -R o+rX FOLDER` of its "
        f"environment. Or: {other}"
    )


class DockerContainer(Container):
    """A container of a :class:`DockerEngine`. ``id`` and ``stream`` are final once :meth:`start` has returned."""

    def __init__(self, engine: DockerEngine, spec: ContainerSpec, volumes: Sequence[str] = ()) -> None:
        self._engine = engine
        self._volumes = volumes
        self._spec = spec
        self._interpreters = list(spec.image.interpreters)
        self._interpreter = ""
        self._refusals: list[str] = []
        self.id = ""

    def create(self) -> None:
        """Create it for the likeliest interpreter that was not tried yet, and attach."""
        while (refusal := self._try_create(self._interpreters.pop(0))) is not None:
            self._note(refusal)

    def _note(self, refusal: str) -> None:
        """Note why the latest interpreter can't be run. Raises where no other is left to try."""
        self._refusals.append(refusal)
        if not self._interpreters:
            raise ImageUnsupportedError(
                f"The image {self._spec.image.reference!r} has no Python that can be run: {self._refusals[0]}",
                next_step=_next_step(self._spec),
            )

    def _try_create(self, interpreter: str) -> str | None:
        """Create it and attach; where the interpreter could not be run, which Podman tells already here, say so."""
        engine, self._interpreter = self._engine, interpreter
        body = container_body(self._spec, interpreter)
        body["HostConfig"].update(engine.quota_body(self._spec))
        if self._spec.security.masked_paths or self._spec.security.read_only_paths:
            body["HostConfig"].update(wider_paths(self._spec, engine.default_paths(body)))
        body = engine.dialect.translate(body, engine.endpoint.is_unix_socket)  # Which may refuse what was asked for.
        if rendezvous := self._rendezvous():
            body["HostConfig"]["Mounts"].append(mount_body(rendezvous.mount))
        session = re.sub(r"[^A-Za-z0-9_.-]", "-", self._spec.session_name)
        name = f"chorus-nb-{session}-{secrets.token_hex(4)}"
        try:
            with engine.translated("create the container"):
                answer = self._create(body, name)
            self._refuse_warnings(answer.get("Warnings") or [])
            with engine.translated("attach to the container"), self._no_program() as refused:
                attached = again_if_away(partial(attach, engine.client, answer["Id"]))
                self.stream = DirectStream(attached, rendezvous, self._spec.agent_token) if rendezvous else attached
        except BaseException as error:
            if rendezvous:
                rendezvous.close()
            with suppress(EngineError):  # By name: an interrupt may have come before the answer.
                engine.remove_id(name)
            if not isinstance(error, ChorusError) or error.retryable:
                engine.expect(name)
            if isinstance(error, EngineError) and (reason := explain(str(error), self._spec.limits)):
                raise reason from error
            raise
        if refused:
            if rendezvous:
                rendezvous.close()
            engine.remove_id(name)
            return refused[0]
        self.id = answer["Id"]
        self.keeps_quota = "StorageOpt" in body["HostConfig"]
        return None

    def _rendezvous(self) -> Rendezvous | None:
        """Return where the agent can connect to, where it is on this machine and there can be such a place."""
        engine = self._engine
        runtime = PurePath(self._spec.security.runtime or engine.info().get("DefaultRuntime") or "runc").name
        if self._spec.keeper or runtime not in engine.runtimes_with_sockets or not engine.host().shares_files:
            return None
        try:
            return Rendezvous()
        except OSError:
            return None

    def _create(self, body: dict[str, Any], name: str) -> Mapping[str, Any]:
        import docker

        try:
            create = partial(self._engine.client.create_container_from_config, body, name=name)
            answer: Mapping[str, Any] = again_if_away(create)
            return answer
        except docker.errors.NotFound as error:
            command, reference = self._engine.dialect.command, self._spec.image.reference
            raise ImageNotFoundError(
                f"The {self._engine.title} has no image {reference!r} any more.",
                next_step=f"Run `{command} pull {reference}`, or restart the session.",
            ) from error
        except docker.errors.APIError as error:
            words = error.explanation or ""
            if "storage-opt" in words.lower() and body["HostConfig"].pop("StorageOpt", None):
                self._engine.knows_quotas = False
                return self._create(body, name)
            if not (match := _NO_SOURCE.search(words)):
                raise
            mounts = body["HostConfig"]["Mounts"]
            if mounts and mounts[-1]["Source"] == match["path"] and mounts[-1]["Target"] == AGENT_SOCKET:
                mounts.pop()  # An engine that does not see our temporary files: the attached streams will do.
                return self._create(body, name)
            raise EngineError(
                f"The {self._engine.title} does not see {match['path']}, which was to be mounted.",
                next_step="It may be on another machine, or share only some folders: see Docker Desktop's settings.",
            ) from error

    def _refuse_warnings(self, warnings: list[str]) -> None:
        """The engine warns of limits it drops; a limit that is not in force must not go unnoticed."""
        dropped = [warning for warning in warnings if "discarded" in warning.lower()]
        if dropped:
            raise PolicyNotEnforcedError(
                f"The {self._engine.title} does not enforce what was asked for: {' '.join(dropped)}",
                next_step="See the warnings of `docker info` for what the system lacks.",
                controls=tuple(dropped),
            )

    def start(self) -> None:
        while (refusal := self._try_start()) is not None:
            self.stream.close()
            self._engine.remove_id(self.id)
            if AGENT_SOCKET in refusal:
                self._engine.runtimes_with_sockets = frozenset()
                self._interpreters.insert(0, self._interpreter)
            else:
                self._note(refusal)
            self.create()

    def _try_start(self) -> str | None:
        """Start it; where the interpreter could not be run, or a socket can't be mounted, return the engine's words."""
        with self._engine.translated("start the container"), self._no_program() as refused:
            again_if_away(partial(self._engine.client.start, self.id))
        return refused[0] if refused else None

    @contextmanager
    def _no_program(self) -> Iterator[list[str]]:
        """Keep the engine's words, in place of its error, where the container's program could not be run."""
        import docker

        refused: list[str] = []
        try:
            yield refused
        except docker.errors.APIError as error:
            words = error.explanation or str(error)
            if AGENT_SOCKET in words:
                refused.append(words)
                return
            if reason := explain(words, self._spec.limits) or mount_refused(words):
                raise reason from error
            # The engine tells of all that went wrong in one sentence: only what follows exec: is the program.
            if "exec:" not in words or not _NO_PROGRAM.search(words.partition("exec:")[2]):
                raise
            refused.append(words)

    def exec(self, argv: Sequence[str], *, user: str, working_dir: str = "/", stdin: bool = False) -> ContainerProcess:
        with self._engine.translated(f"start {argv[0]} in the container"):
            return start_process(self._engine.client, self.id, argv, user, working_dir, stdin)

    def inspect(self) -> ContainerState:
        return self._engine.inspect_id(self.id)

    def layer_bytes(self) -> int:
        with self._engine.translated("measure the container's layer"):
            found = self._engine.client.containers(all=True, size=True, filters={"id": self.id})
        size = found[0].get("SizeRw", 0) if found else -1
        if size < 0:
            raise EngineError(
                f"The Docker Engine does not know the size of the container {self.id[:12]}.",
                next_step="Was it removed? `docker ps --size` shows what the engine knows.",
            )
        return int(size)

    def limits_outside(self) -> Mapping[str, Any]:
        if not self._engine.capabilities().mirror:  # A process's number there would be another one's here.
            return {}
        with self._engine.translated("inspect the container"):
            return limits_of(self._engine.client.inspect_container(self.id)["State"]["Pid"])

    def kill(self) -> None:
        def ask() -> None:
            with gone_is_fine():
                self._engine.client.kill(self.id)

        with self._engine.translated("kill the container"):
            again_if_it_fails(ask)

    def remove(self) -> None:
        self.stream.close()
        self._engine.remove_id(self.id)
        self.remove_volumes()

    def remove_volumes(self) -> None:
        """Remove what was made for it alone, and what its engine does not remove with it."""
        for name in self._volumes:
            with suppress(EngineError):  # Whoever sweeps makes up for it.
                self._engine.remove_volume(name)

    def abandon(self) -> None:
        self.stream.close()
        self._engine.remember(self.id)
