"""A real JupyterLab server for the browser tests, with nothing of the user's configuration."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_TIMEOUT_S = 90.0
"""A cold JupyterLab takes 5 to 10 s on two cores; a loaded machine several times that."""

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


class LabServer:
    """A JupyterLab server of the running interpreter, on the loopback, with nothing of the user's configuration.

    Parameters
    ----------
    root
        The folder the server shows.
    home
        An empty folder for what the server, its kernels and IPython write, the server's log included.

    Attributes
    ----------
    url : str
        Address without a trailing slash.
    token : str
        What a request has to carry.
    """

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._home = home
        self._log = home / "server.log"
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
        # The server shuts its kernels down by a message, so that what runs at a kernel's exit does run.
        self._end()

    def request(self, method: str, path: str, timeout_s: float = 20.0) -> Any:
        """Send one request to the server's REST interface and return the decoded answer, ``None`` if it is empty."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            body = response.read()
        return json.loads(body) if body else None

    def shut_kernel_down(self, path: Path) -> None:
        """End the kernel of a notebook by the shutdown message, as "Shut Down Kernel" does."""
        relative = path.relative_to(self.root).as_posix()
        for session in self.request("GET", "/api/sessions"):
            if session["path"] == relative:
                self.request("DELETE", f"/api/sessions/{session['id']}", timeout_s=60.0)

    def _start(self) -> None:
        settings = self._home / "config" / "labconfig" / "default_setting_overrides.json"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(SETTING_OVERRIDES))
        # The server ends with these tests however they end, also when they are killed.
        command = [
            *("setpriv", "--pdeathsig", "TERM"),
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
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


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
