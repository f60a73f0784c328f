"""A container's specification in the words of the Docker Engine API: everything locked that was not asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..config import NetworkPolicy
from .base import HOME, OWNER_LABEL, SESSION_LABEL, WORKSPACE, ContainerSpec, Mask, Mount, Volume
from .docker_limits import limits_body
from .docker_locks import locks_of
from .owner import owner_label


def container_body(spec: ContainerSpec, interpreter: str) -> dict[str, Any]:
    """Write ``spec`` down in the Docker Engine API's words (``POST /containers/create``)."""
    environment = {**spec.image.environment, **spec.environment}
    return {
        "Image": spec.image.reference,
        "Entrypoint": [interpreter],
        "Cmd": list(spec.arguments),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "User": spec.keeper_user if spec.keeper else spec.user,
        "WorkingDir": "/",
        "Hostname": re.sub(r"[^A-Za-z0-9]+", "-", spec.session_name).strip("-")[:63] or "sandbox",
        "Labels": {OWNER_LABEL: owner_label(), SESSION_LABEL: spec.session_name, **spec.labels},
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,  # When this process dies, the engine closes the agent's input, and the agent exits.
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGKILL",  # Nothing in it needs to be saved: an engine that stops need not wait for us.
        # Without any network the engine need not make files for it, a fifth of the time that a start takes.
        "NetworkDisabled": spec.network.mode != "bridge",
        "Healthcheck": {"Test": ["NONE"]},  # The image's own would run beside the agent.
        "HostConfig": _host_config(spec),
    }


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "AutoRemove": True,
        "Init": spec.keeper,  # The agent reaps; an init before it would hide it.
        "IpcMode": "private",
        "LogConfig": {"Type": "none"},  # Logging would write every byte of the stream to the disk.
        "Mounts": [
            *map(mount_body, spec.mounts),
            *map(volume_body, spec.volumes),
            *map(mount_body, _over_files(spec.masks)),
        ],
        **_network(spec.network),
        "Tmpfs": _tmpfs(spec),
        **limits_body(spec.limits),
        **locks_of(spec),
    }


def _network(network: NetworkPolicy) -> dict[str, Any]:
    if network.mode != "bridge":
        # What an engine writes into resolv.conf all the same would be name servers and domains of the host.
        return {"NetworkMode": "none", "Dns": ["127.0.0.1"], "DnsSearch": ["."]}
    return {
        "NetworkMode": "bridge",
        "Dns": list(network.dns),
        "DnsSearch": list(network.dns_search),
        "ExtraHosts": list(network.add_host),
    }


def mount_body(mount: Mount) -> dict[str, Any]:
    """Write a mount down as one of ``HostConfig.Mounts``."""
    return {
        "Type": "bind",  # Of this kind, a missing source is an error; the older `Binds` would make a folder there.
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        # Read-only does not reach into file systems that are mounted further down, so they stay out.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": mount.read_only},
    }


def volume_body(volume: Volume) -> dict[str, Any]:
    """Write a volume down as one of ``HostConfig.Mounts``."""
    driver = {"Name": "local", "Options": dict(volume.driver_options)} if volume.driver_options else None
    return {
        "Type": "volume",
        "Target": volume.target,
        "ReadOnly": volume.read_only,
        # Without a name it is the container's own, and removed with it.
        **({"Source": volume.name} if volume.name else {}),
        # What the image has at this place must not be copied into it.
        "VolumeOptions": {"NoCopy": True, **({"DriverConfig": driver} if driver else {})},
    }


def _over_files(masks: Iterable[Mask]) -> Iterator[Mount]:
    return (Mount("/dev/null", mask.path) for mask in masks if not mask.is_folder)


def _tmpfs(spec: ContainerSpec) -> dict[str, str]:
    """Give the folders that take writes. Programs may be run there: pip installs compiled modules into the home."""
    uid, _, gid = spec.user.partition(":")
    own = f"mode=0755,uid={uid},gid={gid}"
    room = spec.limits.tmp_bytes
    folders = {"/tmp": _options(room, "mode=1777"), HOME: _options(room, own)}  # noqa: S108
    targets = {mount.target for mount in spec.mounts} | {volume.target for volume in spec.volumes}
    # Volumes that the image declares would be folders on the engine's disk, without a limit.
    empty = {path: _options(room, own) for path in (*spec.image.volumes, WORKSPACE) if path not in targets}
    asked = {
        folder.path: _options(folder.size_bytes or room, own, folder.executable)
        for folder in spec.security.tmpfs_folders
    }
    # Whose it is matters: runtimes give it the permissions of the folder below it, such as 0700 of `.ssh`.
    nothing = f"ro,noexec,nosuid,nodev,size=4096,mode=0555,uid={uid},gid={gid}"
    masks = {mask.path: nothing for mask in spec.masks if mask.is_folder}
    return {**empty, **folders, **asked, **masks}


def _options(size_bytes: int, owner: str, executable: bool = True) -> str:
    return f"rw,{'exec' if executable else 'noexec'},nosuid,nodev,size={size_bytes},{owner}"
