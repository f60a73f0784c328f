"""``%sandbox diff``, ``apply`` and ``discard``: a sandbox's changes to the repository, seen and decided on."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from IPython.display import publish_display_data

from .changes.change import Change
from .changes.review import Applied, Refused
from .command_words import CommandParser
from .difference import as_html, as_text, count, visible
from .errors import ApplyError, ChorusError, NoSuchChangeError
from .files import SandboxFiles
from .manager import DEFAULT_NAME, SessionManager
from .reports import MAX_LISTED, line, listed, report, review_of, without_containing
from .session import Session

_MAX_COMPLETIONS = 1000


class ReviewCommands:
    """The words about changes that may follow ``%sandbox``.

    Parameters
    ----------
    shell : InteractiveShell
    manager : SessionManager
    """

    def __init__(self, shell: Any, manager: SessionManager) -> None:
        self._shell = shell
        self._manager = manager
        actions = {"diff": self.diff, "apply": self.apply, "discard": self.discard}
        self.table: dict[str, Callable[[str], None]] = {name: self._told(do) for name, do in actions.items()}

    def diff(self, text: str) -> None:
        """Show what has changed."""
        asked = _parsed("diff", text)
        session = self._manager.get(asked.session)
        review = review_of(session)
        changes = review.changes(asked.paths)
        shown = report(review, session.name, changes)
        if getattr(self._shell, "kernel", None) is None:
            print(as_text(shown, colours=sys.stdout.isatty()))
        else:
            publish_display_data({"text/plain": as_text(shown), "text/html": as_html(shown)})
        review.shown(changes, asked.paths)

    def apply(self, text: str) -> None:
        """Take changes over to the host; what can't be is an error that says why, after the others are."""
        asked = _parsed("apply", text)
        review = review_of(self._manager.get(asked.session))
        try:
            print(_applied(review.apply(asked.paths, check=asked.check), asked.check))
        except ApplyError as error:
            print(_applied(error.applied, asked.check))
            raise

    def discard(self, text: str) -> None:
        """Bring the host's files back into the sandbox."""
        asked = _parsed("discard", text)
        gone = discard(self._manager.get(asked.session), asked.paths)
        print("\n".join([_sentence("thrown away", gone), *_indented(gone)]))

    def _told(self, do: Callable[[str], None]) -> Callable[[str], None]:
        """Make it say of a path that is none how a session is named, where the path is a session's name."""

        def run(text: str) -> None:
            try:
                do(text)
            except NoSuchChangeError as error:
                if error.path not in {session.name for session in self._manager.sessions()}:
                    raise
                step = f"To name a session, write --session {error.path}."
                raise NoSuchChangeError(error.message, path=error.path, next_step=step) from None

        return run

    def completions(self, words: Sequence[str]) -> list[str]:
        """Return what may follow the words after ``%sandbox``: options, sessions, and paths that were written to."""
        command, *rest = words
        if rest and rest[-1] == "--session":
            return [session.name for session in self._manager.sessions()]
        options = [option for option in ("--session", *_FLAGS[command]) if option not in rest]
        name = rest[rest.index("--session") + 1] if "--session" in rest[:-1] else DEFAULT_NAME
        return [*options, *(shlex.quote(path) for path in self._touched(name) if path.isprintable())]

    def _touched(self, name: str) -> list[str]:
        try:
            copy = self._manager.get(name).working_copy
            # Not what has changed, which takes reading every file.
            entries = islice(copy.entries(), _MAX_COMPLETIONS) if copy else ()
            return [entry.path for entry in entries if entry.state is None or entry.state.kind != "directory"]
        except ChorusError:
            return []


def discard(session: Session, paths: Sequence[str], *, globs: bool = True) -> list[Change]:
    """Bring the host's version of these paths back into a sandbox; ``globs`` as of :meth:`Review.discard`."""
    return review_of(session).discard(paths, SandboxFiles(session), globs=globs)


_FLAGS: dict[str, tuple[str, ...]] = {"diff": (), "apply": ("--check",), "discard": ()}


def _parsed(command: str, text: str) -> Namespace:
    words = " ".join(["[--session NAME]", *(f"[{flag}]" for flag in _FLAGS[command]), "[PATH ...]"])
    parser = CommandParser(f"%sandbox {command} {words}")
    for flag in _FLAGS[command]:
        parser.add_argument(flag, action="store_true")
    parser.add_argument("paths", nargs="*")
    return parser.read(text)


def _applied(applied: Applied, check: bool) -> str:
    done = _sentence("would be taken over" if check else "taken over", applied.done)
    refused = ["Not taken over:", *_reasons(applied.refused)] if applied.refused else []
    return "\n".join([done, *_indented(applied.done), *refused])


def _sentence(what: str, changes: Sequence[Change]) -> str:
    told = without_containing(changes)
    return f"{count(len(told), 'change')} {what}{':' if told else '.'}" if told else f"Nothing {what}."


def _indented(changes: Sequence[Change]) -> list[str]:
    return [f"  {each}" for each in listed(without_containing(changes))]


def _reasons(refused: Sequence[Refused]) -> list[str]:
    return [f"  {line(each.change)}: it {visible(each.reason)}" for each in refused[:MAX_LISTED]]
