"""What a cell asks of the front end with its reply: help to show in the pager, text to put into a cell.

The shapes are those of the Jupyter messaging protocol ("Payloads"). They are hostile, as all of a reply: text in a cell
of the notebook would run on the host, so it is for whoever puts it there to have it run in the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sanitize import clean_text

MAX_PAYLOADS = 16
MAX_CHARACTERS = 2**20


@dataclass(frozen=True, slots=True)
class Page:
    """Text for the pager, from its line ``start`` on."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class NextInput:
    """Text for a new cell below, or with ``replace`` for this one."""

    text: str
    replace: bool


def payloads(reply: Mapping[str, Any]) -> list[Page | NextInput]:
    """Return the payloads of an ``execute_reply`` that are shaped like one, cleaned and bounded."""
    found = reply.get("payload")
    read = [_read(each) for each in found[:MAX_PAYLOADS]] if isinstance(found, list) else []
    return [each for each in read if each is not None]


def _read(payload: Any) -> Page | NextInput | None:
    if not isinstance(payload, dict):
        return None
    if payload.get("source") == "page" and isinstance(data := payload.get("data"), dict):
        start = payload.get("start")
        text = _text(data.get("text/plain"))
        return Page(text, start if isinstance(start, int) and 0 <= start < 10**6 else 0) if text else None
    if payload.get("source") == "set_next_input" and (text := _text(payload.get("text"))):
        return NextInput(text, payload.get("replace") is True)
    return None


def _text(value: object) -> str:
    return clean_text(value[:MAX_CHARACTERS]) if isinstance(value, str) else ""
