"""Requests about files that wait for their answer: each gets one, also where the process that has the files is gone."""

from typing import Callable, Dict

from .wire import Message, encode

ENDED = "ProcessEnded"
"""``ename`` of the answer for a request whose process ended first; reading and writing may be asked for once more."""


class FileRequests:
    """Keeps account of them for the supervisor.

    Parameters
    ----------
    put : callable
        Takes a frame for the host.
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._waiting: Dict[str, None] = {}

    def asked(self, msg_id: str) -> None:
        """Note a request that goes to the process for files."""
        self._waiting[msg_id] = None

    def answered(self, msg_id: str) -> None:
        """Note that it was answered."""
        self._waiting.pop(msg_id, None)

    def give_up(self, reason: str) -> None:
        """Answer all that wait: nobody else will."""
        waiting, self._waiting = self._waiting, {}
        for msg_id in waiting:
            content = {"status": "error", "ename": ENDED, "evalue": reason}
            self._put(encode(Message("file_reply", content, msg_id)))
