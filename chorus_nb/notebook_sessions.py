"""The sessions of a notebook on the sandbox kernel: what its cells may ask for, and the first one on its way early."""

from __future__ import annotations

import os
import threading
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .config import SandboxConfig
from .errors import ChorusError, PolicyLoosenedError
from .manager import DEFAULT_NAME, SessionManager
from .options import given
from .policy_files import NotebookPolicy, notebook_policy
from .repository import find_repository
from .session import Session

MAX_SESSIONS = 8
"""How many sandboxes the cells of one notebook may make: each may use as much as the first."""


class NotebookSessions(SessionManager):
    """The sessions of a notebook whose cells are not trusted: none is looser than the notebook's policy.

    Parameters
    ----------
    arguments : Namespace
        The options of the kernel's command line.
    """

    def __init__(self, arguments: Namespace) -> None:
        super().__init__()
        self._arguments = arguments
        self._policy: NotebookPolicy | None = None

    def begin(self) -> None:
        """Have the first sandbox on its way before anybody asks for it.

        What goes wrong is for the first cell to say.
        """
        with suppress(ChorusError):
            session = self.ensure(DEFAULT_NAME, {})
            threading.Thread(target=self._prepare, args=(session,), name="chorus-prepare", daemon=True).start()

    def _prepare(self, session: Session) -> None:
        with suppress(ChorusError):
            self.sweep()
            session.start()

    @property
    def policy(self) -> NotebookPolicy:
        """What holds for the notebook. Raises ``ConfigurationError`` as long as that can't be said."""
        if self._policy is None:
            self._policy = notebook_policy(given(self._arguments), Path.cwd(), notebook_file())
        return self._policy

    def configured(self, options: Mapping[str, Any]) -> SandboxConfig:
        """Return the configuration that a cell's options make. Raises ``PolicyLoosenedError`` where it is looser."""
        policy = self.policy
        folder = policy.config.repository.path or find_repository(Path.cwd())
        return policy.tightened(options, "This cell", folder).config

    def _new(self, name: str, config: SandboxConfig) -> Session:
        if len([session for session in self.sessions() if session.name != name]) >= MAX_SESSIONS:
            raise PolicyLoosenedError(
                f"This notebook has {MAX_SESSIONS} sessions, and may have no more.",
                next_step="Use one of them: %sandbox list.",
                option="sessions",
            )
        return super()._new(name, config)


def notebook_file() -> Path | None:
    """Return the notebook that this is the kernel of, where whoever started it says so, as Jupyter's servers do."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    path = Path.cwd() / name
    return path if name.endswith(".ipynb") and path.exists() else None
