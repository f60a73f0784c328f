"""Finds what a sandbox has otherwise than the host: its working copy against the host's files as they are now."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from ..errors import ChangedMeanwhileError, ChorusError, WorkingCopyError
from ..host_tree import PERMISSIONS, HostTree, Identity, SandboxPaths, parents
from ..working_copy import NEVER_SEEN_NS, Entry, FileState, WorkingCopy
from .change import Change, ChangeKind, Taken, by_path
from .content import digest, is_sparse
from .git_folders import GitFolders, what_changed
from .links import why_not_taken
from .renames import pair_renames

_HIDDEN = "is hidden from the sandbox, and so is not taken from it"
_OTHER_CASE = "has another name on the host, in upper or lower case"
_MEANWHILE = "was changed on the host meanwhile"
_GIT = "is git's own, and so it is not taken over"
_REMOVED = "was removed on the host meanwhile"
_STAYS = "holds files that are not taken over, and so it stays"


class Found(NamedTuple):
    """What one look has found, by path.

    Attributes
    ----------
    changes : list of Change
        With one change for each ``.git``.
    with_git : list of Change
        With git's own files one by one in their place.
    """

    changes: list[Change]
    with_git: list[Change]


def find_changes(copy: WorkingCopy, host: HostTree, *, taken: Taken, hides: Callable[[str], bool]) -> Found:
    """Return what a sandbox has otherwise than the host.

    Parameters
    ----------
    copy : WorkingCopy
    host : HostTree
        Of ``copy.folder``.
    taken : Taken
        With what is in there is no conflict, however late it came.
    hides : callable
        Whether the sandbox must not see what the host has at a path.

    Raises
    ------
    WorkingCopyError
        It can't be read, names what is no path, or more than :class:`chorus_nb.host_tree.SandboxPaths` takes.
    """
    paths = SandboxPaths()
    entries = {paths.checked(entry.path): entry for entry in copy.entries()}
    return _Comparison(entries, copy, host, taken, hides).run()


class _Comparison:
    """One look at all that a sandbox has touched."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        copy: WorkingCopy,
        host: HostTree,
        taken: Taken,
        hides: Callable[[str], bool],
    ) -> None:
        self._copy = copy
        self._host = host
        self._taken = taken
        self._hides = hides
        self._entries = entries
        self._git = GitFolders(self._is_there)
        self._inside_git: dict[str, list[Change]] = {}
        self._kept: set[str] = set()
        self._inodes: set[int] = set()
        self._found: list[Change] = []

    def run(self) -> Found:
        emptied: set[str] = set()
        for entry in sorted(self._entries.values(), key=by_path):
            self._look(entry)
            if _covers(entry) and not emptied.intersection(parents(entry.path)):
                emptied.add(entry.path)
                for path in self._unseen(entry.path):
                    self._look(Entry(path, None, entry.base_ns))
        found = [replace(each, refusal=_STAYS) if self._has_to_stay(each) else each for each in self._found]
        paired = [self._with_origin(each) for each in pair_renames(found, self._host)]
        both = (_summed_up(self._inside_git), chain(*self._inside_git.values()))
        return Found(*(sorted([*paired, *git], key=by_path) for git in both))

    def _with_origin(self, change: Change) -> Change:
        """Return a new file with the conflict that it has where it began as one that the host has removed meanwhile."""
        if change.kind != "created" or change.file_kind != "file" or change.conflict or change.refusal:
            return change
        try:
            numbers = _numbers_in(self._copy.origin(change.path))
        except WorkingCopyError:
            return change  # It is gone again: that is seen when it is taken over.
        known = not numbers.isdisjoint(self._inodes) or not numbers.isdisjoint(self._taken.replaced)
        return change if known or not numbers else replace(change, conflict=_REMOVED)

    def _is_there(self, path: str) -> bool:
        """Whether the sandbox or the host has something at a path."""
        entry = self._entries.get(path)
        return bool(entry and entry.state) or self._host.has(path)

    def _unseen(self, folder: str) -> Iterable[str]:
        """Return what the host has in a folder of which the sandbox sees nothing but what is listed, too."""
        try:
            found = self._host.find(folder)
            if found is None or not stat.S_ISDIR(found.st_mode):
                return ()
            return [path for path, _ in self._host.below(folder) if path not in self._entries]
        except ChorusError:
            raise
        except OSError:
            return ()  # Then it is not empty when it is to be removed, and stays.

    def _look(self, entry: Entry) -> None:
        path, folder = entry.path, self._git.around(entry.path)
        # The sandbox was never shown what is there, or something else is mounted over it.
        hidden = self._hides(path) or entry.base_ns <= NEVER_SEEN_NS
        if folder is not None or hidden:
            self._kept.update(parents(path))
        if hidden:
            # What is mounted over a path has an empty file or a folder to be mounted on.
            if folder is None and entry.state and entry.state.kind != "directory" and entry.state.size_bytes:
                self._found.append(Change("created", path, None, entry.state, refusal=_HIDDEN))
        elif folder is not None:
            if change := self._compared(entry, with_digest=False):
                self._inside_git.setdefault(folder, []).append(replace(change, refusal=_GIT))
        elif change := self._compared(entry, with_digest=True):
            self._found.append(change)

    def _has_to_stay(self, change: Change) -> bool:
        is_folder = change.before is not None and change.before.kind == "directory"
        return is_folder and change.path in self._kept and (change.after is None or change.after.kind != "directory")

    def _compared(self, entry: Entry, with_digest: bool) -> Change | None:
        try:
            return self._compare(entry, with_digest)
        except ChangedMeanwhileError:
            return Change("modified", entry.path, None, entry.state, conflict="is being written in the sandbox")
        except OSError as error:  # WorkingCopyError is one: of one file.
            reason = f"can't be read: {error.strerror or str(error)}"
            return Change("modified", entry.path, None, entry.state, refusal=reason)

    def _compare(self, entry: Entry, with_digest: bool) -> Change | None:
        path, after = entry.path, entry.state
        found = self._host.find(path)
        if found and not self._host.is_spelled_so(path):
            return Change("created", path, None, after, conflict=_OTHER_CASE) if after else None
        if found is None:
            return self._created(entry, after, with_digest) if after else None
        before = self._host.state(path, found)
        host = Identity.of(found)
        self._inodes.add(host.inode)
        conflict = "" if self._is_as_it_was(entry, before, host) else _MEANWHILE
        if after is None and before.kind == "other":
            self._kept.update(parents(path))  # The host's FIFOs and sockets are nobody's to remove.
            return None
        if after is None:
            return Change("deleted", path, before, None, conflict=conflict, host=host)
        digest, same = "", _is_alike(before, after)
        if after.kind == "file" and (with_digest or same):
            digest, same = self._compare_content(path, after, before if same else None)
        if same and before.mode & PERMISSIONS == after.mode & PERMISSIONS:
            return None
        kind: ChangeKind = "mode" if same else "modified"
        return Change(kind, path, before, after, "", digest, conflict, self._refusal(path, after), host)

    def _created(self, entry: Entry, after: FileState, with_digest: bool) -> Change | None:
        path, digest = entry.path, ""
        if after.kind == "file" and with_digest:
            digest, _ = self._compare_content(path, after, None)
            if digest == self._taken.digests.get(path):
                return None  # As it was taken over: that the host has removed it since is no change of the sandbox's.
        conflict = _REMOVED if after.kind != "directory" and self._was_there(entry) else ""
        return Change(
            "created", path, None, after, digest=digest, conflict=conflict, refusal=self._refusal(path, after)
        )

    def _was_there(self, entry: Entry) -> bool:
        """Whether the host had a file where it has nothing, and it was not us who removed it."""
        return entry.path in self._taken.now or (entry.copied and entry.path not in self._taken.gone)

    def _is_as_it_was(self, entry: Entry, before: FileState, host: Identity) -> bool:
        known = self._taken.now.get(entry.path)
        if before.kind == "directory" and entry.state is None:
            return True  # It changes with what is in it, and that is looked at by itself.
        if before.kind == "directory" and known and known.mode == host.mode:
            return True
        return host.changed_ns <= entry.base_ns or known == host

    def _compare_content(self, path: str, after: FileState, before: FileState | None) -> tuple[str, bool]:
        """Return the digest of the sandbox's file, and whether the host's is the same."""
        sparse, found = False, self._copy.digest(path)
        if not found:
            with self._copy.open(path) as file:
                sparse = is_sparse(file)
                found = digest(file, after.size_bytes, sparse=sparse, path=path)
        if before is None:
            return found, False
        with self._host.open(path) as file:
            return found, digest(file, before.size_bytes, sparse=sparse, path=path) == found

    def _refusal(self, path: str, after: FileState) -> str:
        if after.kind == "other":
            return "is a FIFO, a socket or a device"
        return why_not_taken(self._host, path, after.target) if after.kind == "link" else ""


def _covers(entry: Entry) -> bool:
    """Whether nothing of the host's shows below the path."""
    return entry.whole or entry.state is None or entry.state.kind != "directory"


def _is_alike(before: FileState, after: FileState) -> bool:
    """Whether both may be the same, but for content and mode."""
    if before.kind != after.kind or before.target != after.target:
        return False
    return before.kind != "file" or before.size_bytes == after.size_bytes


def _summed_up(inside: Mapping[str, list[Change]]) -> Iterator[Change]:
    """Make one change of all in each folder of git's own."""
    for folder, changes in inside.items():
        paths = [each.path.removeprefix(folder).removeprefix("/") for each in changes]
        if words := ", ".join(what_changed(paths)):
            state = FileState("directory", 0, 0, 0)
            yield Change("modified", folder or ".", None, state, refusal=f"{_GIT}: {words}")


def _numbers_in(data: bytes) -> set[int]:
    """Return every number that some bytes may hold: a handle of a file has its inode's, in 4 or in 8 of them."""
    starts = [(start, size) for size in (4, 8) for start in range(len(data) - size + 1)]
    return {int.from_bytes(data[start : start + size], sys.byteorder) for start, size in starts}
