"""Run notebook cells where they can do no harm: ``%load_ext chorus_nb``, then ``%%sandbox`` above a cell."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .async_sandbox import AsyncSandbox
    from .config import NetworkPolicy, OutputPolicy, RepositoryMount, ResourceLimits, SandboxConfig, SecurityPolicy
    from .engines.fake import FakeEngine
    from .errors import ChorusError
    from .sandbox import CommandResult, ExecutionResult, Sandbox

__all__ = [
    "AsyncSandbox",
    "ChorusError",
    "CommandResult",
    "ExecutionResult",
    "FakeEngine",
    "NetworkPolicy",
    "OutputPolicy",
    "RepositoryMount",
    "ResourceLimits",
    "Sandbox",
    "SandboxConfig",
    "SecurityPolicy",
    "__version__",
]

_HOMES = {
    "AsyncSandbox": "async_sandbox",
    "ChorusError": "errors",
    "CommandResult": "sandbox",
    "ExecutionResult": "sandbox",
    "FakeEngine": "engines.fake",
    "Sandbox": "sandbox",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: loading a notebook extension must not cost seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES.get(name, 'config')}", __name__), name)


def load_ipython_extension(shell: Any) -> None:
    """Put ``%%sandbox`` and ``%sandbox`` into a shell: what ``%load_ext chorus_nb`` calls."""
    from ._extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """End every sandbox and take the magics out: what ``%unload_ext chorus_nb`` calls."""
    from ._extension import unload

    unload(shell)
