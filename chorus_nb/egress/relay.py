"""All connections of one sandbox: what it says of them, checked; one thread that carries them; what they cost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..agent.proxy import MAX_CONNECTIONS, PIECE_BYTES
from ..agent.wire import Message
from ..config import NetworkPolicy
from ..config.hosts import AllowList
from ..errors import AgentProtocolError
from .dial import DialError, check_name, dial
from .traffic import Counter, HostTraffic, total
from .tunnel import Connect, Tell, Tunnel

_MAX_HOST_CHARS = 1000
_MAX_NUMBER = 2**53
_MAX_UNANSWERED = 4 * MAX_CONNECTIONS


class Egress:
    """The network of one sandbox. Its messages come by the reading thread; the rest may be called from any.

    Parameters
    ----------
    network : NetworkPolicy
        In another mode than ``allowlist`` a message about connections is an error of the sandbox.
    tell : Tell
        Sends a message to the sandbox.
    services : mapping of str to Connect
        What is answered here, by the names that a sandbox asks for it; then such a message is none in any mode.
    """

    def __init__(self, network: NetworkPolicy, tell: Tell, services: Mapping[str, Connect] | None = None) -> None:
        self._services = dict(services or {})
        self._has_proxy = network.allow is not None
        self._allowed = AllowList(network.allow or ()) if self._has_proxy or self._services else None
        self._tell = tell
        self._counter = Counter()
        self._before: tuple[HostTraffic, ...] = ()
        self._tunnels: dict[int, Tunnel] = {}
        self._latest = 0
        self._refusals = self._refusals_sent = 0
        self._loop: _Loop | None = None
        self._is_over = False
        self._lock = threading.Lock()

    # What it costs

    @property
    def traffic(self) -> tuple[HostTraffic, ...]:
        """What was exchanged with each host since the session was made."""
        return self._counter.now()

    def begin(self) -> None:
        """Note that a cell begins: :meth:`since_begin` counts from here."""
        self._before = self._counter.now()
        self._is_over = False

    def since_begin(self) -> tuple[HostTraffic, ...]:
        """Return what was exchanged since then, of the hosts where anything was."""
        return self._counter.since(self._before)

    def counted(self, message: Message) -> Message:
        """Return a message with figures, with the bytes of the connections added to those of the interfaces."""
        if not self._has_proxy or message.msg_type not in ("resource_sample", "resource_usage", "usage_reply"):
            return message
        counts = self.since_begin() if message.msg_type == "resource_usage" else self.traffic
        content = dict(message.content)
        for key, size in zip(("network_rx_bytes", "network_tx_bytes"), total(counts), strict=True):
            if isinstance(content.get(key), int):
                content[key] += size
        return replace(message, content=content)

    # What the sandbox says

    def take(self, message: Message) -> bool:
        """Take a message about connections; False where it is none. Raises ``AgentProtocolError``."""
        if not message.msg_type.startswith("egress_"):
            return False
        if self._allowed is None:
            raise AgentProtocolError("The sandbox asks for a network that it has not.", next_step="It was ended.")
        with self._lock:
            if not self._is_over:  # Else these are the last words of a sandbox that is gone.
                self._take(self._allowed, message)
        return True

    def _take(self, allowed: AllowList, message: Message) -> None:
        number = message.content.get("connection")
        if message.msg_type == "egress_reset":
            self._reset()
        elif type(number) is not int or not 0 < number < _MAX_NUMBER:
            raise _malformed(message)
        elif message.msg_type == "egress_open":
            self._open(allowed, number, message)
        elif number > self._latest:
            raise AgentProtocolError("The sandbox speaks of a connection that nobody opened.", next_step="Restart it.")
        else:
            self._take_for(self._tunnels.get(number), message)

    def _open(self, allowed: AllowList, number: int, message: Message) -> None:
        host, port = message.content.get("host"), message.content.get("port")
        is_one = isinstance(host, str) and len(host) <= _MAX_HOST_CHARS and type(port) is int and 0 < port < 2**16
        if not is_one or number <= self._latest or message.buffers:
            raise _malformed(message)
        assert isinstance(host, str)
        assert isinstance(port, int)
        self._latest = number
        try:
            tunnel, connect = self._way_to(allowed, number, host, port)
            if len(self._tunnels) >= MAX_CONNECTIONS:
                raise DialError(503, "There are too many connections at one time.")
        except DialError as error:
            self._refuse(Tunnel(number, _shown(host), port, self._tell, self._counter), error)
            return
        self._tunnels[number] = tunnel
        self._running_loop().start(tunnel, connect, lambda: self._tunnels.pop(number, None))

    def _way_to(self, allowed: AllowList, number: int, host: str, port: int) -> tuple[Tunnel, Connect]:
        """Return a connection and who makes it. Raises ``DialError`` for one that may not be."""
        if service := self._services.get(host):
            return Tunnel(number, host, port, self._tell, Counter()), service  # No traffic of the network's.
        name = check_name(allowed, host, port)
        return Tunnel(number, name, port, self._tell, self._counter), lambda: dial(allowed, name, port)

    def _refuse(self, tunnel: Tunnel, error: DialError) -> None:
        tunnel.count_refusal(error)
        self._refusals += 1
        if self._refusals - self._refusals_sent > _MAX_UNANSWERED:
            raise AgentProtocolError("The sandbox asks without hearing the answers.", next_step="It was ended.")

        def send() -> None:
            self._refusals_sent += 1
            tunnel.refuse(error)

        # Sending may wait for the sandbox, which this thread must not: it is the one that hears it.
        self._running_loop().call(send)

    def _take_for(self, tunnel: Tunnel | None, message: Message) -> None:
        """Take what is about one connection; None is one that has ended here, which the sandbox did not know yet."""
        kind, buffers = message.msg_type, message.buffers
        size = message.content.get("bytes") if kind == "egress_credit" else 1
        pieces = 1 if kind == "egress_data" else 0
        if type(size) is not int or size < 1 or len(buffers) != pieces or not all(map(_is_piece, buffers)):
            raise _malformed(message)
        if tunnel is None:
            return
        loop = self._running_loop()
        if kind == "egress_data" and tunnel.admits_data(len(buffers[0])):
            loop.call(tunnel.put, buffers[0])
        elif kind == "egress_credit" and tunnel.admits_credit(size):
            loop.call(tunnel.wake)
        elif kind == "egress_end" and tunnel.admits_end():
            loop.call(tunnel.finish)
        elif kind == "egress_close":
            self._tunnels.pop(tunnel.number, None)
            loop.cancel(tunnel)
        else:
            raise _malformed(message)

    # Its end

    def _reset(self) -> None:
        """Close every connection: the process that had them is gone."""
        self._tunnels.clear()
        if self._loop is not None:
            self._loop.cancel_all()

    def end(self) -> None:
        """Close every connection, and end the thread; the sandbox is gone. The counts stay.

        From here to the next :meth:`begin` nothing is heard: no connection outlives the sandbox.
        """
        with self._lock:
            self._is_over = True
            loop, self._loop = self._loop, None
            self._tunnels.clear()
            self._latest = self._refusals = self._refusals_sent = 0
        if loop is not None:
            loop.end()

    def _running_loop(self) -> _Loop:
        if self._loop is None:
            self._loop = _Loop()
        return self._loop


def _malformed(message: Message) -> AgentProtocolError:
    return AgentProtocolError(
        f"The sandbox sent {message.msg_type[:20]!r} with what can't be in it.", next_step="It was ended."
    )


def _is_piece(data: bytes) -> bool:
    return 0 < len(data) <= PIECE_BYTES


def _shown(host: str) -> str:
    """Return a host that is none, fit to be shown."""
    text = "".join(char if char.isascii() and char.isprintable() else "?" for char in host.lower()[:80])
    return text or "?"


class _Loop:
    """A thread with an event loop, for the connections of one sandbox. It ends by :meth:`end`, or with the process."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._started = threading.Event()
        threading.Thread(target=asyncio.run, args=(self._serve(),), name="chorus-egress", daemon=True).start()
        self._started.wait()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._started.set()
        await self._ended.wait()
        # Leaving here, asyncio.run() cancels what is left, and that closes its sockets.

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the thread call a function; not any more once it has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def start(self, tunnel: Tunnel, connect: Connect, on_end: Callable[[], object]) -> None:
        """Have the thread run a connection."""

        def begin() -> None:
            task = self._tasks[tunnel.number] = self._loop.create_task(tunnel.run(connect))
            task.add_done_callback(lambda _: (self._tasks.pop(tunnel.number, None), on_end()))

        self.call(begin)

    def cancel(self, tunnel: Tunnel) -> None:
        """Close a connection."""

        def cancel() -> None:
            if task := self._tasks.get(tunnel.number):
                task.cancel()

        self.call(cancel)

    def cancel_all(self) -> None:
        """Close every connection."""
        self.call(lambda: [task.cancel() for task in self._tasks.values()])

    def end(self) -> None:
        """Close every connection and end the thread."""
        self.call(self._ended.set)
