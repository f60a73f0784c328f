"""What the agent finds enforced around it, for the host to compare with what was asked.

Sources: ``proc_pid_status(5)`` for capabilities, ``NoNewPrivs`` and ``Seccomp``; ``statvfs(3)`` for the root mount.
"""

import os
import platform
import resource
import socket
import sys
from typing import Any, Dict, List

from . import posix
from .cgroup import Cgroup
from .limits import RLIMITS, limits_report
from .locks import locks_report


def policy_report(cgroup: Cgroup, undumpable: bool, paths: List[str]) -> Dict[str, Any]:
    """Return the controls in force, by name; ``paths`` are those that may be masked or read-only."""
    status = _status()
    sample = cgroup.sample()
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "no_new_privileges": _no_new_privileges(status),
        "read_only_root": _read_only_root(),
        "interfaces": sorted(name for _, name in socket.if_nameindex() if _is_up(name)),
        "memory_limit_bytes": sample["memory_limit_bytes"],
        "pids_limit": sample["pids_limit"],
        "cpus": cgroup.cpus(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "cgroup_version": cgroup.version,
        "supervisor_undumpable": undumpable and posix.hides_from_its_user(),
        "python_version": platform.python_version(),
        "python_executable": sys.executable,
        "limits": _limits(cgroup),
        "locks": locks_report(status, paths),
    }


def _no_new_privileges(status: Dict[str, str]) -> bool:
    """Ask the kernel where its list has no such line, as gVisor's (``PR_GET_NO_NEW_PRIVS``, prctl(2))."""
    return status["NoNewPrivs"] == "1" if "NoNewPrivs" in status else posix.gains_no_privileges()


def _read_only_root() -> bool:
    """Ask for the flag, and look into the list of mounts where the kernel sets none, as gVisor's."""
    return bool(os.statvfs("/").f_flag & os.ST_RDONLY) or _read_only_in("/proc/self/mounts")


def _read_only_in(path: str) -> bool:
    """Whether the root that lies over all others is read-only in a list of mounts (proc_mounts(5))."""
    with open(path) as file:
        fields = [line.split() for line in file]
    options = [words[3].split(",") for words in fields if len(words) > 3 and words[1] == "/"]
    return bool(options) and "ro" in options[-1]


def _limits(cgroup: Cgroup) -> Dict[str, Any]:
    """Ask for those of this process where the kernel has no list of them, as gVisor's (getrlimit(2))."""
    found = limits_report(cgroup.root, cgroup.version)
    if not found["rlimits"]:
        names = {name: getattr(resource, "RLIMIT_" + name.upper(), None) for name in RLIMITS.values()}
        found["rlimits"] = {name: list(resource.getrlimit(key)) for name, key in names.items() if key is not None}
    return found


def _is_up(name: str) -> bool:
    """Leave out the tunnels that some kernels put, down, into every namespace (``IFF_UP``, netdevice(7))."""
    try:
        with open("/sys/class/net/%s/flags" % name) as file:
            return bool(int(file.read(), 16) & 1)
    except (OSError, ValueError):
        return True


def _status() -> Dict[str, str]:
    fields = {}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields
