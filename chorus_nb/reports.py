"""What a sandbox has changed, put together for a person: each change with both versions of its file, bounded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from .changes.change import Change, ChangeKind
from .changes.review import Review
from .difference import Budget, Difference, Report, Version, compare, count, named, visible
from .errors import ChorusError
from .session import Session
from .working_copy import FileState

MAX_SHOWN = 100
"""Changes whose content is shown."""

MAX_LISTED = 1000
"""Changes that are named; of those beyond only the number is said."""

MAX_FILE_BYTES = 2**26
MAX_READ_BYTES = 2**28
"""Of all files of a report. Of what is not read, size and digest are shown."""
MAX_DIGEST_BYTES = 2**32
"""Of all files of the host that are read for nothing but that."""


def review_of(session: Session) -> Review:
    """Return what is known of a session's changes. Raises ``ConfigurationError`` where it has no view of its own."""
    return session.view.review(session.name)


def report(review: Review, name: str, changes: Sequence[Change]) -> Report:
    """Return what is shown of these changes of the session ``name``."""
    told = without_containing(changes)
    if not told:
        return Report(f"The sandbox {name!r} has changed nothing here.")
    differences = Differences(review)
    shown = tuple(differences.of(change) for change in told[:MAX_SHOWN])
    left = told[MAX_SHOWN:]
    return Report(
        f"The sandbox {name!r} has made {count(len(told), 'change')}: {_summary(told)}.",
        shown,
        listed(left),
        f"Of these, {len(shown)} are shown; name files or folders to see others: %sandbox diff PATH." if left else "",
    )


def _summary(changes: Sequence[Change]) -> str:
    kinds = Counter(change.kind for change in changes)
    return ", ".join(f"{kinds[kind]:,} {word}" for kind, word in _WORDS.items() if kinds[kind])


_WORDS: Mapping[ChangeKind, str] = {
    "created": "created",
    "modified": "modified",
    "renamed": "renamed",
    "deleted": "deleted",
    "mode": "of the mode alone",
}


def without_containing(changes: Sequence[Change]) -> list[Change]:
    """Return changes without the folders that came or went with what is in them."""
    filled = {parent for change in changes for parent in _parents(change.path)}
    return [
        change
        for change in changes
        if not (change.path in filled and change.file_kind == "directory" and change.kind in ("created", "deleted"))
    ]


def listed(changes: Sequence[Change]) -> tuple[str, ...]:
    """Return a printable line for each change, and a last one where there are too many."""
    lines = [line(change) for change in changes[:MAX_LISTED]]
    return (*lines, *([f"… and {len(changes) - MAX_LISTED:,} more"] if len(changes) > MAX_LISTED else []))


def line(change: Change) -> str:
    """Return what was done to which path, printable."""
    return named(change.kind, visible(change.path), visible(change.source))


def warning(change: Change) -> str:
    """Return why a change can't be taken over as it is; empty where it can."""
    if change.refusal:
        return visible(f"not applied: it {change.refusal}")
    return visible(f"conflict: it {change.conflict}") if change.conflict else ""


class Differences:
    """Makes the differences that are shown together."""

    def __init__(self, review: Review) -> None:
        self._review = review
        self._budget = Budget()
        self._left_bytes = MAX_READ_BYTES
        self._left_for_digests_bytes = MAX_DIGEST_BYTES

    def of(self, change: Change) -> Difference:
        """Return the difference of one change."""
        remark = warning(change)
        try:
            before, after = self._versions(change)
        except ChorusError as error:
            # A cell may be running: what it writes now is shown the next time.
            before = after = None
            remark = "; ".join(filter(None, [remark, f"not shown: {error.message}"]))
        return compare(change.kind, change.path, before, after, self._budget, source=change.source, warning=remark)

    def _versions(self, change: Change) -> tuple[Version | None, Version | None]:
        if change.kind in ("renamed", "mode"):  # The content is the same.
            return _unread(change.before, change.digest), _unread(change.after, change.digest)
        before = self._version(
            change.before, lambda most: self._review.host_content(change, most), self._large_digest(change)
        )
        after = self._version(change.after, lambda most: self._review.sandbox_content(change, most), change.digest)
        return before, after

    def _large_digest(self, change: Change) -> str:
        """Return the digest of a host's file that is too large to be shown; empty where it is not, or far too large."""
        state = change.before
        if state is None or state.kind != "file" or self._is_readable(state):
            return ""
        if state.size_bytes > self._left_for_digests_bytes:
            return ""
        self._left_for_digests_bytes -= state.size_bytes
        return self._review.host_digest(change)

    def _is_readable(self, state: FileState) -> bool:
        return state.size_bytes <= min(MAX_FILE_BYTES, self._left_bytes)

    def _version(self, state: FileState | None, read: Callable[[int], bytes], digest: str = "") -> Version | None:
        if state is None or state.kind != "file" or not self._is_readable(state):
            return _unread(state, digest)
        self._left_bytes -= state.size_bytes
        content = read(state.size_bytes)
        digest = digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
        return Version("file", state.mode, len(content), content, digest)


def _unread(state: FileState | None, digest: str) -> Version | None:
    if state is None:
        return None
    return Version(state.kind, state.mode, state.size_bytes, digest=digest, target=state.target)


def _parents(path: str) -> list[str]:
    return [path[:at] for at, character in enumerate(path) if character == "/"]
