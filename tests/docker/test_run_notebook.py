"""``chorus-nb run`` and the tools that others execute notebooks with, on the sandbox kernel."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from conftest import wait_until
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from chorus_nb import kernelspec
from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import owner_alive

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def _engine(docker_engine: DockerEngine) -> None:
    """Every test here needs one."""


def write(path: Path, *cells: str | tuple[str, list[str]], kernel: str = "python3", **metadata: Any) -> Path:
    """Write a notebook; a cell is its source, or its source and its tags."""
    made = [nbformat.v4.new_markdown_cell("# A notebook")]
    for cell in cells:
        source, tags = (cell, []) if isinstance(cell, str) else cell
        made.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags} if tags else {}))
    metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=metadata), path)
    return path


def outputs(path: Path) -> list[Any]:
    """Return the outputs of each code cell."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def command(path: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-m", "chorus_nb", "run", str(path), *words)
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=100, **options)


# chorus-nb run


def test_it_runs_whatever_kernel_the_notebook_names_and_writes_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("from beside the notebook")
    path = write(
        tmp_path / "n.ipynb", "x = open('data.txt').read()", "print(x)\nlen(x)", "%sandbox status", kernel="no-such"
    )
    before = path.read_bytes()
    done = command(path)
    assert done.returncode == 0, done.stderr
    _, (printed, result), (status,) = outputs(tmp_path / "n.executed.ipynb")
    assert printed.text == "from beside the notebook\n"
    assert result.data["text/plain"] == "24"
    assert "default" in status.text
    assert path.read_bytes() == before
    assert "cell 3 of 3: done" in done.stderr
    assert "PEAK MEMORY" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "WARNING" not in done.stderr


def test_a_failing_cell_is_named_and_what_ran_before_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "n.ipynb", "print('first')", "1 / 0", "print('third')")
    done = command(path, "-o", str(tmp_path / "out.ipynb"))
    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "Cell 2 of 3 failed." in done.stderr
    first, second, third = outputs(tmp_path / "out.ipynb")
    assert first[0].text == "first\n"
    assert second[0].ename == "ZeroDivisionError"
    assert third == []


def test_errors_may_be_allowed_by_a_tag_or_an_option_and_cells_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "n.ipynb", ("1 / 0", ["raises-exception"]), ("left = 'out'", ["skip-execution"]), "'left' in dir()"
    )
    assert command(path, "--inplace").returncode == 0
    assert outputs(path)[2][0].data["text/plain"] == "False"
    assert command(write(path, "1 / 0", "2"), "--inplace", "--allow-errors").returncode == 0
    assert outputs(path)[1][0].data["text/plain"] == "2"


def test_the_policy_is_that_of_the_options(tmp_path: Path) -> None:
    path = write(
        tmp_path / "n.ipynb",
        "import os; print(os.listdir('.'), os.environ['GREETING'])",
        "while True: pass",
        chorus={"memory": "256m"},
    )
    words = ("--repo", "none", "--env", "GREETING=hello", "--timeout", "1s", "--inplace")
    done = command(path, *words)
    assert done.returncode == 1
    assert "ExecutionTimeoutError" in done.stderr
    assert outputs(path)[0][0].text == "[] hello\n"


def test_what_the_notebook_may_not_loosen_is_said(tmp_path: Path) -> None:
    done = command(write(tmp_path / "n.ipynb", "1", chorus={"network": "bridge"}))
    assert done.returncode == 1
    assert "PolicyLoosenedError" in done.stderr
    assert "network" in done.stderr


def test_an_interrupt_leaves_nothing_and_keeps_what_ran(tmp_path: Path, docker_engine: DockerEngine) -> None:
    # The second cell is on its way for longer than this machine may take to notice.
    path = write(tmp_path / "n.ipynb", "print('first')", "import time\nwhile True: time.sleep(1)")
    words = [sys.executable, "-m", "chorus_nb", "run", str(path), "--inplace"]
    before = {identity for identity, _ in docker_engine.owned()}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    while "cell 1 of 2" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)  # As Ctrl-C in a terminal does, to the whole foreground group.
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted in cell 2 of 2" in said
    assert "Traceback" not in said
    assert outputs(path)[0][0].text == "first\n"

    def left() -> list[str]:
        found = [(identity, labels[OWNER_LABEL]) for identity, labels in docker_engine.owned()]
        return [identity for identity, owner in found if identity not in before and not owner_alive(owner)]

    wait_until(lambda: not left())


def test_on_a_terminal_there_is_a_bar_and_colour(tmp_path: Path) -> None:
    path = write(tmp_path / "n.ipynb", "import time; time.sleep(1)", "1 / 0")
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "chorus_nb", "run", str(path), "--inplace"]
    with subprocess.Popen(words, stderr=slave, stdout=subprocess.DEVNULL, close_fds=True) as process:
        os.close(slave)
        said = b"".join(_all_of(master)).decode()
    assert process.returncode == 1
    assert "cell 1 of 2" in said
    assert "░" in said
    assert "\x1b[31mZeroDivisionError" in said


def _all_of(descriptor: int) -> Iterator[bytes]:
    try:
        while piece := os.read(descriptor, 65536):
            yield piece
    except OSError:  # How a terminal says that its other end is closed.
        pass
    finally:
        os.close(descriptor)


# Other people's tools


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which the kernelspec is installed."""
    folder = tmp_path_factory.mktemp("prefix")
    kernelspec.install(prefix=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
        yield dict(os.environ)


CELLS = (
    "import os; x = 20\nprint(os.getcwd(), os.path.exists(os.path.expanduser('~/.ssh')))",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\n_ = plt.plot([1, x])",
    "x + 22",
)


def check(path: Path) -> None:
    (printed,), plots, (result,) = outputs(path)[-3:]
    assert printed.text == "/workspace False\n"
    assert "image/png" in plots[-1].data
    assert result.data["text/plain"] == "42"


def test_nbclient(tmp_path: Path, installed: dict[str, str]) -> None:
    path = write(tmp_path / "n.ipynb", *CELLS, kernel="chorus-nb")
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(notebook, path)
    check(path)


def test_nbclient_stops_at_an_error(tmp_path: Path, installed: dict[str, str]) -> None:
    path = write(tmp_path / "n.ipynb", "input('name? ')", kernel="chorus-nb")
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with pytest.raises(CellExecutionError, match="StdinNotImplementedError"):
        NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_nbconvert(tmp_path: Path, installed: dict[str, str]) -> None:
    path = write(tmp_path / "n.ipynb", *CELLS, kernel="chorus-nb")
    words = [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "notebook", "--inplace", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=installed, timeout=100)
    assert done.returncode == 0, done.stderr
    check(path)


def test_papermill(tmp_path: Path, installed: dict[str, str]) -> None:
    cells: list[str | tuple[str, list[str]]] = [("x = 1", ["parameters"]), CELLS[0].replace("x = 20", ""), *CELLS[1:]]
    path = write(tmp_path / "n.ipynb", *cells, kernel="chorus-nb")
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(path, out, parameters={"x": 20}, cwd=tmp_path, progress_bar=False)
    check(out)


def test_nbval(tmp_path: Path, installed: dict[str, str]) -> None:
    """Executed once, then checked twice against its own outputs, with no marker and no sanitiser."""
    path = write(tmp_path / "n.ipynb", *CELLS, "%sandbox config", kernel="chorus-nb")
    assert command(path, "--inplace").returncode == 0
    again = shutil.copy(path, tmp_path / "again.ipynb")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", str(path), str(again)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=installed, timeout=100)
    assert done.returncode == 0, done.stdout


def test_a_notebook_tells_its_policy_where_the_tool_names_it(tmp_path: Path, installed: dict[str, str]) -> None:
    path = write(tmp_path / "n.ipynb", "%sandbox config", kernel="chorus-nb", chorus={"memory": "256m"})
    words = [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "notebook", "--stdout", str(path)]
    environment = {**installed, "JPY_SESSION_NAME": str(path)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=100)
    assert "256m" in json.dumps(json.loads(done.stdout)["cells"][1]["outputs"])
