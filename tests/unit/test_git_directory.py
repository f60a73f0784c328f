"""The git directory of a folder: found where git finds it, and never where a hostile ``.git`` would have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gitserver import git, repository

from chorus_nb.git import NoGitDirectoryError, git_directory
from chorus_nb.git.directory import is_git_directory, read_text

pytestmark = pytest.mark.usefixtures("own_git")


def test_a_plain_repository_has_its_own(tmp_path: Path) -> None:
    found = git_directory(repository(tmp_path / "a"), tmp_path / "a")
    assert found is not None
    assert found.path == found.common == tmp_path / "a" / ".git"


def test_a_folder_without_git_has_none(tmp_path: Path) -> None:
    (tmp_path / "a" / ".git").mkdir(parents=True)
    assert git_directory(tmp_path, tmp_path) is None
    assert git_directory(tmp_path / "a", tmp_path) is None, "an empty folder of that name"


def test_a_linked_worktree_has_the_main_ones(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=main)
    found = git_directory(tmp_path / "side", tmp_path / "side")
    assert found is not None
    assert (found.path, found.common) == (main / ".git/worktrees/side", main / ".git")


def test_a_submodule_has_a_part_of_its_superprojects(tmp_path: Path) -> None:
    repository(tmp_path / "library")
    main = repository(tmp_path / "main")
    git("submodule", "--quiet", "add", str(tmp_path / "library"), "libs/own", cwd=main)
    found = git_directory(main / "libs/own", main / "libs/own")
    assert found is not None
    assert found.path == found.common == main / ".git/modules/libs/own"


def test_a_separate_git_directory_is_found(tmp_path: Path) -> None:
    place = repository(tmp_path / "work", f"--separate-git-dir={tmp_path / 'kept.git'}")
    found = git_directory(place, place)
    assert found is not None
    assert found.path == tmp_path / "kept.git"


# Hostile


def hostile(tmp_path: Path, gitdir: object) -> Path:
    folder = tmp_path / "hostile"
    folder.mkdir(exist_ok=True)
    (folder / ".git").write_text(f"gitdir: {gitdir}\n")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(NoGitDirectoryError) as caught:
        git_directory(folder, folder)
    return str(caught.value)


def test_nobody_elses_is_believed(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    repository(tmp_path / "library")
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=main)
    git("submodule", "--quiet", "add", str(tmp_path / "library"), "own", cwd=main)
    git("clone", "-q", "--bare", str(main), "bare.git", cwd=tmp_path)
    for gitdir, why in [
        (main / ".git", "of another repository"),
        ("../main/.git", "of another repository"),
        (main / ".git/worktrees/side", "of another worktree"),
        (main / ".git/modules/own", "of another repository"),
        (tmp_path / "bare.git", "of another repository"),
        (tmp_path, "is no git directory"),
        (tmp_path / "nowhere", "is no git directory"),
        ("/etc", "is no git directory"),
        ("/proc/self/fd/0", "is no git directory"),
    ]:
        assert why in refused(hostile(tmp_path, gitdir)), gitdir


def test_a_forged_worktree_gets_no_repository(tmp_path: Path) -> None:
    """All that a repository can forge lies in itself: a ``commondir`` there that names another's directory."""
    main = repository(tmp_path / "main")
    folder = hostile(tmp_path, "forged/worktrees/x")
    forged = folder / "forged/worktrees/x"
    forged.mkdir(parents=True)
    (forged / "commondir").write_text(f"{main / '.git'}\n")
    (forged / "gitdir").write_text(f"{folder / '.git'}\n")
    (forged / "HEAD").write_text("ref: refs/heads/main\n")
    assert "of another worktree" in refused(folder)
    (forged / "commondir").write_text("../..\n")
    assert "no git directory" in refused(folder)
    (folder / "forged/worktrees").rename(folder / "moved")
    (folder / "forged").rmdir()
    (folder / "forged").symlink_to(main / ".git")
    (main / ".git/worktrees").mkdir()
    assert "no git directory" in refused(folder)


def test_a_separate_one_of_another_owner_is_not_believed(tmp_path: Path) -> None:
    place = repository(tmp_path / "work", f"--separate-git-dir={tmp_path / 'kept.git'}")
    if os.geteuid() == 0:
        os.chown(place / ".git", 12345, 12345)
        assert "of another repository" in refused(place)
    git("config", "core.bare", "true", cwd=tmp_path / "kept.git")
    assert "of another repository" in refused(place)


def test_a_home_folder_that_is_a_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = repository(tmp_path / "work", f"--separate-git-dir={tmp_path / 'home'}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert "no home folder" in refused(place)


@pytest.mark.parametrize("kind", ["link", "pipe", "binary", "long", "text"])
def test_a_git_file_that_is_none(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    place = folder / ".git"
    if kind == "link":
        place.symlink_to(repository(tmp_path / "other") / ".git")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes({"binary": b"\xff\x00\n", "long": b"gitdir: " + b"a" * 2**21, "text": b"hello"}[kind])
    if kind in ("pipe", "long"):
        assert git_directory(folder, folder) is None
    else:
        refused(folder)


def test_only_a_whole_git_directory_is_one(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a") / ".git"
    assert is_git_directory(folder)
    head = read_text(folder / "HEAD")
    for text in ("hello", "", "ref: somewhere"):
        (folder / "HEAD").write_text(text)
        assert not is_git_directory(folder)
    (folder / "HEAD").write_text(head or "")
    (folder / "refs").rename(folder / "gone")
    assert not is_git_directory(folder)
