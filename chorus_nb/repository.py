"""Which folder of the host a sandbox sees as its repository, and as which user its code runs there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from .config import NOBODY, RepositoryMount
from .engines.base import EngineHost
from .errors import RepositoryNotFoundError
from .refusals import refuse_engine_sockets, refuse_folder

ROOT = "0:0"


def working_folder() -> Path:
    """Return the notebook's folder. Raises ``RepositoryNotFoundError`` where that was removed meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise RepositoryNotFoundError(
            "The folder that this notebook works in was removed.",
            next_step="Go to one that is there, as by `%cd ~`, or restart the kernel.",
        ) from None


def find_repository(start: Path) -> Path:
    """Return the git top level around ``start``: the nearest folder that has ``.git``; else ``start`` itself."""
    start = start.absolute()
    for folder in (start, *start.parents):
        # A file, not a folder, in worktrees and submodules.
        if (folder / ".git").exists():
            return folder
    return start


def resolve_repository(mount: RepositoryMount, start: Path, host: EngineHost | None = None) -> Path | None:
    """Return the folder to mount, with links resolved, or None where none is wanted.

    Parameters
    ----------
    mount : RepositoryMount
        What the user asked for.
    start : Path
        Where to look for a repository when the mount names none: the notebook's folder.
    host : EngineHost, optional
        Whose engine is to mount it.

    Raises
    ------
    RepositoryNotFoundError
        Where there is no such folder.
    PolicyRefusedError
        Where the folder holds more than a repository: a home or system folder, the socket of an engine.
    """
    if mount.mode == "none":
        return None
    asked = mount.path or find_repository(start)
    folder = asked.resolve()
    refuse_engine_sockets([folder], host or EngineHost())  # Before anything else is said of it: it is no folder either.
    if what := _why_no_folder(folder):
        raise RepositoryNotFoundError(
            f"The repository {str(asked)!r} {what}.", next_step="Give repo_path an existing folder, or use repo='none'."
        )
    refuse_folder(folder)
    return folder


def _why_no_folder(path: Path) -> str:
    try:
        return "" if stat.S_ISDIR(path.stat().st_mode) else "is not a folder"
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"can't be looked at: {error.strerror}"


def sandbox_user(
    repository: Path | None, mode: str, uid: int, gid: int, world_readable: bool, rootless: bool = False
) -> str:
    """Return ``UID:GID`` for the code in the sandbox: never root where the files allow another user.

    Parameters
    ----------
    repository : Path or None
        The folder that is mounted.
    mode : str
        ``ro``, ``rw``, ``overlay`` or ``none``. A root notebook's ``rw`` stays root, so that the files on the host stay
        root's; its ``overlay`` is for the repository's owner, who alone may write to the files that it shows.
    uid, gid : int
        The notebook's own user, who runs the sandbox unless that is root.
    world_readable : bool
        Whether anybody may read the image's interpreter.
    rootless : bool
        Whether the engine is: root in its containers is the notebook's user outside, and everybody else nobody.
    """
    if rootless:
        return NOBODY if repository is None and mode != "rw" and world_readable else ROOT
    if uid != 0:
        return f"{uid}:{gid}"
    if mode == "rw" or not world_readable:
        return ROOT
    if mode == "overlay" and repository is not None:
        owner = repository.stat()
        return f"{owner.st_uid}:{owner.st_gid}"
    return NOBODY if repository is None or _anybody_may_read(repository) else ROOT


def groups_needed(sources: Iterable[Path], user: str, uid: int, gid: int, groups: Iterable[int]) -> tuple[int, ...]:
    """Return the groups, besides its own, that the notebook's user has rights by to what is mounted.

    An engine puts a user that is named by numbers into no group but the one that is named with it, so what people share
    by a group would be closed in the sandbox.

    Parameters
    ----------
    sources : iterable of Path
        What is mounted. Of a folder its own group counts, not those of what is in it.
    user : str
        ``UID:GID`` of the code. Of anybody but the notebook's own user no groups are known.
    uid, gid, groups
        The notebook's own user, and the groups that this one is in.
    """
    if user != f"{uid}:{gid}" or uid == 0:
        return ()
    of_use = {found.st_gid for found in map(_found, sources) if found and _group_counts(found)}
    return tuple(sorted(of_use & set(groups) - {gid}))


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # The engine will say what there is to say of it.
        return None


def _group_counts(found: os.stat_result) -> bool:
    """Whether the group may do what others may not."""
    return bool(found.st_mode >> 3 & ~found.st_mode & stat.S_IRWXO)


def _anybody_may_read(folder: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return folder.stat().st_mode & wanted == wanted
