"""Messages that are taken in their order, though some wait for files of the sandbox.

They come on the reading thread, which must not wait, as the files come on it too. So one that waits does so on a thread
of its own, and all that come meanwhile wait behind it.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from .agent.wire import Message
from .errors import AgentProtocolError

MAX_WAITING = 4096
MAX_WAITING_BYTES = 16 * 2**20
"""What comes beyond that, while a file is read, is lost."""

_MALFORMED = (AgentProtocolError, RecursionError)

LONGEST_WAIT_S = 10.0
"""For what came before, where a thread may wait."""


class InOrder:
    """Takes messages one after the other.

    Parameters
    ----------
    has_to_wait : callable
        Whether a message may not be taken on the reading thread.
    take : callable
        Takes one; what is malformed it may refuse with ``AgentProtocolError``, and is lost.
    """

    def __init__(self, has_to_wait: Callable[[Message], bool], take: Callable[[Message], None]) -> None:
        self._has_to_wait = has_to_wait
        self._take = take
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._is_idle = threading.Event()
        self._is_idle.set()

    def put(self, message: Message, may_wait: bool) -> None:
        """Take a message, or have it taken after those that wait.

        Parameters
        ----------
        message : Message
        may_wait : bool
            Whether this thread may wait for those, and for the files of this one.
        """
        with suppress(*_MALFORMED):
            if may_wait:
                self._is_idle.wait(LONGEST_WAIT_S)
            elif self._is_held(message):
                return
            self._take(message)

    def _is_held(self, message: Message) -> bool:
        with self._lock:
            if self._is_idle.is_set():
                if not self._has_to_wait(message):
                    return False
                self._is_idle.clear()
                threading.Thread(target=self._take_all, name="chorus-files", daemon=True).start()
            self._waiting_bytes += len(json.dumps(message.content)) + sum(map(len, message.buffers))
            if len(self._waiting) < MAX_WAITING and self._waiting_bytes <= MAX_WAITING_BYTES:
                self._waiting.append(message)
            return True

    def _take_all(self) -> None:
        try:
            while (message := self._next()) is not None:
                with suppress(*_MALFORMED):
                    self._take(message)
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        """Let nobody wait for what will not be taken."""
        with self._lock:
            self._waiting.clear()
            self._waiting_bytes = 0
            self._is_idle.set()

    def _next(self) -> Message | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._waiting_bytes = 0
            self._is_idle.set()
            return None
