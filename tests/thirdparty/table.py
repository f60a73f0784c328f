"""The table of ``docs/fidelity.md``, out of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from .runs import Result

BEGIN = "<!-- The table is written by scripts/fidelity.py -->"
END = "<!-- The end of the table -->"
FACES = {"kernel": "on the sandbox kernel", "magic": "below `%%sandbox`"}
HEAD = """\
| notebook | from | run | cells | equal | changed by the output policy | not compared |
|---|---|---|---:|---:|---|---|
"""


def table_of(results: list[Result]) -> str:
    """Return the table as Markdown."""
    rows = [row_of(result) for result in results]
    total = f"| all | | | {sum(r.cells for r in results)} | {sum(map(equal, results))} | | |\n"
    return HEAD + "".join(rows) + total


def row_of(result: Result) -> str:
    """One notebook."""
    source = result.source
    changed = Counter(f"`{mime}` {what}" for _, mime, what in changes(result))
    left = [("not run", source.left_out), ("differs each time", source.unrepeatable), ("differs", source.differing)]
    exceptions = "; ".join(words for word, cells in left for words in exceptions_of(word, cells))
    where = f"{source.project} {result.version}"
    cells = (
        source.title,
        where,
        FACES[result.face],
        result.cells,
        equal(result),
        "; ".join(counted(changed.items())),
        exceptions,
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def changes(result: Result) -> list[tuple[int, str, str]]:
    """What the policy changed, each representation of a cell once."""
    compared = set(result.source.unrepeatable) | set(result.source.differing)
    return sorted({tuple(change) for change in result.changes if change.cell not in compared})


def equal(result: Result) -> int:
    """How many cells put out exactly what they do natively."""
    other = {cell for cell, _, _ in changes(result)} | result.failures.keys()
    return result.cells - len(other | result.source.unrepeatable.keys() | result.source.differing.keys())


def exceptions_of(word: str, cells: Mapping[int, str]) -> list[str]:
    """Name what is not compared, with the reason."""
    return [f"{count} {word}: {why}" for why, count in Counter(cells.values()).items()]


def counted(items: Iterable[tuple[str, int]]) -> list[str]:
    """Words with their numbers, those above one."""
    return [text if count == 1 else f"{text} ({count})" for text, count in sorted(items)]


def with_table(document: str, results: list[Result]) -> str:
    """Return the document with a new table between its two marks."""
    table = f"{BEGIN}\n\n{table_of(results)}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: table, document, flags=re.DOTALL)
