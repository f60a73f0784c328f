"""Requests about files: each is answered, also where the process that has the files is gone."""

from typing import Callable, Dict, Optional

from .forks import Fork
from .wire import Message, encode

ENDED = "ProcessEnded"
"""``ename`` of the answer for a request whose process ended first; reading and writing may be asked for once more."""


class FileRequests:
    """The requests, and the process that handles them, as the supervisor holds both.

    Parameters
    ----------
    put : callable
        Takes a frame for the host.
    fork : callable
        Makes a process of a role.

    Attributes
    ----------
    process : Fork or None
        There from the first request on.
    """

    def __init__(self, put: Callable[[bytes], None], fork: Callable[[bytes], Fork]) -> None:
        self.process: Optional[Fork] = None
        self._put = put
        self._fork = fork
        self._waiting: Dict[str, None] = {}

    def send(self, msg_id: str, frame: bytes) -> None:
        """Pass on a request of the host, or a part of one."""
        self._waiting[msg_id] = None
        if self.process is None:
            self.process = self._fork(b"D")
        self.process.send(frame)

    def answered(self, msg_id: str, frame: bytes) -> None:
        """Pass on an answer."""
        self._waiting.pop(msg_id, None)
        self._put(frame)

    def forget(self, reason: str) -> None:
        """Note that the process has ended, and answer all that wait: nobody else will."""
        self.process = None
        waiting, self._waiting = self._waiting, {}
        for msg_id in waiting:
            content = {"status": "error", "ename": ENDED, "evalue": reason}
            self._put(encode(Message("file_reply", content, msg_id)))
