"""What the agent finds enforced around it, for the host to compare with what was asked.

Sources: ``proc_pid_status(5)`` for capabilities, ``NoNewPrivs`` and ``Seccomp``; ``statvfs(3)`` for the root mount.
"""

import os
import platform
import resource
import socket
import sys
from typing import Any, Dict, List

from .cgroup import Cgroup
from .limits import limits_report
from .locks import locks_report


def policy_report(cgroup: Cgroup, undumpable: bool, paths: List[str]) -> Dict[str, Any]:
    """Return the controls in force, by name; ``paths`` are those that may be masked or read-only."""
    status = _status()
    sample = cgroup.sample()
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "no_new_privileges": status.get("NoNewPrivs") == "1",
        "read_only_root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "interfaces": sorted(name for _, name in socket.if_nameindex() if _is_up(name)),
        "memory_limit_bytes": sample["memory_limit_bytes"],
        "pids_limit": sample["pids_limit"],
        "cpus": cgroup.cpus(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "cgroup_version": cgroup.version,
        "supervisor_undumpable": undumpable,
        "python_version": platform.python_version(),
        "python_executable": sys.executable,
        "limits": limits_report(cgroup.root, cgroup.version),
        "locks": locks_report(status, paths),
    }


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
