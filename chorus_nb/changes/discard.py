"""Brings the host's version of files back into a sandbox, by requests to its agent, while it may be running."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..host_tree import PERMISSIONS, HostTree, parents
from ..working_copy import FileState
from .change import Change, by_path

if TYPE_CHECKING:
    from ..files import SandboxFiles

_PIECE_BYTES = 2**22
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
    for change in in_order:
        # What is in a folder can be neither removed nor brought back where its owner may not write to it.
        if change.after and change.after.kind == "directory" and change.after.mode & _OPEN_TO_OWNER != _OPEN_TO_OWNER:
            files.chmod(change.path, change.after.mode & PERMISSIONS | _OPEN_TO_OWNER)
    _remove(in_order, files)
    for change in sorted(changes, key=lambda each: (each.source or each.path).split("/")):
        if change.before:
            _restore(change, change.before, host, files)
    for change in reversed(in_order):
        if change.before and change.before.kind == "directory":
            files.chmod(change.path, change.before.mode & PERMISSIONS)


def _remove(changes: Sequence[Change], files: SandboxFiles) -> None:
    """Remove what the host does not have, or has as something else; folders with all that is in them."""
    removed: set[str] = set()
    for change in changes:
        other = change.kind in ("created", "renamed") or (
            change.kind == "modified" and change.before and change.after and change.before.kind != change.after.kind
        )
        if other and removed.isdisjoint(parents(change.path)):
            removed.add(change.path)
            files.remove(change.path, recursive=True, missing_ok=True)


def _restore(change: Change, before: FileState, host: HostTree, files: SandboxFiles) -> None:
    path = change.source or change.path
    if change.kind == "mode":
        files.chmod(path, before.mode & PERMISSIONS)
    elif before.kind == "directory":
        files.mkdir(path, exist_ok=True)
    elif before.kind == "link":
        files.remove(path, missing_ok=True)
        files.symlink(path, before.target)
    elif before.kind == "file":
        _write(path, before, host, files)


def _write(path: str, before: FileState, host: HostTree, files: SandboxFiles) -> None:
    mode = before.mode & PERMISSIONS
    with host.open(path) as content:
        if before.size_bytes <= _PIECE_BYTES:
            data = content.read(_PIECE_BYTES)
            files.write(path, data, mode=mode, modified_ns=before.modified_ns)
            return
        with files.open(path, "wb") as file:
            while piece := content.read(_PIECE_BYTES):
                file.write(piece)
    files.chmod(path, mode)
