"""The sandbox kernel on a real engine: its replies, its end, and what a hostile notebook tries on the host."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from chorus_nb import kernelspec
from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker


class Manager(KernelManager):
    options: tuple[str, ...] = ()
    interrupt_mode = "signal"

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**{**kernelspec.kernel_json(self.options), "interrupt_mode": self.interrupt_mode})


class Kernel:
    """A running sandbox kernel, and the messages of its last cell."""

    def __init__(self, folder: Path, *options: str, interrupt_mode: str = "signal", **environment: str) -> None:
        self.folder = folder
        self.manager = Manager()
        self.manager.options, self.manager.interrupt_mode = options, interrupt_mode
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, **environment})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.messages: list[dict[str, Any]] = []

    @property
    def pid(self) -> int:
        pid: int = self.manager.provisioner.pid  # type: ignore[union-attr]
        return pid

    def run(self, code: str, on_message: Callable[[dict[str, Any]], None] | None = None, **asked: Any) -> Any:
        """Run a cell; return the content of its reply."""
        self.messages = []

        def hook(message: dict[str, Any]) -> None:
            self.messages.append(message)
            if on_message:
                on_message(message)

        return self.client.execute_interactive(code, timeout=90, output_hook=hook, **asked)["content"]

    def ok(self, code: str) -> None:
        reply = self.run(code)
        assert reply["status"] == "ok", reply

    @property
    def text(self) -> str:
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    @property
    def result(self) -> Any:
        (result,) = [m["content"] for m in self.messages if m["msg_type"] == "execute_result"]
        return result

    def end(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)


KernelMaker = Callable[..., Kernel]


@pytest.fixture
def make_kernel(tmp_path: Path, docker_engine: DockerEngine) -> Iterator[KernelMaker]:
    made: list[Kernel] = []

    def make(*options: str, **environment: str) -> Kernel:
        made.append(Kernel(tmp_path, *options, **environment))
        return made[-1]

    yield make
    for kernel in made:
        kernel.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Iterator[Kernel]:
    """A kernel for tests that leave it as usable as they found it."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "data.txt").write_text("of the repository")
    kernel = Kernel(folder, SECRET="of the host")
    yield kernel
    kernel.end()


def containers_of(engine: DockerEngine, pid: int) -> list[str]:
    return [identity for identity, labels in engine.owned() if labels[OWNER_LABEL].split("/")[3] == str(pid)]


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        time.sleep(0.05)


# A cell is a cell


def test_a_cell_runs_in_the_sandbox_and_looks_like_any_other(shared: Kernel) -> None:
    reply = shared.run("import os\nprint(open('data.txt').read())\n(os.getcwd(), 'SECRET' in os.environ)")
    assert shared.text == "of the repository\n"
    assert shared.result["data"]["text/plain"] == "('/workspace', False)"
    assert shared.result["execution_count"] == reply["execution_count"]
    kinds = [m["msg_type"] for m in shared.messages]
    assert kinds == ["status", "execute_input", "stream", "execute_result", "status"]


def test_files_that_a_cell_wrote_show_and_no_file_of_the_host_does(shared: Kernel, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n" + b"of the host")
    tmp_path.chmod(0o755)
    shared.ok(f"""
import os
from IPython.display import FileLink, HTML, Markdown, display
picture = b"\\x89PNG\\r\\n\\x1a\\n" + bytes(20)
open("/tmp/plot.png", "wb").write(picture)
os.symlink({str(secret)!r}, "/tmp/link.png")
os.mkfifo("/tmp/fifo.png")
display(HTML("<img src='/tmp/plot.png'>"), Markdown("![](/tmp/plot.png)"), FileLink("/tmp/plot.png"))
display(FileLink("data.txt"))
for path in ({str(secret)!r}, "/tmp/link.png", "/tmp/fifo.png", "../../../../../../../..{secret}", "/tmp", "/dev/zero"):
    display(HTML(f"<p>{{path}}</p><img src='{{path}}'>"))
""")
    shown = [m["content"]["data"] for m in shared.messages if m["msg_type"] == "display_data"]
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
    assert f'<img src="data:image/png;base64,{picture}">' in shown[0]["text/html"]
    assert shown[1]["text/markdown"] == f"![](data:image/png;base64,{picture})"
    assert 'download="plot.png"' in shown[2]["text/html"]
    assert base64.b64encode(b"of the repository").decode() in shown[3]["text/html"], "files of the repository are, too"
    assert len(shown) == 10
    said = [data["text/html"] for data in shown[4:]]
    assert [text.count(" (no file of the sandbox that can be read)") for text in said] == [1] * 6
    assert not [text for text in said if "data:" in text or "<img" in text]
    later = "import threading\nthreading.Timer(0.3, lambda: display(HTML(\"<img src='/tmp/plot.png'>\"))).start()"
    shared.ok(later)
    late = shared.client.get_iopub_msg(timeout=30)
    assert picture in late["content"]["data"]["text/html"]


def test_the_count_is_that_of_the_sandbox(shared: Kernel) -> None:
    reply = shared.run("'marker'")
    assert shared.run("")["execution_count"] == reply["execution_count"]
    shared.ok(f"assert Out[{reply['execution_count']}] == 'marker' and In[-1].startswith('assert'), (Out, In)")
    # A sandbox that begins anew goes on counting where the notebook does.
    assert shared.run("import os; os._exit(1)")["ename"] == "WorkerDiedError"
    count = shared.run("1 + 1")["execution_count"]
    assert count == reply["execution_count"] + 3
    assert shared.result["execution_count"] == count
    shared.ok(f"assert Out == {{{count}: 2}}, Out")


def test_an_error_has_the_sandboxes_traceback_and_stops_what_follows(shared: Kernel) -> None:
    reply = shared.run("def f():\n    1 / 0\nf()")
    assert (reply["ename"], reply["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert "1 / 0" in "\n".join(reply["traceback"]).replace("\x1b[39m", "") or len(reply["traceback"]) > 2
    (shown,) = [m["content"] for m in shared.messages if m["msg_type"] == "error"]
    assert shown == {key: reply[key] for key in ("ename", "evalue", "traceback")}
    assert shared.run("x = = 1")["ename"] == "SyntaxError"


def test_user_expressions_are_evaluated_in_the_sandbox(shared: Kernel) -> None:
    shared.ok("inside = 6")
    expressions = {"a": "inside * 7", "b": "1 / 0", "c": "__import__('os').environ.get('SECRET')", "d": "'x' * 10**8"}
    values = shared.run("1", user_expressions=expressions)["user_expressions"]
    assert values["a"]["data"]["text/plain"] == "42"
    assert (values["b"]["status"], values["b"]["ename"]) == ("error", "ZeroDivisionError")
    assert values["c"]["data"]["text/plain"] == "None"
    assert (values["d"]["status"], values["d"]["ename"]) == ("error", "ValueError")
    assert shared.run("1 / 0", user_expressions=expressions)["user_expressions"] == {}


def test_a_silent_cell_shows_no_result_and_is_not_counted(shared: Kernel) -> None:
    count = shared.run("1")["execution_count"]
    shared.run("'quiet'", silent=True)
    assert [m["msg_type"] for m in shared.messages] == ["status", "status"]
    assert shared.run("1")["execution_count"] == count + 1


def test_input_asks_in_the_front_end(shared: Kernel) -> None:
    shared.run("print(input('name? '))", allow_stdin=True, stdin_hook=lambda _: shared.client.input("Ada"))
    assert shared.text == "Ada\n"
    assert shared.run("input()", allow_stdin=False)["ename"] == "StdinNotImplementedError"


def test_completion_and_inspection_know_the_sandbox_alone(shared: Kernel) -> None:
    shared.ok("only_in_sandbox = 1\ndef greet():\n    'Say hello.'")

    def matches(code: str) -> list[str]:
        found: list[str] = shared.client.complete(code, reply=True, timeout=30)["content"]["matches"]
        return found

    assert matches("x = 1\nonly_in_") == ["only_in_sandbox"]
    assert matches("get_ipython().kern") == []
    assert shared.client.inspect("greet", reply=True, timeout=30)["content"]["found"]
    assert not shared.client.inspect("get_ipython().kernel", reply=True, timeout=30)["content"]["found"]


def test_what_a_cell_used_is_in_the_metadata_of_its_reply(shared: Kernel) -> None:
    message = shared.client.execute_interactive("x = bytearray(60_000_000)", timeout=60, output_hook=lambda _: None)
    assert message["metadata"]["chorus_nb"]["usage"]["memory_peak_bytes"] > 60_000_000
    shared.ok("del x")


def test_history_is_that_of_the_notebook(shared: Kernel) -> None:
    shared.ok("remembered = 1")
    reply = shared.client.history(hist_access_type="tail", n=1, reply=True, timeout=30)
    assert reply["content"]["history"][-1][2] == "remembered = 1"


def test_sandbox_lines_look_after_the_session(shared: Kernel) -> None:
    shared.ok("kept = 1")
    shared.ok("%sandbox status")
    assert "default" in shared.text
    shared.ok("%sandbox restart")
    assert shared.run("kept")["ename"] == "NameError"
    shared.ok("%%sandbox other --memory 128m\nelsewhere = 1")
    assert shared.run("elsewhere")["ename"] == "NameError"
    shared.ok("%sandbox stop other")


def test_a_cell_that_is_too_large_is_refused_and_the_next_one_runs(shared: Kernel) -> None:
    assert shared.run("x = '" + "y" * 20_000_000 + "'")["status"] == "error"
    shared.ok("1")


# Hostile notebooks


@pytest.mark.parametrize(
    "code",
    [
        "get_ipython().kernel",
        "%%host\nopen('{0}', 'w')",
        "%run {0}",
        "!touch {0}",
        "%%bash\ntouch {0}",
        "%%writefile {0}\nx",
        "%sandbox status {{open('{0}', 'w')}}",
        "%sandbox status $(touch {0})",
        "%sandbox status\nopen('{0}', 'w')",
        "%sandbox status; open('{0}', 'w')",
        "%%sandbox default {{open('{0}', 'w')}}\n1",
        "%%sandbox x --env HOME={{open('{0}','w')}}\n1",
        "%load_ext chorus_nb\n%sandbox off\nopen('{0}', 'w')",
        "%sandbox put {0} x",
        "import builtins, sys; open('{0}', 'w')",
    ],
)
def test_no_cell_reaches_the_host(shared: Kernel, tmp_path: Path, code: str) -> None:
    tmp_path.chmod(0o777)
    marker = tmp_path / "marker"
    shared.run(code.format(marker), user_expressions={"x": f"open({str(marker)!r}, 'w')"})
    assert not marker.exists()
    assert "SECRET" not in json.dumps(shared.messages, default=str)


@pytest.mark.parametrize(
    "options",
    [
        *("--repo rw", "--memory 4g", "--cpus 3", "--pids 1000", "--env SECRET", "--env LD_PRELOAD=/workspace/x.so"),
        *("--output trusted", "--bg --output trusted", "--matrix memory=1g --output trusted"),
    ],
)
def test_a_cell_may_not_loosen_the_policy(shared: Kernel, options: str) -> None:
    reply = shared.run(f"%%sandbox loose --fresh {options}\n1")
    assert reply["ename"] == "PolicyLoosenedError"
    assert "of the host" not in json.dumps(reply)


def ask(kernel: Kernel, msg_type: str, content: dict[str, Any], channel: str = "shell") -> dict[str, Any]:
    """Send a request that no method of the client sends; return the reply's content."""
    message = kernel.client.session.msg(msg_type, content)
    getattr(kernel.client, f"{channel}_channel").send(message)
    while True:
        reply = getattr(kernel.client, f"get_{channel}_msg")(timeout=30)
        if reply["parent_header"]["msg_id"] == message["header"]["msg_id"]:
            found: dict[str, Any] = reply["content"]
            return found


def test_a_debugger_gets_nothing(shared: Kernel) -> None:
    info = ask(shared, "kernel_info_request", {})
    assert "debugger" not in info["supported_features"]
    for command in ("initialize", "attach", "evaluate", "inspectVariables", "dumpCell"):
        request = {"type": "request", "seq": 1, "command": command, "arguments": {"expression": "1", "code": "1"}}
        assert ask(shared, "debug_request", request, "control")["success"] is False


def test_a_comm_that_nobody_waits_for_is_closed(shared: Kernel) -> None:
    message = shared.client.session.msg("comm_open", {"comm_id": "c", "target_name": "os.system", "data": {"x": "id"}})
    shared.client.shell_channel.send(message)
    wait_for(lambda: shared.client.get_iopub_msg(timeout=30)["msg_type"] == "comm_close")
    shared.ok("1")


def test_a_module_in_the_folder_does_not_stand_in_for_one_of_the_host(
    make_kernel: KernelMaker, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    marker = tmp_path_factory.mktemp("host") / "marker"
    modules = (
        "json nh3 jedi anywidget ipywidgets PIL matplotlib debugpy psutil pandas comm docker chorus_nb zmq tomllib"
    )
    for name in modules.split():
        (tmp_path / f"{name}.py").write_text(f"try: open({str(marker)!r}, 'w')\nexcept OSError: pass\n")
    for name in ("ipython_config", "ipython_kernel_config", "jupyter_config", "startup/00-first"):
        for folder in (tmp_path, tmp_path / "profile_default"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')\n")
    kernel = make_kernel("--gauge=on")
    kernel.ok("import time; time.sleep(0.5)")
    kernel.run("%sandbox panel")
    kernel.run("print(1)\nimport psutil")
    ask(kernel, "usage_request", {}, "control")
    kernel.client.complete("impor", reply=True, timeout=30)
    assert not marker.exists()


# Its life


@pytest.mark.parametrize("mode", ["signal", "message"])
def test_an_interrupt_is_heeded_soon_and_keeps_the_variables(make_kernel: KernelMaker, mode: str) -> None:
    kernel = make_kernel(interrupt_mode=mode)
    kernel.ok("x = 5")
    asked_at: list[float] = []

    def interrupt(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            asked_at.append(time.monotonic())
            kernel.manager.interrupt_kernel()

    reply = kernel.run("import time\nprint('waiting', flush=True)\ntime.sleep(60)", interrupt)
    # Half a second, as promised, and room for a machine that does other things too. It was not killed: x is there.
    assert time.monotonic() - asked_at[0] < 30
    assert reply["ename"] == "KeyboardInterrupt"
    kernel.ok("assert x == 5")


def test_an_interrupt_while_the_sandbox_starts_is_heeded(make_kernel: KernelMaker, docker_engine: DockerEngine) -> None:
    kernel = make_kernel()
    kernel.ok("%sandbox stop default")

    def interrupt(message: dict[str, Any]) -> None:
        if message["msg_type"] == "execute_input":
            time.sleep(0.1)
            kernel.manager.interrupt_kernel()

    assert kernel.run("1", interrupt)["ename"] == "KeyboardInterrupt"
    kernel.ok("1")
    assert len(containers_of(docker_engine, kernel.pid)) == 1


@pytest.mark.parametrize("how", ["shutdown", "restart", "kill"])
def test_nothing_is_left_when_it_ends(make_kernel: KernelMaker, docker_engine: DockerEngine, how: str) -> None:
    kernel = make_kernel()
    kernel.ok("x = 1")
    pid = kernel.pid
    assert len(containers_of(docker_engine, pid)) == 1
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    elif how == "restart":
        kernel.manager.restart_kernel(now=False)
        kernel.client.wait_for_ready(timeout=60)
        assert kernel.run("x")["ename"] == "NameError"
    else:
        kernel.manager.shutdown_kernel(now=False)
    wait_for(lambda: not containers_of(docker_engine, pid))


def test_a_restart_while_a_cell_runs_leaves_nothing(make_kernel: KernelMaker, docker_engine: DockerEngine) -> None:
    kernel = make_kernel()
    kernel.ok("x = 1")
    pid = kernel.pid
    kernel.client.execute("while True: pass")
    time.sleep(0.5)
    kernel.manager.restart_kernel(now=False)
    kernel.client.wait_for_ready(timeout=60)
    wait_for(lambda: not containers_of(docker_engine, pid))
    assert kernel.run("x")["ename"] == "NameError"


def test_the_next_cell_says_that_the_sandbox_died(make_kernel: KernelMaker, docker_engine: DockerEngine) -> None:
    kernel = make_kernel()
    kernel.ok("x = 1")
    docker_engine.remove_id(containers_of(docker_engine, kernel.pid)[0])
    time.sleep(0.5)
    assert kernel.run("x")["ename"] == "SandboxDiedError"
    assert kernel.run("x")["ename"] == "NameError"


def test_without_an_engine_each_cell_says_what_to_do(make_kernel: KernelMaker, tmp_path: Path) -> None:
    kernel = make_kernel(DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    for _ in range(2):
        reply = kernel.run("1 + 1")
        assert reply["ename"] == "EngineNotFoundError"
        assert "Start Docker" in reply["evalue"]
    assert kernel.client.complete("zi", reply=True, timeout=30)["content"]["matches"] == []


# What comes with a notebook


def test_the_repository_and_the_notebook_tighten(make_kernel: KernelMaker, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.chorus-nb]\nmemory = '256m'\ntimeout = '2s'\n")
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"metadata": {"chorus": {"pids": 32}}, "cells": [], "nbformat": 4, "nbformat_minor": 5}))
    kernel = make_kernel(JPY_SESSION_NAME=str(path))
    kernel.ok("%sandbox config")
    assert "256m" in kernel.text
    assert "32" in kernel.text
    for cell in ("while True: pass", "%%sandbox default --timeout 60\nwhile True: pass"):
        assert kernel.run(cell)["ename"] == "ExecutionTimeoutError"


def test_where_they_would_loosen_no_cell_runs_until_that_is_mended(make_kernel: KernelMaker, tmp_path: Path) -> None:
    table = tmp_path / "pyproject.toml"
    table.write_text("[tool.chorus-nb]\nnetwork = 'bridge'\n")
    kernel = make_kernel()
    for cell in ("1", "%%sandbox\n1", "%sandbox start"):
        reply = kernel.run(cell)
        assert reply["ename"] == "PolicyLoosenedError"
        assert "pyproject.toml" in reply["evalue"]
    table.unlink()
    kernel.ok("1")


def test_options_of_the_kernelspec_are_the_users(make_kernel: KernelMaker, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.chorus-nb]\nmemory = '128m'\n")
    kernel = make_kernel("--memory=2g", "--env=GREETING=hello", "--gauge=on")
    kernel.ok("import os; print(os.environ['GREETING'])\nx = bytearray(200_000_000)")
    assert kernel.text == "hello\n"
    shown = [m["content"]["data"] for m in kernel.messages if m["msg_type"] == "display_data"]
    assert [data["text/plain"] for data in shown] == ["sandbox default"]
