"""Names, addresses and ports of the network as an allow-list has them, and what matches what.

An entry is ``HOST``, ``*.HOST``, an IP address, or a network such as ``10.1.0.0/16``, each with an optional ``:PORT``;
without one it stands for the ports 80 and 443. IPv6 is written in brackets: ``[2001:db8::1]:443``. ``*.example.org`` is
any name below ``example.org``, at any depth, and not ``example.org`` itself.

A name is worth no more than the address that it leads to, and whoever owns the name decides about that. So
:meth:`AllowList.admits_address` asks a second time, with the address that is about to be dialled:

=========================================  ======================================================
address                                    is reached by
=========================================  ======================================================
public                                     any entry that matches the name
private (RFC 1918 and 4193), and all       an exact name, never a wildcard; an address or network
others that the internet does not route
loopback                                   the name ``localhost``; an address or network
link-local, metadata services of clouds,   an address or network
this machine's own, multicast, reserved
=========================================  ======================================================

Sources: RFC 1123 and RFC 5890 for names, RFC 3986 section 3.2.2 for hosts in URLs, RFC 6761 for ``localhost``; the
WHATWG URL standard for the numeric forms that are refused here (``0x7f.1``, ``2130706433``, ``0177.0.0.1``), since
programs disagree on what they mean.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Kind = Literal["public", "private", "loopback", "link-local", "reserved"]

DEFAULT_PORTS = (80, 443)
LOCALHOST = "localhost"
MAX_NAME_CHARS = 253

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{1,5}")
# Services of clouds that tell credentials to whoever asks, where that is not a link-local address.
_METADATA = frozenset(
    ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
# IPv6 addresses of translators, with an IPv4 address in the bits after these (RFC 6052, RFC 8215, RFC 3056).
_TRANSLATED = ((ipaddress.IPv6Network("64:ff9b::/96"), 0), (ipaddress.IPv6Network("2002::/16"), 80))


class HostError(ValueError):
    """This is no host name, address, port or entry; the text says why."""


def normal_host(text: str) -> str:
    """Return a host in the one form in which it is compared: lower case, no final dot, addresses in full.

    Brackets around IPv6 addresses may be there or not; the result has none.

    Raises
    ------
    HostError
        For whatever programs might read in different ways: numeric forms, zones, percent signs, letters beyond ASCII.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        return str(_address(bare))
    if not bare.isascii():  # Before it is made lower case, which turns the sign of kelvins into a k.
        raise HostError("a name beyond ASCII has to be written in its xn-- form")
    name = bare.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_NAME_CHARS or bare != text or not all(_LABEL.fullmatch(label) for label in labels):
        raise HostError("not a host name")
    return str(_address(name)) if _NUMBER.fullmatch(labels[-1]) else name


def _address(text: str) -> Address:
    try:
        if "%" in text:
            raise ValueError
        address = ipaddress.ip_address(text)
    except ValueError:
        raise HostError("not an IP address in its usual form") from None
    return unwrapped(address)


def as_address(host: str) -> Address | None:
    """Return a normal host as an address, or None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to: mapped, translated or tunnelled; else the same."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    for network, shift in _TRANSLATED:
        if address in network:
            return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


def kind_of(address: Address) -> Kind:
    """Return what an address is for (the IANA registries of special-purpose addresses)."""
    address = unwrapped(address)
    if address.is_loopback:
        return "loopback"
    if address.is_link_local or address in _METADATA:
        return "link-local"
    if address.is_multicast or address.is_reserved or address.is_unspecified or address in _THIS_NETWORK:
        return "reserved"
    return "public" if address.is_global else "private"


def host_text(host: str, port: int) -> str:
    """Write a normal host and a port as an entry of the list."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_port(text: str) -> int:
    """Read a port. Raises :class:`HostError`."""
    if not _PORT.fullmatch(text) or not 0 < int(text) < 2**16:
        raise HostError("a port is a number from 1 to 65535")
    return int(text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an allow-list.

    Attributes
    ----------
    host : str or Network
        A name, or the addresses.
    below : bool
        Whether names below it are meant, not the name itself.
    ports : tuple of int
    """

    host: str | Network
    below: bool
    ports: tuple[int, ...]

    def matches(self, host: str, port: int) -> bool:
        """Whether it stands for a normal host and a port."""
        if port not in self.ports:
            return False
        address = as_address(host)
        if not isinstance(self.host, str):
            return address is not None and _contains(self.host, address)
        return host.endswith(f".{self.host}") if self.below else host == self.host

    def covers(self, other: Entry) -> bool:
        """Whether it stands for all that another entry stands for."""
        if not set(other.ports) <= set(self.ports):
            return False
        if isinstance(self.host, str) or isinstance(other.host, str):
            same = self.host == other.host and self.below == other.below
            return same or (self.below and str(other.host).endswith(f".{self.host}"))
        return _contains(self.host, other.host.network_address) and _contains(self.host, other.host.broadcast_address)

    def __str__(self) -> str:
        host = str(self.host).removesuffix("/32").removesuffix("/128")
        host = f"[{host}]" if ":" in host else host
        port = "" if self.ports == DEFAULT_PORTS else f":{self.ports[0]}"
        return f"{'*.' if self.below else ''}{host}{port}"


def _contains(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network


def parse_entry(text: str) -> Entry:
    """Read one entry. Raises :class:`HostError`, with what is wrong and, where it is a URL, what to write."""
    text = text.strip()
    if "://" in text:
        raise HostError(f"{text!r} is a URL; name its host alone")
    host, port = _split_port(text)
    ports = DEFAULT_PORTS if port is None else (parse_port(port),)
    try:
        if host.startswith("*."):
            return _wildcard(host[2:], ports)
        if "/" in host:
            return Entry(ipaddress.ip_network(host.strip("[]")), False, ports)
        name = normal_host(host)
    except ValueError as error:
        raise HostError(f"{text!r}: {error}") from None
    address = as_address(name)
    return Entry(name if address is None else ipaddress.ip_network(address), False, ports)


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        return host + bracket, port.removeprefix(":") if port else None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _wildcard(name: str, ports: tuple[int, ...]) -> Entry:
    name = normal_host(name)
    if as_address(name) or "." not in name:
        # All names, or all of one registry's, are no list.
        raise HostError("a wildcard stands before a name of two parts or more, as in *.example.org")
    return Entry(name, True, ports)


class AllowList:
    """What may be reached.

    Parameters
    ----------
    entries : iterable of str
        As people write them. Raises :class:`HostError` for one that is none.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = tuple(parse_entry(entry) for entry in entries)

    def admits_name(self, host: str, port: int) -> bool:
        """Whether a normal host, a name or an address, is on the list with this port."""
        return any(entry.matches(host, port) for entry in self.entries)

    def admits_address(self, host: str, address: Address, port: int, *, own: bool = False) -> bool:
        """Whether an address may be dialled for a host that is on the list; ``own``: it is one of this machine's."""
        address = unwrapped(address)
        if any(entry.matches(str(address), port) for entry in self.entries):
            return True
        kind = kind_of(address)
        if kind == "loopback":
            return host == LOCALHOST
        if own or as_address(host) is not None:
            return False
        exact = any(entry.matches(host, port) and not entry.below for entry in self.entries)
        return kind == "public" or (kind == "private" and exact)

    def covers(self, other: AllowList) -> bool:
        """Whether it stands for all that another list stands for, entry by entry."""
        return all(any(mine.covers(entry) for mine in self.entries) for entry in other.entries)
