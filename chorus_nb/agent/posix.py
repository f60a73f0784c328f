"""The few calls of Linux that Python has no name for, and looking at processes through ``/proc``."""

import ctypes
import errno
import os
import signal
import socket
from typing import Iterator, List, Tuple

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_NO_NEW_PRIVS = 39


def _prctl(option: int, value: int, *, answer: int = 0) -> bool:
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == answer)
    except (OSError, AttributeError):
        return False


def take_standard_streams() -> Tuple[int, int]:
    """Return descriptors of our own for standard input and output; those become the null device and standard error."""
    taken = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return taken


def set_dumpable(dumpable: bool) -> bool:
    """Say whether processes of the same user may trace this one and open its descriptors through ``/proc``."""
    return _prctl(_PR_SET_DUMPABLE, int(dumpable))


def hides_from_its_user() -> bool:
    """Whether other processes of this one's user are kept from its descriptors, as they are from what is not dumpable.

    Linux then gives the files in ``/proc`` to root (proc_pid(5)). Where that shows nothing, as for root itself, a child
    tries: gVisor, for one, takes note of ``PR_SET_DUMPABLE`` and opens them all the same.
    """
    descriptors = "/proc/%d/fd" % os.getpid()
    if os.stat(descriptors).st_uid != os.geteuid():
        return True
    child = os.fork()
    if child == 0:
        try:
            os.readlink(descriptors + "/0")  # The names alone root may list.
            os._exit(1)
        except OSError:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def gains_no_privileges() -> bool:
    """Whether no program that this process executes has more rights than it has."""
    return _prctl(_PR_GET_NO_NEW_PRIVS, 0, answer=1)


def adopt_orphans() -> bool:
    """Become the parent of orphaned descendants, as PID 1 is anyway."""
    return os.getpid() == 1 or _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def prefer_for_oom_kill(pid: int) -> None:
    """Make the kernel take this process first when memory runs out. Raising one's own score needs no privilege."""
    try:
        with open("/proc/%d/oom_score_adj" % pid, "w") as file:
            file.write("1000")
    except OSError:
        pass  # The process has ended already, or this kernel has no such file.


def descendants() -> List[int]:
    """Return the living processes below this one; for PID 1 that is every process of the container."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parents[int(name)] = _parent(name)
    found, level = [], [os.getpid()]
    while level:
        level = [pid for pid, parent in parents.items() if parent in level]
        found += level
    return found


def _parent(pid: str) -> int:
    """Return the parent of a process, or -1 where it is a zombie or gone."""
    try:
        with open("/proc/%s/stat" % pid) as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except OSError:
        return -1
    return -1 if state == "Z" else int(parent)


class ChildWatch:
    """Tells of children that have ended, by a descriptor that a selector can wait for (``signal.set_wakeup_fd``)."""

    def __init__(self) -> None:
        self.readable, self._written = socket.socketpair()
        self.readable.setblocking(False)
        self._written.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)

    def reap(self) -> Iterator[Tuple[int, int]]:
        """Yield what :func:`ended_children` does, once it was told of."""
        try:
            self.readable.recv(4096)
        except BlockingIOError:
            pass
        return ended_children()


def ended_children() -> Iterator[Tuple[int, int]]:
    """Yield pid and wait status of every child that has ended and was not yet reaped."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def kill_descendants(spare: List[int]) -> bool:
    """Kill every process below this one but ``spare``; False where new ones come faster than the old ones go."""
    killed = set(spare)
    for _ in range(20):
        found = set(descendants()) - killed
        if not found:
            return True
        for pid in found:
            kill(pid, signal.SIGKILL)
        killed |= found
    return False


def kill(pid: int, number: int, group: bool = False) -> None:
    """Send a signal; a process or group that is gone already is fine."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
