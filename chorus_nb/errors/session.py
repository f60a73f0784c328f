"""A session, and the sandbox and the agent it stands on."""

from __future__ import annotations

from .base import ChorusError


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

    state_kept = False


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
    state_kept = False

    def __init__(self, message: str, *, next_step: str = "", exit_code: int | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.exit_code = exit_code


class EngineGoneError(SandboxDiedError):
    """The engine went away, or hangs, with a sandbox in it; what is left of that is removed when it answers again."""


class AgentProtocolError(ChorusError, RuntimeError):
    """What came out of the sandbox is not the protocol; the sandbox was ended."""

    category = "protocol"
    state_kept = False


class AgentSilentError(ChorusError, TimeoutError):
    """The agent gave no answer in time to a request that runs no code: its container is paused, stopped or starved.

    Attributes
    ----------
    timeout_s : float
        How long was waited for it.
    """

    category = "protocol"
    retryable = True

    def __init__(self, message: str, *, next_step: str = "", timeout_s: float) -> None:
        super().__init__(message, next_step=next_step)
        self.timeout_s = timeout_s


class TransferError(ChorusError, OSError):
    """Files could not be copied between host and sandbox.

    Attributes
    ----------
    path : str
        What it is about.
    """

    category = "file"

    def __init__(self, message: str, *, path: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.path = path


class TransferConflictError(TransferError, FileExistsError):
    """Files of the host would be replaced by others; nothing was copied.

    Attributes
    ----------
    paths : tuple of str
        All of them, as they are on the host.
    """

    def __init__(self, message: str, *, paths: tuple[str, ...], next_step: str = "") -> None:
        super().__init__(message, path=paths[0], next_step=next_step)
        self.paths = paths


class SandboxFileError(ChorusError, OSError):
    """A file in the sandbox could not be read, written or listed.

    Attributes
    ----------
    path : str
        The path as it was asked for.
    errno : int or None
        What the sandbox's kernel says, as in :mod:`errno`, by the sandbox's word.
    """

    category = "file"

    def __init__(self, message: str, *, path: str, next_step: str = "", errno: int | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.path = path
        self.errno = errno
