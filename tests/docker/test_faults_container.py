"""What happens to a container, its agent and its worker from outside and inside while they are needed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from conftest import wait_until
from sandboxes import InterruptedCellError, opened, start_cell, value

from chorus_nb import execution
from chorus_nb.conversation import Request
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import (
    AgentSilentError,
    ExecutionTimeoutError,
    SandboxDiedError,
    WorkerDiedError,
)
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def sandbox(docker_engine: DockerEngine) -> Iterator[Sandbox]:
    with opened(docker_engine) as sandbox:
        sandbox.run("x = 1")
        yield sandbox


@pytest.fixture
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "GRACE_S", 1.0)


def container_id(sandbox: Sandbox) -> str:
    container = sandbox._session._container
    assert container is not None
    return container.id


def signal_agent(engine: DockerEngine, sandbox: Sandbox, number: signal.Signals) -> None:
    """Send a signal to PID 1 of the container from the host, where it is not protected as it is from inside."""
    pid = engine.client.inspect_container(container_id(sandbox))["State"]["Pid"]
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, "kill", f"-{number.value}", str(pid)], check=True)


def is_lost_and_anew(sandbox: Sandbox) -> bool:
    wait_until(lambda: sandbox._session.state == "dead")
    return value(sandbox, "'x' in globals()") == "False"


# The container


def test_a_cell_goes_on_after_a_pause(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "import time; time.sleep(0.5); print('done')")
    docker_engine.client.pause(container_id(sandbox))
    time.sleep(1)
    docker_engine.client.unpause(container_id(sandbox))
    assert [message.content["text"] for message in running.join()] == ["done\n"]
    assert value(sandbox, "x") == "1"


@pytest.mark.usefixtures("_short_grace")
def test_a_cell_of_a_paused_container_can_be_ended(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    running = start_cell(sandbox, SLEEP)
    docker_engine.client.pause(container_id(sandbox))
    sandbox.interrupt()
    with pytest.raises(SandboxDiedError, match=r"it was paused.* variables are lost.*`docker unpause") as caught:
        running.join(60)
    assert not caught.value.state_kept
    assert is_lost_and_anew(sandbox)


@pytest.mark.usefixtures("_short_grace")
def test_a_time_limit_ends_a_cell_of_a_paused_container(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    docker_engine.client.pause(container_id(sandbox))
    with pytest.raises(ExecutionTimeoutError, match=r"longer than 0\.2 s") as caught:
        sandbox.run("1", timeout=0.2)
    assert not caught.value.state_kept
    assert is_lost_and_anew(sandbox)


def test_a_paused_container_that_is_asked_for_figures_is_named(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    docker_engine.client.pause(container_id(sandbox))
    with pytest.raises(AgentSilentError, match="is paused") as caught:
        sandbox._session.request(Request("usage_request", {}), "usage_reply", timeout_s=0.5)
    command = caught.value.next_step.partition("`")[2].partition("`")[0]
    assert command.startswith("docker unpause")
    subprocess.run(["sh", "-c", command], check=True)
    assert value(sandbox, "x") == "1"


def test_a_container_killed_from_outside_during_a_cell(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    running = start_cell(sandbox, SLEEP)
    docker_engine.client.kill(container_id(sandbox))
    with pytest.raises(SandboxDiedError, match="removed or killed") as caught:
        running.join(60)
    assert caught.value.exit_code in (137, None)
    assert is_lost_and_anew(sandbox)


@pytest.mark.parametrize("busy", [True, False])
def test_an_engine_stops_a_container_at_once(docker_engine: DockerEngine, sandbox: Sandbox, busy: bool) -> None:
    running = start_cell(sandbox, SLEEP) if busy else None
    started_s = time.monotonic()
    docker_engine.client.stop(container_id(sandbox), timeout=60)
    assert time.monotonic() - started_s < 40, "it does not wait for a process that ignores it"
    with pytest.raises(SandboxDiedError):
        running.join(60) if running else sandbox.run("x")
    assert is_lost_and_anew(sandbox)


# The agent


def test_an_agent_that_is_killed(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    running = start_cell(sandbox, SLEEP)
    signal_agent(docker_engine, sandbox, signal.SIGKILL)
    with pytest.raises(SandboxDiedError, match="variables are lost"):
        running.join(60)
    assert is_lost_and_anew(sandbox)


def test_an_agent_that_is_stopped_goes_on_where_it_was(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "print('one', flush=True); import time; time.sleep(0.3); print('two')")
    signal_agent(docker_engine, sandbox, signal.SIGSTOP)
    time.sleep(1)
    signal_agent(docker_engine, sandbox, signal.SIGCONT)
    assert "".join(message.content["text"] for message in running.join()) == "one\ntwo\n"


@pytest.mark.usefixtures("_short_grace")
def test_a_cell_whose_agent_is_stopped_can_be_ended(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    running = start_cell(sandbox, SLEEP)
    signal_agent(docker_engine, sandbox, signal.SIGSTOP)
    sandbox.interrupt()
    with pytest.raises(SandboxDiedError, match=r"did not answer the interrupt within 2 s\. Its container was ended"):
        running.join(60)
    assert is_lost_and_anew(sandbox)


# The worker


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_a_signal_ends(sandbox: Sandbox, number: signal.Signals) -> None:
    with pytest.raises(WorkerDiedError, match=f"ended by signal {number.value}.* are lost") as caught:
        sandbox.run(f"import os; os.kill(os.getpid(), {number.value})")
    assert (caught.value.signal, caught.value.state_kept) == (number, False)
    assert value(sandbox, "'x' in globals()") == "False"


def test_a_worker_that_runs_into_a_segmentation_fault(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    before = container_id(sandbox)
    with pytest.raises(WorkerDiedError, match=f"signal {signal.SIGSEGV.value}"):
        sandbox.run("import ctypes; ctypes.string_at(0)")
    assert value(sandbox, "'x' in globals()") == "False"
    assert container_id(sandbox) == before


def test_a_worker_that_stops_itself_is_killed_after_an_interrupt(sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    time.sleep(0.3)
    sandbox.interrupt()
    with pytest.raises(WorkerDiedError, match="did not yield to the interrupt within 3 s"):
        running.join(60)
    assert value(sandbox, "'x' in globals()") == "False"


def test_a_worker_that_is_stopped_and_let_go_on_yields(sandbox: Sandbox) -> None:
    stop_and_go = "kill -STOP {os.getpid()}; sleep 1; kill -CONT {os.getpid()}"
    start = f"import os, subprocess\nsubprocess.Popen(['sh', '-c', f'{stop_and_go}'], start_new_session=True)\n"
    running = start_cell(sandbox, f"{start}while True: pass")
    time.sleep(0.5)
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join(60)
    assert value(sandbox, "x") == "1"
