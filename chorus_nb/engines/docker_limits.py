"""Limits in the words of the Docker Engine API, and which of them an engine can't give.

Sources: the Engine API's ``ContainerCreate`` (``HostConfig``) and ``SystemInfo``; ``asm-generic/resource.h`` for the
numbers of the ``RLIMIT_`` constants, which runtimes name in their errors.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import ResourceLimits
from ..config.device_rate import DeviceRate
from ..config.units import size_text
from ..errors import ConfigurationError, PolicyNotEnforcedError
from .base import ContainerSpec

_RATES = {
    "read_bps": "BlkioDeviceReadBps",
    "write_bps": "BlkioDeviceWriteBps",
    "read_iops": "BlkioDeviceReadIOps",
    "write_iops": "BlkioDeviceWriteIOps",
}
_ALWAYS = {"MemoryLimit": "memory", "SwapLimit": "swap", "CpuCfsQuota": "cpus", "PidsLimit": "pids"}
_WHERE_ASKED = {"cpu_shares": "CPUShares", "cpuset": "CPUSet"}
_WARNINGS = {
    "blkio_weight": r"blkio weight|io\.weight support",
    "read_bps": r"read_bps_device|\(rbps\)",
    "write_bps": r"write_bps_device|\(wbps\)",
    "read_iops": r"read_iops_device|\(riops\)",
    "write_iops": r"write_iops_device|\(wiops\)",
}
"""What the engine's warnings say of a kernel that lacks a limit, on cgroup v1 and v2."""

_RLIMITS = (
    *("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending"),
    *("msgqueue", "nice", "rtprio", "rttime"),
)
_NO_CPU = re.compile(r"Requested CPUs are not available - requested \S+, available: (?P<cpus>[\d,-]+)", re.I)
_NO_RLIMIT = re.compile(r"setting rlimit type (?P<number>\d+)|setrlimit `?RLIMIT_(?P<name>[A-Z]+)", re.I)
_NO_DEVICE = re.compile(r"stat (?P<path>/dev/\S+): no such file", re.I)
_NO_DISK = re.compile(r"write \S*(blkio\.throttle\.\w+|io\.max): (no such device|invalid argument)", re.I)


def limits_body(limits: ResourceLimits) -> dict[str, Any]:
    """Write the limits down as fields of a ``HostConfig``."""
    body = {
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.with_swap_bytes,
        "NanoCpus": round(limits.cpus * 1e9),
        "CpuShares": limits.cpu_shares,
        "CpusetCpus": limits.cpuset,
        "PidsLimit": limits.pids,
        "ShmSize": limits.shm_bytes,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in ulimits(limits).items()],
        "BlkioWeight": limits.blkio_weight,
        **{
            key: [{"Path": rate.path, "Rate": rate.rate} for rate in getattr(limits, name)]
            for name, key in _RATES.items()
        },
    }
    return {key: value for key, value in body.items() if value}


def ulimits(limits: ResourceLimits) -> dict[str, tuple[int, int]]:
    """Return soft and hard limit of each process by Docker's name of it; those that are not named are the engine's."""
    files, size = limits.open_files, limits.file_size_bytes
    found = {"nofile": (files, files), "core": (0, 0)}
    if size is not None:
        found["fsize"] = (size, size)
    return found | {each.name: (each.soft, each.hard) for each in limits.ulimits}


def quota_body(spec: ContainerSpec, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a ``HostConfig`` for a disk quota where the storage driver may know one, else nothing.

    It does on btrfs, on zfs, and on xfs where that is mounted with ``pquota``: the engine says so at the creation.
    """
    disk, driver = spec.limits.disk_bytes, info.get("Driver")
    may = driver in ("btrfs", "zfs") or ["Backing Filesystem", "xfs"] in (info.get("DriverStatus") or [])
    if disk is None or spec.security.read_only_root or not may:
        return {}
    return {"StorageOpt": {"size": str(disk)}}


def missing_limits(info: Mapping[str, Any]) -> list[str]:
    """Name the limits that the engine would take and not enforce, as a rootless one on cgroup v1 does."""
    rootless = info.get("Rootless") or "name=rootless" in (info.get("SecurityOptions") or ())
    if info.get("CgroupDriver") == "none" or (rootless and str(info.get("CgroupVersion", "1")) == "1"):
        return list(_ALWAYS.values())
    return [name for key, name in _ALWAYS.items() if not info.get(key)]


def refuse_limits(limits: ResourceLimits, info: Mapping[str, Any], address: str, *, local: bool) -> None:
    """Refuse what can't be had, before anything is created.

    Parameters
    ----------
    limits : ResourceLimits
    info : mapping
        The engine's ``SystemInfo``.
    address : str
        Where it is, for messages.
    local : bool
        Whether its devices are this machine's.

    Raises
    ------
    ConfigurationError
        For more than the engine's machine has.
    PolicyNotEnforcedError
        For limits that it does not enforce.
    """
    if missing := missing_limits(info) + _missing_where_asked(limits, info):
        raise PolicyNotEnforcedError(
            f"The Docker Engine at {address} does not enforce limits on {', '.join(missing)}.",
            next_step="Use an engine on cgroup v2, or one that runs as root; see `docker info`.",
            controls=tuple(missing),
        )
    cpus, memory = info.get("NCPU", 0), info.get("MemTotal", 0)
    if limits.cpus > cpus:
        raise ConfigurationError(
            f"cpus={limits.cpus:g} is more than the engine has.", next_step=f"Allowed: up to {cpus}."
        )
    if limits.memory_bytes > memory > 0:
        raise ConfigurationError(
            f"memory={size_text(limits.memory_bytes)} is more than the engine's machine has.",
            next_step=f"Allowed: up to {memory >> 20}m.",
        )
    if local:
        for option, rate in _rates(limits):
            _refuse_device(option, rate.path)


def _missing_where_asked(limits: ResourceLimits, info: Mapping[str, Any]) -> list[str]:
    warnings = " ".join(info.get("Warnings") or ())
    missing = [name for name, key in _WHERE_ASKED.items() if getattr(limits, name) is not None and not info.get(key)]
    return missing + [name for name, words in _WARNINGS.items() if getattr(limits, name) and re.search(words, warnings)]


def _rates(limits: ResourceLimits) -> Iterator[tuple[str, DeviceRate]]:
    for option in _RATES:
        yield from ((option, rate) for rate in getattr(limits, option))


def _refuse_device(option: str, path: str) -> None:
    try:
        is_disk = stat.S_ISBLK(Path(path).stat().st_mode)
    except OSError:
        raise _no_device(option, path) from None
    if not is_disk:
        raise _no_disk(option, path)


def _no_device(option: str, path: str) -> ConfigurationError:
    return ConfigurationError(
        f"{option}: there is no device {path} on the engine's machine.", next_step="`lsblk` lists its disks."
    )


def _no_disk(option: str, path: str) -> ConfigurationError:
    return ConfigurationError(
        f"{option}: {path} is no disk whose rate can be limited.",
        next_step="Name a whole disk, such as /dev/sda, no partition of it: `lsblk --nodeps` lists them.",
    )


def explain(words: str, limits: ResourceLimits) -> ConfigurationError | None:
    """Return what to say where the engine's words for a failure are about a limit that can't be had."""
    if match := _NO_CPU.search(words):
        return ConfigurationError(
            f"cpuset={limits.cpuset} names CPUs that the engine's machine lacks.",
            next_step=f"Allowed: {match['cpus']}.",
        )
    if match := _NO_RLIMIT.search(words):
        return _too_high(match, limits)
    if match := _NO_DEVICE.search(words):
        option = next((option for option, rate in _rates(limits) if rate.path == match["path"]), None)
        return _no_device(option, match["path"]) if option else None
    if _NO_DISK.search(words):
        return next((_no_disk(option, rate.path) for option, rate in _rates(limits)), None)
    return None


def _too_high(match: re.Match[str], limits: ResourceLimits) -> ConfigurationError | None:
    number = int(match["number"] or 0)
    name = match["name"].lower() if match["name"] else _RLIMITS[number] if number < len(_RLIMITS) else ""
    if name not in ulimits(limits):
        return None
    options = {
        "nofile": f"open_files={limits.open_files}",
        "fsize": f"file_size={size_text(limits.file_size_bytes or 0)}",
        **{each.name: f"ulimits={each}" for each in limits.ulimits},
    }
    return ConfigurationError(
        f"{options.get(name, name)} is more than the engine may give to a process.",
        next_step=f"Ask for less, or raise the engine's own limit: Limit{name.upper()}= in docker.service.",
    )
