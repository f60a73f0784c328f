"""What engines that speak the Docker Engine API do in different ways: one table, and the request in each one's words.

Podman's Docker-compatible API takes every request that Docker takes, drops the fields that it has no use for, and says
nothing. So what may be asked of it is a list of what it is known to heed; anything else is refused before a container
is created.

Sources: Podman's handler of ``POST /containers/create`` (``pkg/api/handlers/compat/containers_create.go`` in its
versions 4.3.1 and 5.8.2), ``podman-run(1)`` for the options of mounts, the Docker Engine API reference 1.41 to 1.50.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, EngineError, PolicyNotEnforcedError

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of engine behind the Docker Engine API.

    Attributes
    ----------
    name : str
        As in :attr:`~chorus_nb.engines.base.EngineCapabilities.name`.
    title : str
        As in messages.
    command : str
        Its command line, for advice.
    unsupported : mapping of str to str
        Options that it can't be asked for, and why.
    any_runtime : bool
        Whether a container may name another runtime than the engine's own.
    mounts_volumes : bool
        Whether a volume that it is to mount itself can be asked for with the container.
    overlay_owner : str
        ``UID:GID`` that it gives the root of any overlay to; empty where it leaves that alone.
    translate : callable
        Writes a request of Docker's in the words of this engine. Raises for what this engine would drop.
    """

    name: str
    title: str
    command: str
    unsupported: Mapping[str, str] = field(default_factory=dict)
    any_runtime: bool = True
    mounts_volumes: bool = True
    overlay_owner: str = ""
    translate: Callable[[Body, bool], Body] = lambda body, local: body


def dialect_of(version: Mapping[str, Any]) -> Dialect:
    """Tell the kind of engine by the components that its ``GET /version`` lists."""
    names = {str(each.get("Name")) for each in version.get("Components") or () if isinstance(each, Mapping)}
    return PODMAN if "Podman Engine" in names else DOCKER


# Podman

_HEEDED = frozenset(
    (
        *("AutoRemove", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps"),
        *(
            "BlkioDeviceWriteIOps",
            "BlkioWeight",
            "CapAdd",
            "CapDrop",
            "CgroupnsMode",
            "CpuPeriod",
            "CpuQuota",
            "CpuShares",
        ),
        *("CpusetCpus", "CpusetMems", "Devices", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd"),
        *("Init", "IpcMode", "LogConfig", "Memory", "MemoryReservation", "MemorySwap", "MemorySwappiness"),
        *("Mounts", "NanoCpus", "NetworkMode", "OomScoreAdj", "PidsLimit", "ReadonlyRootfs", "SecurityOpt"),
        *("CgroupnsMode", "ShmSize", "StorageOpt", "Sysctls", "Tmpfs", "Ulimits", "UsernsMode"),
    )
)
"""The fields of ``HostConfig`` that Podman passes on; of the rest it takes note in silence."""

_PODMAN_LACKS = {
    "runtime": "its Docker-compatible API ignores it and starts the service's own",
    "masked_paths": "its Docker-compatible API ignores them",
    "read_only_paths": "its Docker-compatible API ignores them",
    "seccomp": "it reads profiles from files on its own side alone",
}
_OPTIONS = {"Runtime": "runtime", "MaskedPaths": "masked_paths", "ReadonlyPaths": "read_only_paths"}

_NPROC = 32768
"""What a process may have of its user's processes, where nobody asked. Where a request names ulimits and not this one,
Podman asks for 1048576, which a service without ``CAP_SYS_RESOURCE`` can't grant; Linux allows 32768 unless it is told
otherwise (``pid_max`` in proc(5)). The limit that counts is that of the container's own processes, ``PidsLimit``."""

_ITS_OWN_FOLDERS = ("/run", "/var/tmp")  # noqa: S108
"""What Podman makes writable, without a limit of size, in a container whose root is read-only."""


def _podman(body: Body, local: bool) -> Body:
    host = body["HostConfig"]
    _refuse_what_podman_drops(host)
    _refuse_mounts_that_podman_misreads(host["Mounts"], local)
    ulimits = host["Ulimits"]
    if not any(each["Name"] == "nproc" for each in ulimits):
        ulimits = [*ulimits, {"Name": "nproc", "Soft": _NPROC, "Hard": _NPROC}]
    tmpfs = {path: _podman_tmpfs(path, options, body["User"]) for path, options in host["Tmpfs"].items()}
    if host["ReadonlyRootfs"]:
        taken = {*tmpfs, *(each["Target"] for each in host["Mounts"])}
        tmpfs |= {path: "ro,nosuid,nodev,noexec,size=4096" for path in _ITS_OWN_FOLDERS if path not in taken}
    return {**body, "HostConfig": {**host, "Ulimits": ulimits, "Tmpfs": tmpfs}}


def _refuse_what_podman_drops(host: Mapping[str, Any]) -> None:
    dropped = [_OPTIONS.get(key, key) for key, value in host.items() if value and key not in _HEEDED]
    if any(str(option).startswith("seccomp={") for option in host["SecurityOpt"]):
        dropped.append("seccomp")
    if dropped:
        reasons = "; ".join(f"{each} ({_PODMAN_LACKS.get(each, 'ignored')})" for each in dropped)
        raise PolicyNotEnforcedError(
            f"Podman can't be asked for {reasons}.",
            next_step="Leave it out, or use a Docker Engine.",
            controls=tuple(dropped),
        )


def _refuse_mounts_that_podman_misreads(mounts: list[dict[str, Any]], local: bool) -> None:
    """Podman makes one line of each mount, its fields separated by commas, and takes that apart again."""
    for mount in mounts:
        for path in (mount.get("Source", ""), mount["Target"]):
            if re.search(r'[,"\r\n]', path):
                raise ConfigurationError(
                    f"Podman can't mount {path!r}: to it a comma, a quotation mark and a line's end are syntax.",
                    next_step="Rename the folder, or use a Docker Engine.",
                )
        # Podman would make a folder there.
        if local and mount.get("Type", "bind") == "bind" and not Path(mount["Source"]).exists():
            raise EngineError(
                f"There is no {mount['Source']}, which was to be mounted.",
                next_step="Was it removed? Start the session again with a folder that is there.",
            )


def _podman_tmpfs(path: str, options: str, user: str) -> str:
    """Podman gives a tmpfs to the container's user or to root, and would copy the image's files into it."""
    if re.search(r"[:,]", path):
        raise ConfigurationError(
            f"Podman can't put an empty folder at {path!r}: to it a colon and a comma are syntax.",
            next_step="Use another image, or a Docker Engine.",
        )
    words = options.split(",")
    owner = ["uid={}".format(user.partition(":")[0]), "gid={}".format(user.partition(":")[2])]
    kept = [word for word in words if not word.startswith(("uid=", "gid="))]
    if set(owner) <= set(words):
        kept.append("U")
    elif kept != words:  # For another user than the container's: so that it can write there, all may.
        kept = [*(word for word in kept if not word.startswith("mode=")), "mode=1777"]
    return ",".join([*kept, "notmpcopyup"])


DOCKER = Dialect("docker", "Docker Engine", "docker")
PODMAN = Dialect(
    *("podman", "Podman engine", "podman", _PODMAN_LACKS),
    any_runtime=False,
    mounts_volumes=False,
    overlay_owner="0:0",
    translate=_podman,
)
