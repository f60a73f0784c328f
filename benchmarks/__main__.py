"""Print the table of ratios.

Every row is a pair measured in turns, first the one and then the other, so that whatever else the machine does hits
both alike; its figures are medians. Cells take turns ten at a time, as when a notebook is run from top to bottom.
Compare ratios between machines, not milliseconds. Needs a Docker Engine. Exit status 1 where a target is missed.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from .overlay import overlay_of
from .safe_edits import edits_of
from .subjects import engine, kernel, sandbox, sandbox_cold_start

_CELLS = ("x = 1", "print(1)")
_LAYOUT = "{:<24} {:>9}   {:<28} {:>9} {:>8}   {:<8} {}"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    rounds, block : int
        How many turns each takes, and how often it is measured in one.
    ours, theirs : callable
        Measure once; return seconds.
    most_ratio, most_s : float or None
        The targets: the largest ratio of the medians, and the largest median of ours in seconds.
    """

    what: str
    against: str
    rounds: int
    ours: Callable[[], float]
    theirs: Callable[[], float]
    most_ratio: float | None = None
    most_s: float | None = None
    block: int = 1

    def measure(self) -> tuple[float, float]:
        """Return the medians, in seconds. The first round of each only warms up."""
        ours, theirs = [], []
        for _ in range(self.rounds + 1):
            ours.append([self.ours() for _ in range(self.block)])
            theirs.append([self.theirs() for _ in range(self.block)])
        return statistics.median(chain(*ours[1:])), statistics.median(chain(*theirs[1:]))

    def meets(self, ours_s: float, theirs_s: float) -> bool:
        """Whether the targets are reached."""
        ratio_fits = self.most_ratio is None or ours_s <= self.most_ratio * theirs_s
        return ratio_fits and (self.most_s is None or ours_s < self.most_s)

    @property
    def target(self) -> str:
        """The target, for people."""
        if self.most_s is not None:
            return f"< {self.most_s * 1e3:g} ms"
        return "" if self.most_ratio is None else f"<= {self.most_ratio:g}"


def run() -> bool:
    """Measure and print; return whether every target is reached."""
    print_head()
    with (
        sandbox() as ours,
        kernel() as theirs,
        engine() as docker,
        overlay_of(10) as few,
        overlay_of(100_000) as many,
        edits_of(100_000, 1_000) as edits,
    ):
        rows = [
            *(_cells(code, "ipykernel", 30, ours.cell, theirs.cell, 0.2, block=10) for code in _CELLS),
            *(_cells(code, "docker exec python3 -c (SDK)", 20, ours.cell, docker.exec_cell) for code in _CELLS),
            Row("restart, answer", "ipykernel", 10, ours.restart, theirs.restart, most_s=0.05),
            Row("cold start, answer", "create + start + wait `true`", 15, sandbox_cold_start, docker.bare_start, 1.6),
            Row("cold start, answer", "the same and its removal", 15, sandbox_cold_start, docker.bare_life),
            Row("overlay of 100,000 files", "overlay of 10 files", 10, many.cold_start, few.cold_start, 1.1),
            Row("diff, 1,000 changed", "git status, 100,000 files", 5, edits.diff, edits.git_status),
            Row("diff and apply them", "git status, 100,000 files", 5, edits.apply, edits.git_status),
        ]
        reached = [print_row(row) for row in rows]
    return all(reached)


def _cells(
    code: str,
    against: str,
    rounds: int,
    ours: Callable[[str], float],
    theirs: Callable[[str], float],
    most_ratio: float | None = None,
    block: int = 1,
) -> Row:
    return Row(f"cell `{code}`", against, rounds, lambda: ours(code), lambda: theirs(code), most_ratio, block=block)


def print_head() -> None:
    """Print the names of the columns."""
    print(_LAYOUT.format("median", "chorus-nb", "against", "", "ratio", "target", ""))


def print_row(row: Row) -> bool:
    """Measure and print; return whether the targets are reached."""
    ours_s, theirs_s = row.measure()
    reached = row.meets(ours_s, theirs_s)
    verdict = ("reached" if reached else "MISSED") if row.target else ""
    figures = (f"{ours_s * 1e3:.1f} ms", row.against, f"{theirs_s * 1e3:.1f} ms", f"{ours_s / theirs_s:.3f}")
    print(_LAYOUT.format(row.what, *figures, row.target, verdict).rstrip(), flush=True)
    return reached


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
