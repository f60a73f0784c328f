"""The process that handles files for the host: a fork of the template, beside the worker.

A process of its own, so that files move while a cell is busy, and a file that never ends holds up nobody else.
Requests: ``file_OPERATION_request``, see ``_HANDLERS``; the answer is always ``file_reply``, with the status ``ok`` or
``error`` (and then ``ename``, ``evalue``, ``errno``). Nothing is kept between requests but a digest that is being
made, so this process may be ended at any time and made again.

Paths are the bytes of Linux, and cross as text with ``surrogateescape`` (:mod:`_chorus_agent.paths`).
"""

import os
import signal
import socket
import stat
from typing import Any, Dict, List, Optional, Tuple

from . import removal, trees
from .paths import describe, in_folder, open_regular, raw, target_of
from .wire import Decoder, Message, encode
from .worker import become_child

_MAX_READ_BYTES = 2**22
_HASH_PIECE_BYTES = 2**18


def run(descriptors: List[int], config: Dict[str, Any], _: Any) -> None:
    """Serve until the supervisor closes the connection."""
    become_child(descriptors, config["working_dir"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptors[0])
    decoder = Decoder()
    while True:
        data = connection.recv(2**18)
        if not data:
            return
        for message, _frame in decoder.feed(data):
            connection.sendall(encode(_answer(message)))


def _answer(message: Message) -> Message:
    handler = _HANDLERS.get(message.msg_type)
    buffers: List[bytes] = []
    try:
        if handler is None:
            raise OSError("unknown request " + message.msg_type)
        content = dict(handler(message, buffers), status="ok")
    except (OSError, ValueError) as error:
        content = dict(trees.failure(error), status="error")
    return Message("file_reply", content, message.msg_id, buffers=buffers)


# Content


def _read(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Read a piece; with ``holes``, where all of it lies in a hole, tell how far that goes in its place."""
    asked = message.content
    fd = open_regular(asked["path"], os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        hole = _hole_at(fd, asked["offset"], size) if asked.get("holes") else 0
        is_hole = hole >= max(1, min(asked["size"], size - asked["offset"]))
        buffers.append(b"" if is_hole else _read_at(fd, asked["offset"], min(asked["size"], _MAX_READ_BYTES)))
        return {"size_bytes": size, "hole_bytes": hole if is_hole else 0}
    finally:
        os.close(fd)


def _hole_at(fd: int, offset: int, size: int) -> int:
    """Return how many bytes from here on were never written (lseek(2), SEEK_DATA); 0 where that can't be told."""
    try:
        return max(0, os.lseek(fd, offset, os.SEEK_DATA) - offset)
    except OSError as error:
        return max(0, size - offset) if error.errno == 6 else 0  # ENXIO: nothing but a hole up to the end.


def _read_at(fd: int, offset: int, size: int) -> bytes:
    """Read ``size`` bytes, or fewer at the end only: files of ``/proc`` come a page at a time."""
    data = b""
    while len(data) < size:
        piece = os.pread(fd, size - len(data), offset + len(data))
        if not piece:
            break
        data += piece
    return data


def _write(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Write a piece of a file that becomes visible, whole, with its last piece: by a rename within its folder.

    ``part`` is the name that it has until then. A link is followed, so that what it leads to is replaced.
    """
    asked = message.content
    with in_folder(target_of(asked["path"])) as (folder, name):
        part = name[: name.rindex(b"/") + 1 if b"/" in name else 0] + raw(asked["part"])
        flags = os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if asked["begins"] else 0)
        fd = os.open(part, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            trees.write_at(fd, memoryview(message.buffers[0]), asked["offset"])
            if asked["last"]:
                mode = _mode_at(name, folder) if asked["mode"] is None else asked["mode"]
                os.ftruncate(fd, asked["size_bytes"])
                trees.finish(fd, dict(asked, mode=mode))
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(fd)
    return {}


def _mode_at(name: bytes, folder: Optional[int]) -> int:
    """Return the permissions of what is replaced, or those of a new file."""
    try:
        return stat.S_IMODE(os.stat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        umask = os.umask(0o077)  # To be read, it has to be set.
        os.umask(umask)
        return 0o666 & ~umask


_MAX_DIGESTS = 16
_digests: Dict[str, Tuple[int, Any]] = {}
"""Those that are being made, in pieces, so that nobody waits for a large file: how far each has come, by its id."""


def _digest(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    """Go on with the SHA-256 of a file; it begins anew, and ``offset`` is less than expected, where none was begun."""
    import hashlib  # Here: nobody's start is to wait for OpenSSL.

    asked = message.content
    offset, made = _digests.pop(asked["id"], (0, hashlib.sha256()))
    fd = open_regular(asked["path"], os.O_RDONLY)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        left = min(asked["size"], asked["end"] - offset)
        while left:
            piece = os.read(fd, min(_HASH_PIECE_BYTES, left))
            if not piece:
                break
            made.update(piece)
            offset, left = offset + len(piece), left - len(piece)
    finally:
        os.close(fd)
    at_end = left > 0 or offset == asked["end"]
    if not at_end:
        _digests[asked["id"]] = (offset, made)
        while len(_digests) > _MAX_DIGESTS:
            del _digests[next(iter(_digests))]
    return {"offset": offset, "at_end": at_end, "sha256": made.hexdigest()}


# What there is


def _stat(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    with in_folder(raw(message.content["path"])) as (folder, name):
        return {"entry": describe(name, folder, message.content["follow"])}


# Changes


def _mkdir(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    asked = message.content
    path = raw(asked["path"])
    if asked["parents"]:
        for end in [at for at in range(1, len(path.rstrip(b"/"))) if path[at : at + 1] == b"/"]:
            _make_folder(path[:end], True)
    _make_folder(path, asked["exist_ok"])
    return {}


def _make_folder(path: bytes, exist_ok: bool) -> None:
    with in_folder(path) as (folder, name):
        try:
            os.mkdir(name, dir_fd=folder)
        except OSError:
            # Not only where it says that it exists: a folder of a file system that is read-only may be there as well.
            if not exist_ok or not _is_folder(name, folder):
                raise


def _is_folder(name: bytes, folder: Optional[int]) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder).st_mode)
    except OSError:
        return False


def _chmod(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    with in_folder(raw(message.content["path"])) as (folder, name):
        os.chmod(name, message.content["mode"], dir_fd=folder)
    return {}


def _rename(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    asked = message.content
    with in_folder(raw(asked["path"])) as (folder, name), in_folder(raw(asked["to"])) as (to_folder, to_name):
        os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
    return {}


def _symlink(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    with in_folder(raw(message.content["path"])) as (folder, name):
        os.symlink(raw(message.content["target"]), name, dir_fd=folder)
    return {}


_HANDLERS = {
    "file_read_request": _read,
    "file_write_request": _write,
    "file_digest_request": _digest,
    "file_stat_request": _stat,
    "file_mkdir_request": _mkdir,
    "file_chmod_request": _chmod,
    "file_rename_request": _rename,
    "file_symlink_request": _symlink,
    "file_remove_request": removal.remove,
    "file_remove_many_request": removal.remove_many,
    "file_scan_request": trees.scan,
    "file_read_many_request": trees.read_many,
    "file_digest_many_request": trees.digest_many,
    "file_write_many_request": trees.write_many,
    "file_make_many_request": trees.make_many,
    "file_chmod_many_request": trees.chmod_many,
}
