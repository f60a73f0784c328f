"""Which changes of a sandbox somebody means: files, folders, and globs as in ``.gitignore``."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from pathspec import GitIgnoreSpec

from ..errors import NoSuchChangeError
from ..sanitize import printable_line
from .change import Change

_MAX_COMPARED = 5000


class PathSelection:
    """Some paths of a repository.

    A path that is one of a change, or of a folder around it, is just that, also where it has the characters of a glob.

    Parameters
    ----------
    paths : sequence of str
        Relative to the repository, or absolute in it; everything where empty.
    folder : Path
        The repository.
    globs : bool
        Whether a path may be a pattern. Not where it comes from a list of changes, whose names a sandbox chose.
    """

    def __init__(self, paths: Sequence[str], folder: Path, *, globs: bool = True) -> None:
        self._asked = {path: _relative(path, folder) for path in paths}
        self._globs = {path: _glob(path) for path in self._asked.values() if globs and re.search(r"[*?\[]", path)}

    def matches(self, path: str) -> bool:
        """Whether a path is meant."""
        return not self._asked or any(self._is_at(asked, path) for asked in self._asked.values())

    def of(self, changes: Sequence[Change]) -> list[Change]:
        """Return those that are meant; a renamed file by either name.

        Raises
        ------
        NoSuchChangeError
            One of the paths means none.
        """
        if not self._asked:
            return list(changes)
        chosen: set[int] = set()
        for said, asked in self._asked.items():
            exact = [number for number, each in enumerate(changes) if any(_is_in(asked, path) for path in _names(each))]
            found = exact or [
                number for number, each in enumerate(changes) if any(self._is_at(asked, path) for path in _names(each))
            ]
            if not found:
                raise _no_such_change(said, changes)
            chosen.update(found)
        return [changes[number] for number in sorted(chosen)]

    def _is_at(self, asked: str, path: str) -> bool:
        glob = self._globs.get(asked)
        # A line break is nothing that a pattern could name, and the end of what it sees.
        return _is_in(asked, path) or (glob is not None and glob.match_file(path.replace("\n", " ")))


def _names(change: Change) -> tuple[str, ...]:
    return (change.path, change.source) if change.source else (change.path,)


def _is_in(folder: str, path: str) -> bool:
    return folder in ("", ".", path) or path.startswith(folder + "/")


def _relative(path: str, folder: Path) -> str:
    if path.startswith("/") and _is_in(str(folder), posixpath.normpath(path)):
        path = posixpath.normpath(path)[len(str(folder)) + 1 :]
    # A glob keeps its slashes: at its start it is anchored there, at its end it is for folders.
    return path if re.search(r"[*?\[]", path) else posixpath.normpath(path or ".")


def _glob(pattern: str) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        return None


def _no_such_change(path: str, changes: Iterable[Change]) -> NoSuchChangeError:
    known = [name for each in islice(changes, _MAX_COMPARED) for name in _names(each)]
    nearest = difflib.get_close_matches(path, known, 1, 0.3)
    return NoSuchChangeError(
        f"Nothing that the sandbox has changed is at {printable_line(path)!r}, or matches it.",
        path=path,
        next_step=f"The nearest is {nearest[0]!r}." if nearest else "`%sandbox diff` lists what has changed.",
    )
