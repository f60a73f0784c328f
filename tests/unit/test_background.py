"""``%%sandbox --bg`` in a real IPython shell, on the fake engine: the handle, the queue, the ends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time

import pytest

from chorus_nb.background import BackgroundCell
from chorus_nb.errors import (
    CellCancelledError,
    CellNotDoneError,
    ConfigurationError,
    ExecutionError,
    ExecutionInterruptedError,
    ExecutionTimeoutError,
    SessionClosedError,
)
from notebooks import Notebook

FOREVER = "%%sandbox --bg\nimport time\nbegun = True\ntime.sleep(600)"


def start(notebook: Notebook, cell: str) -> BackgroundCell:
    value = notebook.run(cell).result
    assert isinstance(value, BackgroundCell)
    return value


def test_it_returns_at_once_and_has_the_value_later(notebook: Notebook) -> None:
    job = start(notebook, "%%sandbox --bg\nimport time; time.sleep(1)\n6 * 7")
    assert not job.done()
    assert job.wait(0.01) is False
    with pytest.raises(CellNotDoneError, match=r"after 0\.01 s") as caught:
        job.result(0.01)
    assert isinstance(caught.value, TimeoutError)
    assert "cancel()" in caught.value.next_step
    assert str(job.result(30)) == "42"
    assert (job.status, job.done(), job.exception()) == ("done", True, None)
    assert job.cancel() is False
    assert asyncio.run(awaited(job)) == "42"
    assert concurrent.futures.wait([job]).done == {job}


def wait_until_busy(notebook: Notebook) -> None:
    while notebook.manager.get("default").state != "busy":
        time.sleep(0.02)


async def awaited(job: BackgroundCell) -> str:
    return str(await job)


def test_an_error_is_raised_by_the_result(notebook: Notebook) -> None:
    job = start(notebook, "%%sandbox --bg\n1 / 0")
    with pytest.raises(ExecutionError, match="division by zero"):
        job.result(30)
    assert job.status == "error"


def test_cells_of_a_session_take_turns_in_their_order(notebook: Notebook) -> None:
    jobs = [
        start(notebook, f"%%sandbox --bg\nimport time; time.sleep(0.3); x = [*globals().get('x', []), {n}]")
        for n in range(3)
    ]
    assert jobs[2].status == "queued"
    assert str(notebook.run("%%sandbox\nx").result) == "[0, 1, 2]"
    assert [job.status for job in jobs] == ["done"] * 3


def test_sessions_do_not_wait_for_each_other(notebook: Notebook) -> None:
    job = start(notebook, FOREVER)
    assert str(notebook.run("%%sandbox other\n1").result) == "1"
    assert not job.done()
    assert job.cancel()


def test_a_queued_cell_is_cancelled_and_a_running_one_interrupted(notebook: Notebook) -> None:
    running, queued = start(notebook, FOREVER), start(notebook, "%%sandbox --bg\nnever = True")
    assert queued.cancel()
    with pytest.raises(CellCancelledError, match="cancelled before its turn"):
        queued.result(30)
    assert queued.status == "cancelled"
    wait_until_busy(notebook)
    assert running.interrupt()
    with pytest.raises(ExecutionInterruptedError):
        running.result(30)
    assert running.status == "interrupted"
    assert str(notebook.run("%%sandbox\n'never' in globals()").result) == "False"


def test_cancelling_while_it_starts_ends_it(notebook: Notebook) -> None:
    job = start(notebook, "%%sandbox fresh --bg\nimport time; time.sleep(600)")
    assert job.cancel()
    assert job.exception(30) is not None


def test_the_magic_interrupts_it_and_keeps_the_variables(notebook: Notebook) -> None:
    job = start(notebook, FOREVER)
    wait_until_busy(notebook)
    time.sleep(0.3)
    notebook.run("%sandbox interrupt")
    assert isinstance(job.exception(30), ExecutionInterruptedError)
    assert str(notebook.run("%%sandbox\nbegun").result) == "True"


def test_a_time_limit_holds(notebook: Notebook) -> None:
    job = start(notebook, "%%sandbox --bg --timeout 0.5\nwhile True: pass")
    assert isinstance(job.exception(30), ExecutionTimeoutError)


def test_nobody_can_be_asked(notebook: Notebook) -> None:
    error = start(notebook, "%%sandbox --bg\ninput('name? ')").exception(30)
    assert isinstance(error, ExecutionError)
    assert error.ename == "StdinNotImplementedError"
    assert "background cell" in error.evalue


def test_stopping_the_session_ends_it_and_what_is_queued(notebook: Notebook) -> None:
    jobs = [start(notebook, FOREVER), start(notebook, FOREVER)]
    wait_until_busy(notebook)
    notebook.run("%sandbox stop")
    assert [type(job.exception(30)) for job in jobs] == [SessionClosedError, SessionClosedError]
    assert str(notebook.run("%%sandbox\n1").result) == "1"


def test_in_its_own_cell_it_always_looks_the_same(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nx = 1")
    job = start(notebook, "%%sandbox --bg\nx")
    assert "<BackgroundCell in 'default'>\n" in notebook.stdout
    job.wait(30)
    notebook.run("_")
    assert "<BackgroundCell in 'default': done>" in notebook.stdout


def test_several_sessions_are_refused(notebook: Notebook) -> None:
    for line in ("a,b --bg", "--bg --matrix memory=1g,2g"):
        error = notebook.error(f"%%sandbox {line}\n1")
        assert isinstance(error, ConfigurationError)
        assert "one session" in str(error)
    assert notebook.manager.sessions() == []
