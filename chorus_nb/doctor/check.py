"""One thing that was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing.

    Attributes
    ----------
    name : str
        What was looked at; the same from version to version.
    status : str
        ``ok``; ``warn`` where sandboxes work and something of them does not; ``fail`` where none works.
    found : str
        What there is.
    cure : str
        What to do where that is not ``ok``.
    """

    name: str
    status: Status
    found: str
    cure: str = ""


def ok(name: str, found: str) -> Check:
    """Return that all is well."""
    return Check(name, "ok", found)


def warn(name: str, found: str, cure: str) -> Check:
    """Return that something is missing, and that sandboxes work without it."""
    return Check(name, "warn", found, cure)


def fail(name: str, found: str, cure: str) -> Check:
    """Return that no sandbox works."""
    return Check(name, "fail", found, cure)
