"""The content of a file that comes out of a sandbox: the same bytes, and holes where nobody would store zeros."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from chorus_nb.changes.content import digest

MIB = 2**20


@pytest.mark.parametrize(
    "content", [b"", bytes(10), b"x" + bytes(MIB), bytes(9 * MIB), bytes(4 * MIB) + b"x" + bytes(5)]
)
def test_zeros_that_come_as_a_stream_take_no_place(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "copied"
    with path.open("wb") as file:
        found = digest(io.BytesIO(content), len(content), sparse=False, path="copied", copy_to=file.fileno())
    assert found == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert path.read_bytes() == content
    assert path.stat().st_blocks * 512 <= 2 * MIB


def test_zeros_of_a_file_that_has_no_holes_stay_what_they_are(tmp_path: Path) -> None:
    source, path = tmp_path / "source", tmp_path / "copied"
    source.write_bytes(bytes(3 * MIB))
    with source.open("rb") as before, path.open("wb") as file:
        digest(before, 3 * MIB, sparse=False, path="copied", copy_to=file.fileno())
    assert path.stat().st_blocks * 512 >= 3 * MIB
    assert path.read_bytes() == source.read_bytes()
