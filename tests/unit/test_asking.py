"""``input()`` and ``getpass()`` of a cell, on the fake engine, with and without IPython in the sandbox."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from conftest import wait_until
from sandboxes import InterruptedCellError, OtherPython, Running, python_whose_template, value

from chorus_nb.agent.cgroup import Cgroup
from chorus_nb.agent.commands import Execution
from chorus_nb.agent.wire import Message
from chorus_nb.asking import MAX_ANSWER_CHARS, MAX_PROMPT_CHARS, Question
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import AgentProtocolError, ExecutionTimeoutError, SessionClosedError, WorkerDiedError
from chorus_nb.sandbox import ErrorOutput, ExecutionResult, Sandbox

PATIENCE_S = 20.0


class User:
    """Somebody at the notebook, who is asked and answers when told to."""

    def __init__(self, answer: str = "") -> None:
        self.asked: list[tuple[str, bool]] = []
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()
        self._answer = answer

    def at_once(self, prompt: str, password: bool) -> str:
        self.asked.append((prompt, password))
        return self._answer

    def slowly(self, prompt: str, password: bool) -> str:
        self.asked.append((prompt, password))
        self.is_asked.set()
        # As a kernel waits: a signal that comes between two instructions, just before a wait, does not end the wait.
        give_up_at_s = time.monotonic() + PATIENCE_S
        while not self.may_answer.wait(0.02) and time.monotonic() < give_up_at_s:
            pass
        return self._answer


@pytest.fixture(scope="module", params=["IPython", "standard library"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    without = python_whose_template(tmp_path_factory.mktemp("python"), starts=f'exec {sys.executable} -S "$@"')
    engine = FakeEngine() if request.param == "IPython" else OtherPython(without)
    with Sandbox(engine=engine, repo="none") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    """The same with an empty namespace."""
    kept.restart()
    return kept


def error_of(result: ExecutionResult) -> ErrorOutput:
    assert result.error is not None
    return result.error


def test_a_debugger_asks_and_an_interrupt_ends_it() -> None:
    user = User()
    with Sandbox(repo="none", engine=FakeEngine()) as sandbox:
        code = "import pdb\nkept = 1\npdb.set_trace()\nkept = 2"
        running = Running(lambda: sandbox.run(code, on_input=user.slowly))
        assert user.is_asked.wait(PATIENCE_S)
        assert user.asked[0][0] == "ipdb> "
        sandbox.interrupt()
        user.may_answer.set()
        assert "KeyboardInterrupt" in running.join().stdout
        assert value(sandbox, "kept") == "2", "the debugger ends and the cell goes on, as under ipykernel"


def test_the_answer_comes_back(sandbox: Sandbox) -> None:
    user = User("three words here")
    result = sandbox.run("print('before', end=' ')\nprint(input('how? ').split())", on_input=user.at_once)
    assert result.stdout == "before ['three', 'words', 'here']\n"
    assert user.asked == [("how? ", False)]


def test_a_password_is_asked_for_as_one(sandbox: Sandbox) -> None:
    user = User("secret")
    result = sandbox.run("from getpass import getpass\nlen(getpass('Key: '))", on_input=user.at_once)
    assert str(result.result) == "6"
    assert user.asked == [("Key: ", True)]


def test_a_prompt_may_be_anything_as_for_the_builtin(sandbox: Sandbox) -> None:
    user = User("")
    assert str(sandbox.run("input(5), input()", on_input=user.at_once).result) == "('', '')"
    assert user.asked == [("5", False), ("", False)]


def test_what_was_printed_is_shown_before_the_question(sandbox: Sandbox) -> None:
    seen: list[str] = []

    def answer(prompt: str, password: bool) -> str:
        seen.append(prompt)
        return ""

    code = "import os\nprint('printed', end='')\nos.write(1, b'written')\ninput('asked')\nprint('after')"
    sandbox._session.execute(code, on_message=lambda m: seen.append(str(m.content.get("text"))), on_input=answer)
    assert seen[-2:] == ["asked", "after\n"]
    assert sorted(seen[:-2]) == ["printed", "written"]


def test_a_cell_asks_again_and_again(sandbox: Sandbox) -> None:
    answers = iter(map(str, range(100)))
    code = "sum(int(input()) for _ in range(100))"
    assert str(sandbox.run(code, on_input=lambda *_: next(answers)).result) == str(sum(range(100)))


def test_where_nobody_can_be_asked_the_cell_fails_at_once_and_says_what_to_do(sandbox: Sandbox) -> None:
    for code in ("input('name? ')", "import getpass; getpass.getpass()"):
        error = error_of(sandbox.run(code))
        assert error.ename == "StdinNotImplementedError"
        assert "on_input" in error.evalue
    assert str(sandbox.run("try: input()\nexcept NotImplementedError: caught = True\ncaught").result) == "True"


def test_each_cell_says_anew_whether_somebody_can_be_asked(sandbox: Sandbox) -> None:
    assert sandbox.run("input()", on_input=User().at_once).ok
    assert not sandbox.run("input()").ok


def test_a_cell_that_replaced_input_replaced_it_for_itself(sandbox: Sandbox) -> None:
    sandbox.run("import builtins\nbuiltins.input = None")
    assert sandbox.run("input()", on_input=User().at_once).ok


def test_standard_input_stays_empty(sandbox: Sandbox) -> None:
    assert str(sandbox.run("import sys; sys.stdin.read()", on_input=User("x").at_once).result) == "''"


def test_a_thread_and_a_fork_can_not_ask(sandbox: Sandbox) -> None:
    user = User("x")
    code = """
import threading
def ask():
    try: input()
    except Exception as error: print(type(error).__name__, error)
thread = threading.Thread(target=ask); thread.start(); thread.join()
"""
    assert "RuntimeError input() can't ask from a thread" in sandbox.run(code, on_input=user.at_once).stdout
    code = """
import os
if (pid := os.fork()) == 0:
    try: input()
    except EOFError as error: os.write(1, str(error).encode())
    os._exit(0)
os.waitpid(pid, 0);
"""
    assert "can't ask from a fork" in sandbox.run(code, on_input=user.at_once).stdout
    assert user.asked == []


@pytest.mark.parametrize(
    ("raised", "name"),
    [(EOFError, "EOFError"), (NotImplementedError, "StdinNotImplementedError"), (KeyError, "StdinNotImplementedError")],
)
def test_what_goes_wrong_in_asking_is_an_error_of_the_cell(
    sandbox: Sandbox, raised: type[Exception], name: str
) -> None:
    def fail(prompt: str, password: bool) -> str:
        raise raised("of the host's own affairs")

    sandbox.run("kept = 7")
    error = error_of(sandbox.run("input()", on_input=fail))
    assert error.ename == name
    assert "affairs" not in error.evalue
    assert str(sandbox.run("kept").result) == "7"


def test_the_end_of_input_is_one(sandbox: Sandbox) -> None:
    assert error_of(sandbox.run("input()", on_input=User("\x04").at_once)).ename == "EOFError"


def test_an_answer_that_is_no_text_or_too_long_is_refused(sandbox: Sandbox) -> None:
    error = error_of(sandbox.run("input()", on_input=lambda *_: 5))  # type: ignore[arg-type,return-value]
    assert "no text but a int" in error.evalue
    error = error_of(sandbox.run("input()", on_input=User("x" * (MAX_ANSWER_CHARS + 1)).at_once))
    assert str(MAX_ANSWER_CHARS) in error.evalue
    longest = User("x" * MAX_ANSWER_CHARS)
    assert str(sandbox.run("len(input())", on_input=longest.at_once).result) == str(MAX_ANSWER_CHARS)


def test_a_hostile_prompt_is_cleaned_and_cut(sandbox: Sandbox) -> None:
    user = User()
    sandbox.run(r"input('\x1b]0;title\x07\x1b[2Jname\x00? ')", on_input=user.at_once)
    sandbox.run("input('x' * 50_000_000)", on_input=user.at_once)
    sandbox.run(r"input('a\ud800b')", on_input=user.at_once)
    assert user.asked == [("name? ", False), ("x" * MAX_PROMPT_CHARS, False), ("a\ufffdb", False)]


# Interrupts and ends


def test_ctrl_c_while_asking_interrupts_the_cell_and_keeps_its_state(sandbox: Sandbox) -> None:
    user = User("late")
    sandbox.run("kept = 7")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        sandbox.run("kept = 8\ninput('?')\nkept = 9", on_input=user.slowly)
    assert str(sandbox.run("kept").result) == "8"
    # The answer to the old question is not the answer to the next.
    assert str(sandbox.run("input()", on_input=User("new").at_once).result) == "'new'"


def test_an_interrupt_from_elsewhere_takes_the_question_away(sandbox: Sandbox) -> None:
    user = User()
    threading.Thread(target=lambda: user.is_asked.wait(PATIENCE_S) and sandbox.interrupt()).start()
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sandbox.run("input('?')", on_input=user.slowly)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert str(sandbox.run("'usable'").result) == "'usable'"


def test_a_cell_may_catch_the_interrupt_but_not_ask_again(sandbox: Sandbox) -> None:
    user = User()
    threading.Thread(target=lambda: user.is_asked.wait(PATIENCE_S) and sandbox.interrupt()).start()
    code = """
while True:
    try: input('?')
    except KeyboardInterrupt: print('caught')
"""
    result = sandbox.run(code, on_input=user.slowly)
    assert (result.stdout, error_of(result).ename) == ("caught\n", "StdinNotImplementedError")
    assert "asked to end" in error_of(result).evalue
    assert user.asked == [("?", False)]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import os, threading\nthreading.Timer(0.5, os._exit, (3,)).start()\ninput('?')", WorkerDiedError),
        ("import signal\nsignal.alarm(1)\ninput('?')", WorkerDiedError),
    ],
)
def test_a_question_ends_with_the_process_that_asks(sandbox: Sandbox, code: str, error: type[Exception]) -> None:
    began_s = time.monotonic()
    with pytest.raises(error):
        sandbox.run(code, on_input=User().slowly)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert str(sandbox.run("'usable'").result) == "'usable'"


def test_a_question_ends_with_the_cell_that_no_longer_waits(sandbox: Sandbox) -> None:
    code = """
import signal
def give_up(*_): raise TimeoutError("too slow")
signal.signal(signal.SIGALRM, give_up)
signal.alarm(1)
input('?')
"""
    user = User()
    began_s = time.monotonic()
    assert error_of(sandbox.run(code, on_input=user.slowly)).ename == "TimeoutError"
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert str(sandbox.run("input()", on_input=User("new").at_once).result) == "'new'"


def test_a_question_that_was_overtaken_is_not_the_answer_to_the_next(sandbox: Sandbox) -> None:
    code = """
import signal
def give_up(*_): raise TimeoutError
signal.signal(signal.SIGALRM, give_up)
signal.alarm(1)
try: input('first')
except TimeoutError: pass
input('second')
"""
    asked: list[str] = []

    def answer(prompt: str, password: bool) -> str:
        asked.append(prompt)
        if prompt == "first":
            time.sleep(2)
        return "to " + prompt

    assert str(sandbox.run(code, on_input=answer).result) == "'to second'"
    assert asked == ["first", "second"]


def test_closing_the_session_takes_the_question_away(fake_engine: FakeEngine) -> None:
    user = User()
    sandbox = Sandbox(engine=fake_engine, repo="none")
    threading.Thread(target=lambda: user.is_asked.wait(PATIENCE_S) and sandbox.close()).start()
    with pytest.raises(SessionClosedError):
        sandbox.run("input('?')", on_input=user.slowly)
    wait_until(lambda: fake_engine.owned() == [])


def test_many_interrupts_of_an_asking_cell_never_break_the_stream(sandbox: Sandbox) -> None:
    code = """
caught = answered = 0
while caught < 50:
    try:
        input('?')
        answered += 1
    except KeyboardInterrupt: caught += 1
"""
    session = sandbox._session
    running = Running(lambda: session.execute(code, on_message=lambda _: None, on_input=User("x" * 10_000).at_once))
    wait_until(lambda: session._runner.execution is not None and session._runner.execution._exchange is not None)
    execution = session._runner.execution
    assert execution is not None
    while running.ended_at_s == 0.0:
        # Beside `interrupt`, after which the cell might ask no more.
        execution._tell("interrupt_request")
        time.sleep(0.005)
    with contextlib.suppress(InterruptedCellError):
        running.join()
    assert str(sandbox.run("'usable'").result) == "'usable'"


# The time limit


def test_the_time_somebody_thinks_does_not_count(sandbox: Sandbox) -> None:
    def answer(prompt: str, password: bool) -> str:
        time.sleep(1.5)
        return "x"

    assert sandbox.run("input()", timeout=1, on_input=answer).ok
    with pytest.raises(ExecutionTimeoutError) as caught:
        sandbox.run("input()\nwhile True: pass", timeout=1, on_input=answer)
    assert caught.value.state_kept


def test_a_cell_that_asks_for_ever_is_still_ended(sandbox: Sandbox) -> None:
    user = User()
    code = "while True:\n    try: input()\n    except BaseException: pass"
    running = Running(lambda: sandbox.run(code, on_input=user.at_once))
    wait_until(lambda: user.asked)
    sandbox.interrupt()
    with pytest.raises(WorkerDiedError, match="did not yield"):
        running.join()


# What a sandbox may send


@pytest.mark.parametrize("content", [{}, {"prompt": 5, "password": False}, {"prompt": "?", "password": "no"}])
def test_a_question_that_is_none_ends_the_sandbox(fake_engine: FakeEngine, content: dict[str, object]) -> None:
    forged = f"import sys, time\nsys.stdout._outbox.send('input_request', {content!r}, msg_id='1')\ntime.sleep(60)"
    user = User()
    with Sandbox(engine=fake_engine, repo="none") as sandbox:
        with pytest.raises(AgentProtocolError):
            sandbox.run(forged, on_input=user.at_once)
        assert user.asked == []
        assert str(sandbox.run("'usable'").result) == "'usable'"


def test_a_question_where_none_was_allowed_ends_the_sandbox(fake_engine: FakeEngine) -> None:
    content = {"prompt": "?", "password": False}
    forged = f"import sys, time\nsys.stdout._outbox.send('input_request', {content!r}, msg_id='1')\ntime.sleep(60)"
    with Sandbox(engine=fake_engine, repo="none") as sandbox, pytest.raises(AgentProtocolError, match="told not to"):
        sandbox.run(forged)


def test_of_a_flood_of_questions_one_is_asked_at_a_time(fake_engine: FakeEngine) -> None:
    code = """
import sys
for number in range(10_000):
    sys.stdout._outbox.send('input_request', {'prompt': str(number), 'password': False}, msg_id=str(number))
"""
    user = User()
    with Sandbox(engine=fake_engine, repo="none") as sandbox:
        assert sandbox.run(code, on_input=user.slowly).ok
    assert user.asked == [("0", False)]


def test_the_supervisor_keeps_one_question_and_the_last_of_the_others() -> None:
    execution = Execution("id", Cgroup(root=""), 0)
    assert [execution.ask(name, name.encode()) for name in ("1", "2", "3")] == [b"1", b"", b""]
    assert (execution.asked, execution.next_question(), execution.asked) == ("1", b"3", "3")
    assert (execution.next_question(), execution.asked) == (b"", None)


def test_a_question_given_up_before_it_is_asked_is_not_asked() -> None:
    user = User()
    question = Question(Message("input_request", {"prompt": "?", "password": False}))
    question.give_up()
    assert question.ask(user.at_once) is None
    assert user.asked == []
