"""The named sessions of one kernel: found or made, prepared ahead, and gone when the kernel is."""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .changes.unfinished import sweep_unfinished
from .config import SandboxConfig
from .engines.base import OWNER_LABEL, Engine
from .engines.direct_stream import sweep_sockets
from .engines.docker import DockerEngine
from .engines.owner import owner_alive
from .errors import ChorusError, ConfigurationError, SessionConflictError, UnknownSessionError
from .options import flag
from .repository import working_folder
from .session import Session
from .settings import Settings, Source, named_profile, notebook_file, resolve
from .view.overlay_folder import sweep_overlays
from .view.places import sweep_volumes

DEFAULT_NAME = "default"
"""The session of a ``%%sandbox`` cell that names none."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CLOSE_TIMEOUT_S = 20.0


class SessionManager:
    """All sessions of this process.

    Parameters
    ----------
    engine : Engine, optional
        Where containers come from; the Docker Engine of the environment when left out.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or DockerEngine()
        self._sessions: dict[str, Session] = {}
        self._settings: dict[str, Settings] = {}
        self._prepared: Session | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        atexit.register(self.close_all)

    def sessions(self) -> list[Session]:
        """Return every session, the oldest first."""
        with self._lock:
            return list(self._sessions.values())

    def get(self, name: str) -> Session:
        """Return the session of that name. Raises ``UnknownSessionError``, which names those there are."""
        with self._lock:
            if name not in self._sessions:
                known = ", ".join(self._sessions) or "none yet"
                raise UnknownSessionError(
                    f"There is no session {name!r}.", next_step=f"Sessions: {known}. A %%sandbox cell starts one."
                )
            return self._sessions[name]

    def ensure(self, name: str, options: Mapping[str, Any], *, fresh: bool = False) -> Session:
        """Find or make a session; it starts when it is first used.

        Parameters
        ----------
        name : str
            Letters, digits, ``_``, ``.`` and ``-``.
        options : mapping
            What the user asked for: keys of :data:`chorus_nb.config.OPTIONS`. They configure a new session; one that
            runs already must have been made with the same.
        fresh : bool
            End a session of that name first.

        Raises
        ------
        SessionConflictError
            The session runs with other options.
        UnappliedChangesError
            The session that ``fresh`` would end has changed its view of the repository.
        ConfigurationError
            A name or a value that is not allowed.
        """
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is no name for a session.",
                next_step="Allowed: up to 64 letters, digits, '_', '.' and '-', the first a letter or digit.",
            )
        self.permit(options)
        with self._lock:
            session = self._sessions.get(name)
            if session and not fresh and self._is_to_be_used(session, options):
                return session
            settings = self.settings_for(options)
            if session:
                _stop(session)
            self._sessions[name] = self._take_prepared(name, settings) or self._new(name, settings)
            return self._sessions[name]

    def make(self, asked: Mapping[str, Mapping[str, Any]]) -> list[Session]:
        """Make sessions of any names, in place of those that have them; who makes them removes them.

        Raises for options of one before any is made.
        """
        settings = {name: self.settings_for(options) for name, options in asked.items()}
        made: list[Session] = []
        with self._lock:
            for name in settings.keys() & self._sessions.keys():
                self._sessions[name].view.refuse_to_lose(name)
            try:
                for name, each in settings.items():
                    if name in self._sessions:
                        self._sessions[name].close()
                    made.append(self._new(name, each))
                    self._sessions[name] = made[-1]
            except ChorusError:
                self.remove_all(made)
                raise
        return made

    def settings_for(self, options: Mapping[str, Any]) -> Settings:
        """Return what holds for a new session. Raises ``ConfigurationError``."""
        return resolve(working_folder(), options, notebook_file())

    def settings_of(self, session: Session) -> Settings:
        """Return what a session was made with, and where each value came from."""
        return self._settings[session.name]

    def permit(self, options: Mapping[str, Any]) -> None:
        """Raise where a cell may not have these options, in whatever session; here it may have any."""

    def _new(self, name: str, settings: Settings) -> Session:
        self._settings[name] = settings
        return Session(name, self._config(settings), self.engine, working_folder())

    def _config(self, settings: Settings) -> SandboxConfig:
        """Return what a session is made with: the time limit of cells is left to each, which may type another one."""
        return SandboxConfig.from_options(settings.config, timeout=None)

    def _take_prepared(self, name: str, settings: Settings) -> Session | None:
        """Return the session that was prepared in the background if it is the one that is wanted; else end it."""
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return None
        if (prepared.name, prepared.config, prepared.folder) == (name, self._config(settings), working_folder()):
            self._settings[name] = settings
            return prepared
        threading.Thread(target=prepared.close, name="chorus-unprepare", daemon=True).start()
        return None

    def _is_to_be_used(self, session: Session, options: Mapping[str, Any]) -> bool:
        """Whether a session is the one that is asked for by options that are typed, rather than a new one."""
        has = self.settings_of(session)
        asked = _asked(has, options)
        different = [name for name in options if asked.value(name) != has.value(name)]
        if session.state in ("starting", "idle", "busy"):
            _refuse(session, has, asked, different)
            return True
        # One that never started, or has yet to say why it died, still has the options it was made with.
        return session.state != "closed" and not different

    def prepare(self) -> threading.Thread:
        """Sweep, and start the container of the default session, in the background.

        What goes wrong is kept for the first cell to say: nobody has asked for a sandbox yet.
        """
        with suppress(ChorusError):
            self._prepared = self._new(DEFAULT_NAME, self.settings_for({}))
        prepared = self._prepared

        def work() -> None:
            try:
                self.sweep()
                if prepared and prepared.state == "new":
                    prepared.start()
            except ChorusError:
                pass

        thread = threading.Thread(target=work, name="chorus-prepare", daemon=True)
        thread.start()
        return thread

    def start(self, name: str) -> None:
        """Start a session that was stopped or died, as it was configured."""
        with self._lock:
            session = self.get(name)
            if session.state == "closed":
                session = self._sessions[name] = self._new(name, self.settings_of(session))
        session.start()

    def stop(self, name: str) -> None:
        """End a session's container; its name and configuration stay. Raises ``UnappliedChangesError``."""
        _stop(self.get(name))

    def remove(self, name: str) -> None:
        """End a session and forget it. Raises ``UnappliedChangesError``."""
        _stop(self.get(name))
        with self._lock:
            self._sessions.pop(name, None)

    def remove_all(self, sessions: Sequence[Session]) -> None:
        """End sessions, all at the same time, and forget them."""
        with self._lock:
            for session in sessions:
                if self._sessions.get(session.name) is session:
                    del self._sessions[session.name]
        _all_at_once([session.close for session in sessions])

    def close_all(self) -> None:
        """End every session, all at the same time. A fork of this process owns none of them."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            ending = [*self._sessions.values(), *([self._prepared] if self._prepared else [])]
            self._sessions.clear()
            self._prepared = None
        _all_at_once([session.close for session in ending])
        atexit.unregister(self.close_all)

    def sweep(self) -> int:
        """Remove containers whose owner is provably gone: what a crash of the engine left. Return how many.

        And their views of repositories, which a process leaves that is killed, and what it left in repositories.
        """
        dead = [each for each, labels in self.engine.owned() if not owner_alive(labels.get(OWNER_LABEL, ""))]
        for container_id in dead:
            self.engine.remove_id(container_id)
        sweep_volumes(self.engine)
        sweep_overlays(self.engine)
        sweep_unfinished()
        sweep_sockets()
        return len(dead)


def _stop(session: Session) -> None:
    """End a session, but not where somebody would lose by it what only its view of the repository has."""
    session.view.refuse_to_lose(session.name)
    session.close()


def _all_at_once(tasks: Iterable[Callable[[], None]]) -> None:
    # Not daemonic pools: this also runs at the interpreter's exit, when those refuse new work.
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:
            thread.run()  # Python 3.12 starts none at its exit: then one after the other.
    for thread in threads:
        if thread.ident is not None:
            thread.join(_CLOSE_TIMEOUT_S)


def _asked(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Return the settings of a session with options put in that are typed for it."""
    typed = {name: value for name, value in options.items() if name != "profile"}
    asked = settings.changed(typed, Source("typed"))
    return replace(asked, profile=named_profile(options["profile"]).profile) if "profile" in options else asked


def _refuse(session: Session, has: Settings, asked: Settings, different: list[str]) -> None:
    if different:
        raise SessionConflictError(
            f"The session {session.name!r} runs with {_typed(has, different)}; "
            f"you asked for {_typed(asked, different)}.",
            next_step="Add --fresh to restart it with the new options (its variables are lost), or use another name.",
        )


def _typed(settings: Settings, names: Iterable[str]) -> str:
    return " ".join(f"{flag(name)} {settings.text(name)}" for name in names)
