"""What is put together of a sandbox's changes: bounded, also where a sandbox has changed ten thousand files."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chorus_nb import reports
from chorus_nb.changes.review import Review
from chorus_nb.difference import as_html, as_text
from chorus_nb.reports import MAX_LISTED, MAX_SHOWN, Differences, report
from chorus_nb.view.overlay_copy import TICK_NS, OverlayCopy


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A repository, and the upper folder of an overlay over it."""
    lower, upper = tmp_path / "repository", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    return lower, upper


def review_of(folders: tuple[Path, Path]) -> Review:
    return Review(OverlayCopy(*folders, 0))


def said(folders: tuple[Path, Path]) -> str:
    review = review_of(folders)
    return as_text(report(review, "one", review.changes()))


def settle(lower: Path) -> None:
    """Wait until what is made next is later than the files of the host, as their file system keeps time."""
    latest_ns = max(path.lstat().st_ctime_ns for path in lower.rglob("*"))
    while time.time_ns() < latest_ns + 2 * TICK_NS:
        time.sleep(0.001)


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def test_ten_thousand_files_are_a_summary_with_as_much_as_can_be_looked_at(folders: tuple[Path, Path]) -> None:
    for number in range(10_000):
        (folders[1] / f"{number:05}").write_text(f"{number}\n")
    text = said(folders)
    assert text.startswith("The sandbox 'one' has made 10,000 changes: 10,000 created.\n\ncreated: 00000  (+1 -0)\n@@")
    assert text.count("@@ -0,0 +1 @@") == MAX_SHOWN
    assert f"\ncreated: {MAX_SHOWN + MAX_LISTED - 1:05}\n… and {10_000 - MAX_SHOWN - MAX_LISTED:,} more\n" in text
    assert text.endswith("name files or folders to see others: %sandbox diff PATH.")


def test_large_contents_are_not_read_beyond_the_limit(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(reports, "MAX_READ_BYTES", 1500)
    monkeypatch.setattr(reports, "MAX_DIGEST_BYTES", 3500)
    for name in ("large", "second"):
        (folders[0] / name).write_bytes(bytes(2000))
        (folders[1] / name).write_bytes(bytes(3000))
    for name in "abc":
        (folders[1] / name).write_bytes(b"x" * 900)
    text = said(folders)
    assert text.count("+xxx") == 1
    assert text.count("+900 bytes, sha256:") == 2
    digests = [f"sha256:{hashlib.sha256(bytes(size)).hexdigest()}" for size in (2000, 3000)]
    assert f"-2,000 bytes, {digests[0]}\n+3,000 bytes, {digests[1]}" in text
    assert f"-2,000 bytes, too large for a digest\n+3,000 bytes, {digests[1]}" in text


def rename(lower: Path, upper: Path) -> None:
    (lower / "old").write_bytes(b"same\n" * 100)
    settle(lower)
    (upper / "new").write_bytes(b"same\n" * 100)
    whiteout(upper / "old")


def chmod(lower: Path, upper: Path) -> None:
    for folder, mode in ((lower, 0o644), (upper, 0o755)):
        (folder / "run").write_text("#!/bin/sh\n")
        (folder / "run").chmod(mode)
        settle(lower)


def folder_into_file(lower: Path, upper: Path) -> None:
    (lower / "thing").mkdir()
    settle(lower)
    (upper / "thing").write_text("now a file\n")


def git(lower: Path, upper: Path) -> None:
    for folder in (lower, upper):
        (folder / ".git" / "hooks").mkdir(parents=True)
    (upper / ".git" / "hooks" / "post-checkout").write_text("evil\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (rename, "1 renamed.\n\nrenamed: old -> new"),
        (chmod, "1 of the mode alone.\n\nmode: run  (mode 644 -> 755)"),
        (folder_into_file, "modified: thing  ("),
        (git, "modified: .git  (folder)\nnot applied: it is git's own"),
    ],
)
def test_what_is_more_than_other_content(
    folders: tuple[Path, Path], make: Callable[[Path, Path], None], words: str
) -> None:
    make(*folders)
    assert words in said(folders)


def test_what_changes_while_it_is_read_is_said_and_not_shown(folders: tuple[Path, Path]) -> None:
    (folders[0] / "a").write_text("old\n")
    settle(folders[0])
    (folders[1] / "a").write_text("one\n")
    review = review_of(folders)
    (change,) = review.changes()
    (folders[1] / "a").write_text("two\n")
    difference = Differences(review).of(change)
    assert difference.warning.startswith("not shown: ")
    assert difference.body.lines == ()


def test_a_report_is_the_same_text_and_markup_each_time(folders: tuple[Path, Path]) -> None:
    for name in ("b", "a/c", "a.txt", "a/b"):
        (folders[1] / name).parent.mkdir(exist_ok=True)
        (folders[1] / name).write_text(name)
    several = [report(review, "one", review.changes()) for review in (review_of(folders), review_of(folders))]
    assert as_html(several[0]) == as_html(several[1])
    names = [each.path for each in several[0].differences]
    assert names == ["a/b", "a/c", "a.txt", "b"], "folders that came with what is in them are not listed beside it"
