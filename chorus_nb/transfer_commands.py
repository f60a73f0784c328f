"""``%sandbox put`` and ``%sandbox get``: files and folders into a session and out of it."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .command_words import CommandParser
from .config.units import parse_size_bytes
from .copying import Transfer
from .copying.get import MAX_BYTES
from .engines.base import HOME
from .errors import ConfigurationError
from .files import SandboxFiles
from .manager import DEFAULT_NAME, SessionManager
from .sanitize import printable_line

_SHOWN = 20
_USAGE = {
    "put": "%sandbox put [--session NAME] [--quiet] SRC ... DST",
    "get": "%sandbox get [--session NAME] [--quiet] [--force] [--max-size SIZE] SRC ... DST",
}


class TransferCommands:
    """The words about files that may follow ``%sandbox``.

    Parameters
    ----------
    manager : SessionManager
    """

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self.table: dict[str, Callable[[str], None]] = {"put": self.put, "get": self.get}

    def put(self, text: str) -> None:
        """Copy from the host into a session; the default one is started for it."""
        asked = _parsed("put", text)
        name = asked.session
        session = self._manager.ensure(name, {}) if name == DEFAULT_NAME else self._manager.get(name)
        *sources, dst = asked.paths
        with _told():
            files = SandboxFiles(session)
            done = files.put([_here(path) for path in sources], _inside(dst), progress=not asked.quiet)
        _show(done, f"Copied {done} into the sandbox {name!r}.", asked.quiet)

    def get(self, text: str) -> None:
        """Copy from a session to the host."""
        asked = _parsed("get", text)
        files = SandboxFiles(self._manager.get(asked.session))
        *sources, dst = asked.paths
        with _told():
            done = files.get(
                [_inside(path) for path in sources],
                _here(dst),
                overwrite=asked.force,
                max_bytes=asked.max_size,
                progress=not asked.quiet,
            )
        _show(done, f"Copied {done} out of the sandbox {asked.session!r}.", asked.quiet)

    def completions(self, words: Sequence[str]) -> list[str]:
        """Return what may follow the words after ``%sandbox``: options and sessions."""
        command, *rest = words
        if rest and rest[-1] == "--session":
            return [session.name for session in self._manager.sessions()]
        options = ["--session", "--quiet"] + (["--force", "--max-size"] if command == "get" else [])
        return [option for option in options if option not in rest]


def _parsed(command: str, text: str) -> Namespace:
    parser = CommandParser(_USAGE[command])
    parser.add_argument("-q", "--quiet", action="store_true")
    if command == "get":
        parser.add_argument("-f", "--force", action="store_true")
        parser.add_argument("--max-size", default=MAX_BYTES, type=_size)
    parser.add_argument("paths", nargs="+")
    asked = parser.read(text)
    if len(asked.paths) < 2:
        raise parser.wrong("a source and a destination are needed; `.` is the working directory")
    return asked


def _size(text: str) -> int:
    size = parse_size_bytes(text)
    if not isinstance(size, int) or size < 0:
        raise ConfigurationError(f"--max-size {text} is not allowed.", next_step="Allowed: a size such as 20g.")
    return size


def _here(path: str) -> str:
    """Return a path of the host as a shell would have it; a slash at its end stays, as it says something."""
    return os.path.expanduser(path)  # noqa: PTH111


def _inside(path: str) -> str:
    """Return a path of the sandbox, whose home folder has a name of its own."""
    return HOME + path[1:] if path == "~" or path.startswith("~/") else path


@contextmanager
def _told() -> Iterator[None]:
    """Print what an error has to say besides: what was copied before it, and whether the same goes on from there."""
    try:
        yield
    except BaseException as error:
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        raise


def _show(done: Transfer, summary: str, quiet: bool) -> None:
    """Print the summary, which is the same each time; and what was not copied, whatever was asked for."""
    for note in done.notes:
        print(note)
    if not quiet:
        print(summary)
    if done.skipped:
        print("Not copied:")
    for each in done.skipped[:_SHOWN]:
        print(f"  {printable_line(each.path)!r}: {each.reason}")
    if len(done.skipped) > _SHOWN:
        print(f"  and {len(done.skipped) - _SHOWN} more")
