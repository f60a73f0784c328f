"""Everything that can go wrong, in one tree.

Each error says what happened, why it probably did, and what to try next: ``message`` then ``next_step``. Each carries
the figures it speaks of as attributes, a ``category`` to sort by, and ``retryable``: whether doing the same again may
succeed without anybody changing anything. Where a builtin exception means the same, the error is one of those too, so
that ``except MemoryError`` or ``except TimeoutError`` do what their readers expect.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping
from typing import ClassVar


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
        One of ``configuration``, ``engine``, ``image``, ``session``, ``execution``, ``resource``, ``protocol``,
        ``policy``, ``file``.
    retryable : bool
        Whether the same call may succeed later with nothing changed.
    """

    category: ClassVar[str] = "session"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, next_step: str = "") -> None:
        self.message = message
        self.next_step = next_step
        super().__init__(f"{message} {next_step}".strip())

    def _render_traceback_(self) -> list[str]:
        """Show the message alone: IPython's hook for errors whose host frames would tell the reader nothing."""
        return [f"\x1b[31m{type(self).__name__}\x1b[0m: {self}"]


class ConfigurationError(ChorusError, ValueError):
    """A value that was asked for can't be had: names the field, what was given and what is allowed."""

    category = "configuration"


class PolicyLoosenedError(ConfigurationError):
    """What came with a notebook or its repository asks for more than the user allows.

    Attributes
    ----------
    option : str
        The option it wanted to loosen.
    """

    category = "policy"

    def __init__(self, message: str, *, next_step: str = "", option: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.option = option


class RepositoryNotFoundError(ConfigurationError, FileNotFoundError):
    """The folder to mount as the repository does not exist."""

    def __str__(self) -> str:
        # FileNotFoundError would print as an errno tuple.
        return " ".join(str(arg) for arg in self.args)


class SessionError(ChorusError):
    """Something about a named session."""


class UnknownSessionError(SessionError, LookupError):
    """No session has that name."""


class SessionConflictError(SessionError, ValueError):
    """A session that already runs was asked for with other options than it has."""


class SessionBusyError(SessionError, RuntimeError):
    """The session is running another cell."""

    retryable = True


class SessionClosedError(SessionError, RuntimeError):
    """The session was stopped."""


class EngineError(ChorusError, RuntimeError):
    """The container engine refused or failed."""

    category = "engine"


class EngineNotFoundError(EngineError, ConnectionError):
    """No engine answers at the address."""

    retryable = True


class EnginePermissionError(EngineError, PermissionError):
    """The engine is there, but this user may not talk to it."""

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args)


class ImageError(ChorusError, RuntimeError):
    """Something about an image."""

    category = "image"


class ImageNotFoundError(ImageError, LookupError):
    """The engine has no image of that name."""


class ImageUnsupportedError(ImageError):
    """The image has no CPython that the agent can run on."""


class SandboxStartError(ChorusError, RuntimeError):
    """The container was made, but the agent in it never became ready."""

    category = "engine"


class SandboxDiedError(ChorusError, ConnectionError):
    """The container ended while it was needed: removed by hand, killed, or its engine went away.

    Attributes
    ----------
    exit_code : int or None
        What the engine reports, where it still knows.
    """

    category = "engine"

    def __init__(self, message: str, *, next_step: str = "", exit_code: int | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.exit_code = exit_code


class AgentProtocolError(ChorusError, RuntimeError):
    """What came out of the sandbox is not the protocol; the sandbox was ended."""

    category = "protocol"


class PolicyNotEnforcedError(ChorusError, RuntimeError):
    """A control that was asked for is not in force inside the container; the sandbox was ended.

    Attributes
    ----------
    controls : tuple of str
        The controls that are missing.
    """

    category = "policy"

    def __init__(self, message: str, *, next_step: str = "", controls: tuple[str, ...] = ()) -> None:
        super().__init__(message, next_step=next_step)
        self.controls = controls


class ExecutionError(ChorusError):
    """Code in the sandbox raised.

    Attributes
    ----------
    ename, evalue : str
        As in a Jupyter ``error`` message: the exception's type and text.
    traceback : list of str
        The sandbox's own traceback with ANSI colours, no host frame in it.
    """

    category = "execution"

    def __init__(self, ename: str, evalue: str, traceback: list[str]) -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def _render_traceback_(self) -> list[str]:
        return self.traceback or super()._render_traceback_()


class ExecutionInterruptedError(ExecutionError):
    """The cell was interrupted and its session keeps its state."""


class EgressDeniedError(ExecutionError):
    """Code in the sandbox raised, and while it ran the allow-list refused connections of it.

    The traceback is that of its own exception; ``ename`` and ``evalue`` are this error's.

    Attributes
    ----------
    hosts : tuple of (str, int)
        The hosts and ports that were refused, in the order in which they were first asked for.
    """

    category = "policy"

    def __init__(
        self, ename: str, evalue: str, traceback: list[str], *, hosts: tuple[tuple[str, int], ...] = ()
    ) -> None:
        super().__init__(ename, evalue, traceback)
        self.hosts = hosts

    def __str__(self) -> str:
        return self.evalue  # The name stands before it wherever an exception is shown.

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback, f"\x1b[31m{self.ename}\x1b[0m: {self.evalue}"]


class CommandError(ChorusError):
    """A shell script ended with another exit status than 0.

    Attributes
    ----------
    exit_code : int
        The exit status; negative where a signal ended the shell itself, as in ``subprocess``.
    """

    category = "execution"

    def __init__(self, message: str, *, next_step: str = "", exit_code: int) -> None:
        super().__init__(message, next_step=next_step)
        self.exit_code = exit_code


class CellNotDoneError(ChorusError, TimeoutError):
    """A background cell has not ended in the time that somebody would wait for it; it runs on."""

    category = "execution"
    retryable = True

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args)


class CellCancelledError(ChorusError, concurrent.futures.CancelledError):
    """A background cell was taken out of the queue before it ran."""

    category = "execution"


class SessionsFailedError(ChorusError, RuntimeError):
    """A cell that ran in several sessions failed in some of them; in the others it has run to its end.

    Attributes
    ----------
    errors : dict of str to BaseException
        What it raised, by the name of the session.
    results : dict of str to object
        The values of the cell, by the name of the session; None where it failed or has none.
    """

    category = "execution"

    def __init__(
        self, message: str, *, next_step: str = "", errors: Mapping[str, BaseException], results: Mapping[str, object]
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.errors = dict(errors)
        self.results = dict(results)


class WorkerDiedError(ChorusError, RuntimeError):
    """The process that ran the cell ended; the container lives on and the next cell starts with no variables.

    Attributes
    ----------
    exit_code : int or None
        The process's exit status, where it exited.
    signal : int or None
        The number of the signal that ended it, where one did.
    """

    category = "execution"

    def __init__(
        self, message: str, *, next_step: str = "", exit_code: int | None = None, signal: int | None = None
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.exit_code = exit_code
        self.signal = signal


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

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args)


class SandboxFileError(ChorusError, OSError):
    """A file in the sandbox could not be read, written or listed.

    Attributes
    ----------
    path : str
        The path as it was asked for.
    """

    category = "file"

    def __init__(self, message: str, *, path: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.path = path

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args)
