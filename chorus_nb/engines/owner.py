"""Whose container is it, and is that process still there?

Every container carries a label that names the process it belongs to. A later start removes what a crash left behind:
only containers whose owner is *provably* gone. Several machines may share one engine, and several containers one
machine, so a process that can't be looked up from here counts as alive.

What a process keeps in this user's folder for caches has the same label, as the target of a link beside it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

_UNKNOWN = "-"
_PROC = Path("/proc")
_LINK = ".owner"


class Owner(NamedTuple):
    """A process, told apart from every other one that ever was or will be.

    Attributes
    ----------
    machine : str
        A digest of the machine's id: the id itself is confidential, by the manual of ``machine-id``.
    boot : str
        The id of this boot of the kernel; containers on one machine share it.
    pid_namespace : str
        The inode number of the PID namespace in which ``pid`` counts.
    pid : str
        The process id.
    start_time : str
        When it started, in clock ticks since the boot: a process id is used again, the pair is not.
    """

    machine: str
    boot: str
    pid_namespace: str
    pid: str
    start_time: str


def owner_label() -> str:
    """Return the label of this process: ``MACHINE/BOOT-ID/PID-NAMESPACE/PID/START-TIME``."""
    # Not cached: a forked child is another owner.
    pid = str(os.getpid())
    return "/".join(Owner(*_here(), pid, (_state_and_start(pid) or ("", _UNKNOWN))[1]))


def owner_alive(label: str) -> bool:
    """Return False only where the process that ``label`` names is provably gone.

    A label that can't be read, another machine's, another PID namespace's: all count as alive.
    """
    fields = label.split("/")
    if len(fields) != len(Owner._fields) or _UNKNOWN in fields[1:]:
        return True
    owner = Owner(*fields)
    machine, boot, pid_namespace = _here()
    if owner.boot != boot:
        return owner.machine == _UNKNOWN or owner.machine != machine
    return owner.pid_namespace != pid_namespace or _runs(owner.pid, owner.start_time)


def claim(path: Path) -> None:
    """Note beside a path that it is this process's, before anything is there; its folder is made for this user alone.

    Raises ``OSError``.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.with_suffix(_LINK).symlink_to(owner_label())


def unclaim(path: Path) -> None:
    """Remove the note, last of all. Raises ``OSError``; one that is gone is fine."""
    path.with_suffix(_LINK).unlink(missing_ok=True)


def abandoned(folder: Path) -> list[Path]:
    """Return what was claimed in a folder by processes that are provably gone. There need not be such a folder."""
    found: list[Path] = []
    with suppress(OSError):
        for link in [each for each in folder.iterdir() if each.suffix == _LINK]:
            with suppress(OSError):  # Somebody else has just removed it.
                if not owner_alive(str(link.readlink())):
                    found.append(link.with_suffix(""))
    return found


def _runs(pid: str, start_time: str) -> bool:
    if not pid.isascii() or not pid.isdigit() or int(pid) < 1:
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # It exists; /proc may hide what belongs to another user, so its absence there would prove nothing.
    found = _state_and_start(pid)
    return found is None or (found[0] not in "ZX" and found[1] == start_time)


def _state_and_start(pid: str) -> tuple[str, str] | None:
    """Return the state letter and the start time, fields 3 and 22 of ``/proc/PID/stat`` (proc(5))."""
    try:
        # The name of the program, in parentheses, may itself contain spaces and parentheses.
        fields = (_PROC / pid / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None


@cache
def _here() -> tuple[str, str, str]:
    machine = _read(Path("/etc/machine-id"))
    digest = hashlib.sha256(b"chorus-nb" + machine.encode()).hexdigest()[:16] if machine else _UNKNOWN
    try:
        namespace = str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        namespace = _UNKNOWN
    return digest, _read(_PROC / "sys/kernel/random/boot_id") or _UNKNOWN, namespace


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
