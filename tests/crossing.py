"""A value there and back without any process between: what the tests of values share."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

from chorus_nb.agent.encoding import Encoder
from chorus_nb.agent.pieces import Assembler, cut

LIMIT = 2**26

# The same examples each time: a suite that fails by chance is not believed. scripts/fuzz_wire.py looks for new ones.
EXAMPLES = os.environ.get("CHORUS_NB_FUZZ_EXAMPLES")
thorough = settings(
    max_examples=int(EXAMPLES or 60),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


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
