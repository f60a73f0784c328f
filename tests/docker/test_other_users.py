"""Sandboxes of people who are not root: whose their files are, and whose files they can use, on the real engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sandboxes import value
from unprivileged import said_by

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ApplyError, TransferError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

USER, MATE, TEAM = 4321, 4322, 4399

Act = Callable[[], str]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can reach, on a disk that takes overlays."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="chorus-nb-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def home(place: Path) -> Path:
    """The home of the user, which nobody else may look into."""
    folder = place / "home"
    folder.mkdir(mode=0o700)
    _give(folder, USER, USER)
    return folder


@pytest.fixture
def by_user(home: Path, plain_python_image: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], str]:
    """Have the user do something, who may use the engine and is in a team."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    groups = [Path("/var/run/docker.sock").stat().st_gid, TEAM]
    return lambda act: said_by(USER, act, groups, str(home))


def _give(path: Path, uid: int, gid: int) -> None:
    if os.getuid() == 0:
        os.chown(path, uid, gid)


def _owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def _shared(folder: Path) -> Path:
    """Make a repository of a mate, which the team shares as people do: set-group-ID, and nobody else."""
    for each in (folder, folder / "data"):
        each.mkdir()
        _give(each, MATE, TEAM)
        each.chmod(0o2770)
    for name in ("a.txt", "data/b.txt"):
        (folder / name).write_text("mate\n")
        _give(folder / name, MATE, TEAM)
        (folder / name).chmod(0o660)
    return folder


def test_what_a_team_shares_is_open_in_the_sandbox_as_it_is_outside(
    place: Path, by_user: Callable[[Act], str], plain_python_image: str
) -> None:
    repository = _shared(place / "shared")

    def use(mode: str, code: str) -> str:
        with Sandbox(repo=mode, repo_path=repository, image=plain_python_image, engine=DockerEngine()) as sandbox:
            return value(sandbox, code)

    assert by_user(lambda: use("ro", "open('a.txt').read() + open('data/b.txt').read()")) == r"'mate\nmate\n'"
    by_user(lambda: use("rw", "open('a.txt', 'a').write('user'); open('data/c.txt', 'w').write('user')"))
    assert (repository / "a.txt").read_text() == "mate\nuser"
    assert _owner(repository / "a.txt") == (MATE, TEAM)
    assert _owner(repository / "data/c.txt") == (USER, TEAM)


def test_a_view_of_what_a_team_shares(place: Path, by_user: Callable[[Act], str], plain_python_image: str) -> None:
    repository = _shared(place / "shared")

    def change() -> str:
        with Sandbox(repo="overlay", repo_path=repository, image=plain_python_image, engine=DockerEngine()) as sandbox:
            value(sandbox, "for name in ('a.txt', 'new.txt', 'data/new.txt'): open(name, 'a').write('user')")
            applied = sandbox.apply(["new.txt", "data"])
            assert not applied.failed
            with pytest.raises(ApplyError, match=r"'a\.txt' belongs to another user or group on the host"):
                sandbox.apply(["a.txt"])
            return repr([each.path for each in sandbox.changes()])

    assert by_user(change) == "['a.txt']"
    for name in ("new.txt", "data/new.txt"):
        assert _owner(repository / name) == (USER, TEAM)
    assert (repository / "a.txt").read_text() == "mate\n"


def test_what_the_user_can_not_write_is_said(
    place: Path, by_user: Callable[[Act], str], plain_python_image: str
) -> None:
    (place / "closed" / "in").mkdir(parents=True)
    (place / "closed").chmod(0o700)

    def get() -> str:
        with Sandbox(repo="none", image=plain_python_image, engine=DockerEngine()) as sandbox:
            sandbox.files.write("/tmp/got.txt", b"x")
            with pytest.raises(TransferError) as raised:
                sandbox.files.get("/tmp/got.txt", str(place / "closed" / "in"))
            return raised.value.message

    assert by_user(get) == f"'{place}/closed/in' on the host: Permission denied."


def test_the_view_of_anothers_repository_takes_writes_all_the_same(
    place: Path, by_user: Callable[[Act], str], plain_python_image: str
) -> None:
    repository = place / "course"
    repository.mkdir(mode=0o755)
    (repository / "a.txt").write_text("teacher\n")

    def change() -> str:
        with Sandbox(repo="overlay", repo_path=repository, image=plain_python_image, engine=DockerEngine()) as sandbox:
            value(sandbox, "open('a.txt', 'a').write('pupil'); open('b.txt', 'w').write('pupil')")
            assert [(each.kind, each.path) for each in sandbox.changes()] == [
                ("modified", "a.txt"),
                ("created", "b.txt"),
            ]
            with pytest.raises(ApplyError, match=r"'a\.txt' can't be written: Permission denied"):
                sandbox.apply()
            sandbox.discard()
            return value(sandbox, "open('a.txt').read(), __import__('os').listdir()")

    assert by_user(change) == r"('teacher\n', ['a.txt'])"
    assert os.listdir(repository) == ["a.txt"]
