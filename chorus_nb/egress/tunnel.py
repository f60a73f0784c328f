"""One connection of a sandbox: from the request for it to the end of both its directions."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from ..agent.proxy import PIECE_BYTES, WINDOW_BYTES
from .dial import DialError, RefusedError
from .traffic import Counter

Tell = Callable[[str, dict[str, Any], tuple[bytes, ...]], None]
"""Sends a message to the sandbox: its type, content and buffers. It may wait for the sandbox to read it."""

Connect = Callable[[], Awaitable[socket.socket]]
"""Makes the connection. Raises :class:`DialError`."""


class Tunnel:
    """One connection. What the sandbox says comes by the reading thread, and is taken over on the loop's.

    Parameters
    ----------
    number : int
        As the sandbox calls it.
    host : str
        In normal form, let through by name.
    port : int
    tell : Tell
    counter : Counter
    """

    def __init__(self, number: int, host: str, port: int, tell: Tell, counter: Counter) -> None:
        self.number = number
        self.host = host
        self.port = port
        # The sums of both directions, from the start. Each is written by one thread alone.
        self._taken_bytes = self._written_bytes = 0
        self._granted_bytes, self._read_bytes = WINDOW_BYTES, 0
        self._end_is_told = False
        self._tell = tell
        self._counter = counter
        self._waiting = bytearray()
        self._has_ended = False
        self._has_data = asyncio.Event()
        self._has_credit = asyncio.Event()

    # What the sandbox says, on the reading thread: whether it may

    def admits_data(self, size: int) -> bool:
        """Whether so many more bytes of the sandbox are within its credit."""
        self._taken_bytes += size
        return not self._end_is_told and self._taken_bytes - self._written_bytes <= WINDOW_BYTES

    def admits_credit(self, size: int) -> bool:
        """Whether the sandbox can have taken so many bytes more."""
        self._granted_bytes += size
        return self._granted_bytes - self._read_bytes <= WINDOW_BYTES

    def admits_end(self) -> bool:
        """Whether it has not said so before."""
        told, self._end_is_told = self._end_is_told, True
        return not told

    # The same, on the loop

    def put(self, piece: bytes) -> None:
        """Take bytes for the server."""
        self._waiting += piece
        self._has_data.set()

    def finish(self) -> None:
        """Take note that no more bytes come for the server."""
        self._has_ended = True
        self._has_data.set()

    def wake(self) -> None:
        """Take note that there is more credit."""
        self._has_credit.set()

    # Its life

    async def run(self, connect: Connect) -> None:
        """Connect, and carry bytes until both sides have ended, or one of them fails."""
        try:
            connection = await connect()
        except DialError as error:
            self.count_refusal(error)
            self.refuse(error)
            return
        with connection:
            self._say("egress_opened")
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._upward(connection))
                    both.create_task(self._downward(connection))
            except* OSError:
                self._say("egress_close")

    def count_refusal(self, error: DialError) -> None:
        """Count a connection that is not to be, where the allow-list is why."""
        if isinstance(error, RefusedError):
            self._counter.add(self.host, self.port, refused=error.rule)

    def refuse(self, error: DialError) -> None:
        """Say that there is no connection."""
        self._say("egress_refused", status=error.status, reason=error.reason, host=self.host)

    def _say(self, msg_type: str, buffers: tuple[bytes, ...] = (), **content: Any) -> None:
        self._tell(msg_type, {**content, "connection": self.number}, buffers)

    async def _upward(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await _until(self._has_data, lambda: bool(self._waiting) or self._has_ended)
            piece, self._waiting = self._waiting, bytearray()
            if not piece:
                break
            await loop.sock_sendall(connection, piece)
            self._counter.add(self.host, self.port, sent=len(piece))
            self._written_bytes += len(piece)
            self._say("egress_credit", bytes=len(piece))
        connection.shutdown(socket.SHUT_WR)

    async def _downward(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await _until(self._has_credit, lambda: self._credit > 0)
            data = await loop.sock_recv(connection, min(PIECE_BYTES, self._credit))
            if not data:
                break
            self._read_bytes += len(data)
            self._counter.add(self.host, self.port, received=len(data))
            self._say("egress_data", (data,))
        self._say("egress_end")

    @property
    def _credit(self) -> int:
        return self._granted_bytes - self._read_bytes


async def _until(event: asyncio.Event, condition: Callable[[], bool]) -> None:
    while not condition():
        event.clear()
        await event.wait()
