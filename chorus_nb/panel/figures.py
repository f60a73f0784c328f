"""What a strip shows, worked out once: the live widget, the still picture and the plain line all draw from here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from chorus_nb.panel.format import format_bytes, format_bytes_pair, format_duration, printable

if TYPE_CHECKING:
    from chorus_nb.telemetry import ResourceSample, ResourceUsage

Tone = Literal["idle", "busy", "good", "warning", "bad"]
Level = Literal["normal", "high", "full"]

_TONES: dict[str, Tone] = {
    "starting": "warning",
    "stopping": "warning",
    "interrupted": "warning",
    "cancelled": "warning",
    "running": "busy",
    "busy": "busy",
    "done": "good",
    "idle": "good",
    "ready": "good",
    "error": "bad",
    "timeout": "bad",
    "out of memory": "bad",
    "disk full": "bad",
    "expired": "bad",
    "died": "bad",
    "dead": "bad",
    "failed": "bad",
}

_MAX_HISTORY_POINTS = 64
_MAX_CPUS = 1e4
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One labelled value; `fraction` in [0, 1] draws a bar below it, coloured by `level`; None draws none."""

    label: str
    value: str
    width_px: int
    fraction: float | None = None
    level: Level = "normal"


@dataclass(frozen=True, slots=True)
class StripFigures:
    """Everything one strip shows, as text and fractions; equal figures look equal.

    Attributes
    ----------
    name, state
        Session name and state, one printable line each.
    tone
        Colour of the state.
    columns
        Labelled values from left to right.
    history
        CPU use over time, each point in [0, 1] of what is allowed.
    alt
        The same in words, for screen readers.
    remark
        What is unusual about the output: ``"trusted"``, ``"text"``, or nothing.
    """

    name: str
    state: str
    tone: Tone
    columns: tuple[Column, ...]
    history: tuple[float, ...]
    alt: str
    remark: str = ""

    @property
    def status(self) -> str:
        """What is written below the name: the remark first, so that no long state crowds it out."""
        return f"{self.remark}: {self.state}" if self.remark else self.state

    def remarked(self, remark: str) -> StripFigures:
        """Return the same figures with a remark, in words too."""
        return replace(self, remark=remark, alt=f"{self.alt} ({remark} output)") if remark else self

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values for the widget."""
        return {
            **asdict(self),
            "status": self.status,
            "columns": [asdict(column) for column in self.columns],
            "history": list(self.history),
        }


class Meter:
    """Collects the samples of one strip and turns them into figures. Not thread-safe: its owner locks.

    Parameters
    ----------
    cpus
        CPUs the sandbox may use; None is all of this machine's, and percentages then count one CPU as 100.
    memory_limit_bytes
        Memory limit, for when no sample has named one yet.
    span
        ``"cell"`` counts from the first sample, and the history spans all of them; ``"session"`` counts from the
        container's start, and the history rolls.
    """

    def __init__(
        self, cpus: float | None, memory_limit_bytes: int | None, *, span: Literal["cell", "session"] = "cell"
    ) -> None:
        self._cpus = cpus
        self._memory_limit_bytes = memory_limit_bytes
        self._span = span
        self._first: ResourceSample | None = None
        self._last: ResourceSample | None = None
        self._cpu_share = 0.0
        self._history: list[float] = []
        self._bucket: list[float] = []
        self._samples_per_point = 1

    def add(self, sample: ResourceSample) -> None:
        """Take one reading; readings out of order or from before a restart start anew."""
        last = self._last
        if last is None or sample.time_s < last.time_s or sample.cpu_time_s < last.cpu_time_s:
            self._first = sample
        elif sample.time_s > last.time_s:
            used = min((sample.cpu_time_s - last.cpu_time_s) / (sample.time_s - last.time_s), _MAX_CPUS)
            self._cpu_share = used / (self._cpus or 1.0)
            self._remember(used / (self._cpus or os.cpu_count() or 1))
        self._last = sample

    def live(self, name: str, state: str, elapsed_s: float | None) -> StripFigures:
        """Figures at this moment: current memory, CPU share since the last sample but one."""
        elapsed = ("up" if self._span == "session" else "time", elapsed_s)
        last = self._last
        if last is None:
            return _figures(name, state, _columns(elapsed), self._history)
        columns = _columns(
            elapsed,
            cpu=(self._count("cpu_time_s"), self._cpu_share),
            memory=("memory", last.memory_bytes, last.memory_limit_bytes or self._memory_limit_bytes),
            processes=(last.pids, last.pids_limit),
            network=(self._count("network_rx_bytes"), self._count("network_tx_bytes")),
            disk=(self._count("disk_read_bytes"), self._count("disk_write_bytes")),
        )
        return _figures(name, state, columns, self._history)

    def final(self, name: str, state: str, usage: ResourceUsage | None, elapsed_s: float) -> StripFigures:
        """Figures of the whole execution: exact ones where `usage` is there, else what the samples told."""
        if usage is None:
            return self.live(name, state, elapsed_s)
        share = usage.cpu_time_s / usage.duration_s / (self._cpus or 1.0) if usage.duration_s > 0 else 0.0
        columns = _columns(
            ("time", usage.duration_s),
            cpu=(usage.cpu_time_s, share),
            memory=("memory peak", usage.memory_peak_bytes, usage.memory_limit_bytes or self._memory_limit_bytes),
            processes=(usage.pids_peak, usage.pids_limit),
            network=(usage.network_rx_bytes, usage.network_tx_bytes),
            disk=(usage.disk_read_bytes, usage.disk_write_bytes),
        )
        mean = share if self._cpus else share / (os.cpu_count() or 1)
        return _figures(name, state, columns, self._history if len(self._history) > 1 else [mean, mean])

    def _count(self, counter: str) -> Any:
        start = getattr(self._first, counter) if self._span == "cell" else 0
        return getattr(self._last, counter) - start

    def _remember(self, share: float) -> None:
        self._bucket.append(share)
        if len(self._bucket) < self._samples_per_point:
            return
        self._history.append(sum(self._bucket) / len(self._bucket))
        self._bucket.clear()
        if len(self._history) <= _MAX_HISTORY_POINTS:
            return
        if self._span == "session":
            del self._history[0]
        else:
            # Halve the resolution, so that the line always spans the whole cell.
            pairs = zip(self._history[::2], self._history[1::2], strict=False)
            self._history = [(left + right) / 2 for left, right in pairs]
            self._samples_per_point *= 2


def summary_line(name: str, state: str, usage: ResourceUsage | None, elapsed_s: float, remark: str = "") -> str:
    """Say the figures of one execution in one plain line, for terminals."""
    head = f"[sandbox {printable(name)}{remark and f', {remark} output'}] {printable(state)} in "
    if usage is None:
        return head + format_duration(elapsed_s)
    limit = usage.memory_limit_bytes
    of_limit = "" if limit is None else f" of {format_bytes(limit)}"
    return (
        f"{head}{format_duration(usage.duration_s)}, CPU {format_duration(usage.cpu_time_s)}, "
        f"memory peak {format_bytes(usage.memory_peak_bytes)}{of_limit}"
    )


def _columns(
    elapsed: tuple[str, float | None],
    cpu: tuple[float, float] | None = None,
    memory: tuple[str, int, int | None] = ("memory", 0, None),
    processes: tuple[int, int | None] = (0, None),
    network: tuple[int, int] = (0, 0),
    disk: tuple[int, int] = (0, 0),
) -> tuple[Column, ...]:
    """Lay out the columns; without `cpu` nothing is known yet and every value is a dash."""
    cpu_time_s, share = cpu or (0.0, 0.0)
    memory_label, memory_bytes, limit_bytes = memory
    pids, pids_limit = processes
    columns: tuple[Column, ...] = (
        Column("CPU", f"{format_duration(cpu_time_s)} · {share:.0%}", 88, _fraction(share, 1)),
        _limited(memory_label, memory_bytes, limit_bytes, 104, format_bytes, format_bytes_pair),
        _limited("processes", pids, pids_limit, 64, str, "{} / {}".format),
        Column("net in / out", format_bytes_pair(*network), 112),
        Column("disk read / write", format_bytes_pair(*disk), 112),
    )
    if cpu is None:
        columns = tuple(Column(column.label, _UNKNOWN, column.width_px) for column in columns)
    label, elapsed_s = elapsed
    return (Column(label, _UNKNOWN if elapsed_s is None else format_duration(elapsed_s), 70), *columns)


def _limited(
    label: str,
    value: int,
    limit: int | None,
    width_px: int,
    write: Callable[[int], str],
    write_pair: Callable[[int, int], str],
) -> Column:
    fraction = _fraction(value, limit)
    if limit is None or fraction is None:
        return Column(label, write(value), width_px)
    level: Level = "full" if fraction >= 0.95 else "high" if fraction >= 0.8 else "normal"
    return Column(label, write_pair(value, limit), width_px, fraction, level)


def _figures(name: str, state: str, columns: tuple[Column, ...], history: Sequence[float]) -> StripFigures:
    name, state = printable(name), printable(state, 32)
    said = ", ".join(f"{column.label} {column.value}" for column in columns if column.value != _UNKNOWN)
    return StripFigures(
        name=name,
        state=state,
        tone=_TONES.get(state, "idle"),
        columns=columns,
        history=tuple(round(min(max(share, 0.0), 1.0), 3) for share in history),
        alt=f"Sandbox {name}, {state}" + (f": {said}" if said else ""),
    )


def _fraction(value: float, limit: float | None) -> float | None:
    return round(min(max(value / limit, 0.0), 1.0), 3) if limit else None
