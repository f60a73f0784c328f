"""What sessions have changed of the repository, in the panel: a list, the difference of one file, and what is done.

Names and content are hostile. The page gets them as data, printable, and makes text nodes of them; what it says back is
a number of our own for each change, so that no name ever comes from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chorus_nb.changes.change import Change
from chorus_nb.changes.review import Review
from chorus_nb.difference import Difference, count
from chorus_nb.difference.plain import as_lines, heading, remarks
from chorus_nb.errors import ApplyError
from chorus_nb.panel.format import printable
from chorus_nb.panel.threads import start_thread
from chorus_nb.reports import Differences, line, warning, without_containing

MAX_LISTED = 300
ACTIONS: Final = ("look", "close", "show", "hide", "apply", "discard")

State = dict[str, dict[str, Any]]
ReviewOf = Callable[[str], Review]
Discard = Callable[[str, Sequence[str]], list[Change]]


@dataclass
class _Looked:
    """What the page shows of one session."""

    files: list[Change] = field(default_factory=list)
    problem: str = ""
    done: str = ""
    shown: dict[str, Any] | None = None
    first_key: int = 0
    pending: str = ""


class ChangesPanel:
    """Lists and does; any thread may call it.

    Parameters
    ----------
    review_of : callable
        Returns the review of a session by its name.
    discard : callable
        Brings the host's version of paths back into a session.
    publish : callable
        Gets what the page is to show, by session.
    """

    def __init__(self, review_of: ReviewOf, discard: Discard, publish: Callable[[State], None]) -> None:
        self._review_of = review_of
        self._discard = discard
        self._publish = publish
        self._lock = threading.Lock()
        self._looked: dict[str, _Looked] = {}
        self._states: dict[str, str] = {}
        self._next_key = 0

    def follow(self, states: Mapping[str, str]) -> None:
        """Look again where a cell has ended; forget sessions that are gone."""
        with self._lock:
            ended = [name for name in self._looked if self._states.get(name) == "busy" and states.get(name) == "idle"]
            gone = self._looked.keys() - states.keys()
            for name in gone:
                del self._looked[name]
            self._states = dict(states)
        if gone:
            self._show()
        for name in ended:
            start_thread("chorus-changes", self.handle, "look", name, None)

    def handle(self, action: object, name: str, key: object) -> None:
        """Do what a button asks; what goes wrong is shown in the list."""
        if action not in ACTIONS or not self._begin(str(action), name):
            return
        self._show()
        if action == "look":
            self._look(name, done="")
        elif action == "hide":
            self._update(name, shown=None)
        elif action != "close":
            self._with_changes(str(action), name, key)
        self._end(str(action), name)
        self._show()

    def _begin(self, action: str, name: str) -> bool:
        """Whether it may begin: one at a time for each session, and only in a list that is shown."""
        with self._lock:
            looked = self._looked.get(name) or (_Looked() if action == "look" else None)
            if looked is None or looked.pending:
                return False
            looked.pending = action
            self._looked[name] = looked
        return True

    def _end(self, action: str, name: str) -> None:
        with self._lock:
            if action == "close":
                self._looked.pop(name, None)
            elif name in self._looked:
                self._looked[name].pending = ""

    def _with_changes(self, action: str, name: str, key: object) -> None:
        chosen = self._chosen(name, key)
        if not chosen:
            self._look(name, done="The list was not up to date: look again.")
        elif action == "show":
            self._update(name, shown={"key": key, **self._difference(name, chosen[0])})
        else:
            paths = [] if key is None else [chosen[0].path]
            self._look(name, done=self._do(action, name, paths))

    def _difference(self, name: str, change: Change) -> dict[str, Any]:
        try:
            review = self._review_of(name)
            shown = as_json(Differences(review).of(change))
            review.shown([change], [change.path])
            return shown
        except Exception as error:
            return {"heading": line(change), "remarks": "", "warning": printable(error, 400)}

    def _do(self, action: str, name: str, paths: Sequence[str]) -> str:
        try:
            if action == "discard":
                return f"Thrown away: {_told(self._discard(name, paths))}."
            applied = self._review_of(name).apply(paths, globs=False)
            left = f" Not taken over: {_told([each.change for each in applied.refused])}." if applied.refused else ""
            return f"Taken over: {_told(applied.done)}.{left}"
        except ApplyError as error:
            return f"Taken over: {_told(error.applied.done)}. {printable(error, 400)}"
        except Exception as error:
            return f"{action} failed: {printable(error, 400)}"

    def _look(self, name: str, done: str) -> None:
        try:
            # A list shows names. That a file's content has been seen is noted where its difference is shown.
            looked = _Looked(without_containing(self._review_of(name).changes()), done=done)
        except Exception as error:
            looked = _Looked(problem=printable(error, 400), done=done)
        with self._lock:
            looked.first_key = self._next_key
            self._next_key += len(looked.files)
            if name in self._looked:  # It may be gone meanwhile.
                looked.pending = self._looked[name].pending
                self._looked[name] = looked

    def _chosen(self, name: str, key: object) -> list[Change]:
        """Return the change of a key, every one for None, and none for a key of an earlier list."""
        with self._lock:
            looked = self._looked.get(name)
            if looked is None or key is None:
                return looked.files if looked else []
            at = key - looked.first_key if isinstance(key, int) else -1
            return [looked.files[at]] if 0 <= at < min(len(looked.files), MAX_LISTED) else []

    def _update(self, name: str, shown: dict[str, Any] | None) -> None:
        with self._lock:
            if name in self._looked:
                self._looked[name].shown = shown

    def _show(self) -> None:
        with self._lock:
            state = {name: _as_json(looked) for name, looked in self._looked.items()}
        self._publish(state)


def as_json(difference: Difference) -> dict[str, Any]:
    """Return a difference as the page takes it."""
    return {
        "heading": heading(difference),
        "remarks": remarks(difference),
        "warning": difference.warning,
        "lines": list(as_lines(difference.body.lines)),
        "pictures": [
            None if each is None else {"uri": each.uri, "description": each.description} for each in difference.pictures
        ],
    }


def _as_json(looked: _Looked) -> dict[str, Any]:
    more = len(looked.files) - MAX_LISTED
    nothing = "" if looked.files or looked.problem or looked.pending else "Nothing has changed."
    return {
        "files": [
            {"key": key, "name": line(change), "warning": warning(change)}
            for key, change in enumerate(looked.files[:MAX_LISTED], looked.first_key)
        ],
        "note": " ".join(filter(None, [looked.done, nothing])),
        "more": f"… and {count(more, 'more change')}: %sandbox diff shows them." if more > 0 else "",
        "problem": looked.problem,
        "pending": looked.pending,
        "shown": looked.shown,
    }


def _told(changes: Sequence[Change]) -> str:
    told = without_containing(changes)
    return printable(line(told[0]), 200) if len(told) == 1 else count(len(told), "change") if told else "nothing"
