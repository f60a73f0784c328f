"""Volumes of a Docker Engine that it mounts itself."""

from __future__ import annotations

import secrets
from typing import Any

from ..errors import VolumeMountError
from .base import OWNER_LABEL, Volume
from .docker_body import volume_body
from .owner import owner_label


def mount_refused(words: str) -> VolumeMountError | None:
    """Return what to raise where the engine says that it could not mount a volume; None where it says another thing."""
    _, found, why = words.partition("failed to mount local volume: ")
    if not found:
        return None
    return VolumeMountError(
        f"The engine could not mount a volume: {why.strip()}.", next_step="Its kernel's log (`dmesg`) may say more."
    )


def mount_once(client: Any, image: str, volume: Volume) -> None:
    """Mount a volume and unmount it: the engine does both to read a file of a container that was never started."""
    body = {
        "Image": image,
        "Cmd": ["none"],
        "Labels": {OWNER_LABEL: owner_label()},
        "HostConfig": {"NetworkMode": "none", "Mounts": [volume_body(volume)]},
    }
    made = client.create_container_from_config(body, name=f"chorus-nb-{secrets.token_hex(8)}")["Id"]
    try:
        pieces, _ = client.get_archive(made, volume.target)
        for _ in pieces:
            pass
    finally:
        client.remove_container(made, force=True, v=True)
