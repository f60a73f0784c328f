"""Drive a real JupyterLab in a real Chromium: one class for the server, one for a notebook open in a page.

What the tests read comes from three places, and each says something the others do not: the page (what a person sees),
the notebook model in the page (which MIME types an output carries) and the saved file (what remains).
"""

# mypy: allow-untyped-calls
# (nbformat is typed in part.)

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nbformat
from playwright.sync_api import Locator, Page

START_TIMEOUT_S = 90.0
"""A cold JupyterLab takes 5 to 10 s on two cores; a loaded machine several times that."""

CELL_TIMEOUT_S = 60.0

# Root cannot use Chromium's own sandbox; the rest keeps it from talking to anything but the test server.
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# News would call out, autosave would hide a missing save, and windowing removes cells out of sight from the page.
SETTING_OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}

# What could select another kernel or another configuration, or tell the kernel that it is under pytest
# (ipykernel then leaves file descriptors 1 and 2 alone, which no user's kernel does).
INHERITED_TO_DROP = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_TOKEN", "MPLBACKEND", "PYTEST_CURRENT_TEST")


def find_chromium() -> str:
    """Return the path of a Chromium, from ``CHROMIUM`` or the search path.

    Raises
    ------
    RuntimeError
        If there is none. The message says how to get one.
    """
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    for name in filter(None, names):
        if path := shutil.which(name):
            return path
    raise RuntimeError(
        "The browser tests need Chromium and found none. Install it (Debian, Ubuntu: `apt-get install chromium`) "
        "or set CHROMIUM to the path of a Chromium or Chrome executable."
    )


def write_notebook(path: Path, sources: list[str]) -> None:
    """Write a notebook of code cells, one for each source, for the ``python3`` kernel."""
    kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernelspec})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, path)


class LabServer:
    """A JupyterLab server of the running interpreter, on the loopback, with nothing of the user's configuration.

    Parameters
    ----------
    root
        The folder the server shows.

    Attributes
    ----------
    url : str
        Address without a trailing slash.
    token : str
        What a request has to carry.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._home = Path(tempfile.mkdtemp(prefix="lab-home-"))
        self._log = self._home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
            self._wait_until_up()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.shut_kernels_down()
        finally:
            self._end()

    def request(self, method: str, path: str, timeout_s: float = 20.0) -> Any:
        """Send one request to the server's REST interface and return the decoded answer, ``None`` if it is empty."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            body = response.read()
        return json.loads(body) if body else None

    def shut_kernels_down(self) -> None:
        """End every kernel by the shutdown message, so that what runs at a kernel's exit does run."""
        for kernel in self.request("GET", "/api/kernels"):
            self.request("DELETE", f"/api/kernels/{kernel['id']}", timeout_s=60.0)

    def _start(self) -> None:
        settings = self._home / "config" / "labconfig" / "default_setting_overrides.json"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(SETTING_OVERRIDES))
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
            f"--port={self.url.rpartition(':')[2]}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.root}",
            "--ServerApp.terminals_enabled=False",
            "--LabApp.expose_app_in_browser=True",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=_environment(self._home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.request("GET", "/api/status", timeout_s=2.0)
                return
            except (OSError, urllib.error.URLError) as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._log.read_text(errors="replace")
                    raise RuntimeError(f"JupyterLab did not come up; it wrote:\n{log}") from error
                time.sleep(0.2)

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(home: Path) -> dict[str, str]:
    """Return this process's environment with home and every Jupyter folder moved to `home`."""
    environment = {name: value for name, value in os.environ.items() if name not in INHERITED_TO_DROP}
    # Contexts of the Docker client are in the user's home; without this a fresh home would lose the engine.
    environment.setdefault("DOCKER_CONFIG", str(Path.home() / ".docker"))
    folders = {
        "HOME": "",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    return environment | {name: str(home / folder) for name, folder in folders.items()}


@dataclass(frozen=True)
class CellOutputs:
    """What a code cell shows.

    Parameters
    ----------
    text
        The rendered text, as a person could copy it.
    html
        The rendered markup.
    items
        The outputs as the notebook format has them, in order.
    """

    text: str
    html: str
    items: list[dict[str, Any]]

    @property
    def mime_types(self) -> list[set[str]]:
        """The MIME types of each output; empty for streams and errors."""
        return [set(item.get("data", {})) for item in self.items]

    @property
    def error_names(self) -> list[str]:
        """The exception names (``ename``) of the error outputs."""
        return [item["ename"] for item in self.items if item["output_type"] == "error"]


# The notebook panel in front, and the parts of it that the scripts below use.
_PANEL = "const panel = window.jupyterapp.shell.currentWidget; const notebook = panel.content;"


class NotebookPage:
    """A notebook open in JupyterLab.

    Cells are numbered from 0, Markdown cells included.

    Parameters
    ----------
    server
        The server that has the notebook.
    page
        An empty page of a browser.
    """

    def __init__(self, server: LabServer, page: Page) -> None:
        self.server = server
        self.page = page
        self.path = Path()
        page.set_default_timeout(CELL_TIMEOUT_S * 1000)

    def open(self, path: Path) -> None:
        """Open the notebook at `path` (below the server's root) and wait until its kernel answers."""
        self.path = path
        relative = path.relative_to(self.server.root).as_posix()
        self.page.goto(f"{self.server.url}/lab/tree/{relative}?token={self.server.token}&reset")
        self.wait_kernel_ready()

    def reload(self) -> None:
        """Load the page again, as a person does who presses F5, and wait until the kernel answers."""
        self.page.reload()
        self.wait_kernel_ready()

    def wait_kernel_ready(self) -> None:
        """Wait until the kernel has answered; the status line says idle before there is a kernel."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self._script("await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info;")

    def run_all(self) -> None:
        """Start "Run All Cells" and return at once; `wait_finished` waits for it."""
        self._start("notebook:run-all-cells")

    def run_cell(self, index: int) -> None:
        """Start one cell and return at once; `wait_finished` waits for it."""
        self._script("notebook.deselectAll(); notebook.activeCellIndex = argument;", index)
        self._start("notebook:run-cell")

    def wait_finished(self, timeout_s: float = CELL_TIMEOUT_S) -> None:
        """Wait until what was started last has ended, well or badly, with all its output in the page."""
        self.page.wait_for_function("() => window.lastRun.ended", timeout=timeout_s * 1000)

    def execute_all(self, timeout_s: float = CELL_TIMEOUT_S) -> None:
        """Run all cells and wait for their end."""
        self.run_all()
        self.wait_finished(timeout_s)

    def execute_cell(self, index: int, timeout_s: float = CELL_TIMEOUT_S) -> CellOutputs:
        """Run one cell, wait for its end and return what it shows."""
        self.run_cell(index)
        self.wait_finished(timeout_s)
        return self.outputs(index)

    def cell(self, index: int) -> Locator:
        """Return the element of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output_area(self, index: int) -> Locator:
        """Return the element below a code cell that holds its outputs."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def outputs(self, index: int) -> CellOutputs:
        """Return what a code cell shows now."""
        area = self.output_area(index)
        items = self._script("return notebook.widgets[argument].model.outputs.toJSON();", index)
        return CellOutputs(text=area.inner_text(), html=area.inner_html(), items=items)

    def prompt(self, index: int) -> str:
        """Return the text left of a code cell: ``[ ]:`` not run, ``[*]:`` running or queued, ``[3]:`` done."""
        return self.cell(index).locator(".jp-InputPrompt").inner_text().strip()

    def is_busy(self, index: int) -> bool:
        """Whether a code cell is running or waits its turn."""
        return "*" in self.prompt(index)

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook and return what is in the file now."""
        self._script("await window.jupyterapp.commands.execute('docmanager:save');")
        saved: nbformat.NotebookNode = nbformat.read(self.path, as_version=4)
        return saved

    def interrupt(self) -> None:
        """Click the stop button of the notebook's toolbar."""
        self.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="interrupt"]').click()

    def restart_kernel(self) -> None:
        """Restart the kernel and wait until it answers."""
        self._script("await panel.sessionContext.session.kernel.restart();")
        self.wait_kernel_ready()

    def kernel_value(self, expression: str) -> str:
        """Return the ``repr`` of an expression in the idle kernel; neither history nor notebook shows a trace."""
        script = """
            const kernel = panel.sessionContext.session.kernel;
            const content = {code: '', silent: true, store_history: false, user_expressions: {value: argument}};
            const reply = await kernel.requestExecute(content).done;
            return reply.content.user_expressions.value;
        """
        value = self._script(script, expression)
        if value["status"] != "ok":
            raise RuntimeError(f"{expression!r} in the kernel: {value['ename']}: {value['evalue']}")
        text: str = value["data"]["text/plain"]
        return text

    def kernel_pid(self) -> int:
        """Return the process id of the idle kernel."""
        return int(self.kernel_value("__import__('os').getpid()"))

    def set_theme(self, name: str) -> None:
        """Change JupyterLab's theme, to ``"JupyterLab Light"`` or ``"JupyterLab Dark"``."""
        self._script("await window.jupyterapp.commands.execute('apputils:change-theme', {theme: argument});", name)
        self.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")

    def screenshot(self, path: Path) -> None:
        """Write a picture (PNG) of what the page shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)

    def _start(self, command: str) -> None:
        # The command's promise ends with the last cell. A prompt would not tell: it shows the former run at first.
        script = """
            const run = {ended: false};
            window.lastRun = run;
            window.jupyterapp.commands.execute(argument).finally(() => { run.ended = true; });
        """
        self._script(script, command)

    def _script(self, body: str, argument: object = None) -> Any:
        return self.page.evaluate(f"async argument => {{ {_PANEL} {body} }}", argument)
