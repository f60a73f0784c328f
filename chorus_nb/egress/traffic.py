"""What went to which host, in bytes, and what was refused."""

from __future__ import annotations

import threading
from dataclasses import dataclass

_MAX_HOSTS = 256
OTHERS = ("(others)", 0)
"""Where everything is counted once a sandbox has named so many hosts that they must fill nobody's memory."""


@dataclass(frozen=True, slots=True)
class HostTraffic:
    """What a sandbox exchanged with one host.

    Attributes
    ----------
    host : str
        In normal form: a name in lower case, or an address.
    port : int
    sent_bytes, received_bytes : int
        By the sandbox, without the overhead of TCP and IP.
    refused : int
        Connections that the allow-list did not let through.
    rule : str
        Why the latest of them was refused, after the name of the host; empty where none was.
    """

    host: str
    port: int
    sent_bytes: int = 0
    received_bytes: int = 0
    refused: int = 0
    rule: str = ""

    @property
    def name(self) -> str:
        """Host and port, as an entry of the allow-list."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def since(self, earlier: HostTraffic | None) -> HostTraffic:
        """Return the difference to an earlier count of the same host."""
        if earlier is None:
            return self
        return HostTraffic(
            self.host,
            self.port,
            self.sent_bytes - earlier.sent_bytes,
            self.received_bytes - earlier.received_bytes,
            self.refused - earlier.refused,
            self.rule if self.refused > earlier.refused else "",
        )


class Counter:
    """Counts, from any thread. Its numbers only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[tuple[str, int], HostTraffic] = {}

    def add(self, host: str, port: int, *, sent: int = 0, received: int = 0, refused: str = "") -> None:
        """Count bytes, or a refusal with its rule."""
        with self._lock:
            key = (host, port)
            if key not in self._hosts and len(self._hosts) >= _MAX_HOSTS:
                key = OTHERS
            old = self._hosts.get(key, HostTraffic(*key))
            counts = old.sent_bytes + sent, old.received_bytes + received, old.refused + bool(refused)
            self._hosts[key] = HostTraffic(*key, *counts, refused or old.rule)

    def now(self) -> tuple[HostTraffic, ...]:
        """Return the counts, in the order in which the hosts were first asked for."""
        with self._lock:
            return tuple(self._hosts.values())

    def since(self, earlier: tuple[HostTraffic, ...]) -> tuple[HostTraffic, ...]:
        """Return what was added to an earlier :meth:`now`, of the hosts where anything was."""
        before = {(each.host, each.port): each for each in earlier}
        changes = [each.since(before.get((each.host, each.port))) for each in self.now()]
        return tuple(each for each in changes if each.sent_bytes or each.received_bytes or each.refused)


def total(traffic: tuple[HostTraffic, ...]) -> tuple[int, int]:
    """Return the bytes received and sent, of all hosts."""
    return sum(each.received_bytes for each in traffic), sum(each.sent_bytes for each in traffic)
