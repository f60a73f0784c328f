"""Everything that can go wrong, in one tree.

Each error says what happened, why it probably did, and what to try next: ``message`` then ``next_step``. Each carries
the figures it speaks of as attributes, a ``category`` to sort by, ``retryable``: whether doing the same again is safe
and may succeed without anybody changing anything, and ``state_kept``: whether the session's variables survived it.
Where a builtin exception means the same, the error is one of those too, so that ``except MemoryError`` or
``except TimeoutError`` do what their readers expect. ``docs/errors.md`` has the tree as a table.
"""

from .base import CATEGORIES, ChorusError
from .changes import ApplyError, ChangedMeanwhileError, DiscardError, NoSuchChangeError
from .configuration import (
    ConfigurationError,
    PolicyLoosenedError,
    PolicyNotEnforcedError,
    PolicyRefusedError,
    RepositoryNotFoundError,
)
from .engine import (
    EngineError,
    EngineNotFoundError,
    EnginePermissionError,
    EngineTimeoutError,
    ImageError,
    ImageNotFoundError,
    ImageUnsupportedError,
    VolumeMountError,
)
from .execution import (
    CellCancelledError,
    CellNotDoneError,
    CommandError,
    EgressDeniedError,
    ExecutionError,
    ExecutionInterruptedError,
    SessionsFailedError,
    WorkerDiedError,
)
from .resource import (
    DiskFullError,
    DiskQuotaExceededError,
    ExecutionTimeoutError,
    FileSizeLimitError,
    OpenFilesLimitError,
    OutOfMemoryError,
    ProcessLimitError,
    ResourceLimitError,
    SessionExpiredError,
    SessionIdleError,
    SessionLifetimeError,
)
from .session import (
    AgentProtocolError,
    AgentSilentError,
    EngineGoneError,
    SandboxDiedError,
    SandboxFileError,
    SandboxStartError,
    SessionBusyError,
    SessionClosedError,
    SessionConflictError,
    SessionError,
    TransferConflictError,
    TransferError,
    UnknownSessionError,
)
from .variables import VariableError, VariableMemoryError, VariableNotFoundError
from .working_copy import UnappliedChangesError, WorkingCopyError

__all__ = [
    "CATEGORIES",
    "AgentProtocolError",
    "AgentSilentError",
    "ApplyError",
    "CellCancelledError",
    "CellNotDoneError",
    "ChangedMeanwhileError",
    "ChorusError",
    "CommandError",
    "ConfigurationError",
    "DiscardError",
    "DiskFullError",
    "DiskQuotaExceededError",
    "EgressDeniedError",
    "EngineError",
    "EngineGoneError",
    "EngineNotFoundError",
    "EnginePermissionError",
    "EngineTimeoutError",
    "ExecutionError",
    "ExecutionInterruptedError",
    "ExecutionTimeoutError",
    "FileSizeLimitError",
    "ImageError",
    "ImageNotFoundError",
    "ImageUnsupportedError",
    "NoSuchChangeError",
    "OpenFilesLimitError",
    "OutOfMemoryError",
    "PolicyLoosenedError",
    "PolicyNotEnforcedError",
    "ProcessLimitError",
    "PolicyRefusedError",
    "RepositoryNotFoundError",
    "ResourceLimitError",
    "SandboxDiedError",
    "SandboxFileError",
    "SandboxStartError",
    "SessionBusyError",
    "SessionClosedError",
    "SessionConflictError",
    "SessionError",
    "SessionExpiredError",
    "SessionIdleError",
    "SessionLifetimeError",
    "SessionsFailedError",
    "UnappliedChangesError",
    "TransferConflictError",
    "TransferError",
    "UnknownSessionError",
    "VariableError",
    "VariableMemoryError",
    "VariableNotFoundError",
    "VolumeMountError",
    "WorkerDiedError",
    "WorkingCopyError",
]
