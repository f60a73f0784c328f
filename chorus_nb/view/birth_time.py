"""When a file was made, by the kernel's word: statx(2), which Python does not have."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_BTIME_AT = 80
"""Where ``stx_btime`` is in ``struct statx`` (``include/uapi/linux/stat.h``): seconds in 8 bytes, nanoseconds in 4."""

_Statx = Callable[[int, bytes, int, int, object], int]


def birth_ns(name: str, folder: int) -> int | None:
    """Return when the file of that name in an open folder was made; of a link, the link itself.

    Nobody can set it, unlike the time of the last change.

    Parameters
    ----------
    name : str
        Of one entry.
    folder : int
        A descriptor.

    Returns
    -------
    int or None
        Nanoseconds since the epoch, by the clock that sets ``st_ctime_ns`` of files on this machine. None where the
        file system keeps no such time.

    Raises
    ------
    OSError
    """
    statx = _statx()
    if statx is None:
        return None
    found = ctypes.create_string_buffer(256)
    if statx(folder, os.fsencode(name), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, found):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    if not ctypes.c_uint32.from_buffer(found).value & _STATX_BTIME:
        return None
    seconds = ctypes.c_int64.from_buffer(found, _BTIME_AT).value
    return seconds * 10**9 + ctypes.c_uint32.from_buffer(found, _BTIME_AT + 8).value


@cache
def _statx() -> _Statx | None:
    """Find the C library's function: glibc has it since 2.28."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    return function
