"""Notebooks cell by cell, where nbdime is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .model import Body, Budget, Line
from .plain import visible
from .text import MAX_LINE_CHARACTERS, bounded

MAX_BYTES = 2**20
TIMEOUT_S = 20.0

_PROCESS = Path(__file__).with_name("nbdime_process.py")


def notebook_difference(before: bytes, after: bytes, budget: Budget) -> Body | None:
    """Compare two notebooks; None where nbdime is not there, or they are no notebooks or too large for it."""
    if max(len(before), len(after)) > MAX_BYTES or budget.notebooks <= 0 or find_spec("nbdime") is None:
        return None
    budget.notebooks -= 1
    said = _ask(before, after)
    if said is None:
        return None
    lines = [_line(text) for text in said.splitlines()]
    kinds = [line.kind for line in lines]
    return Body(bounded(_trimmed(lines), budget), kinds.count("added"), kinds.count("removed"), ("notebook",))


def _ask(before: bytes, after: bytes) -> str | None:
    # -P: the repository may be the working directory, and have modules of its own.
    command = [sys.executable, "-P", str(_PROCESS)]
    try:
        texts = json.dumps([before.decode(), after.decode()]).encode()
        done = subprocess.run(command, input=texts, capture_output=True, timeout=TIMEOUT_S, cwd="/", check=True)
    except (UnicodeError, OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _line(text: str) -> Line:
    cut = visible(text[:MAX_LINE_CHARACTERS]) + ("…" if len(text) > MAX_LINE_CHARACTERS else "")
    if text.startswith(("## ", "@@ ")):
        return Line("hunk", cut)
    kinds = {"+": "added", "-": "removed"}
    return Line(kinds.get(text[:1], "same"), cut[1:])  # type: ignore[arg-type]


def _trimmed(lines: list[Line]) -> Iterator[Line]:
    """Yield the lines without empty ones, which nbdime puts between cells."""
    return (line for line in lines if line.text.strip() or line.kind != "same")
