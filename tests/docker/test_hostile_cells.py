"""Cells that harm the process they run in: the session is usable afterwards, or an error says what is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from conftest import wait_until
from sandboxes import opened, value

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import WorkerDiedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine) -> Iterator[Sandbox]:
    """One sandbox with the defaults."""
    with opened(docker_engine) as sandbox:
        yield sandbox


SURVIVED = {
    "replaces sys.stdout": "import io, sys\nsys.stdout = sys.stderr = io.StringIO()",
    "closes sys.stdout": "import sys\nsys.stdout.close(); sys.stderr.close()",
    "sets sys.stdout to nothing": "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = None",
    "closes descriptors": "import os\nfor fd in range(3): os.close(fd)",
    "closes descriptors by their files": "import os, sys\nos.close(sys.stdout.fileno()); os.close(sys.stderr.fileno())",
    "deletes get_ipython": "del get_ipython",
    "deletes the name of the builtins": "del __builtins__",
    "deletes every name": "for n in [n for n in globals() if n[0] != '_']: del globals()[n]",
    "deletes print": "import builtins\ndel builtins.print\nbuiltins.display = None",
    "sets signal handlers": "import signal\nfor n in {*range(1, 32)} - {9, 19}: signal.signal(n, lambda *_: 0)",
    "an alarm": "import signal as s\ns.signal(s.SIGALRM, lambda *_: None)\ns.setitimer(s.ITIMER_REAL, 0.01, 0.01);",
    "starts threads that never end": (
        "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(600,)).start()"
    ),
    "recurses deeply": "def f(): f()\nf()",
    "forks into the loop": "import os\nos.fork()",
    "forks a fork that prints": "import os\nif os.fork() == 0: print('child')",
    "patches json": "import json\njson.loads = json.dumps = json.JSONEncoder.encode = None",
    "patches os": "import os\nos.read = os.write = os.getpid = lambda *a: 1 / 0",
    "patches threading": "import threading\nthreading.Thread = threading.get_ident = None",
    "changes the exception hook": "import sys\nsys.excepthook = sys.displayhook = None\n1",
    "changes the recursion limit": "import sys\nsys.setrecursionlimit(150)",
    "changes the locale and the folder": "import os\nos.chdir('/proc'); os.environ.clear()",
    "raises what is no Exception": "class B(BaseException): pass\nraise B",
    "breaks its own error": "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E",
    "breaks its own repr": "class R:\n    def __repr__(self): raise KeyboardInterrupt\nR()",
    "turns warnings into errors": "import warnings\nwarnings.simplefilter('error')",
    "traces every line": "import sys\nsys.settrace(lambda *_: 1 / 0)",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("code", SURVIVED.values(), ids=SURVIVED)
def test_the_next_cell_prints_and_shows_its_value(sandbox: Sandbox, code: str) -> None:
    sandbox.run(code, timeout=90)
    result = sandbox.run("import builtins\nimport sys as _sys\n_sys.stdout.write('printed\\n')\n6 * 7", timeout=90)
    assert result.error is None, result.error.traceback
    assert result.stdout.endswith("printed\n")
    assert str(result.result) == "42"


ENDED = {
    "os._exit": "import os\nos._exit(5)",
    "a signal to itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "a segfault": "import ctypes\nctypes.string_at(0)",
    "every descriptor closed": "import os\nos.closerange(0, 1000)",
    "asyncio patched": "import asyncio\nasyncio.get_running_loop = asyncio.CancelledError = None",
    "the clock patched": "import time\ntime.monotonic = None",
}


@pytest.mark.parametrize("code", ENDED.values(), ids=ENDED)
def test_an_end_of_its_process_is_named_and_the_session_goes_on(sandbox: Sandbox, code: str) -> None:
    value(sandbox, "x = 1")

    def run() -> None:
        sandbox.run(code, timeout=30)
        # Some end after their reply, which the next cell is told of, however soon it comes.
        sandbox.run("raise AssertionError('it ran, without x')", timeout=30)

    with pytest.raises(WorkerDiedError, match="variables"):
        run()
    assert value(sandbox, "'usable'") == "'usable'"


@pytest.mark.timeout(500)
def test_ten_million_lines_are_bounded_with_a_notice(sandbox: Sandbox) -> None:
    result = sandbox.run("for i in range(10_000_000): print(i)", timeout=400)
    assert result.ok
    assert len(result.stdout) <= 10 * 2**20
    assert "dropped" in result.stderr
    assert "max_output" in result.stderr
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_picture_of_200_megabytes_is_refused_with_the_reason(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, memory="2g") as sandbox:
        code = "display({'image/png': b'\\x89PNG\\r\\n\\x1a\\n' + bytes(200 * 2**20)}, raw=True)\nprint('after')"
        result = sandbox.run(code, timeout=60)
        assert result.ok
        assert result.stdout == "after\n"
        assert "image/png of 200.0 MiB is not shown" in result.stderr
        assert "save it to a file" in result.stderr
        assert value(sandbox, "'usable'") == "'usable'"


def test_a_picture_over_the_limit_names_the_option(sandbox: Sandbox) -> None:
    result = sandbox.run("display({'image/png': bytes(20 * 2**20)}, raw=True)")
    assert "image/png of 20.0 MiB is not shown" in result.stderr
    assert "max_output=" in result.stderr


def test_a_large_picture_within_the_limit_arrives_whole(sandbox: Sandbox) -> None:
    """Over the wire as it is, in the notebook as base64."""
    code = "import base64\npng = b'\\x89PNG\\r\\n\\x1a\\n' + bytes(range(256)) * 8192\n"
    for shown in ("png", "base64.b64encode(png).decode()"):
        (output,) = sandbox.run(code + f"display({{'image/png': {shown}}}, raw=True)").outputs
        assert len(output.data["image/png"]) == 4 * ((8 + 256 * 8192 + 2) // 3)


def test_a_daemon_that_outlives_its_cell_counts_and_ends_with_the_session(docker_engine: DockerEngine) -> None:
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    daemon += "        hold = b'x' * (64 * 2**20)\n        time.sleep(600)\n    os._exit(0)"
    count = "import os\nlen([p for p in os.listdir('/proc') if p.isdigit()])"
    with opened(docker_engine) as sandbox:
        before = int(value(sandbox, count))
        value(sandbox, daemon)
        wait_until(lambda: sandbox.usage().memory_bytes > 64 * 2**20)
        assert int(value(sandbox, count)) > before
        sandbox.restart()
        wait_until(lambda: int(value(sandbox, count)) == before)


def test_threads_that_go_on_do_not_keep_a_session_from_ending(docker_engine: DockerEngine) -> None:
    with contextlib.suppress(WorkerDiedError), opened(docker_engine) as sandbox:
        sandbox.run("import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()")
        assert value(sandbox, "'usable'") == "'usable'"
