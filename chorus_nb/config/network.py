"""What a sandbox may reach."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .hosts import LOCALHOST, AllowList, HostError, normal_host, parse_entry
from .option import Option, Policy, in_order, options_of

_MAX_ENTRIES = 256


def _listed(value: object) -> object:
    """Take ``a,b`` as two, alone or in a list, so that it may be typed either way."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        return value
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _entry(text: str) -> str:
    return str(parse_entry(text))


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _domain(text: str) -> str:
    name = normal_host(text)
    if re.fullmatch(r"[0-9.:]+", name):
        raise HostError("not a domain")
    return name


def _host_and_address(text: str) -> str:
    name, _, address = text.partition(":")
    return f"{normal_host(name)}:{ipaddress.ip_address(address.strip('[]'))}"


def _proxy_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or not parts.port:
        raise ValueError("not the URL of a proxy")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("not a URL")
    return text


def _names(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("not a list of hosts")
    return text


def _subset(new: Any, old: Any) -> bool:
    # Without a list, the mode alone says what may be reached, and has a rule of its own.
    return old is None or (new is not None and AllowList(old).covers(AllowList(new)))


_Listed = BeforeValidator(_listed)
_AtMost = Field(max_length=_MAX_ENTRIES)
_Entries = Annotated[tuple[Annotated[str, AfterValidator(_entry)], ...], _AtMost]
_Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], _Listed, _AtMost]
_Domains = Annotated[tuple[Annotated[str, AfterValidator(_domain)], ...], _Listed, _AtMost]
_Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host_and_address)], ...], _Listed, _AtMost]
_ProxyUrl = Annotated[str, AfterValidator(_proxy_url)] | None

_ALLOW_WORDS = "HOST, *.HOST, an IP address or network, each with :PORT where that is not 80 or 443"
_PROXY_WORDS = "the URL of a proxy with its port, such as http://proxy.example.org:3128, without user or password"


class NetworkPolicy(Policy):
    """What a sandbox may reach."""

    mode: Annotated[
        Literal["none", "allowlist", "bridge"],
        Option("network", "none, allowlist or bridge", in_order("none", "allowlist", "bridge")),
    ] = "none"
    """Reach nothing, the hosts of ``allow`` alone, or all that the engine's default network reaches. With ``none`` and
    ``allowlist`` there is no interface but loopback; in the second case a proxy listens there, whose connections this
    process makes."""

    # What each entry means is in hosts.py.
    allow: Annotated[_Entries | None, _Listed, Option("allow", _ALLOW_WORDS, _subset, many=True)] = None
    """Hosts that ``allowlist`` lets through. An empty list lets nothing through, and says so by name; None in the other
    modes."""

    dns: Annotated[_Addresses, Option("dns", "the IP addresses of name servers", many=True)] = ()
    """Name servers in a ``bridge``; the engine's own when empty."""
    dns_search: Annotated[_Domains, Option("dns_search", "domains, such as example.org", many=True)] = ()
    """Domains that are tried after short names, in a ``bridge``."""
    add_host: Annotated[_Hosts, Option("add_host", "HOST:IP, such as db.test:192.0.2.7", many=True)] = ()
    """Names and addresses for ``/etc/hosts``, in a ``bridge``."""
    http_proxy: Annotated[_ProxyUrl, Option("http_proxy", _PROXY_WORDS)] = None
    """Proxy for ``http:`` in a ``bridge``, by environment variable. This machine's own settings are never passed in."""
    https_proxy: Annotated[_ProxyUrl, Option("https_proxy", _PROXY_WORDS)] = None
    """Proxy for ``https:`` in a ``bridge``."""
    no_proxy: Annotated[
        Annotated[str, AfterValidator(_names)] | None, Option("no_proxy", "hosts and domains, separated by commas")
    ] = None
    """Where no proxy is used in a ``bridge``."""

    @model_validator(mode="before")
    @classmethod
    def _list_where_there_is_one(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("allow"):
            return values
        return {**values, "allow": () if values.get("mode") == "allowlist" else None}

    @model_validator(mode="after")
    def _of_one_mode(self) -> NetworkPolicy:
        for field, option in options_of(NetworkPolicy):
            mode = _mode_of(field)
            if mode and self.mode != mode and getattr(self, field):
                raise ValueError(
                    f"{option.name} is for network={mode}, and network is {self.mode}. "
                    f"Add --network {mode}, or leave {option.name} out."
                )
        return self

    @classmethod
    def of_mode(cls, values: Mapping[str, Any], given: set[str]) -> dict[str, Any]:
        """Return values without those of another mode that come from an earlier source: a new mode replaces them."""
        wanted = values.get("mode")
        return {name: value for name, value in values.items() if name in given or _mode_of(name) in (None, wanted)}

    def inside(self) -> list[str]:
        """Return the names of loopback that stay the sandbox's own: all that the list has no entry for."""
        hosts = {str(parse_entry(entry).host) for entry in self.allow or ()}
        return [name for name in (LOCALHOST, "127.0.0.1", "::1") if not {name, f"{name}/32", f"{name}/128"} & hosts]

    def proxy_environment(self) -> dict[str, str]:
        """Return the variables that tell programs of the proxies: in both spellings, as they disagree on which."""
        settings = {"http_proxy": self.http_proxy, "https_proxy": self.https_proxy, "no_proxy": self.no_proxy}
        given = {name: value for name, value in settings.items() if value}
        return {**given, **{name.upper(): value for name, value in given.items()}}


def _mode_of(field: str) -> str | None:
    """Return the mode that a field is for."""
    return {"mode": None, "allow": "allowlist"}.get(field, "bridge")
