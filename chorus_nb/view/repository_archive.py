"""A repository on its way into a volume: a tar archive made while it is read, and the digest of each file that went in.

It is read as if another sandbox were writing to it at the same time: by descriptors, and no link is followed. Sockets,
FIFOs and devices stay out, as does what this user may not read.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config.units import size_text
from ..errors import WorkingCopyError
from ..working_copy import FileKind
from .overlay_copy import TICK_NS

MAX_BYTES = 4 * 2**30
MAX_ENTRIES = 500_000
MAX_DEPTH = 250

_PIECE_BYTES = 2**20
_BLOCK_BYTES = tarfile.BLOCKSIZE
_NO_EXECUTION_AS_OWNER = 0o1777
"""What is kept of permissions: a sandbox has no use for setuid and setgid."""


@dataclass(frozen=True, slots=True)
class Original:
    """What was copied from the host. ``target`` is a link's, ``sha256`` a file's 32 bytes; empty for all else.

    It is kept as long as the session: about 300 bytes for each path, so 30 MB for 100,000.
    """

    kind: FileKind
    mode: int
    size_bytes: int = 0
    target: str = ""
    sha256: bytes = b""


class RepositoryArchive:
    """The archive of one repository.

    Parameters
    ----------
    folder : Path
    user : str
        ``UID:GID`` of whom the files will be.
    hides : callable
        Whether a path is to be left out.
    texts : mapping of str to str
        What some files are to say in the copy; that counts as left out: it is not the host's.

    Attributes
    ----------
    folder : Path
    taken_ns : int
        When the reading began, by the clock of the host's files.
    originals : dict of str to Original
        What went in, by its path: complete once all of :meth:`pieces` were taken.

    Raises
    ------
    WorkingCopyError
        There is more than may be copied.
    """

    def __init__(
        self, folder: Path, user: str, hides: Callable[[str], bool], texts: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._texts = {path: os.fsencode(text) for path, text in (texts or {}).items()}
        self._uid, self._gid = map(int, user.split(":"))
        self._hides = hides
        self.taken_ns = time.time_ns() - TICK_NS
        self.originals: dict[str, Original] = {}
        self.left_out: set[str] = set()
        self.total_bytes = self._measured()

    def pieces(self) -> Iterator[bytes]:
        """Yield the archive. Raises ``OSError`` where the folder goes away meanwhile."""
        for path, name, place, status in self._found():
            header = tarfile.TarInfo(path)
            header.uid, header.gid, header.mtime = self._uid, self._gid, int(status.st_mtime)
            header.mode = stat.S_IMODE(status.st_mode) & _NO_EXECUTION_AS_OWNER
            if path in self._texts:
                yield self._text(path, header)
            elif stat.S_ISREG(status.st_mode):
                yield from self._file(path, name, place, header)
            elif stat.S_ISDIR(status.st_mode):
                header.type = tarfile.DIRTYPE
                self.originals[path] = Original("directory", header.mode)
                yield _bytes(header)
            elif stat.S_ISLNK(status.st_mode):
                header.type, header.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=place)
                self.originals[path] = Original("link", header.mode, target=header.linkname)
                yield _bytes(header)
        yield bytes(2 * _BLOCK_BYTES)

    def _text(self, path: str, header: tarfile.TarInfo) -> bytes:
        text = self._texts[path]
        self.left_out.add(path)
        header.size, header.mode = len(text), 0o644
        return _bytes(header) + text + bytes(-len(text) % _BLOCK_BYTES)

    def _file(self, path: str, name: str, place: int, header: tarfile.TarInfo) -> Iterator[bytes]:
        try:
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
        except OSError:
            self.left_out.add(path)
            return
        with os.fdopen(opened, "rb", buffering=0) as file:
            header.size = os.fstat(opened).st_size
            yield _bytes(header)
            digest, left = hashlib.sha256(), header.size
            while left:
                piece = file.read(min(_PIECE_BYTES, left)) or bytes(min(_PIECE_BYTES, left))  # It became shorter.
                digest.update(piece)
                left -= len(piece)
                yield piece
        yield bytes(-header.size % _BLOCK_BYTES)
        self.originals[path] = Original("file", header.mode, header.size, sha256=digest.digest())

    def _found(self) -> Iterator[tuple[str, str, int, os.stat_result]]:
        """Yield path, name, the descriptor of the folder and the state of all there is, folders first."""
        for folder, folders, files, place in os.fwalk(self.folder, follow_symlinks=False):
            start = os.path.relpath(folder, self.folder)
            for name in sorted([*folders, *files]):
                path = name if start == "." else f"{start}/{name}"
                if self._hides(path):
                    self.left_out.add(path)
                    folders[:] = [each for each in folders if each != name]
                elif (status := _status(name, place)) is not None:
                    yield path, name, place, status
            folders.sort()

    def _measured(self) -> int:
        total = 0
        for count, (path, _, _, status) in enumerate(self._found()):
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
            if total > MAX_BYTES or count >= MAX_ENTRIES:
                raise _too_large(self.folder, path)
            if path.count("/") >= MAX_DEPTH:
                raise WorkingCopyError(
                    f"In {str(self.folder)!r} folders are nested deeper than {MAX_DEPTH} levels.",
                    path=path,
                    next_step=_LEAVE_OUT,
                )
        return total


_LEAVE_OUT = "Leave out what the code does not need: `--exclude 'FOLDER/'`, or another --repo-path."


def _status(name: str, place: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _bytes(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _too_large(folder: Path, path: str) -> WorkingCopyError:
    return WorkingCopyError(
        f"{str(folder)!r} is too large to be copied into a sandbox: at most {size_text(MAX_BYTES)} in {MAX_ENTRIES} "
        "files and folders.",
        path=path,
        next_step=_LEAVE_OUT,
    )
