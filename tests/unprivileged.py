"""What somebody finds who is not root: for tests that root runs, for whom permissions mean nothing."""

from __future__ import annotations

import importlib
import os
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import chorus_nb

NOBODY = 65534


def as_nobody(say: Callable[[], str]) -> str:
    """Return what ``say`` returns in a child that gives up root for good."""
    return said_by(NOBODY, say)


def said_by(uid: int, say: Callable[[], str], groups: Sequence[int] = (), home: str = "/nonexistent") -> str:
    """Return what ``say`` returns in a child that is somebody else for good, as far as root can make one.

    Raises
    ------
    AssertionError
        It fails, with the child's traceback.
    """
    _import_all()  # Afterwards the child may not read the folder that it is in.
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        status = 1
        try:
            os.environ["HOME"] = home
            _become(uid, groups)
            os.write(write_end, say().encode())
            status = 0
        except BaseException:
            os.write(write_end, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as answer:
        said = answer.read()
    assert os.waitpid(child, 0)[1] == 0, said
    return said


def _become(uid: int, groups: Sequence[int]) -> None:
    if os.getuid() == 0:
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)


def _import_all() -> None:
    import docker  # noqa: F401
    import requests  # noqa: F401

    for module in pkgutil.walk_packages(chorus_nb.__path__, "chorus_nb."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


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
