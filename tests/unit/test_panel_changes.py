"""The panel's list of changes: what the page gets, and what its buttons can ask for."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from chorus_nb.changes.change import Change
from chorus_nb.changes.review import Applied, Refused, Review
from chorus_nb.errors import ApplyError, ChangedMeanwhileError
from chorus_nb.panel.changes import MAX_LISTED, ChangesPanel
from chorus_nb.working_copy import FileState

HOSTILE = "a\x1b[31m\n\udcff<img src=x onerror=alert(1)>\u202e"


def created(path: str, **more: Any) -> Change:
    return Change("created", path, None, FileState("file", 0o644, 3, 0), **more)


class Sandbox:
    """Stands for the review of one session: its changes, and what was asked for."""

    def __init__(self, *changes: Change) -> None:
        self.found = list(changes)
        self.asked: list[tuple[str, Sequence[str]]] = []
        self.shown_changes: list[Change] = []
        self.gate = threading.Event()
        self.gate.set()

    def changes(self, paths: Sequence[str] = ()) -> list[Change]:
        assert self.gate.wait(60)
        return list(self.found)

    def shown(self, changes: Sequence[Change], paths: Sequence[str] = ()) -> None:
        self.shown_changes = list(changes)

    def sandbox_content(self, change: Change, most_bytes: int) -> bytes:
        if change.path == "gone":
            raise ChangedMeanwhileError("It has changed.", path="gone")
        return b"<b>\x1b[2J\n"

    def apply(self, paths: Sequence[str] = (), *, globs: bool = True) -> Applied:
        assert not globs, "a sandbox chose these names"
        self.asked.append(("apply", list(paths)))
        refused = Refused(self.found[0], "the disk is full")
        if paths == ["fails"]:
            raise ApplyError("One failed.", applied=Applied((), (), (refused,)))
        return Applied(tuple(self._take(paths)), ())

    def discard(self, name: str, paths: Sequence[str]) -> list[Change]:
        self.asked.append(("discard", list(paths)))
        return self._take(paths)

    def _take(self, paths: Sequence[str]) -> list[Change]:
        taken = [change for change in self.found if not paths or change.path in paths]
        self.found = [change for change in self.found if change not in taken]
        return taken


class Page:
    """What a page would show, and its buttons."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.state: dict[str, Any] = {}
        self.states: list[dict[str, Any]] = []
        self._panel = ChangesPanel(lambda name: cast(Review, sandbox), sandbox.discard, self._take)
        self.press, self.follow = self._panel.handle, self._panel.follow

    def _take(self, state: dict[str, Any]) -> None:
        # As the widget sends it: what can't be sent would end the panel.
        self.state = json.loads(json.dumps(state, ensure_ascii=False).encode())
        self.states.append(self.state)

    @property
    def files(self) -> list[dict[str, Any]]:
        files: list[dict[str, Any]] = self.state["one"]["files"]
        return files


def test_it_lists_shows_applies_and_discards_one_by_one() -> None:
    sandbox = Sandbox(created("a"), created("b c"), created("d"))
    page = Page(sandbox)
    page.press("look", "one", None)
    assert [file["name"] for file in page.files] == ["created: a", "created: b c", "created: d"]
    assert sandbox.shown_changes == [], "nobody has seen a content"

    page.press("show", "one", page.files[1]["key"])
    assert page.state["one"]["shown"]["key"] == page.files[1]["key"]
    assert page.state["one"]["shown"]["lines"][1] == ["added", r"+<b>\x1b[2J"]
    assert sandbox.shown_changes == [sandbox.found[1]], "what is applied later has to be this"
    page.press("hide", "one", None)
    assert page.state["one"]["shown"] is None

    page.press("apply", "one", page.files[1]["key"])
    assert page.state["one"]["note"] == "Taken over: created: b c."
    page.press("discard", "one", page.files[0]["key"])
    assert page.state["one"]["note"] == "Thrown away: created: a."
    page.press("apply", "one", None)
    assert page.state["one"]["note"] == "Taken over: created: d. Nothing has changed."
    assert sandbox.asked == [("apply", ["b c"]), ("discard", ["a"]), ("apply", [])]
    page.press("close", "one", None)
    assert page.state == {}


def test_hostile_names_are_data_that_can_be_sent_and_shown() -> None:
    page = Page(Sandbox(created(HOSTILE)))
    page.press("look", "one", None)
    page.press("show", "one", page.files[0]["key"])
    for text in (page.files[0]["name"], page.state["one"]["shown"]["heading"]):
        assert text.isprintable()
        assert r"\x1b[31m\n\udcff<img" in text


@pytest.mark.parametrize("key", [-1, 1, 10**9, "0", "a", True, {}, [0]])
@pytest.mark.parametrize("action", ["apply", "discard", "show"])
def test_only_what_is_listed_can_be_asked_for(action: str, key: object) -> None:
    sandbox = Sandbox(created("a"))
    page = Page(sandbox)
    page.press("look", "one", None)
    page.press(action, "one", key)
    assert sandbox.asked == []
    assert page.state["one"]["note"] == "The list was not up to date: look again."


def test_a_button_of_an_earlier_list_does_nothing() -> None:
    sandbox = Sandbox(created("a"))
    page = Page(sandbox)
    page.press("look", "one", None)
    stale = page.files[0]["key"]
    sandbox.found = [created("b")]
    page.press("look", "one", None)
    page.press("apply", "one", stale)
    assert sandbox.asked == []


@pytest.mark.parametrize("action", ["eval", "", None, ["apply"], "__class__", "apply", "show", "close"])
def test_nothing_happens_where_nothing_is_shown(action: object) -> None:
    sandbox = Sandbox(created("a"))
    page = Page(sandbox)
    page.press(action, "one", None)
    assert sandbox.asked == []
    assert page.states == []


def test_what_goes_wrong_is_said() -> None:
    sandbox = Sandbox(created("fails"), created("gone"), created("later", conflict="was changed here"))
    page = Page(sandbox)
    page.press("look", "one", None)
    assert [file["warning"] for file in page.files] == ["", "", "conflict: it was changed here"]
    page.press("apply", "one", page.files[0]["key"])
    assert page.state["one"]["note"] == "Taken over: nothing. One failed."
    page.press("show", "one", page.files[1]["key"])
    assert page.state["one"]["shown"]["warning"] == "not shown: It has changed."


def test_one_at_a_time_and_the_page_says_what() -> None:
    sandbox = Sandbox(created("a"))
    page = Page(sandbox)
    page.press("look", "one", None)
    sandbox.gate.clear()
    thread = threading.Thread(target=page.press, args=("look", "one", None))
    thread.start()
    while page.state["one"]["pending"] != "look":
        assert thread.is_alive()
    page.press("apply", "one", None)
    sandbox.gate.set()
    thread.join(60)
    assert sandbox.asked == []
    assert page.state["one"]["pending"] == ""


def test_it_looks_again_after_a_cell_and_forgets_what_is_gone() -> None:
    sandbox = Sandbox()
    page = Page(sandbox)
    page.follow({"one": "busy"})
    page.press("look", "one", None)
    assert page.state["one"]["note"] == "Nothing has changed."
    sandbox.found = [created("a")]
    page.follow({"one": "idle"})
    for thread in [each for each in threading.enumerate() if each.name == "chorus-changes"]:
        thread.join(60)
    assert len(page.files) == 1
    page.follow({})
    assert page.state == {}


def test_a_long_list_is_cut_and_all_of_it_is_applied(tmp_path: Path) -> None:
    sandbox = Sandbox(created("d/a"), *(created(f"{n:05}") for n in range(MAX_LISTED + 50)))
    page = Page(sandbox)
    page.press("look", "one", None)
    assert len(page.files) == MAX_LISTED
    assert page.state["one"]["more"] == "… and 51 more changes: %sandbox diff shows them."
    page.press("apply", "one", page.files[-1]["key"] + 1)
    assert sandbox.asked == [], "it is not in the list"
    page.press("apply", "one", None)
    assert page.state["one"]["note"] == f"Taken over: {MAX_LISTED + 51} changes. Nothing has changed."
