"""Volumes of a Docker Engine that outlive the sandboxes they are mounted into."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .base import OWNER_LABEL, VOLUME_LABEL, VOLUME_PREFIX, ContainerSpec
from .dialect import DOCKER
from .docker_volumes import fill_volume

if TYPE_CHECKING:
    from .docker import DockerEngine

_PLACE = "volume"


def make_missing_volumes(engine: DockerEngine, spec: ContainerSpec) -> None:
    """Make the named volumes of a container that the engine does not have yet, so that its user can write there.

    Raises
    ------
    ConfigurationError
        There is a volume of that name which is not ours.
    EngineError
    """
    for volume in spec.volumes:
        if volume.name:
            with engine.translated(f"make the volume {volume.name!r}"):
                found = _inspect(engine, volume.name)
                if found is None:
                    _make(engine, volume.name, spec)
                elif not {VOLUME_LABEL, OWNER_LABEL} & (found.get("Labels") or {}).keys():
                    raise ConfigurationError(
                        f"The volume {volume.name!r} of the engine was not made by a sandbox.",
                        next_step="Choose another name, or remove that volume.",
                    )


def volumes_in_use(engine: DockerEngine) -> dict[str, bool]:
    """Return the volumes of ours by their names in the engine, and whether a container uses each."""
    with engine.translated("list volumes"):
        found = engine.client.volumes(filters={"label": VOLUME_LABEL})["Volumes"] or ()
        names = sorted(str(each["Name"]) for each in found)
        return {name: bool(engine.client.containers(all=True, filters={"volume": name})) for name in names}


def remove_volume(engine: DockerEngine, name: str) -> bool:
    """Remove a volume with all that is in it; return False where a container uses it, or it is gone."""
    import docker

    with engine.translated(f"remove the volume {name!r}"):
        try:
            engine.client.remove_volume(name)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):
                raise
            return False
    return True


def _inspect(engine: DockerEngine, name: str) -> Mapping[str, Any] | None:
    import docker

    with suppress(docker.errors.NotFound):
        found: Mapping[str, Any] = engine.client.inspect_volume(name)
        return found
    return None


def _make(engine: DockerEngine, name: str, spec: ContainerSpec) -> None:
    """Make one, whose root takes whoever comes: the sandbox of another notebook may run as another user.

    Nobody gets there but through the engine. Podman leaves it to the first user alone.
    """
    labels, podman = {VOLUME_LABEL: name.removeprefix(VOLUME_PREFIX)}, engine.dialect is not DOCKER
    fill_volume(engine.client, spec.image.reference, name, labels, spec.user, mode=0o777, podman=podman)
