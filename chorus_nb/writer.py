"""Sending from a thread of its own, so that nobody waits for a sandbox that does not read.

A paused container takes nothing, and neither does an agent that an attacker has taken over. Time limits, interrupts and
the end of a session must not wait for them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from contextlib import suppress

from .engines.base import ByteStream

MAX_WAITING_BYTES = 64 * 2**20
"""What may wait to be sent, besides one frame."""

GIVE_UP_S = 10.0
"""How long somebody waits for room, before the sandbox is given up."""


class Writer:
    """The only one to send on a stream.

    Parameters
    ----------
    stream : ByteStream
        Where sending fails, it is at its end, and whoever receives from it says so.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._frames: queue.SimpleQueue[Sequence[bytes | memoryview] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._write, name="chorus-writer", daemon=True).start()

    def put(self, frame: Sequence[bytes | memoryview]) -> None:
        """Have a frame, in parts, sent after those before it.

        Closes the stream where there is no room for it for too long.
        """
        with self._changed:
            has_room = self._changed.wait_for(self._has_room, GIVE_UP_S)
            self._waiting_bytes += sum(map(len, frame))
        if has_room:
            self._frames.put(frame)
        else:
            self._stream.close()

    def close(self) -> None:
        """Send no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._frames.put(None)

    def _has_room(self) -> bool:
        return self._closed or self._waiting_bytes < MAX_WAITING_BYTES

    def _write(self) -> None:
        with suppress(OSError):
            while (frame := self._frames.get()) is not None:
                for part in frame:
                    self._stream.send(part)
                with self._changed:
                    self._waiting_bytes -= sum(map(len, frame))
                    self._changed.notify_all()
        self.close()
