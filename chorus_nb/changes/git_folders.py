"""What git keeps for itself: settings and hooks in there run programs, so nothing of it is taken over to the host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from ..host_tree import parents, split

# Names that are ".git" to some file system: in other case, with characters that macOS leaves out, by NTFS's short name.
_LEFT_OUT = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_NAMES = frozenset({".git", "git~1"})

BARE = ("HEAD", "objects", "refs")
"""What makes git take a folder of any name for a repository (gitrepository-layout(5))."""

_OF_ANOTHER = r"(?:(?:modules|worktrees)/.+/)?"
"""What a git directory has of submodules and of linked worktrees."""

_WHAT: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("commits or branches", re.compile(_OF_ANOTHER + r"(?:HEAD$|packed-refs$|refs/|MERGE_HEAD$)")),
    ("staged files", re.compile(_OF_ANOTHER + "index$")),
    ("settings", re.compile(r"config|info/|modules/.*/config|worktrees/.*/config")),
    ("hooks", re.compile(r"hooks/")),
)


@lru_cache(4096)
def is_git_name(name: str) -> bool:
    """Whether a file of that name is git's own, on whatever file system."""
    return _LEFT_OUT.sub("", name).rstrip(". ").lower() in _NAMES


def git_folder(path: str) -> str:
    """Return the start of a path that is a ``.git``; empty where it has none."""
    parts = path.split("/")
    for number, part in enumerate(parts, start=1):
        if is_git_name(part):
            return "/".join(parts[:number])
    return ""


class GitFolders:
    """Knows of each path whether it is git's own: in a ``.git``, or in a repository without files of its own.

    Parameters
    ----------
    is_there : callable
        Whether the sandbox or the host has something at a path.
    """

    def __init__(self, is_there: Callable[[str], bool]) -> None:
        self._is_there = is_there
        self._around: dict[str, str | None] = {}

    def around(self, path: str) -> str | None:
        """Return the outermost folder of git's that a path is or lies in, empty for the top; None for none."""
        folder, name = split(path)
        unknown = [each for each in (*parents(path), "") if each not in self._around]
        for each in reversed(unknown):
            outer = self._around[split(each)[0]] if each else None
            self._around[each] = outer if outer is not None else self._own(each)
        outer = self._around[folder]
        return outer if outer is not None else path if is_git_name(name) else None

    def _own(self, folder: str) -> str | None:
        start = f"{folder}/" if folder else ""
        is_bare = all(self._is_there(start + name) for name in BARE)
        return folder if is_bare or is_git_name(split(folder)[1]) else None


def what_changed(inside: Iterable[str]) -> list[str]:
    """Say in words what of a ``.git`` has changed; nothing where git has only looked.

    Parameters
    ----------
    inside : iterable of str
        What is not as on the host, relative to the folder; empty for itself.
    """
    paths = set(inside)
    words = [word for word, pattern in _WHAT if any(pattern.match(path) for path in paths)]
    # `git status` writes what it has looked up to the index.
    if words == ["staged files"] and not any(re.match(_OF_ANOTHER + "objects/", path) for path in paths):
        return []
    return words or (["git's own files"] if "" in paths else [])
