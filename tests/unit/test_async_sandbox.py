"""The face for asyncio: cancelling, taking turns, and that nothing stays behind; on the fake engine."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from chorus_nb import AsyncSandbox, FakeEngine, Sandbox
from chorus_nb.errors import (
    ConfigurationError,
    ExecutionInterruptedError,
    ExecutionTimeoutError,
    SandboxDiedError,
    SessionClosedError,
    WorkerDiedError,
)
from chorus_nb.files import SandboxFiles
from chorus_nb.progress import TransferStopped

SLEEP = "BEGUN = True; import time; time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); BEGUN = True\nwhile True: pass"


def go(main: Coroutine[Any, Any, None]) -> None:
    """Run it, and see that it leaves no thread."""
    before = set(threading.enumerate())
    asyncio.run(main)
    wait_until(lambda: set(threading.enumerate()) <= before)


@asynccontextmanager
async def opened(engine: FakeEngine | None = None) -> AsyncIterator[AsyncSandbox]:
    engine = engine or FakeEngine()
    async with AsyncSandbox(engine=engine, repo="none") as sandbox:
        yield sandbox
    assert engine.owned() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def value(sandbox: AsyncSandbox, code: str) -> str:
    result = await sandbox.run(code)
    assert result.error is None, result.error
    return str(result.result)


async def started(sandbox: AsyncSandbox, code: str, folder: Path) -> asyncio.Task[Any]:
    """Begin a cell in a task; return once it is where it says ``BEGUN``."""
    begun = folder / "begun"
    begun.unlink(missing_ok=True)
    task = asyncio.create_task(sandbox.run(code.replace("BEGUN", f"open({str(begun)!r}, 'w').close(); BEGUN")))
    while not begun.exists():
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    return task


async def cancelled(task: asyncio.Task[Any]) -> BaseException | None:
    """Cancel it; return what the ``CancelledError`` came from."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value.__cause__


@pytest.mark.parametrize(("face", "model"), [("", Sandbox), ("files", SandboxFiles)])
def test_it_has_every_method_of_the_other_face_with_the_same_parameters(face: str, model: type) -> None:
    sandbox = AsyncSandbox(engine=FakeEngine(), repo="none")
    cls = type(getattr(sandbox, face) if face else sandbox)
    for name, method in inspect.getmembers(model, inspect.isfunction):
        if not name.startswith("_"):
            same = getattr(cls, name, None)
            assert same is not None, f"{cls.__name__} has no {name}"
            assert inspect.iscoroutinefunction(same), name
            assert inspect.signature(same).parameters == inspect.signature(method).parameters, name
    assert inspect.signature(AsyncSandbox).parameters == inspect.signature(Sandbox).parameters


def test_what_it_returns(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            first = await sb.run("x = 20; print('text')")
            assert (first.ok, first.stdout) == (True, "text\n")
            assert await value(sb, "2 * x") == "40"
            assert (await sb.run("1 / 0")).ok is False
            assert (await sb.command(["sh", "-c", "echo out; exit 3"])).exit_code == 3
            path = str(tmp_path / "a.txt")
            await sb.files.write(path, b"bytes")
            assert await sb.files.read(path) == b"bytes"
            assert [entry.name for entry in await sb.files.list(str(tmp_path))] == ["a.txt"]
            assert (await sb.usage()).pids > 0
            assert (await sb.info()).python_version
            await sb.restart()
            assert await value(sb, "'x' in globals()") == "False"

    go(main())


def test_without_a_block_the_first_call_starts_it() -> None:
    async def main() -> None:
        engine = FakeEngine()
        sandbox = AsyncSandbox(engine=engine, repo="none")
        assert engine.owned() == []
        assert await value(sandbox, "1") == "1"
        await sandbox.close()
        await sandbox.close()
        assert engine.owned() == []
        with pytest.raises(SessionClosedError):
            await sandbox.run("1")

    go(main())


def test_cells_of_one_sandbox_take_turns() -> None:
    async def main() -> None:
        async with opened() as sb:
            await sb.run("order = []")
            await asyncio.gather(*(sb.run(f"import time; time.sleep(0.05); order.append({n})") for n in range(5)))
            assert await value(sb, "order") == "[0, 1, 2, 3, 4]"

    go(main())


def test_sandboxes_run_side_by_side(tmp_path: Path) -> None:
    """Each cell waits for all others to have begun."""
    code = """
import pathlib, time
folder = pathlib.Path({folder!r})
(folder / {name!r}).touch()
while len(list(folder.iterdir())) < 12: time.sleep(0.01)
{name!r}
"""

    async def one(name: str) -> str:
        async with opened_alone() as sb:
            return str((await sb.run(code.format(folder=str(tmp_path), name=name), timeout=60)).result)

    def opened_alone() -> AsyncSandbox:
        return AsyncSandbox(engine=FakeEngine(), repo="none")

    async def main() -> None:
        names = [f"n{n}" for n in range(12)]
        assert await asyncio.gather(*map(one, names)) == [repr(name) for name in names]

    go(main())


# Cancelling


def test_a_cancelled_cell_is_interrupted_and_keeps_the_state(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            await sb.run("kept = 7")
            cause = await cancelled(await started(sb, SLEEP, tmp_path))
            assert isinstance(cause, ExecutionInterruptedError)
            assert sb._session.state == "idle"
            assert await value(sb, "kept") == "7"

    go(main())


def test_cancelling_at_any_moment_keeps_the_state() -> None:
    chance = random.Random(7)

    async def main() -> None:
        async with opened() as sb:
            await sb.run("kept = 7")
            for _ in range(60):
                task = asyncio.create_task(sb.run(SLEEP))
                await asyncio.sleep(chance.uniform(0, 0.003))
                await cancelled(task)
                assert await value(sb, "kept") == "7"

    go(main())


def test_cancelling_before_anything_began_does_nothing() -> None:
    async def main() -> None:
        async with opened() as sb:
            task = asyncio.create_task(sb.run("kept = 1"))
            await cancelled(task)
            assert await value(sb, "'kept' in globals()") == "False"

    go(main())


def test_a_cancelled_command_ends() -> None:
    async def main() -> None:
        async with opened() as sb:
            task = asyncio.create_task(sb.command(["sleep", "607"]))
            await asyncio.sleep(0.2)
            await cancelled(task)
            assert (await sb.command(["pgrep", "-fx", "sleep 607"])).exit_code == 1

    go(main())


def test_however_often_it_is_cancelled_the_cell_has_ended_first(tmp_path: Path) -> None:
    code = "import time\ntry:\n    BEGUN = True\n    time.sleep(600)\nfinally:\n    time.sleep(0.5)\n    tidied = True"

    async def main() -> None:
        async with opened() as sb:
            task = await started(sb, code, tmp_path)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0.05)
                assert not task.done()
            await cancelled(task)
            assert await value(sb, "tidied") == "True"

    go(main())


def test_a_cancelled_cell_that_does_not_yield_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            cause = await cancelled(await started(sb, STUBBORN, tmp_path))
            assert isinstance(cause, WorkerDiedError)
            assert await value(sb, "'usable'") == "'usable'"

    go(main())


def test_the_time_limits_of_asyncio_work() -> None:
    async def main() -> None:
        async with opened() as sb:
            await sb.run("kept = 7")
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.3):
                    await sb.run(SLEEP)
            assert not isinstance(caught.value, ExecutionTimeoutError)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sb.run(SLEEP), 0.3)
            with pytest.raises(ExecutionTimeoutError):
                await sb.run(SLEEP, timeout="300ms")
            assert await value(sb, "kept") == "7"

    go(main())


def test_who_waits_for_a_turn_may_be_cancelled_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            gate = tmp_path / "gate"
            code = (
                f"import os, time; BEGUN = True\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n'through'"
            )
            running = await started(sb, code, tmp_path)
            waiting = asyncio.create_task(sb.run("never = 1"))
            await asyncio.sleep(0.05)
            await cancelled(waiting)
            gate.touch()
            assert str((await running).result) == "'through'"
            assert await value(sb, "'never' in globals()") == "False"

    go(main())


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4])
def test_cancelling_the_start_leaves_nothing(after_s: float) -> None:
    async def main() -> None:
        engine = FakeEngine()
        sandbox = AsyncSandbox(engine=engine, repo="none")
        task = asyncio.create_task(sandbox.__aenter__())
        await asyncio.sleep(after_s)
        if not task.done():
            await cancelled(task)
            assert engine.owned() == []
            assert sandbox._session.state == "new"
        assert await value(sandbox, "'usable'") == "'usable'"
        await sandbox.close()
        assert engine.owned() == []

    go(main())


def test_who_waits_for_the_start_of_another_task_may_be_cancelled_alone() -> None:
    async def main() -> None:
        engine = FakeEngine()
        sandbox = AsyncSandbox(engine=engine, repo="none")
        cell = asyncio.create_task(sandbox.run("1"))
        await asyncio.sleep(0)
        usage = asyncio.create_task(sandbox.usage())
        await asyncio.sleep(0.01)
        assert sandbox._session.state == "starting"
        await cancelled(usage)
        assert str((await cell).result) == "1"
        await sandbox.close()

    go(main())


# Interrupts and ends


def test_an_interrupt_is_an_error_that_the_loop_survives(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            await sb.run("kept = 7")
            await sb.interrupt()
            task = await started(sb, SLEEP, tmp_path)
            assert (await sb.usage()).pids > 0
            await sb.interrupt()
            with pytest.raises(ExecutionInterruptedError):
                await task
            assert await value(sb, "kept") == "7"

    go(main())


def test_closing_ends_the_cell_that_runs_and_those_that_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            running = await started(sb, SLEEP, tmp_path)
            waiting = asyncio.create_task(sb.run("1"))
            await asyncio.sleep(0)
            await sb.close()
            for task in (running, waiting):
                with pytest.raises(SessionClosedError):
                    await task

    go(main())


def test_a_loss_is_told_once_before_it_is_started_anew() -> None:
    async def main() -> None:
        async with opened() as sb:
            await sb.run("x = 1")
            sb._session.kill()
            while sb._session.state != "dead":
                await asyncio.sleep(0.01)
            with pytest.raises(SandboxDiedError):
                await sb.run("x")
            assert await value(sb, "'x' in globals()") == "False"

    go(main())


def test_bad_input_is_refused_as_by_the_other_face() -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="memory"):
            AsyncSandbox(engine=FakeEngine(), memory="lots")
        async with opened() as sb:
            with pytest.raises(ConfigurationError, match="timeout"):
                await sb.run("1", timeout="soon")

    go(main())


def test_ending_the_program_interrupts_the_cell(tmp_path: Path) -> None:
    """``asyncio.run`` cancels on Ctrl-C what it runs: the same as here, where the main task ends first."""
    engine = FakeEngine()

    async def background() -> None:
        async with AsyncSandbox(engine=engine, repo="none") as sandbox:
            await started(sandbox, SLEEP, tmp_path)
            await asyncio.sleep(600)

    async def main() -> None:
        task = asyncio.create_task(background())
        while not (tmp_path / "begun").exists():
            assert not task.done()
            await asyncio.sleep(0.01)

    go(main())
    assert engine.owned() == []


def test_ctrl_c_ends_the_program_in_good_order(tmp_path: Path) -> None:
    engine = FakeEngine()
    kept = []

    async def main() -> None:
        async with AsyncSandbox(engine=engine, repo="none") as sandbox:
            await sandbox.run("kept = 7")
            task = await started(sandbox, SLEEP, tmp_path)
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await task
            except asyncio.CancelledError:
                kept.append(await value(sandbox, "kept"))
                raise

    with pytest.raises(KeyboardInterrupt):
        go(main())
    assert (kept, engine.owned()) == (["7"], [])


def test_a_file_as_a_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened() as sb:
            async with await sb.files.open(f"{tmp_path}/x", "wb") as file:
                await file.write(b"some ")
                await file.write(b"bytes")
            async with await sb.files.open(f"{tmp_path}/x") as file:
                assert await file.seek(5) == 5
                assert await file.read(2) == b"by"
                assert await file.read() == b"tes"
            with suppress(ZeroDivisionError):
                async with await sb.files.open(f"{tmp_path}/y", "wb") as file:
                    await file.write(bytes(1 // 0))
            assert not (tmp_path / "y").exists()

    go(main())


def test_a_copy_that_is_cancelled_ends_with_its_next_piece(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.write(b"x" * 2**20)
        file.truncate(2**42)  # Longer than anybody waits.
    (tmp_path / "in").mkdir()

    async def main() -> None:
        async with opened() as sb:
            copying = asyncio.create_task(sb.files.put(tmp_path / "large", f"{tmp_path}/in/", progress=False))
            while not list((tmp_path / "in").iterdir()):
                assert not copying.done()
                await asyncio.sleep(0.01)
            assert isinstance(await cancelled(copying), TransferStopped)
            assert list((tmp_path / "in").iterdir()) == []

    go(main())
