"""The engine is killed, stopped and started again, while a cell runs and between two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from conftest import wait_until
from sandboxes import start_cell, value
from second_engine import SecondEngine, second_engine

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import EngineGoneError, EngineNotFoundError, SandboxDiedError
from chorus_nb.manager import SessionManager
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", params=["ends with it", "live-restore"])
def second(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondEngine]:
    options = ["--live-restore"] if request.param == "live-restore" else []
    with second_engine(tmp_path_factory.mktemp("engine"), *options) as engine:
        yield engine


@pytest.fixture
def client(second: SecondEngine) -> Iterator[DockerEngine]:
    engine = second.client()
    yield engine
    assert engine.owned() == []


def end(second: SecondEngine, how: str) -> None:
    second.kill() if how == "killed" else second.stop()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_engine_ends_during_a_cell(second: SecondEngine, client: DockerEngine, how: str) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("x = 1")
        running = start_cell(sandbox, "import time; time.sleep(600)")
        end(second, how)
        with pytest.raises(SandboxDiedError, match=r"variables .*are lost") as caught:
            running.join(20)
        assert not caught.value.state_kept
        assert isinstance(caught.value, EngineGoneError) or how == "stopped"  # One that stops still tells how it ended.
        with pytest.raises(EngineNotFoundError):
            sandbox.run("1")
        second.start()
        assert value(sandbox, "'x' in globals()") == "False"
        assert len(client.owned()) == 1, "the container of before is gone"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_engine_ends_between_two_cells(second: SecondEngine, client: DockerEngine, how: str) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("x = 1")
        end(second, how)
        second.start()
        with pytest.raises(SandboxDiedError, match=r"variables .*are lost"):
            sandbox.run("print(x)")
        assert value(sandbox, "'x' in globals()") == "False"
        assert len(client.owned()) == 1


def test_a_sandbox_can_be_closed_without_its_engine(second: SecondEngine, client: DockerEngine) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("1")
        second.kill()
        wait_until(lambda: sandbox._session.state == "dead")
    second.start()


def test_an_engine_that_comes_back_at_once_is_not_missed(second: SecondEngine, client: DockerEngine) -> None:
    assert client.owned() == []
    second.stop()
    starting = threading.Timer(0.1, second.start)
    starting.start()
    time.sleep(0.05)
    try:
        assert client.owned() == []
    finally:
        starting.join()


OWNER = """
import os, signal, sys
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.sandbox import Sandbox
engine = DockerEngine(Endpoint(sys.argv[1], "test"))
sandbox = Sandbox(engine=engine, repo="none").__enter__()
state = engine.client.inspect_container(sandbox._session._container.id)["State"]
os.kill(state["Pid"], signal.SIGSTOP)  # So that it can't hear that its owner is gone.
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_outlives_both_its_owner_and_the_engine_is_swept(second: SecondEngine, client: DockerEngine) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, second.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        second.kill()
        os.kill(owner.pid, signal.SIGKILL)
    second.start()
    assert SessionManager(client).sweep() == second.keeps_containers
