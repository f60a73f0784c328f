"""Files of a sandbox as streams: a few MiB of them are in memory at a time."""

from __future__ import annotations

import io
import secrets
from contextlib import suppress
from typing import Any

from .errors import ChorusError
from .file_requests import PIECE_BYTES, FileRequests


class Reading(io.RawIOBase):
    """A regular file that is read.

    Parameters
    ----------
    requests : FileRequests
    path : str
    size_bytes : int
        Its size when it was opened: what ``seek`` from the end starts from.
    """

    def __init__(self, requests: FileRequests, path: str, size_bytes: int) -> None:
        self._requests = requests
        self._path = path
        self._size = size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek value {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._requests.piece(self._path, self._at, min(len(view), PIECE_BYTES))
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class Part:
    """A file that is written in pieces, and takes its name with the last: until then it has another one beside it.

    Parameters
    ----------
    requests : FileRequests
    path : str
    mode : int, optional
        Permission bits; when left out those of the file that is replaced, or what ``umask`` leaves.
    modified_ns : int, optional
        Its time in nanoseconds since the epoch; now when left out.
    """

    def __init__(
        self, requests: FileRequests, path: str, mode: int | None = None, modified_ns: int | None = None
    ) -> None:
        self._requests = requests
        self._path = path
        self._name = f".chorus-nb-{secrets.token_hex(8)}"
        self._asked = {"path": path, "part": self._name, "mode": mode, "modified_ns": modified_ns}
        self._begun = False

    def write(self, offset: int, data: bytes, size_bytes: int | None = None) -> None:
        """Write a piece; with ``size_bytes``, that of the whole file, it is the last. After the first in any order."""
        last, begins, self._begun = size_bytes is not None, not self._begun, True
        content = {**self._asked, "offset": offset, "begins": begins, "last": last, "size_bytes": size_bytes}
        self._requests.ask("write", self._path, content, data)

    def remove(self) -> None:
        """Leave nothing of it."""
        if self._begun:
            path = self._path[: self._path.rfind("/") + 1] + self._name
            with suppress(ChorusError):
                self._requests.ask("remove", path, {"path": path, "recursive": False, "max_entries": 1})


class Writing(io.RawIOBase):
    """A regular file that is written from its beginning on, and is there once it is closed."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._at = 0
        self._held = b""

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at + len(self._held)

    def write(self, data: Any, /) -> int:
        """Take a piece of it. The latest one is held back: with the last goes the name."""
        if self._held:
            self._part.write(self._at, self._held)
            self._at += len(self._held)
        self._held = bytes(memoryview(data).cast("B")[:PIECE_BYTES])
        return len(self._held)

    def write_all(self, data: bytes) -> None:
        """Write all of it."""
        if isinstance(data, str):
            raise TypeError("what is written has to be bytes, not str: text.encode() makes them")
        view = memoryview(data).cast("B")
        while view:
            view = view[self.write(view) :]

    def close(self) -> None:
        """Have it take its name."""
        if self.closed:
            return
        try:
            self._part.write(self._at, self._held, self._at + len(self._held))
        except BaseException:
            self.give_up()
            raise
        super().close()

    def give_up(self) -> None:
        """Leave nothing of it."""
        if not self.closed:
            super().close()
            self._part.remove()

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.give_up()

    def buffered(self) -> io.BufferedWriter:
        """Return it as a stream that gathers what is written in small pieces."""
        return _Buffered(self, PIECE_BYTES)


class _Buffered(io.BufferedWriter):
    """Where its block raises, there is no file: half of one would look like all of it."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is not None:
            raw = self.raw
            assert isinstance(raw, Writing)
            raw.give_up()
            with suppress(ValueError):  # What it has gathered finds its file closed, and is to be lost.
                self.close()
        else:
            self.close()
