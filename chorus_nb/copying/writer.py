"""Files of a sandbox as they are written on the host: each to a name of its own beside its place, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress

from ..file_requests import PIECE_BYTES
from ..host_tree import HostTree, parents
from ..progress import Progress
from ..sanitize import printable_line
from .download import MAX_UNSIZED_BYTES, Content, Download, Refused, Unsized
from .host import NAME_ERRNOS
from .transfer import Item, Transfer, readable_bytes

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HASH_PIECE_BYTES = 2**20


class HostWriter:
    """Writes below a folder of the host, and nowhere else.

    Parameters
    ----------
    tree : HostTree
    done : Transfer
        Where it is noted what was copied, and what was not.
    overwrite : bool
        Whether files that are there are replaced.
    """

    def __init__(self, tree: HostTree, done: Transfer, overwrite: bool) -> None:
        self._tree = tree
        self._done = done
        self._overwrite = overwrite
        self._made: set[tuple[int, int]] = set()
        """Device and inode of what was made: where the file system takes two names for one, the first stays."""
        self._without: set[str] = set()
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    # Folders

    def make(self, item: Item) -> bool:
        """Make a folder; False where it was there, or can't be, and then nothing below it is written."""
        if not item.to or self._is_left_out(item):
            return False
        folder, name = self._tree.at(item.to)
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            found = os.lstat(name, dir_fd=folder)
            if not stat.S_ISDIR(found.st_mode) or _inode(found) in self._made:
                self._leave_out(item, "the host takes its name for that of another")
            return False
        except OSError as error:
            if error.errno not in NAME_ERRNOS:
                raise
            self._leave_out(item, f"the host can't have the name: {error.strerror}")
            return False
        self._made.add(_inode(os.lstat(name, dir_fd=folder)))
        return True

    def _leave_out(self, item: Item, reason: str) -> None:
        self._done.skip(item.source, reason)
        self._without.add(item.to)

    def _is_left_out(self, item: Item) -> bool:
        return bool(self._without) and any(folder in self._without for folder in parents(item.to))

    def settle(self, item: Item) -> None:
        """Give a folder its permissions and time, once it is full."""
        folder, name = self._tree.at(item.to)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            self._finish(fd, item, 0o700)
        finally:
            os.close(fd)

    def _finish(self, fd: int, item: Item, at_least: int) -> None:
        os.fchmod(fd, item.mode & ~self._umask | at_least)
        with suppress(OSError, OverflowError):  # A time that this file system does not have.
            os.utime(fd, ns=(item.modified_ns, item.modified_ns))

    # Files

    def write(self, item: Item, content: Content) -> bool:
        """Write a small file; False where it is to be written in pieces."""
        if content is Unsized:
            return False
        if isinstance(content, Refused):
            self._done.skip(item.source, content.reason)
        elif isinstance(content, bytes) and not self._is_left_out(item):
            folder, name = self._tree.at(item.to)
            part = _part_name(name)
            fd = _fresh(part, folder)
            try:
                _write_at(fd, content, 0)
                self._place(fd, part, folder, name, item, len(content))
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
            finally:
                os.close(fd)
        return True

    def write_large(self, item: Item, download: Download, progress: Progress) -> None:
        """Write a file in pieces; one that was interrupted goes on where it was, if what is there agrees."""
        if self._is_left_out(item):
            return
        folder, name = self._tree.at(item.to)
        part = _part_name(name)
        fd = _part(part, folder)
        try:
            start = self._start(fd, item, download)
            progress.add(start)
            size = self._fill(fd, item, download, start, progress)
            if reason := _wrong_size(item, size):
                os.unlink(part, dir_fd=folder)
                self._done.skip(item.source, reason)
                return
            os.ftruncate(fd, size)
            self._place(fd, part, folder, name, item, size)
        except BaseException as error:
            self._interrupted(fd, part, folder, item, error)
            raise
        finally:
            os.close(fd)

    def _start(self, fd: int, item: Item, download: Download) -> int:
        """Return from where on a file is missing."""
        there = os.fstat(fd).st_size
        if not there:
            return 0
        shown = printable_line(item.source)
        if there <= item.size_bytes and digest_of(fd, there) == download.digest(item, there):
            self._done.notes.append(f"{shown!r} goes on where it was interrupted, at {readable_bytes(there)}.")
            return there
        os.ftruncate(fd, 0)
        self._done.notes.append(f"{shown!r} has changed since it was interrupted, and starts again.")
        return 0

    def _fill(self, fd: int, item: Item, download: Download, start: int, progress: Progress) -> int:
        end = start
        with download.pieces(item, start) as pieces:
            for piece in pieces:
                if piece.data is not None:
                    _write_at(fd, piece.data, piece.offset)
                end = piece.offset + (piece.size_bytes if piece.data is None else len(piece.data))
                progress.add(end - piece.offset)
                if end < piece.offset + piece.size_bytes:
                    break
        return end

    def _interrupted(self, fd: int, part: str, folder: int, item: Item, error: BaseException) -> None:
        there = os.fstat(fd).st_size
        full = isinstance(error, OSError) and error.errno in _FULL
        if full or there < PIECE_BYTES:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            return
        error.add_note(
            f"Of {printable_line(item.source)!r} {readable_bytes(there)} are on the host, in {part!r}: "
            "the same again goes on from there."
        )

    def _place(self, fd: int, part: str, folder: int, name: str, item: Item, size_bytes: int) -> None:
        """Give a file its permissions, its time and its name."""
        self._finish(fd, item, 0o400)
        reason = self._taken(folder, name)
        if reason is None:
            try:
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                if error.errno not in NAME_ERRNOS:
                    raise
                reason = f"the host can't have the name: {error.strerror}"
        if reason is not None:
            os.unlink(part, dir_fd=folder)
            self._done.skip(item.source, reason)
            return
        self._made.add(_inode(os.fstat(fd)))
        self._done.files += 1
        self._done.size_bytes += size_bytes

    def _taken(self, folder: int, name: str) -> str | None:
        """Return why nothing can be put at a name."""
        try:
            found = os.lstat(name, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"the host can't have the name: {error.strerror}"
        if _inode(found) in self._made:
            return "the host takes its name for that of another"
        return None if self._overwrite else "something else is in its place since"


def _wrong_size(item: Item, size_bytes: int) -> str | None:
    if size_bytes < item.size_bytes:
        return "it became smaller while it was copied"
    if not item.size_bytes and size_bytes >= MAX_UNSIZED_BYTES:
        return f"it says that it has no size, and has more than {readable_bytes(MAX_UNSIZED_BYTES)}"
    return None


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _part_name(name: str) -> str:
    """Return the name that a file has until it is whole: the same each time, so that it can go on."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f".chorus-nb-{digest[:16]}.part"


def _fresh(part: str, folder: int) -> int:
    try:
        return os.open(part, _NEW, 0o600, dir_fd=folder)
    except FileExistsError:
        os.unlink(part, dir_fd=folder)
        return os.open(part, _NEW, 0o600, dir_fd=folder)


def _part(part: str, folder: int) -> int:
    """Open what was interrupted, or make it anew where it is not ours alone."""
    try:
        fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return _fresh(part, folder)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return _fresh(part, folder)
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid():
        return fd
    os.close(fd)
    return _fresh(part, folder)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def digest_of(fd: int, end: int) -> str:
    """Return the SHA-256 of the first bytes of a file, or of all where it has fewer."""
    made, offset = hashlib.sha256(), 0
    while offset < end and (piece := os.pread(fd, min(_HASH_PIECE_BYTES, end - offset), offset)):
        made.update(piece)
        offset += len(piece)
    return made.hexdigest()
