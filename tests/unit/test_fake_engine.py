"""The fake engine: what it does beyond the contract, and that it says what it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Launcher, make_spec, read_all, wait_until

from chorus_nb.engines.base import Container
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import ImageUnsupportedError

# Prints its own number and that of a grandchild in a session of its own, whose parent has ended.
FAMILY = """
import os, time
if (middle := os.fork()) == 0:
    if os.fork() == 0:
        os.setsid()
        os.write(1, b"%d %d\\n" % (os.getpid(), os.getppid()))
        time.sleep(600)
    os._exit(0)
os.waitpid(middle, 0)
time.sleep(600)
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pipes_open_here() -> set[str]:
    """Return this process's pipes, by names that no other pipe of this machine has."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return found


def test_it_says_that_it_does_not_isolate(fake_engine: FakeEngine) -> None:
    capabilities = fake_engine.capabilities()
    assert not capabilities.isolation
    assert not capabilities.limits
    assert not capabilities.repository_mounts
    assert (FakeEngine.__doc__ or "").startswith("NO ISOLATION")


def test_both_names_of_its_image_run_this_interpreter(fake_engine: FakeEngine, launch: Launcher) -> None:
    assert fake_engine.resolve("mirror") == fake_engine.resolve("fake")
    assert read_all(launch(fake_engine, "import sys; print(sys.executable)")) == f"{sys.executable}\n"


def test_killing_it_ends_what_ran_away(fake_engine: FakeEngine, launch: Launcher) -> None:
    container = launch(fake_engine, FAMILY)
    orphan = int(container.stream.receive().split()[0])
    assert lives(orphan)
    container.kill()
    wait_until(lambda: not lives(orphan))


def test_what_survived_the_program_ends_with_the_container(fake_engine: FakeEngine, launch: Launcher) -> None:
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    print(os.getpid(), flush=True)\n    time.sleep(600)"
    )
    container = launch(fake_engine, program)
    orphan = int(container.stream.receive())
    wait_until(lambda: container.inspect().status == "exited")
    assert lives(orphan)
    container.remove()
    wait_until(lambda: not lives(orphan))


def test_a_fork_bomb_can_be_killed(fake_engine: FakeEngine, launch: Launcher) -> None:
    program = """
import os, time
os.write(1, b"go")
for _ in range(5):
    os.fork()
    os.setpgid(0, 0) if os.getsid(0) != os.getpid() else None
time.sleep(600)
"""
    container = launch(fake_engine, program)
    assert container.stream.receive() == b"go"
    time.sleep(0.1)
    container.kill()
    # Every copy holds the standard output open: it ends when the last one has.
    assert read_all(container) == ""


def test_it_does_not_touch_the_processes_of_others(fake_engine: FakeEngine, launch: Launcher) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    neighbour = launch(fake_engine, "import time; time.sleep(600)")
    launch(fake_engine, "import time; time.sleep(600)").remove()
    try:
        assert bystander.poll() is None
        assert neighbour.inspect().status == "running"
    finally:
        bystander.kill()
        bystander.wait()


def test_the_home_folder_is_empty_and_goes_away(fake_engine: FakeEngine, launch: Launcher) -> None:
    container = launch(fake_engine, "import os; print(os.listdir(os.environ['HOME']), os.environ['HOME'])")
    content, _, home = read_all(container).strip().partition(" ")
    assert content == "[]"
    assert Path(home).is_dir()
    container.remove()
    assert not Path(home).exists()


def test_exit_codes_are_counted_as_an_engine_does(fake_engine: FakeEngine, launch: Launcher) -> None:
    def exit_code(program: str) -> int | None:
        container: Container = launch(fake_engine, program)
        wait_until(lambda: container.inspect().status == "exited")
        return container.inspect().exit_code

    assert exit_code("raise SystemExit(3)") == 3
    assert exit_code("import os; os.kill(os.getpid(), 9)") == 137


def test_an_interpreter_that_is_not_there_leaves_nothing(
    fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, made = os.pipe, set()

    def noted_pipe() -> tuple[int, int]:
        ends = pipe()
        made.add(os.readlink(f"/proc/self/fd/{ends[0]}"))
        return ends

    image = replace(fake_engine.resolve("fake"), interpreters=("/no/such/python",))
    with monkeypatch.context() as patch:
        patch.setattr("os.pipe", noted_pipe)
        container = fake_engine.create(make_spec(fake_engine, "pass", image=image))
    assert made & pipes_open_here() == made != set()
    with pytest.raises(ImageUnsupportedError, match="/no/such/python"):
        container.start()
    container.remove()
    assert not made & pipes_open_here()
    assert fake_engine.owned() == []
