"""The locks of a container as its kernel accounts for them, compared with those that were asked for.

The agent reports what the kernel says (:mod:`chorus_nb.agent.locks`); here is decided what it means. A lock that was
loosened on purpose has to be what was asked for, and no looser than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .config.capabilities import mask_of, names_of
from .config.folders import Tmpfs
from .config.security import DEFAULT, DISABLE, UNCONFINED
from .config.units import size_text
from .control import Control, Text
from .engines.base import HOME, WORKSPACE, ContainerSpec
from .mountinfo import MountPoint, mount_at, mounts_of
from .mounts_enforced import is_null, mount_controls

MASKED = (
    *("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi"),
    *("/proc/timer_list", "/proc/timer_stats", "/sys/firmware"),
)
"""What every engine masks: it tells of the host, or changes it."""

READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys")
"""What every engine protects from writes: settings of the host's kernel."""

_DEVICES = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console")}
"""What every container has (the OCI runtime specification, ``config-linux.md``, default devices)."""

_HOSTS_NAMESPACES = {"ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE, "pid": 0xEFFFFFFC}
"""The inode numbers of the namespaces that a machine starts with (``include/linux/proc_ns.h``)."""

_WHOLE_RANGE = re.compile(r"\s*0\s+0\s+4294967295\s*")
_OWN_KERNEL = ("runsc", "kata")
_ISOLATED = ("ipc", "pid", "uts")
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


class LocksReport(BaseModel):
    """What the agent found of the locks around it, within bounds: it comes from the sandbox."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    capabilities: Annotated[dict[Text, Text], Field(max_length=10)]
    groups: Annotated[list[int], Field(max_length=70_000)]
    seccomp_mode: int
    label: Text
    uid_map: Annotated[str, Field(max_length=2**16)]
    mountinfo: Annotated[str, Field(max_length=2**20, repr=False)]
    kernel_release: Text
    pid: int | None
    """Its own number; None where the process that reports is not the container's first."""
    namespaces: Annotated[dict[Text, Text], Field(max_length=20)] | None
    """Links of ``/proc/self/ns``; None where nothing could read them."""
    devices: Annotated[list[Text], Field(max_length=1000)]
    places: Annotated[dict[Text, Text], Field(max_length=1000, repr=False)]
    """Where each path that was to be looked at leads; empty for one that is not there."""


def checked_paths(spec: ContainerSpec) -> list[str]:
    """Return the paths that the agent is to look at for its report."""
    return [*MASKED, *READ_ONLY, *spec.security.masked_paths, *spec.security.read_only_paths]


def locks(found: LocksReport, spec: ContainerSpec) -> Iterator[Control]:
    """Compare the locks with what was asked for, control by control."""
    own_kernel = bool(spec.host.kernel_release) and found.kernel_release != spec.host.kernel_release
    mounts = mounts_of(found.mountinfo)
    yield _groups(found, spec)
    yield _capabilities(found, spec)
    yield _seccomp(found, spec)
    yield from _labels(found, spec)
    yield _user_namespace(found, spec)
    if found.namespaces is not None:
        yield _namespaces(found, own_kernel)
    if spec.security.runtime:
        yield _runtime(spec.security.runtime, found, own_kernel)
    yield from _folders(mounts, spec, own_kernel)
    if not own_kernel:  # One that has its own lists none of the host's file systems.
        yield from _overlays(mounts, spec)
    yield from _paths(mounts, found, spec, own_kernel)
    yield from mount_controls(mounts, spec, own_kernel)
    yield _device_list(found, spec, own_kernel)


def _groups(found: LocksReport, spec: ContainerSpec) -> Control:
    asked = {int(spec.user.partition(":")[2]), *spec.security.group_add}
    in_force = set(found.groups) <= asked and set(spec.security.group_add) <= set(found.groups)
    return Control("groups", _numbers(asked), _numbers({*found.groups} or asked - {*spec.security.group_add}), in_force)


def _numbers(groups: set[int]) -> str:
    return ", ".join(map(str, sorted(groups)[:20])) or "none"


def _capabilities(found: LocksReport, spec: ContainerSpec) -> Control:
    """What was added is in effect and nothing else is anywhere, from where ``execve`` could give it."""
    asked = mask_of(spec.security.capabilities)
    held_by = {"CapAmb": "0", **found.capabilities}  # Not every kernel knows ambient ones: Linux 4.2, gVisor.
    sets = {name: _mask(held_by.get(name, "")) for name in _SETS}
    masks = [mask for mask in sets.values() if mask is not None]
    readable = len(masks) == len(sets)
    nothing_more = all(mask & ~asked == 0 for mask in masks)
    usable = sets["CapEff"] == sets["CapPrm"] == asked
    held = 0
    for mask in masks:
        held |= mask
    text = _names(held) if readable else "unreadable"
    if readable and nothing_more and not usable:
        text = _names(sets["CapEff"] or 0)
    return Control("capabilities", _names(asked), text, readable and nothing_more and usable)


def _mask(text: str) -> int | None:
    return int(text, 16) if re.fullmatch(r"[0-9a-fA-F]{1,32}", text) else None


def _names(mask: int) -> str:
    return ", ".join(names_of(mask)) or "none"


def _seccomp(found: LocksReport, spec: ContainerSpec) -> Control:
    """Whether system calls are filtered: mode 2 of seccomp(2). Which of them are is not to be seen from inside."""
    asked = spec.security.seccomp
    filtered = found.seccomp_mode == 2
    return Control("seccomp", asked, "filter" if filtered else "none", filtered or asked == UNCONFINED)


def _labels(found: LocksReport, spec: ContainerSpec) -> Iterator[Control]:
    """AppArmor and SELinux, where the engine uses them: elsewhere none can be asked for."""
    modules, security = spec.host.security_modules, spec.security
    label = found.label or "none"
    if "apparmor" in modules:
        yield Control("AppArmor", security.apparmor, label, _has_profile(label, security.apparmor))
    if "selinux" in modules:
        asked = ", ".join(security.selinux) or DEFAULT
        yield Control("SELinux", asked, label, _has_label(found.label, security.selinux))


def _has_profile(label: str, asked: str) -> bool:
    """Compare ``PROFILE (MODE)``; by itself an engine uses none that only complains (apparmor(7))."""
    profile, _, mode = label.partition(" (")
    if asked == DEFAULT:
        return profile not in ("none", UNCONFINED) and mode != "complain)"
    return asked in (UNCONFINED, profile)


def _has_label(label: str, asked: tuple[str, ...]) -> bool:
    """Compare parts of ``USER:ROLE:TYPE:LEVEL``, of which the level has colons of its own (selinux(8))."""
    parts = dict(zip(("user", "role", "type", "level"), label.split(":", 3), strict=False))
    if asked == (DISABLE,):
        return True
    confined = parts.get("type", "unconfined_t") not in ("unconfined_t", "spc_t")
    return all(parts.get(name) == value for name, _, value in (each.partition(":") for each in asked)) and (
        confined or any(each.startswith("type:") for each in asked)
    )


def _user_namespace(found: LocksReport, spec: ContainerSpec) -> Control:
    private = bool(found.uid_map) and not _WHOLE_RANGE.fullmatch(found.uid_map)
    asked = spec.security.userns
    return Control("user namespace", asked, "private" if private else "the host's", private or asked == DEFAULT)


def _namespaces(found: LocksReport, own_kernel: bool) -> Control:
    """A kernel of its own numbers its namespaces as it likes, and none of them is the host's."""
    links = found.namespaces or {}
    shared = [] if own_kernel else [name for name in _ISOLATED if not _is_own(name, links)]
    if found.pid not in (None, 1) and "pid" not in shared:
        shared.append("pid")
    asked = "own " + ", ".join(_ISOLATED)
    return Control("namespaces", asked, f"the host's {', '.join(sorted(shared))}" if shared else asked, not shared)


def _is_own(name: str, links: Mapping[str, str]) -> bool:
    match = re.fullmatch(rf"{name}:\[(\d+)\]", links.get(name, ""))
    return bool(match) and int(match[1] if match else 0) != _HOSTS_NAMESPACES[name]


def _runtime(runtime: str, found: LocksReport, own_kernel: bool) -> Control:
    """Of runtimes that bring a kernel along, that is to be seen; of others, no more than that they do not."""
    kernel = f"kernel {found.kernel_release}"
    brings_one = runtime.startswith(_OWN_KERNEL)
    return Control("runtime", runtime, f"{kernel}, its own" if own_kernel else kernel, own_kernel or not brings_one)


def _folders(mounts: list[MountPoint], spec: ContainerSpec, own_kernel: bool) -> Iterator[Control]:
    """The folders in memory: each a tmpfs without rights and devices, and no larger than was asked.

    gVisor, a kernel of its own, has no devices of the host's to keep out, and lists neither of the two options.
    """
    barred = frozenset() if own_kernel else frozenset({"nosuid", "nodev"})
    room = spec.limits.tmp_bytes
    taken = {mount.target for mount in spec.mounts} | {volume.target for volume in spec.volumes}
    own = [Tmpfs(path, room, True) for path in ("/tmp", HOME, WORKSPACE) if path not in taken]  # noqa: S108
    for folder in (*own, *spec.security.tmpfs_folders):
        size = folder.size_bytes or room
        asked = f"{size_text(size)}{'' if folder.executable else ', noexec'}"
        mount = mount_at(mounts, folder.path)
        wanted = barred if folder.executable else barred | {"noexec"}
        in_force = _is_folder(mount, folder.path, size) and mount is not None and wanted <= mount.options
        yield Control(f"tmpfs {folder.path}", asked, _folder_text(mount, folder.path, barred), in_force)


def _is_folder(mount: MountPoint | None, path: str, size_bytes: int) -> bool:
    if mount is None or (mount.path, mount.kind) != (path, "tmpfs") or mount.size_bytes is None:
        return False
    return mount.size_bytes < size_bytes + 4096  # The kernel gives whole pages.


def _folder_text(mount: MountPoint | None, path: str, barred: frozenset[str]) -> str:
    if mount is None or (mount.path, mount.kind) != (path, "tmpfs"):
        return "none"
    size = "no limit" if mount.size_bytes is None else size_text(mount.size_bytes)
    lacking = [f"no {name}" for name in sorted(barred - mount.options)]
    return ", ".join([size, *(["noexec"] if "noexec" in mount.options else []), *lacking])


def _overlays(mounts: list[MountPoint], spec: ContainerSpec) -> Iterator[Control]:
    """The repository's: an engine that left out what a volume is to be would show an empty folder."""
    for volume in spec.volumes:
        if volume.driver_options.get("type") == "overlay":
            mount = mount_at(mounts, volume.target)
            found = mount if mount and mount.path == volume.target else None
            writable = found is not None and found.kind == "overlay" and not found.read_only
            name = "repository" if volume.target == WORKSPACE else f"overlay {volume.target}"
            yield Control(name, "overlay", found.kind if found else "none", writable)


def _paths(mounts: list[MountPoint], found: LocksReport, spec: ContainerSpec, own_kernel: bool) -> Iterator[Control]:
    """What is masked and what takes no writes: the engine's own, as one control each, then each that was asked for.

    The files of a kernel of its own tell nothing of the host's, and its runtime masks fewer of them.
    """
    masked = {path: _masked(mounts, found.places.get(path)) for path in (*MASKED, *spec.security.masked_paths)}
    fixed = {path: _read_only(mounts, found.places.get(path)) for path in (*READ_ONLY, *spec.security.read_only_paths)}
    if not own_kernel:
        yield _usual("masked paths", {path: masked[path] for path in MASKED})
        yield _usual("read-only paths", {path: fixed[path] for path in READ_ONLY})
    for path in spec.security.masked_paths:
        yield Control(f"masked {path}", "masked", masked[path], masked[path] in ("masked", "absent"))
    for path in spec.security.read_only_paths:
        yield Control(f"read-only {path}", "read-only", fixed[path], fixed[path] in ("read-only", "absent"))


def _usual(name: str, states: Mapping[str, str]) -> Control:
    open_paths = [path for path, state in states.items() if state not in ("masked", "read-only", "absent")]
    return Control(
        name, "the engine's", f"all but {', '.join(open_paths)}" if open_paths else "the engine's", not open_paths
    )


def _masked(mounts: list[MountPoint], real: str | None) -> str:
    """Say whether the null device or an empty folder lies over a path, as the OCI runtime specification has it."""
    if not real:
        return "absent" if real == "" else "not looked at"
    mount = mount_at(mounts, real)
    if mount is None or mount.path != real:
        return "visible"
    return "masked" if is_null(mount) or (mount.kind == "tmpfs" and mount.read_only) else "visible"


def _read_only(mounts: list[MountPoint], real: str | None) -> str:
    if not real:
        return "absent" if real == "" else "not looked at"
    mount = mount_at(mounts, real)
    return "read-only" if mount is not None and mount.read_only else "writable"


def _device_list(found: LocksReport, spec: ContainerSpec, own_kernel: bool) -> Control:
    """The usual devices and those that were asked for, and no other: a privileged container has all of the host's."""
    asked = {device.inside for device in spec.security.device_list}
    more = set() if own_kernel else set(found.devices) - _DEVICES - asked
    missing = asked - set(found.devices)
    held = sorted(asked & set(found.devices)) + sorted(more)[:10]
    return Control("devices", _usual_and(sorted(asked)), _usual_and(held), not more and not missing)


def _usual_and(devices: list[str]) -> str:
    return ", ".join(["the usual", *devices])
