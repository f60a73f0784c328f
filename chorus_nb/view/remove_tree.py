"""Removes a folder that code of a sandbox has filled."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(root: Path) -> None:
    """Remove a folder with all it holds, however deep, whatever its permissions; no link in it is followed.

    Folders in folders are first moved to the top, so that neither descriptors nor the stack grow with the depth.

    Raises
    ------
    OSError
        Something of it belongs to another user, or is in use. A folder that is gone is fine.
    """
    try:
        top = os.open(root, os.O_RDONLY | _FOLDER)
    except FileNotFoundError:
        return
    try:
        while names := _names(top):
            for name in names:
                if not _remove(name, top):
                    _empty(name, top)
                    os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    root.rmdir()


def _empty(name: str, top: int) -> None:
    """Remove what is in a folder; move the folders in it that are not empty to the top."""
    folder = _opened(name, top)
    try:
        for inner in _names(folder):
            if not _remove(inner, folder):
                os.close(_opened(inner, folder))  # For the permission to move it, which is that of writing to it.
                os.rename(inner, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as found:
        return [each.name for each in found]


def _remove(name: str, folder: int) -> bool:
    """Remove an entry; False for a folder that is not empty."""
    try:
        os.unlink(name, dir_fd=folder)
        return True
    except IsADirectoryError:
        pass
    try:
        os.rmdir(name, dir_fd=folder)
        return True
    except OSError as error:
        if not _has_entries(error):
            raise
    return False


def _has_entries(error: OSError) -> bool:
    return error.errno in (errno.ENOTEMPTY, errno.EEXIST)


def _opened(name: str, folder: int) -> int:
    """Open a folder, also one of this user that is closed to him; by a descriptor: its name may soon mean another."""
    place = os.open(name, os.O_PATH | _FOLDER, dir_fd=folder)
    try:
        with suppress(PermissionError):  # It is another's, whose group may let this user in.
            Path(f"/proc/self/fd/{place}").chmod(0o700)
        return os.open(".", os.O_RDONLY | _FOLDER, dir_fd=place)
    finally:
        os.close(place)
