"""What every error of this package has."""

from __future__ import annotations

from typing import ClassVar

CATEGORIES = frozenset(
    {
        *("configuration", "policy", "engine", "image", "session"),
        *("execution", "resource", "network", "file", "transfer", "protocol"),
    }
)
"""What errors are sorted by: who has to act, and where to look."""


class ChorusError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    message : str
        What happened, naming the thing and the limit.
    next_step : str
        What to try, as a sentence.

    Attributes
    ----------
    category : str
        One of :data:`CATEGORIES`.
    retryable : bool
        Whether the same call is safe to make again and may then succeed with nothing changed. Never so for a cell that
        has begun: nobody but its author knows what running it twice would do.
    state_kept : bool
        False where what happened took the session's variables with it.
    """

    category: ClassVar[str] = "session"
    retryable: ClassVar[bool] = False
    state_kept: bool = True

    def __init__(self, message: str, *, next_step: str = "") -> None:
        self.message = message
        self.next_step = next_step
        super().__init__(f"{message} {next_step}".strip())

    def __str__(self) -> str:
        # Not left to the builtin that an error is besides: OSError would print itself as an errno.
        return f"{self.message} {self.next_step}".strip()

    def _render_traceback_(self) -> list[str]:
        """Show the message alone: IPython's hook for errors whose host frames would tell the reader nothing."""
        return [f"\x1b[31m{type(self).__name__}\x1b[0m: {self}"]
