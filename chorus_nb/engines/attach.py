"""The attached standard streams of a container: Docker's frames taken apart.

Without a terminal, the engine puts what the container writes into frames: one byte that names the stream, three zero
bytes, the length as a big-endian 32-bit number, then the payload (Docker Engine API, "Attach to a container").
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from .base import ByteStream

RECEIVE_BYTES = 256 * 1024
"""How much is taken from the socket at once: eight of the engine's frames, so that bulk data is not read in crumbs."""

TAIL_BYTES = 16 * 1024
"""How much of the standard error is kept."""

_Result = TypeVar("_Result")
_HEADER_BYTES = 8
_STDOUT, _STDERR, _ENGINE_ERROR = 1, 2, 3


class Tail:
    """The last bytes of an endless text."""

    def __init__(self, limit_bytes: int = TAIL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._data = bytearray()
        self._lock = threading.Lock()

    def append(self, data: bytes | memoryview) -> None:
        """Add ``data`` and forget what is too old."""
        with self._lock:
            self._data += data[-self._limit_bytes :]
            del self._data[: -self._limit_bytes]

    def __str__(self) -> str:
        with self._lock:
            return self._data.decode("utf-8", "replace")


class Demultiplexer:
    """Takes the engine's frames apart, in whatever pieces they arrive.

    Payloads are passed on as they come and never collected, so a length in a header costs no memory.

    Parameters
    ----------
    on_stderr : callable
        Called with each piece of standard error.
    """

    def __init__(self, on_stderr: Callable[[memoryview], None]) -> None:
        self._on_stderr = on_stderr
        self._header = bytearray()
        self._stream = 0
        self._remaining_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Return what ``data`` holds of standard output, maybe nothing.

        Raises
        ------
        ValueError
            If a header is none: the two sides have lost step, and nothing after it can be trusted.
        """
        stdout = []
        for name, piece in self.pieces(data):
            if name == "stdout":
                stdout.append(piece)
            else:
                self._on_stderr(piece)
        return b"".join(stdout)

    def pieces(self, data: bytes) -> Iterator[tuple[str, memoryview]]:
        """Yield what ``data`` holds in its order, after ``stdout`` or ``stderr``. Raises as :meth:`feed` does."""
        view = memoryview(data)
        while view:
            if not self._remaining_bytes:
                view = self._read_header(view)
                continue
            piece, view = view[: self._remaining_bytes], view[self._remaining_bytes :]
            self._remaining_bytes -= len(piece)
            yield "stdout" if self._stream == _STDOUT else "stderr", piece

    def _read_header(self, view: memoryview) -> memoryview:
        wanted = _HEADER_BYTES - len(self._header)
        self._header += view[:wanted]
        if len(self._header) == _HEADER_BYTES:
            self._stream, padding = self._header[0], bytes(self._header[1:4])
            if self._stream not in (_STDOUT, _STDERR, _ENGINE_ERROR) or any(padding):
                raise ValueError(f"not a frame of the engine: {self._header.hex(' ')}")
            self._remaining_bytes = int.from_bytes(self._header[4:], "big")
            self._header.clear()
        return view[wanted:]


class Connection(Protocol):
    """What this module needs of a socket; the SDK hands out several kinds."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes | memoryview, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class TlsConnection:
    """A TLS socket on which one thread may send while another one receives.

    OpenSSL allows one call at a time on a connection, and a call that waits would keep the other side out: so no call
    waits, and the waiting is done outside the lock.
    """

    def __init__(self, tls: ssl.SSLSocket) -> None:
        tls.settimeout(0)
        self._tls = tls
        self._lock = threading.Lock()

    def recv(self, size: int, /) -> bytes:
        return self._call(partial(self._tls.recv, size))

    def sendall(self, data: bytes | memoryview, /) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self._call(partial(self._tls.send, view[:RECEIVE_BYTES])) :]

    def fileno(self) -> int:
        return self._tls.fileno()

    def shutdown(self, how: int, /) -> None:
        with self._lock:
            self._tls.shutdown(how)

    def close(self) -> None:
        with self._lock:
            self._tls.close()

    def _call(self, call: Callable[[], _Result]) -> _Result:
        while True:
            with self._lock:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    awaited = select.POLLIN
                except ssl.SSLWantWriteError:
                    awaited = select.POLLOUT
                descriptor = self._tls.fileno()
            poll = select.poll()
            poll.register(descriptor, awaited)
            # Shutting down wakes this; the limit is for a descriptor that was closed just before, and is another's now.
            poll.poll(1000)


class AttachedStream(ByteStream):
    """The stream to a container's main process over the engine's hijacked HTTP connection.

    Parameters
    ----------
    connection : Connection
        The socket, blocking, without a timeout.
    buffered : bytes
        What was read from the socket along with the HTTP response.
    owner : object
        What owns the socket: kept from the garbage collector, which would close it, and closed with it.
    """

    def __init__(self, connection: Connection, buffered: bytes = b"", owner: Any = None) -> None:
        self._connection = connection
        self._buffered = buffered
        self._owner = owner
        self._tail = Tail()
        self._demultiplexer = Demultiplexer(self._tail.append)
        self._send_lock = threading.Lock()
        self._closed = False
        let_go_in_children(self)

    def send(self, data: bytes | memoryview) -> None:
        try:
            with self._send_lock:
                self._connection.sendall(data)
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionError(f"the connection to the container is closed ({error})") from error

    def receive(self) -> bytes:
        return self._next(self._demultiplexer.feed) or b""

    def receive_pieces(self) -> list[tuple[str, bytes]]:
        """Return the next bytes of both streams in their order, each after ``stdout`` or ``stderr``; empty at the end.

        For who wants the standard error as well, instead of :meth:`receive`.
        """
        return self._next(lambda data: [(name, bytes(piece)) for name, piece in self._demultiplexer.pieces(data)]) or []

    def receive_some(self) -> bytes | None:
        """Read once, and return what of it is standard output, maybe nothing; None at the end."""
        read = self._next(lambda data: (self._demultiplexer.feed(data),))
        return read[0] if read else None

    @property
    def has_buffered(self) -> bool:
        """Whether there is something to receive that :meth:`fileno` knows nothing of."""
        return bool(self._buffered)

    def fileno(self) -> int:
        """Return the descriptor to wait for, of a connection that is a plain socket."""
        return self._connection.fileno()

    def _next(self, take_apart: Callable[[bytes], _Result]) -> _Result | None:
        """Return the next thing that is not empty, or None at the end."""
        try:
            while data := self._read():
                if found := take_apart(data):
                    return found
        except ValueError as error:
            self._tail.append(f"\n[{error}]\n".encode())
        except OSError:
            pass  # A dead peer and a stream closed here are both the end of it.
        # The engine would go on taking input for a container that has ended, until its buffers are full.
        self.close()
        return None

    def _read(self) -> bytes:
        if self._buffered:
            buffered, self._buffered = self._buffered, b""
            return buffered
        return b"" if self._closed else self._connection.recv(RECEIVE_BYTES)

    def close(self) -> None:
        self._closed = True
        # Closing alone would leave a thread that is blocked in recv() there for good; shutting down wakes it.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self.let_go()

    def let_go(self) -> None:
        """Close this process's descriptors, and leave the connection to whoever else has it."""
        for each in (self._connection, self._owner):
            with suppress(OSError, ValueError, AttributeError):
                each.close()

    @property
    def diagnostics(self) -> str:
        return str(self._tail)


def attach(client: Any, container_id: str) -> AttachedStream:
    """Attach to the standard streams of a container.

    Parameters
    ----------
    client : docker.APIClient
        The SDK's low-level client.
    container_id : str
        A container that has not been started, so that no byte is missed.
    """
    return hijacked(client.attach_socket(container_id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}))


def hijacked(attached: Any) -> AttachedStream:
    """Make a stream of what the SDK hands out for an HTTP connection that the engine has turned into one."""
    connection = getattr(attached, "_sock", attached)
    response = getattr(attached, "_response", None)
    buffered = _buffered(connection, response)
    connection.settimeout(None)
    if isinstance(connection, ssl.SSLSocket):
        connection = TlsConnection(connection)
    return AttachedStream(connection, buffered, owner=response or attached)


def _buffered(connection: Any, response: Any) -> bytes:
    """Return what the HTTP client read from the socket beyond the response's head."""
    reader = getattr(getattr(getattr(response, "raw", None), "_fp", None), "fp", None)
    if reader is None:
        return b""
    connection.settimeout(0)  # Otherwise looking into an empty buffer would wait for the container's first byte.
    with suppress(OSError):
        return bytes(reader.peek())
    return b""


class _HoldsDescriptors(Protocol):
    def let_go(self) -> None: ...


_open_streams: weakref.WeakSet[_HoldsDescriptors] = weakref.WeakSet()


def let_go_in_children(stream: _HoldsDescriptors) -> None:
    """Have a fork of this process close the stream's descriptors: it must not keep containers alive."""
    _open_streams.add(stream)


def _let_go_in_child() -> None:
    for stream in list(_open_streams):
        stream.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
