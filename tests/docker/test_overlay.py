"""``--repo overlay`` on a real engine: the code writes, the host's files stay, and what was written lasts."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import opened, value
from unprivileged import as_user

from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import Owner, owner_label
from chorus_nb.errors import (
    ConfigurationError,
    DiskQuotaExceededError,
    EngineError,
    RepositoryNotFoundError,
    SandboxDiedError,
    UnappliedChangesError,
    WorkingCopyError,
)
from chorus_nb.manager import SessionManager
from chorus_nb.sandbox import Sandbox
from chorus_nb.status import describe
from chorus_nb.view.overlay_folder import OverlayFolder
from chorus_nb.view.places import sweep_volumes
from chorus_nb.view.remove_tree import remove_tree
from chorus_nb.view.repository_archive import RepositoryArchive
from chorus_nb.working_copy import Entry

pytestmark = pytest.mark.docker

USER = 4321


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chorus-nb" / "overlays"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "a, strange:name\\ of\ta 'repository'"
    (folder / "folder" / "inner").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "folder/c.txt", "folder/inner/d.txt"):
        (folder / name).write_text(name)
    return folder


def content(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time of the last change and content of all there is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (
            *(status.st_mode, status.st_ctime_ns),
            path.read_bytes() if path.is_file() else b"",
        )
    return found


def entries(sandbox: Sandbox) -> dict[str, Entry]:
    copy = sandbox._session.working_copy
    assert copy is not None
    return {entry.path: entry for entry in copy.entries()}


CHANGES = """
import os, shutil
open("a.txt", "a").write(" and more")
os.remove("b.txt")
shutil.rmtree("folder")
os.mkdir("folder")
open("folder/new.txt", "w").write("new")
os.symlink("/etc/passwd", "link")
"""
SEEN = "import os; (open('a.txt').read(), sorted(os.listdir()))"


def test_the_code_changes_what_it_sees_and_nothing_changes_on_the_host(
    docker_engine: DockerEngine, repository: Path, cache: Path
) -> None:
    before = content(repository)
    with opened(docker_engine, repo="overlay", repo_path=repository) as sandbox:
        assert value(sandbox, SEEN) == "('a.txt', ['a.txt', 'b.txt', 'folder'])"
        assert entries(sandbox) == {}
        value(sandbox, CHANGES)
        found = entries(sandbox)
        assert list(found) == ["a.txt", "b.txt", "folder", "folder/new.txt", "link"]
        assert (found["b.txt"].state, found["folder"].whole) == (None, True)
        copy = sandbox._session.working_copy
        assert copy is not None
        assert copy.folder == repository
        with copy.open("a.txt") as file:
            assert file.read() == b"a.txt and more"
        control = next(each for each in sandbox._session.controls if each.name == "repository")
        assert (control.requested, control.enforced, control.in_force) == ("overlay", "overlay", True)
        # A container that dies takes nothing along.
        sandbox._session.kill()
        with pytest.raises(SandboxDiedError):
            sandbox.run("1")
        assert value(sandbox, SEEN) == "('a.txt and more', ['a.txt', 'folder', 'link'])"
        sandbox.restart()
        assert list(entries(sandbox)) == list(found)
        assert len(list(cache.iterdir())) == 2
    assert sandbox._session.working_copy is None
    assert list(cache.iterdir()) == []
    assert content(repository) == before


def test_what_the_host_changes_after_the_sandbox_is_later_than_its_copy(
    docker_engine: DockerEngine, repository: Path
) -> None:
    with opened(docker_engine, repo="overlay", repo_path=repository) as sandbox:
        value(sandbox, "open('a.txt', 'a').write('x')")
        (repository / "a.txt").write_text("the host's")
        value(sandbox, "import os; os.utime('a.txt', (2**33, 2**33))")
        assert entries(sandbox)["a.txt"].base_ns < (repository / "a.txt").stat().st_ctime_ns
        assert value(sandbox, "open('a.txt').read()") == "'a.txtx'"


def test_each_session_has_a_view_of_its_own_also_of_a_repository_in_a_repository(
    docker_engine: DockerEngine, repository: Path
) -> None:
    (repository / ".git").mkdir()
    bare = repository / "bare.git"
    bare.mkdir()
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    manager = SessionManager(docker_engine)
    here = Path.cwd()
    try:
        os.chdir(repository / "folder")  # The one around it is meant.
        outer = manager.ensure("outer", {"repo": "overlay"})
        inner = manager.ensure("inner", {"repo": "overlay", "repo_path": bare})
        again = manager.ensure("again", {"repo": "overlay"})
        for session, name in ((outer, "outer"), (inner, "inner"), (again, "again")):
            session.execute(f"open({name!r}, 'w').close()", on_message=lambda _: None)
        seen = {each.name: [entry.path for entry in each.working_copy.entries()] for each in manager.sessions()}
        assert seen == {"outer": ["outer"], "inner": ["inner"], "again": ["again"]}
        assert sorted(each.name for each in bare.iterdir()) == ["HEAD"]
    finally:
        os.chdir(here)
        manager.close_all()


def test_what_was_not_applied_is_lost_by_no_command(docker_engine: DockerEngine, repository: Path, cache: Path) -> None:
    manager = SessionManager(docker_engine)
    options = {"repo": "overlay", "repo_path": repository}
    try:
        session = manager.ensure("a", options)
        session.start()
        assert manager.ensure("a", options, fresh=True) is not session
        session = manager.get("a")
        session.execute("open('new', 'w').close()", on_message=lambda _: None)
        for lose in (
            lambda: manager.stop("a"),
            lambda: manager.remove("a"),
            lambda: manager.ensure("a", options, fresh=True),
            lambda: manager.make({"a": options, "b": options}),
        ):
            with pytest.raises(UnappliedChangesError, match=r"'a' has changed.*%sandbox diff.*%sandbox discard"):
                lose()
        assert session.state == "idle"
        assert [each.name for each in manager.sessions()] == ["a"]
        session.execute("import os; os.remove('new')", on_message=lambda _: None)
        manager.stop("a")
        assert list(cache.iterdir()) == []
        manager.start("a")
        assert manager.get("a").working_copy is not None
    finally:
        manager.close_all()
    assert list(cache.iterdir()) == []


def test_the_repository_goes_away_while_a_sandbox_has_it(docker_engine: DockerEngine, repository: Path) -> None:
    with opened(docker_engine, repo="overlay", repo_path=repository) as sandbox:
        value(sandbox, "open('a.txt', 'a').write('x')")
        remove_tree(repository)
        assert list(entries(sandbox)) == ["a.txt"]
        assert value(sandbox, "open('a.txt').read()") == "'a.txtx'"
        sandbox._session.kill()
        with pytest.raises(SandboxDiedError):
            sandbox.run("1")
        with pytest.raises(RepositoryNotFoundError, match="does not exist"):
            sandbox.run("1")
        assert list(entries(sandbox)) == ["a.txt"]


def test_a_start_that_fails_leaves_nothing_of_it(docker_engine: DockerEngine, repository: Path, cache: Path) -> None:
    sandbox = Sandbox(engine=docker_engine, repo="overlay", repo_path=repository, cpuset="4000")
    with pytest.raises(ConfigurationError, match="cpuset=4000"):
        sandbox.run("1")
    assert list(cache.iterdir()) == []


def test_where_the_kernel_takes_no_overlay_there_is_a_copy_without_secrets(
    docker_engine: DockerEngine, repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_for = OverlayFolder.made_for

    def unfit(folder: Path) -> OverlayFolder:
        made = made_for(folder)
        (made.path / "work").rmdir()  # As good a reason for the kernel to refuse as any other.
        return made

    monkeypatch.setattr(OverlayFolder, "made_for", unfit)
    (repository / ".env").write_text("TOKEN=secret")
    with opened(docker_engine, repo="overlay", repo_path=repository) as sandbox:
        assert "(overlay, as a copy: The engine could not mount a volume" in describe(sandbox._session)
        assert list(cache.iterdir()) == []
        assert value(sandbox, "import os; sorted(os.listdir())") == "['a.txt', 'b.txt', 'folder']"
        value(sandbox, "open('a.txt', 'a').write('x'); open('.env', 'w').write('mine')")
        found = entries(sandbox)
        assert list(found) == [".env", "a.txt"]
        # What the host has there was never seen: whatever is done with it is a conflict.
        assert found[".env"].base_ns == 0
        assert own_volumes(docker_engine)
    assert (repository / "a.txt").read_text() == "a.txt"
    assert not own_volumes(docker_engine)


def test_a_cache_in_the_repository_is_no_part_of_what_the_sandbox_sees(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a.txt")
    with opened(docker_engine, repo="overlay", repo_path=tmp_path) as sandbox:
        assert "lies in the repository" in sandbox._session.view.why_copied
        assert value(sandbox, "import os; sorted(os.listdir())") == "['a.txt']"


def test_a_copy_that_can_t_be_read_or_whose_process_is_gone_leaves_nothing(docker_engine: DockerEngine) -> None:
    image, end = docker_engine.resolve("mirror"), bytes(1024)
    dead = "/".join(Owner(*owner_label().split("/"))._replace(start_time="1"))

    def broken() -> Iterator[bytes]:
        yield bytes(512)
        raise WorkingCopyError("it can't be read")

    with pytest.raises(EngineError):
        docker_engine.make_volume("chorus-nb-test-broken", {OWNER_LABEL: owner_label()}, "1:1", image, broken())
    assert own_volumes(docker_engine) == []
    docker_engine.make_volume("chorus-nb-test-kept", {OWNER_LABEL: owner_label()}, "1:1", image, [end])
    try:
        docker_engine.make_volume("chorus-nb-test-dead", {OWNER_LABEL: dead}, "1:1", image, [end])
        sweep_volumes(docker_engine)
        assert own_volumes(docker_engine) == ["chorus-nb-test-kept"]
        assert "chorus-nb-test-dead" not in dict(docker_engine.owned_volumes())
    finally:
        docker_engine.remove_volume("chorus-nb-test-kept")
    docker_engine.remove_volume("chorus-nb-test-kept")  # Twice is as good as once.


def test_a_repository_that_goes_away_while_it_is_copied_is_named(
    docker_engine: DockerEngine, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(archive: RepositoryArchive) -> Iterator[bytes]:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        yield

    monkeypatch.setattr(RepositoryArchive, "pieces", gone)
    monkeypatch.setattr(DockerEngine, "_has_overlays", lambda engine: False)
    sandbox = Sandbox(engine=docker_engine, repo="overlay", repo_path=repository)
    with pytest.raises(WorkingCopyError, match=r"repository'.*can't be copied into a sandbox: No such file"):
        sandbox.run("1")
    assert own_volumes(docker_engine) == []


def own_volumes(engine: DockerEngine) -> list[str]:
    return [name for name, labels in engine.owned_volumes() if labels["chorus-nb.owner"] == owner_label()]


def test_a_repository_that_became_a_link_is_not_followed(
    docker_engine: DockerEngine, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with opened(docker_engine, repo="overlay", repo_path=repository) as sandbox:
        sandbox._session.kill()
        with pytest.raises(SandboxDiedError):
            sandbox.run("1")
        repository.rename(tmp_path / "before")
        repository.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(WorkingCopyError, match="is a link by now"):
            sandbox.run("1")
        repository.unlink()
        (tmp_path / "before").rename(repository)
        assert value(sandbox, "open('a.txt').read()") == "'a.txt'"


def test_what_is_written_counts_as_disk(docker_engine: DockerEngine, repository: Path) -> None:
    with opened(docker_engine, repo="overlay", repo_path=repository, disk="8m") as sandbox:
        value(sandbox, "open('small', 'wb').write(b'x' * 2**20)")
        with pytest.raises(DiskQuotaExceededError):
            sandbox.run("import time\nopen('large', 'wb').write(b'x' * 2**24)\ntime.sleep(60)")
        sandbox._session.kill()
        with pytest.raises(SandboxDiedError):
            sandbox.run("1")
        # Made anew, it begins with what is there: so it stays over its limit, however often it is.
        with pytest.raises(DiskQuotaExceededError):
            sandbox.run("import time; time.sleep(60)")


NOTEBOOK = """
import sys
from chorus_nb.view.repository_archive import RepositoryArchive
from chorus_nb.sandbox import Sandbox
from chorus_nb.view.places import sweep_volumes
sandbox = Sandbox(repo="overlay", repo_path=sys.argv[1])
sandbox.run("import os; open('new', 'w').close(); os.remove('a.txt')")
print("ready", flush=True)
sys.stdin.readline()
"""


def test_what_a_killed_notebook_leaves_the_next_start_removes(
    docker_engine: DockerEngine, repository: Path, cache: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NOTEBOOK, str(repository)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as notebook:
        assert notebook.stdout is not None
        assert notebook.stdout.readline() == "ready\n"
        notebook.send_signal(signal.SIGKILL)
        notebook.wait()
    wait_until(lambda: not [each for each, labels in docker_engine.owned() if _is_of(notebook.pid, labels)])
    assert len(list(cache.iterdir())) == 2
    manager = SessionManager(docker_engine)
    manager.sweep()
    manager.close_all()
    assert list(cache.iterdir()) == []


def _is_of(pid: int, labels: object) -> bool:
    return isinstance(labels, dict) and labels["chorus-nb.owner"].split("/")[3] == str(pid)


def test_who_is_not_root_removes_it_as_well_with_what_the_kernel_keeps_in_it(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_engine.capabilities()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        for folder in (place / "repository", place / "cache"):
            folder.mkdir()
            if os.geteuid() == 0:
                os.chown(folder, USER, USER)
        with as_user(USER, groups=[Path("/var/run/docker.sock").stat().st_gid]):
            monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
            (place / "repository" / "a.txt").write_text("x")
            with Sandbox(repo="overlay", repo_path=place / "repository", engine=docker_engine) as sandbox:
                # The kernel makes a whiteout once and links it, and keeps it where this user sees nothing.
                value(sandbox, "import os; os.remove('a.txt'); open('b.txt', 'w').close()")
                assert sandbox.info().uid == (place / "repository").stat().st_uid
                folder = next((place / "cache" / "chorus-nb" / "overlays").glob("*.owner")).with_suffix("")
                assert (folder / "upper" / "b.txt").stat().st_uid == (place / "repository").stat().st_uid
                assert stat.S_ISCHR((folder / "upper" / "a.txt").lstat().st_mode)
            assert list((place / "cache" / "chorus-nb" / "overlays").iterdir()) == []
