"""Files in a sandbox: read, write and list, in pieces, while a cell may be running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from .agent.file_requests import ENDED
from .agent.wire import Message
from .conversation import Request
from .errors import AgentProtocolError, SandboxFileError
from .sanitize import printable_line, without_surrogates

if TYPE_CHECKING:
    from .session import Session

_PIECE_BYTES = 2**22
_TRIES = 5
"""How often is asked for a piece of a file where its process is ended meanwhile: twice is as good as once."""

_MAX_ENTRIES = 20_000
MAX_NAME_CHARS = 255
"""``NAME_MAX`` of Linux, in bytes there."""


def _entry_name(name: str) -> str:
    if "/" in name or "\0" in name or name in (".", ".."):
        raise ValueError("the name of an entry")
    return without_surrogates(name)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a folder in the sandbox. ``name`` is hostile: never use it as a path on the host unchecked.

    It is the name of one entry, no path; but it may hold line breaks and terminal controls, so print its ``repr``.
    """

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(_entry_name)]
    kind: Literal["file", "directory", "link", "other"]
    size_bytes: Annotated[int, Field(ge=0, le=2**63)]
    modified_s: Annotated[float, Field(allow_inf_nan=False)]
    """Seconds since the epoch, by the sandbox's word."""


_ENTRIES = TypeAdapter(Annotated[list[FileEntry], Field(max_length=_MAX_ENTRIES)])


class SandboxFiles:
    """The files of one sandbox. Paths that are not absolute start at the working directory of its cells."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, path: str, *, max_bytes: int = 2**30) -> bytes:
        """Return the content of a regular file.

        Raises
        ------
        SandboxFileError
            It is missing, unreadable, not a regular file, or larger than ``max_bytes``.
        """
        data = bytearray()
        while True:
            size = min(_PIECE_BYTES, max_bytes + 1 - len(data))
            asked = {"path": path, "offset": len(data), "size": size}
            reply = self._request(Request("file_read_request", asked), path)
            piece = reply.buffers[0] if len(reply.buffers) == 1 else b""
            if len(piece) > size:
                raise AgentProtocolError(
                    "The sandbox sent more of a file than was asked for.", next_step="Restart the session."
                )
            data += piece
            if len(data) > max_bytes:
                raise SandboxFileError(
                    f"{path!r} is larger than {max_bytes} bytes.", path=path, next_step="Raise max_bytes to read it."
                )
            # Less than was asked for is the end: so an agent that is not ours can't have us ask a billion times.
            if len(piece) < size:
                return bytes(data)

    def write(self, path: str, data: bytes) -> None:
        """Write a regular file whole, in place of what was there. Raises ``SandboxFileError``."""
        for offset in range(0, max(1, len(data)), _PIECE_BYTES):
            piece = data[offset : offset + _PIECE_BYTES]
            asked = {"path": path, "offset": offset}
            self._request(Request("file_write_request", asked, (piece,)), path)

    def list(self, path: str = ".") -> list[FileEntry]:
        """Return the entries of a folder, by name. Raises ``SandboxFileError``."""
        asked = {"path": path, "max_entries": _MAX_ENTRIES}
        reply = self._request(Request("file_list_request", asked), path)
        try:
            return _ENTRIES.validate_python(reply.content.get("entries"))
        except ValidationError:
            raise AgentProtocolError(
                "The sandbox sent a list of files that is none.", next_step="Restart the session."
            ) from None

    def _request(self, request: Request, path: str) -> Message:
        self._session.start()
        for _ in range(_TRIES):
            reply = self._session.request(request, "file_reply")
            if reply.content.get("ename") != ENDED:  # By a restart, or a cell that was killed.
                break
        if reply.content.get("status") != "ok":
            reason = printable_line(str(reply.content.get("evalue")))
            ended = reply.content.get("ename") == ENDED
            raise SandboxFileError(
                f"{path!r} in the sandbox {self._session.name!r}: {reason}.",
                path=path,
                next_step="`%sandbox restart` ends what still runs there; then try again."
                if ended
                else "Paths are those of the sandbox: `files.list` shows what is there.",
            )
        return reply
