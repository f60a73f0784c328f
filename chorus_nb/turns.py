"""Whose turn it is: the cells of one session run one after the other, in the order in which they were asked for.

Only with background cells can there be more than one; what a person then expects is what a kernel does, a queue.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Self
from weakref import WeakKeyDictionary

from .conversation import LONGEST_WAIT_S
from .session import Session


class Turn:
    """The place of one cell in the queue of its session: entered when made, left at the end of its ``with`` block."""

    def __init__(self, session: Session, queue: deque[Turn], lock: threading.Lock) -> None:
        self._session = session
        self._queue = queue
        self._lock = lock
        self._has_come = threading.Event()
        self._given_up = False
        with lock:
            queue.append(self)
            self._call_next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def state(self) -> str:
        """What the strip says: ``"queued"`` while another cell is before it, else ``"starting"``."""
        return "starting" if self._has_come.is_set() else "queued"

    def wait(self) -> bool:
        """Wait for it; False where :meth:`stop` gave it up meanwhile."""
        while not self._has_come.wait(LONGEST_WAIT_S):
            pass
        return not self._given_up

    def stop(self) -> None:
        """Give up the place, or interrupt the cell where it is its turn. From any thread."""
        with self._lock:
            waits = self._queue and self in self._queue and self._queue[0] is not self
            if waits:
                self._given_up = True
                self._has_come.set()
        if not waits:
            self._session.interrupt()

    def leave(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if self in self._queue:
                self._queue.remove(self)
                self._call_next()

    def _call_next(self) -> None:
        if self._queue:
            self._queue[0]._has_come.set()


class Turns:
    """The queues of all sessions."""

    def __init__(self) -> None:
        self._queues: WeakKeyDictionary[Session, deque[Turn]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def enter(self, session: Session) -> Turn:
        """Take the next place in the queue of a session."""
        return Turn(session, self._queues.setdefault(session, deque()), self._lock)
