"""Volumes of a Docker Engine that it mounts itself."""

from __future__ import annotations

import secrets
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..errors import VolumeMountError
from .base import OWNER_LABEL, SESSION_LABEL, ContainerSpec, Volume
from .docker_body import volume_body
from .owner import owner_label

_TOP = "/volume"


def mount_refused(words: str) -> VolumeMountError | None:
    """Return what to raise where the engine says that it could not mount a volume; None where it says another thing."""
    _, found, why = words.partition("failed to mount local volume: ")
    if not found:
        return None
    return VolumeMountError(
        f"The engine could not mount a volume: {why.strip()}.", next_step="Its kernel's log (`dmesg`) may say more."
    )


def with_names(client: Any, spec: ContainerSpec) -> tuple[ContainerSpec, list[str]]:
    """Make the volumes that the engine is to mount itself, for one that makes none of these with a container: Podman.

    Returns
    -------
    tuple
        The container with these volumes, and their names: they are to be removed after the container.
    """
    volumes, names = [], list[str]()
    for volume in spec.volumes:
        if volume.driver_options and not volume.name:
            names.append(f"chorus-nb-{secrets.token_hex(8)}")
            labels = {OWNER_LABEL: owner_label(), SESSION_LABEL: spec.session_name}
            client.create_volume(name=names[-1], driver_opts=dict(volume.driver_options), labels=labels)
            volume = replace(volume, name=names[-1], driver_options={})
        volumes.append(volume)
    return replace(spec, volumes=tuple(volumes)), names


def fill_volume(
    client: Any,
    image: str,
    name: str,
    labels: Mapping[str, str],
    user: str,
    archive: Iterable[bytes] | None = None,
    mode: int = 0o755,
    *,
    podman: bool,
) -> None:
    """Make a named volume and unpack an archive into it, by way of a container that is never started.

    Its root is ``user``'s, with the permissions ``mode``. Not in the container of the session, as engines take nothing
    into a file system that is read-only.
    """
    # Podman is told whose it is (podman-volume-create(1)), and does not take that from an archive.
    options = {"o": "uid={},gid={}".format(*user.split(":"))} if podman else {}
    client.create_volume(name=name, labels=dict(labels), driver_opts=options)
    try:
        # In a folder of the root: an archive's own top sets no owner, a folder in it does, also of what is mounted.
        mount = {"Type": "volume", "Source": name, "Target": _TOP, "VolumeOptions": {"NoCopy": True}}
        with _never_started(client, image, [mount]) as container:
            client.put_archive(container, "/", _owned_top(user, mode))
            if archive is not None:
                client.put_archive(container, _TOP, iter(archive))
    except BaseException:
        client.remove_volume(name)
        raise


def _owned_top(user: str, mode: int) -> bytes:
    top = tarfile.TarInfo(_TOP.strip("/"))
    top.type, top.mode = tarfile.DIRTYPE, mode
    top.uid, top.gid = map(int, user.split(":"))
    return top.tobuf() + bytes(2 * tarfile.BLOCKSIZE)


def mount_once(client: Any, image: str, volume: Volume) -> None:
    """Mount a volume and unmount it: the engine does both to read a file of a container that was never started."""
    with _never_started(client, image, [volume_body(volume)]) as container:
        pieces, _ = client.get_archive(container, volume.target)
        for _ in pieces:
            pass


@contextmanager
def _never_started(client: Any, image: str, mounts: list[dict[str, Any]]) -> Iterator[str]:
    body = {
        "Image": image,
        "Cmd": ["none"],
        "Labels": {OWNER_LABEL: owner_label(), SESSION_LABEL: ""},
        "HostConfig": {"NetworkMode": "none", "Mounts": mounts},
    }
    made = client.create_container_from_config(body, name=f"chorus-nb-{secrets.token_hex(8)}")["Id"]
    try:
        yield made
    finally:
        client.remove_container(made, force=True, v=True)
