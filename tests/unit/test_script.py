"""Shell scripts as cells, in a real IPython shell on the fake engine."""

from __future__ import annotations

import pytest

from chorus_nb.errors import CommandError, ConfigurationError, ExecutionTimeoutError
from chorus_nb.kernel_requests import KernelRequests
from chorus_nb.script import MAX_SCRIPT_BYTES, script_argv
from notebooks import Notebook


def test_a_script_runs_where_python_does_and_keeps_nothing(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nx = 5\nimport os; os.environ['FROM_PYTHON'] = '1'; print(os.getcwd())")
    folder = notebook.stdout
    notebook.run("%%sandbox --lang sh\npwd; cd /; LATER=1")
    assert notebook.stdout == folder
    notebook.run('%%sandbox --lang sh\npwd; echo "[$LATER]"')
    assert notebook.stdout == folder + "[]\n"
    notebook.run("%%sandbox\nprint(x)")
    assert notebook.stdout == "5\n"


def test_what_a_script_writes_is_shown_as_it_is(notebook: Notebook) -> None:
    assert notebook.run("%%sandbox --lang sh\nprintf '\\033[31mred\\033[0m 10%%\\r20%%\\n'; echo err >&2").success
    assert notebook.stdout == "\x1b[31mred\x1b[0m 10%\r20%\n"
    assert "err\n" in notebook.stderr


def test_a_script_that_fails_is_an_error_that_names_its_status(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox --lang sh\necho before; exit 3")
    assert isinstance(error, CommandError)
    assert (error.exit_code, str(error)) == (3, "The script ended with exit status 3.")
    assert len(error._render_traceback_()) == 1
    assert notebook.stdout.startswith("before\n")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", "ended by signal 9 (SIGKILL)"),
        ("sh -c 'kill -15 $$'", "exit status 143: its last program was ended by signal 15 (SIGTERM)"),
        ("no-such-program", "exit status 127"),
        ("echo 'no end", "exit status 2"),
        ("exit 255", "exit status 255"),
    ],
)
def test_each_end_is_named(notebook: Notebook, script: str, words: str) -> None:
    assert words in str(notebook.error(f"%%sandbox --lang sh\n{script}"))


def test_a_script_has_no_input_and_waits_for_nobody_it_left_behind(notebook: Notebook) -> None:
    notebook.run("%%sandbox --lang sh\ncat; read line; echo end; sleep 600 &")
    assert notebook.stdout == "end\n"


def test_a_script_over_its_time_is_ended(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox --lang sh --timeout 0.3\nsleep 600")
    assert isinstance(error, ExecutionTimeoutError)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo a\nprintf 'a\0b'", "Line 2 of the script has a null character"),
        ("#" * (MAX_SCRIPT_BYTES + 1), f"{MAX_SCRIPT_BYTES + 1} bytes"),
        ("#!/usr/bin/perl\nprint 1", "runs shells only"),
    ],
)
def test_what_no_shell_could_take_is_refused(script: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        script_argv(script)
    assert words in str(caught.value)


def test_the_longest_script_runs(notebook: Notebook) -> None:
    end = "\necho ran\n"
    assert notebook.run("%%sandbox --lang sh\n" + "#" * (MAX_SCRIPT_BYTES - len(end)) + end).success
    assert notebook.stdout == "ran\n"


@pytest.mark.parametrize(
    ("script", "argv"),
    [
        ("#!/bin/bash -e\ntrue", ["/bin/bash", "-e", "-c"]),
        ("#!/usr/bin/env bash\ntrue", ["/usr/bin/env", "bash", "-c"]),
        ("#! \ntrue", ["sh", "-c"]),
        ("# a comment", ["sh", "-c"]),
        ("", ["sh", "-c"]),
    ],
)
def test_the_first_line_may_name_another_shell(script: str, argv: list[str]) -> None:
    assert script_argv(script)[4:] == [*argv, script]


def test_line_ends_of_other_systems_are_no_part_of_the_commands(notebook: Notebook) -> None:
    assert script_argv("echo a\r\necho b\r\n")[-1] == "echo a\necho b\n"


@pytest.fixture
def requests(notebook: Notebook) -> KernelRequests:
    return KernelRequests(notebook.magics)


def test_python_says_nothing_about_a_script(requests: KernelRequests) -> None:
    cell = "%%sandbox --lang sh\nprin"
    completion, inspection = requests.complete(cell, len(cell)), requests.inspect(cell, len(cell))
    assert completion is not None
    assert inspection is not None
    assert (completion["matches"], inspection["found"]) == ([], False)
    # In the magic's own line, and where the line is not complete yet, the kernel answers.
    assert requests.complete(cell, 5) is None
    assert requests.complete("%%sandbox --lang\nprin", 21) is None


def test_the_mode_takes_the_language_of_its_line(notebook: Notebook, requests: KernelRequests) -> None:
    notebook.run("%sandbox on --lang sh")
    notebook.run("echo $((40 + 2))")
    assert notebook.stdout == "42\n"
    completion = requests.complete("prin", 4)
    assert completion is not None
    assert completion["matches"] == []
    notebook.run("%sandbox off")
    assert requests.complete("prin", 4) is None


def test_scripts_run_side_by_side_and_in_the_background(notebook: Notebook) -> None:
    result = notebook.run("%%sandbox a,b --lang sh\necho $((40 + 2))")
    assert result.success
    handle = notebook.run("%%sandbox --bg --lang sh\nexit 3").result
    with pytest.raises(CommandError, match="status 3"):
        handle.result(30)
