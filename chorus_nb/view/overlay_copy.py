"""What a sandbox has changed in a repository that it sees through an overlay: the overlay's upper folder, read here.

The kernel puts a file there when the sandbox first writes to it, and a device of the number 0/0 where it removed one
("whiteouts and opaque directories" in the kernel's ``Documentation/filesystems/overlayfs.rst``). So only what was
touched is read, however large the repository is. The folder changes while it is read, and what is in it is hostile:
every step is taken from an open folder, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ..errors import WorkingCopyError
from ..host_tree import MAX_DEPTH, MAX_ENTRIES, too_deep, too_many_paths
from ..working_copy import Entry, FileKind, FileState, WorkingCopy
from .birth_time import birth_ns

TICK_NS = 10_000_000
"""How coarse the times of files are: a tick of the kernel's clock, at most 10 ms (``CONFIG_HZ``)."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "user.overlay.opaque"
_ORIGIN = "user.overlay.origin"
_KINDS: Mapping[int, FileKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
_OTHER_NOW = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What was seen there is gone, or something else has come in its place."""


@dataclass
class _Level:
    """A folder that is being read."""

    descriptor: int
    path: str
    names: Iterator[str]
    count: int


class OverlayCopy(WorkingCopy):
    """The view of a sandbox through an overlay.

    Parameters
    ----------
    folder : Path
        The repository, which is the overlay's lower folder.
    upper : Path
        Its upper folder.
    made_ns : int
        When that was made, in nanoseconds since the epoch. It stands for the time of each copy on a file system that
        keeps no time of birth: then all that has changed on the host since counts as changed under the sandbox.
    """

    def __init__(self, folder: Path, upper: Path, made_ns: int) -> None:
        self.folder = folder
        self._upper = upper
        self._made_ns = made_ns

    def entries(self) -> Iterator[Entry]:
        with _explained(""):
            levels = [_level(os.open(self._upper, _FOLDER), "")]
        count = levels[0].count
        try:
            while levels:
                if count > MAX_ENTRIES:
                    raise too_many_paths()
                found = self._next(levels[-1])
                if found is None:
                    os.close(levels.pop().descriptor)
                    continue
                if found.state and found.state.kind == "directory":
                    inner = _entered(levels[-1], found.path)
                    if inner is None:
                        continue
                    levels.append(inner)
                    count += inner.count
                    if len(levels) > MAX_DEPTH:  # Each takes a descriptor, of which a process often has 1024.
                        raise too_deep(found.path)
                    found = replace(found, whole=_is_opaque(inner))
                yield found
        finally:
            for level in levels:
                os.close(level.descriptor)

    def _next(self, level: _Level) -> Entry | None:
        """Return the next entry of a folder; None at its end."""
        for name in level.names:
            path = f"{level.path}/{name}" if level.path else name
            with _explained(path):
                try:
                    return self._entry(name, path, level.descriptor)
                except FileNotFoundError:
                    continue
        return None

    def _entry(self, name: str, path: str, folder: int) -> Entry:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        born_ns = birth_ns(name, folder)
        # Earlier by a tick, so that a change of the host's in the same tick counts as later.
        base_ns = (self._made_ns if born_ns is None else born_ns) - TICK_NS
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return Entry(path, None, base_ns)
        target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else ""
        return Entry(path, _state(status, target), base_ns)

    def open(self, path: str) -> BinaryIO:
        with _explained(path), self._folder_of(path) as (place, name):
            return _open_regular(name, place)

    def origin(self, path: str) -> bytes:
        with _explained(path), self._folder_of(path) as (place, name):
            try:
                return os.getxattr(f"/proc/self/fd/{place}/{name}", _ORIGIN, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                    raise
                return b""

    @contextmanager
    def _folder_of(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the folder that a path is in; with it comes the name there."""
        *folders, name = _parts(path)
        place = os.open(self._upper, _FOLDER)
        try:
            for each in folders:
                inner = os.open(each, _FOLDER, dir_fd=place)
                os.close(place)
                place = inner
            yield place, name
        finally:
            os.close(place)


def _level(descriptor: int, path: str) -> _Level:
    """Read the names of an open folder, in order; closes it where that fails."""
    try:
        with os.scandir(descriptor) as found:
            names = [each.name for each in islice(found, MAX_ENTRIES + 1)]
    except BaseException:
        os.close(descriptor)
        raise
    return _Level(descriptor, path, iter(sorted(names)), len(names))


def _entered(level: _Level, path: str) -> _Level | None:
    """Open a folder that was seen in another; None where it is gone again."""
    with _explained(path):
        try:
            return _level(os.open(path.rpartition("/")[2], _FOLDER, dir_fd=level.descriptor), path)
        except OSError as error:
            if error.errno not in _OTHER_NOW:
                raise
            return None


def _is_opaque(level: _Level) -> bool:
    """Whether nothing of the host's folder shows through; the sandbox can't set the attribute itself."""
    with _explained(level.path):
        try:
            return os.getxattr(level.descriptor, _OPAQUE) == b"y"
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return False


def _state(status: os.stat_result, target: str) -> FileState:
    mode = stat.S_IMODE(status.st_mode)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    return FileState(kind, mode, status.st_size, status.st_mtime_ns, target)


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise WorkingCopyError(f"{path!r} is no path in the repository.", path=path, next_step="Name it from its top.")
    return parts


def _open_regular(name: str, folder: int) -> BinaryIO:
    # O_NONBLOCK: a FIFO would wait for somebody at its other end.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    opened = os.open(name, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(opened, "rb")


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say of an error which path of the view can't be read."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WorkingCopyError):
            raise
        where = f" at {path!r}" if path else ""
        raise WorkingCopyError(
            f"The sandbox's view of the repository can't be read{where}: {error.strerror}.",
            path=path,
            next_step="Where its code took its own permission away, a cell can give it back: os.chmod, or chmod.",
        ) from error
