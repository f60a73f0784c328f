"""The stream to the agent past the engine: a unix socket of this machine, where the container is on it too (unix(7)).

What goes by the attached standard streams is copied by the container's shim and by the engine, in pieces of 32 KiB and
with a wake-up each. So a local container has the socket mounted, the agent connects to it before any other code runs,
and nobody else ever can: one connection is taken, then the socket is gone. The attached streams stay, for the agent's
boot, for its standard error, and as what ends it when this process does. Where it can't connect, as under
SELinux, they carry everything, as they do with gVisor, which has a kernel of its own, and with a remote engine.
"""

from __future__ import annotations

import hmac
import secrets
import select
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from .attach import RECEIVE_BYTES, AttachedStream, let_go_in_children
from .base import AGENT_SOCKET, ByteStream, Mount
from .owner import abandoned, claim, unclaim

_BUFFER_BYTES = 2**20
_WORD_S = 10.0
_GRACE_S = 5.0
"""How long the engine may take to say its last, once the agent's connection has ended."""
_AGENT_GRACE_S = 1.0
"""And the agent, once the engine's has: where that engine was killed, its container runs on and says ever more."""


class Rendezvous:
    """A socket that waits for one connection. Raises ``OSError`` where there can be none.

    It lies in a folder that is closed to everybody else, as the socket is not. Beside it a link says whose it is.
    """

    def __init__(self) -> None:
        self._path = _folder() / secrets.token_hex(8)
        if set(str(self._path)) & set(',"\r\n'):
            raise OSError("a name that Podman can't mount")
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            claim(self._path)
            self.listener.bind(str(self._path))
            self._path.chmod(0o666)  # Whoever the agent runs as.
            self.listener.listen()
        except OSError:
            self.close()
            raise
        self.mount = Mount(str(self._path), AGENT_SOCKET)

    def accept(self, token: str) -> socket.socket | None:
        """Return the connection that waits, and take no other; None where it is another's than the agent's."""
        connection, _ = self.listener.accept()
        if not _says(connection, token.encode()):
            connection.close()
            return None
        self.close()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether a connection is still waited for."""
        return self.listener.fileno() >= 0

    def close(self) -> None:
        """Take no connection any more, and remove the socket. May be called twice."""
        self.listener.close()
        _remove(self._path)


def _says(connection: socket.socket, token: bytes) -> bool:
    """Whether somebody says the word, and says it at once."""
    connection.settimeout(_WORD_S)
    try:
        said = connection.recv(len(token), socket.MSG_WAITALL) if token else b""
    except OSError:
        return False
    connection.settimeout(None)
    return hmac.compare_digest(said, token)


def _folder() -> Path:
    return user_cache_path("chorus-nb") / "sockets"


def _remove(path: Path) -> None:
    with suppress(OSError):  # The next start makes up for it.
        path.unlink(missing_ok=True)
        unclaim(path)


def sweep_sockets() -> None:
    """Remove the sockets of this user's whose process is provably gone: it was killed as a container started."""
    for path in abandoned(_folder()):
        _remove(path)


class DirectStream(ByteStream):
    """The stream to the agent: its connection to a socket, or its standard streams where it did not connect.

    Parameters
    ----------
    attached : AttachedStream
        To the standard streams of the container, which has not been started.
    rendezvous : Rendezvous
        What it finds at :data:`AGENT_SOCKET`.
    token : str
        What it says first.
    """

    def __init__(self, attached: AttachedStream, rendezvous: Rendezvous, token: str) -> None:
        self._attached = attached
        self._attached_fileno = attached.fileno()  # It has none any more once it has ended.
        self._rendezvous = rendezvous
        self._token = token
        self._direct: socket.socket | None = None
        self._send_lock = threading.Lock()
        self._close_lock = threading.Lock()
        self._closed = False
        self._give_up_at_s: float | None = None
        self._poll = select.poll()
        for descriptor in (self._attached_fileno, rendezvous.listener.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        let_go_in_children(self)

    def send(self, data: bytes | memoryview) -> None:
        if self._direct is None:
            self._attached.send(data)
            return
        try:
            with self._send_lock:
                self._direct.sendall(data)
        except OSError as error:
            raise ConnectionError(f"the connection to the container is closed ({error})") from error

    def receive(self) -> bytes:
        with suppress(OSError, ValueError):  # A descriptor that is closed here is the end of it as well.
            while not self._closed and (data := self._next()) is not None:
                if data:
                    return data
        self.close()
        return b""

    def _next(self) -> bytes | None:
        """Return what has come, maybe nothing; None at the end."""
        ready = self._ready()
        if self._direct and self._direct.fileno() in ready:
            return self._from_direct(self._direct)
        if not self._direct and self._rendezvous.listener.fileno() in ready:
            self._accept()
            return b""
        return self._from_attached() if self._attached_fileno in ready else None

    def _ready(self) -> set[int]:
        if self._attached.has_buffered:
            return {self._attached_fileno}
        left_ms = None
        if self._give_up_at_s is not None:
            left_ms = (self._give_up_at_s - time.monotonic()) * 1000
            if left_ms <= 0:
                return set()
        return {descriptor for descriptor, _ in self._poll.poll(left_ms)}

    def _accept(self) -> None:
        listener = self._rendezvous.listener.fileno()
        direct = self._rendezvous.accept(self._token)
        if direct is None:
            return
        self._poll.unregister(listener)
        self._poll.register(direct, select.POLLIN)
        with self._close_lock:
            self._direct = direct
        if self._closed:
            _shut(direct)

    def _from_direct(self, direct: socket.socket) -> bytes | None:
        if data := direct.recv(RECEIVE_BYTES):
            return data
        self._poll.unregister(direct)
        return self._after_one_end(_GRACE_S)

    def _from_attached(self) -> bytes | None:
        data = self._attached.receive_some()
        if data is None:
            self._poll.unregister(self._attached_fileno)
            return self._after_one_end(_AGENT_GRACE_S) if self._direct else None
        if data and not self._direct and self._rendezvous.is_open:
            self._poll.unregister(self._rendezvous.listener)
            self._rendezvous.close()
        return b"" if self._direct else data

    def _after_one_end(self, grace_s: float) -> bytes | None:
        """Go on with the other stream, which has what was said last, for a while."""
        is_last, self._give_up_at_s = self._give_up_at_s is not None, time.monotonic() + grace_s
        return None if is_last else b""

    def close(self) -> None:
        self._closed = True
        with self._close_lock:
            if self._direct:
                _shut(self._direct)
        self._rendezvous.close()
        self._attached.close()

    def let_go(self) -> None:
        """Close this process's descriptors, and leave the connection to whoever else has it."""
        for each in (self._direct, self._rendezvous.listener):
            if each:
                each.close()

    @property
    def diagnostics(self) -> str:
        return self._attached.diagnostics


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # This wakes who reads, which closing alone would not.
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
