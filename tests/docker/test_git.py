"""Git inside a sandbox on the real engine: what reads, what writes, and what must not get in or out."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from gitserver import PASSWORD, USER, GitServer, git, git_server, repository
from sandboxes import opened

from chorus_nb.engines.base import OWNER_LABEL, EngineCapabilities
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import owner_label
from chorus_nb.errors import DiskQuotaExceededError, NoSuchChangeError, UnappliedChangesError
from chorus_nb.sandbox import CommandResult, Sandbox
from chorus_nb.status import describe

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("own_git")]

Opener = Callable[..., Sandbox]


@pytest.fixture
def open_sandbox(docker_engine: DockerEngine) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield lambda path, **options: stack.enter_context(opened(docker_engine, repo_path=path, **options))


def sh(sandbox: Sandbox, script: str, *, fails: bool = False) -> str:
    """Run a script; return what it prints, both streams together."""
    result: CommandResult = sandbox.command(["sh", "-ec", f"exec 2>&1\n{script}"], timeout=60)
    assert (result.exit_code != 0) == fails, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A repository with a file, a worktree beside it and one in it, and a submodule."""
    repository(tmp_path / "library")
    root = repository(tmp_path / "main")
    (root / "a.txt").write_text("one\n")
    git("add", ".", cwd=root)
    git("submodule", "--quiet", "add", str(tmp_path / "library"), "own", cwd=root)
    git("commit", "-qm", "two", cwd=root)
    git("worktree", "add", "-q", str(tmp_path / "side"), cwd=root)
    git("worktree", "add", "-q", str(root / "inner"), cwd=root)
    git("remote", "add", "origin", "https://ann:SECRET@example.org/x.git", cwd=root)
    _anybody_may_read(tmp_path)
    return root


def _anybody_may_read(path: Path) -> None:
    """Let the sandbox run as nobody, whom none of it belongs to."""
    while path.stat().st_uid == os.geteuid() and path != path.parent:
        path.chmod(path.stat().st_mode | 0o055)
        path = path.parent


def test_what_reads_works_read_only(main: Path, open_sandbox: Opener) -> None:
    sandbox = open_sandbox(main, repo="ro", git_config="init.defaultBranch")
    said = sh(sandbox, "git status --short; git log --format=%s; git -C own log --format=%s; git -C inner status")
    assert said.split("\n")[:4] == ["?? inner/", "two", "one", "one"]
    assert "nothing to commit" in said
    assert sh(sandbox, "git diff HEAD~ --stat | grep a.txt; git config user.email; git config init.defaultBranch") == (
        " a.txt       | 1 +\nann@example.org\nmain\n"
    )
    assert "https://example.org/x.git" in sh(sandbox, "git remote -v; cat .git/config")
    assert "SECRET" not in sh(sandbox, "git remote -v; cat .git/config; grep -rs SECRET /workspace/.git || true")
    assert "Read-only file system" in sh(sandbox, "git commit -q --allow-empty -m three", fails=True)
    assert git("log", "--format=%s", cwd=main) == "two\none\n"


def test_what_writes_works_and_plants_nothing(main: Path, open_sandbox: Opener) -> None:
    bare = "mirrors/x.git"
    git("init", "-q", "--bare", bare, cwd=main)
    git("remote", "add", "origin", "https://ann:SECRET@example.org/x.git", cwd=main / bare)
    sandbox = open_sandbox(main, repo="rw")
    sh(sandbox, "echo more >> a.txt; git commit -qam three; git checkout -qb topic; git tag -am t v1; git branch other")
    sh(sandbox, "cd own; git commit -q --allow-empty -m sub; cd ../inner; git commit -q --allow-empty -m in")
    assert git("log", "-1", "--format=%s %an <%ae> %G?", cwd=main) == "three Ann Example <ann@example.org> N\n"
    assert git("log", "-1", "--format=%s", cwd=main / "own") == "sub\n"
    assert git("log", "-1", "--format=%s", cwd=main / "inner") == "in\n"
    assert git("branch", "--show-current", cwd=main) == "topic\n"
    for place in (".git", ".git/modules/own"):
        before = (main / place / "config").read_bytes()
        for script in (
            "git config core.fsmonitor ./evil",
            f"echo evil >> {place}/config",
            f"rm {place}/config",
            f"mv {place}/config x",
            f"echo evil > {place}/hooks/pre-commit",
            f"mv {place}/hooks x",
            f"echo evil > {place}/info/attributes",
            f"mv {place} x",
            "mv .git/modules x",
            "echo gitdir: /workspace/evil > own/.git",
            "mv own/.git x",
            "echo /workspace/evil > .git/worktrees/side/commondir",
            "mv .git/worktrees/side x",
        ):
            sh(sandbox, script, fails=True)
        assert (main / place / "config").read_bytes() == before
    assert git("worktree", "list", "--porcelain", cwd=main).count("worktree ") == 3
    assert (
        sh(sandbox, f"git -C {bare} remote -v; grep -rs SECRET {bare} || true").count("https://example.org/x.git") == 2
    )
    for script in (
        "git config core.fsmonitor ./evil",
        "echo evil > hooks/pre-commit",
        "mv hooks x",
        "cd ..; mv x.git y",
    ):
        sh(sandbox, f"cd {bare}; {script}", fails=True)


def test_what_can_not_be_protected_is_told_of(main: Path, open_sandbox: Opener) -> None:
    sandbox = open_sandbox(main, repo="rw")
    assert "WARNING" not in sandbox.run("import pathlib; pathlib.Path('b.txt').write_text('b')").stderr
    made = sandbox.run("pathlib.Path('.git/commondir').write_text('../evil')").stderr
    assert f"{str(main / '.git/commondir')!r} was not there when this sandbox started" in made
    assert sandbox.run("1").stderr == ""
    (main / ".git/commondir").unlink()
    git("config", "user.name", "Ann", cwd=main)
    assert f"{str(main / '.git/config')!r} has been replaced" in sandbox.run("1").stderr
    place = ".git/modules/own/commondir"
    later = f"""
import threading, time
def later():
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    pathlib.Path({place!r}).write_text("x")
    pathlib.Path("gone").touch()
threading.Thread(target=later).start()
"""
    assert sandbox.run(later).stderr == ""
    (main / "go").touch()
    while not (main / "gone").exists():
        time.sleep(0.02)
    with pytest.warns(UserWarning, match=f"{place}' was not there"):
        sandbox.close()


def test_without_protection_settings_can_be_written(main: Path, open_sandbox: Opener) -> None:
    git("remote", "remove", "origin", cwd=main)
    sandbox = open_sandbox(main, repo="rw", git_protect=False)
    sh(sandbox, "git remote add origin https://example.org/x.git; touch .git/hooks/pre-commit")
    assert git("remote", cwd=main) == "origin\n"


def test_a_linked_worktree_by_itself(main: Path, open_sandbox: Opener) -> None:
    side = main.parent / "side"
    git("submodule", "--quiet", "update", "--init", cwd=side)
    sandbox = open_sandbox(side, repo="ro")
    assert sh(
        sandbox, "git status --short; git log --format=%s -1; git -C own status --short; git -C own log --format=%s"
    ) == ("two\none\n")
    assert "SECRET" not in sh(sandbox, "grep -rs SECRET /workspace.git || true")
    sandbox = open_sandbox(side, repo="rw")
    sh(sandbox, "echo more >> a.txt; git commit -qam three")
    assert git("log", "-1", "--format=%s", "side", cwd=main) == "three\n"
    assert git("status", "--short", cwd=side) == ""
    sh(sandbox, "git worktree prune; git gc -q")
    assert git("worktree", "list", "--porcelain", cwd=main).count("worktree ") == 3, "of what is not seen inside"


def commits_kept(sandbox: Sandbox, where: str) -> None:
    """Commit inside, and see that neither the commit is lost unasked nor anything of it stays when it is discarded."""
    look = f"git -C {where} log --format=%s -1; git -C {where} status --short"
    before = sh(sandbox, look)
    sh(sandbox, f"git -C {where} commit -q --allow-empty -m inside")
    assert [(each.path, "commits or branches" in each.refusal) for each in sandbox.changes()] == [(".git", True)]
    with pytest.raises(UnappliedChangesError):
        sandbox._session.view.refuse_to_lose("default")
    with pytest.raises(NoSuchChangeError):
        sandbox.discard(["a.txt"])
    sandbox.discard([".git"])
    sandbox._session.view.refuse_to_lose("default")
    assert sh(sandbox, look) == before


def test_no_commit_in_a_view_is_lost_unasked(main: Path, tmp_path: Path, open_sandbox: Opener) -> None:
    """Wherever the git directory is, and whosever it is."""
    work = repository(tmp_path / "work", f"--separate-git-dir={tmp_path / 'kept.git'}")
    side = main.parent / "side"
    for folder, where in ((side, "."), (main / "own", "."), (work, "."), (main, "."), (main, "own"), (main, "inner")):
        commits_kept(open_sandbox(folder, repo="overlay"), where)
    git("checkout", "-q", "--detach", cwd=side)
    commits_kept(open_sandbox(side, repo="overlay"), ".")


class Elsewhere(DockerEngine):
    """An engine that takes copies; without ``shares_files`` none of this machine's folders, but for the mirror's."""

    shares_files = True

    def capabilities(self) -> EngineCapabilities:
        known = super().capabilities()
        host = dataclasses.replace(known.host, shares_files=self.shares_files)
        return dataclasses.replace(known, overlays=False, host=host)


@pytest.mark.parametrize("shares_files", [False, True])
def test_a_linked_worktree_and_a_plain_repository_in_a_copy(
    main: Path, docker_engine: DockerEngine, shares_files: bool
) -> None:
    engine = Elsewhere(docker_engine.endpoint)
    engine.shares_files = shares_files
    side = main.parent / "side"
    (main / ".git/credentials").write_text("https://ann:SECRET@example.org\n")
    for path, place in ((side, "/workspace.git"), (main, "/workspace/.git")):
        with opened(engine, repo_path=path, repo="overlay") as sandbox:
            assert sh(sandbox, "git status --short .; git log --format=%s -1").split()[-1] == "two"
            assert "SECRET" not in sh(sandbox, f"ls -a {place}; grep -rs SECRET {place} /workspace || true")
            # Where a file without its secrets lies over the settings, they can't be changed.
            sh(sandbox, "git config user.signingKey mine", fails=shares_files)
            sh(sandbox, "echo more >> a.txt; git commit -qam three; git gc -q")
            assert sh(sandbox, 'git log --format="%s %an" -1; git remote -v').startswith("three Ann Example\norigin")
            assert sh(sandbox, "git rev-parse --git-common-dir") in (f"{place}\n", ".git\n")
            changes = {each.path: each.refusal for each in sandbox.changes()}
            assert changes.pop("a.txt") == ""
            assert "commits or branches" in changes[".git"]
            sandbox.apply(["a.txt"])
            assert [each.path for each in sandbox.discard()] == [".git"]
            assert sandbox.changes() == []
            assert sh(sandbox, "git log --format=%s -1; git status --short -uno .") == "two\n M a.txt\n"
        assert git("log", "-1", "--format=%s", cwd=path) == "two\n"
        assert git("status", "--short", ".", cwd=path).splitlines()[0] == " M a.txt"
    assert [name for name, labels in engine.owned_volumes() if labels[OWNER_LABEL] == owner_label()] == []


def test_a_submodule_by_itself_and_a_separate_git_directory(main: Path, tmp_path: Path, open_sandbox: Opener) -> None:
    sandbox = open_sandbox(main / "own", repo="rw")
    sh(sandbox, 'git commit -q --allow-empty -m sub; test -z "$(git status --short)"')
    assert git("log", "-1", "--format=%s", cwd=main / "own") == "sub\n"
    assert sh(sandbox, "ls /workspace.git/modules 2>/dev/null || true") == ""
    work = repository(tmp_path / "work", f"--separate-git-dir={tmp_path / 'kept.git'}")
    sandbox = open_sandbox(work, repo="rw")
    sh(sandbox, "git commit -q --allow-empty -m kept")
    assert git("log", "-1", "--format=%s", cwd=work) == "kept\n"


def test_a_git_file_gets_nothing_of_the_host_mounted(main: Path, tmp_path: Path, open_sandbox: Opener) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    _anybody_may_read(hostile)
    for gitdir in (main / ".git", main / ".git/worktrees/side"):
        (hostile / ".git").write_text(f"gitdir: {gitdir}\n")
        sandbox = open_sandbox(hostile, repo="ro")
        assert "not a git repository" in sh(sandbox, "git status", fails=True)
        assert sh(sandbox, "ls -d /workspace.git 2>/dev/null || true") == ""
        assert "git:" in describe(sandbox._session)


def test_a_bare_repository_and_none(tmp_path: Path, open_sandbox: Opener) -> None:
    git("clone", "-q", "--bare", str(repository(tmp_path / "a")), "bare.git", cwd=tmp_path)
    (tmp_path / "plain").mkdir()
    _anybody_may_read(tmp_path)
    sandbox = open_sandbox(tmp_path / "bare.git", repo="ro")
    assert sh(sandbox, "git log --format=%s") == "one\n"
    assert "a bare repository: it has no worktree, so `git status` fails" in describe(sandbox._session)
    sandbox = open_sandbox(tmp_path / "plain", repo="rw")
    assert "not a git repository" in sh(sandbox, "git status", fails=True)
    sh(sandbox, "git init -q new; cd new; git commit -q --allow-empty -m one; git status")


def test_hooks_of_the_repository_run_inside_alone(main: Path, open_sandbox: Opener) -> None:
    hook = main / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ncat /etc/hostname > /workspace/ran-at; id -u >> /workspace/ran-at\n")
    hook.chmod(0o755)
    sandbox = open_sandbox(main, repo="rw")
    sh(sandbox, "git commit -q --allow-empty -m hooked")
    assert (main / "ran-at").read_text() == sh(sandbox, "cat /etc/hostname; id -u")
    assert (main / "ran-at").read_text().split()[0] != os.uname().nodename


def test_an_image_without_git_works_as_before(main: Path, plain_python_image: str, open_sandbox: Opener) -> None:
    sandbox = open_sandbox(main.parent / "side", repo="ro", image=plain_python_image)
    result = sandbox.run(
        "import os, shutil; print(open('a.txt').read(), shutil.which('git'), os.listdir('/workspace.git')[:0])"
    )
    assert (result.error, result.stdout) == (None, "one\n None []\n")


def test_a_host_without_git_works_as_before(main: Path, open_sandbox: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorus_nb.git.host.shutil.which", lambda _: None)
    sandbox = open_sandbox(main.parent / "side", repo="ro")
    assert sh(sandbox, "git log -1 --format=%s") == "two\n"


def test_podman_mounts_the_same(main: Path, podman_engine: DockerEngine) -> None:
    side = main.parent / "side"
    with opened(podman_engine, repo="rw", repo_path=side) as sandbox:
        sh(sandbox, "git commit -q --allow-empty -m three")
        sh(sandbox, "git config core.fsmonitor ./evil", fails=True)
        assert "SECRET" not in sh(sandbox, "cat /workspace.git/config")
    assert git("log", "-1", "--format=%s", "side", cwd=main) == "three\n"


def test_in_an_overlay_git_writes_and_nothing_of_it_is_the_hosts(main: Path, open_sandbox: Opener) -> None:
    side = main.parent / "side"
    for root in (main, side):
        before = git("log", "--all", "--format=%H", cwd=main)
        sandbox = open_sandbox(root, repo="overlay", disk="20m")
        sh(
            sandbox,
            "echo more >> a.txt; git commit -qam three; git checkout -qb topic; git log --format=%s | grep three",
        )
        assert "SECRET" not in sh(sandbox, "cat .git/config || cat /workspace.git/config; git remote -v")
        sandbox.restart()
        assert sh(sandbox, "git branch --show-current; git status --short").startswith("topic\n")
        assert git("log", "--all", "--format=%H", cwd=main) == before
        assert git("status", "--short", cwd=side) == ""
        place = ".git/big" if root == main else "/workspace.git/big"
        fill = f"import time\nopen('{place}', 'wb').write(bytes({30 * 2**20}))\ntime.sleep(60)"
        with pytest.raises(DiskQuotaExceededError):
            sandbox.run(fill)


# Credentials


@pytest.fixture
def server(tmp_path: Path, own_git: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """A server whose password the user's git knows, by its ``store`` helper."""
    (tmp_path / "served").mkdir()
    git("init", "-q", "--bare", "x.git", cwd=tmp_path / "served")
    git("config", "http.receivepack", "true", cwd=tmp_path / "served/x.git")
    with git_server(tmp_path / "served") as serving:
        store = tmp_path / "credentials"
        store.write_text(f"http://{USER}:{PASSWORD}@{serving.name.replace(':', '%3a')}\n")
        with own_git.open("a") as file:
            file.write(f"[credential]\nhelper = store --file {store}\n")
        yield serving


def online(open_sandbox: Opener, server: GitServer, **options: Any) -> Sandbox:
    return open_sandbox(None, repo="none", network="allowlist", allow=[server.name], **options)


def test_clone_fetch_and_push_with_the_hosts_credentials(
    tmp_path: Path, server: GitServer, open_sandbox: Opener
) -> None:
    sandbox = online(open_sandbox, server, git_credentials=True)
    url = f"http://{server.name}/x.git"
    sh(sandbox, f"git clone -q {url} c; cd c; head -c 3000000 /dev/urandom > big; git add .; git commit -qm one")
    sh(sandbox, "cd c; git push -q origin HEAD:main; git fetch -q; git ls-remote --exit-code origin main")
    assert git("log", "--format=%s %an", "main", cwd=tmp_path / "served/x.git") == "one Ann Example\n"
    count = sandbox._session.credentials
    assert count is not None
    assert [(each.host, each.not_given) for each in count.counts] == [(server.name, 0)]
    shown = describe(sandbox._session)
    assert f"git credentials:  {server.name}: handed over " in shown
    kept = sh(sandbox, "env; cat /proc/*/environ || true; grep -rs pass-word /home/sandbox /tmp || true")
    assert PASSWORD not in kept + shown + sandbox._session.logs()
    assert "invalid" not in shown, "the way to the credentials is no network"
    sh(sandbox, f"printf 'url={url}\\nusername=ann\\npassword={PASSWORD}\\n\\n' | git credential reject")
    assert PASSWORD in (tmp_path / "credentials").read_text()
    said = sh(sandbox, "printf 'protocol=https\\nhost=example.org\\n\\n' | git credential fill", fails=True)
    assert "no git credentials: example.org:443 is not on the allow-list of this sandbox" in said


def test_without_the_option_nothing_is_handed_over(server: GitServer, open_sandbox: Opener) -> None:
    sandbox = online(open_sandbox, server)
    said = sh(sandbox, f"git clone -q http://{server.name}/x.git c", fails=True)
    assert "this sandbox has no git credentials. To have it use those of the host, add --git-credentials" in said
    call = (
        "import socket; c = socket.create_connection(('127.0.0.1', 3128)); "
        "c.sendall(b'CONNECT git-credentials.chorus-nb.invalid:443 HTTP/1.1\\r\\n\\r\\n'); print(c.recv(100))"
    )
    assert "403 Egress denied" in sandbox.run(call).stdout


def test_a_bridge_has_them_too_and_no_proxy(server: GitServer, open_sandbox: Opener) -> None:
    sandbox = open_sandbox(None, repo="none", network="bridge", git_credentials=True)
    said = sh(sandbox, f"printf 'url=http://{server.name}\\n\\n' | git credential fill; env | grep -i _proxy= || true")
    assert f"password={PASSWORD}\n" in said
    assert said.endswith(f"{PASSWORD}\n"), "no variable names a proxy"


def test_a_flood_of_requests_is_bounded(server: GitServer, own_git: Path, open_sandbox: Opener) -> None:
    own_git.write_text('[credential]\nhelper = "!sleep 3; :"\n')
    sandbox = online(open_sandbox, server, git_credentials=True, pids=512)
    begun_s = time.monotonic()
    ask = f"printf 'url=http://{server.name}\\n\\n' | git credential fill > out.$i 2>&1 || true"
    said = sh(sandbox, f"cd /tmp; for i in $(seq 20); do ({ask}) & done; wait; cat out.*")
    assert "too many requests: 4 at one time and 60 a minute" in said
    assert time.monotonic() - begun_s < 60
    assert sandbox.run("1 + 1").result is not None
