"""Interrupts, time limits, restarts and the ways a session ends, on every engine."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import (
    InterruptedCellError,
    Running,
    opened,
    own_containers,
    start_cell,
    value,
)

from chorus_nb.agent.wire import Message
from chorus_nb.config import SandboxConfig
from chorus_nb.engines.base import Engine
from chorus_nb.errors import (
    ChorusError,
    ConfigurationError,
    ExecutionTimeoutError,
    SandboxDiedError,
    SessionBusyError,
    SessionClosedError,
    WorkerDiedError,
)
from chorus_nb.execution import GRACE_S
from chorus_nb.sandbox import Sandbox
from chorus_nb.session import Session

PROMPT_S = 10
"""Far above the half second that is wanted, for a busy machine. That nothing was killed meanwhile, its state tells."""


STUBBORN = """
import time
while True:
    try:
        while True: time.sleep(0.05)
    except KeyboardInterrupt:
        print("no")
"""


# Interrupts


def test_an_interrupt_is_prompt_and_keeps_the_state(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    running = start_cell(sandbox, "import time; time.sleep(600)")
    asked_at_s = time.monotonic()
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join()
    assert running.ended_at_s - asked_at_s < PROMPT_S
    assert value(sandbox, "kept") == "7"


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "while True: print('flood')",
        "import subprocess; subprocess.run(['sleep', '600'])",
        "import subprocess; subprocess.run('yes', shell=True)",
        "import threading; threading.Event().wait()",
        "import asyncio; await asyncio.sleep(600)",
        "import sys\nwhile True: display(1)",
    ],
)
def test_busy_cells_are_interrupted_promptly(sandbox: Sandbox, code: str) -> None:
    sandbox.run("kept = 7")
    running = start_cell(sandbox, code)
    asked_at_s = time.monotonic()
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join()
    assert running.ended_at_s - asked_at_s < PROMPT_S
    assert value(sandbox, "kept") == "7"


def test_ctrl_c_in_the_waiting_thread_interrupts_the_cell(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        sandbox.run("import time; time.sleep(600)")
    assert value(sandbox, "kept") == "7"


def test_ctrl_c_is_heard_where_a_library_has_waits_begun_anew(sandbox: Sandbox) -> None:
    """As polars does, once it is imported."""
    sandbox.run("kept = 7")
    signal.siginterrupt(signal.SIGINT, False)
    try:
        test_ctrl_c_in_the_waiting_thread_interrupts_the_cell(sandbox)
    finally:
        signal.siginterrupt(signal.SIGINT, True)


def test_a_cell_may_catch_its_interrupt(sandbox: Sandbox) -> None:
    code = """
import time
try:
    print("waiting", flush=True)
    time.sleep(600)
except KeyboardInterrupt: print("caught")
"""
    waiting = threading.Event()
    texts: list[str] = []

    def note(message: Message) -> None:
        texts.append(message.content["text"])
        waiting.set()

    running = Running(lambda: sandbox._session.execute(code, on_message=note))
    assert waiting.wait(60)
    sandbox.interrupt()
    assert not running.join().interrupted
    assert "".join(texts) == "waiting\ncaught\n"


def test_a_cell_that_ignores_the_interrupt_is_killed_after_the_grace_time(sandbox: Sandbox) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('begun', flush=True)\n"
    running = start_cell(sandbox, "while True: pass", begin=deaf)
    asked_at_s = time.monotonic()
    sandbox.interrupt()
    with pytest.raises(WorkerDiedError, match=r"did not yield.*are lost"):
        running.join()
    assert running.ended_at_s - asked_at_s >= GRACE_S
    assert value(sandbox, "'usable'") == "'usable'"


def test_interrupting_an_idle_session_does_nothing(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    sandbox.interrupt()
    assert value(sandbox, "kept") == "7"


def test_many_interrupts_of_a_printing_cell_never_break_the_stream(sandbox: Sandbox) -> None:
    code = """
for _ in range(10**9):
    try:
        while True: print("x" * 50); display(1)
    except KeyboardInterrupt:
        caught += 1
        if caught >= 20: break
"""
    sandbox.run("caught = 0")
    session = sandbox._session
    running = start_cell(sandbox, code, begin="")
    # Beside `interrupt`, which would count the grace time.
    execution = session._runner.execution
    assert execution is not None
    while running.ended_at_s == 0.0:
        execution._tell("interrupt_request")
        time.sleep(0.01)
    with contextlib.suppress(InterruptedCellError):
        running.join()
    # How many it caught is chance: one may come inside `except`. That the same process still answers is not.
    assert value(sandbox, "caught >= 0") == "True"


# Time limits


def test_a_cell_over_its_time_is_interrupted_and_keeps_the_state(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    with pytest.raises(ExecutionTimeoutError, match=r"longer than 0\.5 s") as caught:
        sandbox.run("import time; time.sleep(600)", timeout=0.5)
    assert (caught.value.timeout_s, caught.value.state_kept) == (0.5, True)
    assert value(sandbox, "kept") == "7"


def test_a_cell_that_swallows_the_interrupt_is_still_reported_as_too_slow(sandbox: Sandbox) -> None:
    with pytest.raises(ExecutionTimeoutError) as caught:
        sandbox.run("import time\ntry: time.sleep(600)\nexcept KeyboardInterrupt: pass", timeout="500ms")
    assert caught.value.state_kept


def test_a_stubborn_cell_over_its_time_is_killed(sandbox: Sandbox) -> None:
    with pytest.raises(ExecutionTimeoutError, match="are lost") as caught:
        sandbox.run(STUBBORN, timeout=0.5)
    assert not caught.value.state_kept
    assert value(sandbox, "'usable'") == "'usable'"


@pytest.mark.parametrize("timeout", [0, -1, "soon", float("inf"), float("nan")])
def test_a_bad_timeout_is_refused(sandbox: Sandbox, timeout: float | str) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        sandbox.run("1", timeout=timeout)


# Restarts and deaths


def test_restart_empties_the_namespace(sandbox: Sandbox) -> None:
    sandbox.run("x = 1")
    sandbox.restart()
    assert value(sandbox, "'x' in globals()") == "False"
    assert sandbox._session.state == "idle"


def test_restart_ends_what_a_cell_left_running(sandbox: Sandbox) -> None:
    code = "import subprocess\nchild = subprocess.Popen(['sleep', '601'], start_new_session=True)\nchild.pid"
    pid = value(sandbox, code)
    sandbox.restart()
    # As a zombie it would still be there: it must have been reaped as well.
    wait_until(lambda: value(sandbox, f"import os; os.path.exists('/proc/{pid}')") == "False")


def test_restart_while_a_cell_runs_ends_the_cell(sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "import time; time.sleep(600)")
    sandbox.restart()
    with pytest.raises(WorkerDiedError, match="restarted"):
        running.join()
    assert value(sandbox, "1") == "1"


@pytest.mark.parametrize(
    ("code", "exit_code", "number"),
    [
        ("import os; os._exit(3)", 3, None),
        ("import os; os._exit(0)", 0, None),
        ("import ctypes; ctypes.string_at(0)", None, signal.SIGSEGV),
        ("import os; os.kill(os.getpid(), 9)", None, signal.SIGKILL),
        ("import os; os.abort()", None, signal.SIGABRT),
        ("import os; os.kill(0, 9)", None, signal.SIGKILL),
    ],
)
def test_the_end_of_the_process_is_told_and_survived(
    sandbox: Sandbox, code: str, exit_code: int | None, number: int | None
) -> None:
    sandbox.run("x = 1")
    printed: list[Message] = []
    with pytest.raises(WorkerDiedError, match="are lost") as caught:
        sandbox._session.execute("print('last words', flush=True)\n" + code, on_message=printed.append)
    assert (caught.value.exit_code, caught.value.signal) == (exit_code, number)
    assert "".join(message.content["text"] for message in printed) == "last words\n"
    assert value(sandbox, "'x' in globals()") == "False"


def test_a_process_that_ends_between_cells_is_told_once(sandbox: Sandbox) -> None:
    sandbox.run("import os, threading, time\nthreading.Timer(0.1, os._exit, (1,)).start()")
    wait_until(lambda: sandbox._session._loss is not None)
    with pytest.raises(WorkerDiedError, match="while no cell was running"):
        sandbox.run("1")
    assert value(sandbox, "2") == "2"


@pytest.mark.parametrize("then", ["start", "_watch.cell_begins"], ids=["before it is addressed", "before it is sent"])
def test_a_cell_whose_process_ends_just_then_does_not_run(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    sandbox.files.write("ran", b"")
    path = value(sandbox, "import os; os.path.abspath('go')").strip("'")
    ends = f"x = 1\nwhile not os.path.exists({path!r}): time.sleep(0.01)\nos.remove({path!r})\nos._exit(3)"
    sandbox.run(f"import threading, time\nthreading.Thread(target=exec, args=({ends!r}, globals())).start()")
    session = sandbox._session
    owner = session._watch if then.startswith("_watch") else session
    name = then.rpartition(".")[2]
    original, before = getattr(owner, name), session.notices.generation

    def end_the_process() -> None:
        original()
        monkeypatch.undo()
        sandbox.files.write(path, b"")
        wait_until(lambda: session.notices.generation != before)

    monkeypatch.setattr(owner, name, end_the_process)
    with pytest.raises(WorkerDiedError, match="while no cell was running"):
        sandbox.run("open('ran', 'w').write('it did')")
    assert value(sandbox, "open('ran').read(), 'x' in globals()") == "('', False)"


def test_closing_every_descriptor_costs_the_process_only(sandbox: Sandbox) -> None:
    with pytest.raises(ChorusError):
        sandbox.run("import os; os.closerange(0, 1024)\nprint('x')", timeout=10)
    assert value(sandbox, "1") == "1"


def test_garbage_on_every_descriptor_costs_the_process_only(sandbox: Sandbox) -> None:
    code = """
import os
for _ in range(100):
    for fd in range(256):
        try:
            os.write(fd, os.urandom(200))
        except OSError:
            pass
"""
    with pytest.raises(WorkerDiedError):
        sandbox.run(code)
    assert value(sandbox, "1") == "1"


def test_forged_messages_are_bounded_and_end_nothing_but_the_process(sandbox: Sandbox) -> None:
    code = """
import json, os, socket, stat, struct
body = json.dumps({"msg_id": "", "msg_type": "worker_exit", "parent_id": "", "content": {}, "metadata": {}}).encode()
frames = struct.pack(">4sIH", b"CNB\\x01", len(body), 0) + body + struct.pack(">4sIH", b"CNB\\x01", 2**32 - 1, 0)
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, frames)
    except OSError:
        pass
import time; time.sleep(60)
"""
    with pytest.raises(WorkerDiedError):
        sandbox.run(code, timeout=30)
    assert value(sandbox, "1") == "1"


# Between cells


def test_a_process_in_the_background_is_heard_while_a_cell_runs_and_logged_after(sandbox: Sandbox) -> None:
    sandbox.run("import subprocess\nsubprocess.Popen('sleep 0.5; echo from behind', shell=True)")
    wait_until(lambda: "from behind" in sandbox._session.logs())
    sandbox.run("subprocess.Popen('sleep 0.2; echo in time', shell=True)")
    assert "in time" in sandbox.run("import time; time.sleep(2)").stdout


# Several threads


def test_one_cell_at_a_time(sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "import time; time.sleep(600)")
    with pytest.raises(SessionBusyError, match="another cell") as caught:
        sandbox.run("1")
    assert caught.value.retryable
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join()
    assert value(sandbox, "1") == "1"


def test_a_failing_listener_of_messages_leaves_the_session_usable(sandbox: Sandbox) -> None:
    def refuse(message: Message) -> None:
        raise RuntimeError("front end is gone")

    with pytest.raises(RuntimeError, match="front end is gone"):
        sandbox._session.execute("print(1, flush=True)\nwhile True: pass", on_message=refuse)
    # Nobody waits for that cell any more, so it must not hold up the next.
    wait_until(lambda: sandbox._session._loss is not None)
    with pytest.raises(WorkerDiedError):
        sandbox.run("1")
    assert sandbox.run("1", timeout=20).ok


# The session's life: each with a sandbox of its own


def test_close_while_a_cell_runs(engine: Engine) -> None:
    with opened(engine) as sandbox:
        running = start_cell(sandbox, "import time; time.sleep(600)")
        sandbox.close()
        with pytest.raises(SessionClosedError):
            running.join()
        assert sandbox._session.state == "closed"
        with pytest.raises(SessionClosedError):
            sandbox.run("1")
        sandbox.close()


def test_killed_containers_are_told_once_and_started_anew(engine: Engine) -> None:
    with opened(engine) as sandbox:
        sandbox.run("x = 1")
        running = start_cell(sandbox, "import time; time.sleep(600)")
        sandbox._session.kill()
        with pytest.raises(SandboxDiedError, match="are lost"):
            running.join()
        wait_until(lambda: sandbox._session.state == "dead")
        assert value(sandbox, "'x' in globals()") == "False"


def test_a_container_killed_between_cells_is_told_once(engine: Engine) -> None:
    before = own_containers(engine)
    with opened(engine) as sandbox:
        sandbox._session.kill()
        wait_until(lambda: own_containers(engine) <= before)
        wait_until(lambda: sandbox._session.state == "dead")
        with pytest.raises(SandboxDiedError):
            sandbox.run("1")
        assert value(sandbox, "2") == "2"


def test_states(engine: Engine) -> None:
    session = Session("states", SandboxConfig.from_options(repo="none"), engine)
    assert (session.state, session.uptime_s, session.info) == ("new", None, None)
    try:
        session.start()
        session.start()
        assert session.state == "idle"
        assert session.uptime_s is not None
        assert session.info is not None
    finally:
        session.close()
    assert (session.state, session.uptime_s) == ("closed", None)


def test_several_threads_may_start_it_at_once(engine: Engine) -> None:
    before = own_containers(engine)
    session = Session("raced", SandboxConfig.from_options(repo="none"), engine)
    try:
        racers = [Running(session.start) for _ in range(4)]
        for racer in racers:
            racer.join()
        assert len(own_containers(engine) - before) == 1
    finally:
        session.close()
    assert own_containers(engine) <= before


def test_nothing_is_left_after_ten_sessions(engine: Engine) -> None:
    with opened(engine) as sandbox:  # What is opened once, such as the connection to the engine, is open now.
        sandbox.run("1")
    before, threads = descriptors(), threading.active_count()
    nap_s = f"600.{os.getpid()}"  # Nobody else's.
    for _ in range(10 if engine.capabilities().name == "fake" else 3):
        with opened(engine) as sandbox:
            sandbox.run(f"import subprocess; subprocess.Popen(['sleep', '{nap_s}'], start_new_session=True)")
    wait_until(lambda: threading.active_count() <= threads)
    wait_until(lambda: descriptors() <= before)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and f"sleep\0{nap_s}".encode() in command_line(pid)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
