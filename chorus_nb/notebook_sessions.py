"""The sessions of a notebook on the sandbox kernel: what its cells may ask for, and the first one on its way early."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .config import SandboxConfig
from .errors import ChorusError, PolicyLoosenedError
from .manager import DEFAULT_NAME, SessionManager
from .options import given
from .repository import find_repository, working_folder
from .session import Session
from .settings import Settings, Source, notebook_file, resolve, tighten

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
        self._policy: Settings | None = None

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
    def policy(self) -> Settings:
        """What holds for the notebook. Raises ``ConfigurationError`` as long as that can't be said."""
        if self._policy is None:
            policy = resolve(working_folder(), given(self._arguments), notebook_file(), Source("kernel's options"))
            # Where every cell runs in a sandbox, none needs a mark that says so.
            self._policy = policy if "gauge" in policy.sources else replace(policy, gauge="off")
        return self._policy

    def settings_for(self, options: Mapping[str, Any]) -> Settings:
        """Return what a cell's options make of the policy. Raises ``PolicyLoosenedError`` where they are looser."""
        folder = self.policy.config.repository.path or find_repository(working_folder())
        return tighten(self.policy, options, "This cell", folder)

    def permit(self, options: Mapping[str, Any]) -> None:
        """Raise ``PolicyLoosenedError`` where a cell may not have these, in whatever session."""
        self.settings_for(options)

    def _config(self, settings: Settings) -> SandboxConfig:
        """Return what a session is made with: no cell may type a longer time limit than the notebook's."""
        return settings.config

    def _new(self, name: str, settings: Settings) -> Session:
        if len([session for session in self.sessions() if session.name != name]) >= MAX_SESSIONS:
            raise PolicyLoosenedError(
                f"This notebook has {MAX_SESSIONS} sessions, and may have no more.",
                next_step="Use one of them: %sandbox list.",
                option="sessions",
            )
        return super()._new(name, settings)
