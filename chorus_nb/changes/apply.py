"""Takes changes of a sandbox over to the host, in an order in which each finds its folder."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from ..errors import ChangedMeanwhileError, ChorusError
from ..host_tree import HostTree, parents
from ..working_copy import WorkingCopy
from .change import Change, Taken, by_path
from .held_back import last_copies
from .host_writes import HostWriter, Staged, is_closed, unstage
from .unfinished import Unfinished, sweep_unfinished

_MAX_BATCH_FILES = 128
_MAX_BATCH_BYTES = 2**26
_ENDS_IT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
"""The next file would meet the same."""


class Application:
    """Takes over changes that have neither conflict nor refusal.

    Parameters
    ----------
    copy : WorkingCopy
    host : HostTree
        Of ``copy.folder``.
    taken : Taken
        Gets what we have put on the host.
    """

    def __init__(self, copy: WorkingCopy, host: HostTree, taken: Taken) -> None:
        self._copy = copy
        self._host = host
        self._unfinished = Unfinished(host)
        self._writer = HostWriter(copy, host, self._unfinished)
        self._taken = taken
        self._failed: dict[str, str] = {}
        self._ended_by = ""

    def run(self, changes: Sequence[Change]) -> dict[str, str]:
        """Take them over. Return why not, as the end of a sentence, by the paths of those that could not be."""
        sweep_unfinished()
        try:
            self._take_all(sorted(changes, key=by_path))
        finally:
            self._unfinished.close()
        return self._failed

    def _take_all(self, in_order: Sequence[Change]) -> None:
        replaced = {each.path for each in in_order if each.kind == "modified"}
        gone = [each for each in reversed(in_order) if each.kind == "deleted"]
        made = [each for each in in_order if each.file_kind == "directory" and each.kind in ("created", "modified")]
        modes = [each for each in in_order if each.file_kind == "directory" and each.kind == "mode"]
        # What is in a folder has to go before a file can take its place, and all else goes last.
        self._each([each for each in gone if not replaced.isdisjoint(parents(each.path))], self._writer.remove)
        self._each(made, self._writer.make_folder)
        for batch in _batches(each for each in in_order if each.kind != "deleted" and each.file_kind != "directory"):
            self._take_over(batch)
        left = [each for each in gone if replaced.isdisjoint(parents(each.path))]
        self._failed |= last_copies(left, [each for each in in_order if each.path in self._failed], self._host)
        self._each([each for each in left if each.path not in self._failed], self._writer.remove)
        self._each([*reversed(modes), *(each for each in reversed(made) if is_closed(each))], self._writer.change_mode)

    def _take_over(self, batch: Sequence[Change]) -> None:
        """Take over files and links: all are written, then all are put on the disk, then each gets its name."""
        staged: dict[str, Staged] = {}

        def stage(change: Change) -> None:
            staged[change.path] = self._writer.stage(change, sync=len(batch) == 1)

        def commit(change: Change) -> None:
            if change.path in staged:
                self._writer.commit(staged[change.path])
            elif change.kind == "renamed":
                self._writer.rename(change)
            else:
                self._writer.change_mode(change)

        written = [each for each in batch if each.kind in ("created", "modified")]
        with suppress(ChorusError):  # What can't be had is said of each file.
            self._copy.bring([(each.path, each.after.size_bytes) for each in written if each.after and each.digest])
        try:
            for change in written:
                self._try(change, stage)
            if len(batch) > 1:
                self._sync(staged)
            # Folders are looked up anew: what was one when its files were written may be a link by now.
            self._host.forget()
            for change in batch:
                # What is written already takes no more space.
                if change.path not in self._failed and self._try(change, commit, anyway=change.path in staged):
                    self._note(change)
        finally:
            for each in staged.values():
                unstage(each)

    def _sync(self, staged: Mapping[str, Staged]) -> None:
        try:
            self._host.sync()
        except OSError as error:
            for each in staged:
                self._failed[each] = f"can't be written: {error.strerror}"

    def _each(self, changes: Sequence[Change], action: Callable[[Change], None]) -> None:
        for change in changes:
            if self._try(change, action):
                self._note(change)

    def _try(self, change: Change, action: Callable[[Change], None], anyway: bool = False) -> bool:
        reason = f"was not tried any more: {self._ended_by}"
        if anyway or not self._ended_by:
            try:
                action(change)
                return True
            except ChangedMeanwhileError as error:
                reason = error.message
            except ChorusError as error:
                reason = f"can't be read in the sandbox: {error.message}"
            except OSError as error:
                reason = f"can't be written: {error.strerror}"
                self._ended_by = str(error.strerror) if error.errno in _ENDS_IT else ""
        self._failed[change.path] = reason
        return False

    def _note(self, change: Change) -> None:
        """Remember what the host has now: that is no change of its own."""
        if change.host:
            self._taken.replaced.add(change.host.inode)
        self._taken.note(change.path, self._writer.identity(change.path), change.digest)
        if change.source:
            self._taken.note(change.source, self._writer.identity(change.source))


def _batches(changes: Iterator[Change]) -> Iterator[list[Change]]:
    batch: list[Change] = []
    size_bytes = 0
    for change in changes:
        batch.append(change)
        size_bytes += change.after.size_bytes if change.after else 0
        if len(batch) == _MAX_BATCH_FILES or size_bytes >= _MAX_BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
