"""Which folder of the host a sandbox sees as its repository, and as which user its code runs there."""

from __future__ import annotations

import stat
from pathlib import Path

from .config import NOBODY, RepositoryMount
from .errors import ConfigurationError, RepositoryNotFoundError

ROOT = "0:0"

# Refused with all they hold: configuration, secrets, devices and sockets of the host.
_SYSTEM_TREES = (
    "/bin /boot /dev /etc /lib /lib32 /lib64 /proc /run /sbin /sys /usr/bin /usr/lib /usr/sbin /var/lib/docker "
    "/var/run /Library /System /private/etc"
)
# Refused themselves: they hold other people's folders and sockets, but a repository may well lie below.
_SHARED_FOLDERS = (
    "/ /home /media /mnt /opt /root /srv /tmp /usr /usr/local /var /var/lib /var/tmp "
    "/Users /Volumes /private /private/tmp /private/var"
)


def find_repository(start: Path) -> Path:
    """Return the git top level around ``start``: the nearest folder that has ``.git``; else ``start`` itself."""
    start = start.absolute()
    for folder in (start, *start.parents):
        # A file, not a folder, in worktrees and submodules.
        if (folder / ".git").exists():
            return folder
    return start


def resolve_repository(mount: RepositoryMount, start: Path) -> Path | None:
    """Return the folder to mount, with links resolved, or None where none is wanted.

    Parameters
    ----------
    mount : RepositoryMount
        What the user asked for.
    start : Path
        Where to look for a repository when the mount names none: the notebook's folder.

    Raises
    ------
    RepositoryNotFoundError
        Where there is no such folder.
    ConfigurationError
        Where the folder holds more than a repository: a home or system folder.
    """
    if mount.mode == "none":
        return None
    asked = mount.path or find_repository(start)
    folder = asked.resolve()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise RepositoryNotFoundError(
            f"The repository {str(asked)!r} {what}.", next_step="Give repo_path an existing folder, or use repo='none'."
        )
    _refuse_beyond_repository(folder)
    return folder


def _refuse_beyond_repository(folder: Path) -> None:
    home = Path.home().resolve()
    if folder == home:
        _refuse(folder, "it is your home folder, with keys and settings in it")
    if folder in home.parents:
        _refuse(folder, "your home folder lies in it")
    if str(folder) in _SHARED_FOLDERS.split():
        _refuse(folder, "it is a folder of the system")
    for tree in map(Path, _SYSTEM_TREES.split()):
        if folder.is_relative_to(tree) or folder.is_relative_to(tree.resolve()):
            _refuse(folder, f"it belongs to the system's {tree}")


def _refuse(folder: Path, reason: str) -> None:
    raise ConfigurationError(
        f"The folder {str(folder)!r} can't be mounted as the repository: {reason}.",
        next_step="Move the notebook into a folder of its own, give another with repo_path, or use repo='none'.",
    )


def sandbox_user(repository: Path | None, mode: str, uid: int, gid: int, world_readable: bool) -> str:
    """Return ``UID:GID`` for the code in the sandbox: never root where the files allow another user.

    Parameters
    ----------
    repository : Path or None
        The folder that is mounted.
    mode : str
        ``ro``, ``rw`` or ``none``. A root notebook's ``rw`` stays root, so that the files on the host stay root's.
    uid, gid : int
        The notebook's own user, who runs the sandbox unless that is root.
    world_readable : bool
        Whether anybody may read the image's interpreter.
    """
    if uid != 0:
        return f"{uid}:{gid}"
    if mode == "rw" or not world_readable:
        return ROOT
    return NOBODY if repository is None or _anybody_may_read(repository) else ROOT


def _anybody_may_read(folder: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return folder.stat().st_mode & wanted == wanted
