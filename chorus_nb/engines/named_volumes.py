"""Volumes of a Docker Engine that outlive the sandboxes they are mounted into."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .base import OWNER_LABEL, VOLUME_LABEL, VOLUME_PREFIX, ContainerSpec
from .dialect import DOCKER
from .docker_calls import again_if_away
from .owner import owner_label

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
    client = engine.client
    client.create_volume(name, labels={VOLUME_LABEL: name.removeprefix(VOLUME_PREFIX)})
    if engine.dialect is not DOCKER:
        return  # Podman gives one to the user of the first container that it is mounted into.
    try:
        _give(client, name, spec)
    except BaseException:
        client.remove_volume(name)
        raise


def _give(client: Any, name: str, spec: ContainerSpec) -> None:
    """Have the engine unpack a folder onto the volume's own, by way of a container that never starts.

    A new volume is root's, and nobody else could write there. Its folder takes whoever comes: another notebook's
    sandbox may run as another user, and nobody gets there but through the engine.
    """
    body = {
        "Image": spec.image.reference,
        "Cmd": ["none"],
        "Labels": {OWNER_LABEL: owner_label()},
        "HostConfig": {"NetworkMode": "none", "Mounts": [{"Type": "volume", "Source": name, "Target": f"/{_PLACE}"}]},
    }
    made = again_if_away(
        lambda: client.create_container_from_config(body, name=f"chorus-nb-{secrets.token_hex(8)}")["Id"]
    )
    try:
        client.put_archive(made, "/", _folder(*map(int, spec.user.split(":"))))
    finally:
        client.remove_container(made, force=True)


def _folder(uid: int, gid: int) -> bytes:
    entry = tarfile.TarInfo(_PLACE)
    entry.type, entry.uid, entry.gid, entry.mode = tarfile.DIRTYPE, uid, gid, 0o777
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry)
    return buffer.getvalue()
