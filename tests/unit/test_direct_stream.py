"""The stream past the engine: who may connect, what is fallen back to, and how the two streams end together."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chorus_nb.engines import direct_stream
from chorus_nb.engines.attach import AttachedStream
from chorus_nb.engines.direct_stream import DirectStream, Rendezvous, sweep_sockets

STDOUT, STDERR = 1, 2
TOKEN = "of this container alone"


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


class Container:
    """The other end of everything, in the hands of a test."""

    def __init__(self, buffered: bytes = b"") -> None:
        here, self.engine = socket.socketpair()
        rendezvous = Rendezvous()
        self.address = Path(rendezvous.mount.source)
        self.stream = DirectStream(AttachedStream(here, buffered), rendezvous, TOKEN)
        self.agent = socket.socket(socket.AF_UNIX)

    def connect(self) -> None:
        self.agent.connect(str(self.address))
        self.agent.sendall(TOKEN.encode())

    def connected(self) -> Container:
        self.connect()
        self.agent.sendall(b"hello")
        assert self.stream.receive() == b"hello"
        return self

    def close(self) -> None:
        self.stream.close()
        self.engine.close()
        self.agent.close()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        yield


@pytest.fixture
def container() -> Iterator[Container]:
    made = Container()
    yield made
    made.close()


def test_bytes_go_both_ways_by_the_socket_and_nobody_else_can_connect(container: Container) -> None:
    container.stream.send(b"boot")
    assert container.engine.recv(100) == b"boot"
    container.connected()
    container.stream.send(b"request")
    assert container.agent.recv(100) == b"request"
    assert not list(container.address.parent.iterdir())


def test_one_connection_is_taken_and_the_next_one_is_refused(container: Container) -> None:
    inode = os.open(container.address, os.O_PATH)  # As a mount keeps it, when its name is gone.
    container.connected()
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as other:
        other.connect(f"/proc/self/fd/{inode}")
    os.close(inode)


@pytest.mark.parametrize("said", [b"", b"of", b"of another container now"])
def test_who_does_not_know_the_word_is_not_heard(
    container: Container, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(direct_stream, "_WORD_S", 0.1)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(container.address))
        other.sendall(said)
        container.connected()
        with contextlib.suppress(ConnectionResetError):
            assert other.recv(100) == b""


def test_nobody_else_on_this_machine_reaches_the_socket(container: Container) -> None:
    assert container.address.parent.stat().st_mode & 0o777 == 0o700


def test_an_agent_that_does_not_connect_has_its_standard_streams(container: Container) -> None:
    container.engine.sendall(frame(STDERR, b"why") + frame(STDOUT, b"first"))
    assert container.stream.receive() == b"first"
    assert container.stream.diagnostics == "why"
    with pytest.raises(OSError, match="No such file"):
        container.connect()
    container.stream.send(b"request")
    assert container.engine.recv(100) == b"request"
    container.engine.close()
    assert container.stream.receive() == b""


def test_what_came_with_the_answer_to_attaching_is_received() -> None:
    container = Container(frame(STDOUT, b"early"))
    assert container.stream.receive() == b"early"
    container.close()


def test_beside_the_socket_standard_error_is_kept_and_standard_output_is_not(container: Container) -> None:
    container.connected()
    container.engine.sendall(frame(STDOUT, b"forged") + frame(STDERR, b"why"))
    wait_for = threading.Timer(0.2, container.agent.sendall, [b"genuine"])
    wait_for.start()
    assert container.stream.receive() == b"genuine"
    assert container.stream.diagnostics == "why"


def test_the_last_words_are_heard_whichever_stream_ends_first(container: Container) -> None:
    container.connected()
    container.agent.sendall(b"last")
    container.engine.sendall(frame(STDERR, b"why"))
    container.engine.close()
    container.agent.close()
    assert container.stream.receive() == b"last"
    assert container.stream.receive() == b""
    assert container.stream.diagnostics == "why"
    with pytest.raises(ConnectionError):
        container.stream.send(b"x")


def test_last_words_that_come_after_the_end_of_the_other_stream_are_heard(container: Container) -> None:
    container.connected()
    container.engine.close()
    wait_for = threading.Timer(0.2, container.agent.sendall, [b"last"])
    wait_for.start()
    assert container.stream.receive() == b"last"


def test_an_agent_that_goes_on_talking_is_not_heard_for_long(container: Container) -> None:
    """As where the engine was killed, and its container runs on."""
    container.connected()
    container.engine.close()
    talking = threading.Thread(target=talk, args=(container.agent,))
    talking.start()
    heard = iter(container.stream.receive, b"")
    assert set(b"".join(heard)) == {ord("x")}
    talking.join(10)
    assert not talking.is_alive()


def talk(agent: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            agent.sendall(b"x")
            time.sleep(0.01)


def test_descriptors_that_are_sent_along_are_not_taken(container: Container) -> None:
    container.connected()
    before = len(os.listdir("/proc/self/fd"))
    with open(os.devnull) as file:
        socket.send_fds(container.agent, [b"with them"], [file.fileno()] * 200)
    assert container.stream.receive() == b"with them"
    assert len(os.listdir("/proc/self/fd")) == before


def test_starts_leave_no_descriptor_behind() -> None:
    Container().connected().close()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        container = Container(b"" if number % 2 else frame(STDERR, b"early"))
        if number % 3:
            container.connected()
        container.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("first", ["agent", "engine"])
def test_a_stream_that_stays_open_when_the_other_has_ended_is_closed(
    container: Container, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(direct_stream, "_GRACE_S", 0.05)
    container.connected()
    getattr(container, first).close()
    assert container.stream.receive() == b""
    other = container.engine if first == "agent" else container.agent
    assert other.recv(100) == b""


@pytest.mark.parametrize("connected", [True, False])
def test_closing_wakes_who_receives(container: Container, connected: bool) -> None:
    if connected:
        container.connected()
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(container.stream.receive()), daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    container.stream.close()
    container.stream.close()
    reader.join(60)
    assert received == [b""]
    assert not list(container.address.parent.iterdir())


def test_closing_ends_a_send_that_nobody_takes(container: Container) -> None:
    container.connected()
    errors: list[type[Exception]] = []

    def flood() -> None:
        try:
            container.stream.send(bytes(64 << 20))
        except ConnectionError as error:
            errors.append(type(error))

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    sender.join(0.2)
    assert sender.is_alive()
    container.stream.close()
    sender.join(60)
    assert errors == [ConnectionError]


def test_a_fork_lets_go_of_both(container: Container) -> None:
    container.connected()
    direct = container.stream._direct
    assert direct is not None
    descriptors = [direct.fileno(), container.stream._attached.fileno()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Other tests' threads may be running.
        child = os.fork()
    if child == 0:
        os._exit(sum(os.path.exists(f"/proc/self/fd/{each}") for each in descriptors))
    assert os.waitpid(child, 0)[1] == 0
    container.stream.send(b"still here")
    assert container.agent.recv(100) == b"still here"


def test_where_no_socket_can_be_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("a" * 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    with pytest.raises(OSError, match="too long"):
        Rendezvous()
    assert not list((folder / "chorus-nb" / "sockets").iterdir())


def test_no_socket_is_made_where_podman_would_take_its_name_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a,b"))
    with pytest.raises(OSError, match="Podman"):
        Rendezvous()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_is_swept_and_what_another_one_waits_at_is_not(container: Container) -> None:
    script = """
import os, signal
from chorus_nb.engines.direct_stream import Rendezvous
print(Rendezvous().mount.source, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    left = Path(killed.stdout.strip())
    assert left.is_socket()
    sweep_sockets()
    assert sorted(container.address.parent.iterdir()) == [
        container.address,
        container.address.with_suffix(".owner"),
    ]
    assert not left.exists()
