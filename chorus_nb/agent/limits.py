"""The limits around this process beside memory, CPU time and processes; the host compares them with what was asked.

Sources: the kernel's ``Documentation/admin-guide/cgroup-v2.rst``, ``cgroup-v1/memory.rst``,
``cgroup-v1/blkio-controller.rst``, ``scheduler/sched-design-CFS.rst``; proc_pid_limits(5), proc_pid_status(5),
proc_pid_mountinfo(5).
"""

import re
from typing import Any, Callable, Dict, List, Optional

CGROUP_V1 = (
    *("memory/memory.memsw.limit_in_bytes", "cpu/cpu.shares", "blkio/blkio.weight", "blkio/blkio.bfq.weight"),
    *("blkio/blkio.throttle.read_bps_device", "blkio/blkio.throttle.write_bps_device"),
    *("blkio/blkio.throttle.read_iops_device", "blkio/blkio.throttle.write_iops_device"),
)
CGROUP_V2 = ("memory.max", "memory.swap.max", "cpu.weight", "io.weight", "io.bfq.weight", "io.max")

_NO_LIMIT = 2**60
_UNLIMITED = -1
_MAX_DEVICES = 256
_RATES = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
RLIMITS = {
    "Max cpu time": "cpu",
    "Max file size": "fsize",
    "Max data size": "data",
    "Max stack size": "stack",
    "Max core file size": "core",
    "Max resident set": "rss",
    "Max processes": "nproc",
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max file locks": "locks",
    "Max pending signals": "sigpending",
    "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice",
    "Max realtime priority": "rtprio",
    "Max realtime timeout": "rttime",
}


def read_text(path: str) -> str:
    """Return the text of a file; empty where there is none."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def limits_report(root: str, version: int, read: Callable[[str], str] = read_text) -> Dict[str, Any]:
    """Return the limits by name.

    Parameters
    ----------
    root : str
        Where the cgroup is.
    version : int
        1 or 2; 0 where there is none of our own.
    read : callable
        Returns the text of a file by its path; empty where there is none.
    """
    cgroup = {0: _no_cgroup, 1: _cgroup_v1, 2: _cgroup_v2}[version](lambda name: read("%s/%s" % (root, name)))
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", read("/proc/self/status"), re.M)
    return dict(
        cgroup,
        cpuset=allowed.group(1) if allowed else "",
        rlimits=_rlimits(read("/proc/self/limits")),
        shm_bytes=_shm_bytes(read("/proc/self/mountinfo")),
    )


def _no_cgroup(text: Callable[[str], str]) -> Dict[str, Any]:
    return {"memory_swap_bytes": None, "cpu_weight": None, "blkio_weights": [], "rates": {name: [] for name in _RATES}}


def _cgroup_v1(text: Callable[[str], str]) -> Dict[str, Any]:
    return {
        "memory_swap_bytes": _limit(text("memory/memory.memsw.limit_in_bytes")),
        "cpu_weight": _limit(text("cpu/cpu.shares")),
        "blkio_weights": _weights(text("blkio/blkio.weight"), text("blkio/blkio.bfq.weight")),
        "rates": {name: _columns(text("blkio/blkio.throttle.%s_device" % name)) for name in _RATES},
    }


def _cgroup_v2(text: Callable[[str], str]) -> Dict[str, Any]:
    memory, swap = _limit(text("memory.max")), _limit(text("memory.swap.max"))
    devices = text("io.max")
    return {
        "memory_swap_bytes": None if memory is None or swap is None else memory + swap,
        "cpu_weight": _limit(text("cpu.weight")),
        "blkio_weights": _weights(text("io.weight"), text("io.bfq.weight")),
        "rates": {name: [int(rate) for rate in re.findall(r"\b%s=(\d{1,19})\b" % key, devices)][:_MAX_DEVICES]
                  for name, key in _RATES.items()},
    }  # fmt: skip


def _limit(text: str) -> Optional[int]:
    digits = text.strip()
    return int(digits) if digits.isdigit() and int(digits) < _NO_LIMIT else None


def _weights(*texts: str) -> List[int]:
    """Read ``300``, and ``default 300`` before the lines of single devices."""
    found = [re.match(r"(?:default )?(\d{1,6})\s*(?:\n|$)", text) for text in texts]
    return [int(match.group(1)) for match in found if match]


def _columns(text: str) -> List[int]:
    """Read the rates of lines such as ``8:0 1048576``."""
    return [int(rate) for rate in re.findall(r"^\d+:\d+ (\d{1,19})$", text, re.M)][:_MAX_DEVICES]


def _rlimits(text: str) -> Dict[str, List[int]]:
    """Read soft and hard limits by Docker's names; -1 is unlimited."""
    found = {}
    for title, soft, hard in re.findall(r"^(Max [a-z ]+?) {2,}(\d+|unlimited) +(\d+|unlimited)", text, re.M):
        if title in RLIMITS:
            found[RLIMITS[title]] = [_UNLIMITED if each == "unlimited" else int(each) for each in (soft, hard)]
    return found


def _shm_bytes(mountinfo: str) -> Optional[int]:
    """Read the size of the tmpfs at ``/dev/shm``, which the kernel writes in KiB (tmpfs(5))."""
    sizes = re.findall(r"^\S+ \S+ \S+ \S+ /dev/shm .* - tmpfs \S+ \S*?\bsize=(\d{1,18})(k?)", mountinfo, re.M)
    return int(sizes[-1][0]) * (1024 if sizes[-1][1] else 1) if sizes else None
