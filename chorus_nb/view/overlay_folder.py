"""The folder on the host that takes what a sandbox writes to its overlay of the repository.

It is this user's alone, in the folder for caches, and lasts as long as its session: a container that dies, or is made
anew, takes nothing with it. Beside it a link says which process it belongs to, so that a later start can remove what a
process left that was killed.

Sources: the kernel's ``Documentation/filesystems/overlayfs.rst``; mount(2), of which the options fit into one page.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from platformdirs import user_cache_path

from ..engines.base import WORKSPACE, Volume
from ..engines.owner import abandoned, claim, unclaim
from ..errors import EngineError, WorkingCopyError
from .overlay_copy import OverlayCopy
from .remove_tree import remove_tree

_MAX_PATH_CHARS = 1000


class _Engine(Protocol):
    def empty_work(self, volume: Volume) -> None: ...


class OverlayFolder:
    """One of them.

    Attributes
    ----------
    path : Path
    copy : OverlayCopy
        What is in it, as the sandbox's view of the repository.
    """

    def __init__(self, path: Path, repository: Path) -> None:
        self.path = path
        self.copy = OverlayCopy(repository, self.upper, time.time_ns())
        # For a process that ends and has not closed its session; where this fails, the next start makes up for it.
        self._at_exit = weakref.finalize(self, _remove_as, os.getpid(), path)

    @classmethod
    def made_for(cls, repository: Path) -> OverlayFolder:
        """Make one over a repository. Raises ``WorkingCopyError`` where there is no room, or no right to."""
        path = views_folder() / secrets.token_hex(8)
        try:
            claim(path)
            path.mkdir(mode=0o700)
            (path / "work").mkdir(mode=0o700)
            # By a link: a path in the options of a mount would have to be escaped.
            (path / "lower").symlink_to(repository)
            _make_root(path / "upper", repository.stat())
        except OSError as error:
            with suppress(OSError):
                _remove(path)
            raise WorkingCopyError(
                f"The folder {str(path)!r}, for what the sandbox writes to its view of the repository, can't be made: "
                f"{error.strerror}.",
                next_step="Free space there, or set XDG_CACHE_HOME to a folder on another disk.",
            ) from error
        return cls(path, repository)

    @property
    def upper(self) -> Path:
        """What the sandbox has written: all that grows."""
        return self.path / "upper"

    @property
    def volume(self) -> Volume:
        """The overlay itself: for one container at a time."""
        return _overlay(self.path, "lower", "upper")

    def refuse_if_moved(self) -> None:
        """Raise ``WorkingCopyError`` where a link has come in the repository's place, to what nobody has looked at."""
        folder = self.copy.folder
        if folder.resolve() != folder:
            raise WorkingCopyError(
                f"{str(folder)!r}, which the sandbox has a view of, is a link by now.",
                next_step="Put the folder back, or start a session with another name.",
            )

    def remove(self, engine: _Engine) -> None:
        """Remove it, once no container has it any more; what can't be removed now is left to the next start."""
        self._at_exit.detach()
        with suppress(OSError, EngineError):
            remove_folder(self.path, engine)


def _overlay(path: Path, lower: str, upper: str) -> Volume:
    # userxattr: marks that this user can read. index=off: the host's files may change below.
    options = f"nosuid,nodev,lowerdir={path}/{lower},upperdir={path}/{upper},workdir={path}/work,userxattr,index=off"
    return Volume(WORKSPACE, driver_options={"type": "overlay", "device": "overlay", "o": options})


def why_unfit(repository: Path) -> str:
    """Return why no overlay of a repository can be made in this user's folder for caches; empty where it can."""
    folder = views_folder()
    if re.search(r"[,:\\\n]", str(folder)) or len(str(folder)) > _MAX_PATH_CHARS:
        return f"the folder {str(folder)!r} has a name that the options of a mount can't hold"
    if folder.resolve().is_relative_to(repository):
        return f"the folder {str(folder)!r} lies in the repository"
    return ""


def views_folder() -> Path:
    """Return where these folders are."""
    return user_cache_path("chorus-nb") / "overlays"


def _make_root(upper: Path, repository: os.stat_result) -> None:
    """Make the upper folder, whose owner and mode are those that the sandbox sees of the repository itself."""
    upper.mkdir(mode=0o700)
    for owner in ((-1, repository.st_gid), (repository.st_uid, -1)):
        with suppress(PermissionError):  # Another's repository: in its own view this user may do more.
            os.chown(upper, *owner)
    upper.chmod(stat.S_IMODE(repository.st_mode))


def _remove(path: Path) -> None:
    remove_tree(path)
    unclaim(path)


def _remove_as(pid: int, path: Path) -> None:
    if os.getpid() == pid:  # A fork owns none of them.
        with suppress(OSError):
            _remove(path)


def remove_folder(path: Path, engine: _Engine) -> None:
    """Remove one that nothing mounts any more. Raises ``OSError``, ``EngineError``."""
    work = path / "work" / "work"  # The kernel's own, and root's: this user can remove it only where it is empty.
    try:
        work.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        if work.lstat().st_uid != os.geteuid():
            _empty_work(path, engine)
    _remove(path)


def _empty_work(path: Path, engine: _Engine) -> None:
    """Have the kernel empty its folder, which it does as it mounts an overlay, of whatever folders."""
    for name in ("no-lower", "no-upper"):
        (path / name).mkdir(mode=0o700, exist_ok=True)
    engine.empty_work(_overlay(path, "no-lower", "no-upper"))


def sweep_overlays(engine: _Engine) -> None:
    """Remove the folders of this user's whose process is provably gone, and their containers with it.

    What can't be removed, as it is another user's or a kernel's that nobody has asked, stays for the next time.
    """
    for path in abandoned(views_folder()):
        with suppress(OSError, EngineError):
            remove_folder(path, engine)
