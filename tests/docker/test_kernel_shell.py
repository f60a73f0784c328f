"""Shell scripts as cells in a real Jupyter kernel: run from top to bottom, run again by nbval, interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from test_kernel import Kernel, kernel

pytestmark = pytest.mark.docker

__all__ = ["kernel"]


def write_notebook(path: Path, cells: list[str]) -> nbformat.NotebookNode:
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernelspec})  # type: ignore[no-untyped-call]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]  # type: ignore[no-untyped-call]
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    return notebook


@pytest.mark.timeout(180)
def test_scripts_pass_strict_nbval_twice(tmp_path: Path, image_with_shell: str) -> None:
    script = "echo out; printf '\\033[32mgreen\\033[0m\\n'; echo err >&2; for i in 1 2 3; do echo $i; done"
    cells = [
        "%load_ext chorus_nb",
        f"%%sandbox --lang sh\n{script}",
        "%%sandbox\nx = 2\nprint(x)",
        "%%sandbox --lang sh\npwd; sleep 0.5; pwd",
        f"%%sandbox bare --lang sh --image {image_with_shell} --memory 64m\n{script}; pwd; sleep 0.5",
    ]
    path = tmp_path / "scripts.ipynb"
    notebook = write_notebook(path, cells)
    NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    assert notebook.cells[4].outputs[0].output_type == "display_data"
    again = shutil.copy(path, tmp_path / "again.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    checked = subprocess.run([*command, path, again], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_a_script_that_fails_stops_the_notebook(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "a.ipynb", ["%load_ext chorus_nb", "%%sandbox --lang sh\nexit 3", "print(1)"])
    with pytest.raises(CellExecutionError, match="exit status 3"):
        NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (error,) = [output for output in notebook.cells[1].outputs if output.output_type == "error"]
    assert (error.ename, len(error.traceback)) == ("CommandError", 1)
    assert not notebook.cells[2].outputs


@pytest.mark.parametrize("bare", [True, False])
def test_an_interrupt_of_the_kernel_ends_the_script(kernel: Kernel, image_with_shell: str, bare: bool) -> None:
    asked_at_s = 0.0

    def interrupt(message: dict[str, Any]) -> None:
        nonlocal asked_at_s
        if message["msg_type"] == "stream" and "waiting" in message["content"]["text"]:
            asked_at_s = time.monotonic()
            os.kill(kernel.pid, signal.SIGINT)

    options = f"bare --image {image_with_shell}" if bare else ""
    reply = kernel.run(f"%%sandbox {options} --lang sh\necho waiting; sleep 60; echo never", interrupt)
    assert reply["ename"] == "ExecutionInterruptedError"
    assert time.monotonic() - asked_at_s < 30
    assert "never" not in kernel.text
    assert kernel.run(f"%%sandbox {options} --lang sh\necho usable")["status"] == "ok"


def test_python_where_there_is_none_is_an_error_of_one_line(kernel: Kernel, image_with_shell: str) -> None:
    reply = kernel.run(f"%%sandbox bare --image {image_with_shell}\nprint(1)")
    assert (reply["ename"], len(reply["traceback"])) == ("ImageUnsupportedError", 1)
    assert "--lang sh" in reply["evalue"]
    assert kernel.run("%sandbox status bare")["status"] == "ok"
    assert "none: --lang sh only" in kernel.text


def test_tab_says_nothing_about_a_script(kernel: Kernel) -> None:
    code = "%%sandbox --lang sh\nprin"
    matches = kernel.client.complete(code, len(code), reply=True, timeout=30)["content"]["matches"]
    assert matches == []
