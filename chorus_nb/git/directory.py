"""Where a repository keeps what git knows of it: the folder ``.git``, or the one that a file ``.git`` names.

Such a file comes with the repository, so it may be hostile: it must get no folder into the sandbox but its own git
directory. :func:`git_directory` believes it only where that directory says the same: a linked worktree's names the
worktree in its file ``gitdir``, a submodule's in ``core.worktree`` (gitrepository-layout(5)). Nothing but the file
itself knows of a directory that was made with ``--separate-git-dir``; of those, see :func:`_is_separate`.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import PolicyRefusedError
from ..refusals import refuse_folder
from .config_file import GitConfigError, Setting, parse_config, value_of

_MAX_FILE_BYTES = 2**20
_HEAD = re.compile(r"ref: refs/\S+|[0-9a-f]{40}|[0-9a-f]{64}")


class NoGitDirectoryError(Exception):
    """A ``.git`` that can't be used; the text says why, as the second half of a sentence."""


@dataclass(frozen=True, slots=True)
class GitDirectory:
    """The git directory of a worktree, with links resolved.

    Attributes
    ----------
    worktree : Path
    path : Path
        Where HEAD and the index are.
    common : Path
        Where objects, branches and the configuration are: the same, but for a linked worktree (git-worktree(1)).
    """

    worktree: Path
    path: Path
    common: Path


def read_text(path: Path) -> str | None:
    """Return a small file's text, or None where there is none: a link, a folder, a pipe, or too much."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return None if len(data) > _MAX_FILE_BYTES else os.fsdecode(data)


def read_config(folder: Path) -> list[Setting]:
    """Return the settings of a git directory, those of its worktree last; none where they can't be read."""
    settings: list[Setting] = []
    for name in ("config", "config.worktree"):
        try:
            settings += parse_config(read_text(folder / name) or "")
        except GitConfigError:
            return []
    return settings


def is_git_directory(folder: Path) -> bool:
    """Whether a folder is what git takes for a git directory: it has HEAD, objects and refs."""
    if not (_is_folder(folder / "objects") and _is_folder(folder / "refs")):
        return False
    head = folder / "HEAD"
    if head.is_symlink():
        return str(head.readlink()).startswith("refs/")
    return bool(_HEAD.match(read_text(head) or ""))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def git_directory(worktree: Path, inside: Path) -> GitDirectory | None:
    """Return the git directory of a folder, or None where that is no worktree.

    Parameters
    ----------
    worktree : Path
        The folder, with links resolved.
    inside : Path
        What is mounted in any case: a git directory in there is believed, as nothing more is mounted for it.

    Raises
    ------
    NoGitDirectoryError
        Its ``.git`` names a folder that is not its own, or none.
    """
    place = worktree / ".git"
    if place.is_symlink():
        raise NoGitDirectoryError("is a link, which leads nowhere in the sandbox")
    if _is_folder(place):
        return GitDirectory(worktree, place, place) if is_git_directory(place) else None
    text = read_text(place)
    if text is None:
        return None
    if not text.startswith("gitdir: "):
        raise NoGitDirectoryError("is no file of git's")
    folder = Path(os.path.realpath(worktree / text.removeprefix("gitdir: ").rstrip("\r\n")))
    found = _linked(worktree, folder) or GitDirectory(worktree, folder, folder)
    if not is_git_directory(found.common):
        raise NoGitDirectoryError("names a folder that is no git directory")
    if not found.common.is_relative_to(inside):
        _refuse_others(found)
    return found


def _linked(worktree: Path, folder: Path) -> GitDirectory | None:
    """Return the git directory of a linked worktree, or None where it is of another kind."""
    text = read_text(folder / "commondir")
    if text is None:
        return None
    common = Path(os.path.realpath(folder / text.rstrip("\r\n")))
    back = (read_text(folder / "gitdir") or "").rstrip("\r\n")
    # The folder lies where only that repository can have put it, so a forged one names nobody else's.
    if folder.parent != common / "worktrees" or not _leads_to(folder / back, worktree / ".git"):
        raise NoGitDirectoryError("names the git directory of another worktree (`git worktree repair` may help)")
    return GitDirectory(worktree, folder, common)


def _leads_to(path: Path, place: Path) -> bool:
    return Path(os.path.realpath(path.parent)) / path.name == place


def _refuse_others(found: GitDirectory) -> None:
    """Refuse a git directory outside of what is mounted that is not this worktree's."""
    try:
        refuse_folder(found.common)
    except PolicyRefusedError as refusal:
        raise NoGitDirectoryError(f"names a folder that is refused by the rule {refusal.rule!r}") from None
    if found.common != found.path:
        return
    back = value_of(read_config(found.path), "core.worktree")
    own = Path(os.path.realpath(found.path / back)) == found.worktree if back else _is_separate(found)
    if not own:
        raise NoGitDirectoryError("names the git directory of another repository")


def _is_separate(found: GitDirectory) -> bool:
    """Whether a directory may have been made with ``--separate-git-dir``: it is nobody else's, as far as can be seen.

    That is, no bare repository, not the ``.git`` or the submodule of another one, and the file's owner owns it. What
    remains is another such directory of the same owner, whose path the repository would have to know.
    """
    settings = read_config(found.path)
    named_as_others = ".git" in found.path.parts
    owners = {(found.worktree / ".git").lstat().st_uid, found.path.stat().st_uid}
    return value_of(settings, "core.bare") == "false" and not named_as_others and len(owners) == 1
