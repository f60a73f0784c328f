"""The process that is an HTTP proxy on the container's loopback: the network of a sandbox that has none.

It carries each connection of a client as messages to the host, which decides what may be reached, and dials
(:mod:`chorus_nb.egress`). It runs as the user of the cells, who may kill it or speak in its place: nothing that it
says is believed by the host, and nothing here keeps anybody from anything.

A connection has a number. Its messages, both ways unless said otherwise::

    egress_open     connection, host, port     to the host: a client asks for this
    egress_opened   connection                 from the host: it is there
    egress_refused  connection, status, reason, host
                                               from the host: it is not, with an HTTP status
    egress_data     connection, one buffer     bytes; at most what the other side has given credit for
    egress_credit   connection, bytes          so many more may be sent: so many were passed on here
    egress_end      connection                 no more bytes from this side, as a socket that is half closed
    egress_close    connection                 it is over, now; nothing is sent in answer

Each direction begins with a credit of :data:`WINDOW_BYTES`. So neither a slow client nor a slow server fills anybody's
memory, and no download is ever in the way of an interrupt.
"""

import os
import selectors
import signal
import socket
import struct
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Set

from . import proxy_head
from .pump import Outlet, read_some
from .wire import Decoder, Message, encode

WINDOW_BYTES = 2**17
PIECE_BYTES = 2**16
MAX_CONNECTIONS = 64
_HEAD_PIECE_BYTES = 2**14
_HEAD_TIMEOUT_S = 30.0
_HALF_CLOSED_TIMEOUT_S = 60.0
_IDLE_TIMEOUT_S = 900.0
_LINGER_S = 2.0
_TICK_S = 1.0


class Client:
    """One connection of a client of the proxy."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.setblocking(False)
        self.number = 0
        """Its number, once the host was asked."""
        self.head: Optional[proxy_head.Head] = None
        self.received = b""
        """What came before there was somewhere to send it."""
        self.is_open = False
        self.credit = WINDOW_BYTES
        self.waiting: Deque[memoryview] = deque()
        self.passed_on = 0
        """Bytes of the host that the client took, for which the host was given no new credit yet."""
        self.ended = False
        """Whether the client sends no more."""
        self.peer_ended = False
        """Whether nothing more will wait for the client."""
        self.is_shut = False
        self.discards = False
        """Whether it was answered here. What it still sends is read, or it might not see the answer (RFC 9112, 9.6)."""
        self.due_s = time.monotonic() + _HEAD_TIMEOUT_S

    @property
    def events(self) -> int:
        """What to wait for."""
        wants = self.discards or self.head is None or (self.is_open and self.credit > 0)
        reads = wants and not self.ended
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self.waiting else 0)

    def touch(self) -> None:
        """Note that something happened."""
        half = self.ended or self.peer_ended
        idle_s = _LINGER_S if self.discards else _HALF_CLOSED_TIMEOUT_S if half else _IDLE_TIMEOUT_S
        self.due_s = time.monotonic() + idle_s

    def put(self, data: bytes) -> None:
        """Have bytes written to it."""
        self.waiting.append(memoryview(data))

    def write(self) -> None:
        """Write what it takes now. Raises ``OSError`` where it is gone."""
        while self.waiting:
            try:
                done = self.socket.send(self.waiting[0])
            except BlockingIOError:
                return
            self.passed_on += done
            rest = self.waiting.popleft()[done:]
            if rest:
                self.waiting.appendleft(rest)
        if self.peer_ended and not self.is_shut:
            self.is_shut = True
            self.socket.shutdown(socket.SHUT_WR)

    def close(self, reset: bool = False) -> None:
        """Close it; with a reset, so that nobody takes what came so far for all of it."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Proxy:
    """The loop of the process.

    Parameters
    ----------
    listener : socket
        Where clients connect; shared with the supervisor, which starts a process such as this when somebody does.
    connection : socket
        The way to the host, through the supervisor.
    """

    def __init__(self, listener: socket.socket, connection: socket.socket) -> None:
        self._listener = listener
        self._connection = connection
        self._loop = selectors.DefaultSelector()
        # The way to the host is read and written: an entry of the loop for each, the second by a selector of its own.
        outgoing = selectors.DefaultSelector()
        self._host = Outlet(connection.fileno(), outgoing)
        self._loop.register(outgoing, selectors.EVENT_READ, lambda _: [key.data() for key, _ in outgoing.select(0)])
        self._loop.register(connection, selectors.EVENT_READ, lambda _: self._read_host())
        self._decoder = Decoder()
        self._clients: Set[Client] = set()
        self._numbered: Dict[int, Client] = {}
        self._listening = False
        # Numbers are never used again, not even by the process after this one: the clock is ahead of any counter.
        self._number = time.monotonic_ns() // 1000

    def run(self) -> None:
        """Serve until the supervisor closes the connection."""
        while True:
            self._listen_if_there_is_room()
            for key, events in self._loop.select(_TICK_S if self._clients else None):
                key.data(events)
            self._expire()

    def _listen_if_there_is_room(self) -> None:
        has_room = len(self._clients) < MAX_CONNECTIONS
        if has_room and not self._listening:
            self._loop.register(self._listener, selectors.EVENT_READ, lambda _: self._accept())
        elif self._listening and not has_room:
            self._loop.unregister(self._listener)
        self._listening = has_room

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # It has gone again, or there are no descriptors: then some others have to end first.
        client = Client(connection)
        self._clients.add(client)
        self._loop.register(connection, selectors.EVENT_READ, lambda events: self._serve(client, events))

    def _expire(self) -> None:
        now = time.monotonic()
        for client in [client for client in self._clients if client.due_s < now]:
            if client.head is None:
                self._answer(client, 408, "no request came")
            else:
                self._give_up(client)

    # A client

    def _serve(self, client: Client, events: int) -> None:
        client.touch()
        try:
            if events & selectors.EVENT_READ:
                self._read(client)
            self._proceed(client)
        except OSError:
            self._give_up(client)

    def _read(self, client: Client) -> None:
        size = min(PIECE_BYTES, client.credit) if client.is_open else _HEAD_PIECE_BYTES
        try:
            data = client.socket.recv(size)
        except BlockingIOError:
            return
        if not data:
            client.ended = True
            if client.is_open:
                self._send("egress_end", client)
        elif client.is_open:
            self._send_data(client, data)
        elif client.head is None:
            client.received += data
            self._read_head(client)

    def _read_head(self, client: Client) -> None:
        data, end, rest = client.received.partition(proxy_head.END)
        if len(data) > proxy_head.MAX_HEAD_BYTES:
            self._answer(client, 431, "the request's head is longer than %d bytes" % proxy_head.MAX_HEAD_BYTES)
        elif end:
            try:
                client.head = proxy_head.parse(data + end)
            except proxy_head.BadRequestError as error:
                self._answer(client, 400, str(error))
                return
            client.received = client.head.forward + rest
            self._number += 1
            client.number = self._number
            self._numbered[client.number] = client
            self._send("egress_open", client, host=client.head.host, port=client.head.port)

    def _proceed(self, client: Client) -> None:
        """Write what waits, give credit for what was taken, and see whether this is the end."""
        if client not in self._clients:
            return
        client.write()
        if client.is_open and client.passed_on >= WINDOW_BYTES // 2 and not client.peer_ended:
            self._send("egress_credit", client, bytes=client.passed_on)
            client.passed_on = 0
        if client.ended and (client.is_shut or not client.is_open):
            self._forget(client)
        else:
            self._watch(client)

    def _watch(self, client: Client) -> None:
        registered = self._loop.get_map().get(client.socket)
        if registered is None and client.events:
            self._loop.register(client.socket, client.events, lambda events: self._serve(client, events))
        elif registered is not None and not client.events:
            self._loop.unregister(client.socket)
        elif registered is not None and registered.events != client.events:
            self._loop.modify(client.socket, client.events, registered.data)

    def _answer(self, client: Client, status: int, reason: str, host: str = "") -> None:
        """Answer in the host's place, and be done with it."""
        self._numbered.pop(client.number, None)
        client.head = client.head or _NO_HEAD
        client.discards = client.peer_ended = True
        client.put(proxy_head.answer(status, reason, host))
        client.touch()
        self._watch(client)

    def _give_up(self, client: Client) -> None:
        if client.number in self._numbered:
            self._send("egress_close", client)
        self._forget(client, reset=True)

    def _forget(self, client: Client, reset: bool = False) -> None:
        self._clients.discard(client)
        self._numbered.pop(client.number, None)
        if self._loop.get_map().get(client.socket) is not None:
            self._loop.unregister(client.socket)
        client.close(reset)

    # The host

    def _send(self, msg_type: str, client: Client, **content: Any) -> None:
        self._host.put(encode(Message(msg_type, dict(content, connection=client.number))))

    def _send_data(self, client: Client, data: bytes) -> None:
        client.credit -= len(data)
        self._host.put(encode(Message("egress_data", {"connection": client.number}, buffers=[data])))

    def _read_host(self) -> None:
        data = read_some(self._connection.fileno())
        if not data:
            os._exit(0)
        for message, _ in self._decoder.feed(data):
            client = self._numbered.get(message.content["connection"])
            if client is None:
                continue  # It has ended here, which the host did not know yet.
            client.touch()
            getattr(self, "_on_" + message.msg_type)(client, message)
            try:
                self._proceed(client)
            except OSError:
                self._give_up(client)

    def _on_egress_opened(self, client: Client, _: Message) -> None:
        client.is_open = True
        if client.head is not None and client.head.tunnel:
            client.passed_on -= len(proxy_head.OPENED)
            client.put(proxy_head.OPENED)
        for start in range(0, len(client.received), PIECE_BYTES):
            self._send_data(client, client.received[start : start + PIECE_BYTES])
        client.received = b""

    def _on_egress_refused(self, client: Client, message: Message) -> None:
        content = message.content
        self._answer(client, content["status"], content["reason"], content["host"])

    def _on_egress_data(self, client: Client, message: Message) -> None:
        client.put(message.buffers[0])

    def _on_egress_credit(self, client: Client, message: Message) -> None:
        client.credit += message.content["bytes"]

    def _on_egress_end(self, client: Client, _: Message) -> None:
        client.peer_ended = True

    def _on_egress_close(self, client: Client, _: Message) -> None:
        self._forget(client, reset=True)


_NO_HEAD = proxy_head.Head("", 0, False, b"")


def run(descriptors: List[int], config: Dict[str, Any], _: Any) -> None:
    """Serve until the supervisor closes the connection."""
    from .worker import become_child  # The host, too, imports this module.

    become_child(descriptors, "/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(fileno=descriptors[5])
    listener.setblocking(False)
    Proxy(listener, socket.socket(fileno=descriptors[0])).run()
