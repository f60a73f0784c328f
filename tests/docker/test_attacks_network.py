"""What a sandbox reaches of the machine: nothing without a network, and by ``bridge`` no loopback but its own.

Shown by interfaces, routes and rules, and against listeners that these tests start. To connect a datagram socket asks
the kernel for a route and sends nothing.
"""

from __future__ import annotations

import fcntl
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from attempts import REAL_ENGINES, TOOLS, assert_refused, engine_of
from sandboxes import opened, value

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

SIOCGIFADDR = 0x8915
"""``netdevice(7)``."""


@pytest.fixture(scope="module", params=REAL_ENGINES)
def kept(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with opened(engine_of(request, request.param), network="none") as sandbox:
        yield sandbox


class Listener:
    """Listens, and counts who comes."""

    def __init__(self, family: int, address: Any) -> None:
        self.visits = 0
        self._socket = socket.socket(family)
        self._socket.bind(address)
        self._socket.listen()
        self.address = self._socket.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A server on every address of this machine."""
    found = Listener(socket.AF_INET, ("0.0.0.0", 0))
    yield found
    found.close()


def addresses_of_this_machine() -> list[str]:
    """Return its addresses, among them the engine's bridge."""
    found = []
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


# Without a network


def test_there_is_one_interface_and_no_route(sandbox: Sandbox) -> None:
    up = "import os\n[n for n in os.listdir('/sys/class/net') if int(open(f'/sys/class/net/{n}/flags').read(), 16) & 1]"
    assert set(json.loads(value(sandbox, up).replace("'", '"'))) <= {"lo"}
    routes = sandbox.run("print(open('/proc/net/route').read())").stdout.strip().splitlines()
    assert len(routes) <= 1, "the head alone"
    six = sandbox.run(
        "import os\nif os.path.exists('/proc/net/ipv6_route'): print(open('/proc/net/ipv6_route').read())"
    )
    # The other lines are the kernel's own: loopback, and a rule that refuses.
    assert {line.split()[-1] for line in six.stdout.splitlines() if line} <= {"lo"}


UNROUTED = {
    "another machine": ("AF_INET", "192.0.2.1"),
    "link-local services": ("AF_INET", "169.254.169.254"),
    "a private network": ("AF_INET", "10.0.0.1"),
    "multicast": ("AF_INET", "224.0.0.251"),
    "broadcast": ("AF_INET", "255.255.255.255"),
    "another machine by version 6": ("AF_INET6", "2001:db8::1"),
    "link-local services by version 6": ("AF_INET6", "fd00:ec2::254"),
}


@pytest.mark.parametrize(("family", "address"), UNROUTED.values(), ids=UNROUTED)
def test_the_kernel_has_no_route(sandbox: Sandbox, family: str, address: str) -> None:
    assert_refused(sandbox, f"socket.socket(socket.{family}, socket.SOCK_DGRAM).connect(({address!r}, 9))")


def test_no_address_of_this_machine_is_reached(sandbox: Sandbox, listener: Listener) -> None:
    addresses = addresses_of_this_machine()
    assert "127.0.0.1" in addresses
    for address in (*addresses, "::1"):
        assert_refused(sandbox, f"socket.create_connection(({address!r}, {listener.address[1]}), timeout=5)")
    assert listener.visits == 0
    socket.create_connection(("127.0.0.1", listener.address[1])).close()  # It does listen.


def test_a_socket_without_a_file_is_not_reached(sandbox: Sandbox) -> None:
    """The abstract ones belong to the network, not to a folder: those of X servers, and of many daemons."""
    found = Listener(socket.AF_UNIX, "\0chorus-nb-test")
    try:
        assert_refused(sandbox, "socket.socket(socket.AF_UNIX).connect('\\0chorus-nb-test')")
        assert "chorus-nb-test" not in sandbox.run("print(open('/proc/net/unix').read())").stdout
        assert found.visits == 0
    finally:
        found.close()


NETLINK = """
def ask(kind, flags, body):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.bind((0, 0))
    s.send(struct.pack("=IHHII", 16 + len(body), kind, 5 | flags, 1, 0) + body)
    length, answer, _, _, _ = struct.unpack("=IHHII", (data := s.recv(4096))[:16])
    error = -struct.unpack("=i", data[16:20])[0] if answer == 2 else 0
    if error:
        raise OSError(error, os.strerror(error))
"""
CHANGES = {
    "an interface": "ask(16, 0x600, struct.pack('=BxHiII', 0, 0, 0, 0, 0) + struct.pack('=HH', 16, 18)"
    " + struct.pack('=HH', 9, 1) + b'dummy\\0\\0\\0')",
    "an address": "ask(20, 0x600, struct.pack('=BBBBI', 2, 24, 0, 0, 1) + struct.pack('=HH4s', 8, 2, b'\\n\\0\\0\\1'))",
    "a route": "ask(24, 0x600, struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack('=HHI', 8, 4, 1))",
    "an interface down": "ask(16, 0, struct.pack('=BxHiII', 0, 0, 1, 0, 1))",
    "a packet of its own making": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "an IP packet of its own making": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)",
    "a firewall rule": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 6).setsockopt(0, 64, b'')",
    "a tunnel": "os.open('/dev/net/tun', os.O_RDWR)",
    "another network's": "checked(_libc.setns(os.open('/proc/1/ns/net', os.O_RDONLY), 0x40000000))",
    "a network of its own": "checked(_libc.unshare(0x40000000))",
}


@pytest.mark.parametrize("attempt", CHANGES.values(), ids=CHANGES)
def test_the_network_is_not_changed(sandbox: Sandbox, attempt: str) -> None:
    assert_refused(sandbox, NETLINK + attempt)


def test_names_are_not_looked_up(sandbox: Sandbox) -> None:
    result = sandbox.run(TOOLS + "socket.getaddrinfo('example.com', 80)", timeout=30)
    assert result.error is not None
    assert result.error.ename == "gaierror"


# By an allow-list on which nothing of this machine is


def test_by_the_proxy_no_address_of_this_machine_is_reached(kept: Sandbox, listener: Listener) -> None:
    """However it is written: the host decides by the address that it is about to dial."""
    spellings = ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
    spellings += ["localhost.", "LOCALHOST", "allowed.example@localhost", "localhost#allowed.example", "::1%lo"]
    asked = """
import os, socket, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
def connect(host, port):
    with socket.create_connection((proxy.hostname, proxy.port), timeout=10) as s:
        s.sendall(f"CONNECT {host}:{port} HTTP/1.1\\r\\nHost: allowed.example\\r\\n\\r\\n".encode())
        return s.recv(100).decode("latin-1")
"""
    with opened(kept._session.engine, network="allowlist", allow=["allowed.example"]) as sandbox:
        for host in (*addresses_of_this_machine(), *spellings):
            result = sandbox.run(f"{asked}\nprint(connect({host!r}, {listener.address[1]}))", timeout=30)
            assert re.match(r"HTTP/1\.[01] [45]\d\d ", result.stdout), (host, result)
    assert listener.visits == 0


# By the engine's bridge, which is asked for by name


def test_by_the_bridge_the_loopback_is_its_own(docker_engine: DockerEngine) -> None:
    """Other addresses of the machine are what that mode is for, and docs/security.md says so."""
    found = Listener(socket.AF_INET, ("127.0.0.1", 0))
    try:
        with opened(docker_engine, network="bridge") as sandbox:
            assert_refused(sandbox, f"socket.create_connection(('127.0.0.1', {found.address[1]}), timeout=5)")
            routes = sandbox.run("print(open('/proc/net/route').read())").stdout.split("\n", 1)[1].split()
            assert set(routes[::11]) == {"eth0"}, "one way out, by the engine's network"
            for attempt in CHANGES.values():
                if "SOCK_RAW" in attempt or "ask(" in attempt:
                    assert_refused(sandbox, NETLINK + attempt)
    finally:
        found.close()
    assert found.visits == 0
