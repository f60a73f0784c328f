"""Limits of each process (``getrlimit(2)``), written as Docker's ``--ulimit`` takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .units import parse_size_bytes, size_text

UNLIMITED = -1
"""How Docker's API writes ``RLIM_INFINITY``."""

_BYTES = ("core", "data", "memlock", "msgqueue", "rss", "stack")
NAMES = (*_BYTES, "cpu", "locks", "nice", "nproc", "rtprio", "rttime", "sigpending")
"""Every limit that Docker knows, ``RLIMIT_`` left out, but ``nofile`` and ``fsize``: they have options of their own."""

_ENTRY = re.compile(r"(?P<name>[a-z]+)=(?P<soft>[\w.-]{1,40})(:(?P<hard>[\w.-]{1,40}))?", re.ASCII)

_SMALLEST = {"data": 2**28, "stack": 2**20, "cpu": 5}
"""Below these the engine's runtime or the agent does not start, or not for long."""


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One limit of each process.

    Attributes
    ----------
    name : str
        One of :data:`NAMES`.
    soft, hard : int
        In the unit of ``getrlimit(2)``; -1 is no limit. A process may raise its soft limit up to the hard one.
    """

    name: str
    soft: int
    hard: int

    def __post_init__(self) -> None:
        least = _SMALLEST.get(self.name, 0)
        whole = all(type(value) is int and (value == UNLIMITED or least <= value < 2**63) for value in self._values())
        if self.name not in NAMES or not whole or _height(self.soft) > _height(self.hard):
            raise ValueError("NAME=SOFT[:HARD], and soft up to hard")

    def _values(self) -> tuple[int, int]:
        return self.soft, self.hard

    def __str__(self) -> str:
        return f"{self.name}={self._text(self.soft)}:{self._text(self.hard)}"

    def _text(self, value: int) -> str:
        if value == UNLIMITED:
            return "unlimited"
        return size_text(value) if self.name in _BYTES else str(value)


def parse_ulimits(value: object) -> object:
    """Read ``["nproc=100", "stack=8m:16m"]``. Raises ``ValueError`` for what is none, or is named twice."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)):
        raise ValueError("a list of NAME=SOFT[:HARD]")
    parsed = [_parse(entry) for entry in entries]
    if len({each.name for each in parsed}) < len(parsed):
        raise ValueError("each limit once")
    return tuple(parsed)


def _parse(entry: Any) -> Ulimit:
    if isinstance(entry, Ulimit):
        return entry
    if isinstance(entry, dict) and entry.keys() == {"name", "soft", "hard"}:  # As pydantic writes one down.
        return Ulimit(**entry)
    match = _ENTRY.fullmatch(entry) if isinstance(entry, str) else None
    if not match:
        raise ValueError("NAME=SOFT[:HARD]")
    name, soft = match["name"], match["soft"]
    return Ulimit(name, _number(name, soft), _number(name, match["hard"] or soft))


def _number(name: str, text: str) -> Any:
    if text in ("unlimited", str(UNLIMITED)):
        return UNLIMITED
    return parse_size_bytes(text) if name in _BYTES else int(text) if text.isdigit() else None


def _height(value: int) -> float:
    return float("inf") if value == UNLIMITED else value


def lower(new: Iterable[Ulimit], old: Iterable[Ulimit]) -> bool:
    """Whether no limit is higher, none is gone and none is new: what the engine gives without one is not known."""
    before, after = ({each.name: (_height(each.soft), _height(each.hard)) for each in some} for some in (old, new))
    return before.keys() == after.keys() and all(
        soft <= before[name][0] and hard <= before[name][1] for name, (soft, hard) in after.items()
    )
