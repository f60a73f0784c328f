"""The host's stand-in for an agent, on the fake engine with an image whose Python can't be run, and piece by piece."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sandboxes import OtherPython, Running, opened

from chorus_nb import execution
from chorus_nb.agent.cgroup import Cgroup
from chorus_nb.agent.commands import Execution
from chorus_nb.agent.wire import Message
from chorus_nb.config import SecurityPolicy
from chorus_nb.engines.base import ContainerProcess
from chorus_nb.engines.fake import FakeContainer, FakeEngine
from chorus_nb.errors import AgentProtocolError, EngineError, ImageUnsupportedError, SandboxDiedError
from chorus_nb.sandbox import Sandbox
from chorus_nb.shell_agent import _Script
from chorus_nb.shell_monitor import MonitoredCgroup, policy_report
from chorus_nb.status import describe


@pytest.fixture
def shell() -> Iterator[Sandbox]:
    with opened(OtherPython("/no/such/python")) as sandbox:
        yield sandbox


def test_without_python_programs_run_and_cells_say_why_not(shell: Sandbox) -> None:
    result = shell.command(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    for _ in range(2):
        with pytest.raises(ImageUnsupportedError, match="--lang sh"):
            shell.run("1")
    assert shell.command(["no-such-program"]).exit_code == 127


def test_its_status_says_that_there_is_no_python(shell: Sandbox) -> None:
    assert "python:" in describe(shell._session)
    assert "none" in describe(shell._session)


def test_a_session_without_python_starts_again_as_one(shell: Sandbox) -> None:
    shell._session.kill()
    assert shell._session._starter.conversation is not None
    shell._session._starter.conversation.join(60)
    with pytest.raises(Exception, match="ended"):
        shell.command(["true"])
    assert shell.command(["echo", "again"]).stdout == "again\n"


def test_an_interrupt_ends_the_program(shell: Sandbox) -> None:
    begun = threading.Event()
    argv = ["sh", "-c", "echo begun; sleep 600; echo never"]
    running = Running(lambda: shell._session.command(argv, on_message=lambda _: begun.set()))
    assert begun.wait(60)
    shell.interrupt()
    assert running.join().interrupted


def test_an_interrupt_is_not_lost_however_early_it_comes(shell: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "GRACE_S", 30.0)
    session = shell._session
    for _ in range(10):
        running = Running(lambda: session.command(["sleep", "600"], on_message=lambda _: None))
        while session.state != "busy":
            pass
        asked_at_s = time.monotonic()
        session.interrupt()
        assert running.join().interrupted
        # Far below the grace time, after which it would have been killed.
        assert running.ended_at_s - asked_at_s < 15


def test_a_program_that_nobody_inside_can_signal_goes_with_its_container(
    shell: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the limit of processes, where some engines start nothing any more."""
    monkeypatch.setattr("chorus_nb.execution.GRACE_S", 0.2)
    begun = threading.Event()
    argv = ["sh", "-c", "echo begun; sleep 600"]
    running = Running(lambda: shell._session.command(argv, on_message=lambda _: begun.set()))
    assert begun.wait(60)

    def refuse(*_: object, **__: object) -> ContainerProcess:
        raise EngineError("no process left")

    monkeypatch.setattr(FakeContainer, "exec", refuse)
    shell.interrupt()
    with pytest.raises(SandboxDiedError):
        running.join()
    monkeypatch.undo()
    assert shell.command(["echo", "again"]).stdout == "again\n"


def test_a_program_that_the_engine_does_not_start_is_an_answer(shell: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> ContainerProcess:
        raise EngineError("no process left")

    with monkeypatch.context() as patch:
        patch.setattr(FakeContainer, "exec", refuse)
        result = shell.command(["true"])
        assert (result.exit_code, result.stderr) == (126, "no process left\n")
    assert shell.command(["true"]).exit_code == 0


def test_an_argument_with_a_null_byte_is_an_answer(shell: Sandbox) -> None:
    assert shell.command(["echo", "a\0b"]).exit_code == 126


def test_a_restart_ends_the_program_that_runs(shell: Sandbox) -> None:
    begun = threading.Event()
    argv = ["sh", "-c", "echo begun; sleep 600"]
    running = Running(lambda: shell._session.command(argv, on_message=lambda _: begun.set()))
    assert begun.wait(60)
    shell.restart()
    assert running.join().exit_code == 137


# The first line and the last words


class Canned(ContainerProcess):
    """A program that has said all it has to say."""

    def __init__(self, pieces: list[tuple[str, bytes]], exit_code: int | None = None) -> None:
        self._pieces = pieces
        self._exit_code = exit_code

    def send(self, data: bytes) -> None: ...
    def receive(self) -> tuple[str, bytes] | None:
        return self._pieces.pop(0) if self._pieces else None

    def exit_code(self) -> int | None:
        return self._exit_code

    def close(self) -> None:
        self._pieces.clear()


class Followed:
    """What a script is found to have printed and how it ended, from what came out of its ``exec``."""

    def __init__(self, output: str, size: int, exit_code: int | None = 9) -> None:
        self.text = ""
        request = Message("command_request", {}, msg_id="1")
        self.script = _Script(request, self._put)
        self.script.account = Execution("1", Cgroup(root=""), 2**20)
        mark = self.script.argv([], "022")[4]
        data = output.replace("MARK", mark).encode()
        pieces = [("stdout", data[start : start + size]) for start in range(0, len(data), size)]
        self.reply = self.script.follow(Canned(pieces, exit_code))

    def _put(self, msg_type: str, content: dict[str, Any], _: str) -> None:
        assert msg_type == "stream"
        self.text += content["text"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 32, 33, 1000])
@pytest.mark.parametrize(
    ("output", "text", "exit_code"),
    [
        ("17\nhello\nMARK0\n", "hello\n", 0),
        ("17\nno line endMARK3\n", "no line end", 3),
        ("17\nMARK255\n", "", 255),
        ("17\nMARK0\nof one that is being killed", "", 0),
        ("17\nkilled before the words", "killed before the words", 9),
        ("17\nhalf a mark 0123456789abcdef", "half a mark 0123456789abcdef", 9),
        ("17\n\u00e4\u20ac\nMARK1\n", "\u00e4\u20ac\n", 1),
        ("17\nMARKnonsense that is no status\n", "", 137),
        ("the engine says why not\n", "the engine says why not\nThe script could not be started.\n", 9),
        ("", "The script could not be started.\n", 9),
    ],
)
def test_output_is_told_from_our_words_however_it_is_cut(size: int, output: str, text: str, exit_code: int) -> None:
    followed = Followed(output, size)
    assert (followed.text, followed.reply["exit_code"]) == (text, exit_code)


@pytest.mark.parametrize("line", ["1", "0", "-5", "9" * 40, "x", ""])
def test_a_first_line_that_is_no_process_is_none(line: str) -> None:
    followed = Followed(f"{line}\nout\n", 1000)
    assert followed.script.group == ""
    assert followed.text.startswith(f"{line}\nout\n")


# What is in force


def report(output: str) -> dict[str, Any]:
    class Reporting:
        def exec(self, *_: object, **__: object) -> ContainerProcess:
            return Canned([("stdout", output.encode())])

    class Spec:
        user, working_dir, security = "1000:1000", "/", SecurityPolicy()

    return policy_report(Reporting(), Spec(), Cgroup(root=""))  # type: ignore[arg-type]


def test_what_nobody_tells_is_not_in_force() -> None:
    found = report("")
    assert (found["uid"], found["gid"], found["locks"]["capabilities"], found["locks"]["seccomp_mode"]) == (
        -1,
        -1,
        {},
        0,
    )
    controls = ("no_new_privileges", "read_only_root", "supervisor_undumpable")
    assert not any(found[control] for control in controls)
    assert found["interfaces"] == ["unknown"]
    assert found["open_files"] > 2**32


@pytest.mark.parametrize(
    ("mounts", "read_only"),
    [
        (["1 0 0:1 / / ro,relatime - overlay overlay rw"], True),
        (["1 0 0:1 / / rw,relatime - overlay overlay ro"], False),
        (["1 0 0:1 / / ro - overlay overlay rw", "2 1 0:2 / / rw - tmpfs tmpfs rw"], False),
        (["1 0 0:1 / /tmp ro - tmpfs tmpfs ro"], False),
        (["1 0 0:1 / /"], False),
        (["nonsense"], False),
    ],
)
def test_the_root_is_what_was_mounted_there_last(mounts: list[str], read_only: bool) -> None:
    assert report("".join(f"/proc/self/mountinfo {line}\n" for line in mounts))["read_only_root"] == read_only


@pytest.mark.parametrize(
    ("flags", "interfaces"), [({"eth0": "0x1003"}, ["eth0", "lo"]), ({"eth0": "0x1002"}, ["lo"]), ({}, ["eth0", "lo"])]
)
def test_interfaces_that_are_down_do_not_count(flags: dict[str, str], interfaces: list[str]) -> None:
    lines = ["/proc/net/dev face |bytes", "/proc/net/dev     lo: 0 0", "/proc/net/dev   eth0: 0 0"]
    lines += ["/sys/class/net/lo/flags 0x9", *(f"/sys/class/net/{name}/flags {text}" for name, text in flags.items())]
    assert report("\n".join(lines))["interfaces"] == interfaces


@pytest.mark.parametrize("keeper", ["1000", "0", "", "x"])
def test_a_keeper_that_the_scripts_could_trace_is_told(keeper: str) -> None:
    output = f"/proc/self/status Uid:\t1000\t1000\n/proc/1/status Uid:\t{keeper}\t{keeper}\n"
    assert report(output)["supervisor_undumpable"] is False
    assert report(output.replace(f"/1/status Uid:\t{keeper}", "/1/status Uid:\t65533"))["supervisor_undumpable"] is True


@pytest.mark.parametrize(
    "answer", [b".\n\n.\n", b"x" * 2**21, b"/sys/fs/cgroup/memory.current " + b"9" * 5000 + b"\n.\n"]
)
def test_figures_that_are_none_are_refused(answer: bytes) -> None:
    with pytest.raises(AgentProtocolError):
        MonitoredCgroup(lambda _: Canned([("stdout", answer), ("stdout", answer)])).sample()


def test_a_monitor_that_ends_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionError):
        MonitoredCgroup(lambda _: Canned([]))


def test_the_fake_engine_is_never_asked_to_kill_everything(fake_engine: FakeEngine) -> None:
    """There, everything is this user's."""
    with opened(OtherPython("/no/such/python")) as shell:
        other = threading.Event()
        with opened(fake_engine) as python:
            shell.restart()
            assert str(python.run("1").result) == "1"
            other.set()
        assert other.is_set()
