"""What folders hold that is worth a look, remembered while this process lives and they stay as they are.

A name that comes or goes sets the times of the folder that it is in (inode(7)), so a look at these takes the place of
a listing, a hundred times as fast for source code. A folder is listed again where its times have changed, where they
were so young that a change might not show, where the clock was set back, and on all file systems of which it is not
known that they keep to it: those of a network, of FUSE, of other machines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from .mountinfo import MountPoint, mount_at

Kind = Literal["file", "directory", "link", "other"]

SETTLED_NS = 2_000_000_000
"""How old a folder's times have to be: a change may come within the same tick, which is a second on some disks."""

_OF_THIS_KERNEL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "zfs"})
_MAX_ROOTS = 4
_MAX_FOLDERS = 100_000


class Entry(NamedTuple):
    """One name in a folder, and what it is the name of: a link is not followed."""

    name: str
    kind: Kind


class Listing(NamedTuple):
    """What a folder had in it when its device, number and times were ``state``: ``number`` names, of which ``entries``
    are worth a look."""

    state: tuple[int, ...]
    number: int
    entries: tuple[Entry, ...]


class _Remembered(NamedTuple):
    folders: dict[str, Listing]
    clock_ns: int


_remembered: dict[str, _Remembered] = {}


class Listings:
    """Lists a folder and those in it, in one walk.

    Parameters
    ----------
    root : str
        Its absolute path.
    is_remarkable : callable
        Tells by the name which plain files are worth a look, as all else is. Always the same function for what is
        remembered.
    mounts : sequence of MountPoint
        All there are.
    remember : bool
        Whether to use what is remembered, and to remember.
    """

    def __init__(
        self, root: str, is_remarkable: Callable[[str], bool], mounts: Sequence[MountPoint], *, remember: bool
    ) -> None:
        self._root = root
        self._is_remarkable = is_remarkable
        self._remembers = remember and _times_tell(root, mounts)
        self._clock_ns = _clock_ns() if self._remembers else 0
        self._known = _known(root, self._clock_ns) if self._remembers else {}
        self._found: dict[str, Listing] = {}

    def of(self, folder: str) -> Listing:
        """Return what is in a folder, whose path is relative to the root. Raises ``OSError``."""
        if not self._remembers:
            return self._listed(folder, ())
        now_ns = time.time_ns()
        stat = os.stat(f"{self._root}/{folder}")  # noqa: PTH116 - A Path costs more than the look.
        state = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        known = self._known.get(folder)
        listing = known if known and known.state == state else self._listed(folder, state)
        if now_ns - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS:
            self._found[folder] = listing
        return listing

    def _listed(self, folder: str, state: tuple[int, ...]) -> Listing:
        with os.scandir(f"{self._root}/{folder}") as entries:
            found = list(entries)
        # Nearly all that a repository holds are plain files, so what is done here is done for each of them.
        chosen = [each for each in found if not each.is_file(follow_symlinks=False) or self._is_remarkable(each.name)]
        return Listing(state, len(found), tuple(Entry(each.name, _kind(each)) for each in chosen))

    def remember(self) -> None:
        """Keep what was found for the next walk, in place of what was known; call it at the end of this one."""
        if self._remembers:
            _remembered.pop(self._root, None)
            if len(self._found) <= _MAX_FOLDERS:
                _remembered[self._root] = _Remembered(self._found, self._clock_ns)
            for root in list(_remembered)[:-_MAX_ROOTS]:
                _remembered.pop(root, None)


def _known(root: str, clock_ns: int) -> dict[str, Listing]:
    known = _remembered.get(root)
    # With a clock that was set back, a change may bear the time that a folder had before.
    return known.folders if known and clock_ns > known.clock_ns - SETTLED_NS // 2 else {}


def _clock_ns() -> int:
    """Return by how much the clock of the times is ahead of the one that nobody sets (clock_gettime(2))."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _times_tell(root: str, mounts: Sequence[MountPoint]) -> bool:
    around = mount_at(mounts, root)
    below = [each for each in mounts if each.path.startswith(root.rstrip("/") + "/")]
    return around is not None and {each.kind for each in (around, *below)} <= _OF_THIS_KERNEL


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"
