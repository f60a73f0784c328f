"""The limits of a container as its machine has them, for runtimes that show a container no cgroup of its own.

gVisor's ``runsc`` is one: the cgroup holds its kernel, with everything that runs on it, and can be seen from outside
alone. Sources: ``cgroups(7)`` for ``/proc/PID/cgroup``; the kernel's ``Documentation/admin-guide/cgroup-v2.rst``, and
below ``cgroup-v1/`` there ``memory.rst``, ``pids.rst``; ``Documentation/scheduler/sched-bwc.rst`` for the quota.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..agent.limits import limits_report

_NO_LIMIT = 2**60
"""cgroup v1 writes "no limit" as the largest page-aligned number."""

_OF_THE_CGROUP = ("memory_swap_bytes", "cpu_weight", "blkio_weights", "rates")


def limits_of(pid: int, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")) -> dict[str, Any]:
    """Return what the agent would report of the cgroup that a process of this machine is in.

    Parameters
    ----------
    pid : int
    proc, root : Path
        Where processes and cgroups are.

    Returns
    -------
    dict of str to object
        ``memory_limit_bytes``, ``pids_limit``, ``cpus``, ``cgroup_version`` and, in ``limits``, those fields of
        :class:`~chorus_nb.limits_enforced.LimitsReport` that come of a cgroup. None stands for no limit, and also for
        one that can't be read. Empty where nothing is known of the process.
    """
    groups = _groups(pid, proc)
    if not groups:
        return {}
    version = 1 if "memory" in groups else 2

    def read(name: str) -> str:
        controller, _, file = name.lstrip("/").partition("/")
        if version == 2:
            controller, file = "", name.lstrip("/")
        return _text(root, groups, controller, file)

    more = limits_report("", version, read)
    memory, pids, cpu = (
        ("memory.max", "pids.max", read("cpu.max"))
        if version == 2
        else (
            *("memory/memory.limit_in_bytes", "pids/pids.max"),
            read("cpu/cpu.cfs_quota_us") + " " + read("cpu/cpu.cfs_period_us"),
        )
    )
    return {
        "memory_limit_bytes": _number(read(memory).split()),
        "pids_limit": _number(read(pids).split()),
        "cpus": _ratio(cpu.split()),
        "cgroup_version": version,
        "limits": {name: more[name] for name in _OF_THE_CGROUP},
    }


def _groups(pid: int, proc: Path) -> dict[str, str]:
    """Return the cgroup's path by controller, that of version 2 by the empty name: ``HIERARCHY:CONTROLLERS:PATH``."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return {}
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {controller: path for _, controllers, path in fields for controller in controllers.split(",")}


def _text(root: Path, groups: dict[str, str], controller: str, name: str) -> str:
    if (path := groups.get(controller)) is None:
        return ""
    try:
        return (root / controller / path.strip("/") / name).read_text()
    except OSError:
        return ""


def _number(words: list[str]) -> int | None:
    number = int(words[0]) if words and words[0].isdigit() else _NO_LIMIT
    return number if number < _NO_LIMIT else None


def _ratio(words: list[str]) -> float | None:
    quota, period = _number(words[:1]), _number(words[1:])
    return quota / period if quota is not None and period else None
