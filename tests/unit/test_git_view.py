"""What is mounted so that git works in a sandbox, hides its secrets and runs nothing on the host."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from gitserver import git, repository

from chorus_nb import git as chorus_git
from chorus_nb.config import RepositoryMount
from chorus_nb.engines.base import Mask, Mount, Volume
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import ConfigurationError
from chorus_nb.git import OUTSIDE, GitGuard, GitView, with_git
from chorus_nb.sandbox import Sandbox
from chorus_nb.selection import select

pytestmark = pytest.mark.usefixtures("own_git")


def git_view(root: Path, mode: str, protect: bool = True, exclude: Sequence[str] = ()) -> GitView:
    """Return the view of a repository and those in it, as the start's one look through the folder finds them."""
    seen = select(root, RepositoryMount(exclude=exclude), whole_tree=mode == "rw")
    return chorus_git.git_view(root, mode, seen.repositories, protect)


def targets(view: GitView) -> dict[str, str]:
    """Return what is where: ``ro`` or ``rw`` of the host's, or the text of a generated file."""
    return {each.target: "ro" if each.read_only else "rw" for each in view.mounts} | dict(view.generated)


def test_a_plain_repository_needs_nothing(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    for mode in ("ro", "overlay"):
        assert git_view(root, mode) == GitView(worktrees=("/workspace",))
    assert git_view(tmp_path, "none") == GitView(worktrees=("/workspace/a",))


def test_in_rw_what_the_hosts_git_runs_takes_no_writes(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=root)
    (root / ".git/hooks").rename(tmp_path / "hooks")
    found = targets(git_view(root, "rw"))
    own = {f"/workspace/.git/{name}": "ro" for name in ("config", "hooks", "info")}
    side = {f"/workspace/.git/worktrees/side/{name}": "ro" for name in ("commondir", "gitdir")}
    pins = dict.fromkeys(["/workspace/.git", "/workspace/.git/worktrees", "/workspace/.git/worktrees/side"], "rw")
    assert found == own | side | pins
    assert (root / ".git/hooks").is_dir(), "else one could be put there"
    assert git_view(root, "rw", protect=False).mounts == ()


def test_what_can_not_be_protected_is_told_of_once(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    repository(root / "inner")
    fixed = git_view(root, "rw").fixed
    assert git_view(root, "ro").fixed == git_view(root, "rw", protect=False).fixed == ()
    guard = GitGuard()
    assert guard.notice() == ""
    guard.begin(fixed)
    git("commit", "-q", "--allow-empty", "-m", "two", cwd=root)
    git("branch", "topic", cwd=root / "inner")
    assert guard.notice() == "", "commits and branches are nobody's settings"
    for place in (".git/commondir", "inner/.git/config.worktree"):
        (root / place).write_text("/nowhere\n")
        said = guard.notice()
        assert said.startswith(f"[sandbox] WARNING: {str(root / place)!r} was not there when")
        assert guard.notice() == ""
    (root / ".git/commondir").unlink()
    git("config", "user.name", "Ann", cwd=root)
    assert f"{str(root / '.git/config')!r} has been replaced" in guard.notice()
    other = GitGuard()
    other.begin([str(root / "x"), str(root / ".git/config")])
    (root / "x").touch()
    git("config", "user.name", "Eve", cwd=root)
    other.begin([str(root / ".git/config")])
    said = other.notice()
    assert f"{str(root / 'x')!r} was not there" in said
    assert "replaced" not in said, "a new container has what is there now"


def test_a_new_repository_is_told_of(tmp_path: Path) -> None:
    guard = GitGuard()
    guard.begin(git_view(tmp_path, "rw").fixed)
    git("init", "-q", cwd=tmp_path)
    assert f"{str(tmp_path / '.git')!r} was not there" in guard.notice()


def test_a_repository_in_place_of_a_submodule_that_is_not_checked_out_is_told_of(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository(tmp_path / "x")), "sub", cwd=main)
    git("commit", "-q", "-m", "a submodule", cwd=main)
    git("clone", "-q", str(main), "clone", cwd=tmp_path)
    root = tmp_path / "clone"
    guard = GitGuard()
    guard.begin(git_view(root, "rw").fixed)
    git("init", "-q", str(root / "sub"), cwd=root)
    git("config", "core.fsmonitor", "touch ran; false", cwd=root / "sub")
    git("status", cwd=root)
    assert (root / "sub/ran").exists(), "git has run what the repository there names"
    assert f"{str(root / 'sub/.git')!r} was not there" in guard.notice()
    outside = 'path = ../x\n[submodule "b"]\npath = /etc\n[submodule "c"]\npath = c/d\n[submodule "d"]\npath\n'
    (root / ".gitmodules").write_text('[submodule "a"]\n' + outside)
    assert {Path(each).parent for each in git_view(root, "rw").fixed if each.endswith("/.git")} == {root, root / "c/d"}
    (root / ".gitmodules").write_text("[")
    assert str(root / ".git") in git_view(root, "rw").fixed


def test_a_linked_worktree_sees_the_main_repository(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=main)
    for mode, access in (("ro", "ro"), ("overlay", "ro"), ("rw", "rw")):
        view = git_view(tmp_path / "side", mode)
        found = targets(view)
        assert found[OUTSIDE] == access
        assert found["/workspace/.git"] == f"gitdir: {OUTSIDE}/worktrees/side\n"
        assert next(each.source for each in view.mounts if each.target == OUTSIDE) == str(main / ".git")
    assert found[f"{OUTSIDE}/config"] == found[f"{OUTSIDE}/hooks"] == "ro"


def test_a_submodule_by_itself_finds_its_worktree(tmp_path: Path) -> None:
    repository(tmp_path / "library")
    main = repository(tmp_path / "main")
    git("submodule", "--quiet", "add", str(tmp_path / "library"), "own", cwd=main)
    found = targets(git_view(main / "own", "ro"))
    assert found["/workspace/.git"] == f"gitdir: {OUTSIDE}\n"
    assert 'worktree = "/workspace"' in found[f"{OUTSIDE}/config"]
    whole = git_view(main, "ro")
    assert (targets(whole), whole.worktrees) == ({}, ("/workspace", "/workspace/own"))
    protected = targets(git_view(main, "rw"))
    assert protected["/workspace/own/.git"] == protected["/workspace/.git/modules/own/config"] == "ro"
    assert protected["/workspace/.git/modules"] == protected["/workspace/.git/modules/own"] == "rw"


def test_worktrees_and_submodules_within_each_other(tmp_path: Path) -> None:
    repository(tmp_path / "library")
    main = repository(tmp_path / "main")
    git("submodule", "--quiet", "add", str(tmp_path / "library"), "own", cwd=main)
    git("commit", "-qm", "two", cwd=main)
    git("worktree", "add", "-q", str(main / "inner"), cwd=main)
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=main)
    git("submodule", "--quiet", "update", "--init", cwd=tmp_path / "side")
    assert targets(git_view(main, "ro")) == {"/workspace/inner/.git": "gitdir: /workspace/.git/worktrees/inner\n"}
    found = targets(git_view(tmp_path / "side", "ro"))
    place = f"{OUTSIDE}/worktrees/side/modules/own"
    assert found["/workspace/own/.git"] == f"gitdir: {place}\n"
    assert 'worktree = "/workspace/own"' in found[f"{place}/config"]


def test_secrets_are_not_seen_in_any_mode(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    nested = repository(root / "nested")
    git("remote", "add", "origin", "https://ann:SECRET@example.org/x.git", cwd=root)
    git("remote", "add", "origin", "https://SECRET@example.org/x.git", cwd=nested)
    (root / ".git/credentials").write_text("https://ann:SECRET@example.org\n")
    for mode in ("ro", "overlay", "rw"):
        view = git_view(root, mode)
        found = targets(view)
        for config in (found["/workspace/.git/config"], found["/workspace/nested/.git/config"]):
            assert "https://example.org/x.git" in config
            assert "SECRET" not in config
        assert next(each.source for each in view.mounts if each.target.endswith("credentials")) == "/dev/null"


def test_settings_that_cannot_be_read_are_not_shown(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    (root / ".git/config").write_text('[remote "o"]\nurl = "https://u:SECRET@h\n')
    view = git_view(root, "ro")
    assert view.generated == (("/workspace/.git/config", ""),)
    assert view.notes == ("'.git/config' can't be read, so it is empty: it has a quote without an end",)


def test_what_does_not_work_is_said(tmp_path: Path) -> None:
    git("init", "-q", "--bare", "bare.git", cwd=tmp_path)
    assert git_view(tmp_path / "bare.git", "ro").notes == (
        "a bare repository: it has no worktree, so `git status` fails",
    )
    assert targets(git_view(tmp_path / "bare.git", "rw"))["/workspace/hooks"] == "ro"
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /etc\n")
    assert git_view(folder, "ro") == GitView(notes=("'.git' names a folder that is no git directory",))
    root = repository(tmp_path / "a")
    (root / ".git/hooks").rename(tmp_path / "hooks")
    (root / ".git/hooks").symlink_to(tmp_path / "hooks")
    assert git_view(root, "rw").notes == ("'.git/hooks' is a link, and so not protected",)
    assert chorus_git.git_view(tmp_path / "nothing", "ro", ["neither"]) == GitView()


def test_more_repositories_than_can_be_looked_at_are_an_error(tmp_path: Path) -> None:
    for number in range(101):
        (tmp_path / f"n{number}" / ".git").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"more than 100 git repositories.* `--exclude"):
        git_view(tmp_path, "ro")
    assert git_view(tmp_path, "ro", exclude=["n1*/"]) == GitView()


def test_more_submodules_than_can_be_looked_at_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "a")
    for number in range(3):
        git("init", "-q", "--bare", f".git/modules/m{number}", cwd=root)
    git_view(root, "ro")
    monkeypatch.setattr(chorus_git.view, "_MAX_MODULES", 2)
    with pytest.raises(ConfigurationError, match="more than 2 git repositories"):
        git_view(root, "ro")


def test_a_repository_far_down_is_protected_as_any(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    nested = repository(root.joinpath(*["d"] * 100))
    git("remote", "add", "origin", "https://SECRET@example.org/x.git", cwd=nested)
    place = "/workspace/" + "d/" * 100 + ".git"
    found = targets(git_view(root, "rw"))
    assert (found[place], found[f"{place}/hooks"]) == ("rw", "ro")
    assert "SECRET" not in found[f"{place}/config"]


def test_a_bare_repository_in_another_is_protected_as_any(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    git("init", "-q", "--bare", "mirrors/x.git", cwd=root)
    git("remote", "add", "origin", "https://SECRET@example.org/x.git", cwd=root / "mirrors/x.git")
    view = git_view(root, "ro")
    assert view.worktrees == ("/workspace", "/workspace/mirrors/x.git")
    assert [target for target, _ in view.generated] == ["/workspace/mirrors/x.git/config"]
    assert "SECRET" not in view.generated[0][1]
    found = targets(git_view(root, "rw"))
    assert (found["/workspace/mirrors/x.git"], found["/workspace/mirrors/x.git/hooks"]) == ("rw", "ro")
    assert "/workspace/mirrors" not in found


def test_worktrees_in_the_folder_of_their_bare_repository(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git("clone", "-q", "--bare", str(main), "all", cwd=tmp_path)
    git("worktree", "add", "-q", "side", cwd=tmp_path / "all")
    view = git_view(tmp_path / "all", "ro")
    assert targets(view) == {"/workspace/side/.git": "gitdir: /workspace/worktrees/side\n"}
    assert view.worktrees == ("/workspace", "/workspace/side")


def test_what_a_masked_folder_names_is_protected_where_it_is_seen(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    repository(root / "masked/own")
    nested = repository(root / "masked/deep/nested", f"--separate-git-dir={root / 'kept'}")
    git("remote", "add", "origin", "https://SECRET@example.org/x.git", cwd=nested)
    view = git_view(root, "rw", exclude=["masked/"])
    assert "SECRET" not in dict(view.generated)["/workspace/kept/config"]
    found = targets(view)
    assert (found["/workspace/kept"], found["/workspace/kept/hooks"]) == ("rw", "ro")
    assert not any(target.startswith("/workspace/masked") for target in found)


def test_many_worktrees_take_no_writes_at_all(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    for number in range(41):
        (root / f".git/worktrees/w{number}").mkdir(parents=True)
    found = targets(git_view(root, "rw"))
    assert found["/workspace/.git/worktrees"] == "ro"
    assert "/workspace/.git/worktrees/w1" not in found


def test_what_lies_elsewhere_or_is_masked_goes_before_it(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    nested = repository(root / "nested")
    for place in (root, nested):
        git("remote", "add", "origin", "https://SECRET@example.org/x.git", cwd=place)
    view = git_view(root, "ro")
    masked = view.beside([Mount("/", "/workspace"), Mask("/workspace/.git", True), Volume("/workspace/nest")])
    assert (targets(masked).keys(), masked.worktrees) == ({"/workspace/nested/.git/config"}, view.worktrees)
    assert view.beside([Mount("/data", "/workspace/nested")]).worktrees == ("/workspace",)


def test_a_copy_leaves_out_what_something_would_lie_over(tmp_path: Path) -> None:
    root = repository(tmp_path / "a")
    (root / "a.txt").write_text("one\n")
    git("remote", "add", "origin", "https://SECRET@example.org/x.git", cwd=root)
    view = git_view(root, "overlay")
    assert [path for path in ("a.txt", ".git", ".git/config", ".git/HEAD") if path in view.texts()] == [".git/config"]
    with Sandbox(engine=FakeEngine(), repo="overlay", repo_path=root) as sandbox:
        said = sandbox.command(["sh", "-c", "cat a.txt .git/HEAD .git/config"])
    assert (said.stdout, said.exit_code) == ("one\nref: refs/heads/main\n", 1)


def test_sockets_of_a_git_directory_are_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "a")
    monkeypatch.chdir(root / ".git")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("fsmonitor--daemon.ipc")
        assert git_view(root, "ro").mounts == (Mount("/dev/null", "/workspace/.git/fsmonitor--daemon.ipc"),)


def test_a_git_directory_outside_is_named_for_who_measures(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=main)
    for number in range(101):  # Those in it don't matter, and are not looked for.
        (main / f"n{number}" / ".git").mkdir(parents=True)
    assert with_git(main) == (main,)
    assert with_git(tmp_path / "side") == (tmp_path / "side", main / ".git")
