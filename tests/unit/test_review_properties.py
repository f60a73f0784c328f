"""Whatever a sandbox does to whatever tree: what is applied is what it has, what is discarded is what the host has, and
nothing outside the repository is ever touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chorus_nb.agent import files as agent_files
from chorus_nb.agent.wire import Message
from chorus_nb.changes.review import Review
from chorus_nb.conversation import Request
from chorus_nb.files import SandboxFiles
from tests.overlay_mount import Overlay, snapshot

NAMES = st.sampled_from(["a", "b", "c", "d\n", "é", ".git", "\udcff"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TEXTS = st.sampled_from(["", "one\n", "two\n", "a longer text\n"])
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o000, 0o4755, 0o777])
TARGETS = st.sampled_from(["a", "../a", "../../outside/canary", "/etc/passwd", "b/../../outside", ".", "d\n"])
STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, TEXTS),
    st.tuples(st.just("mkdir"), PATHS, MODES),
    st.tuples(st.just("remove"), PATHS, st.none()),
    st.tuples(st.just("link"), PATHS, TARGETS),
    st.tuples(st.just("chmod"), PATHS, MODES),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("hard link"), PATHS, PATHS),
    st.tuples(st.just("fifo"), PATHS, st.none()),
)
SCRIPTS = st.lists(STEPS, max_size=12)


def run(folder: Path, script: list[tuple[str, str, Any]]) -> None:
    """Do what can be done of it; no link is followed out of the folder."""
    for what, path, more in script:
        target = folder / path
        # Writing to a FIFO would wait for a reader.
        through = what in ("write", "chmod") and (target.is_symlink() or target.is_fifo())
        if through or not is_inside(target.parent, folder):
            continue
        with suppress(OSError):
            _step(folder, what, target, more)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether no link leads out; one that leads round in circles leads nowhere."""
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _step(folder: Path, what: str, target: Path, more: Any) -> None:
    if what in ("write", "mkdir", "link", "fifo"):
        target.parent.mkdir(parents=True, exist_ok=True)
    if what == "write":
        target.write_text(more)
    elif what == "mkdir":
        target.mkdir()
        target.chmod(more)
    elif what == "link":
        target.symlink_to(more)
    elif what == "chmod":
        target.chmod(more)
    elif what == "fifo":
        os.mkfifo(target)
    elif what == "remove":
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    elif is_inside((folder / more).parent, folder):
        move = shutil.move if what == "move" else os.link
        move(str(target), str(folder / more))


@contextmanager
def overlay(script: list[tuple[str, str, Any]]) -> Iterator[Overlay]:
    """A repository that has been made by a script."""
    place = Path(tempfile.mkdtemp(prefix="chorus-nb-"))
    try:
        made = Overlay(place)
        (place / "outside").mkdir()
        (place / "outside/canary").write_text("canary\n")
        run(made.host, script)
        with made.mounted():
            yield made
        assert snapshot(place / "outside") == {"canary": ("file", 0o644, b"canary\n")}
    finally:
        shutil.rmtree(place)


class Sandbox:
    """The agent's own code for files, without a container around it."""

    name = "here"

    def start(self) -> None:
        """It needs none."""

    def request(self, request: Request, _: str) -> Message:
        """Have the agent answer."""
        return agent_files._answer(Message(request.msg_type, dict(request.content), "1", buffers=list(request.buffers)))


def is_gits(path: str) -> bool:
    return ".git" in path.split("/")


def is_in(path: str, paths: set[str]) -> bool:
    """Whether a path is one of them, or lies in one, or one lies in it."""
    return any(path == each or path.startswith(f"{each}/") or each.startswith(f"{path}/") for each in paths)


SLOW = settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@SLOW
@given(SCRIPTS, SCRIPTS)
def test_what_is_applied_is_what_the_sandbox_has(
    before: list[tuple[str, str, Any]], edits: list[tuple[str, str, Any]]
) -> None:
    with overlay(before) as made:
        at_first = snapshot(made.host)
        run(made.sandbox, edits)
        wanted = snapshot(made.sandbox)
        review = Review(made.copy)
        found = review.changes()
        refused = {each.change.path for each in review.apply().refused}
        now = snapshot(made.host)
        own = {path for path, found in at_first.items() if found == ("other",)}
        for path in {*wanted, *now}:
            if is_gits(path) or (path in own and path not in wanted):
                assert now.get(path) == at_first.get(path)
            elif not is_in(path, refused):
                assert now.get(path) == wanted.get(path)
        assert {each.path for each in review.changes()} <= refused
        assert not [path for path in now if ".chorus-nb" in path]
        # What was found is all there is: no path differs that nobody told of.
        told = {path for each in found for path in (each.path, each.source)}
        different = {path for path in {*wanted, *at_first} if wanted.get(path) != at_first.get(path)}
        assert {path for path in different if not is_gits(path)} <= told | own


@SLOW
@example([("write", "c/a", "one\n")], [("move", "c", "b")])
@given(SCRIPTS, SCRIPTS)
def test_what_is_discarded_is_what_the_host_has(
    before: list[tuple[str, str, Any]], edits: list[tuple[str, str, Any]]
) -> None:
    with overlay(before) as made:
        at_first = snapshot(made.host)
        run(made.sandbox, edits)
        review = Review(made.copy)
        with chdir(made.sandbox):
            review.discard((), SandboxFiles(Sandbox()))  # type: ignore[arg-type]
        assert review.changes() == []
        assert snapshot(made.host) == at_first
        inside = snapshot(made.sandbox)
        # The host's FIFOs are not made anew in there.
        there = {path: found for path, found in at_first.items() if found != ("other",)}
        different = {path for path in {*inside, *there} if inside.get(path) != at_first.get(path)}
        assert not {path for path in different if not is_gits(path)}


@SLOW
@given(SCRIPTS, SCRIPTS, PATHS)
def test_what_was_not_asked_for_stays(
    before: list[tuple[str, str, Any]], edits: list[tuple[str, str, Any]], asked: str
) -> None:
    with overlay(before) as made:
        at_first = snapshot(made.host)
        run(made.sandbox, edits)
        review = Review(made.copy)
        changes = [each for each in review.changes() if asked in (each.path, each.source)]
        if not changes:
            return
        with suppress(OSError):
            review.apply([asked])
        # A renamed file is at its old place no more, and new folders come with what is in them.
        own = {asked, *(path for each in changes for path in (each.path, each.source) if path)}
        now = snapshot(made.host)
        different = {path for path, found in at_first.items() if now.get(path) != found}
        assert all(is_in(path, own) for path in different)


def test_a_part_may_be_discarded_alone() -> None:
    with overlay([("write", f"{folder}/{name}", name) for folder in "ab" for name in "ab"]) as made:
        run(made.sandbox, [("remove", "a", None), ("move", "b", "c")])
        review = Review(made.copy)
        with chdir(made.sandbox):
            review.discard(["a/a"], SandboxFiles(Sandbox()))  # type: ignore[arg-type]
            review.discard(["b/a"], SandboxFiles(Sandbox()))  # type: ignore[arg-type]
        assert snapshot(made.sandbox).keys() == {"a", "a/a", "b", "b/a", "c", "c/b"}
