"""From a name that a sandbox asks for to a connected socket: checked, looked up once, checked again, dialled."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ..config.hosts import Address, AllowList, HostError, as_address, host_text, kind_of, normal_host

CONNECT_TIMEOUT_S = 10.0
LOOKUP_TIMEOUT_S = 20.0
MAX_LOOKUPS = 32
_MAX_ADDRESSES = 8
NOT_LISTED = "is not on the allow-list"
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")

_Result = TypeVar("_Result")
_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)


class DialError(Exception):
    """There is no connection.

    Attributes
    ----------
    status : int
        The HTTP status that says so best.
    reason : str
        A sentence for the client, and for the user.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RefusedError(DialError):
    """The allow-list does not let it through.

    Attributes
    ----------
    rule : str
        Why, after the name of the host: the same words each time, with no address in them.
    """

    def __init__(self, reason: str, rule: str) -> None:
        super().__init__(403, reason)
        self.rule = rule


def check_name(allowed: AllowList, host: str, port: int) -> str:
    """Return a host in normal form. Raises :class:`RefusedError` where it is not on the list, or no host."""
    try:
        name = normal_host(host)
    except HostError as error:
        raise RefusedError(f"{host[:80]!r} can't be looked up: {error}.", "is no host name") from None
    if not allowed.admits_name(name, port):
        raise RefusedError(f"{host_text(name, port)} {NOT_LISTED} of this sandbox.", NOT_LISTED)
    return name


async def dial(allowed: AllowList, host: str, port: int) -> socket.socket:
    """Connect to a normal host that :func:`check_name` let through.

    Raises
    ------
    RefusedError
        None of its addresses may be reached by this name.
    DialError
        It has no address, or nobody there answers.
    """
    addresses = await _look_up(host, port)
    permitted = [each for each in addresses if allowed.admits_address(host, each, port, own=is_own(each))]
    if not permitted:
        raise _refused(host, addresses[0], port)
    failure = DialError(502, "")
    for address in permitted[:_MAX_ADDRESSES]:
        try:
            return await _connect(address, port)
        except DialError as error:
            failure = error
    raise DialError(failure.status, f"{host_text(host, port)}: {failure.reason}.{_unused_proxy()}")


async def _look_up(host: str, port: int) -> list[Address]:
    literal = as_address(host)
    if literal is not None:
        return [literal]
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            found = await _in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise DialError(504, f"{host} was not looked up within {LOOKUP_TIMEOUT_S:g} s on this machine.") from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DialError(502, f"{host} can't be looked up on this machine: {reason}.{_unused_proxy()}") from None
    addresses = [address for each in found if (address := as_address(str(each[4][0]))) is not None]
    addresses = list(dict.fromkeys(getattr(each, "ipv4_mapped", None) or each for each in addresses))
    if not addresses:
        raise DialError(502, f"{host} has no address.")
    return addresses


async def _in_thread(call: Callable[[], _Result]) -> _Result:
    """Run what can't be cancelled in a thread that nobody waits for: not even the end of the interpreter."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if future.done():
            return  # Nobody waits any more.
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        finally:
            _lookups.release()
        with suppress(RuntimeError):  # The loop is closed.
            loop.call_soon_threadsafe(settle, result, error)

    if not _lookups.acquire(blocking=False):
        raise DialError(503, f"{MAX_LOOKUPS} names are being looked up already.")
    threading.Thread(target=run, name="chorus-lookup", daemon=True).start()
    return await future


def is_own(address: Address) -> bool:
    """Whether an address is one of this machine's: a packet to it would be sent from it. None is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return bool(as_address(probe.getsockname()[0].partition("%")[0]) == address)
    except OSError:
        return False  # There is no way to it at all.


async def _connect(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        connection.close()
        raise DialError(504, f"nobody answered within {CONNECT_TIMEOUT_S:g} s") from None
    except OSError as error:
        connection.close()
        raise DialError(502, (os.strerror(error.errno) if error.errno else str(error)).lower()) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _refused(host: str, address: Address, port: int) -> RefusedError:
    names = {"public": "an address of this machine itself", "private": "a private address"}
    kind = names.get(kind_of(address), f"a {kind_of(address)} address")
    if as_address(host) is not None:
        return RefusedError(f"{host_text(host, port)} {NOT_LISTED} of this sandbox.", NOT_LISTED)
    reason = f"{host_text(host, port)} leads to {address}, {kind}, which this entry of the allow-list does not admit."
    return RefusedError(f"{reason} Add {host_text(str(address), port)} to it if that is meant.", f"leads to {kind}")


def _unused_proxy() -> str:
    name = next((name for name in _PROXIES if os.environ.get(name)), None)
    return f" (The proxy that {name} names on this machine is not used for sandboxes.)" if name else ""
