"""What git in a sandbox is told by environment, and what is asked of the host's git for it."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from gitserver import git, repository

from chorus_nb.config import SandboxConfig
from chorus_nb.errors import ConfigurationError, SandboxStartError
from chorus_nb.git import GitView, git_variables, mounted
from chorus_nb.git.host import run_git, settings_of


def told(folder: Path | None, view: GitView | None = None, **options: Any) -> dict[str, list[str]]:
    """Return what git makes of the variables: the values of each setting."""
    variables = git_variables(SandboxConfig.from_options(**options), view or GitView(), folder)
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", **options.get("env", {}), **variables}
    output = subprocess.check_output(["git", "config", "-z", "--list"], env=environment, cwd="/", text=True)
    found: dict[str, list[str]] = {}
    for record in output.split("\0")[:-1]:
        name, _, text = record.partition("\n")
        found.setdefault(name, []).append(text)
    return found


@pytest.fixture
def root(tmp_path: Path, own_git: Path) -> Path:
    return repository(tmp_path / "a")


def test_name_and_mail_come_along_as_the_repository_has_them(root: Path, own_git: Path) -> None:
    found = told(root)
    assert (found["user.name"], found["user.email"]) == (["Ann Example"], ["ann@example.org"])
    git("config", "user.name", "Dr. Ann\nExample \u00e9", cwd=root)
    own_git.write_text("[user]\nemail = ann@example.org\n[core]\nsshCommand = ssh -i key\n")
    found = told(root)
    assert (found["user.name"], found["user.email"]) == (["Dr. AnnExample \u00e9"], ["ann@example.org"])
    assert "core.sshcommand" not in found


def test_without_the_repository_nothing_is_told_of_the_user(root: Path) -> None:
    assert "user.name" not in told(None)
    assert told(None, git_config="user.name")["user.name"] == ["Ann Example"]


def test_settings_come_along_by_name(root: Path, own_git: Path) -> None:
    with own_git.open("a") as file:
        file.write('[pull]\nrebase\n[branch "Main"]\nrebase = merges\n[diff]\nalgorithm = histogram\n')
    asked = ["init.defaultBranch", "PULL.Rebase", "branch.Main.rebase", "not.set"]
    found = told(root, git_config=asked)
    assert found["init.defaultbranch"] == ["main"]
    assert found["pull.rebase"] == ["true"]
    assert found["branch.Main.rebase"] == ["merges"]
    assert "diff.algorithm" not in found


def test_a_value_that_holds_a_secret_is_refused(root: Path) -> None:
    git("config", "http.proxy", "http://me:word@proxy.test:1", cwd=root)
    with pytest.raises(ConfigurationError, match="holds a user name, password or token") as caught:
        told(root, git_config=["http.proxy"])
    assert "word@" not in str(caught.value)
    git("config", "http.proxy", "http://proxy.test:1", cwd=root)
    assert told(root, git_config=["http.proxy"])["http.proxy"] == ["http://proxy.test:1"]


def test_without_git_nothing_is_missed_but_what_was_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    variables = git_variables(SandboxConfig(), GitView(), root)
    assert "user.name" not in variables.values()
    with pytest.raises(ConfigurationError, match="this machine has no git"):
        git_variables(SandboxConfig.from_options(git_config="init.defaultBranch"), GitView(), root)


def test_repositories_are_safe_by_their_paths(root: Path) -> None:
    found = told(root, GitView(worktrees=("/workspace", "/workspace/own")))
    assert found["safe.directory"] == ["/workspace", "/workspace/own", "/workspace/.git", "/workspace/*"]
    assert found["commit.gpgsign"] == ["false"]


def test_settings_of_the_users_own_by_environment_stay(root: Path) -> None:
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "color.ui", "GIT_CONFIG_VALUE_0": "always"}
    found = told(root, env=env)
    assert found["color.ui"] == ["always"]
    assert found["user.name"] == ["Ann Example"]


def test_nothing_that_a_repository_names_is_run(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "pager.config", "core.editor", "core.sshCommand", "alias.config"):
        git("config", name, f"!{trap}" if name == "alias.config" else str(trap), cwd=root)
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        (root / ".git/hooks" / name).write_bytes(trap.read_bytes())
        (root / ".git/hooks" / name).chmod(0o755)
    monkeypatch.setenv("GIT_PAGER", str(trap))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert settings_of(root, ["user.name"]) == {"user.name": "Ann Example"}
    assert not (tmp_path / "sprung").exists()


def test_a_call_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nsleep 60 & sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    begun_s = time.monotonic()
    assert run_git(["config"], tmp_path, dict(os.environ), timeout_s=0.3) is None
    assert time.monotonic() - begun_s < 30


# The files that are mounted over others


def test_a_generated_file_is_written_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (first,) = mounted([("/workspace/.git", "gitdir: x\n")])
    (second,) = mounted([("/other", "gitdir: x\n")])
    assert first.source == second.source
    assert (first.read_only, Path(first.source).read_text()) == (True, "gitdir: x\n")
    assert stat.S_IMODE(Path(first.source).stat().st_mode) == 0o644
    assert stat.S_IMODE(Path(first.source).parent.stat().st_mode) == 0o700


def test_old_ones_are_removed_and_those_in_use_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    old, used, _ = [Path(each.source) for each in mounted([("/a", "1"), ("/b", "2"), ("/c", "3")])]
    for path in (old, used):
        os.utime(path, (0, 0))
    list(mounted([("/b", "2"), ("/d", "4")]))
    assert (old.exists(), used.exists()) == (False, True)


def test_a_cache_that_takes_nothing_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chorus-nb").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SandboxStartError, match="takes no file: "):
        list(mounted([("/a", "1")]))
