"""A folder of the host, as it is changed on behalf of a sandbox: nothing outside of it is ever reached.

Each part of a path is opened by openat(2) in the folder before it, with ``O_NOFOLLOW``: so neither a link that was
there before nor one that is put there meanwhile leads elsewhere, and paths may be longer than ``PATH_MAX``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from .errors import RepositoryNotFoundError, WorkingCopyError
from .sanitize import printable_line
from .syncfs import syncfs
from .working_copy import FileState

MAX_ENTRIES = 1_000_000
"""So many paths are looked at in one go, of the sandbox or of the host."""

MAX_PATH_CHARS = 2**14
"""Of one path of a sandbox: four times what a call takes (``PATH_MAX``)."""
MAX_DEPTH = 250
"""How many folders deep a sandbox's path may be."""
MAX_ALL_PATHS_CHARS = 2**27
"""Of all its paths: a million of them, each of the longest, would be more than the host's memory."""

PERMISSIONS = 0o777
"""What of a mode is compared and taken over: never set-user-ID, set-group-ID or sticky."""

O_PATH: int = getattr(os, "O_PATH", 0)
"""Opens what can't be read, and does not wait for a FIFO; systems without it open to read."""
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_OPEN = 64
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class Identity(NamedTuple):
    """A file of the host at one moment: another file, or any change of it, has another one."""

    device: int
    inode: int
    changed_ns: int
    mode: int
    size_bytes: int
    uid: int
    gid: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """Return that of what lstat(2) tells."""
        about = (found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mode, found.st_size)
        return cls(*about, found.st_uid, found.st_gid)


def split(path: str) -> tuple[str, str]:
    """Return the folder of a path, empty for the repository itself, and the name in it."""
    folder, _, name = path.rpartition("/")
    return folder, name


def parents(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, the innermost first, without the repository itself."""
    while path := split(path)[0]:
        yield path


def tree_order(path: str) -> str:
    """Return what to sort a path by, so that folders come before what is in them, and that before what follows."""
    return path.replace("/", "\0")


class SandboxPaths:
    """Counts the paths that a sandbox names, whose number and length are its own choice."""

    def __init__(self) -> None:
        self._count = 0
        self._chars = 0

    def checked(self, path: str) -> str:
        """Return one more path, which stays in its folder. Raises ``WorkingCopyError``."""
        if not path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise WorkingCopyError(
                f"The sandbox has a file named {printable_line(repr(path))}, which is no path in the repository.",
                next_step="Nothing was taken over. Do not trust the code that ran.",
            )
        self._count += 1
        self._chars += len(path)
        if self._count > MAX_ENTRIES or self._chars > MAX_ALL_PATHS_CHARS:
            raise too_many_paths()
        if len(path) > MAX_PATH_CHARS or path.count("/") > MAX_DEPTH:
            raise too_deep(path)
        return path


def too_many_paths() -> WorkingCopyError:
    """Say that a sandbox has touched more than the host looks at."""
    return WorkingCopyError(
        f"The sandbox has touched more than {MAX_ENTRIES} files and folders of the repository, or fewer whose names "
        f"have more than {MAX_ALL_PATHS_CHARS} characters in all.",
        next_step="Remove in the sandbox what is not needed, such as what a build has made.",
    )


def too_deep(path: str) -> WorkingCopyError:
    """Say that a sandbox has nested its folders deeper than anybody needs."""
    return WorkingCopyError(
        f"The sandbox has made folders that are nested deeper than {MAX_DEPTH} levels, or whose paths have more than "
        f"{MAX_PATH_CHARS} characters.",
        path=path,
        next_step=f"Remove them in the sandbox: they begin at {path.partition('/')[0]!r}.",
    )


class HostTree:
    """A folder and what is in it. Paths are relative to it, with ``/``; descriptors are valid until they are forgotten.

    Parameters
    ----------
    folder : Path
        With links resolved.

    Raises
    ------
    RepositoryNotFoundError
        It can't be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._opened: OrderedDict[str, int] = OrderedDict()
        self._spellings: dict[str, frozenset[str] | None] = {}
        try:
            self._root = os.open(folder, _FOLDER | O_PATH)
        except OSError as error:
            raise RepositoryNotFoundError(
                f"The repository {str(folder)!r} can't be opened: {error.strerror}.",
                next_step="It was there when the sandbox started: bring it back, or stop the sandbox.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        os.close(self._root)

    @property
    def place(self) -> tuple[int, int]:
        """Device and inode of the folder."""
        found = os.fstat(self._root)
        return found.st_dev, found.st_ino

    def forget(self) -> None:
        """Close all descriptors: folders are looked up anew."""
        self._spellings.clear()
        while self._opened:
            os.close(self._opened.popitem()[1])

    def drop(self, path: str) -> None:
        """Close the descriptor of one folder, which is empty or gone."""
        if path in self._opened:
            os.close(self._opened.pop(path))

    def sync(self) -> None:
        """Wait until what was written to the folder's file system is on the disk. Raises ``OSError``."""
        descriptor = self._open_to_read("")
        try:
            syncfs(descriptor)
        finally:
            os.close(descriptor)

    def _open_to_read(self, path: str) -> int:
        return os.open(".", os.O_RDONLY | _FOLDER, dir_fd=self.folder(path))

    def folder(self, path: str) -> int:
        """Return a descriptor of a folder, fit for ``dir_fd`` alone. Raises ``OSError``."""
        missing = []
        while path and path not in self._opened:
            missing.append(path)
            path = split(path)[0]
        if path:
            self._opened.move_to_end(path)
        descriptor = self._opened[path] if path else self._root
        for each in reversed(missing):
            descriptor = self._opened[each] = os.open(split(each)[1], _FOLDER | O_PATH, dir_fd=descriptor)
            if len(self._opened) > _MAX_OPEN:
                os.close(self._opened.popitem(last=False)[1])
        return descriptor

    def at(self, path: str) -> tuple[int, str]:
        """Return the descriptor of the folder that a path is in, and the name there. Raises ``OSError``."""
        folder, name = split(path)
        return self.folder(folder), name

    def find(self, path: str) -> os.stat_result | None:
        """Return what lstat(2) tells of a path; None where nothing is there. Raises ``OSError``."""
        try:
            descriptor, name = self.at(path)
            return os.lstat(name, dir_fd=descriptor)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise

    def has(self, path: str) -> bool:
        """Whether something is at a path, as far as anybody can see."""
        try:
            return self.find(path) is not None
        except OSError:
            return True

    def is_spelled_so(self, path: str) -> bool:
        """Whether what is found at a path has that very name: some file systems find it in lower and upper case.

        Raises ``OSError``.
        """
        folder, name = split(path)
        if folder not in self._spellings:
            other = self.find(f"{folder}/{name.swapcase()}" if folder else name.swapcase())
            if name.swapcase() == name:
                return True
            this = self.find(path)
            alike = this and other and (this.st_dev, this.st_ino) == (other.st_dev, other.st_ino)
            # Names that differ in case alone may also be two of one file: then its folder lists both.
            self._spellings[folder] = frozenset(self.names(folder)) if alike else None
        names = self._spellings[folder]
        return names is None or name in names

    def state(self, path: str, found: os.stat_result) -> FileState:
        """Return what is at a path. Raises ``OSError``."""
        return file_state(found, self.target(path) if stat.S_ISLNK(found.st_mode) else "")

    def target(self, path: str) -> str:
        """Return what a link says. Raises ``OSError``."""
        descriptor, name = self.at(path)
        return os.readlink(name, dir_fd=descriptor)

    def open(self, path: str) -> BinaryIO:
        """Open a regular file to read. Raises ``OSError``."""
        descriptor, name = self.at(path)
        # O_NONBLOCK: a FIFO that was put there would have us wait.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=descriptor)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "not a regular file")
        return os.fdopen(file, "rb", buffering=0)

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted. Raises ``OSError``."""
        descriptor = self._open_to_read(path)
        try:
            return sorted(os.listdir(descriptor))  # noqa: PTH208
        finally:
            os.close(descriptor)

    def below(self, path: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield all that a folder holds, at any depth, folders before what is in them. Raises ``OSError``."""
        waiting, count = [path], 0
        while waiting:
            folder = waiting.pop()
            for name in self.names(folder):
                below = f"{folder}/{name}" if folder else name
                found = self.find(below)
                if found is None:
                    continue
                count += 1
                if count > MAX_ENTRIES:
                    raise WorkingCopyError(
                        f"The folder {printable_line(path)!r} has more than {MAX_ENTRIES} entries.",
                        next_step="Take over or discard a part of it.",
                    )
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(below)
                yield below, found


def file_state(found: os.stat_result, target: str = "") -> FileState:
    """Return what lstat(2) tells, in our words."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    mode = stat.S_IMODE(found.st_mode)
    return FileState(kind, mode, found.st_size, found.st_mtime_ns, target)  # type: ignore[arg-type]
