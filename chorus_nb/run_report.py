"""What ``chorus-nb run`` says: a progress bar while cells run, and a table of what each of them used.

On a terminal the bar is one line that is drawn again and again; elsewhere, as in a log, each cell is a line.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from pydantic import ValidationError

from .status import table
from .telemetry import ResourceUsage

LABEL_CHARS = 48
_BAR_CHARS = 20
_REDRAW_S = 0.2
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class CellRun:
    """How one code cell went."""

    number: int
    label: str
    state: str = "not run"
    started_s: float = 0.0
    duration_s: float | None = None
    usage: ResourceUsage | None = None


class Report:
    """Follows the cells of a notebook.

    Parameters
    ----------
    cells : sequence of mapping
        The cells, as nbformat has them.
    stream : TextIO
        Where progress goes.
    """

    def __init__(self, cells: Sequence[Mapping[str, Any]], stream: TextIO) -> None:
        code = [(index, cell) for index, cell in enumerate(cells) if cell["cell_type"] == "code"]
        self.cells = {index: CellRun(number, label(cell["source"])) for number, (index, cell) in enumerate(code, 1)}
        self.asked_to_stop = False
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._current: CellRun | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        if self._is_terminal:
            threading.Thread(target=self._redraw, name="chorus-progress", daemon=True).start()

    # What nbclient calls

    def cell_starts(self, cell: Any, cell_index: int) -> None:
        """Note that a cell begins; text and raw cells are none."""
        current = self.cells.get(cell_index)
        if current:
            current.state, current.started_s = "running", time.monotonic()
            with self._lock:
                self._current = current

    def cell_ends(self, cell: Any, cell_index: int, execute_reply: Mapping[str, Any]) -> None:
        """Take the figures of a cell out of the metadata of its reply."""
        current = self.cells[cell_index]
        current.duration_s = time.monotonic() - current.started_s
        current.state = "done" if execute_reply["content"]["status"] == "ok" else "failed"
        figures = execute_reply.get("metadata", {}).get("chorus_nb", {}).get("usage")
        try:
            current.usage = ResourceUsage.model_validate(figures)
        except ValidationError:
            pass  # The cell never reached the sandbox.
        if not self._is_terminal:
            self._print(self._line(current))

    # How it ended

    def failed(self, text: str) -> None:
        """Name the cell that failed and show its traceback."""
        self.close()
        current = self._current
        if current:
            current.state = "failed"
        text = text if self._is_terminal else _ANSI.sub("", text)
        self._print(f"{text.rstrip()}\n\nCell {current.number if current else '?'} of {len(self.cells)} failed.")

    def interrupted(self) -> None:
        """Say where it was interrupted."""
        self.close()
        where = ""
        if self._current:
            self._current.state = "interrupted"
            where = f" in cell {self._current.number} of {len(self.cells)}"
        self._print(f"Interrupted{where}. The sandbox is gone; nothing is left running.")

    def close(self) -> None:
        """Stop drawing and clear the line."""
        if not self._ended.is_set():
            self._ended.set()
            if self._is_terminal:
                with self._lock:
                    self._stream.write("\r\x1b[K")
                    self._stream.flush()

    def table(self) -> str:
        """Return a line per cell: how it ended, its time, CPU time and peak of memory."""
        if not self.cells:
            return "The notebook has no code cells."
        rows = [_row(cell) for cell in self.cells.values()]
        return table([("CELL", "STATE", "TIME", "CPU", "PEAK MEMORY", ""), *rows])

    # Drawing

    def _line(self, cell: CellRun) -> str:
        number, state, *figures, text = _row(cell)
        return f"cell {number} of {len(self.cells)}: {state}, {', '.join(figures)}  {text}"

    def _redraw(self) -> None:
        while not self._ended.wait(_REDRAW_S):
            with self._lock:
                if not self._ended.is_set():
                    self._stream.write("\r" + self._bar() + "\x1b[K")
                    self._stream.flush()

    def _bar(self) -> str:
        cell, total = self._current, len(self.cells)
        if cell is None:
            return "starting the sandbox"
        done = sum(each.state in ("done", "failed") for each in self.cells.values())
        filled = _BAR_CHARS * done // max(1, total)
        running_s = time.monotonic() - cell.started_s
        bar = "█" * filled + "░" * (_BAR_CHARS - filled)
        text = f"{bar} cell {cell.number} of {total}  {running_s:.0f} s  {cell.label}"
        return text[: shutil.get_terminal_size().columns - 1]

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def label(source: str) -> str:
    """Return the first line of code of a cell, fit for a terminal whatever is in it."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith(("#", "%%"))), lines[0] if lines else "")
    text = "".join(char if char.isprintable() else "?" for char in first)
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"


def _row(cell: CellRun) -> tuple[str, ...]:
    duration = "-" if cell.duration_s is None else f"{cell.duration_s:.2f} s"
    usage = cell.usage
    cpu = f"{usage.cpu_time_s:.2f} s" if usage else "-"
    memory = f"{usage.memory_peak_bytes / 2**20:.0f} MiB" if usage else "-"
    return str(cell.number), cell.state, duration, cpu, memory, cell.label
