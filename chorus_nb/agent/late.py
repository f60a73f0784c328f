"""What threads and tasks put out after their cell has ended: still in its name, and within what its limit left."""

from collections import deque
from typing import Callable, Deque, Dict, Optional, Set

from .commands import Execution
from .wire import Message, encode

_MOST_CELLS = 256
_MOST_HEARD = 256
_NOTICE = "[sandbox] What this cell has left running goes on to put out more than its limit: dropped from here on.\n"


class Late:
    """The cells of one worker that have ended.

    Attributes
    ----------
    latest : Execution or None
        Whose is what is written to the descriptors between two cells.
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._heard: Deque[str] = deque(maxlen=_MOST_HEARD)
        self.forget()

    def forget(self) -> None:
        """Begin anew, with another worker."""
        self.latest: Optional[Execution] = None
        self._cells: Dict[str, Execution] = {}
        self._notified: Set[str] = set()

    def hear(self, msg_id: str) -> None:
        """Note a message of the page: what a widget's callback puts out belongs to that, and the host limits it."""
        self._heard.append(msg_id)

    def add(self, execution: Execution) -> None:
        """Note the end of a cell."""
        self.latest = self._cells[execution.msg_id] = execution
        if execution.dropped_bytes:
            self._notified.add(execution.msg_id)  # The host has said it.
        while len(self._cells) > _MOST_CELLS:
            oldest = next(iter(self._cells))
            self._notified.discard(oldest)
            del self._cells[oldest]

    def take(self, parent_id: str, frame: bytes) -> None:
        """Pass on a message. What belongs to no cell, or to one long ago, counts on the latest; the host logs it."""
        execution = self._cells.get(parent_id, self.latest)
        if parent_id in self._heard:
            self._put(frame)
        elif execution and execution.admits(len(frame)):
            self._put(frame)
        elif execution:
            self.say_dropped(execution)

    def say_dropped(self, execution: Execution) -> None:
        """Say once, in the name of a cell that has ended, that output was dropped."""
        if execution.msg_id in self._cells and execution.msg_id not in self._notified:
            self._notified.add(execution.msg_id)
            self._put(encode(Message("stream", {"name": "stderr", "text": _NOTICE}, execution.msg_id)))
