"""What a sandbox has changed in a copy of the repository: differences by content from what was copied.

This is for engines that can't mount an overlay. What the sandbox says of its files is hostile, and all that it can do
by lies is to hide a change of its own or to show one that it has not made.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ..changes.git_folders import git_folder
from ..copying.download import Download
from ..copying.transfer import Item, batches
from ..errors import WorkingCopyError
from ..file_batches import KnownFile
from ..file_entries import FileEntry
from ..file_requests import PIECE_BYTES
from ..files import SandboxFiles
from ..host_tree import SandboxPaths, parents, tree_order
from ..working_copy import NEVER_SEEN_NS, Entry, FileState, WorkingCopy
from .repository_archive import Original, RepositoryArchive


class VolumeCopy(WorkingCopy):
    """The copy of one sandbox.

    Parameters
    ----------
    folder : Path
        The repository.
    archive : RepositoryArchive
        What was copied.
    files : SandboxFiles
        The sandbox's, whose cells work in the copy.
    """

    def __init__(self, folder: Path, archive: RepositoryArchive, files: SandboxFiles) -> None:
        self.folder = folder
        self._archive = archive
        self._files = files
        self._settled_ns: int | None = None
        self._digests: dict[str, bytes] = {}
        self._brought: dict[str, bytes] = {}

    def note_settled(self) -> None:
        """Note, before any code runs, by the sandbox's clock when the copying was done.

        The kernel notes when a file changed last, and nobody can set that: so later only what is newer is read.
        """
        if self._settled_ns is None:
            files = [path for path, each in self._originals.items() if each.kind == "file"]
            self._settled_ns = self._files.stat(files[-1]).changed_ns if files else 0

    @property
    def _originals(self) -> Mapping[str, Original]:
        return self._archive.originals

    def entries(self) -> Iterator[Entry]:
        paths = SandboxPaths()
        there = {paths.checked(entry.path): entry for entry in self._files.walk()}
        self._digests = self._made_digests(there.values())
        removed = [path for path in self._originals if path not in there and self._is_folder(path, there)]
        new = [path for path in there if path not in self._originals and self._base_ns(path) != NEVER_SEEN_NS]
        # The host may have removed the folders of what is new.
        around = {parent for path in new for parent in parents(path)}
        for path in sorted([*there, *removed], key=tree_order):
            state = _state(there[path]) if path in there else None
            if state is None or path in around or self._is_changed(there[path]):
                yield Entry(path, state, self._base_ns(path), copied=self._is_copied(path))

    def _is_copied(self, path: str) -> bool:
        original = self._originals.get(path)
        return original is not None and original.kind != "directory"

    def _is_folder(self, path: str, there: Mapping[str, FileEntry]) -> bool:
        """Whether what a path lies in is still a folder: what lies in one that is not is gone with it."""
        parent = path.rpartition("/")[0]
        return not parent or (parent in there and there[parent].kind == "directory")

    def _is_changed(self, entry: FileEntry) -> bool:
        original = self._originals.get(entry.path)
        if original is None or (original.kind, original.target) != (entry.kind, entry.target):
            return True
        if entry.kind != "link" and original.mode != entry.mode:
            return True
        if entry.kind != "file":
            return False
        if original.size_bytes != entry.size_bytes:
            return True
        return self._is_touched(entry) and self._digests.get(entry.path) != original.sha256

    def _is_touched(self, entry: FileEntry) -> bool:
        return self._settled_ns is None or entry.changed_ns > self._settled_ns

    def _made_digests(self, there: Iterable[FileEntry]) -> dict[str, bytes]:
        """Return the digests of all files that were touched; what is new in a ``.git`` is never taken over."""
        touched = [
            KnownFile(each.path, each.size_bytes)
            for each in there
            if each.kind == "file" and self._is_touched(each)
            if each.path in self._originals or not git_folder(each.path)
        ]
        return self._files.many.digests(touched)

    def digest(self, path: str) -> str:
        found = self._digests.get(path)
        return f"sha256:{found.hex()}" if found else ""

    def _base_ns(self, path: str) -> int:
        left_out = self._archive.left_out
        parts = path.split("/")
        if any("/".join(parts[:count]) in left_out for count in range(1, len(parts) + 1)):
            return NEVER_SEEN_NS
        return self._archive.taken_ns

    def bring(self, files: Sequence[tuple[str, int]]) -> None:
        download = Download(self._files.requests)
        self._brought = {}
        small = (Item(path, "", "file", size, 0, 0) for path, size in files if size <= PIECE_BYTES)
        for batch in batches(small):
            found = download.small(batch)
            self._brought |= {item.source: content for item, content in found if isinstance(content, bytes)}

    def open(self, path: str) -> BinaryIO:
        data = self._brought.pop(path, None)
        if data is None:
            data = self._files.many.read_small(path)
        if data is not None:
            return io.BytesIO(data)
        if self._files.stat(path).kind != "file":
            raise WorkingCopyError(
                f"{path!r} in the sandbox's copy is no regular file.", path=path, next_step="Look at the changes again."
            )
        return self._files.open(path)


def _state(entry: FileEntry) -> FileState:
    return FileState(entry.kind, entry.mode, entry.size_bytes, entry.modified_ns, entry.target)
