"""Requests about files of a sandbox, and what they are answered with when it says no."""

from __future__ import annotations

import errno
import os
import posixpath
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from .agent.file_requests import ENDED
from .agent.wire import Message
from .conversation import Request
from .errors import AgentProtocolError, SandboxFileError
from .sanitize import printable_line

if TYPE_CHECKING:
    from .session import Session

InSandbox = str | bytes | os.PathLike[str]
"""A path of the sandbox, as a caller may have it."""

PIECE_BYTES = 2**22
"""What one request carries at most."""

AHEAD = 3
"""How many requests are on their way at a time: while one is answered, another one is written down."""

T = TypeVar("T")
NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_LISTS = ("paths", "files", "entries", "modes")
"""What of a request is about several paths."""
_DIGEST_BYTES = 2**26
_MAX_DIGEST_BYTES = 2**40
_TRIES = 5
"""How often is asked for a piece of a file where its process is ended meanwhile: twice is as good as once."""

_NEXT_STEPS = {
    errno.EROFS: "That place is read-only; the sandbox can write to /tmp and to its home folder.",
    errno.EACCES: "The sandbox's user may not do that there; it can write to /tmp and to its home folder.",
    errno.EPERM: "The sandbox's user may not do that there; it can write to /tmp and to its home folder.",
    errno.ENOSPC: "That place is full: remove something there. For /tmp and the home folder raise --tmp; what is "
    "written to the repository is on a disk.",
    errno.EDQUOT: "That place is full: remove something there, or raise --disk.",
    errno.EFBIG: "Files may not be as large there: raise --file-size.",
    errno.ENAMETOOLONG: "A name may have 255 bytes.",
}
_ANY_STEP = "Paths are those of the sandbox: `files.list` shows what is there."
_NO_AGENT = "Files move where the image has a Python; without it, have a script read or write them."


class FileRequests:
    """Asks the process that has the sandbox's files.

    Parameters
    ----------
    session : Session
        Started where it is not running.
    folder : str
        Where paths begin that are not absolute; the working directory of the cells when left out.
    """

    def __init__(self, session: Session, folder: str = "") -> None:
        self.session = session
        self._folder = folder

    def ask(self, operation: str, path: str, content: dict[str, Any], data: bytes | None = None) -> Message:
        """Ask for an operation on ``path``. Raises ``SandboxFileError`` where it is refused."""
        placed = _placed(content, self._folder) if self._folder else content
        request = Request(f"file_{operation}_request", placed, () if data is None else (data,))
        self.session.start()
        for _ in range(_TRIES):
            reply = self.session.request(request, "file_reply")
            if reply.content.get("ename") != ENDED:  # By a restart, or a cell that was killed.
                break
        if reply.content.get("status") != "ok":
            raise refusal(self.session.name, path, reply.content)
        return reply

    def piece(self, path: str, offset: int, size: int) -> bytes:
        """Return what is in a regular file from there on: less than ``size`` bytes at its end alone."""
        reply = self.ask("read", path, {"path": path, "offset": offset, "size": size})
        return only_buffer(reply, size)

    def digest(self, path: str, end: int) -> str:
        """Return the SHA-256 of the first ``end`` bytes of a file, or of all where it has fewer: the sandbox's word."""
        if end > _MAX_DIGEST_BYTES:
            raise refusal(self.session.name, path, "it is too large for a digest")
        content = {"path": path, "id": secrets.token_hex(8), "end": end, "size": _DIGEST_BYTES}
        for _ in range(_TRIES + 2 * (end // _DIGEST_BYTES)):
            reply = self.ask("digest", path, content).content
            if reply.get("at_end") is True and isinstance(reply.get("sha256"), str):
                return str(reply["sha256"])
        raise refusal(self.session.name, path, {"ename": ENDED, "evalue": "its process was ended again and again"})


def _placed(content: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return what is asked for with all of its paths beginning at a folder."""
    paths: dict[str, Any] = {
        name: posixpath.join(folder, content[name]) for name in ("path", "to", "base") if name in content
    }
    lists = {name: [_one_placed(each, folder) for each in content[name]] for name in _LISTS if name in content}
    return {**content, **paths, **lists}


def _one_placed(item: Any, folder: str) -> Any:
    if isinstance(item, str):
        return posixpath.join(folder, item)
    if isinstance(item, dict):
        return {**item, "path": posixpath.join(folder, item["path"])}
    return (posixpath.join(folder, item[0]), *item[1:])


def text_path(path: InSandbox) -> str:
    """Return a path of the sandbox as text; it has slashes, also where those of this system have others."""
    return path.as_posix() if isinstance(path, PurePath) else os.fsdecode(path)


def only_buffer(reply: Message, most: int) -> bytes:
    """Return what a reply carries, or nothing. Raises ``AgentProtocolError`` where that is more than was asked for."""
    piece = reply.buffers[0] if len(reply.buffers) == 1 else b""
    if len(piece) > most:
        raise AgentProtocolError(
            "The sandbox sent more of a file than was asked for.", next_step="Restart the session."
        )
    return piece


def refusal(name: str, path: str, why: dict[str, Any] | str) -> SandboxFileError:
    """Return the error for what the sandbox refuses; its words are printable, and its ``errno`` a number."""
    told = {"evalue": why} if isinstance(why, str) else why
    number = told.get("errno")
    number = number if isinstance(number, int) and number in errno.errorcode else None
    step = _NEXT_STEPS.get(number or 0, _ANY_STEP)
    if told.get("ename") == ENDED:
        step = "`%sandbox restart` ends what still runs there; then try again."
    elif told.get("ename") == "NotSupported":
        step = _NO_AGENT
    reason = printable_line(str(told.get("evalue")))
    return SandboxFileError(f"{path!r} in the sandbox {name!r}: {reason}.", path=path, next_step=step, errno=number)


@contextmanager
def ahead(calls: Iterable[Callable[[], T]]) -> Iterator[Iterator[T]]:
    """Make calls on threads, a few at a time; yield what they return, in their order. None is under way afterwards."""
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="chorus-copy")
    try:
        yield _in_turn(pool, calls)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_turn(pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    waiting: deque[Future[T]] = deque()
    for call in calls:
        waiting.append(pool.submit(call))
        if len(waiting) == AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
