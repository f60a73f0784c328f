"""A value there and back without any process between: what the tests of values share."""

from __future__ import annotations

from typing import Any

from chorus_nb.agent.encoding import Encoder
from chorus_nb.agent.pieces import Assembler, cut

LIMIT = 2**26


def crossed(value: Any, limit: int = LIMIT) -> Any:
    """Return the copy of a value that the other side gets."""
    encoder = Encoder(limit)
    tree = encoder.encode_all({"x": value})
    size = sum(buffer.size_bytes for buffer in encoder.buffers)
    assembler = Assembler(len(tree), size, limit)
    cut(tree, encoder.buffers, assembler.feed)
    assert assembler.is_whole
    return assembler.values()["x"]


def decoded(tree: bytes, data: bytes = b"", limit: int = LIMIT) -> Any:
    """Return what a receiver makes of bytes that somebody else wrote."""
    assembler = Assembler(len(tree), len(data), limit)
    assembler.feed(tree)
    assembler.feed(data)
    return assembler.values()["x"]
