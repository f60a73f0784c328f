"""What a user does with the changes of a sandbox: look at them, take them over, or throw them away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import ApplyError, ChangedMeanwhileError, DiscardError, RepositoryNotFoundError
from ..host_tree import HostTree, Identity, parents
from ..working_copy import WorkingCopy
from .apply import Application
from .change import Change, Taken
from .comparison import find_changes
from .content import digest
from .discard import discard_changes
from .held_back import held_back
from .path_selection import PathSelection
from .renames import host_digest

if TYPE_CHECKING:
    from ..files import SandboxFiles

_LOOK_AGAIN = "was changed in the sandbox after it was shown: look again"
_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that was not taken over, and why, as the end of a sentence."""

    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of each change.

    Attributes
    ----------
    done : tuple of Change
        Taken over; with ``check``, what would be.
    refused : tuple of Refused
        Never taken over: ``.git``, devices, links that lead outside.
    failed : tuple of Refused
        Could not be: changed on the host meanwhile, changed in the sandbox after it was shown, no space, no permission.
        Whoever calls gets these by ``ApplyError``, whose ``applied`` is this.
    """

    done: tuple[Change, ...]
    refused: tuple[Refused, ...]
    failed: tuple[Refused, ...] = ()


class _Look(NamedTuple):
    """What :class:`Found` has, and with it what there is of a git directory outside."""

    changes: list[Change]
    with_git: list[Change]
    outside: list[Change]


class Review:
    """The changes of one working copy, what of them a user has seen, and what became of them. Any thread may use it.

    Parameters
    ----------
    copy : WorkingCopy
    hides : callable, optional
        Whether the sandbox must not see what the host has at a path: that is neither shown nor brought back nor
        replaced.
    git : Review, optional
        Of the git directory, where that lies outside of the repository: its changes are those of a ``.git``.
    git_files : SandboxFiles, optional
        The sandbox's, by paths that begin there.
    """

    def __init__(
        self,
        copy: WorkingCopy,
        hides: Callable[[str], bool] = lambda path: False,
        git: Review | None = None,
        git_files: SandboxFiles | None = None,
    ) -> None:
        self.copy = copy
        self._hides = hides
        self._git = git
        self._git_files = git_files
        self._taken = Taken()
        self._shown: dict[str, tuple[object, ...]] = {}
        self._looked_at: dict[tuple[str, ...], PathSelection] = {}
        self._lock = threading.RLock()
        with HostTree(copy.folder) as host:
            self._place = host.place

    def changes(self, paths: Sequence[str] = ()) -> list[Change]:
        """Return what has changed, by path, of ``paths`` as of :class:`PathSelection`; nothing is noted as shown.

        Raises
        ------
        NoSuchChangeError, WorkingCopyError, RepositoryNotFoundError
        """
        with self._lock, self._host() as host:
            return self._find(host, paths)

    def has_changes(self) -> bool:
        """Whether more than empty folders would be lost with the view. Raises as :meth:`changes`."""
        return any(each.refusal or each.file_kind != "directory" for each in self.changes())

    def shown(self, changes: Sequence[Change], paths: Sequence[str] = ()) -> None:
        """Note what a user was shown: :meth:`changes` of the same ``paths``.

        What of these paths changes in the sandbox afterwards, also what is new, is not applied before it is shown, too.
        """
        with self._lock:
            self._looked_at[tuple(paths)] = PathSelection(paths, self.copy.folder)
            self._shown.update({each.path: _shown_of(each) for each in changes})

    def host_content(self, change: Change, most_bytes: int) -> bytes:
        """Return what the host has of a regular file before the change.

        Raises
        ------
        ChangedMeanwhileError
            It is no longer what it was compared with, or is larger than ``most_bytes``.
        """
        path = change.source or change.path
        if change.before is None or change.before.kind != "file" or change.before.size_bytes > most_bytes:
            raise _not_to_be_read(path)
        with self._host() as host:
            try:
                with host.open(path) as file:
                    data = file.read(most_bytes)
                found = host.find(path)
            except OSError:
                found = None
        if found is None or Identity.of(found) != change.host:
            raise _not_to_be_read(path)
        return data

    def host_digest(self, change: Change) -> str:
        """Return the digest of what the host has of a regular file, however large; made as ``change.digest`` is.

        Raises
        ------
        ChangedMeanwhileError
            It is no longer what it was compared with.
        """
        with self._host() as host:
            found = host_digest(change, host, change.digest.startswith("sparse"))
            now = host.find(change.path)
        if not found or now is None or Identity.of(now) != change.host:
            raise _not_to_be_read(change.path)
        return found

    def sandbox_content(self, change: Change, most_bytes: int) -> bytes:
        """Return the sandbox's content of a regular file, that of ``change.digest``. Raises as :meth:`host_content`."""
        if change.after is None or change.after.kind != "file" or change.after.size_bytes > most_bytes:
            raise _not_to_be_read(change.path)
        with self.copy.open(change.path) as file:
            data = file.read(change.after.size_bytes)
            file.seek(0)
            found = digest(file, change.after.size_bytes, sparse=change.digest.startswith("sparse"), path=change.path)
        if found != change.digest:
            raise _not_to_be_read(change.path)
        return data

    def apply(self, paths: Sequence[str] = (), *, check: bool = False, globs: bool = True) -> Applied:
        """Take changes over to the host, each as a whole or not at all.

        Parameters
        ----------
        paths, globs
            As of :class:`PathSelection`. Folders that a file needs are made with it.
        check : bool
            Only say what would be done.

        Raises
        ------
        NoSuchChangeError, WorkingCopyError, RepositoryNotFoundError
            As of :meth:`changes`; nothing was done.
        ApplyError
            Some could not be taken over. All others are.
        """
        with self._lock, self._host() as host:
            everything = self._find(host, ())
            chosen = _with_folders(
                PathSelection(paths, self.copy.folder, globs=globs).of(everything), everything, "created"
            )
            reasons = {each.path: each.conflict or self._unseen(each) for each in chosen if not each.refusal}
            reasons |= _waiting(chosen, reasons, everything, host)
            ready = [each for each in chosen if not each.refusal and not reasons[each.path]]
            if not check:
                reasons |= Application(self.copy, host, self._taken).run(ready)
                self._note_folders(everything, host)
        refused = tuple(Refused(each, each.refusal) for each in chosen if each.refusal)
        failed = tuple(Refused(each, reasons[each.path]) for each in chosen if reasons.get(each.path))
        applied = Applied(tuple(each for each in ready if not reasons[each.path]), refused, failed)
        if failed:
            raise _apply_error(applied, check)
        return applied

    def discard(self, paths: Sequence[str], files: SandboxFiles, *, globs: bool = True) -> list[Change]:
        """Bring the host's version back into the sandbox, and return what was thrown away.

        Parameters
        ----------
        paths, globs
            As of :class:`PathSelection`.
        files : SandboxFiles
            Of the sandbox; it is started where it does not run.

        Raises
        ------
        NoSuchChangeError, WorkingCopyError, RepositoryNotFoundError
            As of :meth:`changes`; nothing was done.
        SandboxFileError
            The sandbox's file system refused; some may be discarded.
        DiscardError
            Something is different still.
        """
        with self._lock, self._host() as host:
            selection = PathSelection(paths, self.copy.folder, globs=globs)
            found = self._look(host)
            chosen = selection.of(found.changes)
            in_detail = _with_folders(selection.of(found.with_git), found.with_git, "deleted") if chosen else []
            if self._git and self._git_files and any(each in found.outside for each in in_detail):
                self._git.discard((), self._git_files)
            in_detail = [each for each in in_detail if each not in found.outside]
            discard_changes(in_detail, host, files)
            for change in in_detail:
                self._note(change, host)
            done = {path for each in in_detail for path in (each.path, each.source)}
            left = tuple(each.path for each in self._look(host).with_git if each.path in done)
        if left:
            raise DiscardError(
                f"{_named(left)} in the sandbox is not as on the host: code there may be writing to it.",
                paths=left,
                next_step="Interrupt what runs there, and discard again.",
            )
        return chosen

    @contextmanager
    def _host(self) -> Iterator[HostTree]:
        with HostTree(self.copy.folder) as host:
            if host.place != self._place:
                raise RepositoryNotFoundError(
                    f"The repository {str(self.copy.folder)!r} is another folder than when the sandbox started.",
                    next_step="Bring it back, or stop the sandbox: its changes are to another one's files.",
                )
            yield host

    def _find(self, host: HostTree, paths: Sequence[str]) -> list[Change]:
        return PathSelection(paths, self.copy.folder).of(self._look(host).changes)

    def _look(self, host: HostTree) -> _Look:
        found = find_changes(self.copy, host, taken=self._taken, hides=self._hides)
        outside = [replace(each, path=".git") for each in self._git.changes()] if self._git else []
        return _Look([*outside, *found.changes], [*outside, *found.with_git], outside)

    def _unseen(self, change: Change) -> str:
        """Return why a change has to be looked at before it is applied."""
        seen = self._shown.get(change.path)
        in_sight = any(each.matches(change.path) for each in self._looked_at.values())
        return _LOOK_AGAIN if (seen is not None or in_sight) and seen != _shown_of(change) else ""

    def _note_folders(self, changes: Sequence[Change], host: HostTree) -> None:
        """Note the folders that were as expected and still have their modes: if they changed since, it was by us."""
        for change in changes:
            if change.before and change.before.kind == "directory" and change.host and not change.conflict:
                found = host.find(change.path)
                now = Identity.of(found) if found else None
                if now and _alike(now) == _alike(change.host):
                    self._taken.note(change.path, now)

    def _note(self, change: Change, host: HostTree) -> None:
        path = change.source or change.path
        found = host.find(path)
        self._taken.note(path, Identity.of(found) if found else None)


def _shown_of(change: Change) -> tuple[object, ...]:
    """Return what of a change was shown: all but times, which say nothing."""
    after = replace(change.after, modified_ns=0, size_bytes=0) if change.after else None
    return change.kind, change.source, change.digest, after


def _with_folders(
    chosen: Sequence[Change], everything: Sequence[Change], kind: Literal["created", "deleted"]
) -> list[Change]:
    """Return the changes with the folders that they need: new ones to be applied, or removed ones to be discarded."""
    folders = {each.path: each for each in everything if each.kind == kind and each.file_kind == "directory"}
    wanted = {each.path: each for each in chosen}
    for change in chosen:
        if change.after if kind == "created" else change.before:
            path = change.path if kind == "created" else change.source or change.path
            wanted.update({each: folders[each] for each in parents(path) if each in folders})
    return list(wanted.values())


def _alike(folder: Identity) -> Identity:
    """Return what of a folder does not change with what is in it."""
    return folder._replace(changed_ns=0, size_bytes=0)


def _waiting(
    chosen: Sequence[Change], reasons: Mapping[str, str], everything: Sequence[Change], host: HostTree
) -> dict[str, str]:
    """Return which of those without a reason have to wait for others, and why."""
    ready = [each for each in chosen if not each.refusal and not reasons[each.path]]
    refused = [each for each in chosen if each.refusal or reasons[each.path]]
    asked = {each.path for each in chosen}
    return held_back(ready, refused, [each for each in everything if each.path not in asked], host)


def _not_to_be_read(path: str) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(
        f"{path!r} is no longer what it was when it was compared.",
        path=path,
        next_step="Look again with `%sandbox diff`.",
    )


def _named(paths: Sequence[str]) -> str:
    named = ", ".join(repr(path) for path in paths[:_MAX_NAMED])
    return f"{named} and {len(paths) - _MAX_NAMED} more" if len(paths) > _MAX_NAMED else named


def _apply_error(applied: Applied, check: bool) -> ApplyError:
    lines = [f"  {each.change.path!r} {each.reason}" for each in applied.failed[:_MAX_NAMED]]
    if len(applied.failed) > _MAX_NAMED:
        lines.append(f"  and {len(applied.failed) - _MAX_NAMED} more")
    done = f"{len(applied.done)} {'could be' if check else 'were'} taken over."
    return ApplyError(
        f"{len(applied.failed)} of the changes can't be taken over:\n" + "\n".join(lines) + f"\n{done}",
        applied=applied,
        next_step="`%sandbox diff` shows them as they are now.",
    )
