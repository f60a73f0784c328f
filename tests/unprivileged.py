"""What somebody finds who is not root: for tests that root runs, for whom permissions mean nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

NOBODY = 65534


def as_nobody(say: Callable[[], str]) -> str:
    """Return what ``say`` returns in a child that gives up root for good."""
    import docker  # noqa: F401 - afterwards the child may not read the folder that it is in.
    import requests  # noqa: F401

    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.environ["HOME"] = "/nonexistent"
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write_end, say().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with open(read_end, encoding="utf-8") as answer:
        return answer.read()


@contextmanager
def as_user(uid: int, groups: Sequence[int] = ()) -> Iterator[None]:
    """Act as a user in this process, as far as root can; who is somebody else already stays that."""
    if os.geteuid() != 0:
        yield
        return
    own_groups = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(own_groups)
