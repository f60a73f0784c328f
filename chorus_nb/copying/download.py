"""Content of a sandbox's files, as much as was asked for and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from ..errors import AgentProtocolError
from ..file_entries import results_of
from ..file_requests import PIECE_BYTES, FileRequests, ahead, only_buffer
from ..sanitize import printable_line
from .transfer import Item

_UNSIZED_BYTES = 2**16
"""What is asked for of a file that says it has no bytes: those of ``/proc`` do."""
MAX_UNSIZED_BYTES = 2**26


class Piece(NamedTuple):
    """A part of a file: ``data`` is None where it is a hole, and at the file's end shorter than ``size_bytes``."""

    offset: int
    size_bytes: int
    data: bytes | None


class Refused(NamedTuple):
    """Why there is no content."""

    reason: str


class Unsized:
    """A file that has more content than its size says."""


Content = bytes | Refused | type[Unsized]


class Download:
    """Asks a sandbox for the content of files."""

    def __init__(self, requests: FileRequests) -> None:
        self._requests = requests

    def small(self, items: list[Item]) -> list[tuple[Item, Content]]:
        """Return the content of small files, or why there is none."""
        found: list[tuple[Item, Content]] = []
        while len(found) < len(items):
            rest = items[len(found) :]
            found += zip(rest, self._some(rest), strict=False)
        return found

    def _some(self, items: list[Item]) -> list[Content]:
        asked = [(item.source, item.size_bytes or _UNSIZED_BYTES, item.named) for item in items]
        reply = self._requests.ask("read_many", items[0].source, {"files": asked})
        data, at = only_buffer(reply, PIECE_BYTES), 0
        found: list[Content] = []
        for item, result in zip(items, results_of(reply.content, len(items)), strict=False):
            size = result.get("size_bytes")
            if size is None:
                found.append(Refused(printable_line(str(result.get("evalue")))))
                continue
            if not isinstance(size, int) or not 0 <= size <= min(item.size_bytes or _UNSIZED_BYTES, len(data) - at):
                raise _more()
            found.append(data[at : at + size] if item.size_bytes or size < _UNSIZED_BYTES else Unsized)
            at += size
        if at != len(data):
            raise _more()
        return found

    def digest(self, item: Item, end: int | None = None) -> str:
        """Return the SHA-256 of a file, or of its first bytes, by the sandbox's word."""
        return self._requests.digest(item.source, item.size_bytes if end is None else end)

    @contextmanager
    def pieces(self, item: Item, start: int) -> Iterator[Iterator[Piece]]:
        """Yield a file from there on, in order: a few pieces of it are in memory at a time."""
        if not item.size_bytes:
            yield self._to_its_end(item)
            return
        with ahead(self._calls(item, start, _Holes())) as pieces:
            yield pieces

    def _to_its_end(self, item: Item) -> Iterator[Piece]:
        holes = _Holes()
        for offset in range(0, MAX_UNSIZED_BYTES, PIECE_BYTES):
            piece = self._piece(item, offset, PIECE_BYTES, holes)
            yield piece
            if piece.data is None or len(piece.data) < PIECE_BYTES:
                return

    def _calls(self, item: Item, start: int, holes: _Holes) -> Iterator[Callable[[], Piece]]:
        for offset in range(start, item.size_bytes, PIECE_BYTES):
            size = min(PIECE_BYTES, item.size_bytes - offset)
            if holes.start <= offset and offset + size <= holes.end:
                yield partial(Piece, offset, size, None)
            else:
                yield partial(self._piece, item, offset, size, holes)

    def _piece(self, item: Item, offset: int, size: int, holes: _Holes) -> Piece:
        asked = {"path": item.source, "offset": offset, "size": size, "holes": True}
        reply = self._requests.ask("read", item.source, asked)
        data, hole = only_buffer(reply, size), reply.content.get("hole_bytes")
        if data or not isinstance(hole, int) or hole < size:
            return Piece(offset, size, data)
        holes.start, holes.end = offset, offset + hole
        return Piece(offset, size, None)


class _Holes:
    """The latest hole of a file that was found: nobody need ask for what lies in it."""

    start = 0
    end = 0


def _more() -> AgentProtocolError:
    return AgentProtocolError("The sandbox sent other files than were asked for.", next_step="Restart the session.")
