"""Changes that have to wait, as others that they need are not taken over: known before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..host_tree import HostTree, parents
from ..working_copy import FileState
from .change import Change
from .renames import host_digest


def held_back(
    ready: Sequence[Change], refused: Sequence[Change], unasked: Sequence[Change], host: HostTree
) -> dict[str, str]:
    """Return which changes can't be taken over without others, and why, as the end of a sentence, by their paths.

    Parameters
    ----------
    ready : sequence of Change
        Those that are to be taken over, as far as each is looked at by itself.
    refused : sequence of Change
        Those that were asked for as well, and can't be.
    unasked : sequence of Change
        All others.
    host : HostTree
    """
    reasons: dict[str, str] = {}
    while True:
        staying = [*refused, *unasked]
        found = _in_no_folder(ready, staying) | _not_empty(ready, staying) | last_copies(ready, refused, host)
        if not found:
            return reasons
        reasons |= found
        refused = [*refused, *(each for each in ready if each.path in found)]
        ready = [each for each in ready if each.path not in found]


def last_copies(ready: Iterable[Change], refused: Iterable[Change], host: HostTree) -> dict[str, str]:
    """Find files whose content is to go from the host, and can't come to the place where the sandbox has it.

    Parameters and result are as of :func:`held_back`.
    """
    coming = {each.digest for each in ready if each.after}
    # That of empty files says nothing.
    left = [
        each for each in refused if each.digest and each.digest not in coming and each.after and each.after.size_bytes
    ]
    places = {each.digest: each.path for each in left}
    sparse = {each.after.size_bytes: each.digest.startswith("sparse") for each in left if each.after}
    going = [each for each in ready if each.kind == "deleted" and each.before and each.before.size_bytes in sparse]
    found = {
        each.path: places.get(host_digest(each, host, sparse[each.before.size_bytes])) for each in going if each.before
    }
    return {path: f"has the content of {place!r}, which is not taken over" for path, place in found.items() if place}


def _in_no_folder(ready: Iterable[Change], staying: Iterable[Change]) -> dict[str, str]:
    """Find what lies in a folder that is something else on the host, and stays that."""
    files = {each.path for each in staying if each.before and not _is_folder(each.before) and _is_folder(each.after)}
    inside = ((each.path, files.intersection(parents(each.path))) for each in ready if each.after)
    return {
        path: f"lies in {around.pop()!r}, which is no folder on the host until that is taken over, too"
        for path, around in inside
        if around
    }


def _not_empty(ready: Iterable[Change], staying: Iterable[Change]) -> dict[str, str]:
    """Find folders that are to go from the host, and hold something that stays."""
    paths = [each.source or each.path for each in staying if each.before]
    held = {folder: path for path in paths for folder in parents(path)}
    going = (each.path for each in ready if _is_folder(each.before) and not _is_folder(each.after))
    return {path: f"holds {held[path]!r}, which is not taken over" for path in going if path in held}


def _is_folder(state: FileState | None) -> bool:
    return state is not None and state.kind == "directory"
