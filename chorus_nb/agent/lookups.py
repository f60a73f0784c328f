"""Completions and inspections on their way through the supervisor: one at a time, and never beside a cell.

Looking up a name may run code of the user's (``__dir__``, properties) that does not end, so whoever asks sends an
``interrupt_request`` when it has waited long enough. A cell that comes meanwhile is held until the worker has answered:
a SIGINT that is meant for a lookup can't hit a cell.
"""

import signal
from typing import Callable, Optional

from . import posix
from .forks import Fork
from .wire import Message, encode

REPLIES = {"complete_request": "complete_reply", "inspect_request": "inspect_reply"}


class Lookups:
    """The lookup that the worker is busy with, if any, and the cell that waits behind it."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._worker: Optional[Fork] = None
        self._asked = Message("")
        self._held = b""
        self._given_up = False

    def ask(self, worker: Fork, request: Message, frame: bytes, busy: bool) -> None:
        """Hand a request to the worker; where it is busy, say so at once."""
        if busy or self._worker is worker:
            self._put(encode(Message(REPLIES[request.msg_type], {"status": "aborted"}, request.msg_id)))
            return
        self._worker, self._asked, self._held, self._given_up = worker, request, b"", False
        worker.send(frame)

    def send(self, worker: Fork, frame: bytes) -> None:
        """Hand a cell, or the interrupt of one, to the worker once it is free."""
        if self._worker is worker:
            self._held += frame
        else:
            worker.send(frame)

    def interrupt(self, worker: Fork, msg_id: str) -> None:
        """Interrupt a lookup that nobody waits for any more."""
        if self._worker is worker and self._asked.msg_id == msg_id:
            self._given_up = True
            self.insist(worker)

    def insist(self, worker: Fork) -> None:
        """Interrupt again, as long as it is not heeded: IPython goes on to the next of its completers."""
        if self._worker is worker and self._given_up and worker.pid:
            posix.kill(worker.pid, signal.SIGINT)  # It alone, not the processes that cells have started.

    def answered(self, worker: Fork, reply: Message, frame: bytes) -> None:
        """Pass on the reply that is waited for, and no other; then the cell's turn has come."""
        wanted = (REPLIES.get(self._asked.msg_type), self._asked.msg_id)
        if self._worker is worker and (reply.msg_type, reply.parent_id) == wanted:
            self._worker = None
            self._put(frame)
            worker.send(self._held)
