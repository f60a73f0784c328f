"""The way to the engine is cut, or nothing comes over it any more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from conftest import wait_until
from sandboxes import InterruptedCellError, own_containers, start_cell, value

from chorus_nb import execution
from chorus_nb.engines import docker_container, endpoint
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.errors import EngineError, EngineGoneError, EngineTimeoutError, SandboxDiedError, SandboxStartError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


class Way:
    """A socket in front of the engine's, whose connections a test can cut or silence."""

    def __init__(self, path: Path, engine_socket: str) -> None:
        self.address = f"unix://{path}"
        self.open = threading.Event()
        self.open.set()
        self._engine_socket = engine_socket
        self._ends: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection there is; new ones are taken as before."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.open.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine_socket)
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.open.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def way(tmp_path: Path, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    monkeypatch.setattr(endpoint, "LOOKUP_TIMEOUT_S", 1.0)
    monkeypatch.setattr(execution, "GRACE_S", 1.0)
    monkeypatch.setattr(endpoint, "REQUEST_TIMEOUT_S", 2.0)
    way = Way(tmp_path / "s", docker_engine.endpoint.address.removeprefix("unix://"))
    yield way
    way.close()
    wait_until(lambda: own_containers(docker_engine) == set())


@pytest.fixture
def client(way: Way) -> DockerEngine:
    return DockerEngine(Endpoint(way.address, "test"))


def test_the_stream_is_cut_during_a_cell(way: Way, client: DockerEngine) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("x = 1")
        running = start_cell(sandbox, "import time; time.sleep(600)")
        way.cut()
        with pytest.raises(SandboxDiedError, match=r"variables .*lost"):
            running.join(60)
        wait_until(lambda: sandbox._session.state == "dead")
        assert value(sandbox, "'x' in globals()") == "False"
        assert len(own_containers(client)) == 1


def test_the_stream_is_cut_between_two_cells(way: Way, client: DockerEngine) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("x = 1")
        way.cut()
        wait_until(lambda: sandbox._session.state == "dead")
        with pytest.raises(SandboxDiedError, match=r"variables .*lost"):
            sandbox.run("x")
        assert value(sandbox, "'x' in globals()") == "False"


def test_a_silent_engine_does_not_hold_up_a_start(way: Way, client: DockerEngine) -> None:
    assert own_containers(client) == set()
    way.open.clear()
    started_s = time.monotonic()
    with pytest.raises(EngineTimeoutError, match="in time"), Sandbox(engine=client, repo="none"):
        pass
    assert time.monotonic() - started_s < 30


def test_a_cell_is_interrupted_past_a_silent_engine(way: Way, client: DockerEngine) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        running = start_cell(sandbox, "kept = 1\nimport time; time.sleep(600)")
        way.open.clear()
        sandbox.interrupt()
        with pytest.raises(InterruptedCellError):
            running.join()
        assert value(sandbox, "kept") == "1"
        way.open.set()


def no_socket() -> NoReturn:
    raise OSError("AF_UNIX path too long")


def test_a_cell_can_be_ended_while_the_engine_that_carries_it_is_silent(
    way: Way, client: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_container, "Rendezvous", no_socket)
    with Sandbox(engine=client, repo="none") as sandbox:
        running = start_cell(sandbox, "import time; time.sleep(600)")
        way.open.clear()
        sandbox.interrupt()
        with pytest.raises(EngineGoneError, match=r"in time.* variables .*lost"):
            running.join(30)
        way.open.set()
        assert value(sandbox, "'time' in globals()") == "False"
        assert len(own_containers(client)) == 1


def test_an_engine_that_is_silent_for_a_while_costs_nothing(
    way: Way, client: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "GRACE_S", 20.0)
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("x = 1")
        running = start_cell(sandbox, "import time; time.sleep(600)")
        way.open.clear()
        sandbox.interrupt()
        time.sleep(0.5)
        way.open.set()
        with pytest.raises(InterruptedCellError):
            running.join(60)
        assert value(sandbox, "x") == "1"


def test_a_sandbox_is_closed_although_the_engine_is_silent(way: Way, client: DockerEngine) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("1")
        way.open.clear()
    assert sandbox._session.state == "closed"
    way.open.set()


def test_a_call_that_is_cut_off_is_made_again(way: Way, client: DockerEngine) -> None:
    assert own_containers(client) == set()
    way.open.clear()
    asked = threading.Timer(0.3, lambda: (way.cut(), way.open.set()))
    asked.start()
    assert own_containers(client) == set()
    asked.join()


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.25, 0.35])
def test_a_start_that_is_cut_off_leaves_nothing(way: Way, client: DockerEngine, after_s: float) -> None:
    client.resolve("mirror")
    cutting = threading.Timer(after_s, way.cut)
    cutting.start()
    cut_off = contextlib.suppress(EngineError, SandboxStartError, SandboxDiedError)
    with cut_off, Sandbox(engine=client, repo="none") as sandbox:
        cutting.join()
        sandbox.run("1")
    cutting.join()

    def is_made_up_for() -> bool:
        """An engine that was cut off while it made a container may have it only now."""
        with Sandbox(engine=client, repo="none"):
            pass
        return own_containers(client) == set()

    wait_until(is_made_up_for)
