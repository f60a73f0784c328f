"""Paths in the sandbox as the host names them: any bytes, and longer than the kernel takes at once.

Linux has paths of bytes; JSON has text. Bytes that are no UTF-8 cross as lone surrogates (``surrogateescape``,
PEP 383), whatever the sandbox's locale is. A call takes 4095 bytes (``PATH_MAX``,
limits.h): longer paths are gone down to by folders.
"""

import contextlib
import os
import stat
from typing import Any, Dict, Iterator, Optional, Tuple

_MOST = 3000
_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))


def raw(text: str) -> bytes:
    """Return the bytes of a path."""
    return text.encode("utf-8", "surrogateescape")


def text(path: bytes) -> str:
    """Return a path as it crosses to the host."""
    return path.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def in_folder(path: bytes) -> Iterator[Tuple[Optional[int], bytes]]:
    """Yield a descriptor and what to say below it, short enough for the kernel; None where no descriptor is needed."""
    fd: Optional[int] = None
    try:
        while len(path) > _MOST:
            cut = path.rindex(b"/", 1, _MOST)
            step = os.open(path[:cut], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            if fd is not None:
                os.close(fd)
            fd, path = step, path[cut:].lstrip(b"/") or b"."
        yield fd, path
    finally:
        if fd is not None:
            os.close(fd)


@contextlib.contextmanager
def fd_entry(path: bytes, follow: bool) -> Iterator[int]:
    """Yield a descriptor of a folder."""
    with in_folder(path) as (folder, name):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        fd = os.open(name, flags, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def open_regular(path: str, flags: int) -> int:
    """Open a regular file, and nothing else. Opening a FIFO must not wait for somebody at its other end."""
    with in_folder(raw(path)) as (folder, name):
        fd = os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a regular file")
    return fd


def target_of(path: str) -> bytes:
    """Return the path to write to: links are followed, and what is there has to be a regular file or nothing."""
    found = os.path.realpath(raw(path)) if os.path.islink(raw(path)) else raw(path)
    with in_folder(found) as (folder, name):
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if found.endswith(b"/"):
                raise
            return found
    if not stat.S_ISREG(mode):
        raise OSError("not a regular file")
    return found


def describe(name: bytes, folder: Optional[int], follow: bool = False) -> Dict[str, Any]:
    """Return what lstat(2), or stat(2), says of an entry; its path is the last part of ``name``."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=follow)
    kind = next((kind for test, kind in _KINDS if test(status.st_mode)), "other")
    return {
        "path": text(name.rstrip(b"/").rpartition(b"/")[2] or b"/"),
        "kind": kind,
        "size_bytes": status.st_size,
        "mode": stat.S_IMODE(status.st_mode),
        "modified_ns": status.st_mtime_ns,
        "changed_ns": status.st_ctime_ns,
        "target": text(os.readlink(name, dir_fd=folder)) if kind == "link" else "",
    }
