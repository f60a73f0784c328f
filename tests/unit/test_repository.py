"""Which folder is mounted, and as whom the code runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorus_nb import Sandbox
from chorus_nb.config import RepositoryMount, SandboxConfig
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import ConfigurationError, PolicyRefusedError, RepositoryNotFoundError
from chorus_nb.manager import SessionManager
from chorus_nb.repository import find_repository, groups_needed, resolve_repository, sandbox_user
from chorus_nb.session import Session
from chorus_nb.status import describe


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "project" / ".git").mkdir(parents=True)
    (tmp_path / "project" / "notebooks" / "deep").mkdir(parents=True)
    return tmp_path / "project"


def test_the_git_top_level_is_found_from_below(repository: Path) -> None:
    assert find_repository(repository / "notebooks" / "deep") == repository
    assert find_repository(repository) == repository


def test_a_worktree_has_a_git_file(repository: Path) -> None:
    (repository / "notebooks" / ".git").write_text("gitdir: ../.git/worktrees/notebooks\n")
    assert find_repository(repository / "notebooks" / "deep") == repository / "notebooks"


def test_without_git_the_folder_itself_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    assert find_repository(folder) == folder


def test_a_relative_start_is_made_absolute(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "notebooks")
    assert find_repository(Path()) == repository


def test_the_mount_defaults_to_the_repository_around_the_notebook(repository: Path) -> None:
    assert resolve_repository(RepositoryMount(), repository / "notebooks") == repository


def test_a_named_folder_is_taken_as_it_is(repository: Path) -> None:
    mount = RepositoryMount(path=repository / "notebooks")
    assert resolve_repository(mount, repository) == repository / "notebooks"


def test_no_repository_means_no_folder(repository: Path) -> None:
    assert resolve_repository(RepositoryMount(mode="none"), repository) is None
    assert resolve_repository(RepositoryMount(mode="none", path=Path("/etc")), repository) is None


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError, match=r"absent' does not exist\. .*repo_path"):
        resolve_repository(RepositoryMount(path=tmp_path / "absent"), tmp_path)


def test_a_file_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryNotFoundError, match="is not a folder"):
        resolve_repository(RepositoryMount(path=tmp_path / "file"), tmp_path)


def test_a_link_to_a_folder_is_resolved(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository)
    assert resolve_repository(RepositoryMount(path=tmp_path / "link"), tmp_path) == repository


@pytest.mark.parametrize(
    "folder", ["/", "/etc", "/etc/..", "/proc", "/proc/self", "/sys", "/dev", "/usr", "/usr/lib", "/var", "/tmp"]
)
def test_system_folders_are_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyRefusedError, match=r"is refused by the rule 'no .*repo_path") as caught:
        resolve_repository(RepositoryMount(path=Path(folder)), tmp_path)
    assert caught.value.rule in ("no system folder", "no home folder", "no engine socket")


def test_a_link_does_not_get_around_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(PolicyRefusedError, match=r"'/etc', .*'no system folder'"):
        resolve_repository(RepositoryMount(path=tmp_path / "link"), tmp_path)


def test_a_start_in_a_system_folder_is_refused_too() -> None:
    with pytest.raises(ConfigurationError, match="repo='none'"):
        resolve_repository(RepositoryMount(), Path("/etc"))


def test_the_home_folder_is_refused_but_not_what_lies_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "people" / "ada"
    (home / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(PolicyRefusedError, match="your home folder, is refused by the rule 'no home folder'"):
        resolve_repository(RepositoryMount(path=Path("~")), tmp_path)
    with pytest.raises(PolicyRefusedError, match="in which your home folder lies, is refused"):
        resolve_repository(RepositoryMount(path=home.parent), tmp_path)
    assert resolve_repository(RepositoryMount(path=Path("~/project")), tmp_path) == home / "project"


@pytest.mark.parametrize(
    ("mode", "uid", "world_readable", "folder_mode", "user"),
    [
        ("ro", 1000, True, 0o755, "1000:100"),
        ("rw", 1000, False, 0o700, "1000:100"),
        ("ro", 0, True, 0o755, "65534:65534"),
        ("ro", 0, True, 0o700, "0:0"),
        ("ro", 0, True, 0o754, "0:0"),
        ("ro", 0, True, 0o751, "0:0"),
        ("ro", 0, False, 0o755, "0:0"),
        ("rw", 0, True, 0o777, "0:0"),
    ],
)
def test_root_is_used_only_where_the_files_leave_no_choice(
    mode: str, uid: int, world_readable: bool, folder_mode: int, user: str, tmp_path: Path
) -> None:
    tmp_path.chmod(folder_mode)
    assert sandbox_user(tmp_path, mode, uid, 100 if uid else 0, world_readable) == user


def test_without_a_repository_root_becomes_nobody() -> None:
    assert sandbox_user(None, "none", 0, 0, True) == "65534:65534"
    assert sandbox_user(None, "none", 0, 0, False) == "0:0"


@pytest.mark.parametrize("uid", [0, 1000])
def test_where_root_is_the_notebooks_user_the_code_is_root(uid: int, tmp_path: Path) -> None:
    """With a rootless engine, whoever else writes there owns files that the notebook's user can't even remove."""
    for mode in ("ro", "rw", "overlay"):
        assert sandbox_user(tmp_path, mode, uid, uid, True, rootless=True) == "0:0"
    assert sandbox_user(None, "none", uid, uid, True, rootless=True) == "65534:65534"
    assert sandbox_user(None, "none", uid, uid, False, rootless=True) == "0:0"
    assert sandbox_user(None, "rw", uid, uid, True, rootless=True) == "0:0"


@pytest.mark.parametrize(
    ("mode", "counts"), [(0o2770, True), (0o2775, True), (0o750, True), (0o755, False), (0o700, False), (0o707, False)]
)
def test_the_group_that_a_folder_is_shared_by_comes_along(mode: int, counts: bool, tmp_path: Path) -> None:
    team = tmp_path.stat().st_gid
    own, sources = team + 1, [tmp_path / "absent", tmp_path]
    tmp_path.chmod(mode)
    try:
        assert groups_needed(sources, f"1000:{own}", 1000, own, [own, team, team + 2]) == ((team,) if counts else ())
    finally:
        tmp_path.chmod(0o700)


def test_no_group_comes_along_that_the_notebooks_user_has_not(tmp_path: Path) -> None:
    team = tmp_path.stat().st_gid
    tmp_path.chmod(0o770)
    assert groups_needed([tmp_path], f"1000:{team}", 1000, team, [team]) == ()
    assert groups_needed([tmp_path], f"1000:{team + 1}", 1000, team + 1, [team + 1]) == ()
    assert groups_needed([tmp_path], "65534:65534", 1000, team + 1, [team + 1, team]) == ()
    assert groups_needed([tmp_path], "0:0", 0, 0, [0, team]) == ()


def test_a_notebook_whose_folder_was_removed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(RepositoryNotFoundError, match=r"was removed.*%cd"):
        Sandbox(engine=FakeEngine())
    with pytest.raises(RepositoryNotFoundError, match=r"was removed.*%cd"):
        SessionManager(FakeEngine()).ensure("default", {"repo": "none"})


def test_the_status_of_a_session_whose_repository_is_gone(tmp_path: Path) -> None:
    config = SandboxConfig(repository=RepositoryMount(path=tmp_path / "gone"))
    assert f"repository:  The repository '{tmp_path}/gone' does not exist." in describe(
        Session("default", config, FakeEngine(), tmp_path)
    )
