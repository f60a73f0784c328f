"""Variables that could not cross."""

from __future__ import annotations

from .base import ChorusError


class VariableError(ChorusError, TypeError):
    """A value can't cross between the notebook and a sandbox.

    Attributes
    ----------
    path : str
        The variable, or the part of it that failed: ``x['a'][3]``.
    """

    category = "transfer"

    def __init__(self, message: str, *, next_step: str = "", path: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.path = path


class VariableNotFoundError(VariableError, LookupError):
    """There is no variable of that name."""


class VariableMemoryError(VariableError, MemoryError):
    """There is not enough memory for a value where it was to go."""
