"""The extension in a real Jupyter kernel on a real engine: loading, interrupts, the end of the kernel."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipykernel.compiler import get_file_name
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from chorus_nb.engines.base import OWNER_LABEL, SESSION_LABEL
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import owner_label

pytestmark = pytest.mark.docker


class Kernel:
    """A running kernel, and the output of its last cell."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel(cwd=str(folder))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.messages: list[dict[str, Any]] = []
        self.pid = self.manager.provisioner.pid  # type: ignore[union-attr]

    def run(
        self,
        code: str,
        on_message: Callable[[dict[str, Any]], None] = lambda _: None,
        on_question: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        self.messages = []

        def hook(message: dict[str, Any]) -> None:
            self.messages.append(message)
            on_message(message)

        return self.client.execute_interactive(
            code,
            timeout=90,
            output_hook=hook,
            allow_stdin=on_question is not None,
            stdin_hook=on_question,
        )["content"]

    @property
    def text(self) -> str:
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    def end(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)


@contextmanager
def loaded(folder: Path) -> Iterator[Kernel]:
    """Start a kernel that has the extension loaded."""
    kernel = Kernel(folder)
    try:
        assert kernel.run("%load_ext chorus_nb")["status"] == "ok"
        yield kernel
    finally:
        kernel.end()


@pytest.fixture
def kernel(tmp_path: Path, docker_engine: DockerEngine) -> Iterator[Kernel]:
    """A kernel that has just started."""
    with loaded(tmp_path) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Iterator[Kernel]:
    """A kernel for tests that leave it as usable as they found it."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "data.txt").write_text("of the host")
    with loaded(folder) as kernel:
        yield kernel


def containers_of(engine: DockerEngine, pid: int) -> list[str]:
    return [labels[SESSION_LABEL] for _, labels in engine.owned() if labels[OWNER_LABEL].split("/")[3] == str(pid)]


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        time.sleep(0.1)


def test_a_cell_runs_beside_the_notebook(shared: Kernel) -> None:
    reply = shared.run("%%sandbox\nprint(open('data.txt').read())\nimport os; os.getcwd()")
    assert reply["status"] == "ok"
    assert shared.text == "of the host\n"
    results = [m["content"] for m in shared.messages if m["msg_type"] == "execute_result"]
    assert [result["data"]["text/plain"] for result in results] == ["'/workspace'"]
    assert results[0]["execution_count"] == reply["execution_count"]


def test_loading_prepares_the_first_sandbox(kernel: Kernel, docker_engine: DockerEngine) -> None:
    wait_for(lambda: containers_of(docker_engine, kernel.pid) == ["default"])
    kernel.run("%%sandbox\n1")
    assert containers_of(docker_engine, kernel.pid) == ["default"]


def test_the_strip_is_the_first_output_and_its_text_never_changes(shared: Kernel) -> None:
    shared.run("%%sandbox\nimport time\nprint('hello')\ntime.sleep(1)")
    shown = [m["content"] for m in shared.messages if m["msg_type"] in ("display_data", "update_display_data")]
    assert [m["msg_type"] for m in shared.messages].index("display_data") < [
        m["msg_type"] for m in shared.messages
    ].index("stream")
    assert {each["data"]["text/plain"] for each in shown} == {"sandbox default"}
    assert any("application/vnd.jupyter.widget-view+json" in each["data"] for each in shown)
    last = shown[-1]
    assert "application/vnd.jupyter.widget-view+json" not in last["data"]
    assert last["metadata"]["chorus_nb"]["usage"]["duration_s"] >= 1


def test_an_interrupt_of_the_kernel_interrupts_the_cell_and_keeps_its_state(shared: Kernel) -> None:
    shared.run("%%sandbox\nx = 5")
    asked_at = 0.0

    def interrupt(message: dict[str, Any]) -> None:
        nonlocal asked_at
        if message["msg_type"] == "stream" and "waiting" in message["content"]["text"]:
            asked_at = time.monotonic()
            os.kill(shared.pid, signal.SIGINT)

    reply = shared.run("%%sandbox\nimport time\nprint('waiting', flush=True)\ntime.sleep(60)", interrupt)
    assert reply["status"] == "error"
    assert "KeyboardInterrupt" in reply["evalue"]
    # Half a second, as promised, and room for a machine that does other things too. It was not killed: x is there.
    assert time.monotonic() - asked_at < 30
    assert shared.run("%%sandbox\nassert x == 5")["status"] == "ok"


def test_input_and_getpass_ask_in_the_notebook(shared: Kernel) -> None:
    asked: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> None:
        asked.append(message["content"])
        shared.client.input(f"answer {len(asked)}")

    code = "%%sandbox\nimport getpass\nprint(input('name? '), getpass.getpass('key? '), sep=', ')"
    assert shared.run(code, on_question=answer)["status"] == "ok"
    assert shared.text == "answer 1, answer 2\n"
    assert asked == [{"prompt": "name? ", "password": False}, {"prompt": "key? ", "password": True}]


def test_an_interrupt_of_the_kernel_while_it_asks_interrupts_the_cell(shared: Kernel) -> None:
    shared.run("%%sandbox\nx = 5")
    reply = shared.run("%%sandbox\ninput()", on_question=lambda _: os.kill(shared.pid, signal.SIGINT))
    assert "KeyboardInterrupt" in reply["evalue"]
    assert shared.run("%%sandbox\nassert x == 5")["status"] == "ok"


def test_a_question_ends_with_its_container(shared: Kernel, docker_engine: DockerEngine) -> None:
    def remove(_: dict[str, Any]) -> None:
        for container_id, labels in docker_engine.owned():
            if labels[OWNER_LABEL].split("/")[3] == str(shared.pid):
                docker_engine.remove_id(container_id)

    assert shared.run("%%sandbox\ninput()", on_question=remove)["ename"] == "SandboxDiedError"
    assert shared.run("%%sandbox\n1")["status"] == "ok"


def test_where_the_front_end_can_not_ask_the_cell_fails_and_does_not_hang(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in ("%load_ext chorus_nb", "%%sandbox\ninput('name? ')")]
    with pytest.raises(CellExecutionError, match="StdinNotImplementedError"):
        NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_what_follows_the_result_stays_below_it(shared: Kernel) -> None:
    """As the figures of the inline backend do, and each value where IPython shows the value of every line."""
    shared.run("%%sandbox every --gauge off\nget_ipython().ast_node_interactivity = 'all'")
    reply = shared.run("%%sandbox every --gauge off\n1\n2\nprint('below')\n3")
    shown = [m for m in shared.messages if m["msg_type"] in ("execute_result", "stream")]
    assert [m["content"].get("text") or m["content"]["data"]["text/plain"] for m in shown] == ["1", "2", "below\n", "3"]
    results = [m["content"] for m in shown if m["msg_type"] == "execute_result"]
    assert {result["execution_count"] for result in results} == {reply["execution_count"]}


def test_errors_name_the_cell_as_the_notebook_does(shared: Kernel) -> None:
    """By the number of its prompt, and by the file name that its text has in ipykernel."""
    reply = shared.run("%%sandbox --gauge off\n1 / 0")
    assert f"In[{reply['execution_count']}]" in re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(reply["traceback"]))
    reply = shared.run("%%sandbox --gauge off\nx = = 2")
    assert Path(get_file_name("x = = 2")).name in reply["evalue"]


def test_text_appears_while_the_cell_runs(shared: Kernel) -> None:
    seen: list[float] = []

    def note(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            seen.append(time.monotonic())

    shared.run("%%sandbox\nimport time\nprint('first', flush=True)\ntime.sleep(2)\nprint('second')", note)
    assert shared.text == "first\nsecond\n"
    assert seen[1] - seen[0] > 1


@pytest.mark.parametrize("how", ["shutdown", "restart", "kill"])
def test_nothing_is_left_when_the_kernel_ends(kernel: Kernel, docker_engine: DockerEngine, how: str) -> None:
    kernel.run("%%sandbox\nx = 1")
    kernel.run("%%sandbox other --memory 256m\nx = 1")
    pid = kernel.pid
    assert sorted(containers_of(docker_engine, pid)) == ["default", "other"]
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    elif how == "restart":
        kernel.manager.restart_kernel(now=False)
    else:
        kernel.manager.shutdown_kernel(now=False)
    wait_for(lambda: not containers_of(docker_engine, pid))


def test_a_start_sweeps_what_a_dead_owner_left(kernel: Kernel, docker_engine: DockerEngine) -> None:
    """A container that was created and never started outlives its owner: nothing closes the input of its agent."""
    mirror = docker_engine.resolve("mirror")
    machine, boot, namespace, _, start = owner_label().split("/")
    body = {
        "Image": mirror.reference,
        "Cmd": ["true"],
        "Labels": {OWNER_LABEL: f"{machine}/{boot}/{namespace}/4194300/{start}"},
    }
    stray = docker_engine.client.create_container_from_config(body)["Id"]
    second = Kernel(Path.cwd())
    try:
        second.run("%load_ext chorus_nb")
        wait_for(lambda: stray not in [container_id for container_id, _ in docker_engine.owned()])
        assert containers_of(docker_engine, kernel.pid) == ["default"]
    finally:
        second.end()
        docker_engine.remove_id(stray)


def test_without_an_engine_the_cell_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    kernel = Kernel(tmp_path)
    try:
        assert kernel.run("%load_ext chorus_nb")["status"] == "ok"
        reply = kernel.run("%%sandbox\n1")
        assert reply["ename"] == "EngineNotFoundError"
        assert "Start Docker" in reply["evalue"]
        assert len(reply["traceback"]) == 1
        assert kernel.run("1 + 1")["status"] == "ok"
    finally:
        kernel.end()
