"""The locks of a container in the words of the Docker Engine API, and which of them an engine can put on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..config.devices import Device
from ..config.security import DEFAULT, DISABLE, UNCONFINED
from ..errors import ConfigurationError
from .base import ContainerSpec, EngineHost

_PATHS = ("MaskedPaths", "ReadonlyPaths")


def locks_of(spec: ContainerSpec) -> dict[str, Any]:
    """Write the locks down as a part of ``HostConfig`` (``POST /containers/create``)."""
    security = spec.security
    loosened = {
        "CapAdd": list(security.capabilities),
        "Devices": [_device(device) for device in security.device_list],
        "GroupAdd": [str(group) for group in security.group_add],
        "Runtime": security.runtime,
    }
    return {
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "ReadonlyRootfs": security.read_only_root,
        "SecurityOpt": list(_options(spec)),
        **{key: value for key, value in loosened.items() if value},
    }


def _options(spec: ContainerSpec) -> Iterator[str]:
    """Name what differs from the engine's own locks; no new privileges are no engine's default."""
    security = spec.security
    if security.no_new_privileges:
        yield "no-new-privileges:true"
    if security.seccomp != DEFAULT:
        yield f"seccomp={spec.seccomp_profile or security.seccomp}"
    # Where a module is not there, nothing is to be unconfined by it; a profile was refused before.
    if security.apparmor != DEFAULT and "apparmor" in spec.host.security_modules:
        yield f"apparmor={security.apparmor}"
    if "selinux" in spec.host.security_modules:
        yield from (f"label={part}" for part in security.selinux)


def _device(device: Device) -> dict[str, str]:
    return {"PathOnHost": device.host, "PathInContainer": device.inside, "CgroupPermissions": device.access}


def host_of(info: Mapping[str, Any], address: str, shares_files: bool) -> EngineHost:
    """Read the engine's machine from what it says of itself."""
    return EngineHost(
        security_modules=frozenset(_module(text) for text in info.get("SecurityOptions") or ()),
        kernel_release=str(info.get("KernelVersion") or ""),
        socket=address.removeprefix("unix://") if address.startswith(("unix://", "/")) else "",
        shares_files=shares_files,
    )


def _module(text: str) -> str:
    """Read ``name=seccomp,profile=default``, or as engines before 1.13 wrote it, ``seccomp``."""
    return text.partition(",")[0].removeprefix("name=")


def refuse_missing_locks(spec: ContainerSpec, runtimes: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` for a lock that was asked for and that this engine has not.

    Rather before anything is created than in the engine's own words, or by a container that is not locked. An engine
    without ``runtimes`` is none that they can be chosen from, which its dialect says.
    """
    security, host = spec.security, spec.host
    _refuse_runtime(security.runtime, runtimes)
    if security.apparmor not in (DEFAULT, UNCONFINED):
        _need("apparmor", security.apparmor, "AppArmor", host)
    if security.selinux and security.selinux != (DISABLE,):
        _need("selinux", ",".join(security.selinux), "SELinux", host)
    if security.userns == "private" and not host.security_modules & {"userns", "rootless"}:
        raise ConfigurationError(
            "userns='private' can't be had: the engine runs its containers in the machine's own user namespace.",
            next_step="Start it with userns-remap, or use a rootless engine; or leave userns out.",
        )


def _refuse_runtime(runtime: str | None, runtimes: Sequence[str]) -> None:
    if runtime and runtimes and runtime not in runtimes:
        raise ConfigurationError(
            f"runtime={runtime!r} can't be had: the engine has no runtime of that name.",
            next_step=f"It has {', '.join(sorted(runtimes))}. To have another, install it and name it in the engine's "
            "daemon.json under runtimes.",
        )


def _need(option: str, value: str, module: str, host: EngineHost) -> None:
    if option not in host.security_modules:
        raise ConfigurationError(
            f"{option}={value!r} can't be had: the engine's machine has no {module}, or the engine does not use it.",
            next_step=f"Leave {option} out. `docker info` lists the security options that there are.",
        )


def refuse_idle_capabilities(spec: ContainerSpec) -> None:
    """Raise ``ConfigurationError`` for capabilities that a user would be given and could not use.

    Docker puts them into the bounding set alone where the user is not root: at the next ``execve`` they are gone, but
    for programs that carry some themselves, which ``no_new_privileges`` leaves without (capabilities(7)).
    """
    added = spec.security.capabilities
    if added and spec.user.partition(":")[0] != "0":
        raise ConfigurationError(
            f"cap_add={', '.join(added)} would have no effect: Docker gives capabilities to root alone, and the user "
            f"here is {spec.user}.",
            next_step="Add user='0:0', or leave cap_add out.",
        )


def wider_paths(spec: ContainerSpec, defaults: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return what to ask for so that the engine masks and protects what it does anyway, and what was asked for."""
    asked = (spec.security.masked_paths, spec.security.read_only_paths)
    return {
        name: list(dict.fromkeys([*(defaults.get(name) or ()), *paths]))
        for name, paths in zip(_PATHS, asked, strict=True)
        if paths
    }
