"""Cells in the background, in several sandboxes and under ``%sandbox on``, in a real kernel on a real engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from test_kernel import Kernel, containers_of, wait_for

from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("notebook"))
    assert kernel.run("%load_ext chorus_nb")["status"] == "ok"
    yield kernel
    kernel.end()


@pytest.fixture
def kernel(kept: Kernel) -> Iterator[Kernel]:
    """The module's kernel, whose cells run in it again at the end of the test."""
    yield kept
    kept.run("%sandbox off")


def value(kernel: Kernel, code: str) -> str:
    """Run a cell that must succeed; return its value as text."""
    reply = kernel.run(code)
    assert reply["status"] == "ok", reply
    results = [m["content"]["data"]["text/plain"] for m in kernel.messages if m["msg_type"] == "execute_result"]
    return results[0] if results else ""


def later(kernel: Kernel, parent: str, until: str, timeout_s: float = 30.0) -> list[dict[str, Any]]:
    """Return the messages that a cell sends after its end, up to one of a type."""
    found: list[dict[str, Any]] = []
    give_up_at = time.monotonic() + timeout_s
    while not found or found[-1]["msg_type"] != until:
        message = kernel.client.get_iopub_msg(timeout=give_up_at - time.monotonic())
        if message["parent_header"].get("msg_id") == parent:
            found.append(message)
    return found


def test_a_background_cell_speaks_in_its_own_name(kernel: Kernel) -> None:
    code = (
        "%%sandbox --bg\nimport sys, time\nfrom IPython.display import clear_output, display\n"
        "time.sleep(1)\nprint('first'); clear_output()\nprint('out')\nprint('err', file=sys.stderr)\n"
        "handle = display('shown', display_id=True); handle.update('updated')\n1 / 0"
    )
    kernel.run(code)
    parent = kernel.messages[0]["parent_header"]["msg_id"]
    assert kernel.text == ""
    assert value(kernel, "'meanwhile'") == "'meanwhile'"
    messages = later(kernel, parent, "error")
    said = [(m["content"]["name"], m["content"]["text"]) for m in messages if m["msg_type"] == "stream"]
    assert said == [("stdout", "first\n"), ("stdout", "out\n"), ("stderr", "err\n")]
    types = [m["msg_type"] for m in messages]
    assert types.index("clear_output") < types.index("display_data") < len(types) - 1
    assert "'updated'" in [m["content"]["data"].get("text/plain") for m in messages if "data" in m["content"]]
    error = messages[-1]["content"]
    assert (error["ename"], error["evalue"]) == ("ExecutionError", "ZeroDivisionError: division by zero")
    assert "chorus_nb" not in "".join(error["traceback"])


def test_a_strip_of_a_background_cell_ends_with_its_figures(kernel: Kernel) -> None:
    kernel.run("%%sandbox --bg\nimport time; time.sleep(1)")
    kernel.run("_.result()")
    pictures = [m["content"] for m in kernel.messages if m["msg_type"] == "update_display_data"]
    assert pictures[-1]["metadata"]["chorus_nb"]["state"] == "done"


def running_of(engine: DockerEngine, pid: int) -> list[str]:
    owned = [each for each, labels in engine.owned() if labels[OWNER_LABEL].split("/")[3] == str(pid)]
    return [each for each in owned if engine.inspect_id(each).status == "running"]


def test_nothing_is_left_of_background_cells_when_the_kernel_ends(tmp_path: Path, docker_engine: DockerEngine) -> None:
    kernel = Kernel(tmp_path)
    kernel.run("%load_ext chorus_nb")
    kernel.run("%%sandbox a --bg\nimport time; time.sleep(600)")
    kernel.run("%%sandbox a --bg\nimport time; time.sleep(600)")
    kernel.run("%%sandbox b --bg\nimport time; time.sleep(600)")
    pid = kernel.pid
    # Whoever is killed between creating and starting one leaves that to the next start.
    wait_for(lambda: len(running_of(docker_engine, pid)) == 2)
    began_s = time.monotonic()
    kernel.end()
    assert time.monotonic() - began_s < 20
    wait_for(lambda: not containers_of(docker_engine, pid))


def test_a_stop_button_stops_every_column(kernel: Kernel) -> None:
    kernel.run("%sandbox start left,right")
    timer = threading.Timer(2, os.kill, (kernel.pid, signal.SIGINT))
    timer.start()
    reply = kernel.run("%%sandbox left,right\nkept = 7\nimport time; time.sleep(600)")
    assert reply["ename"] == "SessionsFailedError"
    assert reply["evalue"].count("KeyboardInterrupt") == 2
    assert value(kernel, "%%sandbox left,right\nkept") == "{'left': 7, 'right': 7}"


def test_columns_are_live_and_the_text_of_the_first_output_never_changes(kernel: Kernel) -> None:
    kernel.run("%%sandbox left,right\nimport time\nfor n in range(4):\n    print(n, flush=True); time.sleep(0.4)")
    shown = [m["content"] for m in kernel.messages if m["msg_type"] in ("display_data", "update_display_data")]
    live = [content["data"] for content in shown if content["data"]["text/plain"] == "side by side: left, right"]
    assert set(live[0]) == set(live[-1]) == {"text/plain"}
    assert len([data for data in live if "text/html" in data]) >= 2
    assert shown[-2]["data"]["text/plain"] == "[left]\n0\n1\n2\n3\n\n[right]\n0\n1\n2\n3"


def test_a_matrix_of_images_and_pythons(kernel: Kernel, docker_engine: DockerEngine, plain_python_image: str) -> None:
    docker_engine.client.tag(plain_python_image, "python", "3.98-slim")
    try:
        reply = kernel.run("%%sandbox --matrix python=3.98,3.99 --repo none\nimport sys; 'IPython' in sys.modules")
    finally:
        docker_engine.client.remove_image("python:3.98-slim")
    assert reply["ename"] == "SessionsFailedError"
    assert "1 of 2 sessions. python=3.99: ImageNotFoundError" in reply["evalue"]
    (columns,) = [m["content"]["data"] for m in kernel.messages if "[python=3.98]" in str(m["content"])]
    assert columns["text/plain"].startswith("[python=3.98]\nFalse\n\n[python=3.99]\nImageNotFoundError")
    assert "docker pull python:3.99-slim" in columns["text/html"]
    assert not [name for name in containers_of(docker_engine, kernel.pid) if "=" in name]
    found = value(
        kernel,
        f"%%sandbox --matrix image=mirror,{plain_python_image} --repo none\nimport sys; 'IPython' in sys.modules",
    )
    assert found == f"{{'image=mirror': True, 'image={plain_python_image}': False}}"


def test_the_mode_in_a_kernel(kernel: Kernel) -> None:
    kernel.run("%sandbox on work")
    assert value(kernel, "import os\nonly_in_sandbox = os.getcwd()\nonly_in_sandbox") == "'/workspace'"
    assert value(kernel, "%%host\nimport os\nos.getcwd() == '/workspace'") == "False"
    assert value(kernel, "%%host\n%%time\nhosted = os.getcwd()") == ""
    assert value(kernel, "'hosted' in globals()") == "False"
    assert value(kernel, "import asyncio\nawait asyncio.sleep(0.01)\n'awaited'") == "'awaited'"
    kernel.run("%%bash\npwd")
    assert kernel.text == "/workspace\n"
    assert value(kernel, "_i") in ("'%%bash\\npwd'", '"%%bash\\npwd"')
    assert value(kernel, "%%host\nIn[-2]") == "'_i'"
    asked: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> None:
        asked.append(message["content"])
        kernel.client.input("answer")

    assert kernel.run("print(input('name? '))", on_question=answer)["status"] == "ok"
    assert kernel.text == "answer\n"
    reply = kernel.run("x = 1\n\n1 / 0")
    assert reply["ename"] == "ExecutionError"
    assert "line 3" in "".join(reply["traceback"])


def test_the_mode_completes_and_inspects_from_the_sandbox(kernel: Kernel) -> None:
    kernel.run("%sandbox on work")
    kernel.run("# first\nonly_in_sandbox = 1\ndef greet():\n    'Say hello from the sandbox.'")

    def complete(code: str) -> list[str]:
        matches: list[str] = kernel.client.complete(code, reply=True, timeout=30)["content"]["matches"]
        return matches

    assert complete("# here\nonly_in_s") == ["only_in_sandbox"]
    assert complete("%%time\nonly_in_s") == ["only_in_sandbox"]
    assert complete("%%host\nonly_in_s") == []
    found = kernel.client.inspect("greet(", reply=True, timeout=30)["content"]
    assert "Say hello from the sandbox." in found["data"]["text/plain"]
    kernel.run("%sandbox off")
    assert complete("only_in_s") == []


def test_reloading_the_extension_takes_nobody_out_of_the_sandbox(tmp_path: Path, docker_engine: DockerEngine) -> None:
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext chorus_nb\n%sandbox on")
        kernel.run("%reload_ext chorus_nb")
        assert value(kernel, "import os; os.getcwd()") == "'/workspace'"
        kernel.run("%unload_ext chorus_nb")
        assert value(kernel, "import os; os.getcwd() == '/workspace'") == "False"
        kernel.run("%load_ext chorus_nb")
        assert value(kernel, "os.getcwd() == '/workspace'") == "False"
        kernel.run("%sandbox on")
        assert kernel.run("os")["evalue"].startswith("NameError")
    finally:
        kernel.end()


def test_a_notebook_may_end_before_its_background_cells(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    code = ["%load_ext chorus_nb", "%%sandbox --bg\nimport time; time.sleep(600)", "'the end'"]
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in code]
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert notebook.cells[2].outputs[0].data["text/plain"] == "'the end'"
    assert notebook.cells[1].outputs[1].data["text/plain"] == "<BackgroundCell in 'default'>"


CELLS = [
    "%load_ext chorus_nb",
    "%%sandbox a,b\nprint('printed')\n6 * 7",
    "%%sandbox --matrix memory=256m,512m\nimport pandas as pd\npd.DataFrame({'a': [1, 2]})",
    "%%sandbox --bg\n1 + 1",
    "print(_.result())",
    "%sandbox on work",
    "x = 41",
    "x + 1",
    "%%host\n'x' in globals()",
    "%sandbox off",
    "'x' in globals()",
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Path:
    """A notebook of all of it, executed by nbclient and saved."""
    folder = tmp_path_factory.mktemp("executed")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.write(notebook, folder / "many.ipynb")
    return folder / "many.ipynb"


def test_a_saved_notebook_shows_it_without_a_kernel(executed: Path) -> None:
    html, _ = HTMLExporter().from_filename(str(executed))
    assert html.count("<th style") == 4
    assert html.count('class="dataframe"') == 2
    assert "side by side: memory=256m, memory=512m" in html


def test_a_saved_notebook_passes_nbval(executed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, executed.name], cwd=executed.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
