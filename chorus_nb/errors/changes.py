"""What a sandbox has changed of the repository, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import ChorusError

if TYPE_CHECKING:
    from ..changes.review import Applied


class NoSuchChangeError(ChorusError, LookupError):
    """No change of a sandbox is at a path, or matches a pattern.

    Attributes
    ----------
    path : str
        As it was asked for.
    """

    category = "file"

    def __init__(self, message: str, *, path: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.path = path


class ChangedMeanwhileError(ChorusError, RuntimeError):
    """A file is no longer what it was when changes were looked for.

    Attributes
    ----------
    path : str
    """

    category = "file"

    def __init__(self, message: str, *, path: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.path = path


class ApplyError(ChorusError, OSError):
    """Some changes of a sandbox could not be taken over; all others were.

    Attributes
    ----------
    applied : Applied
        What was done, and what not, and why.
    """

    category = "file"

    def __init__(self, message: str, *, applied: Applied, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.applied = applied


class DiscardError(ChorusError, OSError):
    """Some changes of a sandbox could not be thrown away: they are there still.

    Attributes
    ----------
    paths : tuple of str
    """

    category = "file"

    def __init__(self, message: str, *, paths: tuple[str, ...], next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.paths = paths
