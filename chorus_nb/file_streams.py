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


class Writing(io.RawIOBase):
    """A regular file that is written, and takes its name when it is closed.

    Parameters
    ----------
    requests : FileRequests
    path : str
    mode : int, optional
        Permission bits; those of the file that is replaced when left out, or 0o644.
    modified_ns : int, optional
        Its time in nanoseconds since the epoch; now when left out.
    """

    def __init__(
        self, requests: FileRequests, path: str, mode: int | None = None, modified_ns: int | None = None
    ) -> None:
        self._requests = requests
        self._path = path
        self._asked = {"path": path, "part": f".chorus-nb-{secrets.token_hex(8)}", "mode": mode}
        self._asked["modified_ns"] = modified_ns
        self._at = 0
        self._held = b""
        self._begun = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any, /) -> int:
        """Take a piece of it. The latest one is held back: with the last goes the name."""
        self._send_held()
        self._held = bytes(memoryview(data).cast("B")[:PIECE_BYTES])
        return len(self._held)

    def write_all(self, data: bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        while view:
            view = view[self.write(view) :]

    def close(self) -> None:
        """Have it take its name."""
        if self.closed:
            return
        try:
            self._send(last=True)
        except BaseException:
            self.give_up()
            raise
        super().close()

    def give_up(self) -> None:
        """Leave nothing of it."""
        if self.closed:
            return
        super().close()
        if self._begun:
            part = self._path[: self._path.rfind("/") + 1] + str(self._asked["part"])
            with suppress(ChorusError):
                self._requests.ask("remove", part, {"path": part, "recursive": False, "max_entries": 1})

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.give_up()

    def buffered(self) -> io.BufferedWriter:
        """Return it as a stream that gathers what is written in small pieces."""
        return _Buffered(self, PIECE_BYTES)

    def _send_held(self) -> None:
        if self._held:
            self._send(last=False)

    def _send(self, last: bool) -> None:
        size = self._at + len(self._held)
        content = {**self._asked, "offset": self._at, "begins": not self._begun, "last": last, "size_bytes": size}
        self._begun = True
        self._requests.ask("write", self._path, content, self._held)
        self._at, self._held = size, b""


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
