"""The sessions of a notebook on the sandbox kernel, and its shell on the host, without a kernel around them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chorus_nb.errors import ConfigurationError, ExecutionError, PolicyLoosenedError
from chorus_nb.kernel import LockedShell, error_content
from chorus_nb.notebook_sessions import MAX_SESSIONS, NotebookSessions
from chorus_nb.options import add_policy_arguments
from chorus_nb.settings import notebook_file


def sessions_with(*words: str) -> NotebookSessions:
    parser = ArgumentParser()
    add_policy_arguments(parser)
    return NotebookSessions(parser.parse_args(words))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


def test_a_cell_gets_what_the_user_allows_and_no_more() -> None:
    sessions = sessions_with("--memory=2g", "--network=bridge", "--timeout=5")
    session = sessions.ensure("default", {"memory": "1g", "network": "none"})
    assert (session.config.option_text("memory"), session.config.network.mode) == ("1g", "none")
    assert session.config.limits.timeout_s == 5.0
    assert sessions.ensure("other", {}).config.network.mode == "bridge"
    for looser in ({"memory": "3g"}, {"repo": "rw"}, {"env": {"A": "1"}}, {"user": "0:0"}, {"repo_path": "/"}):
        with pytest.raises(PolicyLoosenedError):
            sessions.ensure("third", looser)


def test_a_cell_may_name_a_profile_that_tightens() -> None:
    sessions = sessions_with("--profile=untrusted", "--pids=100")
    assert sessions.ensure("default", {}).config.limits.pids == 100
    config = sessions.ensure("strict", {"profile": "strict"}).config
    assert (config.option_text("memory"), config.limits.pids, config.limits.cpus) == ("512m", 64, 0.5)
    with pytest.raises(PolicyLoosenedError, match="profile 'tutorial': memory"):
        sessions.ensure("more", {"profile": "tutorial"})


def test_a_cell_does_not_trust_itself(tmp_path: Path) -> None:
    (tmp_path / "chorus.toml").write_text("memory = '4g'")
    sessions = sessions_with()
    with pytest.raises(PolicyLoosenedError, match="config trust"):
        sessions.ensure("default", {"memory": "4g"})


def test_a_notebook_may_have_only_so_many() -> None:
    sessions = sessions_with()
    for number in range(MAX_SESSIONS):
        sessions.ensure(f"s{number}", {})
    with pytest.raises(PolicyLoosenedError, match="sessions"):
        sessions.ensure("one-more", {})
    sessions.ensure("s0", {}, fresh=True)


def test_options_of_the_kernel_that_are_wrong_stop_every_cell() -> None:
    sessions = sessions_with("--memory=much")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="memory"):
            sessions.ensure("default", {})


def test_a_notebook_is_known_where_the_server_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebook_file() is None
    path = tmp_path / "n.ipynb"
    for name, known in (
        (str(path), True),
        ("n.ipynb", True),
        (str(tmp_path / "gone.ipynb"), False),
        ("console-1", False),
    ):
        path.touch()
        monkeypatch.setenv("JPY_SESSION_NAME", name)
        assert notebook_file() == (path if known else None)


@pytest.fixture
def shell() -> Iterator[Any]:
    LockedShell.clear_instance()
    yield LockedShell.instance()
    LockedShell.clear_instance()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("run_cell", ("1",)),
        ("run_cell_async", ("1",)),
        ("run_code", (compile("1", "x", "exec"),)),
        ("run_line_magic", ("pwd", "")),
        ("run_cell_magic", ("time", "", "1")),
        ("ev", ("1",)),
        ("ex", ("1",)),
        ("system", ("id",)),
        ("getoutput", ("id",)),
        ("user_expressions", ({"a": "1"},)),
        ("complete", ("a",)),
        ("object_inspect_mime", ("print",)),
        ("safe_execfile", ("x.py",)),
    ],
)
def test_the_shell_on_the_host_runs_nothing(shell: Any, method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(PermissionError):
        getattr(shell, method)(*arguments)


def test_an_error_shows_no_frame_of_the_host() -> None:
    assert error_content(ExecutionError("NameError", "x", ["line"])) == {
        "ename": "NameError",
        "evalue": "x",
        "traceback": ["line"],
    }
    assert error_content(KeyboardInterrupt()) == {
        "ename": "KeyboardInterrupt",
        "evalue": "",
        "traceback": ["\x1b[31mKeyboardInterrupt\x1b[0m"],
    }
