"""The notebook's own process is stopped, killed, short of descriptors, or one of many."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest
from conftest import wait_until
from sandboxes import start_cell, value

import chorus_nb
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.manager import SessionManager
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

PRELUDE = """
import os, sys, threading
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import owner_label
from chorus_nb.errors import ChorusError, EngineError
from chorus_nb.sandbox import Sandbox

def say(*words):
    print(*words, flush=True)
"""


class Notebook:
    """A process of its own that uses sandboxes, as a notebook's kernel does."""

    def __init__(self, program: str, folder: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + program],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self._said: IO[str] = self.process.stdout

    def hear(self) -> str:
        return self._said.readline().strip()

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self, timeout_s: float = 60) -> list[str]:
        """Wait for its end, which must be a good one; return what it said."""
        said, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0
        return said.splitlines()


@contextmanager
def notebook(program: str, folder: Path | None = None) -> Iterator[Notebook]:
    notebook = Notebook(program, folder)
    with notebook.process:
        try:
            yield notebook
        finally:
            notebook.process.kill()


def containers_of(engine: DockerEngine, notebook: Notebook) -> list[str]:
    pid = str(notebook.process.pid)
    return [each for each, labels in engine.owned() if labels["chorus-nb.owner"].split("/")[3] == pid]


# Asleep

ASLEEP = """
with Sandbox(repo="none") as sandbox:
    sandbox.run("x = 1")
    say("ready")
    result = sandbox.run("import time\\nfor i in range(10): print(i); time.sleep(0.05)", timeout=2)
    say(result.stdout.split())
    sys.stdin.readline()
    say(sandbox.run("x").result)
"""


def test_a_laptop_that_sleeps_during_a_cell_and_between_two(docker_engine: DockerEngine) -> None:
    with notebook(ASLEEP) as asleep:
        assert asleep.hear() == "ready"
        time.sleep(0.1)
        sleep(asleep, 3.5)
        # It took less than its limit, by the sandbox's own account, whatever the host's clock says.
        assert asleep.hear() == str([str(i) for i in range(10)])
        sleep(asleep, 1)
        asleep.tell()
        assert asleep.hear() == "1"
        asleep.end()


def sleep(notebook: Notebook, duration_s: float) -> None:
    notebook.signal(signal.SIGSTOP)
    time.sleep(duration_s)
    notebook.signal(signal.SIGCONT)


@pytest.mark.parametrize("jump_s", [-86_400, 86_400])
def test_a_clock_that_jumps_during_a_cell_ends_nothing(docker_engine: DockerEngine, jump_s: int) -> None:
    """The host's, as its code sees it. The sandbox has a kernel in common with it, and looks at no clock but that
    which nobody sets (the test below)."""
    with (
        Sandbox(engine=docker_engine, repo="none", timeout=30, idle=30, lifetime=60) as sandbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        sandbox.run("kept = 1")
        running = start_cell(sandbox, "import time; time.sleep(1); kept = 2")
        patch.setattr(time, "time", lambda now=time.time: now() + jump_s)
        running.join()
        assert value(sandbox, "kept") == "2"
        assert 0 < (sandbox._session.uptime_s or 0) < 60
        assert docker_engine.owned()[0][1], "it is still known whose it is"
        SessionManager(docker_engine).sweep()
        assert value(sandbox, "kept") == "2", "and no sweep takes it for a dead owner's"


OF_FILES = {"git/files.py", "listings.py", "view/overlay_folder.py", "view/repository_archive.py"}
"""What compares with the times of files, which are of that clock."""


def test_nothing_else_looks_at_the_clock_on_the_wall() -> None:
    """That clock jumps: when it is set, and when summer time is not what it should be."""
    package = Path(chorus_nb.__file__).parent
    asked = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in package.rglob("*.py")
        if str(path.relative_to(package)) not in OF_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns", "datetime.now")
    ]
    assert asked == []


# One of several

NEIGHBOUR = """
from chorus_nb.manager import SessionManager
manager = SessionManager()
session = manager.ensure("default", {"repo": "rw"})
def cell(code):
    session.execute(code, on_message=lambda message: say(message.content.get("text", "").strip()))
cell(f"name = {sys.stdin.readline().strip()!r}; open('seen', 'a').write(name); print('ready')")
for line in sys.stdin:
    cell(line)
"""


def test_two_kernels_in_one_repository_know_nothing_of_each_other(docker_engine: DockerEngine, tmp_path: Path) -> None:
    with notebook(NEIGHBOUR, tmp_path) as one, notebook(NEIGHBOUR, tmp_path) as other:
        for each, name in ((one, "a"), (other, "b")):
            each.tell(name)
        assert [one.hear(), other.hear()] == ["ready"] * 2
        for each in (one, other):
            each.tell("print(name, sorted(open('seen').read()))")
        assert [one.hear(), other.hear()] == ["a ['a', 'b']", "b ['a', 'b']"]
        one.signal(signal.SIGKILL)
        wait_until(lambda: not containers_of(docker_engine, one))
        other.tell("print(name)")
        assert other.hear() == "b"
        other.end()
        assert not containers_of(docker_engine, other)


MANY = """
import gc, resource
engine = DockerEngine()

def use():
    with Sandbox(engine=engine, repo="none") as sandbox:
        assert str(sandbox.run("1 + 1").result) == "2"

def state():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return len(os.listdir("/proc/self/fd")), threading.active_count(), pages * resource.getpagesize()

for _ in range(3):
    use()
before = state()
for _ in range(int(sys.stdin.readline())):
    use()
after = state()
say(after[0] - before[0], after[1] - before[1], after[2] - before[2])
"""


@pytest.mark.timeout(1000)
def test_a_hundred_sessions_leave_nothing(docker_engine: DockerEngine) -> None:
    client = docker_engine.client
    volumes = {each["Name"] for each in client.volumes()["Volumes"] or ()}
    networks = {each["Id"] for each in client.networks()}
    with ExitStack() as stack:  # In four notebooks at a time: each waits for the engine more than it does anything.
        notebooks = [stack.enter_context(notebook(MANY)) for _ in range(4)]
        for many in notebooks:
            many.tell("25")
        for many in notebooks:
            descriptors, threads, memory_bytes = map(int, many.end(900)[-1].split())
            assert containers_of(docker_engine, many) == []
            assert (descriptors, threads) == (0, 0)
            assert memory_bytes < 5 * 2**20
    assert {each["Name"] for each in client.volumes()["Volumes"] or ()} <= volumes
    assert {each["Id"] for each in client.networks()} <= networks


# Short of descriptors

SHORT = """
import resource
def is_open(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False

engine = DockerEngine()
with Sandbox(engine=engine, repo="none") as sandbox:
    sandbox.run("1")
limit = sum(map(is_open, range(100))) + 6
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
opened = []
try:
    while len(opened) < 50:
        opened.append(Sandbox(engine=engine, repo="none").__enter__())
except EngineError as error:
    say(type(error).__name__, error)
for sandbox in opened:
    assert str(sandbox.run("1 + 1").result) == "2"
for sandbox in opened:
    sandbox.__exit__(None, None, None)
with Sandbox(engine=engine, repo="none") as sandbox:
    say(len(opened), sandbox.run("'well'").result, threading.active_count())
say(sum(labels["chorus-nb.owner"] == owner_label() for _, labels in engine.owned()))
"""


def test_no_descriptors_left_is_an_error_of_its_own_and_passes(docker_engine: DockerEngine) -> None:
    with notebook(SHORT) as short:
        error, counts, left = short.end()
    assert "EngineError" in error
    assert "files open that it may" in error
    assert "ulimit -n" in error
    opened, result, threads = counts.split()
    assert int(opened) >= 3
    assert (result, threads, left) == ("'well'", "3", "0")


# Killed

COPIES = """
with Sandbox(repo="rw") as sandbox:
    say("ready")
    for number in range(1000):
        sandbox.files.write(f"copy-{number}", bytes(2**24))
"""


def test_a_kernel_killed_while_files_are_copied(docker_engine: DockerEngine, tmp_path: Path) -> None:
    with notebook(COPIES, tmp_path) as killed:
        assert killed.hear() == "ready"
        wait_until(lambda: (tmp_path / "copy-1").exists())
        killed.signal(signal.SIGKILL)
        killed.process.wait()
        wait_until(lambda: not containers_of(docker_engine, killed))
