"""Shell scripts in images without Python, through the engine, and beside Python."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import make_spec, wait_until
from sandboxes import Running, left_by_killed, opened, own_containers

from chorus_nb.agent.wire import Message
from chorus_nb.config import SandboxConfig
from chorus_nb.controls import verify
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import (
    ExecutionTimeoutError,
    ImageUnsupportedError,
    OutOfMemoryError,
    PolicyNotEnforcedError,
    SandboxDiedError,
    SandboxFileError,
    SessionBusyError,
)
from chorus_nb.execution import Outcome
from chorus_nb.sandbox import CommandResult, Sandbox
from chorus_nb.script import script_argv, script_error

pytestmark = pytest.mark.docker

PROMPT_S = 2.5
"""Far above the half second that is wanted, for a busy machine, and below the grace time, after which one is killed."""


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine, image_with_shell: str) -> Iterator[Sandbox]:
    """One sandbox without Python."""
    with opened(docker_engine, image=image_with_shell, memory="64m", pids=32, env={"WORD": "a b"}) as sandbox:
        yield sandbox


@pytest.fixture
def shell(kept: Sandbox) -> Sandbox:
    return kept


@pytest.fixture(scope="module")
def mirror(docker_engine: DockerEngine) -> Iterator[Sandbox]:
    """One sandbox with the notebook's Python."""
    with opened(docker_engine, memory="128m") as sandbox:
        yield sandbox


@pytest.fixture(params=["shell", "mirror"])
def either(request: pytest.FixtureRequest) -> Sandbox:
    """What a script sees must not depend on whether there is Python beside it."""
    found: Sandbox = request.getfixturevalue(request.param)
    return found


def run(sandbox: Sandbox, script: str, timeout_s: float = 60) -> CommandResult:
    return sandbox.command(script_argv(script), timeout=timeout_s)


def container_id(sandbox: Sandbox) -> str:
    assert sandbox._session._container is not None
    return sandbox._session._container.id


def start(sandbox: Sandbox, script: str) -> Running:
    """Run a script in another thread; return once it has printed its first."""
    begun = threading.Event()
    messages: list[Message] = []

    def note(message: Message) -> None:
        messages.append(message)
        begun.set()

    running = Running(lambda: sandbox._session.command(script_argv(script), on_message=note))
    assert begun.wait(60), running.error
    return running


def error_of(sandbox: Sandbox, script: str) -> BaseException | None:
    outcome: Outcome = sandbox._session.command(script_argv(script), on_message=lambda _: None)
    return script_error(outcome, sandbox.config.limits)


# What a script sees


@pytest.mark.parametrize(
    ("script", "exit_code", "stdout", "stderr"),
    [
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("pwd; echo $HOME; id -u", 0, "/workspace\n/home/sandbox\n65534\n", ""),
        ("cat; read line; echo end", 0, "end\n", ""),
        ("printf 'no line end'", 0, "no line end", ""),
        ("printf '\\033[31mred\\033[0m\\r20%%\\n'", 0, "\x1b[31mred\x1b[0m\r20%\n", ""),
        ("printf '\\303'; sleep 0.3; printf '\\244\\n'", 0, "\u00e4\n", ""),
        ("kill -9 $$", None, "", ""),
        ("exec >&-; exit 4", 4, "", ""),
        ("", 0, "", ""),
        ("sleep 600 & echo left", 0, "left\n", ""),
        ("setsid sleep 600 & echo left", 0, "left\n", ""),
        ("trap 'echo bye' EXIT; exit 5", 5, "bye\n", ""),
        ("echo one\r\necho two\r\n", 0, "one\ntwo\n", ""),
    ],
)
def test_a_script_sees_the_same_beside_python_and_without(
    either: Sandbox, script: str, exit_code: int | None, stdout: str, stderr: str
) -> None:
    result = run(either, script)
    assert result.exit_code in ((-9, 137) if exit_code is None else (exit_code,))
    assert (result.stdout, result.stderr) == (stdout, stderr)
    tries = 1
    while result.duration_s >= 1.9:  # The engine waits two seconds for who holds a stream; a busy machine for anything.
        result, tries = run(either, script), tries + 1
        assert tries <= 3


def test_a_script_has_the_variables_of_its_session(shell: Sandbox) -> None:
    assert run(shell, 'echo "$WORD"').stdout == "a b\n"


def test_errors_of_the_shell_and_missing_programs_are_shown(either: Sandbox) -> None:
    unended = run(either, "echo 'no end")
    assert (unended.exit_code, unended.stdout) == (2, "")
    assert "nterminated quoted string" in unended.stderr
    assert "not found" in run(either, "no-such-program").stderr
    assert either.command(["no-such-program"]).exit_code == 127


def test_output_comes_while_the_script_runs(shell: Sandbox) -> None:
    came_s: list[float] = []
    script = "for i in 1 2 3; do echo $i; sleep 0.4; done"
    shell._session.command(script_argv(script), on_message=lambda _: came_s.append(time.monotonic()))
    assert len(came_s) >= 3
    assert came_s[-1] - came_s[0] > 0.5


def test_binary_garbage_is_text_that_can_be_shown(either: Sandbox) -> None:
    result = run(either, "head -c 100000 /dev/urandom; echo; echo end")
    assert result.stdout.endswith("end\n")
    assert result.exit_code == 0


@pytest.mark.timeout(180)
def test_one_gigabyte_of_output_is_bounded_with_a_notice(shell: Sandbox) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(shell, "yes 'a line of some length, as programs print' | head -c 1G; exit 5", 150)
    assert result.exit_code == 5
    assert 2**20 < len(result.stdout) <= 10 * 2**20
    assert "dropped" in result.stderr
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_what_looks_like_our_own_words_is_output(shell: Sandbox) -> None:
    assert run(shell, "echo 17; echo 0; echo $$ >/dev/null").stdout == "17\n0\n"


# Ends


def test_an_interrupt_ends_it_promptly_with_all_it_started(either: Sandbox) -> None:
    running = start(either, "echo begun; sleep 611 | cat; echo never")
    asked_at_s = time.monotonic()
    either.interrupt()
    outcome = running.join()
    assert outcome.interrupted
    assert running.ended_at_s - asked_at_s < PROMPT_S
    assert type(script_error(outcome, either.config.limits)).__name__ == "ExecutionInterruptedError"
    assert "611" not in programs(either)


def programs(sandbox: Sandbox) -> str:
    return run(sandbox, "for f in /proc/[0-9]*/cmdline; do cat $f; echo; done 2>/dev/null").stdout.replace("\0", " ")


def test_a_script_that_ignores_the_interrupt_is_killed(either: Sandbox) -> None:
    with pytest.raises(ExecutionTimeoutError):
        run(either, "trap '' INT TERM; while :; do sleep 0.1; done", 0.5)
    assert run(either, "echo usable").stdout == "usable\n"


def test_a_script_may_use_its_interrupt_to_end_in_good_order(either: Sandbox) -> None:
    running = start(either, "trap 'exit 7' INT; echo begun; sleep 600")
    either.interrupt()
    outcome = running.join()
    assert (outcome.exit_code, outcome.interrupted) == (7, False)


def test_a_restart_ends_what_left_its_group(shell: Sandbox) -> None:
    run(shell, "setsid sleep 612 >/dev/null 2>&1 & touch /tmp/kept; sleep 1")
    assert "612" in programs(shell)
    shell.restart()
    assert "612" not in programs(shell)
    assert run(shell, "ls /tmp/kept").exit_code == 0


def test_a_restart_ends_the_script_that_runs(shell: Sandbox) -> None:
    running = start(shell, "echo begun; sleep 600")
    shell.restart()
    assert running.join().exit_code == 137


def test_out_of_memory_is_named(either: Sandbox) -> None:
    error = error_of(either, "head -c 1G /dev/zero | tail -c 1G")
    assert isinstance(error, OutOfMemoryError)
    assert error.limit_bytes == either.config.limits.memory_bytes
    assert run(either, "echo usable").stdout == "usable\n"


def test_the_script_that_takes_the_memory_goes_and_not_the_namespace(mirror: Sandbox) -> None:
    mirror.run("kept = 7")
    for _ in range(3):
        run(mirror, "head -c 1G /dev/zero | tail -c 1G")
    assert str(mirror.run("kept").result) == "7"


def test_a_fork_bomb_meets_the_limit_and_goes_with_its_script(shell: Sandbox) -> None:
    run(shell, "bomb() { bomb | bomb & }; bomb; sleep 1")
    wait_until(lambda: shell.usage().pids < 8)
    assert run(shell, "echo usable").stdout == "usable\n"


def test_a_full_house_is_interrupted_all_the_same(docker_engine: DockerEngine, image_with_shell: str) -> None:
    """At the limit of processes no second exec starts: the container goes."""
    with opened(docker_engine, image=image_with_shell, memory="64m", pids=16) as sandbox:
        running = start(sandbox, "(while sleep 600 & do :; done) 2>/dev/null; echo full; while :; do :; done")
        sandbox.interrupt()
        with suppress(SandboxDiedError):
            assert running.join(60).interrupted
        assert run(sandbox, "echo usable").stdout == "usable\n"


@pytest.mark.parametrize("script", ["kill -9 -1; sleep 600", "kill -9 $PPID; sleep 600", "kill -TERM -1; exit 9"])
def test_killing_everything_costs_the_script_only(shell: Sandbox, script: str) -> None:
    before = container_id(shell)
    run(shell, script)
    assert run(shell, "echo usable").stdout == "usable\n"
    assert container_id(shell) == before


def test_a_container_that_is_removed_is_an_error_and_the_next_script_starts_a_new_one(
    docker_engine: DockerEngine, image_with_shell: str
) -> None:
    with opened(docker_engine, image=image_with_shell) as sandbox:
        running = start(sandbox, "echo begun; sleep 600")
        docker_engine.remove_id(container_id(sandbox))
        with pytest.raises(SandboxDiedError, match="removed or killed"):
            running.join()
        assert run(sandbox, "echo a new one").stdout == "a new one\n"


def test_nothing_outlives_the_kill_of_its_owner(docker_engine: DockerEngine, image_with_shell: str) -> None:
    program = (
        "import threading, time\n"
        "from chorus_nb.sandbox import Sandbox\n"
        f"sb = Sandbox(repo='none', image={image_with_shell!r}).__enter__()\n"
        "script = ['sh', '-c', 'trap : HUP INT TERM; while :; do sleep 1; done']\n"
        "threading.Thread(target=sb.command, args=(script,)).start()\n"
        "time.sleep(0.5)\n"
        "print(sb._session._container.id, flush=True)"
    )
    container = left_by_killed(program, docker_engine)
    wait_until(lambda: docker_engine.inspect_id(container).status == "removed")


# The locks


def test_the_controls_are_in_force_and_verified(shell: Sandbox) -> None:
    info, limits = shell.info(), shell.config.limits
    assert info.effective_capabilities.strip("0") == ""
    assert (info.no_new_privileges, info.seccomp_filter, info.read_only_root) == (True, True, True)
    assert (info.memory_limit_bytes, info.pids_limit, info.cpus) == (limits.memory_bytes, limits.pids, limits.cpus)
    assert (info.interfaces, info.open_files) == (["lo"], limits.open_files)
    assert (info.python_version, info.supervisor_undumpable) == ("", True)


def test_a_script_can_touch_neither_the_keeper_nor_the_image(shell: Sandbox) -> None:
    assert run(shell, "kill -9 1; kill -0 1").exit_code != 0
    assert "ermission denied" in run(shell, "cat /proc/1/environ").stderr
    assert "ead-only" in run(shell, "touch /bin/new").stderr
    assert run(shell, "touch /tmp/new ~/new /workspace/new").exit_code == 0


def test_a_control_that_is_missing_ends_the_start(
    docker_engine: DockerEngine, image_with_shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is made to forget one, and what is found inside is to tell."""
    from chorus_nb.engines import docker_body

    original = docker_body._host_config
    monkeypatch.setattr(docker_body, "_host_config", lambda spec: original(spec) | {"ReadonlyRootfs": False})
    before = own_containers(docker_engine)
    with (
        pytest.raises(PolicyNotEnforcedError, match="read-only root"),
        opened(docker_engine, image=image_with_shell),
    ):
        pass
    assert own_containers(docker_engine) <= before


@pytest.mark.parametrize(
    ("control", "lacking"),
    [("user", {"uid": 0}), ("network", {"interfaces": ["unknown"]}), ("supervisor", {"supervisor_undumpable": False})],
)
def test_what_can_not_be_read_does_not_count_as_in_force(
    shell: Sandbox, control: str, lacking: dict[str, object]
) -> None:

    spec = make_spec(shell._session.engine, "", limits=shell.config.limits)
    verify(shell.info(), spec)
    with pytest.raises(PolicyNotEnforcedError, match=control):
        verify(shell.info().model_copy(update=lacking), spec)


# Figures


def test_figures_come_while_it_runs_and_at_the_end(shell: Sandbox) -> None:
    samples = []
    shell._session.notices.add_listener(samples.append)
    usage = run(
        shell,
        "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; head -c 8M /dev/zero | tail -c 8M >/dev/null; sleep 1",
    ).usage
    shell._session.notices.remove_listener(samples.append)
    assert len(samples) >= 4
    assert usage.cpu_time_s > 0.1
    assert usage.duration_s > 1
    assert usage.memory_limit_bytes == shell.config.limits.memory_bytes
    assert 3 <= usage.pids_peak <= 32
    assert max(sample.memory_bytes for sample in samples) <= shell.config.limits.memory_bytes


def test_usage_of_an_idle_session_is_read_now(shell: Sandbox) -> None:
    sample = shell.usage()
    assert 0 < sample.memory_bytes < shell.config.limits.memory_bytes
    assert 1 <= sample.pids <= 8


# What such a session can't do


def test_python_in_it_says_what_can_run(shell: Sandbox) -> None:
    with pytest.raises(ImageUnsupportedError, match="no Python") as caught:
        shell.run("1 + 1")
    assert "--lang sh" in caught.value.next_step
    assert run(shell, "echo usable").stdout == "usable\n"


def test_files_in_it_say_why_not(shell: Sandbox, tmp_path: Path) -> None:
    for ask in (
        lambda: shell.files.read("/etc/passwd"),
        lambda: shell.files.put(__file__, "/tmp/"),
        lambda: shell.files.get("/etc/*", tmp_path),
    ):
        with pytest.raises(SandboxFileError, match="no Python") as caught:
            ask()
        assert "script" in caught.value.next_step


def test_an_argument_with_a_null_byte_is_an_answer(shell: Sandbox) -> None:
    assert shell.command(["echo", "a\0b"]).exit_code == 126
    assert run(shell, "echo usable").stdout == "usable\n"


def test_one_script_at_a_time(shell: Sandbox) -> None:
    running = start(shell, "echo begun; sleep 600")
    with pytest.raises(SessionBusyError):
        run(shell, "echo second")
    shell.interrupt()
    assert running.join().interrupted


def test_an_image_with_neither_is_unsupported(docker_engine: DockerEngine, image_without_python: str) -> None:
    with pytest.raises(ImageUnsupportedError, match="no Python"):
        Sandbox(SandboxConfig(image=image_without_python), engine=docker_engine, repo="none").command(["true"])
