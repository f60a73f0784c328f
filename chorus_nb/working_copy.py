"""What a sandbox has of the repository where it writes to a view of its own, and the contract of such a view.

Whatever comes from there is hostile: names, links, sizes and times. Paths are relative to the repository, with ``/``,
as ``os.fsdecode`` has them: bytes that are no UTF-8 stand as surrogates, and line breaks and terminal controls are
there as they are, so whoever shows one escapes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

NEVER_SEEN_NS = 0
FileKind = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True)
class FileState:
    """What is at a path, as lstat(2) has it.

    Attributes
    ----------
    kind : str
        ``other`` is a FIFO, a socket or a device.
    mode : int
        Permission bits, ``0o7777`` at most.
    size_bytes : int
    modified_ns : int
        Nanoseconds since the epoch.
    target : str
        What a link says; empty for all else.
    """

    kind: FileKind
    mode: int
    size_bytes: int
    modified_ns: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A path that may differ from the host's: the sandbox has touched it.

    Attributes
    ----------
    path : str
    state : FileState or None
        What the sandbox has there; None where it has removed it.
    base_ns : int
        When the sandbox took its copy from the host, or removed it, by the host's clock in nanoseconds since the
        epoch: the host's file has changed meanwhile where its ``st_ctime_ns`` is later. :data:`NEVER_SEEN_NS` where
        what the host has there was never let in.
    whole : bool
        Of a directory: nothing that the host has below this path is seen in the sandbox but what is listed too.
    copied : bool
        Whether it is known that the sandbox was given a file or a link of the host's at this path: where the host has
        none now, it was removed there meanwhile.
    """

    path: str
    state: FileState | None
    base_ns: int
    whole: bool = False
    copied: bool = False


class WorkingCopy(ABC):
    """The view that one sandbox has of the repository, and may write to."""

    folder: Path
    """The repository on the host, with links resolved."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Yield what the sandbox has touched, parents before what is in them.

        More than has changed may come: a file that was only opened for writing, the folders above a change.

        Raises
        ------
        ChorusError
            It can't be read.
        """

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open the sandbox's content of a regular file. No link on the way is followed. Raises ``ChorusError``."""

    def bring(self, files: Sequence[tuple[str, int]]) -> None:
        """Be told which regular files are opened next, each with its size, where it costs less to have many at once.

        Raises
        ------
        ChorusError
            That failed; whoever opens one is told why.
        """
        return

    def digest(self, path: str) -> str:
        """Return the digest of a regular file as ``sha256:`` and hexadecimal, where the last look has brought it along.

        Empty where that takes reading it. It is the sandbox's word: whoever takes the content makes his own.
        """
        return ""

    def origin(self, path: str) -> bytes:
        """Return what tells the file of the host that the sandbox's began as, be it renamed since.

        Its inode number is somewhere in there, as the host's machine has it in memory. Empty where nothing is known.
        """
        return b""
