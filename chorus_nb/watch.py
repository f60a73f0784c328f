"""Watches over a sandbox that runs: how long it lives, how long nothing runs in it, how much it adds on disk.

Nothing of this is left to the sandbox. Each session that has such a limit has a thread for it, and others have none.
The clock is the monotonic one, which nobody can set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .config import ResourceLimits, SandboxConfig
from .config.units import size_text
from .disk_meter import DiskMeter
from .engines.base import Container
from .errors import ChorusError, DiskQuotaExceededError, EngineError, SessionIdleError, SessionLifetimeError
from .git import with_git
from .view.writable_view import WritableView

WhyEnded = Callable[[bool], ChorusError]
"""Makes the error of a cell that was ended, from whether its variables are kept."""

_LOOK_RUNNING_S = 1.0
_LOOK_IDLE_S = 10.0
_JOIN_S = 20.0
_PAUSE_PER_LOOK = 10
"""A look at the disk takes no more than the tenth part of the time, however much there is to add up."""


class Watched(Protocol):
    """What is watched: a session."""

    name: str
    config: SandboxConfig

    @property
    def repository(self) -> Path | None:
        """The folder of the host that it sees."""

    @property
    def view(self) -> WritableView:
        """What it writes to in place of that."""

    def expire(self, error: ChorusError, is_due: Callable[[], bool]) -> None:
        """End it, if that is still due; what runs in it, or else the next cell, raises ``error``."""

    def end_cell(self, why: WhyEnded) -> bool:
        """End the cell that runs, and have it raise what ``why`` makes; False where none runs."""

    def tell(self, error: ChorusError) -> None:
        """Have the next cell raise ``error`` before it runs."""


class Watch:
    """Watches over the sandboxes of a session, one after the other."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._round: object = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()
        self._running = False
        self._started_s = self._used_s = 0.0
        self._meter: DiskMeter | None = None
        self._looked_s = self._look_took_s = 0.0
        self._told_bytes = 0
        self._is_first_since_told = False

    @property
    def _limits(self) -> ResourceLimits:
        return self._watched.config.limits

    def begin(self, container: Container | None) -> None:
        """Watch over a sandbox that has started. Raises ``OSError`` where its repository can't be looked into."""
        assert container is not None
        limited = self._limits.disk_bytes is not None
        watched = self._watched
        folders = with_git(watched.repository) if limited and watched.repository else ()
        self._meter = DiskMeter.of(watched.config, container, folders, watched.view.grows) if limited else None
        self._started_s = self._used_s = self._looked_s = time.monotonic()
        self._look_took_s, self._told_bytes, self._is_first_since_told = 0.0, 0, False
        self._round = this_round = object()
        if self._meter or self._limits.idle_s is not None or self._limits.lifetime_s is not None:
            self._thread = threading.Thread(target=self._run, args=(this_round,), name="chorus-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._round = None
        self._changed.set()

    def join(self) -> None:
        """Wait until it is done with what it was doing, such as the removal of the container."""
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def cell_begins(self) -> None:
        """Note that something runs."""
        self._running = True
        self._changed.set()

    def cell_ends(self) -> None:
        """Note that nothing runs any more; what it has added on disk is to be known soon."""
        self._running = False
        self._looked_s -= _LOOK_IDLE_S
        self.touch()
        self._changed.set()

    def touch(self) -> None:
        """Note that somebody uses it."""
        self._used_s = time.monotonic()

    def _run(self, this_round: object) -> None:
        def is_due() -> bool:
            return self._round is this_round

        while True:
            self._changed.wait(self._left_s())
            self._changed.clear()
            if not is_due():
                self._changed.set()  # It may have been for the next one's watch.
                return
            if error := self._expired(time.monotonic()):
                self._watched.expire(error, is_due)
                return
            if self._meter and time.monotonic() >= self._next_look_s():
                self._look(self._meter, is_due)

    def _left_s(self) -> float:
        """Return the seconds until something may have to be done. A session in use has at least its idle time left."""
        due_s = []
        if self._limits.lifetime_s is not None:
            due_s.append(self._started_s + self._limits.lifetime_s)
        if self._limits.idle_s is not None:
            due_s.append((time.monotonic() if self._running else self._used_s) + self._limits.idle_s)
        if self._meter:
            due_s.append(self._next_look_s())
        return min(max(0.0, min(due_s) - time.monotonic()), threading.TIMEOUT_MAX)

    def _expired(self, now_s: float) -> ChorusError | None:
        lifetime_s, idle_s = self._limits.lifetime_s, self._limits.idle_s
        if lifetime_s is not None and now_s - self._started_s >= lifetime_s:
            return lifetime_over(self._watched.name, lifetime_s, now_s - self._started_s)
        if idle_s is not None and not self._running and now_s - self._used_s >= idle_s:
            return idle_too_long(self._watched.name, idle_s, now_s - self._used_s)
        return None

    # The disk

    def _next_look_s(self) -> float:
        pause_s = _LOOK_RUNNING_S if self._running else _LOOK_IDLE_S
        return self._looked_s + max(pause_s, _PAUSE_PER_LOOK * self._look_took_s)

    def _look(self, meter: DiskMeter, is_due: Callable[[], bool]) -> None:
        began_s = time.monotonic()
        try:
            self._judge(meter.added_bytes(), is_due)
        except (EngineError, OSError):
            pass  # The engine, or the folder, is away for the moment; a session that has ended is not watched.
        self._looked_s = time.monotonic()
        self._look_took_s = self._looked_s - began_s

    def _judge(self, added_bytes: int, is_due: Callable[[], bool]) -> None:
        """Act where there is more than may be, and more than was there when somebody was told."""
        limit = self._limits.disk_bytes
        assert limit is not None
        # Until it had ended, a cell that was told went on.
        self._told_bytes = added_bytes if self._is_first_since_told else min(self._told_bytes, added_bytes)
        self._is_first_since_told = False
        if added_bytes <= max(limit, self._told_bytes) or not is_due():
            return

        def why(state_kept: bool) -> ChorusError:
            self._told_bytes, self._is_first_since_told = added_bytes, True
            return quota_exceeded(self._watched.name, limit, added_bytes, state_kept)

        if self._watched.end_cell(why):
            return
        if self._told_bytes > limit:
            self._watched.expire(why(False), is_due)
        else:
            self._watched.tell(why(True))


def lifetime_over(name: str, limit_s: float, time_s: float) -> SessionLifetimeError:
    """Say that a session has lived as long as it may."""
    return SessionLifetimeError(
        f"The session {name!r} reached its lifetime of {limit_s:g} s and was stopped; its variables are lost.",
        next_step="Run the cells that define them again; they start it anew. For longer ones: --fresh --lifetime TIME.",
        limit_s=limit_s,
        time_s=time_s,
    )


def idle_too_long(name: str, limit_s: float, time_s: float) -> SessionIdleError:
    """Say that nobody used a session for as long as it may be idle."""
    return SessionIdleError(
        f"Nothing ran in the session {name!r} for {limit_s:g} s, so it was stopped; its variables are lost.",
        next_step="Run the cells that define them again; they start it anew. For longer breaks: --fresh --idle TIME.",
        limit_s=limit_s,
        time_s=time_s,
    )


def quota_exceeded(name: str, limit_bytes: int, used_bytes: int, state_kept: bool) -> DiskQuotaExceededError:
    """Say that a sandbox has added more on disk than it may."""
    kept = "its variables are kept" if state_kept else "what ran in it was killed, and its variables are lost"
    return DiskQuotaExceededError(
        f"The session {name!r} added more on disk than its limit of {size_text(limit_bytes)}; {kept}.",
        next_step="Delete what is not needed, or allow more: --fresh --disk SIZE.",
        limit_bytes=limit_bytes,
        used_bytes=used_bytes,
        state_kept=state_kept,
    )
