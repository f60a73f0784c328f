"""What is remembered of folders: whatever has changed in one is seen, and what has not is not listed again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chorus_nb import listings
from chorus_nb.config import RepositoryMount
from chorus_nb.mountinfo import MountPoint
from chorus_nb.selection import Selection, select

LATER_NS = 10 * listings.SETTLED_NS


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "_remembered", {})
    monkeypatch.setattr(listings, "_OF_THIS_KERNEL", listings._OF_THIS_KERNEL | {"overlay"})  # As in a container.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository that is as it is for longer than a tick."""
    for path in ("main.py", "a/.env", "a/b/one.py", "a/b/two.key", "c/.git/HEAD", "c/x/main.py", "e/main.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    os.mkfifo(tmp_path / "e" / "fifo")
    (tmp_path / "a" / "link").symlink_to("b")
    time.sleep(0.05)  # The tick of a kernel that counts a hundred of them a second, and some.
    return tmp_path


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the folder's times be old enough."""
    set_clock(monkeypatch, LATER_NS)


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead_ns: int) -> None:
    now = time.time_ns
    monkeypatch.setattr(listings.time, "time_ns", lambda: now() + ahead_ns)


def look(folder: Path, **wanted: object) -> Selection:
    return select(folder, RepositoryMount.model_validate(wanted), whole_tree=True)


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch, **wanted: object) -> list[str]:
    """Return which folders a look lists."""
    seen: list[str] = []
    scandir = os.scandir

    def noted(path: str) -> Iterator[os.DirEntry[str]]:
        seen.append(os.path.relpath(path, folder))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(listings.os, "scandir", noted)
        look(folder, **wanted)
    return sorted(seen)


ALL = [".", "a", "a/b", "c", "c/.git", "c/x", "e"]


@pytest.mark.usefixtures("late")
def test_folders_that_stay_as_they_are_are_listed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = look(folder)
    assert [each.path for each in first.masked] == ["a/.env", "a/b/two.key", "e/fifo"]
    assert first.repositories == ("c",)
    assert listed(folder, monkeypatch) == []
    assert look(folder) == first
    (folder / "a" / "b" / "new.key").touch()
    assert listed(folder, monkeypatch) == ["a/b"]


def test_a_folder_that_was_just_changed_is_listed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(folder)
    assert listed(folder, monkeypatch) == ALL


@pytest.mark.usefixtures("late")
def test_with_patterns_each_look_is_a_listing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(folder)
    assert listed(folder, monkeypatch, exclude=("nothing",)) == ALL
    assert listed(folder, monkeypatch) == []


def replaced(folder: Path) -> None:
    """Put another folder in the place of one, with the same times."""
    times = (folder / "a").stat()
    shutil.move(folder / "a", folder / "was")
    (folder / "a").mkdir()
    (folder / "a" / "id_rsa").touch()
    os.utime(folder / "a", ns=(times.st_atime_ns, times.st_mtime_ns))


def set_back(folder: Path) -> None:
    """Add a secret, and set the folder's time back: the time of its last change of state can't be."""
    times = (folder / "a").stat()
    (folder / "a" / "id_rsa").touch()
    os.utime(folder / "a", ns=(times.st_atime_ns, times.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new secret": lambda folder: (folder / "c" / "x" / ".env").touch(),
    "a new folder": lambda folder: (folder / "c" / "x" / ".ssh").mkdir(),
    "renamed to a secret": lambda folder: (folder / "a" / "b" / "one.py").rename(folder / "a" / "b" / "id_rsa"),
    "no secret any more": lambda folder: (folder / "a" / ".env").rename(folder / "a" / "env"),
    "removed": lambda folder: (folder / "a" / "b" / "two.key").unlink(),
    "a folder removed": lambda folder: shutil.rmtree(folder / "a"),
    "a folder moved": lambda folder: (folder / "a").rename(folder / "c" / "x" / "a"),
    "two folders exchanged": replaced,
    "times set back": set_back,
    "a file where a folder was": lambda folder: (shutil.rmtree(folder / "e"), (folder / "e").touch()),
    "a pipe where a file was": lambda folder: ((folder / "main.py").unlink(), os.mkfifo(folder / "main.py")),
    "a repository": lambda folder: (folder / "e" / ".git").touch(),
    "no repository any more": lambda folder: shutil.rmtree(folder / "c" / ".git"),
}


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    before = look(folder)
    CHANGES[change](folder)
    after = look(folder)
    monkeypatch.setattr(listings, "_remembered", {})
    assert after == look(folder) != before


def test_nothing_is_remembered_past_a_clock_that_is_set_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, LATER_NS)
    look(folder)
    assert listed(folder, monkeypatch) == []
    set_clock(monkeypatch, -listings.SETTLED_NS)
    assert listed(folder, monkeypatch) == ALL


@pytest.mark.usefixtures("late")
def test_no_more_is_remembered_than_of_the_latest_few(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "a/b", "c", "c/x", "e"):
        look(folder / name)
    assert list(listings._remembered) == [str(folder / name) for name in ("a/b", "c", "c/x", "e")]
    monkeypatch.setattr(listings, "_MAX_FOLDERS", 1)
    look(folder / "a")
    assert str(folder / "a") not in listings._remembered


def mount(path: str, kind: str, number: int = 1) -> MountPoint:
    return MountPoint(number, 0 if number == 1 else 1, "/", path, kind, frozenset())


@pytest.mark.parametrize(
    ("mounts", "tells"),
    [
        ([mount("/", "ext4")], True),
        ([mount("/", "nfs4")], False),
        ([mount("/", "fuse.sshfs")], False),
        ([mount("/", "ext4"), mount("/home", "9p", 2)], False),
        ([mount("/", "overlay"), mount("/home", "xfs", 2)], True),
        ([mount("/", "ext4"), mount("/home/me/repo/data", "cifs", 2)], False),
        ([mount("/", "ext4"), mount("/home/me/repository", "cifs", 2)], True),
        ([], False),
    ],
)
def test_only_file_systems_of_this_kernel_are_known_to_set_the_times(
    mounts: list[MountPoint], tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert listings._times_tell("/home/me/repo", mounts) is tells
