"""The limits of a container as its machine has them, for runtimes that show a container no cgroup of its own.

gVisor's ``runsc`` is one: the cgroup holds its kernel, with everything that runs on it, and can be seen from outside
alone. Sources: ``cgroups(7)`` for ``/proc/PID/cgroup``; the kernel's ``Documentation/admin-guide/cgroup-v2.rst``, and
below ``cgroup-v1/`` there ``memory.rst``, ``pids.rst``; ``Documentation/scheduler/sched-bwc.rst`` for the quota.
"""

from __future__ import annotations

from pathlib import Path

_NO_LIMIT = 2**60
"""cgroup v1 writes "no limit" as the largest page-aligned number."""


def limits_of(
    pid: int, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")
) -> dict[str, int | float | None]:
    """Return ``memory_limit_bytes``, ``pids_limit`` and ``cpus`` of the cgroup that a process of this machine is in.

    None stands for no limit, and also for one that can't be read.
    """
    groups = _groups(pid, proc)
    memory = _words(root, groups, "memory", "memory.limit_in_bytes") or _words(root, groups, "", "memory.max")
    pids = _words(root, groups, "pids", "pids.max") or _words(root, groups, "", "pids.max")
    quota = _words(root, groups, "cpu", "cpu.cfs_quota_us") + _words(root, groups, "cpu", "cpu.cfs_period_us")
    quota = quota or _words(root, groups, "", "cpu.max")
    return {"memory_limit_bytes": _number(memory[:1]), "pids_limit": _number(pids[:1]), "cpus": _ratio(quota)}


def _groups(pid: int, proc: Path) -> dict[str, str]:
    """Return the cgroup's path by controller, that of version 2 by the empty name: ``HIERARCHY:CONTROLLERS:PATH``."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return {}
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {controller: path for _, controllers, path in fields for controller in controllers.split(",")}


def _words(root: Path, groups: dict[str, str], controller: str, name: str) -> list[str]:
    if (path := groups.get(controller)) is None:
        return []
    try:
        return (root / controller / path.strip("/") / name).read_text().split()
    except OSError:
        return []


def _number(words: list[str]) -> int | None:
    number = int(words[0]) if words and words[0].isdigit() else _NO_LIMIT
    return number if number < _NO_LIMIT else None


def _ratio(words: list[str]) -> float | None:
    quota, period = _number(words[:1]), _number(words[1:])
    return quota / period if quota is not None and period else None
