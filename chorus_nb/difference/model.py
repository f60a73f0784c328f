"""The two versions of a file, and the difference between them as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChangeKind = Literal["created", "modified", "deleted", "renamed", "mode"]
LineKind = Literal["hunk", "same", "removed", "added", "note"]

MAX_STEPS = 3_000_000
"""Of all comparisons of lines that are shown together: about two seconds."""

MAX_CHARACTERS = 500_000
MAX_PICTURES = 20
MAX_NOTEBOOKS = 20


@dataclass(slots=True)
class Budget:
    """What is left of the work, and of the room, for all differences that are shown together.

    Steps are counted and not seconds, so that the same files give the same text on every machine.
    """

    steps: int = MAX_STEPS
    characters: int = MAX_CHARACTERS
    pictures: int = MAX_PICTURES
    notebooks: int = MAX_NOTEBOOKS

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be compared."""
        return self.steps <= 0 or self.characters <= 0


@dataclass(frozen=True, slots=True)
class Version:
    """What is at a path on one side.

    Attributes
    ----------
    kind : str
        As of :class:`chorus_nb.working_copy.FileState`.
    mode : int
        Permission bits.
    size_bytes : int
    content : bytes or None
        Of a regular file; None where it is too large to be read.
    digest : str
        Of a regular file, with its algorithm; empty where it is too large even for that.
    target : str
        What a link says.
    """

    kind: str
    mode: int
    size_bytes: int
    content: bytes | None = None
    digest: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, without controls and without its end."""

    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """What is shown below the heading of a file.

    Attributes
    ----------
    added, removed : int
        Lines in all, also those that are not shown.
    facts : tuple of str
        What stands beside the path.
    """

    lines: tuple[Line, ...] = ()
    added: int = 0
    removed: int = 0
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that a page may show.

    Attributes
    ----------
    uri : str
        A ``data:`` URI of PNG or SVG.
    description : str
        Format and size in pixels.
    """

    uri: str
    description: str


Pictures = tuple[Picture | None, Picture | None]
"""Before and after; None where there is none on that side."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A change of one path as it is shown; every text in it is printable.

    Attributes
    ----------
    warning : str
        Why it can't be taken over as it is.
    """

    kind: ChangeKind
    path: str
    source: str = ""
    warning: str = ""
    body: Body = Body()
    pictures: Pictures = (None, None)


@dataclass(frozen=True, slots=True)
class Report:
    """Several differences, and what is said before and after them.

    Attributes
    ----------
    listed : tuple of str
        Printable lines about changes that are not shown in full.
    """

    opening: str
    differences: tuple[Difference, ...] = ()
    listed: tuple[str, ...] = ()
    closing: str = ""
