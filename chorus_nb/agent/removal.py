"""Files and trees of the sandbox removed for the host: a part by each request, as nobody is to wait for a large one."""

import contextlib
import os
import stat
from typing import Any, Dict, List, Tuple

from .paths import fd_entry, in_folder, raw
from .trees import failure
from .wire import Message


def remove(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Remove a file or an empty folder, or with ``recursive`` a part of a tree: to be asked again until it is done."""
    asked = message.content
    left = _remove(raw(asked["path"]), asked["recursive"], asked["max_entries"])
    return {"done": left > 0}


def remove_many(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Remove files and trees one after another; the last result may be that of a tree which is not done."""
    left = message.content["max_entries"]
    results: List[Dict[str, Any]] = []
    for path in message.content["paths"]:
        try:
            left = _remove(raw(path), True, left)
            results.append({"done": left > 0})
        except (OSError, ValueError) as error:
            results.append(failure(error))
        if left <= 0:
            break
    return {"results": results}


def _remove(path: bytes, recursive: bool, budget: int) -> int:
    """Return what is left of how many entries may be removed: nothing where something else is, too."""
    with in_folder(path) as (folder, name):
        if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
            os.unlink(name, dir_fd=folder)
        elif not recursive:
            os.rmdir(name, dir_fd=folder)
        else:
            return _remove_some(path, budget)
    return max(1, budget - 1)


def _remove_some(path: bytes, budget: int) -> int:
    """Remove a tree without recursion and without holding folders open."""
    stack: List[bytes] = [path]
    while stack:
        folders, removed = _remove_files(stack[-1], budget)
        budget -= removed
        if budget <= 0:
            return 0
        if folders:
            stack += [stack[-1] + b"/" + each for each in folders]
            continue
        with in_folder(stack.pop()) as (folder, name):
            os.rmdir(name, dir_fd=folder)
    return budget


def _emptied(path: bytes) -> Any:
    """Open a folder that is to be emptied; one whose owner may not do so, which he can change."""
    with in_folder(path) as (folder, name):
        if os.lstat(name, dir_fd=folder).st_mode & 0o700 != 0o700:
            with contextlib.suppress(OSError):
                os.chmod(name, 0o700, dir_fd=folder)
    return fd_entry(path, follow=False)


def _remove_files(path: bytes, budget: int) -> Tuple[List[bytes], int]:
    """Remove what is no folder; return the folders that are left, and how much was removed."""
    folders: List[bytes] = []
    files: List[bytes] = []
    with _emptied(path) as fd:
        with os.scandir(fd) as found:
            for entry in found:
                (folders if entry.is_dir(follow_symlinks=False) else files).append(os.fsencode(entry.name))
                if len(files) >= budget:
                    break
        for each in files:
            os.unlink(each, dir_fd=fd)
    return folders, len(files) + 1
