"""Commands, files and usage of a session, on every engine."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import (
    InterruptedCellError,
    Running,
    start_cell,
    value,
)

from chorus_nb.errors import (
    ExecutionTimeoutError,
    SandboxFileError,
)
from chorus_nb.sandbox import Sandbox

PROMPT_S = 2.5
"""Far above the half second that is wanted, for a busy machine, and below the grace time, after which one is killed."""


def folder_of(sandbox: Sandbox) -> Path:
    path = sandbox._session.repository
    assert path is not None
    return path


# Commands


def test_commands_run_beside_the_namespace(sandbox: Sandbox) -> None:
    result = sandbox.command(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert result.duration_s > 0


@pytest.mark.parametrize(
    ("argv", "exit_code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["no-such-program"], 127),
        (["/"], 126),
        (["sh", "-c", "kill -9 $$"], -9),
        (["sh", "-c", "kill -15 $$"], -15),
    ],
)
def test_exit_codes(sandbox: Sandbox, argv: list[str], exit_code: int) -> None:
    assert sandbox.command(argv).exit_code == exit_code


def test_an_argument_with_a_null_byte_is_an_answer_and_no_crash(sandbox: Sandbox) -> None:
    assert sandbox.command(["echo", "a\0b"]).exit_code == 126
    assert sandbox.command(["echo", "a"]).stdout == "a\n"


def test_a_command_reads_no_input_and_works_where_the_cells_do(sandbox: Sandbox) -> None:
    assert sandbox.command(["cat"]).stdout == ""
    assert sandbox.command(["pwd"]).stdout == sandbox.run("import os; print(os.getcwd())").stdout


def test_output_of_a_command_is_bounded(sandbox: Sandbox) -> None:
    result = sandbox.command(["sh", "-c", "yes | head -c 64M; exit 5"])
    assert result.exit_code == 5
    assert len(result.stdout) <= 10 * 2**20
    assert "dropped" in result.stderr


def test_a_command_over_its_time_is_ended_with_all_it_started(sandbox: Sandbox) -> None:
    with pytest.raises(ExecutionTimeoutError):
        sandbox.command(["sh", "-c", "sleep 602 & sleep 602"], timeout=0.5)
    wait_until(lambda: "sleep 602" not in running_programs(sandbox))


def test_a_command_that_ignores_its_interrupt_is_killed_and_the_state_stays(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    with pytest.raises(ExecutionTimeoutError):
        sandbox.command(["sh", "-c", "trap '' INT TERM; while :; do sleep 0.1; done"], timeout=0.5)
    assert value(sandbox, "kept") == "7"


def test_an_interrupted_command_ends_promptly(sandbox: Sandbox) -> None:
    begun = threading.Event()
    argv = ["sh", "-c", "echo begun; exec sleep 600"]
    running = Running(lambda: sandbox._session.command(argv, on_message=lambda _: begun.set()))
    assert begun.wait(60)
    asked_at_s = time.monotonic()
    sandbox.interrupt()
    assert running.join().interrupted
    assert running.ended_at_s - asked_at_s < PROMPT_S


def test_what_a_command_leaves_running_is_ended(sandbox: Sandbox) -> None:
    assert sandbox.command(["sh", "-c", "sleep 603 & echo started"]).stdout == "started\n"
    wait_until(lambda: "sleep 603" not in running_programs(sandbox))


def running_programs(sandbox: Sandbox) -> str:
    """Return the command lines of what runs below the agent; under the fake engine there is more, elsewhere."""
    return sandbox.run(
        "import os\n"
        "for pid in os.listdir('/proc'):\n"
        "    try: print(open(f'/proc/{pid}/cmdline').read().replace(chr(0), ' '))\n"
        "    except OSError: pass"
    ).stdout


# Files


def test_files_come_back_as_they_were_written(sandbox: Sandbox) -> None:
    data = os.urandom(9 * 2**20 + 17)
    sandbox.files.write("large.bin", data)
    assert sandbox.files.read("large.bin") == data
    assert (folder_of(sandbox) / "large.bin").read_bytes() == data
    sandbox.files.write("large.bin", b"short")
    assert sandbox.files.read("large.bin") == b"short"


def test_empty_files_and_names_of_any_script(sandbox: Sandbox) -> None:
    sandbox.files.write("naïve 立方体.txt", b"")
    assert sandbox.files.read("naïve 立方体.txt") == b""
    assert "naïve 立方体.txt" in [entry.name for entry in sandbox.files.list()]


def test_folders_are_listed_with_kinds_and_sizes(sandbox: Sandbox) -> None:
    sandbox.run(
        "import os\nos.makedirs('listed/inner', exist_ok=True)\nopen('listed/b', 'w').write('four')\n"
        "os.path.lexists('listed/a') or os.symlink('/etc/passwd', 'listed/a')\n"
        "os.path.exists('listed/fifo') or os.mkfifo('listed/fifo')"
    )
    found = [(entry.name, entry.kind) for entry in sandbox.files.list("listed")]
    assert found == [("a", "link"), ("b", "file"), ("fifo", "other"), ("inner", "directory")]
    assert next(entry for entry in sandbox.files.list("listed") if entry.name == "b").size_bytes == 4


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "No such file"),
        ("folder", "regular file|directory"),
        ("fifo", "regular file"),
        ("/dev/zero", "regular file"),
        ("null\0byte", "null"),
    ],
)
def test_what_can_not_be_read_is_an_error_with_the_path(sandbox: Sandbox, path: str, reason: str) -> None:
    sandbox.run("import os\nos.makedirs('folder', exist_ok=True)\nos.path.exists('fifo') or os.mkfifo('fifo')")
    with pytest.raises(SandboxFileError, match=reason) as caught:
        sandbox.files.read(path)
    assert caught.value.path == path


@pytest.mark.parametrize("path", ["folder", "no/such/folder/file", "fifo"])
def test_what_can_not_be_written_is_an_error(sandbox: Sandbox, path: str) -> None:
    sandbox.run("import os\nos.makedirs('folder', exist_ok=True)\nos.path.exists('fifo') or os.mkfifo('fifo')")
    with pytest.raises(SandboxFileError):
        sandbox.files.write(path, b"data")


def test_reading_stops_at_the_bound(sandbox: Sandbox) -> None:
    sandbox.files.write("six", b"123456")
    assert sandbox.files.read("six", max_bytes=6) == b"123456"
    with pytest.raises(SandboxFileError, match="larger than 5"):
        sandbox.files.read("six", max_bytes=5)


def test_listing_what_is_no_folder_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxFileError):
        sandbox.files.list("nowhere")


def test_files_and_usage_answer_while_a_cell_is_busy(sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "while True: print('flood')")
    sandbox.files.write("meanwhile", b"written")
    assert sandbox.files.read("meanwhile") == b"written"
    assert sandbox.usage().memory_bytes > 0
    assert sandbox._session.state == "busy"
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join()


# Usage


def test_samples_come_while_a_cell_runs(sandbox: Sandbox) -> None:
    samples: list[float] = []
    listener = lambda sample: samples.append(sample.time_s)  # noqa: E731
    sandbox._session.notices.add_listener(listener)
    sandbox.run("import time; time.sleep(1.5)")
    sandbox._session.notices.remove_listener(listener)
    assert len(samples) >= 4
    assert samples == sorted(samples)


def test_usage_counts_what_the_cell_used(sandbox: Sandbox) -> None:
    usage = sandbox.run("import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass").usage
    assert 0.4 < usage.cpu_time_s < 5
    assert usage.duration_s >= 0.4
    assert usage.pids_peak >= 1
    big = sandbox.run("data = b'x' * (100 * 2**20); time.sleep(0.5)").usage
    assert big.memory_peak_bytes > 100 * 2**20
