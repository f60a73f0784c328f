"""Sizes and durations as people write them, kept as plain numbers of bytes and seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_SIZE = re.compile(r"(?P<number>\d{1,18}(\.\d{1,18})?)\s*(?P<unit>[bkmgt]?)(ib|b)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>ms|s|m|min|h)?", re.IGNORECASE)
_DURATION_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_size_bytes(value: object) -> object:
    """Read ``512m`` as 536870912, with Docker's binary units (``b``, ``k``, ``m``, ``g``, ``t``); numbers pass."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("a size such as 512m or 1.5g")
    return int(float(match["number"]) * _SIZE_UNITS[match["unit"].lower()])


def parse_duration_s(value: object) -> object:
    """Read ``30s``, ``1.5m`` or ``2h`` as seconds; a bare number is seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        raise ValueError("a duration such as 30s, 5m or 1h")
    return float(match["number"]) * _DURATION_UNITS[(match["unit"] or "s").lower()]


def size_text(size_bytes: int) -> str:
    """Write 536870912 as ``512m``: what :func:`parse_size_bytes` reads as the same number."""
    units = (("g", 2**30), ("m", 2**20), ("k", 2**10))
    return next((f"{size_bytes // n}{unit}" for unit, n in units if size_bytes % n == 0 < size_bytes), str(size_bytes))


SizeBytes = Annotated[int, BeforeValidator(parse_size_bytes), Field(le=2**60)]
DurationS = Annotated[float, BeforeValidator(parse_duration_s), Field(gt=0, allow_inf_nan=False)]
