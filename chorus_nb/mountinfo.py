"""Mounts as the kernel lists them, a container's or our own (``/proc/self/mountinfo``, proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .config import parse_size_bytes

_OCTAL = re.compile(r"\\([0-7]{3})")


class MountPoint(NamedTuple):
    """One line of it: ``root`` is what of the file system is shown at ``path``, ``options`` are the mount's and its."""

    id: int
    parent: int
    root: str
    path: str
    kind: str
    options: frozenset[str]

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written through it."""
        return "ro" in self.options

    @property
    def size_bytes(self) -> int | None:
        """The limit of a tmpfs; None where it has none, which is also 0 (tmpfs(5)).

        Linux writes it in KiB, gVisor as it was asked for.
        """
        sizes = [each for each in self.options if re.fullmatch(r"size=\d{1,18}[kmg]?", each)]
        size = parse_size_bytes(sizes[0].removeprefix("size=")) if len(sizes) == 1 else None
        return size if isinstance(size, int) and size else None


def mounts_of(text: str) -> list[MountPoint]:
    """Read the list. A line of another shape is left out: what is not listed is not in force."""
    return [mount for line in text.split("\n") if (mount := _mount(line.split(" ")))]


def own_mounts() -> list[MountPoint]:
    """Return what this process sees mounted; nothing where the system does not say."""
    try:
        return mounts_of(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    except OSError:
        return []


def mount_points_below(root: str, mounts: Iterable[MountPoint]) -> frozenset[str]:
    """Return where something else is mounted below a folder, relative to it."""
    start = root.rstrip("/") + "/"
    return frozenset(each.path[len(start) :] for each in mounts if each.path.startswith(start))


def _mount(fields: list[str]) -> MountPoint | None:
    if len(fields) < 10 or "-" not in fields[6:-3] or not (fields[0].isdecimal() and fields[1].isdecimal()):
        return None
    kind, _, own = fields[fields.index("-", 6) + 1 :][:3]
    options = frozenset((*fields[5].split(","), *own.split(",")))
    return MountPoint(int(fields[0]), int(fields[1]), _plain(fields[3]), _plain(fields[4]), kind, options)


def _plain(path: str) -> str:
    return _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), path)


def mount_at(mounts: Sequence[MountPoint], path: str) -> MountPoint | None:
    """Return the mount that a path leads into: down from the root, at each mount point into what is mounted there."""
    ids = {mount.id for mount in mounts}
    here = next((mount for mount in mounts if mount.path == "/" and mount.parent not in ids - {mount.id}), None)
    for _ in mounts:  # No path leads through more; a list that leads in a circle ends here too.
        inner = [each for each in mounts if here and each.parent == here.id != each.id and _is_in(path, each.path)]
        if not inner:
            break
        here = min(inner, key=lambda mount: len(mount.path))
    return here


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
