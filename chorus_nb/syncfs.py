"""syncfs(2), which Python does not have: one call puts on the disk what many files have got."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache


@cache
def _syncfs() -> Callable[[int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = (ctypes.c_int,)
    return function


def has_syncfs() -> bool:
    """Whether this system has it: Linux, with glibc 2.14 or later, or musl."""
    return _syncfs() is not None


def syncfs(descriptor: int) -> None:
    """Wait until all that was written to the file system of an open file is on its disk. Raises ``OSError``."""
    function = _syncfs()
    assert function is not None
    if function(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
