"""Limits that were reached. Each says the limit and the figure."""

from __future__ import annotations

from .base import ChorusError
from .execution import ExecutionError, WorkerDiedError
from .session import SandboxDiedError


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


class ResourceLimitError(ExecutionError):
    """The code of a cell failed at a limit of its sandbox. The traceback is the code's own, and the variables are kept.

    Attributes
    ----------
    option : str
        The option that sets the limit.
    limit : int
        What it is set to: bytes, or a number.
    figure : int
        What was reached.
    """

    category = "resource"

    def __init__(
        self, ename: str, evalue: str, traceback: list[str], *, hint: str, option: str, limit: int, figure: int
    ) -> None:
        super().__init__(ename, evalue, traceback)
        self.message = f"{self.message}."
        self.next_step = hint
        self.option = option
        self.limit = limit
        self.figure = figure


class ProcessLimitError(ResourceLimitError):
    """No more processes and threads could be made."""


class OpenFilesLimitError(ResourceLimitError):
    """A process could open no more files."""


class FileSizeLimitError(ResourceLimitError):
    """A file could grow no more."""


class DiskFullError(ResourceLimitError):
    """A folder that takes writes is full."""


class DiskQuotaExceededError(ChorusError, OSError):
    """The sandbox has added more on disk than it may, and what ran in it was ended.

    Attributes
    ----------
    limit_bytes : int
        What it may add.
    used_bytes : int
        What it had added when that was found.
    state_kept : bool
        True where the cell yielded to an interrupt and its variables are still there.
    """

    category = "resource"

    def __init__(
        self, message: str, *, next_step: str = "", limit_bytes: int, used_bytes: int, state_kept: bool
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.limit_bytes = limit_bytes
        self.used_bytes = used_bytes
        self.state_kept = state_kept


class SessionExpiredError(SandboxDiedError, TimeoutError):
    """The session was stopped because its time was over; its variables are lost.

    Attributes
    ----------
    limit_s : float
        How long it was allowed, in seconds.
    time_s : float
        How long it was, in seconds.
    """

    category = "resource"
    state_kept = False

    def __init__(self, message: str, *, next_step: str = "", limit_s: float, time_s: float) -> None:
        super().__init__(message, next_step=next_step)
        self.limit_s = limit_s
        self.time_s = time_s


class SessionIdleError(SessionExpiredError):
    """Nothing ran in the session for as long as it may be idle."""


class SessionLifetimeError(SessionExpiredError):
    """The session reached the end of its lifetime, perhaps while a cell ran."""


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
