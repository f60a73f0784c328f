"""Many files of the sandbox by one request: ten thousand small ones would wait for as many answers.

An answer has a result for each path, in their order: what went wrong with one keeps none of the others. It may have
fewer results than was asked for: the host then asks for the rest.
"""

import heapq
import os
import stat
from typing import Any, Callable, Dict, List, Tuple

from .paths import describe, fd_entry, in_folder, raw
from .wire import Message

_MAX_LISTED_BYTES = 2**21
_MAX_READ_BYTES = 2**22
_MAX_DIGESTED_BYTES = 2**26
_PIECE_BYTES = 2**18


def failure(error: Exception) -> Dict[str, Any]:
    """Return what the host is told of an error."""
    number = error.errno if isinstance(error, OSError) else None
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return {"ename": type(error).__name__, "evalue": reason, "errno": number}


def below(base: bytes, path: str) -> bytes:
    """Return a path below another."""
    return base + b"/" + raw(path) if path else base


# Listing


def scan(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """List folders, each after the name that is known of it already; no link is followed below the base."""
    base, left, results = raw(message.content["base"]), _Budget(message.content["max_entries"]), []
    for path, after in message.content["folders"]:
        try:
            entries, more = _list(below(base, path), raw(after), left, follow=not path)
            results.append({"entries": entries, "more": more})
        except (OSError, ValueError) as error:
            results.append(failure(error))
        if left.spent():
            break
    return {"results": results}


class _Budget:
    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.bytes = _MAX_LISTED_BYTES

    def spent(self) -> bool:
        return self.entries <= 0 or self.bytes <= 0

    def take(self, entry: Dict[str, Any]) -> None:
        self.entries -= 1
        self.bytes -= 6 * (len(entry["path"]) + len(entry["target"])) + 100


def _list(path: bytes, after: bytes, left: _Budget, follow: bool) -> Tuple[List[Dict[str, Any]], bool]:
    with fd_entry(path, follow) as fd:
        names = [raw_name for raw_name in map(os.fsencode, os.listdir(fd)) if raw_name > after]
        some = heapq.nsmallest(left.entries + 1, names) if len(names) > 4 * left.entries else sorted(names)
        entries: List[Dict[str, Any]] = []
        for count, name in enumerate(some):
            if left.spent():
                return entries, count < len(some)
            try:
                entries.append(describe(name, fd))
            except FileNotFoundError:
                continue  # Gone since.
            left.take(entries[-1])
    return entries, len(names) > len(some)


# Reading and writing


def read_many(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Read small files whole, one after another in one buffer; a file is read up to the size that the host knows."""
    left, results = _MAX_READ_BYTES, []
    pieces: List[bytes] = []
    for path, size, follow in message.content["files"]:
        if size > left:
            break
        try:
            pieces.append(_read_small(raw(path), size, follow))
            results.append({"size_bytes": len(pieces[-1])})
            left -= len(pieces[-1])
        except (OSError, ValueError) as error:
            results.append(failure(error))
    buffers.append(b"".join(pieces))
    return {"results": results}


def _open_small(path: bytes, follow: bool) -> int:
    with in_folder(path) as (folder, name):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        fd = os.open(name, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a regular file any more")
    return fd


def _read_small(path: bytes, size: int, follow: bool) -> bytes:
    fd = _open_small(path, follow)
    try:
        data = os.read(fd, size)
        # Files of /proc come a page at a time.
        while data and len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
        return data
    finally:
        os.close(fd)


def digest_many(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Return the SHA-256 of files, of each up to the size that the host knows; no link is followed."""
    import hashlib  # Here: nobody's start is to wait for OpenSSL.

    left, results = _MAX_DIGESTED_BYTES, []
    for path, size in message.content["files"]:
        if left <= 0:
            break
        left -= size
        try:
            made = hashlib.sha256()
            _read_pieces(raw(path), size, made.update)
            results.append({"sha256": made.hexdigest()})
        except (OSError, ValueError) as error:
            results.append(failure(error))
    return {"results": results}


def _read_pieces(path: bytes, size: int, take: Callable[[bytes], None]) -> None:
    fd = _open_small(path, follow=False)
    try:
        while size and (piece := os.read(fd, min(size, _PIECE_BYTES))):
            take(piece)
            size -= len(piece)
    finally:
        os.close(fd)


def write_at(fd: int, view: memoryview, offset: int) -> None:
    """Write all of it."""
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def finish(fd: int, asked: Dict[str, Any]) -> None:
    """Give a file that is written its permissions and time."""
    os.fchmod(fd, asked["mode"])
    if asked["modified_ns"] is not None:
        os.utime(fd, ns=(asked["modified_ns"], asked["modified_ns"]))


def write_many(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Write small files, each whole or not at all: to the name ``part`` in its folder first."""
    part, at = raw(message.content["part"]), 0
    results: List[Dict[str, Any]] = []
    data = memoryview(message.buffers[0])
    for asked in message.content["files"]:
        content, at = data[at : at + asked["size_bytes"]], at + asked["size_bytes"]
        try:
            _write_small(raw(asked["path"]), part, content, asked)
            results.append({})
        except (OSError, ValueError) as error:
            results.append(failure(error))
    return {"results": results}


def _write_small(path: bytes, part: bytes, content: memoryview, asked: Dict[str, Any]) -> None:
    head, slash, tail = path.rpartition(b"/")
    with in_folder(head + slash + part) as (folder, name):
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            write_at(fd, content, 0)
            finish(fd, asked)
            os.rename(name, name[: -len(part)] + tail, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(fd)


# Folders and links


def make_many(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Make folders and links, or with ``settle`` give folders their permissions and times, once they are full."""
    results: List[Dict[str, Any]] = []
    for asked in message.content["entries"]:
        try:
            with in_folder(raw(asked["path"])) as (folder, name):
                made = (_settle if message.content["settle"] else _make)(name, folder, asked)
            results.append({"made": made})
        except (OSError, ValueError) as error:
            results.append(failure(error))
    return {"results": results}


def _make(name: bytes, folder: Any, asked: Dict[str, Any]) -> bool:
    if asked["kind"] == "link":
        _replace_link(name, folder, raw(asked["target"]))
        return True
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder).st_mode):
            raise
        return False
    return True


def _replace_link(name: bytes, folder: Any, target: bytes) -> None:
    try:
        os.symlink(target, name, dir_fd=folder)
    except FileExistsError:
        if not stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        os.unlink(name, dir_fd=folder)
        os.symlink(target, name, dir_fd=folder)


def _settle(name: bytes, folder: Any, asked: Dict[str, Any]) -> bool:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fchmod(fd, asked["mode"])
        os.utime(fd, ns=(asked["modified_ns"], asked["modified_ns"]))
    finally:
        os.close(fd)
    return True


def chmod_many(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Set the permissions of files and folders."""
    results: List[Dict[str, Any]] = []
    for asked in message.content["modes"]:
        try:
            with in_folder(raw(asked["path"])) as (folder, name):
                os.chmod(name, asked["mode"], dir_fd=folder)
            results.append({})
        except (OSError, ValueError) as error:
            results.append(failure(error))
    return {"results": results}
