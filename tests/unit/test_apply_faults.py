"""Taking changes over where something goes wrong, or somebody makes it go wrong: all of a file or nothing, and nothing
outside the repository."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from unprivileged import as_user

from chorus_nb.changes.review import Review
from chorus_nb.errors import ApplyError, RepositoryNotFoundError, WorkingCopyError
from chorus_nb.host_tree import HostTree
from chorus_nb.view.overlay_copy import OverlayCopy
from chorus_nb.working_copy import Entry, FileState, WorkingCopy
from tests.overlay_mount import Overlay, snapshot

NOBODY = 65534


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    made = Overlay(tmp_path)
    (made.host / "dir").mkdir()
    for name in ("dir/a", "dir/b", "c"):
        (made.host / name).write_text(f"the host's {name}\n")
    with made.mounted():
        yield made


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the repository that is as it was in the end."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("a", "b", "c", "new"):
        (folder / name).write_text("canary\n")
    before = {each: each.stat() for each in [folder, *folder.iterdir()]}
    yield folder
    after = {each: each.stat() for each in [folder, *folder.iterdir()]}
    assert {each: (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode) for each, found in after.items()} == {
        each: (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode) for each, found in before.items()
    }


class Meanwhile(WorkingCopy):
    """A view during whose reading something happens: when its content is read for the nth time."""

    def __init__(self, copy: OverlayCopy, reads: int, happens: Callable[[], object]) -> None:
        self.folder = copy.folder
        self._copy = copy
        self._reads = reads
        self._happens = happens

    def entries(self) -> Iterator[Entry]:
        return self._copy.entries()

    def open(self, path: str) -> BinaryIO:
        self._reads -= 1
        if self._reads == 0:
            self._happens()
        return self._copy.open(path)


def failures(review: Review) -> dict[str, str]:
    with pytest.raises(ApplyError) as caught:
        review.apply()
    return {each.change.path: each.reason for each in caught.value.applied.failed}


def left_over(folder: Path) -> list[Path]:
    return list(folder.rglob(".chorus-nb-*"))


# Attacks between check and write: two files are read to be compared, and two to be taken over


def edit(overlay: Overlay) -> None:
    for name in ("dir/a", "dir/b"):
        (overlay.sandbox / name).write_text(f"the sandbox's {name}\n")


@pytest.mark.parametrize("reads", [3, 4])
def test_a_folder_that_becomes_a_link_leads_nowhere(overlay: Overlay, canary: Path, reads: int) -> None:
    edit(overlay)

    def swap() -> None:
        (overlay.host / "dir").rename(overlay.place / "moved")
        (overlay.host / "dir").symlink_to(canary)

    assert failures(Review(Meanwhile(overlay.copy, reads, swap))).keys() == {"dir/a", "dir/b"}
    assert not left_over(overlay.place)
    assert (overlay.place / "moved/a").read_text() == "the host's dir/a\n"


def test_a_folder_that_is_another_now_gets_nothing(overlay: Overlay) -> None:
    edit(overlay)

    def swap() -> None:
        (overlay.host / "dir").rename(overlay.place / "moved")
        shutil.copytree(overlay.place / "moved", overlay.host / "dir", ignore=shutil.ignore_patterns(".chorus-nb-*"))

    assert failures(Review(Meanwhile(overlay.copy, 4, swap)))["dir/a"] == (
        "is in a folder that was replaced on the host meanwhile"
    )
    assert (overlay.host / "dir/a").read_text() == "the host's dir/a\n"
    assert not left_over(overlay.place)


@pytest.mark.parametrize("how", ["edited", "linked", "removed"])
def test_a_file_of_the_host_that_changes_at_the_last_moment_stays(overlay: Overlay, canary: Path, how: str) -> None:
    edit(overlay)
    target = overlay.host / "dir/a"

    def change() -> None:
        if how == "edited":
            target.write_text("edited\n")
            return
        target.unlink()
        if how == "linked":
            target.symlink_to(canary / "a")

    assert failures(Review(Meanwhile(overlay.copy, 4, change))) == {
        "dir/a": f"was {'removed' if how == 'removed' else 'changed'} on the host meanwhile"
    }
    assert (target.read_text() if target.exists() else "") == {"edited": "edited\n", "linked": "canary\n"}.get(how, "")
    assert (overlay.host / "dir/b").read_text() == "the sandbox's dir/b\n"
    assert not left_over(overlay.place)


@pytest.mark.parametrize("how", ["file", "link", "folder"])
def test_a_name_that_is_taken_at_the_last_moment_stays(overlay: Overlay, canary: Path, how: str) -> None:
    (overlay.sandbox / "new").write_text("sandbox")
    (overlay.sandbox / "other").write_text("sandbox")
    target = overlay.host / "new"
    make = {
        "file": lambda: target.write_text("host"),
        "link": lambda: target.symlink_to(canary / "new"),
        "folder": target.mkdir,
    }[how]
    assert failures(Review(Meanwhile(overlay.copy, 3, make))) == {"new": "is there on the host meanwhile"}
    assert target.is_dir() or target.read_text() in ("host", "canary\n")
    assert (overlay.host / "other").exists()


def test_what_the_sandbox_writes_meanwhile_is_not_taken_over(overlay: Overlay) -> None:
    edit(overlay)
    view = Meanwhile(overlay.copy, 3, lambda: (overlay.sandbox / "dir/a").write_text("THE SANDBOX'S dir/a\n"))
    assert failures(Review(view)) == {"dir/a": "is being written in the sandbox"}
    assert (overlay.host / "dir/a").read_text() == "the host's dir/a\n"
    assert not left_over(overlay.place)


def test_a_file_of_the_sandbox_that_becomes_a_link_is_not_followed(overlay: Overlay, canary: Path) -> None:
    edit(overlay)

    def swap() -> None:
        (overlay.sandbox / "dir/a").unlink()
        (overlay.sandbox / "dir/a").symlink_to(canary / "a")

    assert failures(Review(Meanwhile(overlay.copy, 3, swap))).keys() == {"dir/a"}
    assert (overlay.host / "dir/a").read_text() == "the host's dir/a\n"


def test_a_repository_that_is_gone_is_said_to_be(overlay: Overlay) -> None:
    edit(overlay)
    review = Review(overlay.copy)
    gone = Review(Meanwhile(overlay.copy, 3, lambda: overlay.host.rename(overlay.place / "moved")))
    gone.apply()  # It is that folder wherever it is now.
    assert (overlay.place / "moved/dir/a").read_text() == "the sandbox's dir/a\n"
    with pytest.raises(RepositoryNotFoundError, match="can't be opened: No such file"):
        review.changes()
    overlay.host.mkdir()  # As it is where a file system is not mounted any more.
    with pytest.raises(RepositoryNotFoundError, match="another folder than when the sandbox started"):
        review.apply()
    assert not list(overlay.host.iterdir())


def test_a_repository_that_is_deleted_in_the_middle(overlay: Overlay) -> None:
    edit(overlay)
    review = Review(Meanwhile(overlay.copy, 4, lambda: shutil.rmtree(overlay.host)))
    assert failures(review).keys() == {"dir/a", "dir/b"}
    assert not overlay.host.exists()


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/.", "a\0b", "a/"])
def test_a_path_that_is_none_ends_it(tmp_path: Path, path: str) -> None:
    class Lying(WorkingCopy):
        folder = tmp_path

        def entries(self) -> Iterator[Entry]:
            yield Entry(path, FileState("file", 0o644, 0, 0), 1)

        def open(self, path: str) -> BinaryIO:
            raise AssertionError

    for call in (Review(Lying()).changes, Review(Lying()).apply):
        with pytest.raises(WorkingCopyError, match="no path in the repository"):
            call()
    assert not list(tmp_path.iterdir())


# No space, no permission


@pytest.fixture
def small_host(tmp_path: Path) -> Iterator[Overlay]:
    """A repository on a disk of 256 KiB."""
    (tmp_path / "repository").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path / "repository"], check=True)
    try:
        made = Overlay(tmp_path)
        (made.host / "b").write_text("the host's b\n")
        with made.mounted():
            yield made
    finally:
        subprocess.run(["umount", tmp_path / "repository"], check=True)


def test_no_space_is_all_or_nothing_for_each_file_and_says_what_was_done(small_host: Overlay) -> None:
    for name, size in (("a", 1000), ("b", 300_000), ("c", 1000)):
        (small_host.sandbox / name).write_bytes(b"x" * size)
    (small_host.sandbox / "d").mkdir()
    with pytest.raises(ApplyError) as caught:
        Review(small_host.copy).apply()
    assert [each.path for each in caught.value.applied.done] == ["a", "d"]
    assert str(caught.value) == (
        "2 of the changes can't be taken over:\n"
        "  'b' can't be written: No space left on device\n"
        "  'c' was not tried any more: No space left on device\n"
        "2 were taken over. `%sandbox diff` shows them as they are now."
    )
    assert {path: found[-1] for path, found in snapshot(small_host.host).items() if found[0] == "file"} == {
        "a": b"x" * 1000,
        "b": b"the host's b\n",
    }


def test_a_host_that_takes_no_writes(small_host: Overlay) -> None:
    (small_host.sandbox / "b").write_text("sandbox")
    subprocess.run(["mount", "-o", "remount,ro", small_host.host], check=True)
    assert failures(Review(small_host.copy)) == {"b": "can't be written: Read-only file system"}


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="chorus-nb-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_what_this_user_may_not_do_is_not_done(open_place: Path) -> None:
    overlay = Overlay(open_place)
    (overlay.host / "open").mkdir()
    (overlay.host / "open").chmod(0o777)
    for name in ("closed", "open/of-root", "open/own"):
        (overlay.host / name).write_text("host")
    os.chown(overlay.host / "open/own", NOBODY, NOBODY)
    with overlay.mounted():
        for name in ("closed", "open/of-root", "open/own", "open/new"):
            (overlay.sandbox / name).write_text("sandbox")
        with as_user(NOBODY):
            found = failures(Review(overlay.copy))
    assert found == {
        "closed": "can't be written: Permission denied",
        "open/of-root": "belongs to another user or group on the host, and would not any more",
    }
    for name in ("open/own", "open/new"):
        assert (overlay.host / name).read_text() == "sandbox"
        assert (overlay.host / name).stat().st_uid == NOBODY
    assert not left_over(open_place)


def access_list() -> bytes:
    """Return one that lets user 1234 write (acl(5), as ``linux/posix_acl_xattr.h`` has it)."""
    nobody = 2**32 - 1
    entries = [(1, 6, nobody), (2, 6, 1234), (4, 4, nobody), (0x10, 6, nobody), (0x20, 4, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


def test_a_file_keeps_owner_group_and_attributes_but_no_capability(overlay: Overlay) -> None:
    target = overlay.host / "c"
    os.chown(target, 1234, 2345)
    os.setxattr(target, "user.note", b"kept")
    os.setxattr(target, "system.posix_acl_access", access_list())
    os.setxattr(target, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
    overlay.settle()
    (overlay.sandbox / "c").write_text("the sandbox's")
    (overlay.sandbox / "dir/new").write_text("new")
    os.setxattr(overlay.sandbox / "c", "user.from-inside", b"stays there")
    Review(overlay.copy).apply()
    assert target.read_text() == "the sandbox's"
    assert (target.stat().st_uid, target.stat().st_gid) == (1234, 2345)
    assert {name: os.getxattr(target, name) for name in os.listxattr(target)} == {
        "user.note": b"kept",
        "system.posix_acl_access": access_list(),
    }
    assert (overlay.host / "dir/new").stat().st_uid == os.geteuid()


def test_a_file_system_without_hard_links_takes_new_files_too(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # As vfat does, which this machine may not have.

    (overlay.sandbox / "new").write_text("new")
    (overlay.sandbox / "link").symlink_to("new")
    (overlay.sandbox / "dir/a").rename(overlay.sandbox / "moved")
    monkeypatch.setattr(os, "link", link)
    Review(overlay.copy).apply()
    assert snapshot(overlay.host) == snapshot(overlay.sandbox)


# Names and sizes

NAMES = [
    *(b"new\nline", b"tab\t", b"\x1b[31mred", b"\xff\xfe", b" ", b"-rf", b"$(x)", b"a" * 255, "é\u202e".encode()),
    *(b"*", b"[a]", b"!x", b"#x", b"~", b"\\", b"con", b".gitignore", b"...", b"a\rb"),
]


def test_names_of_all_kinds(overlay: Overlay) -> None:
    inside, host = os.fsencode(overlay.sandbox), os.fsencode(overlay.host)
    for name in NAMES:
        os.mkdir(inside + b"/dir/" + name)
        Path(os.fsdecode(inside + b"/dir/" + name + b"/" + name)).write_bytes(name)
    review = Review(overlay.copy)
    assert len(review.changes()) == 2 * len(NAMES)
    for name in NAMES[:4]:
        path = os.fsdecode(b"dir/" + name)
        assert [each.path for each in review.apply([path]).done] == [path, f"{path}/{os.fsdecode(name)}"]
    review.apply()
    for name in NAMES:
        assert Path(os.fsdecode(host + b"/dir/" + name + b"/" + name)).read_bytes() == name
    assert review.changes() == []


def test_a_path_that_is_longer_than_the_kernel_takes_at_once(overlay: Overlay) -> None:
    depth, name = 100, "n" * 60
    place = os.open(overlay.sandbox, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    with open("file", "w", opener=lambda path, flags: os.open(path, flags, dir_fd=place)) as file:
        file.write("deep")
    os.close(place)
    review = Review(overlay.copy)
    applied = review.apply()
    assert len(applied.done) == depth + 1
    assert len(applied.done[-1].path) > 4096
    with HostTree(overlay.host) as host, host.open(applied.done[-1].path) as content:
        assert content.read() == b"deep"
    assert review.changes() == []
    subprocess.run(["rm", "-r", overlay.sandbox / name], check=True)
    assert len(review.apply().done) == depth + 1
    assert not (overlay.host / name).exists()


def test_a_sparse_file_stays_sparse_and_only_its_data_is_read(overlay: Overlay) -> None:
    size = 2**38
    with (overlay.sandbox / "disk.img").open("wb") as file:
        file.truncate(size)
        for at in (0, 5 * 2**30 + 123, size - 5):
            file.seek(at)
            file.write(b"data!")
    review = Review(overlay.copy)
    (change,) = review.changes()
    assert change.digest.startswith("sparse-sha256:")
    review.apply()
    found = (overlay.host / "disk.img").stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < 2**20
    assert review.changes() == []
    with (overlay.host / "disk.img").open("rb") as file:
        file.seek(5 * 2**30 + 123)
        assert file.read(6) == b"data!\0"
    (overlay.sandbox / "disk.img").rename(overlay.sandbox / "other.img")
    assert [each.kind for each in review.changes()] == ["renamed"]


def test_upper_and_lower_case_do_not_clash(overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's file system knows no case, as on macOS: simulated, as this kernel may have none that does."""
    (overlay.sandbox / "DIR").mkdir()
    (overlay.sandbox / "DIR/a").write_text("clash")
    (overlay.sandbox / "C").write_text("clash")
    (overlay.sandbox / "dir/b").write_text("fine")
    real = os.lstat

    def lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        if dir_fd is not None and os.path.samestat(os.fstat(dir_fd), overlay.host.stat()):
            path = path.lower()
        return real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "lstat", lstat)
    review = Review(overlay.copy)
    conflicts = {each.path: each.conflict for each in review.changes() if each.conflict}
    assert conflicts == dict.fromkeys(["C", "DIR"], "has another name on the host, in upper or lower case")
