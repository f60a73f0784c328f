"""Files and folders of the host copied into a sandbox."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SandboxFileError, TransferError
from ..file_entries import no_list, results_of
from ..file_requests import NOT_THERE, PIECE_BYTES, ahead, refusal
from ..file_streams import Part
from ..host_tree import HostTree, file_state
from ..progress import Progress
from ..sanitize import printable_line
from .host import accounted, host_tree, real_path, refused
from .transfer import (
    BATCH_FILES,
    PERMISSIONS,
    Item,
    Paths,
    Transfer,
    batches,
    is_pattern,
    join,
    paths_of,
    placed,
    refuse_same_place,
)

if TYPE_CHECKING:
    from ..files import SandboxFiles

_MAX_ENTRIES = 1_000_000


def put(files: SandboxFiles, src: Paths, dst: str, *, guarded: Sequence[Path], shown: bool) -> Transfer:
    """Copy into the sandbox of ``files``; see :meth:`SandboxFiles.put`."""
    done = Transfer()
    sources, many = _expanded(paths_of(src), done)
    place = placed(sources, dst, is_folder=_is_folder(files, dst), many=many)
    with host_tree() as tree:
        putting = _Putting(files, tree, done)
        for source, name in zip(sources, place.names, strict=True):
            with accounted(putting):
                putting.plan(real_path(source, guarded), source, join(place.base, name))
        refuse_same_place(putting.items)
        if place.make:
            files.mkdir(place.base, parents=True, exist_ok=True)
        size = sum(item.size_bytes for item in putting.items if item.kind == "file")
        with accounted(putting), Progress("put", size, shown) as progress:
            return putting.run(progress)


def _expanded(paths: Sequence[str], done: Transfer) -> tuple[list[str], bool]:
    """Return what paths and patterns stand for, and whether that may be several; note what is not copied of these."""
    found: list[str] = []
    for path in paths:
        if os.path.lexists(path) or not is_pattern(path):
            found.append(path)
        elif matching := sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 - as given: not made absolute or normalised
            found += [each for each in matching if _is_copied(each, done)]
        else:
            raise TransferError(f"No file of the host matches {path!r}.", path=path, next_step="Look at the pattern.")
    return found, found != list(paths) or len(found) > 1


def _is_copied(path: str, done: Transfer) -> bool:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of what a link leads to
    except OSError as error:
        done.skip(path, "a link that leads nowhere" if os.path.islink(path) else error.strerror or str(error))  # noqa: PTH114
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        done.skip(path, "neither a file nor a folder")
        return False
    return True


def _is_folder(files: SandboxFiles, path: str) -> bool:
    try:
        return files.stat(path, follow=True).kind == "directory"
    except SandboxFileError as error:
        if error.errno not in NOT_THERE:
            raise
        return False


class _Putting:
    """One copy into a sandbox.

    Attributes
    ----------
    at : str
        The path on the host that it is at.
    done : Transfer
    """

    def __init__(self, files: SandboxFiles, tree: HostTree, done: Transfer) -> None:
        self._requests = files.requests
        self._tree = tree
        self._paths: dict[str, str] = {}
        self.at = ""
        self.items: list[Item] = []
        self.done = done

    # What is to be copied

    def plan(self, path: str, source: str, to: str) -> None:
        """Note what a source consists of."""
        try:
            folder, name = self._tree.at(path) if path else (self._tree.folder(""), ".")
            found = os.lstat(name, dir_fd=folder)
        except OSError as error:
            raise refused(source, error) from None
        if not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
            raise TransferError(
                f"{printable_line(source)!r} is neither a file nor a folder.",
                path=source,
                next_step="Only these are copied.",
            )
        self._add(path, found, source, to)
        if stat.S_ISDIR(found.st_mode):
            self._plan_folder(path, source, to)

    def _add(self, path: str, found: os.stat_result, source: str, to: str, target: str = "") -> None:
        state = file_state(found, target)
        mode = state.mode & PERMISSIONS
        self.items.append(Item(source, to, state.kind, state.size_bytes, mode, state.modified_ns, target))
        self._paths[source] = path
        if len(self.items) > _MAX_ENTRIES:
            raise TransferError(
                f"That is more than {_MAX_ENTRIES} files and folders.", path=source, next_step="Copy a part of it."
            )

    def _plan_folder(self, path: str, source: str, to: str) -> None:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            self.at = join(source, folder)
            try:
                names = self._tree.names(join(path, folder))
            except OSError as error:
                self.done.skip(join(source, folder), error.strerror or str(error))
                continue
            belows = [join(folder, name) for name in names]
            waiting += [below for below in belows if self._plan_entry(path, below, source, to)]

    def _plan_entry(self, path: str, below: str, source: str, to: str) -> bool:
        """Note one entry of a folder, or why it is not copied; return whether it is a folder itself."""
        at, shown = join(path, below), join(source, below)
        found = self._tree.find(at)
        if found is None:
            self.done.skip(shown, "it has gone")
        elif stat.S_ISLNK(found.st_mode):
            target = self._tree.target(at)
            if _stays(below, target):
                self._add(at, found, shown, join(to, below), target)
            else:
                self.done.skip(shown, "a link that leads out of the folder")
        elif stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            self._add(at, found, shown, join(to, below))
            return stat.S_ISDIR(found.st_mode)
        else:
            self.done.skip(shown, "neither a file nor a folder")
        return False

    # Copying

    def run(self, progress: Progress) -> Transfer:
        """Copy all that was noted."""
        folders = [item for item in self.items if item.kind == "directory"]
        made = [item for item, was_made in zip(folders, self._make(folders), strict=True) if was_made]
        self.done.folders = len(made)
        small = (item for item in self.items if item.kind == "file" and item.size_bytes <= PIECE_BYTES)
        with ahead(partial(self._write, *self._read(batch)) for batch in batches(small)) as written:
            for count, size in written:
                self._count(count, size)
                progress.add(size)
        for item in self.items:
            if item.kind == "file" and item.size_bytes > PIECE_BYTES:
                self._put_large(item, progress)
        links = [item for item in self.items if item.kind == "link"]
        self.done.links = sum(self._make(links))
        self._make(list(reversed(made)), settle=True)
        return self.done

    def _count(self, files: int, size_bytes: int) -> None:
        self.done.files += files
        self.done.size_bytes += size_bytes

    def _make(self, items: list[Item], settle: bool = False) -> list[bool]:
        results: list[bool] = []
        for start in range(0, len(items), BATCH_FILES):
            some = items[start : start + BATCH_FILES]
            entries = [
                {"path": i.to, "kind": i.kind, "target": i.target, "modified_ns": i.modified_ns, "mode": i.mode | 0o700}
                for i in some
            ]
            content = {"entries": entries, "settle": settle}
            found = self._ask("make_many", some, content)
            results += [each.get("made") is True for each in found]
        return results

    def _ask(self, operation: str, items: list[Item], content: dict[str, Any], data: bytes | None = None) -> Any:
        """Ask for something that is to be done to each; raise for the first that it could not be done to."""
        reply = self._requests.ask(operation, items[0].to, content, data)
        results = results_of(reply.content, len(items))
        if len(results) < len(items):
            raise no_list()
        for item, result in zip(items, results, strict=True):
            if "evalue" in result:
                raise refusal(self._requests.session.name, item.to, result)
        return results

    def _read(self, batch: list[Item]) -> tuple[list[Item], list[dict[str, Any]], bytes]:
        """Read a batch on the host; what can't be read any more is left out."""
        there: list[Item] = []
        asked: list[dict[str, Any]] = []
        pieces: list[bytes] = []
        for item in batch:
            try:
                data = self._content(item)
            except OSError as error:
                self.done.skip(item.source, error.strerror or str(error))
                continue
            there.append(item)
            pieces.append(data)
            asked.append({"path": item.to, "size_bytes": len(data), "mode": item.mode, "modified_ns": item.modified_ns})
        return there, asked, b"".join(pieces)

    def _content(self, item: Item) -> bytes:
        self.at = item.source
        with self._tree.open(self._paths[item.source]) as file:
            # Files of /proc have no size, and come a page at a time.
            most, data = item.size_bytes or PIECE_BYTES, b""
            while len(data) < most and (piece := file.read(most - len(data))):
                data += piece
            return data

    def _write(self, items: list[Item], asked: list[dict[str, Any]], data: bytes) -> tuple[int, int]:
        if items:
            part = f".chorus-nb-{secrets.token_hex(8)}"
            self._ask("write_many", items, {"files": asked, "part": part}, data)
        return len(items), len(data)

    def _put_large(self, item: Item, progress: Progress) -> None:
        self.at = item.source
        part = Part(self._requests, item.to, item.mode, item.modified_ns)
        try:
            with self._tree.open(self._paths[item.source]) as file:
                part.write(0, os.pread(file.fileno(), PIECE_BYTES, 0))
                progress.add(min(PIECE_BYTES, item.size_bytes))
                with ahead(_pieces(file.fileno(), item.size_bytes, part)) as written:
                    for size in written:
                        progress.add(size)
                if os.fstat(file.fileno()).st_size < item.size_bytes:
                    raise OSError(0, "it became smaller while it was copied")
            part.write(item.size_bytes, b"", item.size_bytes)
        except BaseException as error:
            part.remove()
            if type(error) is not OSError:
                raise
            self.done.skip(item.source, error.strerror or str(error))
            return
        self._count(1, item.size_bytes)


def _pieces(fd: int, size_bytes: int, part: Part) -> Iterator[Callable[[], int]]:
    """Yield what writes each piece after the first; holes of the file stay holes."""
    for offset in range(PIECE_BYTES, size_bytes, PIECE_BYTES):
        size = min(PIECE_BYTES, size_bytes - offset)
        if _has_data(fd, offset, size):
            yield partial(_write_piece, part, offset, os.pread(fd, size, offset))
        else:
            yield partial(int, size)


def _write_piece(part: Part, offset: int, data: bytes) -> int:
    part.write(offset, data)
    return len(data)


def _has_data(fd: int, offset: int, size: int) -> bool:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) < offset + size
    except OSError:
        return False  # ENXIO: nothing but a hole up to the end.


def _stays(path: str, target: str) -> bool:
    """Whether a link stays in the folder that is copied, which it is at ``path`` of."""
    if target.startswith("/") or not target:
        return False
    depth = path.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return False
    return True
