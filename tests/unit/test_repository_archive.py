"""A repository on its way into a volume: what goes in, what stays out, what is too much."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from chorus_nb.errors import WorkingCopyError
from chorus_nb.view import repository_archive
from chorus_nb.view.remove_tree import remove_tree
from chorus_nb.view.repository_archive import MAX_DEPTH, Original, RepositoryArchive


def archive(folder: Path, *hidden: str) -> RepositoryArchive:
    return RepositoryArchive(folder, "12:34", lambda path: path in hidden)


def unpacked(made: RepositoryArchive) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(made.pieces())), errors="surrogateescape") as tar:
        return {each.name: each for each in tar}


def test_files_folders_and_links_go_in_with_mode_time_and_the_sandboxs_user(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "folder" / "file").write_bytes(b"x" * 5000)
    (tmp_path / "folder" / "file").chmod(0o6751)
    os.utime(tmp_path / "folder" / "file", ns=(0, 1234567890_123456789))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "link").symlink_to("/etc/passwd")
    made = archive(tmp_path)
    found = unpacked(made)
    assert list(found) == ["empty", "folder", "link", "folder/file"]
    file = found["folder/file"]
    assert (file.mode, file.mtime, file.size, file.uid, file.gid) == (0o751, 1234567890, 5000, 12, 34)
    assert (found["link"].linkname, found["folder"].mode) == ("/etc/passwd", 0o700)
    assert made.originals["folder/file"] == Original("file", 0o751, 5000, sha256=hashlib.sha256(b"x" * 5000).digest())
    assert made.originals["link"].target == "/etc/passwd"
    assert made.total_bytes == 5000
    assert made.taken_ns < (tmp_path / "folder").stat().st_atime_ns


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", "ä".encode(), b"n" * 255, b"-", b" "])
def test_any_name_arrives_as_it_is(tmp_path: Path, name: bytes) -> None:
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(b"1")
    (tmp_path / ("d" * 200)).mkdir()
    (tmp_path / ("d" * 200) / os.fsdecode(name)).symlink_to(os.fsdecode(name) * 10)
    found = unpacked(archive(tmp_path))
    assert set(found) == {os.fsdecode(name), "d" * 200, f"{'d' * 200}/{os.fsdecode(name)}"}
    assert found[f"{'d' * 200}/{os.fsdecode(name)}"].linkname == os.fsdecode(name) * 10


def test_no_link_is_followed_and_what_is_no_file_stays_out(tmp_path: Path) -> None:
    repository, outside = tmp_path / "repository", tmp_path / "outside"
    repository.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (repository / "link").symlink_to(outside)
    (repository / "loop").symlink_to("loop")
    os.mkfifo(repository / "fifo")
    here = Path.cwd()
    os.chdir(repository)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            assert list(unpacked(archive(repository))) == ["link", "loop"]
    finally:
        os.chdir(here)


def test_what_is_hidden_stays_out_with_all_it_holds(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "large").write_text("x")
    (tmp_path / ".env").write_text("secret")
    (tmp_path / "shown").write_text("x")
    made = archive(tmp_path, "data", ".env")
    assert list(unpacked(made)) == ["shown"]
    assert made.left_out == {"data", ".env"}
    assert list(made.originals) == ["shown"]


def test_a_file_may_say_something_else_in_the_copy(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /home/ann/main/.git/worktrees/side\n")
    (tmp_path / "a").write_text("a")
    text = "gitdir: /workspace.git/worktrees/side\n"
    made = RepositoryArchive(tmp_path, "1:2", lambda path: False, {".git": text, "missing": "x"})
    with tarfile.open(fileobj=io.BytesIO(b"".join(made.pieces()))) as tar:
        found = {each.name: tar.extractfile(each) for each in tar}
        assert found.keys() == {".git", "a"}
        assert found[".git"] is not None
        assert found[".git"].read() == text.encode()
    assert (list(made.originals), made.left_out) == (["a"], {".git"})


def test_a_file_that_becomes_shorter_or_longer_while_it_is_read_breaks_nothing(tmp_path: Path) -> None:
    for name in ("longer", "shorter"):
        (tmp_path / name).write_bytes(b"x" * 3 * 2**20)
    (tmp_path / "then").write_text("then")
    made = archive(tmp_path)
    pieces = []
    for piece in made.pieces():
        pieces.append(piece)
        if len(pieces) == 2:
            with (tmp_path / "longer").open("ab") as file:
                file.write(b"y" * 2**20)
        if piece.startswith(b"shorter"):
            os.truncate(tmp_path / "shorter", 10)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        found = {each.name: tar.extractfile(each) for each in tar}
        for name, file in found.items():
            assert file is not None
            data = file.read()
            assert hashlib.sha256(data).digest() == made.originals[name].sha256
    assert list(found) == ["longer", "shorter", "then"]


def test_more_than_may_be_copied_is_an_error_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 * 2**30)
    with pytest.raises(WorkingCopyError, match=r"too large to be copied.*at most 4g in 500000 files.*--exclude"):
        archive(tmp_path)
    (tmp_path / "sparse").unlink()
    monkeypatch.setattr(repository_archive, "MAX_ENTRIES", 3)
    for number in range(3):
        (tmp_path / f"{number}").touch()
    assert len(unpacked(archive(tmp_path))) == 3
    (tmp_path / "one more").touch()
    with pytest.raises(WorkingCopyError, match="too large"):
        archive(tmp_path)


def test_folders_in_folders_without_end_are_an_error(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(MAX_DEPTH + 1):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(WorkingCopyError, match=f"nested deeper than {MAX_DEPTH} levels"):
        archive(tmp_path)
    remove_tree(tmp_path / "d")
