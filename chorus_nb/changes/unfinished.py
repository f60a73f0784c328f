"""Files that an apply has in the repository until it is done with them, and what becomes of those of a killed one.

Each is named by a token of its apply. Before the first of a folder is made, a file in this user's folder for caches
says so, and beside that a link says whose it is, as with the views themselves: so a later apply or start finds what a
process has left that is provably gone, without looking through a repository of any size.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from ..engines.owner import abandoned, claim, unclaim
from ..errors import RepositoryNotFoundError
from ..host_tree import HostTree

_TOKEN = re.compile("[0-9a-f]{16}")
_MAX_NOTE_BYTES = 2**28


class Unfinished:
    """The temporary files of one apply.

    Parameters
    ----------
    host : HostTree
        The repository.
    """

    def __init__(self, host: HostTree) -> None:
        self._host = host
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._noted: set[str] = set()
        self._note: int | None = None

    def name(self, folder: str) -> str:
        """Return a new name for a file in a folder of the repository, which is noted first."""
        if folder not in self._noted:
            self._noted.add(folder)
            # Without a note, as where there is no room for one, a file may stay if this process is killed.
            with suppress(OSError):
                self._write(os.fsencode(folder) + b"\0")
        return f"{_start(self._token)}{next(self._numbers)}.tmp"

    def _write(self, data: bytes) -> None:
        if self._note is None:
            path = _folder() / self._token
            claim(path)
            self._note = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(self._note, b"%d %d\0" % self._host.place + os.fsencode(self._host.path) + b"\0")
        os.write(self._note, data)

    def close(self) -> None:
        """Remove the note: none of the files is there any more."""
        if self._note is not None:
            os.close(self._note)
            self._note = None
        if self._noted:
            _forget(_folder() / self._token)


def sweep_unfinished() -> None:
    """Remove what applies of this user have left in repositories whose process is provably gone.

    Files alone that have the name which such a process gave them, in folders that no link leads to. What can't be
    removed stays.
    """
    for note in abandoned(_folder()):
        with suppress(OSError, ValueError):
            if _TOKEN.fullmatch(note.name):
                _remove_noted(note)
                _forget(note)


def _remove_noted(note: Path) -> None:
    try:
        with note.open("rb") as file:
            place, repository, *folders, _ = file.read(_MAX_NOTE_BYTES).split(b"\0")
        with HostTree(Path(os.fsdecode(repository))) as host:
            # Another folder that has come in its place is nobody's to clean.
            for folder in folders if b"%d %d" % host.place == place else ():
                with suppress(OSError):
                    _remove_in(os.fsdecode(folder), host, re.compile(re.escape(_start(note.name)) + r"\d+\.tmp"))
    except (FileNotFoundError, RepositoryNotFoundError):
        pass  # Nothing was written yet, or there is no such repository any more.


def _remove_in(folder: str, host: HostTree, name: re.Pattern[str]) -> None:
    for each in filter(name.fullmatch, host.names(folder)):
        place = host.folder(folder)
        found = os.lstat(each, dir_fd=place)
        # Root gives a file its owner before its name.
        is_ours = os.geteuid() in (0, found.st_uid)
        if is_ours and (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            os.unlink(each, dir_fd=place)


def _start(token: str) -> str:
    return f".chorus-nb-{token}-"


def _folder() -> Path:
    return user_cache_path("chorus-nb") / "applies"


def _forget(note: Path) -> None:
    with suppress(OSError):
        note.unlink(missing_ok=True)
        unclaim(note)
