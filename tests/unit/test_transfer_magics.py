"""``%sandbox put`` and ``get`` in a real IPython shell, on the fake engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import SandboxFileError, TransferConflictError, TransferError, UnknownSessionError
from notebooks import Notebook


@pytest.fixture
def notebook(fake_engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    notebook = Notebook(fake_engine)
    yield notebook
    notebook.close()


def test_the_summary_is_the_same_each_time(notebook: Notebook, tmp_path: Path) -> None:
    Path("a.csv").write_text("1,2")
    Path("b.csv").write_text("3,4" * 1000)
    for _ in range(2):
        notebook.run(f"%sandbox put a.csv b.csv {tmp_path}/there")
        assert (notebook.stdout, notebook.stderr) == ("Copied 2 files (2.93 KiB) into the sandbox 'default'.\n", "")
        notebook.run(f"%sandbox get {tmp_path}/there/*.csv back/")
        assert (notebook.stdout, notebook.stderr) == ("Copied 2 files (2.93 KiB) out of the sandbox 'default'.\n", "")
    assert Path("back/a.csv").read_text() == "1,2"


def test_names_are_quoted_as_in_a_shell_and_home_is_home(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "with blank.txt").write_text("x")
    Path("-odd").write_text("x")
    notebook.run(f"%sandbox put -- ~/'with blank.txt' -odd {tmp_path}/there")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"with blank.txt", "-odd"}
    notebook.run(f"%sandbox get '{tmp_path}/there/*blank*' ~/back/")
    assert (home / "back" / "with blank.txt").read_text() == "x"


def test_sessions_are_named_and_only_the_default_one_is_made(notebook: Notebook, tmp_path: Path) -> None:
    Path("x").write_text("x")
    assert isinstance(notebook.error("%sandbox get x ."), UnknownSessionError)
    assert isinstance(notebook.error("%sandbox put --session other x /tmp/"), UnknownSessionError)
    notebook.run("%sandbox start other")
    notebook.run(f"%sandbox put --session other x {tmp_path}/there")
    assert notebook.stdout == "Copied 1 file (1 B) into the sandbox 'other'.\n"
    assert [session.name for session in notebook.manager.sessions()] == ["other"]


def test_files_of_the_host_are_replaced_by_force(notebook: Notebook, tmp_path: Path) -> None:
    Path("x").write_text("the user's")
    (tmp_path / "there" / "x").write_text("sandbox")
    notebook.run("%sandbox start")
    error = notebook.error(f"%sandbox get {tmp_path}/there/x .")
    assert isinstance(error, TransferConflictError)
    assert "--force" in str(error)
    assert Path("x").read_text() == "the user's"
    notebook.run(f"%sandbox get --force {tmp_path}/there/x .")
    assert Path("x").read_text() == "sandbox"


def test_what_is_not_copied_is_listed_also_when_quiet(notebook: Notebook, tmp_path: Path) -> None:
    notebook.run("%sandbox start")
    (tmp_path / "there" / "x").write_text("x")
    (tmp_path / "there" / "\x1b]0;t\x07link").symlink_to("x")
    notebook.run(f"%sandbox get --quiet {tmp_path}/there .")
    assert notebook.stdout == f"Not copied:\n  '{tmp_path}/there/link': a link\n"
    for number in range(30):
        (tmp_path / "there" / f"link{number:02}").symlink_to("x")
    notebook.run(f"%sandbox get {tmp_path}/there .")
    assert notebook.stdout.splitlines()[-1] == "  and 11 more"


@pytest.mark.parametrize(
    "line",
    [
        "put x",
        "get",
        "put 'x y",
        "put --force x y",
        "get --nothing x y",
        "get --max-size x y",
        "put --session",
    ],
)
def test_a_line_that_can_not_be_says_how_it_is_written(notebook: Notebook, line: str) -> None:
    notebook.run("%sandbox start")
    error = notebook.error(f"%sandbox {line}")
    assert isinstance(error, UsageError)
    assert f"Usage: %sandbox {line[:3]} [--session NAME]" in str(error)


def test_wrong_paths_and_sizes_are_errors(notebook: Notebook, tmp_path: Path) -> None:
    notebook.run("%sandbox start")
    assert isinstance(notebook.error("%sandbox put nothing /tmp/"), TransferError)
    assert isinstance(notebook.error(f"%sandbox get {tmp_path}/nothing ."), SandboxFileError)
    (tmp_path / "there" / "x").write_text("xx")
    assert "more than 1 B" in str(notebook.error(f"%sandbox get --max-size 1 {tmp_path}/there/x ."))


def test_tab_offers_options_and_sessions(notebook: Notebook) -> None:
    notebook.run("%sandbox start other")
    words = notebook.magics.commands.transfer.completions
    assert words(["put", "--session"]) == ["other"]
    assert words(["get"]) == ["--session", "--quiet", "--force", "--max-size"]
