"""The view of the repository that a sandbox writes to."""

from __future__ import annotations

from .base import ChorusError


class WorkingCopyError(ChorusError, OSError):
    """What a sandbox has of the repository, where it writes to a view of its own, can't be made or read.

    Attributes
    ----------
    path : str
        The path in the repository that it is about; empty for the view as a whole.
    """

    category = "file"

    def __init__(self, message: str, *, path: str = "", next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.path = path


class UnappliedChangesError(ChorusError, RuntimeError):
    """What was asked for would lose changes that a sandbox has made to its view of the repository."""

    category = "session"
