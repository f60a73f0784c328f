"""What a sandbox says of its files, checked: names, kinds, sizes and times are those of an attacker.

Names are bytes on Linux. Here they are text as ``os.fsdecode`` makes it: bytes that are no UTF-8 stand as lone
surrogates (PEP 383), and each name has one form only, so that two entries are never one file on the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from .errors import AgentProtocolError
from .working_copy import FileKind

MAX_NAME_BYTES = 255
"""``NAME_MAX`` of Linux."""
MAX_TARGET_BYTES = 4095
MAX_PATH_BYTES = 2**16
"""Of a path below the folder that is walked: more than one call takes, as trees that are deep have."""


def to_bytes(text: str) -> bytes:
    """Return the bytes of a path. Raises ``ValueError`` where it is not what :func:`to_text` makes."""
    made = text.encode("utf-8", "surrogateescape")
    if to_text(made) != text:
        raise ValueError("a path in another form than its own")
    return made


def to_text(path: bytes) -> str:
    """Return a path as text."""
    return path.decode("utf-8", "surrogateescape")


def _name(text: str) -> str:
    if "/" in text or "\0" in text or text in ("", ".", "..") or len(to_bytes(text)) > MAX_NAME_BYTES:
        raise ValueError("not the name of an entry")
    return text


def _target(text: str) -> str:
    if "\0" in text or len(to_bytes(text)) > MAX_TARGET_BYTES:
        raise ValueError("not the target of a link")
    return text


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file, folder or link in the sandbox, as lstat(2) has it there. All of it is hostile.

    Attributes
    ----------
    path : str
        Relative to the folder that was listed or walked; as it was asked for by ``stat``. No part of it is ``..``, but
        it may hold line breaks and terminal controls: print its ``repr``.
    kind : str
        ``file``, ``directory``, ``link``, or ``other``: a FIFO, a socket or a device.
    size_bytes : int
    mode : int
        Permission bits, ``0o7777`` at most.
    modified_ns : int
        Nanoseconds since the epoch.
    target : str
        What a link says; empty for all else.
    changed_ns : int
        When anything of it was last changed, in nanoseconds since the epoch: code can't set that (inode(7)).
    """

    path: Annotated[str, AfterValidator(_name)]
    kind: FileKind
    size_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    mode: Annotated[int, Field(ge=0, le=0o7777)]
    modified_ns: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    target: Annotated[str, AfterValidator(_target)] = ""
    changed_ns: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2] or self.path

    @property
    def modified_s(self) -> float:
        """Seconds since the epoch."""
        return self.modified_ns / 1e9

    def at(self, path: str) -> FileEntry:
        """Return the same with another path."""
        return replace(self, path=path)


_ENTRY = TypeAdapter(FileEntry)
_ENTRIES = TypeAdapter(list[FileEntry])


def one_entry(content: object, path: str) -> FileEntry:
    """Return the entry of a reply, with the path that it was asked for. Raises ``AgentProtocolError``."""
    try:
        fields = dict(content) if isinstance(content, dict) else {}
        return _ENTRY.validate_python({**fields, "path": "x"}).at(path)
    except ValidationError:
        raise no_list() from None


def entries_of(content: object, most: int) -> list[FileEntry]:
    """Return the entries of a reply, at most so many. Raises ``AgentProtocolError``."""
    if not isinstance(content, list) or len(content) > most:
        raise no_list()
    try:
        return _ENTRIES.validate_python(content)
    except ValidationError:
        raise no_list() from None


def results_of(content: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """Return the results of a reply, at least one and at most so many. Raises ``AgentProtocolError``."""
    results = content.get("results")
    if not isinstance(results, list) or not 0 < len(results) <= most or not all(isinstance(x, dict) for x in results):
        raise no_list()
    return results


def no_list() -> AgentProtocolError:
    """Return the error for a reply about files that is none."""
    return AgentProtocolError("The sandbox sent a list of files that is none.", next_step="Restart the session.")
