"""The host's side of the network by the pipe, with the test in the place of a sandbox that need not be honest."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from conftest import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus_nb.agent.proxy import MAX_CONNECTIONS, PIECE_BYTES, WINDOW_BYTES
from chorus_nb.agent.wire import Message
from chorus_nb.config import NetworkPolicy
from chorus_nb.egress import Egress, HostTraffic, denied, egress_notice
from chorus_nb.egress.traffic import OTHERS, Counter
from chorus_nb.errors import AgentProtocolError
from chorus_nb.kernel import error_content


class Sandbox:
    """Says what a test wants said, and hears the answers."""

    made: ClassVar[list[Sandbox]] = []

    def __init__(self, *allow: str) -> None:
        self.made.append(self)
        self.heard: queue.Queue[tuple[str, dict[str, Any], tuple[bytes, ...]]] = queue.Queue()
        policy = NetworkPolicy(mode="allowlist", allow=allow)
        self.egress = Egress(policy, lambda *message: self.heard.put(message))

    def say(self, kind: str, number: object = 1, *buffers: bytes, **content: object) -> None:
        message = Message(f"egress_{kind}", {"connection": number, **content}, buffers=list(buffers))
        assert self.egress.take(message)

    def hear(self, kind: str) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        found, content, buffers = self.heard.get(timeout=60)
        assert found == f"egress_{kind}", content
        return content, buffers

    def opened(self, host: str, port: int, number: int = 1) -> None:
        self.say("open", number, host=host, port=port)
        assert self.hear("opened")[0] == {"connection": number}

    def refused(self, host: str, port: int, number: int = 1) -> str:
        """Ask for what is refused; return the reason."""
        self.say("open", number, host=host, port=port)
        content, _ = self.hear("refused")
        assert (content["connection"], content["status"]) == (number, 403)
        return str(content["reason"])


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in ("chorus-egress", "chorus-lookup")]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    while Sandbox.made:
        Sandbox.made.pop().egress.end()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        yield listening


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@pytest.fixture
def sandbox(server: socket.socket) -> Iterator[Sandbox]:
    """A sandbox that may reach the server."""
    before = descriptors()
    sandbox = Sandbox(f"127.0.0.1:{port_of(server)}")
    yield sandbox
    sandbox.egress.end()
    wait_until(lambda: not threads() and descriptors() <= before)


Accept = Callable[[], socket.socket]


@pytest.fixture
def peer(sandbox: Sandbox, server: socket.socket) -> Iterator[socket.socket]:
    """The server's end of connection 1."""
    sandbox.opened("127.0.0.1", port_of(server))
    connection, _ = server.accept()
    connection.settimeout(10)
    with connection:
        yield connection


# Bytes


def test_bytes_go_both_ways_and_are_counted(sandbox: Sandbox, peer: socket.socket, server: socket.socket) -> None:
    sandbox.say("data", 1, b"question")
    assert peer.recv(100) == b"question"
    assert sandbox.hear("credit") == ({"connection": 1, "bytes": 8}, ())
    peer.sendall(b"the answer")
    assert sandbox.hear("data") == ({"connection": 1}, (b"the answer",))
    assert sandbox.egress.traffic == (HostTraffic("127.0.0.1", port_of(server), 8, 10),)


def test_each_side_ends_by_itself(sandbox: Sandbox, peer: socket.socket) -> None:
    sandbox.say("data", 1, b"all of it")
    sandbox.say("end")
    assert peer.recv(100) == b"all of it"
    assert peer.recv(100) == b""
    sandbox.hear("credit")
    peer.sendall(b"late")
    peer.close()
    assert sandbox.hear("data")[1] == (b"late",)
    sandbox.hear("end")


def test_a_server_that_resets_closes_the_connection(sandbox: Sandbox, peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    sandbox.hear("close")
    sandbox.say("data", 1, b"what was on its way")  # It did not know yet.
    sandbox.say("end")
    sandbox.say("close")


def test_a_sandbox_that_closes_has_its_socket_closed(sandbox: Sandbox, peer: socket.socket) -> None:
    sandbox.say("close")
    assert peer.recv(1) == b""


def test_a_slow_sandbox_holds_the_server_up(sandbox: Sandbox, peer: socket.socket) -> None:
    peer.setblocking(False)
    sent = 0
    give_up_at = time.monotonic() + 1
    while time.monotonic() < give_up_at:
        try:
            sent += peer.send(b"x" * PIECE_BYTES)
        except BlockingIOError:
            time.sleep(0.01)
    pieces = [sandbox.hear("data")[1][0] for _ in range(sandbox.heard.qsize())]
    assert sum(map(len, pieces)) == WINDOW_BYTES
    assert sandbox.egress.traffic[0].received_bytes == WINDOW_BYTES < sent
    sandbox.say("credit", bytes=10)
    assert len(sandbox.hear("data")[1][0]) == 10


def test_a_slow_server_holds_the_sandbox_up(sandbox: Sandbox, peer: socket.socket) -> None:
    sent = credit = 0
    while sent - credit < WINDOW_BYTES:
        sandbox.say("data", 1, b"x" * PIECE_BYTES)
        sent += PIECE_BYTES
        try:
            while sent - credit >= WINDOW_BYTES:
                credit += sandbox.heard.get(timeout=0.5)[1]["bytes"]
        except queue.Empty:
            break  # The buffers of the connection are full.
    assert sent < 64 * 2**20
    with pytest.raises(AgentProtocolError, match="can't be in it"):
        sandbox.say("data", 1, b"x" * PIECE_BYTES)


def test_a_hundred_connections_leave_nothing(sandbox: Sandbox, server: socket.socket) -> None:
    before = descriptors()
    for number in range(1, 101):
        sandbox.opened("127.0.0.1", port_of(server), number)
        peer, _ = server.accept()
        if number % 2:
            peer.close()
            sandbox.hear("end")
            sandbox.say("end", number)
        else:
            sandbox.say("close", number)
            assert peer.recv(1) == b""
            peer.close()
    sandbox.egress.end()
    wait_until(lambda: not threads() and descriptors() <= before)


def test_no_more_than_so_many_at_a_time(sandbox: Sandbox, server: socket.socket) -> None:
    for number in range(1, MAX_CONNECTIONS + 1):
        sandbox.opened("127.0.0.1", port_of(server), number)
    sandbox.say("open", 1000, host="127.0.0.1", port=port_of(server))
    assert sandbox.hear("refused")[0]["status"] == 503
    sandbox.say("reset", 0)
    sandbox.opened("127.0.0.1", port_of(server), 1001)


def test_the_end_closes_what_is_open_and_the_next_sandbox_begins_anew(
    sandbox: Sandbox, peer: socket.socket, server: socket.socket
) -> None:
    sandbox.egress.end()
    assert peer.recv(1) == b""
    wait_until(lambda: not threads())
    sandbox.say("open", 5, host="127.0.0.1", port=port_of(server))  # The last words of one that is gone.
    assert not threads()
    sandbox.egress.begin()
    sandbox.opened("127.0.0.1", port_of(server), 1)


# What is refused


@pytest.mark.parametrize("host", ["example.org", "127.0.0.2", "::1", "localhost", "www.allowed.test.evil.test", "org"])
def test_what_is_not_on_the_list_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    asked = answers(monkeypatch, "127.0.0.1")
    sandbox = Sandbox("allowed.test", "*.allowed.test", "127.0.0.1")
    name = f"[{host}]:443" if ":" in host else f"{host}:443"
    assert sandbox.refused(host, 443) == f"{name} is not on the allow-list of this sandbox."
    assert sandbox.egress.traffic == (HostTraffic(host, 443, refused=1, rule="is not on the allow-list"),)
    assert asked == [], "looking it up would tell its name servers"


@pytest.mark.parametrize(
    "host", ["0x7f.1", "allowed.test\0", "allowed.test%2e", "a@allowed.test", "\x1b[31m", "x" * 900]
)
def test_what_is_no_host_is_refused_and_shown_harmlessly(host: str) -> None:
    sandbox = Sandbox("allowed.test")
    assert "can't be looked up" in sandbox.refused(host, 443)
    (counted,) = sandbox.egress.traffic
    assert counted.host.isprintable()
    assert len(counted.host) <= 80


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Have each look-up answered so; return the list of the names that are looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("169.254.169.254", "a link-local address"),
        ("0.0.0.0", "a reserved address"),
    ],
)
def test_a_name_that_leads_elsewhere_than_names_should_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, kind: str
) -> None:
    answers(monkeypatch, address)
    sandbox = Sandbox("rebound.test")
    reason = sandbox.refused("rebound.test", 443)
    assert reason.startswith(f"rebound.test:443 leads to {address}, {kind}")
    assert sandbox.egress.traffic[0].rule == f"leads to {kind}"


def test_an_address_in_the_clothes_of_another_version_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "::ffff:127.0.0.1")
    assert "leads to 127.0.0.1, a loopback address" in Sandbox("rebound.test").refused("rebound.test", 443)


def test_a_wildcard_reaches_no_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "10.255.255.1")
    sandbox = Sandbox("*.rebound.test")
    assert "leads to 10.255.255.1, a private address" in sandbox.refused("www.rebound.test", 443)


def test_an_address_of_this_machine_is_not_reached_by_a_name(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    answers(monkeypatch, "127.0.0.1")
    monkeypatch.setattr("chorus_nb.config.hosts.kind_of", lambda _: "public")
    sandbox = Sandbox(f"own.test:{port_of(server)}")
    assert "own.test" in sandbox.refused("own.test", port_of(server))


def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_dialled(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    asked = answers(monkeypatch, "169.254.169.254", "127.0.0.1")
    port = port_of(server)
    sandbox = Sandbox(f"name.test:{port}", f"127.0.0.1:{port}")
    sandbox.opened("name.test", port)
    assert asked == ["name.test"]


def test_a_look_up_that_hangs_holds_up_nobody_and_ends_with_the_session(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20))
    sandbox = Sandbox("slow.test", f"127.0.0.1:{port_of(server)}")
    sandbox.say("open", 1, host="slow.test", port=443)
    sandbox.opened("127.0.0.1", port_of(server), 2)
    sandbox.egress.end()
    wait_until(lambda: "chorus-egress" not in threads())
    release.set()
    wait_until(lambda: not threads())


def test_a_host_that_is_allowed_and_not_there_is_no_refusal(server: socket.socket) -> None:
    port = port_of(server)
    server.close()
    sandbox = Sandbox(f"127.0.0.1:{port}")
    sandbox.say("open", 1, host="127.0.0.1", port=port)
    content, _ = sandbox.hear("refused")
    assert content["status"] == 502
    assert content["reason"].startswith(f"127.0.0.1:{port}: connection refused.")
    assert sandbox.egress.traffic == ()


def test_a_proxy_of_the_host_that_is_not_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.test:1")
    sandbox = Sandbox("example.org")
    sandbox.say("open", 1, host="example.org", port=443)
    reason = sandbox.hear("refused")[0]["reason"]
    assert reason.startswith("example.org can't be looked up on this machine: Name or service not known.")
    assert "HTTPS_PROXY" in reason
    assert "secret" not in reason


# What no honest sandbox says


@pytest.mark.parametrize(
    ("kind", "content", "buffers"),
    [
        ("open", {"host": "a.test"}, []),
        ("open", {"port": 80}, []),
        ("open", {"host": "a.test", "port": 0}, []),
        ("open", {"host": "a.test", "port": 65536}, []),
        ("open", {"host": "a.test", "port": True}, []),
        ("open", {"host": "a.test", "port": "80"}, []),
        ("open", {"host": ["a.test"], "port": 80}, []),
        ("open", {"host": "a" * 1001, "port": 80}, []),
        ("open", {"host": "a.test", "port": 80}, [b"x"]),
        ("open", {"host": "a.test", "port": 80, "connection": 1}, []),
        ("open", {"host": "a.test", "port": 80, "connection": 2**53}, []),
        ("open", {"host": "a.test", "port": 80, "connection": "2"}, []),
        ("open", {"host": "a.test", "port": 80, "connection": None}, []),
        ("data", {}, []),
        ("data", {}, [b""]),
        ("data", {}, [b"x", b"y"]),
        ("data", {}, [b"x" * (PIECE_BYTES + 1)]),
        ("data", {"connection": 7}, [b"x"]),
        ("data", {"connection": -1}, [b"x"]),
        ("data", {"connection": 1.0}, [b"x"]),
        ("end", {}, [b"x"]),
        ("end", {"connection": 7}, []),
        ("credit", {}, []),
        ("credit", {"bytes": 0}, []),
        ("credit", {"bytes": -5}, []),
        ("credit", {"bytes": True}, []),
        ("credit", {"bytes": 1}, []),
        ("credit", {"bytes": 10**30}, []),
        ("close", {"connection": 7}, []),
        ("opened", {}, []),
        ("nonsense", {}, []),
    ],
)
def test_what_can_not_be_ends_the_sandbox(
    sandbox: Sandbox, peer: socket.socket, kind: str, content: dict[str, Any], buffers: list[bytes]
) -> None:
    with pytest.raises(AgentProtocolError):
        sandbox.egress.take(Message(f"egress_{kind}", {"connection": 1, **content}, buffers=buffers))


def test_an_end_comes_once(sandbox: Sandbox, peer: socket.socket) -> None:
    sandbox.say("end")
    with pytest.raises(AgentProtocolError):
        sandbox.say("end")


def test_a_sandbox_without_an_allow_list_may_not_even_ask() -> None:
    for mode in ("none", "bridge"):
        egress = Egress(NetworkPolicy(mode=mode), lambda *_: None)
        with pytest.raises(AgentProtocolError, match="a network that it has not"):
            egress.take(Message("egress_open", {"connection": 1, "host": "a.test", "port": 80}))
        assert not egress.take(Message("stream", {}))


def test_asking_without_hearing_the_answers_fills_no_memory() -> None:
    sandbox = Sandbox()
    stuck = threading.Event()
    sandbox.egress = Egress(NetworkPolicy(mode="allowlist"), lambda *_: stuck.wait(20) and None)
    with pytest.raises(AgentProtocolError, match="without hearing"):  # noqa: PT012
        for number in range(1, 10_000):
            sandbox.say("open", number, host=f"{number}.test", port=80)
    stuck.set()


_JSON = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)
_KINDS = ["open", "data", "credit", "end", "close", "reset", "opened", ""]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(_KINDS),
            st.dictionaries(st.sampled_from(["connection", "host", "port", "bytes"]), _JSON | st.integers(1, 9)),
            st.lists(st.binary(max_size=3), max_size=2),
        ),
        max_size=12,
    )
)
def test_any_messages_are_taken_or_end_the_sandbox(
    messages: list[tuple[str, dict[str, Any], list[bytes]]],
) -> None:
    sandbox = Sandbox()
    try:
        for kind, content, buffers in messages:
            sandbox.egress.take(Message(f"egress_{kind}", content, buffers=buffers))
    except AgentProtocolError:
        pass
    finally:
        sandbox.egress.end()


# What it costs, and what is said of it


def test_bytes_are_added_to_the_figures_of_the_interfaces() -> None:
    sandbox = Sandbox("a.test")
    sandbox.egress._counter.add("a.test", 443, sent=5, received=7)
    sandbox.egress.begin()
    sandbox.egress._counter.add("a.test", 443, sent=1, received=2)
    figures = {"network_rx_bytes": 100, "network_tx_bytes": 0}
    usage = sandbox.egress.counted(Message("resource_usage", dict(figures))).content
    sample = sandbox.egress.counted(Message("resource_sample", dict(figures))).content
    assert usage == {"network_rx_bytes": 102, "network_tx_bytes": 1}
    assert sample == {"network_rx_bytes": 109, "network_tx_bytes": 6}
    assert sandbox.egress.since_begin() == (HostTraffic("a.test", 443, 1, 2),)
    hostile = Message("resource_usage", {"network_rx_bytes": "many"})
    assert sandbox.egress.counted(hostile).content == hostile.content
    assert sandbox.egress.counted(Message("stream", {})).content == {}


def test_names_without_end_fill_no_memory() -> None:
    counter = Counter()
    for number in range(2000):
        counter.add(f"{number}.test", 443, refused="is not on the allow-list")
    counts = counter.now()
    assert len(counts) == 257
    assert (counts[-1].host, counts[-1].port, counts[-1].refused) == (*OTHERS, 2000 - 256)


LISTED = "is not on the allow-list"


@pytest.mark.parametrize(
    ("traffic", "text"),
    [
        (
            [HostTraffic("example.org", 443, refused=2, rule=LISTED)],
            "The network of this sandbox refused example.org:443, which is not on the allow-list. "
            "To let it through, add --allow example.org and make the session anew with --fresh.",
        ),
        (
            [HostTraffic("a.test", 8080, refused=1, rule=LISTED), HostTraffic("b.test", 80, 5, 5)],
            "The network of this sandbox refused a.test:8080, which is not on the allow-list. "
            "To let it through, add --allow a.test:8080 and make the session anew with --fresh.",
        ),
        (
            [HostTraffic("a.test", 443, refused=1, rule="leads to a private address")],
            "The network of this sandbox refused a.test:443, which leads to a private address. "
            "To let it through, allow that address as well; the program was told which one it is.",
        ),
        (
            [HostTraffic("0x7f.1", 443, refused=1, rule="is no host name")],
            "The network of this sandbox refused 0x7f.1:443, which is no host name. "
            "A host is a name such as example.org, or an IP address.",
        ),
    ],
)
def test_a_refusal_names_the_host_and_the_way_out(traffic: list[HostTraffic], text: str) -> None:
    error = denied(traffic, ["the cell's own traceback"])
    assert error is not None
    assert str(error) == text
    assert error.hosts == ((traffic[0].host, traffic[0].port),)
    assert error._render_traceback_() == ["the cell's own traceback", f"\x1b[31mEgressDeniedError\x1b[0m: {text}"]
    assert egress_notice(traffic) == f"[sandbox] {text}\n"
    content = error_content(error)  # As the sandbox kernel says it.
    assert (content["ename"], content["evalue"]) == ("EgressDeniedError", text)


def test_many_refusals_are_one_sentence_and_none_is_nothing() -> None:
    many = [HostTraffic(f"{number}.test", 80, refused=1, rule=LISTED) for number in range(40)]
    assert "4.test:80" in egress_notice(many)
    assert "5.test:80" not in egress_notice(many)
    assert "; and 35 more." in egress_notice(many)
    assert denied([HostTraffic("a.test", 80, 1, 1)], []) is None
    assert egress_notice([]) == ""


# What is answered here


@pytest.mark.parametrize("mode", ["allowlist", "bridge"])
def test_a_service_is_answered_here_and_is_no_traffic(mode: Any) -> None:
    heard: queue.Queue[tuple[str, dict[str, Any], tuple[bytes, ...]]] = queue.Queue()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    async def connect() -> socket.socket:
        return theirs

    sandbox = Sandbox()
    sandbox.heard = heard
    sandbox.egress = Egress(NetworkPolicy(mode=mode), lambda *message: heard.put(message), {"a.invalid": connect})
    with ours:
        sandbox.opened("a.invalid", 443)
        ours.sendall(b"answer")
        assert sandbox.hear("data") == ({"connection": 1}, (b"answer",))
        assert sandbox.egress.traffic == ()
        assert "not on the allow-list" in sandbox.refused("b.invalid", 443, 2)
        assert "not on the allow-list" in sandbox.refused("A.invalid", 443, 3), "its name is spelt in one way"
