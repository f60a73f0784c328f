"""Credentials for git in a sandbox, by request: the host's ``git credential fill`` is asked, and nothing is kept.

A request comes by the network of the pipe, as a connection to :data:`SERVICE_HOST`, a name that nobody else can have
(RFC 6761, section 6.4), in the words of git-credential(1). What it names is believed no more than any other connection:
the host has to be one that the sandbox may reach, by HTTPS (or by HTTP on this machine's loopback, where nothing can be
listened to). The host's git is asked outside of any repository, whose settings could name a helper.

``store`` and ``erase`` of git's helpers are not handed on: a sandbox has nothing to add to the user's credentials, and
must not be able to have them forgotten.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..agent.git_helper import MAX_REQUEST_BYTES, SERVICE_HOST
from ..config import SandboxConfig
from ..config.hosts import LOCALHOST, AllowList, HostError, as_address, host_text, normal_host, parse_port
from .host import git_environment, git_program, run_git

FILL_TIMEOUT_S = 20.0
_READ_TIMEOUT_S = 10.0
_MAX_AT_ONCE = 4
_MAX_PER_MINUTE = 60
_MAX_HOSTS = 64
_PORTS = {"https": 443, "http": 80}

Admits = Callable[[str, int], bool]
"""Whether the sandbox may reach a normal host at a port."""


@dataclass(frozen=True, slots=True)
class HostCredentials:
    """How often a sandbox asked for the credentials of one host."""

    host: str
    handed_over: int = 0
    not_given: int = 0


class CredentialError(Exception):
    """A request is not granted; the text says why."""


class Credentials:
    """Answers the requests of one sandbox.

    Parameters
    ----------
    admits : callable
        :data:`Admits`.
    fill_timeout_s : float
        How long the host's git may take, in seconds: a helper of its may be waiting for somebody.
    """

    def __init__(self, admits: Admits, fill_timeout_s: float = FILL_TIMEOUT_S) -> None:
        self._admits = admits
        self._fill_timeout_s = fill_timeout_s
        self._counts: dict[str, HostCredentials] = {}
        self._latest_s: deque[float] = deque(maxlen=_MAX_PER_MINUTE)
        self._running = 0
        self._lock = threading.Lock()

    @property
    def counts(self) -> tuple[HostCredentials, ...]:
        """What was asked for since the session was made, host by host."""
        with self._lock:
            return tuple(self._counts.values())

    async def connect(self) -> socket.socket:
        """Return a connection on which one request is answered."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        threading.Thread(target=self._serve, args=(ours,), name="chorus-git-credentials", daemon=True).start()
        await asyncio.sleep(0)
        return theirs

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_READ_TIMEOUT_S)
            try:
                answer = self.answer(_read(connection))
            except CredentialError as error:
                answer = f"error={error}\n".encode()
            connection.sendall(answer)

    def answer(self, request: bytes) -> bytes:
        """Return ``username`` and ``password`` as git's helpers print them. Raises :class:`CredentialError`."""
        fields = _fields(request)
        protocol, host, port = _target(fields)
        name = host_text(host, port)
        with self._turn():
            try:
                self._refuse(protocol, host, port)
                found = self._fill(fields, name)
            except CredentialError:
                self._count(name, given=False)
                raise
        self._count(name, given=True)
        return found

    def _turn(self) -> _Turn:
        return _Turn(self)

    def begin(self) -> None:
        """Count a request. Raises :class:`CredentialError` where there are too many."""
        now = time.monotonic()
        with self._lock:
            full = len(self._latest_s) == _MAX_PER_MINUTE and now - self._latest_s[0] < 60
            if full or self._running >= _MAX_AT_ONCE:
                raise CredentialError(f"too many requests: {_MAX_AT_ONCE} at one time and {_MAX_PER_MINUTE} a minute")
            self._latest_s.append(now)
            self._running += 1

    def end(self) -> None:
        """Note that a request has ended."""
        with self._lock:
            self._running -= 1

    def _refuse(self, protocol: str, host: str, port: int) -> None:
        address = as_address(host)
        is_loopback = host == LOCALHOST or (address is not None and address.is_loopback)
        if protocol == "http" and not is_loopback:
            raise CredentialError(f"{host_text(host, port)} is asked by http, where anybody on the way could read them")
        if not self._admits(host, port):
            raise CredentialError(f"{host_text(host, port)} is not on the allow-list of this sandbox")

    def _fill(self, fields: dict[str, str], name: str) -> bytes:
        if git_program() is None:
            raise CredentialError("the host has no git")
        asked = {key: fields[key] for key in ("protocol", "host", "path", "username") if fields.get(key)}
        request = "".join(f"{key}={value}\n" for key, value in asked.items()).encode() + b"\n"
        # No repository: "/dev/null" is none, and no other is looked for. An empty core.askPass asks nobody.
        environment = git_environment(GIT_DIR=os.devnull, GCM_INTERACTIVE="never", GCM_GUI_PROMPT="false")
        command = ["-c", "core.askPass=", "-c", "credential.interactive=false", "credential", "fill"]
        output = run_git(command, Path("/"), environment, request, self._fill_timeout_s)
        found = _fields(output or b"", lenient=True)
        same = all(found.get(key) == asked[key] for key in ("protocol", "host"))
        if not same or not found.get("username") or not found.get("password"):
            raise CredentialError(f"the host's `git credential fill` has none for {name} that it gives without asking")
        return f"username={found['username']}\npassword={found['password']}\n".encode()

    def _count(self, host: str, *, given: bool) -> None:
        with self._lock:
            if host not in self._counts and len(self._counts) >= _MAX_HOSTS:
                host = "(others)"
            old = self._counts.get(host, HostCredentials(host))
            self._counts[host] = HostCredentials(host, old.handed_over + given, old.not_given + (not given))


def credentials_for(config: SandboxConfig, fill_timeout_s: float = FILL_TIMEOUT_S) -> Credentials | None:
    """Return who answers the requests of a sandbox; None where it has no network, or nobody asked for credentials."""
    network = config.network
    if not config.git.credentials or network.mode == "none":
        return None
    allowed = None if network.allow is None else AllowList(network.allow)
    return Credentials(lambda host, port: allowed is None or allowed.admits_name(host, port), fill_timeout_s)


class _Turn:
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __enter__(self) -> None:
        self._credentials.begin()

    def __exit__(self, *_: object) -> None:
        self._credentials.end()


def _read(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n\n") and len(data) <= MAX_REQUEST_BYTES:
        piece = connection.recv(MAX_REQUEST_BYTES)
        if not piece:
            break
        data += piece
    return data


def _fields(data: bytes, *, lenient: bool = False) -> dict[str, str]:
    """Read lines of ``key=value``. A value can't have line breaks; one with other controls is refused."""
    if len(data) > MAX_REQUEST_BYTES and not lenient:
        raise CredentialError("a request that is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise CredentialError("a request that is no text") from None
    fields = dict(line.partition("=")[::2] for line in text.split("\n") if "=" in line)
    if not lenient and not all(char.isprintable() for value in fields.values() for char in value):
        raise CredentialError("a request with characters that nobody can see")
    return fields


def _target(fields: dict[str, str]) -> tuple[str, str, int]:
    """Return protocol, normal host and port. Raises :class:`CredentialError`."""
    protocol, host = fields.get("protocol", ""), fields.get("host", "")
    if protocol not in _PORTS:
        raise CredentialError("there are credentials for https alone")
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    try:
        if not colon:
            return protocol, normal_host(host), _PORTS[protocol]
        return protocol, normal_host(name), parse_port(port)
    except HostError:
        raise CredentialError("this is no host") from None


__all__ = ["FILL_TIMEOUT_S", "SERVICE_HOST", "CredentialError", "Credentials", "HostCredentials", "credentials_for"]
