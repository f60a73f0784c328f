"""Limits that were reached. Each says the limit and the figure."""

from __future__ import annotations

from .base import ChorusError
from .execution import WorkerDiedError


class OutOfMemoryError(WorkerDiedError, MemoryError):
    """The kernel killed the cell because the container reached its memory limit.

    Attributes
    ----------
    limit_bytes : int or None
        The limit that was reached.
    peak_bytes : int
        The highest use that was seen.
    """

    category = "resource"

    def __init__(self, message: str, *, next_step: str = "", limit_bytes: int | None, peak_bytes: int) -> None:
        super().__init__(message, next_step=next_step, signal=9)
        self.limit_bytes = limit_bytes
        self.peak_bytes = peak_bytes


class ExecutionTimeoutError(ChorusError, TimeoutError):
    """The cell ran longer than it was allowed to.

    Attributes
    ----------
    timeout_s : float
        The limit in seconds.
    state_kept : bool
        True where the cell yielded to an interrupt and its variables are still there.
    """

    category = "resource"

    def __init__(self, message: str, *, next_step: str = "", timeout_s: float, state_kept: bool) -> None:
        super().__init__(message, next_step=next_step)
        self.timeout_s = timeout_s
        self.state_kept = state_kept
