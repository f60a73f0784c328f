"""Finds files that a sandbox has renamed: what is gone here and new there, with the same content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ..errors import ChorusError
from ..host_tree import HostTree, parents
from .change import Change
from .content import digest


def pair_renames(changes: Sequence[Change], host: HostTree) -> list[Change]:
    """Return the changes with each pair of a deleted and a created file made one, where there is no doubt.

    That is where one file alone is gone and one alone is new with a content; that of empty ones says nothing. What is
    gone is read only where a new file has its size.
    """
    replaced = {each.path for each in changes if each.kind == "modified"}
    candidates = [each for each in changes if _may_be_renamed(each, replaced)]
    created: dict[str, list[Change]] = defaultdict(list)
    sparse: dict[int, bool] = {}
    for each in candidates:
        if each.after:
            created[each.digest].append(each)
            sparse[each.after.size_bytes] = each.digest.startswith("sparse")
    deleted: dict[str, list[Change]] = defaultdict(list)
    for each in candidates:
        if each.before and each.before.size_bytes in sparse:
            deleted[host_digest(each, host, sparse[each.before.size_bytes])].append(each)
    pairs = [(deleted[key][0], new[0]) for key, new in created.items() if len(deleted[key]) == len(new) == 1]
    paired = {path for old, new in pairs for path in (old.path, new.path)}
    renamed = [replace(new, kind="renamed", source=old.path, before=old.before, host=old.host) for old, new in pairs]
    return [each for each in changes if each.path not in paired] + renamed


def _may_be_renamed(change: Change, replaced: set[str]) -> bool:
    state = change.after or change.before
    if change.kind not in ("created", "deleted") or state is None or change.refusal or change.conflict:
        return False
    # What is in a folder that comes in place of a file, or goes for one, has to wait for that, or go before it.
    in_the_way = any(parent in replaced for parent in parents(change.path))
    return state.kind == "file" and state.size_bytes > 0 and not in_the_way


def host_digest(change: Change, host: HostTree, sparse: bool) -> str:
    """Return the digest of what the host has; empty where it can't be read."""
    assert change.before is not None
    try:
        with host.open(change.path) as file:
            return digest(file, change.before.size_bytes, sparse=sparse, path=change.path)
    except (OSError, ChorusError):
        return ""
