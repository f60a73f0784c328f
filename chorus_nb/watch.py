"""Watches over a sandbox that runs: how long it lives, how long nothing runs in it, how much it adds on disk.

Nothing of this is left to the sandbox. Each session that has such a limit has a thread for it, and others have none.
The clock is the monotonic one, which nobody can set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from .config import ResourceLimits
from .config.units import size_text
from .disk_meter import DiskMeter
from .errors import ChorusError, DiskQuotaExceededError, EngineError, SessionIdleError, SessionLifetimeError

WhyEnded = Callable[[bool], ChorusError]
"""Makes the error of a cell that was ended, from whether its variables are kept."""

_LOOK_RUNNING_S = 1.0
_LOOK_IDLE_S = 10.0
_PAUSE_PER_LOOK = 10
"""A look at the disk takes no more than the tenth part of the time, however much there is to add up."""


class Watched(Protocol):
    """What is watched: a session."""

    name: str

    def expire(self, watch: Watch, error: ChorusError) -> None:
        """End it, if this is its watch; what runs in it, or else the next cell, raises ``error``."""

    def end_cell(self, why: WhyEnded) -> bool:
        """End the cell that runs, and have it raise what ``why`` makes; False where none runs."""

    def tell(self, error: ChorusError) -> None:
        """Have the next cell raise ``error`` before it runs."""


class Watch:
    """Watches over one sandbox from its start to its end.

    Parameters
    ----------
    watched : Watched
    limits : ResourceLimits
    meter : DiskMeter or None
        Measures what counts for ``disk_bytes``.
    """

    def __init__(self, watched: Watched, limits: ResourceLimits, meter: DiskMeter | None) -> None:
        self._watched = watched
        self._limits = limits
        self._meter = meter
        self._over = False
        self._changed = threading.Event()
        self._running = False
        self._started_s = self._used_s = self._looked_s = time.monotonic()
        self._look_took_s = 0.0
        self._told_bytes = 0
        if meter or limits.idle_s is not None or limits.lifetime_s is not None:
            threading.Thread(target=self._run, name="chorus-watch", daemon=True).start()

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

    def stop(self) -> None:
        """Watch no longer."""
        self._over = True
        self._changed.set()

    def _run(self) -> None:
        while not self._over:
            self._changed.wait(self._left_s())
            self._changed.clear()
            now_s = time.monotonic()
            error = self._expired(now_s)
            if self._over:
                return
            if error:
                self._watched.expire(self, error)
                return
            if self._meter and now_s >= self._next_look_s():
                self._look(self._meter)

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

    def _look(self, meter: DiskMeter) -> None:
        began_s = time.monotonic()
        try:
            self._judge(meter.added_bytes())
        except (EngineError, OSError):
            pass  # The engine, or the folder, is away for the moment; a session that has ended is not watched.
        self._looked_s = time.monotonic()
        self._look_took_s = self._looked_s - began_s

    def _judge(self, added_bytes: int) -> None:
        """Act where there is more than may be, and more than was there when somebody was told."""
        limit = self._limits.disk_bytes
        assert limit is not None
        self._told_bytes = min(self._told_bytes, added_bytes)
        if added_bytes <= max(limit, self._told_bytes):
            return

        def why(state_kept: bool) -> ChorusError:
            self._told_bytes = added_bytes
            return quota_exceeded(self._watched.name, limit, added_bytes, state_kept)

        if self._watched.end_cell(why):
            return
        if self._told_bytes > limit:
            self._watched.expire(self, why(False))
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
