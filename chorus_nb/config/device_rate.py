"""Rates of a disk, written as Docker's ``--device-read-bps`` and its like take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .units import parse_size_bytes, size_text

_MAX = 2**60


@dataclass(frozen=True, slots=True)
class DeviceRate:
    """What may be read from a disk, or written to it, in a second.

    Attributes
    ----------
    path : str
        The disk's device on the engine's machine, such as ``/dev/sda``: the whole disk, no partition of it.
    rate : int
        Bytes, or operations, per second.
    """

    path: str
    rate: int

    def __post_init__(self) -> None:
        path = self.path
        if not (isinstance(path, str) and path.startswith("/dev/") and path.isprintable() and len(path) < 256):
            raise ValueError("DEVICE:RATE, a device below /dev")
        if type(self.rate) is not int or not 1 <= self.rate <= _MAX:
            raise ValueError("a rate of at least 1")

    def __str__(self) -> str:
        return f"{self.path}:{size_text(self.rate)}"


def parse_rates(value: object) -> object:
    """Read ``["/dev/sda:10m"]``. Raises ``ValueError`` for what is no such list, or names a device twice."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)):
        raise ValueError("a list of DEVICE:RATE")
    parsed = [_parse(entry) for entry in entries]
    if len({each.path for each in parsed}) < len(parsed):
        raise ValueError("each device once")
    return tuple(parsed)


def _parse(entry: Any) -> DeviceRate:
    if isinstance(entry, DeviceRate):
        return entry
    if isinstance(entry, dict) and entry.keys() == {"path", "rate"}:  # As pydantic writes one down.
        return DeviceRate(**entry)
    path, _, rate = str(entry).rpartition(":")
    number: Any = parse_size_bytes(rate)
    return DeviceRate(path, number)


def lower(new: Iterable[DeviceRate], old: Iterable[DeviceRate]) -> bool:
    """Whether no rate that there was is higher, or gone."""
    rates = {each.path: each.rate for each in new}
    return all(rates.get(each.path, _MAX + 1) <= each.rate for each in old)
