"""The face for asyncio in real containers: side by side, cancelled, in a notebook; and nothing stays."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import nbformat
import pytest
from conftest import wait_until
from nbclient import NotebookClient
from sandboxes import own_containers

from chorus_nb import AsyncSandbox
from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker


def test_many_at_once_cancelled_and_gone(docker_engine: DockerEngine) -> None:
    """All run before any ends: each is cancelled only when all have begun."""
    before, threads = own_containers(docker_engine), set(threading.enumerate())
    ready = 0

    async def one(number: int, all_ready: asyncio.Event) -> str:
        nonlocal ready
        async with AsyncSandbox(engine=docker_engine, repo="none", memory="128m") as sb:
            await sb.run(f"kept = {number}")
            cell = asyncio.create_task(sb.run("import time; time.sleep(600)"))
            while (await sb.usage()).pids == 0 or sb._session.state != "busy":
                await asyncio.sleep(0.01)
            ready += 1
            if ready == 4:
                all_ready.set()
            await all_ready.wait()
            cell.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cell
            return str((await sb.run("kept")).result)

    async def main() -> None:
        all_ready = asyncio.Event()
        assert await asyncio.gather(*(one(number, all_ready) for number in range(4))) == ["0", "1", "2", "3"]

    asyncio.run(main())
    assert own_containers(docker_engine) <= before
    wait_until(lambda: not [each for each in set(threading.enumerate()) - threads if each.name == "chorus-async"])


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15, 0.3, 0.5])
def test_cancelling_the_start_leaves_no_container(docker_engine: DockerEngine, after_s: float) -> None:
    before = own_containers(docker_engine)

    async def main() -> None:
        sandbox = AsyncSandbox(engine=docker_engine, repo="none")
        try:
            async with asyncio.timeout(after_s):
                await sandbox.run("import time; time.sleep(600)")
        except TimeoutError:
            assert sandbox._session.state in ("new", "idle")
            if sandbox._session.state == "new":
                assert own_containers(docker_engine) <= before
        assert str((await sandbox.run("'usable'", timeout=60)).result) == "'usable'"
        await sandbox.close()

    asyncio.run(main())
    assert own_containers(docker_engine) <= before


def test_in_a_notebook_it_runs_in_the_loop_that_is_there(docker_engine: DockerEngine, tmp_path: Path) -> None:
    code = """
import asyncio
from chorus_nb import AsyncSandbox
async with AsyncSandbox(repo="none") as sb:
    beside = asyncio.create_task(asyncio.sleep(0, "beside"))
    result = await sb.run("6 * 7")
    try:
        async with asyncio.timeout(0.5):
            await sb.run("while True: pass")
    except TimeoutError:
        print("too long")
print(result.result, await beside)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "".join(output["text"] for output in notebook.cells[0].outputs) == "too long\n42 beside\n"
