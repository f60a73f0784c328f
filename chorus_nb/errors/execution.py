"""Code in a sandbox: it raised, or the process that ran it ended."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping

from .base import ChorusError


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
        self.state_kept = all(getattr(error, "state_kept", True) for error in errors.values())


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
    state_kept = False

    def __init__(
        self, message: str, *, next_step: str = "", exit_code: int | None = None, signal: int | None = None
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.exit_code = exit_code
        self.signal = signal
