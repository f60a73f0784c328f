"""Which changes of a sandbox somebody means: files, folders, and globs as in ``.gitignore``."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from ..engines.base import WORKSPACE
from ..errors import NoSuchChangeError
from ..sanitize import printable_line
from .change import Change

_MAX_COMPARED = 5000


Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""One path or several, as people give them from Python."""


def path_list(paths: Paths) -> tuple[str, ...]:
    """Return them as texts; a single one is no sequence of its letters."""
    return (os.fsdecode(paths),) if isinstance(paths, (str, os.PathLike)) else tuple(map(os.fsdecode, paths))


class _Asked(NamedTuple):
    """What one path says: a path from the top of the repository, and perhaps a pattern."""

    path: str
    glob: GitIgnoreSpec | None

    def means(self, path: str) -> bool:
        # A line break is nothing that a pattern could name, and the end of what it sees.
        return _is_in(self.path, path) or (self.glob is not None and self.glob.match_file(path.replace("\n", " ")))


class PathSelection:
    """Some paths of a repository.

    A path that is one of a change, or of a folder around it, is just that, also where it has the characters of a glob.

    Parameters
    ----------
    paths : sequence of str
        From the top of the repository; or absolute, on the host or in the sandbox; or from the working directory, where
        they begin with ``..``. Everything where empty.
    folder : Path
        The repository.
    globs : bool
        Whether a path may be a pattern. Not where it comes from a list of changes, whose names a sandbox chose.
    """

    def __init__(self, paths: Sequence[str], folder: Path, *, globs: bool = True) -> None:
        self._asked = {path: _asked(path, folder) if globs else _Asked(path, None) for path in paths}

    def matches(self, path: str) -> bool:
        """Whether a path is meant."""
        return not self._asked or any(asked.means(path) for asked in self._asked.values())

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
            exact = [at for at, each in enumerate(changes) if any(_is_in(asked.path, path) for path in _names(each))]
            found = exact or [at for at, each in enumerate(changes) if any(asked.means(path) for path in _names(each))]
            if not found:
                raise _no_such_change(said, changes)
            chosen.update(found)
        return [changes[number] for number in sorted(chosen)]


def _names(change: Change) -> tuple[str, ...]:
    return (change.path, change.source) if change.source else (change.path,)


def _is_in(folder: str, path: str) -> bool:
    return folder in ("", ".", path) or path.startswith(folder + "/")


def _from_top(path: str, folder: Path) -> str:
    """Return a path from the top of the repository; of one that leads elsewhere, one that nothing there has."""
    if path == ".." or path.startswith(("../", "~/")):
        with suppress(FileNotFoundError):  # The working directory may be gone.
            path = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (Path resolves no "..")
    if path.startswith("/"):
        plain = posixpath.normpath(path)
        real = posixpath.join(os.path.realpath(posixpath.dirname(plain)), posixpath.basename(plain))
        tops = ((str(folder), plain), (str(folder), real), (WORKSPACE, plain))
        path = next((each[len(top) + 1 :] for top, each in tops if _is_in(top, each)), path.lstrip("/") or path)
    return posixpath.normpath(path or ".")


def _asked(said: str, folder: Path) -> _Asked:
    path = _from_top(said, folder)
    return _Asked(path, _glob(said, path) if re.search(r"[*?\[]", path) else None)


def _glob(said: str, path: str) -> GitIgnoreSpec | None:
    # One that begins with a slash, or leads here from elsewhere, is for the top alone; one that ends so is for folders.
    anchored = f"/{path}" if said.startswith(("/", "./", "../", "~/")) else path
    try:
        return GitIgnoreSpec.from_lines([f"{anchored}/" if said.endswith("/") else anchored])
    except (ValueError, re.error):
        return None


def _no_such_change(path: str, changes: Iterable[Change]) -> NoSuchChangeError:
    known = [name for each in islice(changes, _MAX_COMPARED) for name in _names(each)]
    nearest = difflib.get_close_matches(path, known, 1, 0.3)
    return NoSuchChangeError(
        f"Nothing that the sandbox has changed is at {printable_line(path)!r}, or matches it.",
        path=path,
        next_step=f"The nearest is {nearest[0]!r}." if nearest else "`%sandbox diff` lists what has changed.",
    )
