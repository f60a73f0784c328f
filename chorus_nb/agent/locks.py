"""The locks around this process, as the kernel accounts for them; the host compares them with what was asked.

Sources: proc_pid_status(5), proc_pid_mountinfo(5), proc_pid_attr(5), namespaces(7), user_namespaces(7).
"""

import os
import stat
from typing import Any, Dict, List

_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_MAX_DEVICES = 1000


def locks_report(status: Dict[str, str], paths: List[str]) -> Dict[str, Any]:
    """Return what is to be seen of the locks.

    Parameters
    ----------
    status : dict of str to str
        The fields of ``/proc/self/status``.
    paths : list of str
        Where to look for what is masked or read-only.
    """
    return {
        "capabilities": {name: status[name] for name in _CAPABILITY_SETS if name in status},
        "groups": [int(each) for each in status.get("Groups", "").split()],
        "seccomp_mode": int(status.get("Seccomp", "0") or 0),
        "label": _text("/proc/self/attr/current"),
        "uid_map": _text("/proc/self/uid_map"),
        "mountinfo": _text("/proc/self/mountinfo"),
        "kernel_release": os.uname().release,
        "pid": os.getpid(),
        "namespaces": _namespaces(),
        "devices": _devices("/dev"),
        "places": {path: os.path.realpath(path) if os.path.exists(path) else "" for path in paths},
    }


def _text(path: str) -> str:
    try:
        # A name may have any other end of a line in it, in mountinfo as well.
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            return file.read().strip("\0\n")
    except OSError:
        return ""  # No such module, or none that is active.


def _namespaces() -> Dict[str, str]:
    found = {}
    for name in _NAMESPACES:  # Nobody may list them who is not dumpable; each by its name may be read.
        try:
            found[name] = os.readlink("/proc/self/ns/" + name)
        except OSError:
            pass  # A kernel without it.
    return found


def _devices(folder: str) -> List[str]:
    """Name the devices in a folder and below; not those of terminals, of which each container has its own."""
    found: List[str] = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) and path not in ("/dev/pts", "/dev/shm", "/dev/mqueue"):
                found += _devices(path)
        except OSError:
            continue  # It is gone again, or nobody but root sees into it; nor does the code.
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            found.append(path)
    return found[:_MAX_DEVICES]
