"""The event loop under the cells: what goes on between them, and what they may do to it."""

from __future__ import annotations

import contextlib
import time

import pytest
from sandboxes import InterruptedCellError, Running, start_cell, value

from chorus_nb.sandbox import Sandbox


@pytest.mark.parametrize("awaits", ["", "await asyncio.sleep(0)\n"], ids=["plain", "awaiting"])
def test_a_cell_finds_a_running_loop_and_task(sandbox: Sandbox, awaits: str) -> None:
    code = f"import asyncio\n{awaits}asyncio.get_running_loop().is_running() and asyncio.current_task() is not None"
    assert value(sandbox, code) == "True"


def test_it_is_the_same_loop_from_cell_to_cell(sandbox: Sandbox) -> None:
    value(sandbox, "import asyncio\nfirst = asyncio.get_running_loop()")
    assert value(sandbox, "await asyncio.sleep(0)\nasyncio.get_running_loop() is first") == "True"


def test_a_task_goes_on_between_cells_and_while_one_awaits(sandbox: Sandbox) -> None:
    value(sandbox, "import asyncio\ngo, done = asyncio.Event(), asyncio.Event()")
    value(sandbox, "async def work():\n    await go.wait()\n    done.set()\n    return 'worked'")
    value(sandbox, "task = asyncio.create_task(work())")
    value(sandbox, "go.set()")
    assert value(sandbox, "await asyncio.wait_for(done.wait(), 20)\nawait task") == "'worked'"


def test_context_variables_are_kept_as_under_ipykernel(sandbox: Sandbox) -> None:
    value(sandbox, "import asyncio, contextvars\nv = contextvars.ContextVar('v', default=0)\nv.set(1);")
    value(sandbox, "await asyncio.sleep(0)\nv.set(2);")
    assert value(sandbox, "v.get()") == "1"


WAITING = {
    "in the loop": "await asyncio.sleep(60)",
    "busy": "await asyncio.sleep(0)\nwhile True: pass",
    "printing": "await asyncio.sleep(0)\nwhile True: print(end='')",
    "in another task": "async def busy():\n    while True: pass\nawait asyncio.gather(busy(), asyncio.sleep(60))",
    "in a callback": "asyncio.get_running_loop().call_soon(lambda: time.sleep(60))\nawait asyncio.sleep(60)",
}


@pytest.mark.parametrize("code", WAITING.values(), ids=WAITING)
def test_an_interrupt_reaches_a_cell_that_awaits(sandbox: Sandbox, code: str) -> None:
    value(sandbox, "kept = 'kept'; import asyncio, time")
    running = start_cell(sandbox, code)
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join(60)
    assert value(sandbox, "kept") == "'kept'"


def test_a_cell_that_awaits_may_catch_its_interrupt_and_go_on(sandbox: Sandbox) -> None:
    code = "import asyncio\ntry:\n    await asyncio.sleep(60)\nexcept KeyboardInterrupt:\n    caught = 'caught'\n"
    # A cancellation left over from the interrupt would end this instead.
    code += "await asyncio.wait_for(asyncio.sleep(0.01), 10)\nafter = 'after'"
    running = start_cell(sandbox, code)
    sandbox.interrupt()
    running.join(60)
    assert value(sandbox, "caught + after") == "'caughtafter'"


def test_an_interrupt_of_a_cell_reaches_what_keeps_the_loop_from_it(sandbox: Sandbox) -> None:
    """A callback that an earlier cell has left: it, and not the cell, has the loop."""
    value(sandbox, "import asyncio\ndef spin():\n    while True: pass\nasyncio.get_running_loop().call_soon(spin);")
    running = Running(lambda: sandbox.run("1"))
    time.sleep(0.5)
    sandbox.interrupt()
    with contextlib.suppress(InterruptedCellError):
        running.join(60)
    assert value(sandbox, "spin is not None") == "True"


HARMED = {
    "stops it": "asyncio.get_running_loop().stop()",
    "sets another": "asyncio.set_event_loop(asyncio.new_event_loop())",
    "cancels every task": "for task in asyncio.all_tasks(): task.cancel()",
    "takes the readers away": "l = asyncio.get_running_loop()\nfor fd in range(100): l.remove_reader(fd)",
    "leaves a task that exits": "async def leave(): raise SystemExit(3)\ntask = asyncio.create_task(leave())",
    "leaves a callback that exits": "import sys\nasyncio.get_running_loop().call_soon(sys.exit, 3)",
    "leaves a callback that fails": "asyncio.get_running_loop().call_soon(lambda: 1 / 0)",
    "forks into it": "import os\nos.fork()",
    "forks a task into it": "import os\nawait asyncio.sleep(0)\nos.fork()\nawait asyncio.sleep(0.05)",
    "has a policy of its own": "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
}


@pytest.mark.parametrize("code", HARMED.values(), ids=HARMED)
def test_what_a_cell_does_to_the_loop_the_next_one_survives(sandbox: Sandbox, code: str) -> None:
    value(sandbox, "kept = 'kept'\nimport asyncio")
    sandbox.run(code, timeout=20)
    assert value(sandbox, "await asyncio.sleep(0.01)\nkept") == "'kept'"
    assert value(sandbox, "kept") == "'kept'"


def test_the_loop_can_not_be_closed_as_it_runs(sandbox: Sandbox) -> None:
    result = sandbox.run("import asyncio\nasyncio.get_running_loop().close()")
    assert result.error is not None
    assert "running event loop" in result.error.evalue
    assert value(sandbox, "await asyncio.sleep(0.01)\n'usable'") == "'usable'"
