"""What a session does when its users, or what runs in it, do the unexpected; on the fake engine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from sandboxes import Running

from chorus_nb.agent.wire import Message
from chorus_nb.config import SandboxConfig
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import (
    AgentProtocolError,
    ExecutionTimeoutError,
    SandboxDiedError,
    SessionClosedError,
    WorkerDiedError,
)
from chorus_nb.execution import Execution
from chorus_nb.session import Session


@pytest.fixture
def session(fake_engine: FakeEngine) -> Iterator[Session]:
    session = Session("test", SandboxConfig.from_options(repo="none"), fake_engine)
    yield session
    session.close()
    assert fake_engine.owned() == []


def ignore(_: Message) -> None:
    pass


def run(session: Session, code: str) -> str:
    said: list[str] = []
    session.execute(code, on_message=lambda message: said.append(str(message.content.get("text", ""))))
    return "".join(said)


@pytest.mark.parametrize("when", ["_take", "_outcome"])
@pytest.mark.parametrize("cell", ["print('done')", "import os; os._exit(3)"])
def test_ctrl_c_just_as_the_end_of_a_cell_is_looked_at_does_not_lose_it(
    session: Session, monkeypatch: pytest.MonkeyPatch, when: str, cell: str
) -> None:
    look = getattr(Execution, when)
    interrupts: list[str] = []

    def interrupted(self: Execution, *arguments: object) -> object:
        if not interrupts and getattr(arguments[0], "msg_type", "execute_reply") in ("execute_reply", "worker_exit"):
            interrupts.append("^C")
            raise KeyboardInterrupt
        return look(self, *arguments)

    monkeypatch.setattr(Execution, when, interrupted)
    running = Running(lambda: run(session, cell))
    if "exit" in cell:
        with pytest.raises(WorkerDiedError):
            running.join(60)
    else:
        assert running.join(60) == "done\n"
    assert bool(interrupts) == (when == "_take" or "exit" not in cell)


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.05, 0.1, 0.2, 0.4])
def test_closing_while_it_starts_leaves_nothing(fake_engine: FakeEngine, after_s: float) -> None:
    session = Session("test", SandboxConfig.from_options(repo="none"), fake_engine)
    raised: list[BaseException] = []

    def start() -> None:
        try:
            session.start()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    time.sleep(after_s)
    session.close()
    thread.join()
    assert [type(error) for error in raised] in ([], [SessionClosedError])
    assert session.state == "closed"
    assert fake_engine.owned() == []


def test_a_closed_session_does_not_start_again(session: Session) -> None:
    session.close()
    with pytest.raises(SessionClosedError):
        session.start()


def test_ctrl_c_ends_a_flood_that_fills_every_queue(session: Session) -> None:
    session.start()
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    outcome = session.execute(
        "from IPython.display import clear_output\nwhile True: clear_output()", on_message=lambda _: time.sleep(0.02)
    )
    assert outcome.interrupted
    assert session.state == "idle"


def test_an_interrupt_before_the_cell_begins_is_heard_and_keeps_the_state(session: Session) -> None:
    worker = int(run(session, "import os; print(os.getpid())"))
    os.kill(worker, signal.SIGSTOP)
    threading.Timer(0.3, session.interrupt).start()
    threading.Timer(0.6, os.kill, (worker, signal.SIGCONT)).start()
    assert session.execute("os.environ['BEGUN'] = '1'\nwhile True: pass", on_message=ignore).interrupted
    assert run(session, "print(os.environ.get('BEGUN'))") == "None\n"


def test_a_time_limit_ends_a_flood_that_ignores_interrupts(session: Session) -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: print('x' * 1000)"
    with pytest.raises(ExecutionTimeoutError) as caught:
        session.execute(code, timeout_s=0.5, on_message=ignore)
    assert not caught.value.state_kept
    assert run(session, "print('alive')") == "alive\n"


def test_output_that_is_none_ends_the_sandbox(session: Session) -> None:
    forged = "import sys, time\nsys.stdout._outbox.send('stream', {'name': 5})\ntime.sleep(60)"
    with pytest.raises(AgentProtocolError):
        session.execute(forged, on_message=ignore)
    assert session.state == "dead"
    assert run(session, "print('sys' in globals())") == "False\n"


def test_a_cell_does_not_run_on_when_its_reader_fails(session: Session) -> None:
    def fail(message: Message) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        session.execute("import time\nprint('now', flush=True)\ntime.sleep(60)", on_message=fail)
    started_s = time.monotonic()
    while session._loss is None:
        assert time.monotonic() - started_s < 20
        time.sleep(0.01)
    session._loss = None
    assert run(session, "print('free')") == "free\n"


def test_what_was_printed_just_before_the_process_died_is_shown(session: Session) -> None:
    said: list[str] = []
    with pytest.raises(WorkerDiedError):
        session.execute(
            "import os\nfor i in range(10): print(i)\nos.kill(os.getpid(), 9)",
            on_message=lambda message: said.append(message.content["text"]),
        )
    assert "".join(said) == "".join(f"{i}\n" for i in range(10))


def test_a_loss_is_told_by_the_next_cell_whoever_asked_for_figures_before(session: Session) -> None:
    run(session, "x = 5")
    session.kill()
    while session.state != "dead":
        time.sleep(0.01)
    with pytest.raises(SandboxDiedError):
        session.usage()
    assert session.state == "dead"
    with pytest.raises(SandboxDiedError):
        run(session, "x")
    assert run(session, "print('x' in globals())") == "False\n"
