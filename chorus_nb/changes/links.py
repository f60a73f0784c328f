"""Which links of a sandbox may stand in the repository on the host."""

from __future__ import annotations

import os
import stat
from itertools import accumulate

from ..host_tree import HostTree, split
from .git_folders import git_folder

_OUTSIDE = "is a link that leads out of the repository"


def why_not_taken(host: HostTree, path: str, target: str) -> str:
    """Return why a link is not taken over; empty where it is.

    One that is relative, first goes up no further than the repository and then down leads nowhere outside, whatever
    other links of that kind stand in its way. A link that the host has in its way is looked at as well.

    Parameters
    ----------
    host : HostTree
    path : str
        Where the link is.
    target : str
        What it says.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    folder = split(path)[0].split("/") if "/" in path else []
    if not target or target.startswith("/") or "\0" in target or ups > len(folder):
        return _OUTSIDE
    if ".." in parts[ups:]:
        return "is a link that goes down before it goes up, and so may lead anywhere"
    inside = [*folder[: len(folder) - ups], *parts[ups:]]
    if git_folder("/".join(inside)):
        return "is a link into git's own files"
    on_the_way = list(accumulate(inside, lambda start, part: f"{start}/{part}"))
    return _OUTSIDE if any(_leads_out(host, each) for each in on_the_way) else ""


def _leads_out(host: HostTree, path: str) -> bool:
    """Whether the host has a link there that leads out of the repository."""
    found = host.find(path)
    if found is None or not stat.S_ISLNK(found.st_mode):
        return False
    end = os.path.realpath(host.path / path)
    return os.path.commonpath([end, host.path]) != str(host.path)
