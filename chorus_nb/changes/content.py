"""The content of regular files, read in pieces: its digest, and a copy of it with the same holes."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import ChangedMeanwhileError

MAX_STREAM_BYTES = 2**36
"""So much is read of a file that is no file of this machine, whose holes can't be told from zeros."""

_PIECE_BYTES = 2**20
_BLOCK_BYTES = 2**16
_UNIT_BYTES = 512
"""The unit of ``st_blocks`` (inode(7))."""
_ZEROS = bytes(_BLOCK_BYTES)


def is_sparse(file: BinaryIO) -> bool:
    """Whether a file is large and has holes: of such a one only the data is read (lseek(2), ``SEEK_DATA``)."""
    if not _is_file(file):
        return False
    found = os.fstat(file.fileno())
    return found.st_size >= _PIECE_BYTES and found.st_blocks * _UNIT_BYTES < found.st_size


def _is_file(file: BinaryIO) -> bool:
    try:
        return file.fileno() >= 0
    except io.UnsupportedOperation:  # What comes out of a sandbox in pieces.
        return False


def digest(file: BinaryIO, size_bytes: int, *, sparse: bool, path: str, copy_to: int | None = None) -> str:
    """Return the digest of a file, which depends on nothing but its content and ``sparse``.

    Parameters
    ----------
    file : BinaryIO
        At its start.
    size_bytes : int
        How large it is known to be.
    sparse : bool
        Whether blocks of zeros are left out: then the digest is that of all other blocks and where they are.
    path : str
        What to call it.
    copy_to : int, optional
        The descriptor of an empty file that gets the content; with holes for zeros where nobody knows of ``file``'s.

    Returns
    -------
    str
        As :attr:`chorus_nb.changes.change.Change.digest`.

    Raises
    ------
    ChangedMeanwhileError
        It is longer or shorter than that.
    OSError
    """
    found, end, makes_holes = hashlib.sha256(), 0, not _is_file(file)
    for at, piece in _data(file.fileno(), size_bytes) if sparse else _pieces(file, size_bytes):
        if sparse:
            found.update(at.to_bytes(8, "big"))
        found.update(piece)
        end = at + len(piece)
        if copy_to is not None and not (makes_holes and piece == bytes(len(piece))):
            _write(copy_to, piece, at)
    if sparse:
        end = os.fstat(file.fileno()).st_size
        found.update(end.to_bytes(8, "big"))
    if end != size_bytes:
        raise ChangedMeanwhileError(
            f"{path!r} was being written while it was read.",
            path=path,
            next_step="Look again when nothing writes to it.",
        )
    if copy_to is not None:
        os.ftruncate(copy_to, end)
    return ("sparse-sha256:" if sparse else "sha256:") + found.hexdigest()


def _pieces(file: BinaryIO, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield all that a file holds, and no more than one byte beyond what it should."""
    at = 0
    while at <= size_bytes:
        wanted = min(_PIECE_BYTES, size_bytes + 1 - at)
        piece = file.read(wanted)
        if piece:
            yield at, piece
        at += len(piece)
        if len(piece) < wanted:
            return


def _data(file: int, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of a file that are not all zeros."""
    at = 0
    while at < size_bytes:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # There is no more data.
                raise
            return
        at = start - start % _BLOCK_BYTES
        block = os.pread(file, min(_BLOCK_BYTES, size_bytes - at), at)
        if block != _ZEROS[: len(block)]:
            yield at, block
        at += _BLOCK_BYTES


def _write(file: int, piece: bytes, at: int) -> None:
    view = memoryview(piece)
    while view:
        done = os.pwrite(file, view, at)
        view, at = view[done:], at + done
