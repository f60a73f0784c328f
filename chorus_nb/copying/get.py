"""Files and folders of a sandbox copied to the host: all that the sandbox says of them may be a lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SandboxFileError, TransferConflictError, TransferError
from ..file_entries import FileEntry
from ..file_requests import PIECE_BYTES, ahead
from ..host_tree import HostTree
from ..progress import Progress
from ..sanitize import printable_line
from .download import Download
from .host import accounted, host_tree, make_folder, real_path
from .transfer import (
    PERMISSIONS,
    Item,
    Matcher,
    Paths,
    Transfer,
    batches,
    fixed_part,
    is_pattern,
    join,
    paths_of,
    placed,
    readable_bytes,
    refuse_same_place,
)
from .writer import HostWriter, digest_of

if TYPE_CHECKING:
    from ..files import SandboxFiles

MAX_BYTES = 16 * 2**30
_SHOWN = 5


def get(
    files: SandboxFiles,
    src: Paths,
    dst: str,
    *,
    overwrite: bool,
    max_bytes: int,
    guarded: Sequence[Path],
    shown: bool,
) -> Transfer:
    """Copy out of the sandbox of ``files``; see :meth:`SandboxFiles.get`."""
    sources, many = _expanded(files, paths_of(src))
    place = placed([path for path, _ in sources], dst, is_folder=_is_folder(dst), many=many)
    base = real_path(place.base, guarded)
    done = Transfer()
    items = _planned(files, sources, [join(base, name) for name in place.names], done, many)
    size = sum(item.size_bytes for item in items if item.kind == "file")
    _refuse_more(size, max_bytes, dst)
    with host_tree() as tree:
        getting = _Getting(Download(files.requests), tree, items, done, overwrite, max_bytes)
        with accounted(getting), Progress("get", size, shown) as progress:
            getting.check()
            getting.at = "/" + base
            if place.make:
                make_folder(tree, base)
            return getting.run(progress)


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # It is in a folder that is closed to this user, which is said when it is to be written.
        return False


def _refuse_more(size_bytes: int, max_bytes: int, path: str) -> None:
    if size_bytes > max_bytes:
        raise TransferError(
            f"That is more than {readable_bytes(max_bytes)}.",
            path=path,
            next_step="Copy a part of it, or raise max_bytes (--max-size).",
        )


# What is to be copied


def _expanded(files: SandboxFiles, paths: Sequence[str]) -> tuple[list[tuple[str, FileEntry]], bool]:
    """Return what paths and patterns stand for, and whether that may be several."""
    found: list[tuple[str, FileEntry]] = []
    patterns = [path for path in paths if is_pattern(path) and not files.exists(path)]
    for path in paths:
        found += _matching(files, path) if path in patterns else [(path, _named(files, path))]
    return found, bool(patterns) or len(found) > 1


def _named(files: SandboxFiles, path: str) -> FileEntry:
    entry = files.stat(path, follow=True)
    if entry.kind not in ("file", "directory"):
        raise TransferError(
            f"{printable_line(path)!r} in the sandbox is neither a file nor a folder.",
            path=path,
            next_step="Only these are copied.",
        )
    return entry


def _matching(files: SandboxFiles, pattern: str) -> list[tuple[str, FileEntry]]:
    folder, parts = fixed_part(pattern)
    matcher = Matcher(parts)
    entries = files.walk(folder, max_depth=matcher.max_depth, on_error=lambda *_: None)
    found = [
        (path, _followed(files, path, entry) if entry.kind == "link" else entry)
        for entry in entries
        if matcher.matches(entry.path) and (path := entry.path if folder == "." else join(folder, entry.path))
    ]
    if not found:
        raise TransferError(
            f"No file of the sandbox matches {pattern!r}.", path=pattern, next_step="`files.list` shows what is there."
        )
    return found


def _followed(files: SandboxFiles, path: str, link: FileEntry) -> FileEntry:
    """Return what a link leads to; the link, which is not copied, where that is nothing."""
    try:
        return files.stat(path, follow=True)
    except SandboxFileError:
        return link


def _planned(
    files: SandboxFiles, sources: Iterable[tuple[str, FileEntry]], places: Sequence[str], done: Transfer, many: bool
) -> list[Item]:
    items: list[Item] = []
    for (path, entry), to in zip(sources, places, strict=True):
        if entry.kind == "directory":
            try:
                found = files.walk(path, on_error=partial(_skip_below, done, path))
            except SandboxFileError as error:
                if not many or error.errno is None:
                    raise
                done.skip(path, os.strerror(error.errno))
                continue
            items.append(_item(path, to, entry, named=True))
            items += [
                _item(join(path, each.path), join(to, each.path), each) for each in found if _kept(path, each, done)
            ]
        elif _kept("", entry.at(path), done):
            items.append(_item(path, to, entry, named=True))
    refuse_same_place(items)
    return items


def _skip_below(done: Transfer, folder: str, path: str, reason: str) -> None:
    done.skip(join(folder, path), reason)


def _item(source: str, to: str, entry: FileEntry, named: bool = False) -> Item:
    mode = entry.mode & PERMISSIONS
    return Item(source, to, entry.kind, entry.size_bytes, mode, entry.modified_ns, named=named)


def _kept(folder: str, entry: FileEntry, done: Transfer) -> bool:
    """Whether it is copied; else that is noted."""
    if entry.kind == "link":
        done.skip(join(folder, entry.path), "a link")
    elif entry.kind == "other":
        done.skip(join(folder, entry.path), "neither a file nor a folder")
    return entry.kind in ("file", "directory")


class _Getting:
    """One copy to the host.

    Attributes
    ----------
    at : str
        The path on the host that it is at.
    done : Transfer
    """

    def __init__(
        self, download: Download, tree: HostTree, items: list[Item], done: Transfer, overwrite: bool, max_bytes: int
    ) -> None:
        self._download = download
        self._tree = tree
        self._items = items
        self.done = done
        self._overwrite = overwrite
        self._max_bytes = max_bytes
        self._unchanged: set[str] = set()
        self.at = ""

    # Before anything is written

    def check(self) -> None:
        """Raise ``TransferConflictError`` where a file of the host would be replaced by one with other content."""
        conflicts: list[str] = []
        same_size: list[Item] = []
        for item in self._items:
            self.at = "/" + item.to
            found = self._tree.find(item.to)
            if found is None:
                continue
            if item.kind == "directory" or stat.S_ISDIR(found.st_mode):
                fits = item.kind == "directory" and stat.S_ISDIR(found.st_mode)
            elif not stat.S_ISREG(found.st_mode):
                fits = self._overwrite and stat.S_ISLNK(found.st_mode)
            else:
                fits = self._overwrite or found.st_size == item.size_bytes
                same_size += [item] if found.st_size == item.size_bytes else []
            conflicts += [] if fits else [item.to]
        self._compare(same_size, conflicts)
        if conflicts:
            raise _conflict(conflicts)

    def _compare(self, items: list[Item], conflicts: list[str]) -> None:
        small = (item for item in items if item.size_bytes <= PIECE_BYTES)
        with ahead(partial(self._download.small, each) for each in batches(small)) as contents:
            for item, content in chain.from_iterable(contents):
                self._settle(item, isinstance(content, bytes) and content == self._content(item), conflicts)
        for item in items:
            if item.size_bytes > PIECE_BYTES:
                self._settle(item, self._has_same_digest(item), conflicts)

    def _settle(self, item: Item, same: bool, conflicts: list[str]) -> None:
        if same:
            self._unchanged.add(item.to)
        elif not self._overwrite:
            conflicts.append(item.to)

    def _content(self, item: Item) -> bytes:
        self.at = "/" + item.to
        with self._tree.open(item.to) as file:
            return file.read(PIECE_BYTES + 1)

    def _has_same_digest(self, item: Item) -> bool:
        self.at = "/" + item.to
        with self._tree.open(item.to) as file:
            return digest_of(file.fileno(), item.size_bytes) == self._download.digest(item)

    # Copying

    def run(self, progress: Progress) -> Transfer:
        """Copy all there is."""
        writer = HostWriter(self._tree, self.done, self._overwrite)
        made = [item for item in self._items if item.kind == "directory" and writer.make(item)]
        self.done.folders = len(made)
        files = [item for item in self._items if item.kind == "file" and item.to not in self._unchanged]
        self._count_unchanged(progress)
        small = (item for item in files if item.size_bytes <= PIECE_BYTES)
        large = [item for item in files if item.size_bytes > PIECE_BYTES]
        with ahead(partial(self._download.small, each) for each in batches(small)) as contents:
            for item, content in chain.from_iterable(contents):
                self.at = "/" + item.to
                large += [] if writer.write(item, content) else [item]
                self._refuse_more()
                progress.add(item.size_bytes)
        for item in large:
            self.at = "/" + item.to
            writer.write_large(item, self._download, progress)
            self._refuse_more()
        for item in reversed(made):
            writer.settle(item)
        return self.done

    def _refuse_more(self) -> None:
        """Raise where files that said they were empty have come to more than may come."""
        _refuse_more(self.done.size_bytes, self._max_bytes, self.at)

    def _count_unchanged(self, progress: Progress) -> None:
        for item in self._items:
            if item.to in self._unchanged:
                self.done.files += 1
                self.done.unchanged += 1
                self.done.size_bytes += item.size_bytes
                progress.add(item.size_bytes)


def _conflict(paths: list[str]) -> TransferConflictError:
    names = ", ".join(repr(printable_line("/" + path)) for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return TransferConflictError(
        f"On the host there is something else already: {names}{more}. Nothing was copied.",
        paths=tuple("/" + path for path in paths),
        next_step="Choose another place, or replace files with --force (overwrite=True); folders are never replaced.",
    )
