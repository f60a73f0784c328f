"""The engine is killed, stopped and started again, while a cell runs and between two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import start_cell, value
from second_engine import SecondEngine, second_engine

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import EngineError, EngineGoneError, EngineNotFoundError, SandboxDiedError
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
    wait_until(lambda: engine.owned() == [])


def process(program: str, second: SecondEngine) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, second.address]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(second: SecondEngine, how: str) -> None:
    second.kill() if how == "killed" else second.stop()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_engine_ends_during_a_cell(second: SecondEngine, client: DockerEngine, how: str) -> None:
    with Sandbox(engine=client, repo="none") as sandbox:
        sandbox.run("x = 1")
        running = start_cell(sandbox, "import time; time.sleep(600)")
        end(second, how)
        with pytest.raises(SandboxDiedError, match=r"variables .*are lost") as caught:
            running.join(60)
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


def test_what_outlives_both_its_owner_and_the_engine_is_swept(second: SecondEngine, client: DockerEngine) -> None:
    """A container that was made and not started: nothing in it could hear that its owner is gone.

    Docker 20.10 removes such a container by itself when it comes back; whoever starts next must not rely on that.
    """
    with process(OWNER, second) as owner:
        assert hear(owner) == "made"
        second.kill()
        os.kill(owner.pid, signal.SIGKILL)
    second.start()
    SessionManager(client).sweep()
    assert client.owned() == []


OWNER = """
import sys
from pathlib import Path
from chorus_nb.config import SandboxConfig
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.engines.owner import owner_label
from chorus_nb.launch import container_spec
engine = DockerEngine(Endpoint(sys.argv[1], "test"))
config = SandboxConfig.from_options(repo="none")
engine.create(container_spec("test", config, engine, engine.capabilities(), Path.cwd(), owner_label()))
print("made", flush=True)
sys.stdin.read()
"""


LOADER = """
import sys
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.sandbox import Sandbox
engine = DockerEngine(Endpoint(sys.argv[1], "test"))
print("loading", flush=True)
with Sandbox(engine=engine, repo="none"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("after_s", [0.1, 0.2])
def test_a_kernel_killed_while_it_loads_its_image_and_starts(
    second: SecondEngine, client: DockerEngine, after_s: float
) -> None:
    client.client.remove_image(client.resolve("mirror").reference, force=True)
    with process(LOADER, second) as loader:
        assert hear(loader) == "loading"
        time.sleep(after_s)
        os.kill(loader.pid, signal.SIGKILL)
    wait_until(lambda: SessionManager(client).sweep() == 0 and client.owned() == [])
    with Sandbox(engine=client, repo="none") as sandbox:
        assert value(sandbox, "1") == "1"


def test_the_disk_of_the_engine_is_full(tmp_path: Path) -> None:
    with second_engine(tmp_path, data_bytes=8 * 2**20) as small:
        client = small.client()
        client.resolve("mirror")
        small.fill_disk()
        with pytest.raises(EngineError, match=r"no space left on device.* Free space on the disk of the engine"):
            Sandbox(engine=client, repo="none").__enter__()
        assert client.owned() == []
