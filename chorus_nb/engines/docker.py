"""The Docker Engine. The Docker SDK is imported by this folder alone, and only when first used."""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

from ..config import MIRROR
from ..errors import (
    ConfigurationError,
    EngineError,
    ImageError,
    ImageNotFoundError,
)
from .base import (
    OWNER_LABEL,
    Container,
    ContainerSpec,
    ContainerState,
    Engine,
    EngineCapabilities,
    EngineHost,
    ResolvedImage,
    Volume,
)
from .dialect import DOCKER, Dialect, dialect_of
from .docker_calls import again_if_it_fails, gone_is_fine, translated
from .docker_container import DockerContainer
from .docker_limits import missing_limits, quota_body, refuse_limits
from .docker_locks import host_of, refuse_idle_capabilities, refuse_missing_locks
from .docker_volumes import fill_volume, mount_once, with_names
from .endpoint import Endpoint, connect, find_endpoint
from .mirror import IMAGE_LABEL, Mirror, MirrorImage, build_image, find_mirror
from .named_volumes import make_missing_volumes

REMOVE_TIMEOUT_S = 20.0

_INTERPRETERS = ("python3", "python", "/usr/local/bin/python3", "/usr/bin/python3", "/opt/conda/bin/python3")
_GO_NAMES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686"}  # Podman says what Go calls a machine.


class DockerEngine(Engine):
    """A Docker Engine, local or remote, or another engine that speaks its API.

    Parameters
    ----------
    endpoint : Endpoint, optional
        Where it is; found as the ``docker`` command finds it when left out. Nothing is contacted before the first use.
    """

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self._endpoint = endpoint
        self._client: Any = None
        self._info: Mapping[str, Any] | None = None
        self._version: Mapping[str, Any] | None = None
        self._mirror: tuple[Mirror, MirrorImage] | None = None
        self.knows_quotas = True  # Until the storage driver says otherwise.
        # Others, such as gVisor's, have a kernel of their own between. Until a start says that the mount is refused.
        self.runtimes_with_sockets = frozenset({"runc", "crun"})
        self._to_remove: set[str] = set()
        self._may_come: set[str] = set()
        self._default_paths: Mapping[str, Any] | None = None
        self._lock = threading.RLock()

    def capabilities(self) -> EngineCapabilities:
        info, dialect = self.info(), self.dialect
        missing, reason = missing_limits(info), self._why_no_mirror()
        details = {
            "address": self.endpoint.address,
            "version": str(info.get("ServerVersion", "")),
            "system": str(info.get("OperatingSystem", "")),
            "cgroup": f"v{info.get('CgroupVersion', '1')} ({info.get('CgroupDriver', '')})",
            "missing limits": ", ".join(missing),
            "mirror": reason,
        }
        return EngineCapabilities(
            name=dialect.name,
            isolation=True,
            limits=not missing,
            mirror=not reason,
            repository_mounts=True,
            overlays=self._has_overlays(),
            overlay_owner=self.dialect.overlay_owner,
            unsupported=dialect.unsupported,
            runtimes=tuple(sorted(info.get("Runtimes") or ())) if dialect.any_runtime else (),
            host=self.host(),
            details={key: value for key, value in details.items() if value},
        )

    def resolve(self, image: str) -> ResolvedImage:
        if image != MIRROR:
            return self._resolve_local(image)
        if not self._why_no_mirror():
            return self._resolve_mirror()
        official = "python:{}.{}-slim".format(*platform.python_version_tuple())
        return self._resolve_local(official, f" It stands in for the mirror: {self._why_no_mirror()}.")

    def create(self, spec: ContainerSpec) -> Container:
        self._refuse_what_it_lacks(spec)
        self._make_up_for_removals()
        make_missing_volumes(self, spec)
        volumes: list[str] = []
        if not self.dialect.mounts_volumes:
            with self.translated("make a volume"):
                spec, volumes = with_names(self.client, spec)
        container = DockerContainer(self, spec, volumes)
        try:
            container.create()
        except BaseException:
            container.remove_volumes()
            raise
        return container

    def owned(self) -> list[tuple[str, Mapping[str, str]]]:
        with self.translated("list containers"):
            found = again_if_it_fails(partial(self.client.containers, all=True, filters={"label": OWNER_LABEL}))
        return [(str(each["Id"]), dict(each.get("Labels") or {})) for each in found]

    def remove_id(self, container_id: str) -> None:
        self.remember(container_id)
        give_up_at = time.monotonic() + REMOVE_TIMEOUT_S
        self._ask_to_remove(container_id)
        # The engine answers before it has finished where something else, such as the container's own end, came first.
        while self.inspect_id(container_id).status != "removed":
            if time.monotonic() > give_up_at:
                raise EngineError(
                    f"The container {container_id[:12]} is still there after {REMOVE_TIMEOUT_S:.0f} s.",
                    next_step=f"Try `docker rm -f {container_id[:12]}`; if that hangs, restart the engine.",
                )
            time.sleep(0.02)
            self._ask_to_remove(container_id)
        self._to_remove.discard(container_id)

    def remember(self, container_id: str) -> None:
        """Remove a container before the next one is made, unless it was removed by then: its engine is away now."""
        self._to_remove.add(container_id)

    def expect(self, name: str) -> None:
        """Remove a container once it is there: the engine was asked for it, and its answer did not come."""
        self._may_come.add(name)

    def _make_up_for_removals(self) -> None:
        for container_id in list(self._to_remove):
            with suppress(EngineError):
                self.remove_id(container_id)
        for name in list(self._may_come):
            with suppress(EngineError):
                if self._ask_to_remove(name):
                    self._may_come.discard(name)

    def _ask_to_remove(self, container_id: str) -> bool:
        """Ask for the removal; False where there was nothing to remove."""
        client = self.client

        def ask() -> bool:
            with gone_is_fine():
                client.remove_container(container_id, force=True, v=True)
                return True
            return False

        with self.translated("remove the container"):
            return again_if_it_fails(ask)

    def make_volume(
        self, name: str, labels: Mapping[str, str], user: str, image: ResolvedImage, archive: Iterable[bytes]
    ) -> None:
        with self.translated("make a volume"):
            podman = self.dialect is not DOCKER
            fill_volume(self.client, image.reference, name, labels, user, archive, podman=podman)

    def remove_volume(self, name: str) -> None:
        with self.translated("remove a volume"), gone_is_fine():
            again_if_it_fails(partial(self.client.remove_volume, name))

    def owned_volumes(self) -> list[tuple[str, Mapping[str, str]]]:
        with self.translated("list volumes"):
            found = again_if_it_fails(partial(self.client.volumes, filters={"label": OWNER_LABEL}))
        return [(str(each["Name"]), dict(each.get("Labels") or {})) for each in found.get("Volumes") or ()]

    def empty_work(self, volume: Volume) -> None:
        with self.translated("mount an overlay"):
            mount_once(self.client, self.resolve(MIRROR).reference, volume)

    def own_images(self) -> list[str]:
        """Return the names of the empty images that this package has made."""
        with self.translated("list images"):
            found = self.client.images(filters={"label": IMAGE_LABEL})
        return [str(name) for each in found for name in each.get("RepoTags") or [each["Id"]]]

    def remove_own_image(self, image: str) -> bool:
        """Remove an image of :meth:`own_images`; return False where a container uses it."""
        import docker

        with self.translated("remove the image"):
            try:
                self.client.remove_image(image)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):
                    raise
                return False
        return True

    def inspect_id(self, container_id: str) -> ContainerState:
        """Ask for the state of a container by id."""
        import docker

        with self.translated("inspect the container"):
            try:
                state = again_if_it_fails(partial(self.client.inspect_container, container_id))["State"]
            except docker.errors.APIError as error:
                # While it removes one, Podman answers with 500.
                if error.status_code != 404 and "no such container" not in (error.explanation or ""):
                    raise
                return ContainerState("removed")
        out_of_memory = bool(state.get("OOMKilled"))
        if (status := state["Status"]) in ("created", "running", "paused"):
            return ContainerState(status, oom_killed=out_of_memory)
        return ContainerState("exited", state.get("ExitCode"), out_of_memory)

    @property
    def endpoint(self) -> Endpoint:
        """Where the engine is."""
        with self._lock:
            self._endpoint = self._endpoint or find_endpoint()
            return self._endpoint

    @property
    def client(self) -> Any:
        """The SDK's low-level client, connected at the first use."""
        with self._lock:
            if self._client is None:
                with self.translated("answer"):
                    self._client = again_if_it_fails(partial(connect, self.endpoint))
                weakref.finalize(self, self._client.close).atexit = False
            return self._client

    def quota_body(self, spec: ContainerSpec) -> Mapping[str, Any]:
        """Return what asks the storage driver to keep to the disk limit; empty where it can't."""
        return quota_body(spec, self.info()) if self.knows_quotas else {}

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself, asked once."""
        with self._lock:
            if self._info is None:
                with self.translated("describe itself"):
                    self._info = again_if_it_fails(self.client.info)
            return self._info

    def version(self) -> Mapping[str, Any]:
        """Return the engine's versions, asked once."""
        with self._lock:
            if self._version is None:
                with self.translated("tell its version"):
                    self._version = again_if_it_fails(self.client.version)
            return self._version

    @property
    def dialect(self) -> Dialect:
        """What kind of engine it is."""
        return dialect_of(self.version())

    @property
    def title(self) -> str:
        """What messages call it; before it has said what it is, the likeliest."""
        return (dialect_of(self._version) if self._version else DOCKER).title

    def translated(self, task: str) -> AbstractContextManager[None]:
        """Raise this package's errors in place of the SDK's."""
        return translated(self.endpoint, task, self.title)

    def host(self) -> EngineHost:
        """Return what of its machine the locks of a container depend on."""
        return host_of(self.info(), self.endpoint.address, shares_files=not self._why_no_mirror())

    def default_paths(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Return the paths that it masks and protects unasked: what it notes of a container that never starts.

        Whoever asks for paths gets those alone, and each version of the engine has a list of its own.
        """
        if self.dialect is not DOCKER:  # It can't be asked for more.
            return {}
        with self._lock:
            if self._default_paths is None:
                with self.translated("tell which paths it masks"):
                    name = f"chorus-nb-{secrets.token_hex(8)}"
                    made = self.client.create_container_from_config(body, name=name)["Id"]
                    try:
                        self._default_paths = self.client.inspect_container(made)["HostConfig"]
                    finally:
                        self.client.remove_container(made, force=True, v=True)
            return self._default_paths

    def _why_no_mirror(self) -> str:
        """Return why this engine can't mount the notebook's own files; empty where it can. In doubt it can't."""
        info, here = self.info(), platform.uname()
        if not self.endpoint.is_unix_socket:
            return "the engine is not on this machine"
        if info.get("OSType") != "linux" or here.system != "Linux" or "Desktop" in str(info.get("OperatingSystem")):
            return "the engine runs in a virtual machine of its own"
        architecture = str(info.get("Architecture"))
        there = {**info, "Architecture": _GO_NAMES.get(architecture, architecture)}
        pairs = (("KernelVersion", here.release), ("Architecture", here.machine), ("Name", here.node))
        different = [key for key, value in pairs if there.get(key) != value]
        return f"the engine sees another system than the notebook ({', '.join(different)})" if different else ""

    def _has_overlays(self) -> bool:
        """Where users are mapped, the files of an overlay are nobody's in the container."""
        return not self._why_no_mirror() and "userns" not in self.host().security_modules

    def _refuse_what_it_lacks(self, spec: ContainerSpec) -> None:
        refuse_limits(spec.limits, self.info(), self.endpoint.address, local=not self._why_no_mirror())
        refuse_missing_locks(spec, self.capabilities().runtimes if spec.security.runtime else ())
        if spec.security.capabilities and self.dialect is DOCKER:  # Podman makes them ambient.
            refuse_idle_capabilities(spec)
        if spec.mounts and not self.endpoint.is_unix_socket:
            raise ConfigurationError(
                f"The engine at {self.endpoint.address} is elsewhere and can't mount {spec.mounts[0].source}.",
                next_step="Use `--repo none`, or an engine on this machine.",
            )

    def _resolve_local(self, image: str, note: str = "") -> ResolvedImage:
        found = self._inspect_image(image)
        if found is None:
            raise ImageNotFoundError(
                f"The {self.title} has no image {image!r}.{note}",
                next_step=f"Images are never pulled behind your back: run `{self.dialect.command} pull {image}`, then "
                "try again.",
            )
        volumes = tuple((found.get("Config") or {}).get("Volumes") or ())
        return ResolvedImage(reference=image, interpreters=_INTERPRETERS, volumes=volumes)

    def _resolve_mirror(self) -> ResolvedImage:
        mirror, image = self._find_mirror()
        self.load_image(image)
        return ResolvedImage(
            reference=image.reference,
            interpreters=(mirror.interpreter,),
            mounts=mirror.mounts,
            environment=mirror.environment,
            world_readable=mirror.world_readable,
        )

    def load_image(self, image: MirrorImage) -> None:
        """Have the engine take one of this package's empty images, where it has not yet. Raises ``ImageError``."""
        if self._inspect_image(image.reference) is not None:
            return
        with self.translated("load the empty image"):
            answers = again_if_it_fails(lambda: list(self.client.load_image(image.archive)))
        if self._inspect_image(image.reference) is None:
            raise ImageError(
                f"The {self.title} did not load the empty image of the mirror: {answers}.",
                next_step="The engine's log may say more; or choose an image, such as --image python:3-slim.",
            )

    def _find_mirror(self) -> tuple[Mirror, MirrorImage]:
        with self._lock:
            if self._mirror is None:
                mirror, architecture = find_mirror(), str(self.version()["Arch"])
                self._mirror = mirror, build_image(mirror.links, architecture, os.getuid(), os.getgid())
            return self._mirror

    def _inspect_image(self, image: str) -> Mapping[str, Any] | None:
        import docker

        with self.translated(f"look for the image {image!r}"), suppress(docker.errors.NotFound):
            found: Mapping[str, Any] = again_if_it_fails(partial(self.client.inspect_image, image))
            return found
        return None
