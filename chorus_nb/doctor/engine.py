"""What an engine says of itself, and whether sandboxes can work with it.

Pure functions of the documents ``SystemInfo`` and ``SystemVersion`` of the Docker Engine API, which Podman's
Docker-compatible service has as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..engines.dialect import Dialect
from ..engines.docker_limits import missing_limits
from .check import Check, fail, ok, warn

_OLDEST_TRIED = {"docker": (20, 10), "podman": (4, 3)}
_QUOTA_DRIVERS = ("btrfs", "zfs")
_CURES = {
    "swap": "Start the kernel with `swapaccount=1`, or use cgroup v2.",
    "memory": "Start the kernel with `cgroup_enable=memory`.",
}
_ROOTLESS_V1 = (
    "A rootless engine limits nothing on cgroup v1: start the system with `systemd.unified_cgroup_hierarchy=1`, "
    "or use an engine that runs as root."
)
_ROOTLESS_V2 = (
    "Have systemd hand the controllers to users: `Delegate=cpu cpuset io memory pids` in "
    "/etc/systemd/system/user@.service.d/delegate.conf, then log in again."
)


def is_rootless(info: Mapping[str, Any]) -> bool:
    """Whether the engine runs as an ordinary user."""
    return bool(info.get("Rootless")) or "rootless" in security_options(info)


def security_options(info: Mapping[str, Any]) -> dict[str, str]:
    """Read ``name=seccomp,profile=default`` as ``seccomp`` with the rest, and so on."""
    found = {}
    for option in info.get("SecurityOptions") or ():
        name, _, rest = str(option).partition(",")
        found[name.removeprefix("name=")] = rest.removeprefix("profile=")
    return found


def _version(info: Mapping[str, Any], dialect: Dialect) -> Check:
    version = str(info.get("ServerVersion") or "unknown")
    oldest = _OLDEST_TRIED.get(dialect.name, (0, 0))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    found = f"{dialect.title} {version}"
    if numbers is None or (int(numbers[1]), int(numbers[2])) < oldest:
        return warn("engine version", found, f"The oldest that was tried is {oldest[0]}.{oldest[1]}: update it.")
    return ok("engine version", found)


def _system(info: Mapping[str, Any], dialect: Dialect) -> Check:
    kind = str(info.get("OSType") or "unknown")
    found = f"{info.get('OperatingSystem') or kind}, kernel {info.get('KernelVersion')}, {info.get('Architecture')}"
    if kind != "linux":
        return fail("engine system", found, "Switch the engine to Linux containers.")
    return ok("engine system", found)


def _cgroup(info: Mapping[str, Any], dialect: Dialect) -> Check:
    version, driver = str(info.get("CgroupVersion") or "1"), str(info.get("CgroupDriver") or "unknown")
    found = f"v{version}, driver {driver}"
    if driver == "none" or (is_rootless(info) and version == "1"):
        return fail("cgroup", found, _ROOTLESS_V2 if version == "2" else _ROOTLESS_V1)
    return ok("cgroup", found)


def _limits(info: Mapping[str, Any], dialect: Dialect) -> Check:
    if not (missing := missing_limits(info)):
        return ok("limits", "memory, swap, CPU and processes can be limited")
    if is_rootless(info):
        cure = _ROOTLESS_V2 if str(info.get("CgroupVersion")) == "2" else _ROOTLESS_V1
    else:
        cure = next((_CURES[name] for name in ("memory", "swap") if name in missing), "See `docker info`.")
    return fail("limits", f"not enforced: {', '.join(missing)}", cure)


def _other_limits(info: Mapping[str, Any], dialect: Dialect) -> Check:
    """Return which of the limits are not to be had that nobody has who does not ask for them."""
    lacks = [name for key, name in (("CPUShares", "cpu_shares"), ("CPUSet", "cpuset")) if not info.get(key)]
    if any("blkio" in str(each) or "io.weight" in str(each) for each in info.get("Warnings") or ()):
        lacks.append("blkio_weight, read_bps, write_bps, read_iops, write_iops in part")
    if lacks:
        return warn(
            "other limits",
            f"can't be asked for: {', '.join(lacks)}",
            "Leave these options out; or give the kernel the controllers, and a rootless engine the right to them.",
        )
    return ok("other limits", "CPU shares and sets, and block I/O, can be limited")


def _storage(info: Mapping[str, Any], dialect: Dialect) -> Check:
    driver = str(info.get("Driver") or "unknown")
    status = {str(key): str(value) for key, value in _pairs(info.get("DriverStatus"))}
    backing = status.get("Backing Filesystem", "")
    quota = driver in _QUOTA_DRIVERS or backing == "xfs"
    found = f"{driver}{f' on {backing}' if backing else ''}, disk limits by {'quota' if quota else 'measuring'}"
    if driver == "vfs":
        return warn("storage", found, "vfs copies every image for every container: use overlay2.")
    return ok("storage", found)


def _pairs(status: Any) -> Iterator[tuple[Any, Any]]:
    for each in status or ():
        if isinstance(each, list) and len(each) == 2:
            yield each[0], each[1]


def _seccomp(info: Mapping[str, Any], dialect: Dialect) -> Check:
    options = security_options(info)
    profile = options.get("seccomp")
    if profile is None or profile == "unconfined":
        return fail(
            "seccomp",
            "the engine does not filter system calls",
            'Set `"seccomp-profile": "builtin"` in the engine\'s daemon.json; the kernel needs CONFIG_SECCOMP.',
        )
    return ok("seccomp", f"profile {profile or 'default'}")


def _modules(info: Mapping[str, Any], dialect: Dialect) -> Check:
    found = [name for name in ("apparmor", "selinux") if name in security_options(info)]
    return ok("security modules", " and ".join(found) or "neither AppArmor nor SELinux")


def _daemon_user(info: Mapping[str, Any], dialect: Dialect) -> Check:
    if is_rootless(info):
        return ok("engine user", "rootless: an ordinary user")
    remapped = "userns" in security_options(info)
    return ok("engine user", "root, containers in a user namespace" if remapped else "root, no user namespaces")


def _runtimes(info: Mapping[str, Any], dialect: Dialect) -> Check:
    default = str(info.get("DefaultRuntime") or "unknown")
    if not dialect.any_runtime:  # Podman names each one that it has heard of.
        return ok("runtimes", f"{default}, for every container")
    return ok("runtimes", f"{', '.join(sorted(info.get('Runtimes') or {})) or 'unknown'}; default {default}")


ENGINE_CHECKS: Mapping[str, Callable[[Mapping[str, Any], Dialect], Check]] = {
    "engine version": _version,
    "engine system": _system,
    "cgroup": _cgroup,
    "limits": _limits,
    "other limits": _other_limits,
    "storage": _storage,
    "seccomp": _seccomp,
    "security modules": _modules,
    "engine user": _daemon_user,
    "runtimes": _runtimes,
}
"""What can be told from the engine's own words, by the name of the check."""
