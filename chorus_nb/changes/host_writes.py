"""One change to a file of the host, all of it or nothing, and never outside the repository.

The content of a file is written beside its place under another name, and gets its own by rename(2), or, where it is
new, by link(2), which replaces nothing. Right before that the host's file is compared once more with the one that the
change was found against.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass

from ..errors import ChangedMeanwhileError
from ..host_tree import O_PATH, PERMISSIONS, HostTree, Identity, split
from ..syncfs import has_syncfs
from ..working_copy import WorkingCopy
from .change import Change
from .content import digest
from .unfinished import Unfinished

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_ACCESS_LIST = "system.posix_acl_access"
_UNTIL_FILLED = 0o700
"""The mode of a new folder until all is in it."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The new file of a change, under another name in its folder; ``folder`` is a descriptor of its own."""

    change: Change
    name: str
    folder: int


class HostWriter:
    """Writes into a folder of the host what a sandbox has. Every method raises ``OSError`` and ``ChorusError``.

    Parameters
    ----------
    copy : WorkingCopy
    host : HostTree
        Of ``copy.folder``.
    unfinished : Unfinished
        Names the files that are not complete yet.
    """

    def __init__(self, copy: WorkingCopy, host: HostTree, unfinished: Unfinished) -> None:
        self._copy = copy
        self._host = host
        self._unfinished = unfinished

    # New content

    def stage(self, change: Change, *, sync: bool) -> Staged:
        """Write a file or a link under another name; with ``sync`` it is then on the disk."""
        folder = os.dup(self._host.at(change.path)[0])
        staged = Staged(change, self._unfinished.name(split(change.path)[0]), folder)
        try:
            self._write(staged, sync)
        except BaseException:
            unstage(staged)
            raise
        return staged

    def commit(self, staged: Staged) -> None:
        """Give a staged file or link its name."""
        change = staged.change
        folder, name = self._host.at(change.path)
        if not os.path.samestat(os.fstat(folder), os.fstat(staged.folder)):
            raise changed(change, "is in a folder that was replaced on the host meanwhile")
        if change.before is None:
            _place(staged.name, name, folder, change)
        elif change.before.kind == "directory":
            self._place_for_folder(staged, name, folder)
        else:
            _refuse_if_changed(change, name, folder)
            os.replace(staged.name, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _write(self, staged: Staged, sync: bool) -> None:
        change = staged.change
        assert change.after is not None
        if change.after.kind == "link":
            os.symlink(change.after.target, staged.name, dir_fd=staged.folder)
            _keep_owner(staged)
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(staged.name, flags, 0o600, dir_fd=staged.folder)
        try:
            self._fill(file, change)
            _keep_owner(staged)
            if change.before and change.before.kind == "file":
                self._keep_attributes(file, change)
            os.fchmod(file, change.after.mode & PERMISSIONS)
            if sync or not has_syncfs() or os.fstat(file).st_dev != self._host.place[0]:
                os.fsync(file)
        finally:
            os.close(file)

    def _fill(self, file: int, change: Change) -> None:
        assert change.after is not None
        sparse = change.digest.startswith("sparse")
        found = ""
        with self._copy.open(change.path) as content, suppress(ChangedMeanwhileError):
            found = digest(content, change.after.size_bytes, sparse=sparse, path=change.path, copy_to=file)
        if found != change.digest:
            raise changed(change, "is being written in the sandbox")

    def _keep_attributes(self, file: int, change: Change) -> None:
        """Give a file the access list and the attributes of the one that it replaces: all but its capabilities."""
        if not hasattr(os, "listxattr"):
            return
        with self._host.open(change.path) as before:
            for name in os.listxattr(before.fileno()):
                if name == _ACCESS_LIST or name.startswith("user."):
                    os.setxattr(file, name, os.getxattr(before.fileno(), name))

    def _place_for_folder(self, staged: Staged, name: str, folder: int) -> None:
        assert staged.change.before is not None
        self.remove(staged.change)
        try:
            _place(staged.name, name, folder, staged.change)
        except BaseException:
            os.mkdir(name, staged.change.before.mode & PERMISSIONS, dir_fd=folder)
            raise

    # All else

    def rename(self, change: Change) -> None:
        """Give a file of the host its new name, and the new mode. It stays the same file."""
        assert change.before is not None
        assert change.after is not None
        source, old = self._host.at(change.source)
        folder, new = self._host.at(change.path)
        _refuse_if_changed(change, old, source)
        _link(old, new, source, folder, change)
        try:
            os.unlink(old, dir_fd=source)
        except FileNotFoundError:
            pass  # It was moved, as links can't be made here.
        except BaseException:
            os.unlink(new, dir_fd=folder)
            raise
        if change.before.mode & PERMISSIONS != change.after.mode & PERMISSIONS:
            _set_mode(new, folder, change.after.mode)

    def remove(self, change: Change) -> None:
        """Remove a file, a link or an empty folder."""
        folder, name = self._host.at(change.path)
        if change.before and change.before.kind == "directory":
            os.rmdir(name, dir_fd=folder)
            self._host.drop(change.path)
        else:
            _refuse_if_changed(change, name, folder)
            os.unlink(name, dir_fd=folder)

    def make_folder(self, change: Change) -> None:
        """Make a folder, perhaps in place of a file; its mode lets files be made in it."""
        folder, name = self._host.at(change.path)
        if change.before is None:
            _make_folder(name, folder, change)
            return
        _refuse_if_changed(change, name, folder)
        # Not one of our own that a later start removes, if we are killed here: it is the user's.
        aside = f".chorus-nb-{secrets.token_hex(8)}.old"
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        try:
            _make_folder(name, folder, change)
        except BaseException:
            os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            raise
        os.unlink(aside, dir_fd=folder)

    def change_mode(self, change: Change) -> None:
        """Give a file or a folder the permission bits that it has in the sandbox."""
        assert change.after is not None
        folder, name = self._host.at(change.path)
        if change.after.kind != "directory":  # What is in a folder changes it, too.
            _refuse_if_changed(change, name, folder)
        _set_mode(name, folder, change.after.mode)

    def identity(self, path: str) -> Identity | None:
        """Return what the host has at a path now."""
        found = self._host.find(path)
        return Identity.of(found) if found else None


def unstage(staged: Staged) -> None:
    """Remove what was not committed, and let go of its folder."""
    with suppress(OSError):
        os.unlink(staged.name, dir_fd=staged.folder)
    os.close(staged.folder)


def changed(change: Change, how: str) -> ChangedMeanwhileError:
    """Return the error of a change that can't be made any more; ``how`` is the end of a sentence."""
    return ChangedMeanwhileError(how, path=change.path, next_step="Look again with `%sandbox diff`.")


def _refuse_if_changed(change: Change, name: str, folder: int) -> None:
    try:
        found = Identity.of(os.lstat(name, dir_fd=folder))
    except FileNotFoundError:
        raise changed(change, "was removed on the host meanwhile") from None
    if found != change.host:
        raise changed(change, "was changed on the host meanwhile")


def _keep_owner(staged: Staged) -> None:
    """Give a file the owner of the one that it replaces; a new one is the notebook user's."""
    host = staged.change.host
    found = os.lstat(staged.name, dir_fd=staged.folder)
    if host is None or (found.st_uid, found.st_gid) == (host.uid, host.gid):
        return
    try:
        os.chown(staged.name, host.uid, host.gid, dir_fd=staged.folder, follow_symlinks=False)
    except PermissionError:
        raise changed(staged.change, "belongs to another user or group on the host, and would not any more") from None


def _place(staged: str, name: str, folder: int, change: Change) -> None:
    """Give a file its name, where nothing has that name."""
    _link(staged, name, folder, folder, change)
    with suppress(FileNotFoundError):
        os.unlink(staged, dir_fd=folder)


def _link(source: str, name: str, source_folder: int, folder: int, change: Change) -> None:
    """Give a file a second name, which nothing has; where the file system has no such links, another name."""
    try:
        os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise changed(change, "is there on the host meanwhile") from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _move(source, name, source_folder, folder, change)


def _move(source: str, name: str, source_folder: int, folder: int, change: Change) -> None:
    try:
        # Nobody else can take the name once an empty file has it.
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
    except FileExistsError:
        raise changed(change, "is there on the host meanwhile") from None
    try:
        os.replace(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise


def _make_folder(name: str, folder: int, change: Change) -> None:
    try:
        os.mkdir(name, _UNTIL_FILLED, dir_fd=folder)
    except FileExistsError:
        raise changed(change, "is there on the host meanwhile") from None
    assert change.after is not None
    if change.after.mode & _UNTIL_FILLED == _UNTIL_FILLED:
        _set_mode(name, folder, change.after.mode)


def is_closed(change: Change) -> bool:
    """Whether a new folder gets its mode last, as nothing could be made in it then."""
    return change.after is not None and change.after.mode & _UNTIL_FILLED != _UNTIL_FILLED


def _set_mode(name: str, folder: int, mode: int) -> None:
    """Set the permission bits of a file or folder, and keep set-group-ID and its like as the host has them."""
    file = os.open(name, (O_PATH or os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        now = os.fstat(file).st_mode
        if stat.S_ISLNK(now):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        # fchmod(2) takes no descriptor of O_PATH.
        os.chmod(f"/proc/self/fd/{file}" if O_PATH else file, stat.S_IMODE(now) & ~PERMISSIONS | mode & PERMISSIONS)  # noqa: PTH101
    finally:
        os.close(file)
