"""The process that reads, writes and lists files for the host: a fork of the template, beside the worker.

A process of its own, so that files move while a cell is busy, and a file that never ends holds up nobody else.
Requests: ``file_read_request``, ``file_write_request``, ``file_list_request``; the answer is always ``file_reply``.
"""

import os
import signal
import socket
import stat
from typing import Any, Dict, List

from .wire import Decoder, Message, encode
from .worker import become_child

_MAX_READ_BYTES = 2**22


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
    handler = {
        "file_read_request": _read,
        "file_write_request": _write,
        "file_list_request": _list,
    }.get(message.msg_type)
    buffers: List[bytes] = []
    try:
        if handler is None:
            raise OSError("unknown request " + message.msg_type)
        content = handler(message, buffers)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        content = {"status": "error", "ename": type(error).__name__, "evalue": reason}
    return Message("file_reply", content, message.msg_id, buffers=buffers)


def _open_regular(path: str, flags: int) -> int:
    # O_NONBLOCK: opening a FIFO must not wait for somebody at its other end.
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a regular file")
    return fd


def _read(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    asked = message.content
    fd = _open_regular(asked["path"], os.O_RDONLY)
    try:
        buffers.append(_read_at(fd, asked["offset"], min(asked["size"], _MAX_READ_BYTES)))
        return {"status": "ok", "size_bytes": os.fstat(fd).st_size}
    finally:
        os.close(fd)


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
    asked = message.content
    fd = _open_regular(asked["path"], os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if asked["offset"] == 0 else 0))
    try:
        view, at = memoryview(message.buffers[0]), asked["offset"]
        while view:
            done = os.pwrite(fd, view, at)
            view, at = view[done:], at + done
        return {"status": "ok", "size_bytes": os.fstat(fd).st_size}
    finally:
        os.close(fd)


def _list(message: Message, buffers: List[bytes]) -> Dict[str, Any]:
    entries = []
    with os.scandir(message.content["path"]) as found:
        for entry in found:
            entries.append(_describe(entry))
            if len(entries) > message.content["max_entries"]:
                raise ValueError("more than %d entries" % message.content["max_entries"])
    return {"status": "ok", "entries": sorted(entries, key=lambda entry: str(entry["name"]))}


def _describe(entry: "os.DirEntry[str]") -> Dict[str, Any]:
    status = entry.stat(follow_symlinks=False)
    kinds = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))
    kind = next((name for test, name in kinds if test(status.st_mode)), "other")
    name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return {"name": name, "kind": kind, "size_bytes": status.st_size, "modified_s": status.st_mtime}
