"""What a sandbox has changed of the repository: its working copy against the files of the host as they are now.

Compared is by content, size and permission bits, never by times: what was only touched has not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..host_tree import Identity, tree_order
from ..working_copy import Entry, FileKind, FileState

ChangeKind = Literal["created", "modified", "deleted", "renamed", "mode"]


@dataclass(frozen=True, slots=True)
class Change:
    """One path that a sandbox has otherwise than the host. All names and figures in it are the sandbox's word.

    Attributes
    ----------
    kind : str
        ``created``, ``modified`` (also where a link is now a file, and the like), ``deleted``, ``renamed``, or
        ``mode``: the same content with other permission bits. Folders come too, before what is in them.
    path : str
        Relative to the repository, as in :class:`chorus_nb.working_copy.Entry`.
    before : FileState or None
        What the host has at the path; of a renamed file, at ``source``.
    after : FileState or None
        What the sandbox has there.
    source : str
        Of a renamed file: where the host has it.
    digest : str
        Of a regular file in the sandbox: ``sha256:`` and the hexadecimal digest of its content; ``sparse-sha256:`` and
        that of its data and their places, where it is mostly holes.
    conflict : str
        Why the host's file may not be replaced, as the end of a sentence: it was changed meanwhile. Empty where it may.
    refusal : str
        Why this is never taken over, likewise: a device, a link that leads outside. What git keeps in ``.git`` is
        one change of that folder, which says what of it has changed.
    host : Identity or None
        The host's file that this was compared with.
    """

    kind: ChangeKind
    path: str
    before: FileState | None
    after: FileState | None
    source: str = ""
    digest: str = ""
    conflict: str = ""
    refusal: str = ""
    host: Identity | None = field(default=None, repr=False, compare=False)

    @property
    def file_kind(self) -> FileKind:
        """What the sandbox has there, or, where it has nothing, the host."""
        state = self.after or self.before
        return state.kind if state else "other"


def by_path(change: Change | Entry) -> str:
    """Return what to sort by, so that folders come before what is in them."""
    return tree_order(change.path)


@dataclass(slots=True)
class Taken:
    """What has come to the host from one sandbox, or to the sandbox from the host: that is no change of the host's.

    Attributes
    ----------
    now : dict of str to Identity
        The host's file at a path, as it was then.
    replaced : set of int
        The inodes of files that have gone from the host for that.
    gone : set of str
        The paths at which the host had nothing then.
    digests : dict of str to str
        What the sandbox had at a path in ``now`` when that was taken over, as :attr:`Change.digest`.
    """

    now: dict[str, Identity] = field(default_factory=dict)
    replaced: set[int] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)

    def note(self, path: str, found: Identity | None, digest: str = "") -> None:
        """Note what the host has at a path now, and what the sandbox has there where that is known."""
        before = self.now.pop(path, None)
        self.digests.pop(path, None)
        if before:
            self.replaced.add(before.inode)
        if found is None:
            self.gone.add(path)
            return
        self.gone.discard(path)
        self.now[path] = found
        if digest:
            self.digests[path] = digest
