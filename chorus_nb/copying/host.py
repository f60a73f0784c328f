"""The host's side of a copy: no link that a sandbox may have made is ever followed.

A path is resolved once, and what it leads to is then opened part by part, from the root on, without following any link
(:class:`~chorus_nb.host_tree.HostTree`): one that is put there meanwhile makes an error. Folders of the host that the
sandbox writes to (the repository with ``rw``, a mount) may hold links to anywhere from the start, so a path that leads
out of one by a link is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import ChorusError, TransferError
from ..host_tree import HostTree
from ..repository import working_folder
from ..sanitize import printable_line
from .transfer import Transfer

NAME_ERRNOS = frozenset({errno.EILSEQ, errno.ENAMETOOLONG, errno.EINVAL})
"""What a file system says to a name that it can't have."""


@contextmanager
def host_tree() -> Iterator[HostTree]:
    """Open the host's files; paths are those of :func:`real_path`."""
    with HostTree(Path("/")) as tree:
        yield tree


def real_path(path: str, guarded: Sequence[Path]) -> str:
    """Return where a path leads, relative to the root.

    Parameters
    ----------
    path : str
    guarded : sequence of Path
        Folders that the sandbox may write to.

    Raises
    ------
    TransferError
        By a link it leads out of one of these.
    """
    real = Path(os.path.realpath(path))
    # Each part as it stands, links and `..` included: what is above a link is not what is before it in the path.
    parts = (working_folder() / path).parts
    passed = [Path(os.path.realpath(Path(*parts[:n]))) for n in range(1, len(parts))] if guarded else []
    for folder in (Path(os.path.realpath(each)) for each in guarded):
        if not real.is_relative_to(folder) and any(each.is_relative_to(folder) for each in passed):
            raise TransferError(
                f"{printable_line(path)!r} leads out of a folder that the sandbox may write to.",
                path=path,
                next_step="Look for a link in it, and name the place that you mean.",
            )
    return real.as_posix().lstrip("/")


def make_folder(tree: HostTree, path: str) -> None:
    """Make a folder, and those that it lies in, where they are not there. Raises ``OSError``."""
    parts = path.split("/")
    for number in range(1, len(parts) + 1):
        folder, name = tree.at("/".join(parts[:number]))
        try:
            os.mkdir(name, dir_fd=folder)
        except OSError:
            # Also where it may not be made, as it need not.
            if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                raise


class Copy(Protocol):
    """A copy under way: the path on the host that it is at, and what was copied."""

    at: str
    done: Transfer


@contextmanager
def accounted(copy: Copy) -> Iterator[None]:
    """Have whatever ends a copy say what was copied before it; what the host's file system says becomes our error."""
    try:
        yield
    except BaseException as error:
        shown = error
        if isinstance(error, OSError) and not isinstance(error, ChorusError):
            shown = refused(copy.at, error)
            for note in getattr(error, "__notes__", ()):
                shown.add_note(note)
        if copy.done.files:
            shown.add_note(f"Copied before that: {copy.done}.")
        if shown is error:
            raise
        raise shown from None


def refused(path: str, error: OSError) -> TransferError:
    """Return the error for what the host's file system says."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return TransferError(
        f"{printable_line(path)!r} on the host: {error.strerror or error}.",
        path=path,
        next_step="Make room there, or choose another place." if full else "Look at the path and its permissions.",
    )
