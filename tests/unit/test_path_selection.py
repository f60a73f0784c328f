"""Which changes a path means, in all the ways that people name one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from chorus_nb import Sandbox
from chorus_nb.changes.change import Change
from chorus_nb.changes.path_selection import PathSelection
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import NoSuchChangeError
from chorus_nb.view.overlay_copy import TICK_NS

CHANGES = [
    Change("modified", path, None, None)
    for path in ("[x].py", "run.sh", "src/a.py", "src/sub", "src/sub/c.py", "with blank ", "~/a.py")
]
SRC = ["src/a.py", "src/sub", "src/sub/c.py"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in the home folder, and a notebook in a folder of it."""
    folder = tmp_path / "home/repository"
    (folder / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder / "notebooks")
    return folder


def chosen(repository: Path, *paths: str, globs: bool = True) -> list[str]:
    return [each.path for each in PathSelection(paths, repository, globs=globs).of(CHANGES)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["src"], SRC),
        (["src/"], SRC),
        (["./src/a.py", "run.sh"], ["run.sh", "src/a.py"]),
        (["*.py"], ["[x].py", "src/a.py", "src/sub/c.py", "~/a.py"]),
        (["./*.py"], ["[x].py"]),
        (["/*.py"], ["[x].py"]),
        (["src/**/c.py"], ["src/sub/c.py"]),
        (["s*/"], SRC),
        (["[x].py"], ["[x].py"]),
        (["with blank "], ["with blank "]),
        (["./~/a.py"], ["~/a.py"]),
        (["."], [each.path for each in CHANGES]),
        ([""], [each.path for each in CHANGES]),
    ],
)
def test_files_folders_and_globs_from_the_top(repository: Path, asked: list[str], found: list[str]) -> None:
    assert chosen(repository, *asked) == found


@pytest.mark.parametrize(
    "start", ["", "/", "/workspace/", "../", "~/repository/", "{}/", "{}/notebooks/../", "{}-link/"]
)
def test_a_path_of_the_host_or_of_the_sandbox_is_the_same_file(repository: Path, start: str) -> None:
    Path(f"{repository}-link").symlink_to(repository)
    start = start.format(repository)
    assert chosen(repository, f"{start}src/a.py") == ["src/a.py"]
    assert chosen(repository, f"{start}src") == chosen(repository, f"{start}src/") == SRC
    assert chosen(repository, f"{start}[x].py") == ["[x].py"]


@pytest.mark.parametrize("start", ["/", "/workspace/", "../", "~/repository/", "{}/"])
def test_a_glob_that_has_a_place_is_for_that_place(repository: Path, start: str) -> None:
    assert chosen(repository, f"{start.format(repository)}*.py") == ["[x].py"]
    assert chosen(repository, f"{start.format(repository)}src/*.py") == ["src/a.py"]


def test_a_name_that_a_sandbox_has_chosen_is_just_that(repository: Path) -> None:
    assert chosen(repository, "~/a.py", globs=False) == ["~/a.py"]
    with pytest.raises(NoSuchChangeError):
        chosen(repository, "*.py", globs=False)


@pytest.mark.parametrize(
    "asked", ["src/c.py", "../etc", "../../x", "*.rs", "/etc", "/", "src/b.py", "[", "[y-[a]", "!*.py", "\n"]
)
def test_a_path_without_a_change_is_an_error_that_names_the_nearest(repository: Path, asked: str) -> None:
    with pytest.raises(NoSuchChangeError) as caught:
        chosen(repository, asked)
    assert caught.value.path == asked
    if asked.startswith("src/"):
        assert "'src/a.py'" in str(caught.value)


def test_a_working_directory_that_is_gone_is_no_reason_to_fail(repository: Path) -> None:
    (repository / "notebooks").rmdir()
    assert chosen(repository, "src/a.py") == ["src/a.py"]
    with pytest.raises(NoSuchChangeError):
        chosen(repository, f"..{os.sep}src")


def test_from_python_one_path_is_one_and_not_its_letters(tmp_path: Path) -> None:
    for name in ("ab", "a", "b"):
        (tmp_path / name).write_text("as it was\n")
    time.sleep(2 * TICK_NS / 1e9)  # What is as young as the copy counts as changed meanwhile.
    with Sandbox(engine=FakeEngine(), repo="overlay", repo_path=tmp_path) as sandbox:
        assert sandbox.run("for name in ('ab', 'a', 'b'): open(name, 'w').write('changed')").ok
        assert [each.path for each in sandbox.changes("ab")] == ["ab"]
        assert [each.path for each in sandbox.changes(Path("ab"))] == ["ab"]
        assert [each.path for each in sandbox.apply("ab").done] == ["ab"]
        assert [each.path for each in sandbox.discard(Path(name) for name in "ab")] == ["a", "b"]
