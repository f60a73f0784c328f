"""What a copy has come to, and what goes where: the same rules in both directions."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import NamedTuple

from ..errors import TransferError
from ..sanitize import printable_line
from ..working_copy import FileKind

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

BATCH_BYTES = 2**22
BATCH_FILES = 1000
BATCH_CHARS = 2**19
PERMISSIONS = 0o777
"""What of a mode is kept: never set-user-ID, set-group-ID or sticky."""

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not copied, while the rest was.

    Attributes
    ----------
    path : str
        Its path at its source. It may hold anything: print its ``repr``.
    reason : str
    """

    path: str
    reason: str


@dataclass(slots=True)
class Transfer:
    """What was copied.

    Attributes
    ----------
    files, folders, links : int
        How many, folders that were there already left out.
    size_bytes : int
        Of the files.
    unchanged : int
        Of the files, those that were there already with the same content.
    skipped : list of Skipped
        What was not copied.
    notes : list of str
        What else there is to know, in sentences: such as a file that went on where it was interrupted.
    """

    files: int = 0
    folders: int = 0
    links: int = 0
    size_bytes: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        # Without what depends on what was there before: a notebook that is run again says the same.
        return f"{_count(self.files, 'file')} ({readable_bytes(self.size_bytes)})"

    def skip(self, path: str, reason: str) -> None:
        """Note something that is not copied."""
        self.skipped.append(Skipped(path, printable_line(reason)))


def readable_bytes(size_bytes: float) -> str:
    """Return a size as people read it: ``1 B``, ``1.5 KiB``, ``20 GiB``."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size_bytes < 1024:
            break
        size_bytes, unit = size_bytes / 1024, larger
    return f"{size_bytes:.3g} {unit}" if size_bytes < 1000 else f"{size_bytes:.0f} {unit}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@dataclass(frozen=True, slots=True)
class Item:
    """One file, folder or link on its way: from a path to a path.

    Attributes
    ----------
    named : bool
        Whether it was asked for by its own name, and not as a part of a folder.
    """

    source: str
    to: str
    kind: FileKind
    size_bytes: int
    mode: int
    modified_ns: int
    target: str = ""
    named: bool = False


class Placed(NamedTuple):
    """Where sources go.

    Attributes
    ----------
    base : str
        The folder that all goes below.
    names : tuple of str
        What each source is called there; empty where its content goes into the folder itself.
    make : bool
        Whether the folder is made where it is not there.
    """

    base: str
    names: tuple[str, ...]
    make: bool


def placed(sources: Sequence[str], dst: str, *, is_folder: bool, many: bool) -> Placed:
    """Return where sources go, as ``cp -r`` has it; but a folder whose name ends in ``/`` is made.

    Parameters
    ----------
    sources : sequence of str
    dst : str
    is_folder : bool
        Whether ``dst`` is a folder that is there.
    many : bool
        Whether more than one source may be meant, as by a pattern.
    """
    names = tuple(own_name(source) for source in sources)
    if is_folder or dst.endswith("/"):
        _refuse_twice(names)
        return Placed(dst, names, True)
    if many:
        raise TransferError(
            f"{dst!r} is no folder, and several files can't be one.", path=dst,
            next_step=f"Write {dst + '/'!r} to have a folder made.",
        )  # fmt: skip
    if names[0] == "":
        return Placed(dst, names, True)
    return Placed(posixpath.dirname(dst) or ".", (posixpath.basename(dst),), False)


def own_name(path: str) -> str:
    """Return what a source is called where it goes into a folder; nothing for ``folder/.``, which is its content."""
    name = posixpath.basename(path.rstrip("/"))
    return "" if name in (".", "..") else name


def _refuse_twice(names: tuple[str, ...]) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None) if len(names) < 1000 else None
    if twice:
        raise TransferError(
            f"Two of the sources are called {printable_line(twice)!r}: one would replace the other.", path=twice,
            next_step="Copy them one after the other, to different places.",
        )  # fmt: skip


def refuse_same_place(items: Iterable[Item]) -> None:
    """Raise where two files would go to one place: folders come together, files would replace each other."""
    seen: set[str] = set()
    for item in items:
        if item.kind != "directory" and item.to in seen:
            raise TransferError(
                f"Two of the sources would go to {printable_line(item.to)!r}: one would replace the other.",
                path=item.to,
                next_step="Copy them one after the other, to different places.",
            )
        seen.add(item.to)


def paths_of(given: Paths) -> list[str]:
    """Return one or several paths as text."""
    if isinstance(given, str | os.PathLike):
        given = [given]
    paths = [os.fspath(each) for each in given]
    if not paths or "" in paths:
        raise TransferError("There is no file to copy: a path is empty.", path="", next_step="Name one.")
    return paths


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder; that of the folder where the name is empty."""
    return posixpath.join(folder, name) if name else folder


# Patterns


def is_pattern(path: str) -> bool:
    """Whether a path may stand for several, as in a shell."""
    return bool(_MAGIC.search(path))


def fixed_part(pattern: str) -> tuple[str, list[str]]:
    """Return the folder that a pattern starts from, and its parts from there on."""
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if is_pattern(part))
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else "."), [p for p in parts[first:] if p]


class Matcher:
    """What a pattern stands for: ``*``, ``?`` and ``[abc]`` within a name, ``**`` for folders at any depth.

    As in a shell, only a part that begins with a dot matches a name that does. No link is followed by ``**``.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = [(part, re.compile(translate(part))) for part in parts]
        self.max_depth = None if "**" in parts else len(parts)

    def matches(self, path: str) -> bool:
        """Whether a path below the folder that the pattern starts from is meant."""
        return self._matches(path.split("/"), 0)

    def _matches(self, names: list[str], at: int) -> bool:
        if at == len(self._parts):
            return not names
        part, pattern = self._parts[at]
        if part == "**":
            into = bool(names) and not names[0].startswith(".") and self._matches(names[1:], at)
            return into or self._matches(names, at + 1)
        hidden = bool(names) and names[0].startswith(".") and not part.startswith(".")
        return bool(names) and not hidden and bool(pattern.match(names[0])) and self._matches(names[1:], at + 1)


# Batches


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield small files in as many as one request takes."""
    batch: list[Item] = []
    size = chars = 0
    for item in items:
        over = size + item.size_bytes > BATCH_BYTES or len(batch) == BATCH_FILES or chars > BATCH_CHARS
        if batch and over:
            yield batch
            batch, size, chars = [], 0, 0
        batch.append(item)
        size, chars = size + item.size_bytes, chars + len(item.source) + len(item.to)
    if batch:
        yield batch
