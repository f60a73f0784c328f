"""Notebooks cell by cell, where nbdime is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from .model import Body, Budget, Line, LineKind
from .plain import visible
from .text import MAX_LINE_CHARACTERS, bounded

MAX_BYTES = 2**20
TIMEOUT_S = 60.0

_KINDS: Mapping[str, LineKind] = {"+": "added", "-": "removed"}
_PROCESS = Path(__file__).with_name("nbdime_process.py")


def notebook_difference(before: bytes, after: bytes, budget: Budget) -> Body | None:
    """Compare two notebooks; None where nbdime is not there, or they are no notebooks or too large for it."""
    if not (_may_be_notebook(before) and _may_be_notebook(after)) or budget.notebooks <= 0 or not find_spec("nbdime"):
        return None
    budget.notebooks -= 1
    said = _ask(before, after, budget)
    if said is None:
        return None
    # nbdime puts empty lines between cells.
    lines = [_line(text) for text in said.split("\n") if text.strip()]
    kinds = [line.kind for line in lines]
    # Where it finds no difference, the files have one all the same.
    shown = Body(bounded(iter(lines), budget), kinds.count("added"), kinds.count("removed"), ("notebook",))
    return shown if lines else None


def _may_be_notebook(content: bytes) -> bool:
    return len(content) <= MAX_BYTES and b'"cells"' in content


def _ask(before: bytes, after: bytes, budget: Budget) -> str | None:
    # -P: the repository may be the working directory, and have modules of its own.
    command = [sys.executable, "-P", str(_PROCESS)]
    try:
        texts = json.dumps([before.decode(), after.decode()]).encode()
        done = subprocess.run(command, input=texts, capture_output=True, timeout=TIMEOUT_S, cwd="/", check=True)
    except subprocess.TimeoutExpired:
        budget.notebooks = 0  # One such is enough to wait for.
        return None
    except (UnicodeError, OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _line(text: str) -> Line:
    cut = visible(text[:MAX_LINE_CHARACTERS]) + ("…" if len(text) > MAX_LINE_CHARACTERS else "")
    if text.startswith(("## ", "@@ ")):
        return Line("hunk", cut)
    return Line(_KINDS.get(text[:1], "same"), cut[1:])
