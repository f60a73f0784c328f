"""What a cell puts out after it has ended: still in its name, within its limit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from conftest import wait_until
from sandboxes import opened, value

from chorus_nb.agent.wire import Message
from chorus_nb.engines.base import Engine
from chorus_nb.errors import ChorusError
from chorus_nb.sandbox import Sandbox


class Cell:
    """A cell that has ended, and what came after that."""

    def __init__(self, sandbox: Sandbox, code: str) -> None:
        self.messages: list[Message] = []
        self.late: list[Message] = []
        outcome = sandbox._session.execute(code, on_message=self.messages.append, on_late=self.late.append)
        assert outcome.reply["status"] == "ok"

    @property
    def late_text(self) -> str:
        return "".join(m.content["text"] for m in list(self.late) if m.msg_type == "stream")


THREAD = "import threading, time\ngo = threading.Event()\ndef work():\n    go.wait()\n    print('late')\n"
PRINTS = {
    "a task": "import asyncio\nasync def f(): print(await asyncio.sleep(0.3, 'late'))\nt = asyncio.create_task(f())",
    "a callback": "import asyncio\nasyncio.get_running_loop().call_later(0.3, print, 'late');",
    "a thread": "import threading\nthreading.Timer(0.3, print, ['late']).start()",
    "a process": "import subprocess\nsubprocess.Popen('sleep 0.3; echo late', shell=True);",
    "a fork": "import os, time\nif os.fork() == 0:\n    time.sleep(0.3)\n    print('late')\n    os._exit(0)",
}


@pytest.mark.parametrize("code", PRINTS.values(), ids=PRINTS)
def test_it_comes_in_the_name_of_its_cell(sandbox: Sandbox, code: str) -> None:
    cell = Cell(sandbox, code)
    wait_until(lambda: cell.late_text == "late\n")
    assert cell.messages == []
    assert "late" not in sandbox._session.logs()


def test_a_task_keeps_to_its_own_cell_while_others_run(sandbox: Sandbox) -> None:
    code = "import asyncio\ngo = asyncio.Event()\nasync def work():\n    await go.wait()\n    print('late')\n"
    first = Cell(sandbox, code + "t = asyncio.create_task(work())")
    second = Cell(sandbox, "print('second')\ngo.set()\nawait t")
    wait_until(lambda: first.late_text == "late\n")
    assert [m.content["text"] for m in second.messages] == ["second\n"]


def test_a_thread_belongs_to_the_latest_cell_as_under_ipykernel(sandbox: Sandbox) -> None:
    first = Cell(sandbox, THREAD + "t = threading.Thread(target=work); t.start()")
    second = Cell(sandbox, "go.set()\nt.join()")
    assert [m.content["text"] for m in second.messages] == ["late\n"]
    assert first.late == []


def test_displays_pass_the_policy(sandbox: Sandbox) -> None:
    show = "show({'text/html': '<script>alert(1)</script><b>bold</b>', 'text/plain': 'plain'}, raw=True)"
    cell = Cell(
        sandbox,
        f"import threading\nfrom IPython.display import display as show\nthreading.Timer(0.2, lambda: {show}).start()",
    )
    wait_until(lambda: cell.late)
    html = cell.late[0].content["data"]["text/html"]
    assert 'sandbox="allow-scripts"' in html
    assert "alert(1)" not in html


def test_figures_are_no_late_output(sandbox: Sandbox) -> None:
    """A cell that runs for some time is sampled, and its samples come as unasked as its late output."""
    cell = Cell(sandbox, "import time\ntime.sleep(0.6)\nkept = 'kept'")
    assert value(sandbox, "kept") == "'kept'"
    assert cell.late == []


def test_without_anybody_to_show_it_it_is_in_the_log(sandbox: Sandbox) -> None:
    sandbox.run("import threading\nthreading.Timer(0.2, print, ['to the log']).start()")
    wait_until(lambda: "to the log" in sandbox._session.logs())


@pytest.fixture
def small(engine: Engine) -> Iterator[Sandbox]:
    with opened(engine, max_output=10_000) as sandbox:
        yield sandbox


def test_a_flood_after_the_end_is_bounded_and_said_once(small: Sandbox) -> None:
    flood = "import threading\ndef flood():\n    while True: print('x' * 99)\n"
    cell = Cell(small, flood + "threading.Timer(0.3, flood).start()\nkept = 'kept'")
    wait_until(lambda: "[sandbox]" in cell.late_text)
    # As under ipykernel, a thread goes on in the latest cell, and so takes from the limit of each.
    assert small.run("assert kept").ok
    shown = sum(len(m.content["text"]) for m in cell.messages) + len(cell.late_text)
    assert shown < 11_000
    assert cell.late_text.count("[sandbox]") == 1
    small.restart()
    assert value(small, "'usable'") == "'usable'"


def test_a_question_after_the_end_of_its_cell_is_refused(sandbox: Sandbox) -> None:
    ask = "async def ask():\n    try: input()\n    except RuntimeError as e: print(e)\n"
    cell = Cell(sandbox, ask + "import asyncio\nt = asyncio.create_task(ask())")
    wait_until(lambda: "once its cell has ended" in cell.late_text)


def test_late_output_of_the_wrong_shape_ends_the_sandbox(engine: Engine) -> None:
    """The supervisor passes on what the worker sends; what it says is checked here, after a cell as during one."""
    with opened(engine) as sandbox:
        send = "gc.get_objects() and [o for o in gc.get_objects() if type(o).__name__ == 'Outbox'][0].send"
        later = "threading.Timer(0.3, send, ['stream', {'name': 5, 'text': 5}]).start()"
        Cell(sandbox, f"import gc, threading\nsend = {send}\n{later}")
        wait_until(lambda: sandbox._session.state == "dead")
        with contextlib.suppress(ChorusError):
            sandbox.run("1")
        assert value(sandbox, "'usable'") == "'usable'"
