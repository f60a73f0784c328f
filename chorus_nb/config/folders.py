"""Paths inside the container: folders in memory, and what is masked or read-only on top of the engine's own."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from .rules import NO_KERNEL_FOLDER
from .units import parse_size_bytes, size_text

_KERNELS = ("/proc", "/sys", "/dev")
_OWN = ("/tmp", "/home/sandbox")  # noqa: S108
_NEEDED = ("/", "/bin", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/sbin", "/sys", "/dev", "/usr", "/var")
_SMALLEST_BYTES, _LARGEST_BYTES = 4096, 2**60


class Tmpfs(NamedTuple):
    """A folder in memory, which takes writes. ``size_bytes`` is None for as large as ``/tmp``."""

    path: str
    size_bytes: int | None
    executable: bool

    def __str__(self) -> str:
        size = "" if self.size_bytes is None else f":{size_text(self.size_bytes)}"
        return f"{self.path}{size}{',exec' if self.executable else ''}"


def tmpfs_of(text: str) -> Tmpfs:
    """Read ``PATH[:SIZE][,exec]``. Raises ``ValueError`` for what is none."""
    place, comma, word = text.partition(",")
    path, colon, size = place.partition(":")
    if comma and word not in ("exec", "noexec"):
        raise ValueError("exec or noexec")
    size_bytes = parse_size_bytes(size) if colon else None
    if size_bytes is not None and not (isinstance(size_bytes, int) and _SMALLEST_BYTES <= size_bytes <= _LARGEST_BYTES):
        raise ValueError("a size of at least 4k")
    return Tmpfs(plain_path(path), size_bytes, word == "exec")


def tmpfs_text(value: object) -> str:
    """Return a folder in memory as it is kept, ``PATH[:SIZE][,exec]``; ``PolicyRefusedError`` for the kernel's."""
    if not isinstance(value, str):
        raise ValueError("a path")
    found = tmpfs_of(value)
    if found.path.startswith(tuple(f"{folder}/" for folder in _KERNELS)):
        raise NO_KERNEL_FOLDER.refusal(f"tmpfs={value!r}", "Choose another path.")
    if found.path in _OWN:
        raise ValueError("another path: /tmp and the home folder are there already")
    return str(found)


def plain_path(value: object) -> str:
    """Return a path inside the container that is absolute, plain, and nothing that the sandbox can't start without."""
    path = value if isinstance(value, str) else ""
    if not re.fullmatch(r"/[^\x00-\x1f:,]{1,400}", path) or posixpath.normpath(path) != path or path.startswith("//"):
        raise ValueError("an absolute path")
    if path in _NEEDED:
        raise ValueError("no folder that everything needs")
    return path
