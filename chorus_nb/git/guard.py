"""What the host's git takes settings and programs from, with ``repo=rw``: whether it is still what it was.

What is there is mounted read-only, but a file that is not there can't be, and a mount is gone where the host puts
another file into its place, as ``git config`` does (mount_namespaces(7), "Restrictions": a rename onto a mount point of
another namespace unmounts it there). Neither can be kept from happening, so it is looked for and said.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_Identity = tuple[int, int] | None
_MOST_NAMED = 5


class GitGuard:
    """Looks after the settings and hooks of one session's repository. Empty where it has none to look after."""

    def __init__(self) -> None:
        self._were: dict[str, _Identity] = {}
        self._told: set[str] = set()

    def begin(self, paths: Iterable[str]) -> None:
        """Take note of what is there as a container is about to start.

        Parameters
        ----------
        paths : iterable of str
            Paths on this machine, of files that may be missing.
        """
        # What an earlier container of the session may have made stays new.
        absent = [path for path, was in self._were.items() if was is None]
        self._were = {path: _identity(path) for path in paths}
        self._were.update(dict.fromkeys(absent))

    def notice(self) -> str:
        """Return what to tell the user now, of each file once; ``""`` for nothing. Takes microseconds."""
        changed = [path for path, was in self._were.items() if path not in self._told and _identity(path) != was]
        self._told.update(changed)
        made = [path for path in changed if self._were[path] is None]
        replaced = [path for path in changed if self._were[path] is not None]
        return (_words_of_made(made) if made else "") + (_words_of_replaced(replaced) if replaced else "")


def _words_of_made(paths: list[str]) -> str:
    return (
        f"[sandbox] WARNING: {_listed(paths)} was not there when this sandbox started. Git on this machine takes "
        "settings from it: even `git status` may then run code of the sandbox, here. If you have not made it yourself, "
        "remove it before you, or your editor, use git there.\n"
    )


def _words_of_replaced(paths: list[str]) -> str:
    return (
        f"[sandbox] WARNING: {_listed(paths)} has been replaced on this machine since this sandbox started, as `git "
        "config` does it. The sandbox may be able to write to it from now on: stop it (`%sandbox stop`), and look at "
        "the file before you use git there.\n"
    )


def _identity(path: str) -> _Identity:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(map(repr, paths[:_MOST_NAMED])) + more
