"""The view of the repository that a session with ``--repo overlay`` writes to, from its first start to its end."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from .config import SandboxConfig
from .engines.base import ContainerSpec, Engine, EngineCapabilities
from .errors import ConfigurationError, UnappliedChangesError
from .overlay_folder import OverlayFolder, why_unfit
from .repository import resolve_repository
from .working_copy import WorkingCopy


class WritableView:
    """Holds it for a session; there is none where the session asks for none.

    Parameters
    ----------
    config, engine, folder
        As of :class:`~chorus_nb.session.Session`.

    Attributes
    ----------
    copy : WorkingCopy or None
        The view, once the session has started.
    """

    def __init__(self, config: SandboxConfig, engine: Engine, folder: Path) -> None:
        self.copy: WorkingCopy | None = None
        self._mount = config.repository
        self._engine = engine
        self._folder = folder
        self._overlay: OverlayFolder | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def upper(self) -> Path | None:
        """The folder of the host that grows as the sandbox writes, where there is one."""
        return self._overlay.upper if self._overlay else None

    def put_into(self, spec: ContainerSpec, capabilities: EngineCapabilities) -> ContainerSpec:
        """Return the container with the view in it; makes that at the first time. Raises ``ChorusError``."""
        with self._lock:
            if self._mount.mode != "overlay" or self._closed:  # Nothing is ever started for a session that is closed.
                return spec
            if self._overlay is None:
                self._overlay = self._made(capabilities)
                self.copy = self._overlay.copy
            return replace(spec, volumes=(*spec.volumes, self._overlay.volume))

    def _made(self, capabilities: EngineCapabilities) -> OverlayFolder:
        why_not = why_unfit() if capabilities.overlays else f"the {capabilities.name} engine can't mount one"
        if why_not:
            raise ConfigurationError(f"repo='overlay' can't be had here: {why_not}.", next_step="Use repo='ro'.")
        repository = resolve_repository(self._mount, self._folder, capabilities.host)
        assert repository is not None
        return OverlayFolder.made_for(repository)

    def has_changes(self) -> bool:
        """Whether something in it is not as in the repository. Raises ``WorkingCopyError``."""
        entries = self.copy.entries() if self.copy else iter(())
        return any(entry.state is None or entry.state.kind != "directory" for entry in entries)

    def refuse_to_lose(self, name: str) -> None:
        """Raise ``UnappliedChangesError`` where the end of the session of that name would lose changes."""
        if self.has_changes():
            raise UnappliedChangesError(
                f"The session {name!r} has changed its view of the repository, and would lose that.",
                next_step=f"`%sandbox diff {name}` shows it; apply what you want, then run `%sandbox discard {name}`.",
            )

    def close(self) -> None:
        """Remove it with all that was not applied; the session's container is gone."""
        with self._lock:
            self._closed = True
            overlay, self._overlay, self.copy = self._overlay, None, None
        if overlay:
            overlay.remove(self._engine)
