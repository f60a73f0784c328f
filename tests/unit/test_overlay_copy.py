"""The upper folder of an overlay, read as what a sandbox has touched: it is hostile in every way a folder can be."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chorus_nb import host_tree
from chorus_nb.changes.review import Review
from chorus_nb.errors import WorkingCopyError
from chorus_nb.host_tree import MAX_DEPTH, MAX_PATH_CHARS
from chorus_nb.view import overlay_copy
from chorus_nb.view.birth_time import birth_ns
from chorus_nb.view.overlay_copy import TICK_NS, OverlayCopy
from chorus_nb.working_copy import Entry, FileState


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    upper = tmp_path / "upper"
    upper.mkdir()
    return upper


def entries(upper: Path) -> dict[str, Entry]:
    return {entry.path: entry for entry in OverlayCopy(upper.parent, upper, 0).entries()}


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))  # Anybody may make this one device (mknod(2)).


@contextmanager
def as_nobody() -> Iterator[None]:
    """Do without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_nothing_was_touched(upper: Path) -> None:
    assert entries(upper) == {}


def test_what_was_written_removed_and_linked(upper: Path) -> None:
    (upper / "file").write_bytes(b"12345")
    (upper / "file").chmod(0o4640)
    os.utime(upper / "file", ns=(0, 1234567890123456789))
    (upper / "link").symlink_to("/etc/passwd")
    whiteout(upper / "gone")
    (upper / "folder").mkdir(mode=0o750)
    found = entries(upper)
    assert list(found) == ["file", "folder", "gone", "link"]
    assert found["file"].state == FileState("file", 0o4640, 5, 1234567890123456789)
    assert found["gone"].state is None
    link, folder = found["link"].state, found["folder"].state
    assert link
    assert (link.kind, link.target) == ("link", "/etc/passwd")
    assert folder
    assert (folder.kind, folder.mode, found["folder"].whole) == ("directory", 0o750, False)


def test_a_folder_through_which_nothing_shows_is_whole(upper: Path) -> None:
    for name, value in (("anew", b"y"), ("merged", None), ("other", b"x")):
        (upper / name).mkdir()
        if value:
            os.setxattr(upper / name, "user.overlay.opaque", value)
    assert {path: entry.whole for path, entry in entries(upper).items()} == {
        "anew": True,
        "merged": False,
        "other": False,
    }


def test_what_is_no_file_is_neither_opened_nor_waited_for(upper: Path) -> None:
    os.mkfifo(upper / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(upper)  # The path of a socket has to be short.
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    copy = OverlayCopy(upper.parent, upper, 0)
    assert {path: entry.state and entry.state.kind for path, entry in entries(upper).items()} == {
        "fifo": "other",
        "socket": "other",
    }
    for name in ("fifo", "socket"):
        with pytest.raises(WorkingCopyError, match=f"at '{name}'"):
            copy.open(name)


@pytest.mark.parametrize("name", [b"a\nb", b"\xff\xfe", b"-rf", b"\x1b[31mred", b"n" * 255, "ä".encode()])
def test_any_name_comes_as_the_system_has_it(upper: Path, name: bytes) -> None:
    os.mkdir(os.path.join(os.fsencode(upper), name))
    with open(os.path.join(os.fsencode(upper), name, name), "wb") as file:
        file.write(b"content")
    path = f"{os.fsdecode(name)}/{os.fsdecode(name)}"
    assert list(entries(upper)) == [os.fsdecode(name), path]
    with OverlayCopy(upper.parent, upper, 0).open(path) as opened:
        assert opened.read() == b"content"


def test_no_link_is_followed(upper: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret")
    (upper / "loop").symlink_to("loop")
    (upper / "out").symlink_to(tmp_path / "secrets")
    (upper / "key").symlink_to(tmp_path / "secrets" / "key")
    assert list(entries(upper)) == ["key", "loop", "out"]
    copy = OverlayCopy(upper.parent, upper, 0)
    for path in ("key", "out/key", "loop", "loop/x"):
        with pytest.raises(WorkingCopyError, match="can't be read"):
            copy.open(path)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../secret", "a/../../secret", "a//b", "a/./b", "a\0b", "a/"])
def test_a_path_that_leads_nowhere_in_there_is_refused(upper: Path, path: str) -> None:
    with pytest.raises(WorkingCopyError, match="no path in the repository"):
        OverlayCopy(upper.parent, upper, 0).open(path)


def test_a_hundred_levels_are_read_and_many_more_are_refused(upper: Path) -> None:
    folder = os.open(upper, os.O_RDONLY)
    for _ in range(100):
        folder = _one_deeper(folder)
    assert len(entries(upper)) == 100
    for _ in range(200):
        folder = _one_deeper(folder)
    os.close(folder)
    with pytest.raises(WorkingCopyError, match=f"deeper than {MAX_DEPTH} levels.*Remove them.*begin at 'd'"):
        entries(upper)


def _one_deeper(folder: int, name: str = "d") -> int:
    os.mkdir(name, dir_fd=folder)
    inner = os.open(name, os.O_RDONLY, dir_fd=folder)
    os.close(folder)
    return inner


def test_paths_that_nobody_needs_are_refused_before_they_fill_the_memory(upper: Path) -> None:
    """A thousand empty files in one such folder took seconds, and 150 kB each: a hundred thousand are soon made."""
    folder = os.open(upper, os.O_RDONLY)
    for _ in range(MAX_PATH_CHARS // 250 + 1):
        folder = _one_deeper(folder, "d" * 250)
    os.close(folder)
    with pytest.raises(WorkingCopyError, match=rf"more than {MAX_PATH_CHARS} characters\. Remove them"):
        Review(OverlayCopy(upper.parent, upper, 0)).changes()


def test_all_paths_together_are_bounded(upper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_tree, "MAX_ALL_PATHS_CHARS", 300)
    (upper / ("d" * 100)).mkdir()
    Review(OverlayCopy(upper.parent, upper, 0)).changes()
    (upper / ("d" * 100) / ("f" * 100)).touch()
    with pytest.raises(WorkingCopyError, match="fewer whose names have more than 300 characters"):
        Review(OverlayCopy(upper.parent, upper, 0)).changes()


def test_names_count_as_soon_as_they_are_read(upper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of every folder on the way to the one that is being read are in memory at one time."""
    monkeypatch.setattr(overlay_copy, "MAX_ENTRIES", 5)
    for folder in (upper / "a", upper / "a" / "a", upper / "a" / "a" / "a"):
        folder.mkdir()
        (folder.parent / "b").touch()
    with pytest.raises(WorkingCopyError, match="touched more than"):
        next(each for each in OverlayCopy(upper.parent, upper, 0).entries() if each.path == "a/a/a")


def test_descriptors_are_closed_whatever_happens(upper: Path) -> None:
    (upper / "a" / "b").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    next(iter(found := OverlayCopy(upper.parent, upper, 0).entries()))
    del found
    for path in ("a", "a/b/c", "x/y"):
        with pytest.raises(WorkingCopyError):
            OverlayCopy(upper.parent, upper, 0).open(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_the_sandbox_has_closed_is_named(upper: Path) -> None:
    upper.parent.chmod(0o755)
    for folder in (upper, upper / "closed"):
        folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(upper / "closed", 65534, 65534)
        _open_the_way_to(upper)
    (upper / "closed").chmod(0)
    with as_nobody(), pytest.raises(WorkingCopyError, match=r"at 'closed': Permission denied.*chmod") as raised:
        entries(upper)
    assert raised.value.path == "closed"
    (upper / "closed").chmod(0o700)


def _open_the_way_to(path: Path) -> None:
    for parent in path.parents:
        if not parent.stat().st_mode & stat.S_IXOTH and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)


def test_the_folder_itself_is_gone(tmp_path: Path) -> None:
    with pytest.raises(WorkingCopyError, match="can't be read: No such file"):
        list(OverlayCopy(tmp_path, tmp_path / "missing", 0).entries())


# When it was copied


def test_the_time_of_the_copy_lies_between_the_changes_of_the_host_before_and_after(upper: Path) -> None:
    host = upper.parent / "host"
    host.write_text("before")
    before_ns = host.stat().st_ctime_ns
    time.sleep(3 * TICK_NS / 1e9)
    (upper / "file").write_text("copied")
    os.utime(upper / "file", ns=(2**62, 2**62))  # What the sandbox can set is not what counts.
    host.write_text("after")
    assert before_ns < entries(upper)["file"].base_ns < host.stat().st_ctime_ns


def test_a_change_in_the_same_tick_counts_as_later(upper: Path) -> None:
    for number in range(50):
        (upper / f"{number}").write_text("copied")
        (upper.parent / "host").write_text(f"{number}")
        assert entries(upper)[f"{number}"].base_ns < (upper.parent / "host").stat().st_ctime_ns


def test_the_time_of_birth_of_a_link_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("x")
    time.sleep(0.05)
    (tmp_path / "link").symlink_to("target")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        target_ns, link_ns = birth_ns("target", folder), birth_ns("link", folder)
        with pytest.raises(FileNotFoundError):
            birth_ns("missing", folder)
    finally:
        os.close(folder)
    assert target_ns
    assert link_ns
    assert target_ns < link_ns


def test_a_file_system_without_times_of_birth_gives_none(tmp_path: Path) -> None:
    folder = os.open("/proc/self", os.O_RDONLY)
    try:
        assert birth_ns("status", folder) is None
        copy = OverlayCopy(tmp_path, Path("/proc/self/fd"), 5 * TICK_NS)
        assert {entry.base_ns for entry in copy.entries()} == {4 * TICK_NS}
    finally:
        os.close(folder)
