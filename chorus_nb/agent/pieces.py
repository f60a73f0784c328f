"""Values in pieces, so that neither side holds more of them than the values themselves and a few pieces.

First the tree (:mod:`values`), then the buffers, as one run of bytes that is cut anywhere. Messages:
``transfer_begin`` with ``tree_bytes`` and ``size_bytes``, of the tree and of the buffers, and ``transfer_data`` with a
piece as its buffer. What goes into the sandbox has these sizes in its ``push_request``, and each piece is acknowledged
by ``transfer_ack``: :data:`WINDOW` of them may be on their way, so that nothing piles up before a worker that is slow.
"""

from typing import Any, Callable, Dict, List, Optional

from .decoding import Decoder
from .values import TREE_COST, Buffer, DecodeError

PIECE_BYTES = 2**20
WINDOW = 8


class Cutter:
    """Cuts what it is given into pieces, and gathers small parts into one.

    Parameters
    ----------
    send : callable
        Takes a piece, and must be done with it when it returns.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._gathered = bytearray()

    def put(self, part: Any) -> None:
        """Take the next bytes, as a view of them or ``bytes``."""
        view = memoryview(part).cast("B")
        if self._gathered or view.nbytes < PIECE_BYTES:
            room = PIECE_BYTES - len(self._gathered)
            self._gathered += view[:room]
            view = view[room:]
            if len(self._gathered) == PIECE_BYTES:
                self.flush()
        for start in range(0, view.nbytes, PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            if piece.nbytes < PIECE_BYTES:
                self._gathered += piece
            else:
                self._send(piece)

    def flush(self) -> None:
        """Send what was gathered."""
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._send(gathered)


def cut(tree: bytes, buffers: List[Buffer], send: Callable[[Any], None]) -> None:
    """Send a tree and its buffers."""
    cutter = Cutter(send)
    cutter.put(tree)
    for buffer in buffers:
        if buffer.size_bytes:
            buffer.write(cutter.put)
    cutter.flush()


class Assembler:
    """Puts pieces where they belong. What it gets is hostile.

    Parameters
    ----------
    tree_bytes, size_bytes : int
        What was announced. Raises :class:`DecodeError` where it is more than ``limit_bytes``.
    """

    def __init__(self, tree_bytes: Any, size_bytes: Any, limit_bytes: int) -> None:
        if type(tree_bytes) is not int or type(size_bytes) is not int or tree_bytes <= 0 or size_bytes < 0:
            raise DecodeError("sizes that are none")
        if TREE_COST * tree_bytes + size_bytes > limit_bytes:
            raise DecodeError("%d bytes are over the limit of %d" % (size_bytes, limit_bytes))
        self._limit_bytes = limit_bytes
        self._size_bytes = size_bytes
        self._tree = bytearray(tree_bytes)
        self._places = [memoryview(self._tree)]
        self._decoder: Optional[Decoder] = None
        self._settle()

    def feed(self, piece: Any) -> None:
        """Take the next bytes. Raises :class:`DecodeError` for more than was announced."""
        view = memoryview(piece)
        while view.nbytes:
            if not self._places:
                raise DecodeError("more bytes than were announced")
            place = self._places[-1]
            count = min(place.nbytes, view.nbytes)
            place[:count] = view[:count]
            view = view[count:]
            self._places[-1] = place[count:]
            self._settle()

    def _settle(self) -> None:
        """Go on to the next place that has room; the places of the buffers are told by the tree."""
        while self._places and not self._places[-1].nbytes:
            self._places.pop()
            if self._decoder is None:
                self._decoder = Decoder(bytes(self._tree), self._limit_bytes)
                self._places = [view for view, _ in reversed(self._decoder.places)]
                if sum(place.nbytes for place in self._places) != self._size_bytes:
                    raise DecodeError("buffers of other sizes than were announced")

    @property
    def is_whole(self) -> bool:
        """Whether every byte has come."""
        return not self._places

    def values(self) -> Dict[str, Any]:
        """Return the values by their names. Raises :class:`DecodeError`, :class:`CrossingError`."""
        if self._decoder is None or not self.is_whole:
            raise DecodeError("less than was announced")
        return self._decoder.decode_all()
