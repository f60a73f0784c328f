"""Brings the host's version of files back into a sandbox, by requests to its agent, while it may be running.

A request is about many files: twenty thousand of them would wait for as many answers. Each file is the old or the new
one at any time, and what can't be brought back keeps nothing else of its step from it.

It writes what an overlay has below, too: a file that is removed in there is a whiteout, and its upper folder must not
be changed from outside while it is mounted ("Changes to underlying filesystems" in the kernel's
``Documentation/filesystems/overlayfs.rst``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..file_batches import MAX_BYTES, NewFile
from ..host_tree import PERMISSIONS, HostTree, parents, tree_order
from ..working_copy import FileState
from .change import Change, by_path

if TYPE_CHECKING:
    from ..files import SandboxFiles

_OPEN_TO_OWNER = 0o700


def discard_changes(changes: Sequence[Change], host: HostTree, files: SandboxFiles) -> None:
    """Undo changes in a sandbox.

    Parameters
    ----------
    changes : sequence of Change
    host : HostTree
        The repository.
    files : SandboxFiles
        Of the sandbox, whose cells work in the repository.

    Raises
    ------
    SandboxFileError
        The sandbox's file system says no.
    OSError
        The host's file can't be read.
    """
    in_order = sorted(changes, key=by_path)
    files.many.chmod(_opened(in_order))
    files.many.remove(_to_remove(in_order))
    back = [(each.source or each.path, each.before, each.kind) for each in in_order if each.before]
    back.sort(key=lambda each: tree_order(each[0]))
    folders = [(path, before) for path, before, _ in back if before.kind == "directory"]
    whole = [(path, before) for path, before, kind in back if before.kind == "file" and kind != "mode"]
    modes = [(path, before) for path, before, kind in back if before.kind == "file" and kind == "mode"]
    files.many.make_folders(path for path, _ in folders)
    files.many.make_links((path, before.target) for path, before, _ in back if before.kind == "link")
    _write(whole, host, files)
    # Folders after what is in them: their modes may close them.
    files.many.chmod((path, before.mode & PERMISSIONS) for path, before in [*modes, *reversed(folders)])


def _opened(changes: Sequence[Change]) -> Iterator[tuple[str, int]]:
    """Yield the folders whose owner may not write to them, with modes that let him: else nothing in there is undone."""
    for change in changes:
        if change.after and change.after.kind == "directory" and change.after.mode & _OPEN_TO_OWNER != _OPEN_TO_OWNER:
            yield change.path, change.after.mode & PERMISSIONS | _OPEN_TO_OWNER


def _to_remove(changes: Sequence[Change]) -> Iterator[str]:
    """Yield what the host does not have, or has as something else; of a folder that goes as a whole, itself alone."""
    removed: set[str] = set()
    for change in changes:
        other = change.kind in ("created", "renamed") or (
            change.kind == "modified" and change.before and change.after and change.before.kind != change.after.kind
        )
        if other and removed.isdisjoint(parents(change.path)):
            removed.add(change.path)
            yield change.path


def _write(wanted: Sequence[tuple[str, FileState]], host: HostTree, files: SandboxFiles) -> None:
    small = [(path, before) for path, before in wanted if before.size_bytes <= MAX_BYTES]
    files.many.write(_new_file(path, before, host) for path, before in small)
    for path, before in wanted:
        if before.size_bytes > MAX_BYTES:
            _write_large(path, before, host, files)


def _new_file(path: str, before: FileState, host: HostTree) -> NewFile:
    with host.open(path) as content:
        return NewFile(path, content.read(MAX_BYTES), before.mode & PERMISSIONS, before.modified_ns)


def _write_large(path: str, before: FileState, host: HostTree, files: SandboxFiles) -> None:
    with host.open(path) as content, files.open(path, "wb") as file:
        while piece := content.read(MAX_BYTES):
            file.write(piece)
    files.chmod(path, before.mode & PERMISSIONS)
