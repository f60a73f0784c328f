"""Files are asked for while the process that has them is killed, or can't be made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sandboxes import BEGIN, Running, opened, start_cell, value

from chorus_nb.engines.base import Engine
from chorus_nb.errors import SandboxFileError, WorkerDiedError
from chorus_nb.sandbox import Sandbox

KILLS_THE_TEMPLATE = "import os; os.kill(os.getppid(), 9)"


@pytest.fixture
def reading(sandbox: Sandbox) -> Iterator[list[float]]:
    """Read a file all the time; return how long each took."""
    took_s: list[float] = []
    end = threading.Event()
    sandbox.files.write("/tmp/read", b"whole")

    def read() -> None:
        while not end.is_set():
            started_s = time.monotonic()
            assert sandbox.files.read("/tmp/read") == b"whole"
            took_s.append(time.monotonic() - started_s)

    running = Running(read)
    yield took_s
    end.set()
    running.join()


def test_a_file_is_read_although_everything_is_killed_meanwhile(sandbox: Sandbox, reading: list[float]) -> None:
    for _ in range(5):
        with pytest.raises(WorkerDiedError):  # With the worker, everything else is killed.
            sandbox.run("import os; os._exit(1)")
    assert len(reading) > 3
    assert max(reading) < 20


def test_a_file_is_read_although_the_template_is_killed_meanwhile(sandbox: Sandbox, reading: list[float]) -> None:
    for _ in range(3):
        sandbox.run(KILLS_THE_TEMPLATE)
        sandbox.restart()  # A worker whose template is gone has another parent.
        assert value(sandbox, "1") == "1"
    assert max(reading) < 20


@pytest.mark.docker
def test_at_the_limit_of_processes_reading_a_file_says_so(docker_engine: Engine) -> None:
    with opened(docker_engine, pids=24) as sandbox:
        fill = "import subprocess, time\ntry:\n    while True: subprocess.Popen(['sleep', '600'])\nexcept OSError:\n"
        start_cell(sandbox, "time.sleep(600)", begin=f"{fill}    {BEGIN}")
        with pytest.raises(SandboxFileError, match=r"process limit is reached.*restart"):
            sandbox.files.write("/tmp/x", b"")
