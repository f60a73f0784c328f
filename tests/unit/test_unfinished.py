"""What an apply leaves in a repository where its process is killed, and what the next one makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus_nb.changes.review import Review
from chorus_nb.changes.unfinished import sweep_unfinished
from tests.overlay_mount import Overlay, snapshot

APPLY = """
import sys, time
from pathlib import Path
from chorus_nb.changes.review import Review
from chorus_nb.view.overlay_copy import OverlayCopy

class Slow(OverlayCopy):
    reads = 0

    def open(self, path):
        Slow.reads += 1
        if Slow.reads == 6:  # Three files were compared, and two of them are written.
            print("ready", flush=True)
            sys.stdin.read()
        return super().open(path)

Review(Slow(Path(sys.argv[1]), Path(sys.argv[2]), 0)).apply()
"""


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Overlay]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Overlay(tmp_path)
    (made.host / "dir").mkdir()
    (made.host / "dir/a").write_text("the host's a\n")
    (made.host / "c").write_text("the host's c\n")
    with made.mounted():
        for name in ("dir/a", "dir/new", "c"):
            (made.sandbox / name).write_text(f"the sandbox's {name}\n")
        yield made


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "cache/chorus-nb/applies"


def left_over(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".chorus-nb-*"))


def kill_in_the_middle(overlay: Overlay) -> None:
    command = [sys.executable, "-c", APPLY, overlay.host, overlay.upper]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        before = left_over(overlay.host)
        sweep_unfinished()
        assert left_over(overlay.host) == before, "its process lives"
        process.kill()
        process.wait()


def test_what_a_killed_apply_leaves_is_removed_and_nothing_else(overlay: Overlay, notes: Path) -> None:
    before = snapshot(overlay.host)
    kill_in_the_middle(overlay)
    left = left_over(overlay.host)
    assert [each.parent.name for each in left] == ["repository", "dir", "dir"]
    assert len(list(notes.iterdir())) == 2
    token = left[0].name.split("-")[2]
    own = [
        *(overlay.host / f".chorus-nb-{token}-99.tmp.txt", overlay.host / f"dir/.chorus-nb-{token}-x.tmp"),
        *(overlay.host / ".chorus-nb-0123456789abcdef-1.tmp", overlay.host / f"dir/.chorus-nb-{token}-98.old"),
    ]
    for each in own:
        each.write_text("mine")
    (overlay.host / f".chorus-nb-{token}-97.tmp").mkdir()
    sweep_unfinished()
    assert left_over(overlay.host) == sorted([*own, overlay.host / f".chorus-nb-{token}-97.tmp"])
    assert list(notes.iterdir()) == []
    (overlay.host / f".chorus-nb-{token}-97.tmp").rmdir()
    for each in own:
        each.unlink()
    assert snapshot(overlay.host) == before


def test_the_next_apply_removes_it(overlay: Overlay, notes: Path) -> None:
    kill_in_the_middle(overlay)
    assert len(Review(overlay.copy).apply().done) == 3
    assert snapshot(overlay.host) == snapshot(overlay.sandbox)
    assert list(notes.iterdir()) == []


@pytest.mark.parametrize("what", ["folder", "repository"])
def test_no_link_is_followed_to_it(overlay: Overlay, notes: Path, tmp_path: Path, what: str) -> None:
    kill_in_the_middle(overlay)
    moved = overlay.host if what == "repository" else overlay.host / "dir"
    moved.rename(tmp_path / "moved")
    before = left_over(tmp_path / "moved")
    moved.symlink_to(tmp_path / "moved")
    sweep_unfinished()
    assert left_over(tmp_path / "moved") == before
    assert before
    assert list(notes.iterdir()) == []
    moved.unlink()
    (tmp_path / "moved").rename(moved)


def test_another_repository_in_its_place_is_left_alone(overlay: Overlay, notes: Path, tmp_path: Path) -> None:
    kill_in_the_middle(overlay)
    (name,) = [each.name for each in left_over(overlay.host) if each.parent == overlay.host]
    overlay.host.rename(tmp_path / "moved")
    overlay.host.mkdir()
    (overlay.host / name).write_text("mine")
    sweep_unfinished()
    assert (overlay.host / name).read_text() == "mine"
    assert list(notes.iterdir()) == []


@pytest.mark.parametrize("note", [b"", b"1", b"1 2\0", b"x\0/etc\0", b"\xff\0\xff\0\xff\0", None])
def test_a_note_that_is_none_removes_nothing(overlay: Overlay, notes: Path, note: bytes | None) -> None:
    kill_in_the_middle(overlay)
    before = left_over(overlay.host)
    (path,) = [each for each in notes.iterdir() if not each.suffix]
    if note is None:
        path.unlink()
    else:
        path.write_bytes(note)
    (notes / "strange.owner").symlink_to("x")
    (notes / "README").write_text("x")
    sweep_unfinished()
    assert left_over(overlay.host) == before


def test_where_nothing_can_be_noted_all_is_taken_over_as_well(overlay: Overlay, notes: Path) -> None:
    notes.parent.mkdir(parents=True)
    notes.write_text("no folder")
    assert len(Review(overlay.copy).apply().done) == 3
    assert left_over(overlay.host) == []
    sweep_unfinished()
    assert os.listdir(notes.parent) == ["applies"]
