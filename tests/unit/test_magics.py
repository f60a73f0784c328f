"""The magics in a real IPython shell, on the fake engine: parsing, replaying, errors, completion."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.completer import provisionalcompleter

from chorus_nb.config import OPTIONS
from chorus_nb.errors import (
    ChorusError,
    ConfigurationError,
    ExecutionError,
    ExecutionTimeoutError,
    ImageNotFoundError,
    PolicyLoosenedError,
    SessionConflictError,
    UnknownSessionError,
    WorkerDiedError,
)
from chorus_nb.options import flag
from chorus_nb.sandbox import RichOutput
from notebooks import Notebook


def test_the_last_expression_is_the_value_of_the_cell(notebook: Notebook) -> None:
    result = notebook.run("%%sandbox\nx = 41\nx + 1").result
    assert isinstance(result, RichOutput)
    assert result.data["text/plain"] == "42"
    assert notebook.shell.user_ns["Out"][1] is result
    assert "x" not in notebook.shell.user_ns


def test_state_lives_from_cell_to_cell_and_sessions_are_separate(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nx = 5")
    notebook.run("%%sandbox other\nx = 7")
    notebook.run("%%sandbox\nprint(x)")
    assert notebook.stdout == "5\n"
    notebook.run("%%sandbox other\nprint(x)")
    assert notebook.stdout == "7\n"


def test_streams_go_to_their_own(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nimport sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert notebook.stdout == "out\n"
    assert notebook.stderr.startswith("err\n")


def test_displays_are_shown(notebook: Notebook) -> None:
    notebook.run(
        "%%sandbox --gauge off\nfrom IPython.display import HTML\ndisplay(HTML('<b>bold</b>'))\ndisplay('text')"
    )
    assert [output.data.get("text/html") for output in notebook.outputs] == ["<b>bold</b>", None]


def test_a_cell_asks_as_the_notebook_does(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: f"typed at {prompt}")
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"hidden at {prompt}")
    notebook.run("%%sandbox\nfrom getpass import getpass\nprint(input('a'), getpass('b'), sep=', ')")
    assert notebook.stdout == "typed at a, hidden at b\n"


def test_a_cell_does_not_ask_where_the_front_end_can_not(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    monkeypatch.setattr(
        notebook.shell, "kernel", SimpleNamespace(_allow_stdin=False, get_parent=lambda _: {}), raising=False
    )
    error = notebook.error("%%sandbox\ninput()")
    assert isinstance(error, ExecutionError)
    assert error.ename == "StdinNotImplementedError"


def test_what_the_policy_drops_is_named(notebook: Notebook) -> None:
    notebook.run("%%sandbox\ndisplay({'application/vnd.x+json': {'a': 'alert(1)'}}, raw=True)")
    assert "alert" not in repr([output.data for output in notebook.outputs])
    assert "Not shown: application/vnd.x+json" in notebook.stderr


SCRIPT = "from IPython.display import HTML\ndisplay(HTML('<script>alert(1)</script>'))"


def test_output_is_chosen_cell_by_cell_and_the_plain_line_says_so(notebook: Notebook) -> None:
    lines = []
    for option, passes in (("", False), ("--output trusted", True), ("--output text", False), ("", False)):
        notebook.run(f"%%sandbox {option}\n{SCRIPT}")
        assert passes == any("<script>alert(1)" in output.data.get("text/html", "") for output in notebook.outputs)
        lines.append(notebook.stderr.partition("]")[0])
    assert lines == [f"[sandbox default{remark}" for remark in ("", ", trusted output", ", text output", "")]
    assert len(notebook.manager.sessions()) == 1, "it is no option of the container and needs no other one"


def test_the_form_of_output_belongs_to_cells(notebook: Notebook) -> None:
    assert "--output" in str(notebook.error("%sandbox start seen --output trusted"))


def test_an_error_shows_the_sandboxes_traceback_and_keeps_what_was_printed(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox\nprint('before')\ndef boom():\n    1/0\nboom()")
    assert isinstance(error, ExecutionError)
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", notebook.stdout)
    assert plain.startswith("before\n")
    assert "in boom()" in plain
    assert "----> 2     1/0" in plain or "1/0" in plain
    assert "chorus" not in plain


def test_a_failing_cell_is_an_error_of_the_cell(notebook: Notebook) -> None:
    assert not notebook.run("%%sandbox\n1/0").success


def test_a_trailing_semicolon_hides_the_value(notebook: Notebook) -> None:
    assert notebook.run("%%sandbox\n42;").result is None


def test_the_strip_is_one_line_in_a_terminal(notebook: Notebook) -> None:
    notebook.run("%%sandbox\npass")
    assert re.fullmatch(r"\[sandbox default\] done in .*\n", notebook.stderr)
    notebook.run("%%sandbox --gauge off\npass")
    assert notebook.stderr == ""


def test_a_timeout_names_itself_and_keeps_the_variables(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nx = 5")
    error = notebook.error("%%sandbox --timeout 0.5\nwhile True: pass")
    assert isinstance(error, ExecutionTimeoutError)
    assert error.state_kept
    assert "timeout" in notebook.stderr
    notebook.run("%%sandbox\nprint(x)")
    assert notebook.stdout == "5\n"


def test_a_worker_that_ends_says_that_variables_are_lost(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox\nimport os\nprint('last words', flush=True)\nos._exit(3)")
    assert isinstance(error, WorkerDiedError)
    assert error.exit_code == 3
    assert notebook.stdout.startswith("last words\n")


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("--memory 1k", ConfigurationError, "memory='1k'"),
        ("--cpus many", ConfigurationError, "cpus='many'"),
        ("--pids 1", ConfigurationError, "pids='1'"),
        ("--repo up", ConfigurationError, "repo='up'"),
        ("--timeout soon", ConfigurationError, "--timeout='soon'"),
        ("--timeout 0", ConfigurationError, "--timeout='0'"),
        ("--env CHORUS_NB_NOT_SET", ConfigurationError, "CHORUS_NB_NOT_SET=VALUE"),
        ("--env 1A=x", ConfigurationError, "1A"),
        ("bad/name", ConfigurationError, "bad/name"),
        ("--image nope:1", ImageNotFoundError, "nope:1"),
    ],
)
def test_bad_options_are_clear_errors_without_a_host_frame(
    notebook: Notebook, line: str, kind: type[ChorusError], message: str
) -> None:
    error = notebook.error(f"%%sandbox {line}\n1")
    assert type(error) is kind
    assert message in str(error)
    assert "Traceback" not in notebook.stdout
    assert message in notebook.stdout
    assert not [s for s in notebook.manager.sessions() if s.state not in ("new", "closed")]


@pytest.mark.parametrize("line", ["--nope", "a b", "--gauge sideways", "--memory"])
def test_what_cannot_be_parsed_is_a_usage_error(notebook: Notebook, line: str) -> None:
    assert type(notebook.error(f"%%sandbox {line}\n1")).__name__ == "UsageError"


def test_conflicting_options_say_how_to_go_on(notebook: Notebook) -> None:
    notebook.run("%%sandbox --memory 512m\nx = 1")
    assert isinstance(notebook.error("%%sandbox --memory 1g\nx"), SessionConflictError)
    assert "--fresh" in notebook.stdout
    assert notebook.run("%%sandbox --memory 1g --fresh\n'x' in globals()").result.data["text/plain"] == "False"


def test_the_environment_comes_by_name_or_value(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORUS_NB_TEST", "from here")
    notebook.run(
        "%%sandbox --env CHORUS_NB_TEST --env 'OTHER=a b'\n"
        "import os\nprint(os.environ['CHORUS_NB_TEST'], os.environ['OTHER'])"
    )
    assert notebook.stdout == "from here a b\n"


def test_every_option_can_be_typed(notebook: Notebook) -> None:
    notebook.run("%%sandbox --open-files 128 --max-output '64k' --read-only-root false --repo none\n1")
    config = notebook.manager.get("default").config
    assert (config.limits.open_files, config.output.max_bytes, config.security.read_only_root) == (128, 2**16, False)
    assert {flag(name) for name in OPTIONS} <= set(notebook.magics.cell.parser._option_string_actions)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_repository_tightens_cells(notebook: Notebook, repository: Path) -> None:
    (repository / "chorus.toml").write_text("memory = '512m'\ntimeout = 0.5\ngauge = 'off'\nrepo = 'none'")
    assert isinstance(notebook.error("%%sandbox\nwhile True: pass"), ExecutionTimeoutError)
    assert notebook.stderr == ""
    assert notebook.manager.get("default").config.option_text("memory") == "512m"
    notebook.run("%sandbox config")
    assert re.search(r"memory +512m +chorus\.toml", notebook.stdout)
    notebook.run("%%sandbox --timeout 20 --gauge on\nimport time; time.sleep(0.8)")
    assert "done in" in notebook.stderr


def test_a_repository_that_loosens_stops_new_sessions_and_no_other(notebook: Notebook, repository: Path) -> None:
    notebook.run("%%sandbox --repo none\nx = 5")
    (repository / "chorus.toml").write_text("memory = '4g'")
    notebook.run("%%sandbox\nprint(x)")
    assert notebook.stdout == "5\n"
    assert isinstance(notebook.error("%%sandbox other\n1"), PolicyLoosenedError)
    assert "chorus-nb config trust" in notebook.stdout
    assert isinstance(notebook.error("%%sandbox --fresh\n1"), PolicyLoosenedError)
    assert notebook.run("%%sandbox\nx").result.data["text/plain"] == "5", "a session that can't be made anew stays"
    assert notebook.run("%%sandbox other --memory 4g\n1").success


def test_a_profile_is_what_a_session_starts_from(notebook: Notebook) -> None:
    notebook.run(f"%%sandbox --profile strict --pids 70\n{SCRIPT}")
    config = notebook.manager.get("default").config
    assert [config.option_text(name) for name in ("memory", "pids", "repo", "output")] == ["512m", "70", "none", "text"]
    assert notebook.run("%%sandbox --profile strict\n1").success
    assert notebook.run("%%sandbox\n1").success
    error = notebook.error("%%sandbox --profile tutorial\n1")
    assert isinstance(error, SessionConflictError)
    assert "--profile strict; you asked for --profile tutorial" in str(error)
    assert "no profile 'lax'" in str(notebook.error("%%sandbox new --profile lax\n1"))


def test_the_commands(notebook: Notebook) -> None:
    notebook.run("%sandbox list")
    assert "no sessions yet" in notebook.stdout
    notebook.run("%sandbox start work --memory 512m")
    assert "'work' is ready" in notebook.stdout
    notebook.run("%sandbox status work")
    assert re.search(r"state: +idle", notebook.stdout)
    assert re.search(r"memory: +\d+ MiB of 512 MiB", notebook.stdout)
    notebook.run("%sandbox list")
    assert re.search(r"work +idle +\d+ s +mirror +512 MiB", notebook.stdout)
    notebook.run("%sandbox config work")
    assert re.search(r"memory +512m", notebook.stdout)
    notebook.run("%sandbox panel")
    assert notebook.panels == 1
    for command in notebook.magics.commands.names:
        notebook.run("%sandbox help")
        assert f"%sandbox {command}" in notebook.stdout or command == "help"


def test_restart_stop_and_kill_lose_the_variables_and_say_so(notebook: Notebook) -> None:
    for command in ("restart", "stop", "kill"):
        notebook.run("%%sandbox\nx = 1")
        notebook.run(f"%sandbox {command}")
        assert "default" in notebook.stdout
        if command == "kill":
            assert isinstance(notebook.error("%%sandbox\nx"), ChorusError)
        assert notebook.run("%%sandbox\n'x' in globals()").result.data["text/plain"] == "False", command


def test_restart_starts_what_was_stopped(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nx = 1")
    notebook.run("%sandbox stop")
    notebook.run("%sandbox restart")
    assert notebook.manager.get("default").state == "idle"


def test_logs_hold_what_outlived_its_cell(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nimport subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 0.3; echo later'])\nNone")
    notebook.run("import time; time.sleep(1)")
    notebook.run("%sandbox logs")
    assert "later" in notebook.stdout


def test_unknown_commands_and_sessions(notebook: Notebook) -> None:
    assert type(notebook.error("%sandbox nope")).__name__ == "UsageError"
    assert isinstance(notebook.error("%sandbox stop nobody"), UnknownSessionError)


def test_help_describes_every_option(notebook: Notebook) -> None:
    text = notebook.magics.cell.__doc__
    for option in (
        "--image",
        "--memory",
        "--cpus",
        "--pids",
        "--timeout",
        "--repo",
        "--env",
        "--fresh",
        "--gauge",
        "name",
    ):
        assert option in text
    assert "%%sandbox" in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%%sandbox --", {"--image", "--memory", "--repo", "--fresh"}),
        ("%%sandbox --repo r", {"ro", "rw"}),
        ("%%sandbox alp", {"alpha"}),
        ("%sandbox re", {"restart"}),
        ("%sandbox stop al", {"alpha"}),
        ("%sandbox start --mem", {"--memory"}),
        ("%sandbox o", {"on", "off"}),
        ("%sandbox on al", {"alpha"}),
        ("%sandbox on --mem", {"--memory"}),
        ("%%sandbox --b", {"--bg"}),
        ("%%sandbox --matrix mem", {"memory="}),
        ("%%sandbox --open", {"--open-files"}),
        ("%%sandbox --network b", {"bridge"}),
        ("%%sandbox --read-only-root f", {"false"}),
        ("%%sandbox --prof", {"--profile"}),
        ("%%sandbox --profile t", {"tutorial"}),
        ("%%sandbox other,al", {"other,alpha"}),
    ],
)
def test_completion(notebook: Notebook, line: str, expected: set[str]) -> None:
    notebook.manager.ensure("alpha", {})
    with provisionalcompleter():
        found = list(notebook.shell.Completer.completions(line, len(line)))
    # As the front end applies them: each replaces its own part of the line.
    completed = {(line[: match.start] + match.text + line[match.end :]).split(" ")[-1] for match in found}
    assert expected <= completed
    assert all(word.startswith(line.split(" ")[-1]) for word in completed)
