"""Idle time, lifetime and what is added on disk: what any session keeps to, whatever engine it stands on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import InterruptedCellError, Running, opened, own_containers, start_cell, value

from chorus_nb.engines.base import Engine
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import (
    DiskQuotaExceededError,
    ExecutionTimeoutError,
    SandboxDiedError,
    SessionIdleError,
    SessionLifetimeError,
)
from chorus_nb.sandbox import Sandbox


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Nothing of this depends on the engine but how a container ends: two of them will do."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    return engine


def watching() -> int:
    return len([thread for thread in threading.enumerate() if thread.name == "chorus-watch"])


@contextmanager
def watched(engine: Engine, **options: object) -> Iterator[Sandbox]:
    before = watching()
    with opened(engine, **options) as sandbox:
        assert watching() == before + 1
        yield sandbox
    wait_until(lambda: watching() == before)


def has_ended(sandbox: Sandbox) -> bool:
    return sandbox._session.state == "dead"


# Idle time and lifetime


def test_a_session_that_nobody_uses_is_stopped_and_the_next_cell_says_so_once(engine: Engine) -> None:
    with watched(engine, idle=1.5) as sandbox:
        kept = own_containers(engine)
        sandbox.run("x = 1; import time; time.sleep(2)")  # A cell that runs is use, however long.
        assert value(sandbox, "x") == "1"
        wait_until(lambda: has_ended(sandbox))
        wait_until(lambda: not own_containers(engine) & kept)
        with pytest.raises(SessionIdleError, match=r"Nothing ran .* for 1\.5 s.*variables are lost.*--idle") as caught:
            sandbox.run("x")
        assert caught.value.limit_s == 1.5 <= caught.value.time_s
        assert not caught.value.state_kept
        assert isinstance(caught.value, (SandboxDiedError, TimeoutError))
        assert value(sandbox, "'x' in globals()") == "False"


def test_files_that_are_written_are_use_and_asking_what_it_costs_is_none(engine: Engine) -> None:
    with watched(engine, idle=2.0) as sandbox:
        for _ in range(6):
            time.sleep(0.4)
            sandbox.files.write("/tmp/x", b"x") if engine.capabilities().isolation else sandbox.files.list(".")
        assert not has_ended(sandbox)
        give_up_at = time.monotonic() + 20
        while not has_ended(sandbox):
            assert time.monotonic() < give_up_at
            try:
                sandbox._session.usage()
            except SandboxDiedError:
                break
            time.sleep(0.1)
        wait_until(lambda: has_ended(sandbox))


def test_the_end_of_its_lifetime_ends_the_cell_that_runs(engine: Engine) -> None:
    with watched(engine, lifetime=3) as sandbox:
        running = start_cell(
            sandbox, "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"
        )
        with pytest.raises(
            SessionLifetimeError, match=r"its lifetime of 3 s.*variables are lost.*--lifetime"
        ) as caught:
            running.join()
        assert caught.value.limit_s == 3 <= caught.value.time_s
        assert value(sandbox, "1 + 1") == "2"  # It was said; now there is a new one, with a lifetime of its own.
        wait_until(lambda: has_ended(sandbox))
        with pytest.raises(SessionLifetimeError):
            sandbox.run("1")


def test_without_such_a_limit_nobody_watches(engine: Engine) -> None:
    before = watching()
    with opened(engine):
        assert watching() == before


def test_a_session_that_is_closed_is_watched_no_more(engine: Engine) -> None:
    with watched(engine, idle=60, lifetime=3600):
        pass


# Time limit of each cell


def test_no_cell_and_no_command_runs_longer_than_the_session_allows(engine: Engine) -> None:
    with opened(engine, timeout="500ms") as sandbox:
        for run in (
            lambda: sandbox.run("import time; time.sleep(60)"),
            lambda: sandbox.run("time.sleep(60)", timeout=30),
            lambda: sandbox.command(["sleep", "60"], timeout=30),
        ):
            with pytest.raises(ExecutionTimeoutError, match=r"0\.5 s"):
                run()
        with pytest.raises(ExecutionTimeoutError, match=r"0\.2 s"):
            sandbox.run("time.sleep(60)", timeout=0.2)


# The disk: what is measured is a folder of this machine, so no engine takes part


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"x" * 2**20)  # It counts what is added.
    tmp_path.chmod(0o777)
    return tmp_path


FILL = """
import time
for i in range(1000):
    open(f'f{i}', 'wb').write(bytes(2**18))
    time.sleep(0.01)
"""
NEVER_YIELD = f"""
while True:
    try:
        exec({FILL!r})
    except BaseException:
        pass
"""


def test_a_cell_that_adds_too_much_is_interrupted_and_keeps_its_variables(
    fake_engine: FakeEngine, repository: Path
) -> None:
    with watched(fake_engine, repo="rw", repo_path=repository, disk="2m") as sandbox:
        sandbox.run("import os, time, glob; x = 7")
        with pytest.raises(DiskQuotaExceededError, match=r"limit of 2m; its variables are kept.*--disk") as caught:
            sandbox.run(FILL)
        assert caught.value.limit_bytes == 2 * 2**20 < caught.value.used_bytes
        assert caught.value.state_kept
        assert isinstance(caught.value, OSError)
        assert value(sandbox, "x") == "7"
        sandbox.run("time.sleep(1.5)\nfor path in glob.glob('f*'): os.unlink(path)")  # It may be mended.
        sandbox.run("open('small', 'wb').write(bytes(2**20))\ntime.sleep(1.5)")
        assert value(sandbox, "x") == "7"


def test_one_that_does_not_yield_is_killed(fake_engine: FakeEngine, repository: Path) -> None:
    with watched(fake_engine, repo="rw", repo_path=repository, disk="2m") as sandbox:
        with pytest.raises(
            DiskQuotaExceededError, match="what ran in it was killed, and its variables are lost"
        ) as caught:
            sandbox.run(NEVER_YIELD)
        assert not caught.value.state_kept
        assert value(sandbox, "'time' in globals()") == "False"


def test_a_command_that_adds_too_much_is_ended(fake_engine: FakeEngine, repository: Path) -> None:
    with (
        watched(fake_engine, repo="rw", repo_path=repository, disk="2m") as sandbox,
        pytest.raises(DiskQuotaExceededError),
    ):
        sandbox.command(["sh", "-c", "head -c 4000000 /dev/zero > big; sleep 60"])


def test_what_a_short_cell_added_is_told_before_the_next_one_and_growth_in_the_background_ends_it(
    fake_engine: FakeEngine, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorus_nb.watch._LOOK_IDLE_S", 1.0)
    with watched(fake_engine, repo="rw", repo_path=repository, disk="2m") as sandbox:
        sandbox.run("open('big', 'wb').write(bytes(2**22))")
        wait_until(lambda: sandbox._session._loss is not None)
        with pytest.raises(DiskQuotaExceededError, match="variables are kept"):
            sandbox.run("never = 1")
        assert value(sandbox, "'never' in globals()") == "False"
        sandbox.run("import subprocess; subprocess.Popen(['sh', '-c', 'sleep 1; head -c 4000000 /dev/zero > more'])")
        wait_until(lambda: has_ended(sandbox), timeout_s=40)
        with pytest.raises(DiskQuotaExceededError, match="variables are lost"):
            sandbox.run("1")


def test_what_can_not_be_looked_into_counts_as_too_much(fake_engine: FakeEngine, repository: Path) -> None:
    deep = "import os, time\nfor _ in range(60):\n    os.mkdir('d' * 100); os.chdir('d' * 100)\ntime.sleep(60)"
    with watched(fake_engine, repo="rw", repo_path=repository, disk="100m") as sandbox:
        with pytest.raises(DiskQuotaExceededError):
            sandbox.run(deep)
        sandbox.run("os.chdir('/'); time.sleep(0)")


def test_an_interrupt_of_the_users_comes_first(fake_engine: FakeEngine) -> None:
    with watched(fake_engine, idle=60) as sandbox:
        running: Running = start_cell(sandbox, "import time; time.sleep(60)")
        sandbox.interrupt()
        with pytest.raises(InterruptedCellError):
            running.join()
