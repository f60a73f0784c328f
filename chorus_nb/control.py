"""One control of a policy: what was asked for, and what is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable text")
    return text


Text = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
"""People read it, maybe in a terminal."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control of the policy.

    Attributes
    ----------
    name : str
        As in messages and in ``%sandbox status``.
    requested, enforced : str
        What was asked for, and what the agent found, as people read it.
    in_force : bool
        Whether what it found is at least as tight as what was asked for.
    """

    name: str
    requested: str
    enforced: str
    in_force: bool


def switch(name: str, found: bool, wanted: bool = True) -> Control:
    """Compare a lock that is on or off; one that nobody asked for may be on all the same."""
    words = {True: "on", False: "off"}
    return Control(name, words[wanted], words[found], found or not wanted)
