"""What a sandbox has changed through a real overlay: found, taken over, or not."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus_nb.changes.change import Change
from chorus_nb.changes.review import Review
from chorus_nb.errors import ApplyError, ChangedMeanwhileError, RepositoryNotFoundError
from tests.overlay_mount import Overlay, snapshot


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    made = Overlay(tmp_path)
    host = made.host
    (host / "src").mkdir()
    (host / "src/a.py").write_text("a = 1\n")
    (host / "src/b.py").write_text("b = 1\n")
    (host / "old").mkdir()
    (host / "old/x.txt").write_text("what x says\n")
    (host / "old/y.txt").write_text("what y says\n")
    (host / "run.sh").write_text("echo\n")
    (host / "link").symlink_to("src/a.py")
    with made.mounted():
        yield made


@pytest.fixture
def review(overlay: Overlay) -> Review:
    return Review(overlay.copy)


def told(changes: list[Change]) -> list[str]:
    return [f"{each.kind} {each.source + ' > ' if each.source else ''}{each.path}" for each in changes]


def test_every_kind_of_change_is_found_and_taken_over(overlay: Overlay, review: Review) -> None:
    inside = overlay.sandbox
    (inside / "src/a.py").write_text("a = 2\n")
    (inside / "new/deep").mkdir(parents=True)
    (inside / "new/deep/n.txt").write_text("new\n")
    (inside / "old/y.txt").unlink()
    (inside / "old/x.txt").rename(inside / "src/x.txt")
    (inside / "run.sh").chmod(0o755)
    (inside / "link").unlink()
    (inside / "link").symlink_to("src/b.py")
    os.utime(inside / "src/b.py")
    found = review.changes()
    assert told(found) == [
        *("modified link", "created new", "created new/deep", "created new/deep/n.txt", "deleted old/y.txt"),
        *("mode run.sh", "modified src/a.py", "renamed old/x.txt > src/x.txt"),
    ]
    assert not any(each.conflict or each.refusal for each in found)
    before = snapshot(overlay.host)
    assert review.apply(check=True).done == tuple(found)
    assert snapshot(overlay.host) == before
    inode = (overlay.host / "old/x.txt").stat().st_ino
    assert len(review.apply().done) == len(found)
    assert snapshot(overlay.host) == snapshot(inside)
    assert (overlay.host / "src/x.txt").stat().st_ino == inode
    assert review.changes() == []


def test_what_was_only_touched_is_no_change(overlay: Overlay, review: Review) -> None:
    inside = overlay.sandbox
    (inside / "src/a.py").write_text("a = 1\n")
    (inside / "run.sh").chmod(0o755)
    (inside / "run.sh").chmod(0o644)
    (inside / "src/tmp").write_text("x")
    (inside / "src/tmp").unlink()
    assert review.changes() == []


def test_a_folder_that_is_made_anew_lets_nothing_of_the_host_through(overlay: Overlay, review: Review) -> None:
    inside = overlay.sandbox
    for each in ("x.txt", "y.txt"):
        (inside / "old" / each).unlink()
    (inside / "old").rmdir()
    (inside / "old").mkdir()
    (inside / "old/z.txt").write_text("z")
    assert told(review.changes()) == ["deleted old/x.txt", "deleted old/y.txt", "created old/z.txt"]
    review.apply()
    assert snapshot(overlay.host) == snapshot(inside)


def test_files_and_folders_take_each_others_places(overlay: Overlay, review: Review) -> None:
    inside = overlay.sandbox
    subprocess.run(["rm", "-r", inside / "old"], check=True)
    (inside / "old").write_text("a file now")
    (inside / "run.sh").unlink()
    (inside / "run.sh").mkdir()
    (inside / "run.sh/part").write_text("p")
    (inside / "link").unlink()
    (inside / "link").mkdir(mode=0o500)
    assert told(review.changes(["old"])) == ["modified old", "deleted old/x.txt", "deleted old/y.txt"]
    review.apply()
    assert snapshot(overlay.host) == snapshot(inside)
    assert review.changes() == []


@pytest.mark.parametrize("on_host", ["modify", "delete", "replace", "become a folder", "chmod"])
def test_a_file_that_the_host_has_changed_meanwhile_is_not_replaced(
    overlay: Overlay, review: Review, on_host: str
) -> None:
    (overlay.sandbox / "src/a.py").write_text("a = 'sandbox'\n")
    (overlay.sandbox / "src/b.py").write_text("b = 'sandbox'\n")
    overlay.settle()
    target = overlay.host / "src/a.py"
    if on_host == "modify":
        target.write_text("a = 'host'\n")
    elif on_host == "chmod":
        target.chmod(0o600)
    else:
        target.unlink()
        if on_host == "replace":
            target.write_text("a = 'host'\n")
        elif on_host == "become a folder":
            target.mkdir()
    why = "removed" if on_host == "delete" else "changed"
    before = snapshot(overlay.host)
    with pytest.raises(ApplyError) as caught:
        review.apply()
    assert [each.change.path for each in caught.value.applied.failed] == ["src/a.py"]
    assert f"'src/a.py' was {why} on the host meanwhile" in str(caught.value)
    assert [each.path for each in caught.value.applied.done] == ["src/b.py"]
    after = snapshot(overlay.host)
    assert after.pop("src/b.py")[-1] == b"b = 'sandbox'\n"
    before.pop("src/b.py")
    assert after == before


def test_a_file_that_the_sandbox_has_moved_and_edited_is_no_conflict(overlay: Overlay, review: Review) -> None:
    inside = overlay.sandbox
    (inside / "src/a.py").rename(inside / "moved.py")
    (inside / "moved.py").write_text("a = 'other'\n")
    (inside / "src/b.py").write_text("b = 'other'\n")
    os.link(inside / "src/b.py", inside / "second.py")
    review.apply(["src/a.py"])
    review.apply()
    (inside / "src/b.py").write_text("b = 'once more'\n")
    review.apply(["src"])
    (inside / "src/b.py").rename(inside / "third.py")
    (inside / "third.py").write_text("b = 'for the last time'\n")
    review.apply()
    assert snapshot(overlay.host) == snapshot(inside)


def test_a_new_file_never_replaces_one_that_the_host_has_made_meanwhile(overlay: Overlay, review: Review) -> None:
    (overlay.sandbox / "new.txt").write_text("sandbox")
    overlay.settle()
    (overlay.host / "new.txt").write_text("host")
    with pytest.raises(ApplyError, match=r"'new\.txt' was changed on the host meanwhile"):
        review.apply()
    assert (overlay.host / "new.txt").read_text() == "host"


def test_what_was_taken_over_once_may_be_taken_over_again(overlay: Overlay, review: Review) -> None:
    for text in ("one", "two!", "three"):
        (overlay.sandbox / "src/a.py").write_text(text)
        (overlay.sandbox / "run.sh").chmod(0o700 + len(text))
        assert len(review.apply().done) == 2
        assert (overlay.host / "src/a.py").read_text() == text
    overlay.settle()
    (overlay.host / "src/a.py").write_text("host")
    (overlay.sandbox / "src/a.py").write_text("four")
    with pytest.raises(ApplyError):
        review.apply()
    assert (overlay.host / "src/a.py").read_text() == "host"


# What was shown


def test_what_changed_after_it_was_shown_is_to_be_looked_at_again(overlay: Overlay, review: Review) -> None:
    (overlay.sandbox / "src/a.py").write_text("a = 2\n")
    (overlay.sandbox / "src/b.py").write_text("b = 2\n")
    review.shown(review.changes())
    (overlay.sandbox / "src/a.py").write_text("a = 3\n")
    (overlay.sandbox / "unseen.py").write_text("import os\n")
    with pytest.raises(ApplyError) as caught:
        review.apply()
    assert [each.path for each in caught.value.applied.done] == ["src/b.py"]
    assert [each.change.path for each in caught.value.applied.failed] == ["src/a.py", "unseen.py"]
    assert "look again" in str(caught.value)
    assert (overlay.host / "src/a.py").read_text() == "a = 1\n"
    review.shown(review.changes())
    assert len(review.apply().done) == 2


def test_what_was_never_shown_may_be_applied_unseen(overlay: Overlay, review: Review) -> None:
    (overlay.sandbox / "src/a.py").write_text("a = 2\n")
    (overlay.sandbox / "run.sh").write_text("echo 2\n")
    review.shown(review.changes(["src"]), ["src"])
    assert len(review.apply(["run.sh"]).done) == 1


def test_content_that_is_shown_is_that_of_the_change(overlay: Overlay, review: Review) -> None:
    (overlay.sandbox / "src/a.py").write_text("a = 2\n")
    (change,) = review.changes()
    assert review.sandbox_content(change, 100) == b"a = 2\n"
    assert review.host_content(change, 100) == b"a = 1\n"
    for content in (review.sandbox_content, review.host_content):
        with pytest.raises(ChangedMeanwhileError):
            content(change, 3)
    (overlay.sandbox / "src/a.py").write_text("a = 3\n")
    (overlay.host / "src/a.py").write_text("a = 4\n")
    for content in (review.sandbox_content, review.host_content):
        with pytest.raises(ChangedMeanwhileError):
            content(change, 100)


def test_a_file_brings_its_new_folders_and_nothing_else(overlay: Overlay, review: Review) -> None:
    (overlay.sandbox / "one/two").mkdir(parents=True)
    (overlay.sandbox / "one/two/file").write_text("x")
    (overlay.sandbox / "one/other").write_text("x")
    review.apply(["one/two/file"])
    assert [str(each.relative_to(overlay.host)) for each in sorted(overlay.host.glob("one/**/*"))] == [
        *("one/two", "one/two/file"),
    ]


# What is never taken over


def test_special_files_and_links_that_lead_outside_are_refused_by_name(overlay: Overlay, review: Review) -> None:
    inside = overlay.sandbox
    os.mkfifo(inside / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(inside / "socket"))
    os.mknod(inside / "device", 0o20666, os.makedev(1, 3))
    (overlay.host / "own").symlink_to("/etc")
    bad = {
        "absolute": "/etc/passwd",
        "up": "../secret",
        "src/up": "../../secret",
        "down-up": "src/../../secret",
        "through": "own/passwd",
        "git": ".git/config",
        "src/git": "../.GIT/config",
    }
    good = {"fine": "src/a.py", "src/fine": "../run.sh", "dangling": "nowhere", "loop": "loop", "src/top": ".."}
    for name, target in (bad | good).items():
        (inside / name).symlink_to(target)
    applied = review.apply()
    assert {each.change.path for each in applied.refused} == {"fifo", "socket", "device", *bad}
    assert {each.path for each in applied.done} == set(good)
    assert all(each.reason for each in applied.refused)
    assert {name: os.readlink(overlay.host / name) for name in good} == good
    assert not any(os.path.lexists(overlay.host / name) for name in ("fifo", "socket", "device", *bad))


def test_set_user_id_never_comes_over(overlay: Overlay, review: Review) -> None:
    (overlay.sandbox / "run.sh").write_text("evil")
    (overlay.sandbox / "run.sh").chmod(0o6755)
    (overlay.sandbox / "new").write_text("x")
    (overlay.sandbox / "new").chmod(0o7777)
    (overlay.sandbox / "dir").mkdir()
    (overlay.sandbox / "dir").chmod(0o3777)
    (overlay.sandbox / "src/a.py").chmod(0o4644)
    assert len(review.apply().done) == 3
    modes = {name: (overlay.host / name).stat().st_mode & 0o7777 for name in ("run.sh", "new", "dir", "src/a.py")}
    assert modes == {"run.sh": 0o755, "new": 0o777, "dir": 0o777, "src/a.py": 0o644}


@pytest.mark.parametrize("name", [".git", ".GIT", "sub/.git", ".g\u200cit", "GIT~1", "sub/.Git"])
def test_what_git_keeps_is_one_line_and_stays(overlay: Overlay, review: Review, name: str) -> None:
    (overlay.sandbox / name / "hooks").mkdir(parents=True)
    (overlay.sandbox / name / "hooks/pre-commit").write_text("evil")
    (overlay.sandbox / name / "config").write_text("[core]\n fsmonitor = evil\n")
    (overlay.sandbox / name / "HEAD").write_text("ref: refs/heads/other\n")
    (change,) = [each for each in review.changes() if each.refusal]
    assert change.path == name
    assert change.refusal == "is git's own, and so it is not taken over: commits or branches, settings, hooks"
    review.apply()
    assert not (overlay.host / name).exists()


def test_a_file_named_git_and_a_removed_repository_stay_as_they_are(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    subprocess.run(["git", "init", "-q", overlay.host], check=True)
    (overlay.host / "sub").mkdir()
    subprocess.run(["git", "init", "-q", overlay.host / "sub/inner"], check=True)
    (overlay.host / "sub/inner/file").write_text("x")
    before = snapshot(overlay.host)
    with overlay.mounted():
        review = Review(overlay.copy)
        subprocess.run(["rm", "-rf", overlay.sandbox / ".git", overlay.sandbox / "sub"], check=True)
        (overlay.sandbox / ".git").write_text("gitdir: /tmp/evil\n")
        found = {each.path: each for each in review.changes()}
        assert found.keys() == {".git", "sub", "sub/inner", "sub/inner/.git", "sub/inner/file"}
        applied = review.apply()
    assert [each.path for each in applied.done] == ["sub/inner/file"]
    before.pop("sub/inner/file")
    assert snapshot(overlay.host) == before


def test_git_that_only_looks_changes_nothing(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "safe.directory=*", "-C"]
    subprocess.run(["git", "init", "-q", overlay.host], check=True)
    (overlay.host / "file").write_text("x")
    subprocess.run([*git, overlay.host, "add", "."], check=True)
    with overlay.mounted():
        review = Review(overlay.copy)
        os.utime(overlay.sandbox / "file", (1, 1))
        subprocess.run([*git, overlay.sandbox, "status"], check=True, capture_output=True)
        assert (overlay.upper / ".git/index").exists()
        assert review.changes() == []
        subprocess.run([*git, overlay.sandbox, "commit", "-qm", "x"], check=True)
        (change,) = review.changes()
        assert "commits or branches" in change.refusal


def test_a_repository_without_files_of_its_own_stays_as_it_is(overlay: Overlay, review: Review) -> None:
    subprocess.run(["git", "init", "-q", "--bare", overlay.sandbox / "bare"], check=True)
    (overlay.sandbox / "bare/config").write_text("[core]\n fsmonitor = evil\n")
    applied = review.apply()
    assert [each.change.path for each in applied.refused] == ["bare"]
    assert not (overlay.host / "bare").exists()


def test_a_bare_repository_itself(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    subprocess.run(["git", "init", "-q", "--bare", overlay.host], check=True)
    before = snapshot(overlay.host)
    with overlay.mounted():
        review = Review(overlay.copy)
        (overlay.sandbox / "hooks/post-update").write_text("evil")
        (overlay.sandbox / "new").write_text("x")
        assert [(each.path, bool(each.refusal)) for each in review.changes()] == [(".", True)]
        review.apply()
    assert snapshot(overlay.host) == before


def test_a_hidden_path_is_neither_read_nor_replaced(overlay: Overlay) -> None:
    (overlay.host / "old/.env").write_text("PASSWORD=secret\n")
    review = Review(overlay.copy, hides=lambda path: path == "old/.env")
    subprocess.run(["rm", "-r", overlay.sandbox / "old"], check=True)
    applied = review.apply()
    assert [each.change.path for each in applied.refused] == ["old"]
    (overlay.sandbox / "old").mkdir()
    (overlay.sandbox / "old/.env").write_text("PASSWORD=\n")
    (change,) = review.changes()
    assert (change.path, change.before) == ("old/.env", None)
    assert review.apply().done == ()
    assert (overlay.host / "old/.env").read_text() == "PASSWORD=secret\n"
    assert RepositoryNotFoundError
