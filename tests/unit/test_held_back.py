"""Changes that need each other: what `--check` says is what happens, and no content goes that can't come."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from chorus_nb.changes.review import Review
from chorus_nb.errors import ApplyError
from chorus_nb.view.overlay_copy import OverlayCopy
from tests.overlay_mount import Overlay, snapshot


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    made = Overlay(tmp_path)
    (made.host / "old").mkdir()
    (made.host / "old/x").write_text("what x says\n")
    (made.host / "old/y").write_text("what y says\n")
    (made.host / "f").write_text("what f says\n")
    (made.host / "src").mkdir()
    (made.host / "src/a").write_text("a\n")
    with made.mounted():
        yield made


def outcome(review: Review, *paths: str, check: bool = False) -> tuple[set[str], dict[str, str]]:
    """Return what was taken over, and why the rest was not."""
    try:
        return {each.path for each in review.apply(paths, check=check).done}, {}
    except ApplyError as error:
        applied = error.applied
        return {each.path for each in applied.done}, {each.change.path: each.reason for each in applied.failed}


def file_to_folder(inside: Path) -> None:
    (inside / "f").unlink()
    (inside / "f").mkdir()
    (inside / "f/new").write_text("new\n")
    (inside / "f/other").write_text("other\n")


def folder_to_file(inside: Path) -> None:
    shutil.rmtree(inside / "old")
    (inside / "old").write_text("a file by now\n")


CHANGED = "was changed on the host meanwhile"


@pytest.mark.parametrize(
    ("inside", "on_host", "paths", "reasons"),
    [
        (file_to_folder, "", ["f/new"], {"f/new": "lies in 'f', which is no folder on the host"}),
        (
            file_to_folder,
            "f",
            [],
            {"f": CHANGED, **dict.fromkeys(("f/new", "f/other"), "lies in 'f', which is no folder on the host")},
        ),
        (folder_to_file, "old/x", [], {"old": "holds 'old/x', which is not taken over", "old/x": CHANGED}),
        (
            lambda inside: shutil.rmtree(inside / "old"),
            "old/new",
            [],
            {"old": "holds 'old/new', which is not taken over", "old/new": CHANGED},
        ),
    ],
)
def test_a_check_says_what_is_then_done(
    overlay: Overlay,
    inside: Callable[[Path], None],
    on_host: str,
    paths: list[str],
    reasons: dict[str, str],
) -> None:
    inside(overlay.sandbox)
    if on_host:
        (overlay.host / on_host).write_text("the host's own by now\n")
    review = Review(overlay.copy)
    done, failed = outcome(review, *paths, check=True)
    assert failed.keys() == reasons.keys()
    assert all(failed[path].startswith(reason) for path, reason in reasons.items())
    assert outcome(review, *paths) == (done, failed)
    if on_host:
        assert (overlay.host / on_host).read_text() == "the host's own by now\n"


def test_a_file_whose_new_place_is_taken_stays_where_it_is(overlay: Overlay) -> None:
    (overlay.sandbox / "old/x").rename(overlay.sandbox / "old/q")
    (overlay.host / "old/q").write_text("the host's own q\n")
    review = Review(overlay.copy)
    reasons = {"old/q": CHANGED, "old/x": "has the content of 'old/q', which is not taken over"}
    assert outcome(review, check=True) == outcome(review) == (set(), reasons)
    assert (overlay.host / "old/x").read_text() == "what x says\n"
    # Who asks for the removal alone means it.
    assert outcome(review, "old/x") == ({"old/x"}, {})


def test_a_file_that_has_come_to_one_of_its_new_places_goes(overlay: Overlay) -> None:
    for name in ("q", "r"):
        shutil.copy(overlay.sandbox / "old/x", overlay.sandbox / "old" / name)
    (overlay.sandbox / "old/x").unlink()
    (overlay.host / "old/q").write_text("the host's own q\n")
    assert outcome(Review(overlay.copy)) == ({"old/r"}, {"old/q": CHANGED})  # x is r by now.
    assert not (overlay.host / "old/x").exists()


class WrittenMeanwhile(OverlayCopy):
    """A view whose code writes to each new file just before that is read for the second time."""

    def __init__(self, overlay: Overlay) -> None:
        super().__init__(overlay.host, overlay.upper, 0)
        self._sandbox = overlay.sandbox
        self._read: set[str] = set()

    def open(self, path: str) -> BinaryIO:
        if path in self._read:
            (self._sandbox / path).write_text("is written\n")
        self._read.add(path)
        return super().open(path)


def test_files_whose_new_place_could_not_be_written_stay_where_they_are(overlay: Overlay) -> None:
    for name in ("x", "y"):  # Both of one content, so that neither is the other one's rename.
        (overlay.host / "old" / name).write_text("twice\n")
    overlay.settle()
    for name in ("x", "y"):
        (overlay.sandbox / "old" / name).rename(overlay.sandbox / "src" / name)
    done, failed = outcome(Review(WrittenMeanwhile(overlay)))
    assert done == set()
    assert failed["src/x"] == "is being written in the sandbox"
    assert failed["old/x"].startswith("has the content of 'src/")
    assert (overlay.host / "old/x").read_text() == (overlay.host / "old/y").read_text() == "twice\n"


def test_a_folder_that_was_changed_by_us_alone_is_no_conflict(overlay: Overlay) -> None:
    inside = overlay.sandbox
    folder_to_file(inside)
    (inside / "src/a").write_text("b\n")
    (inside / "src").chmod(0o775)
    review = Review(overlay.copy)
    assert outcome(review, "old/x", "src/a") == ({"old/x", "src/a"}, {})
    assert outcome(review) == ({"old", "old/y", "src"}, {})
    assert snapshot(overlay.host) == snapshot(inside)


def test_a_folder_that_the_user_has_changed_as_well_is_one(overlay: Overlay) -> None:
    (overlay.sandbox / "src/a").write_text("b\n")
    (overlay.sandbox / "src").chmod(0o775)
    review = Review(overlay.copy)
    assert outcome(review, "src/a") == ({"src/a"}, {})
    (overlay.host / "src").chmod(0o700)
    assert outcome(review) == (set(), {"src": CHANGED})
