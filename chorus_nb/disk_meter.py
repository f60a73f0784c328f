"""How much a sandbox has added on disk: measured, because few storage drivers know a quota.

Counted are the container's writable layer, which the engine adds up, what the host's folders have grown that it may
write to, and what an overlay of the repository holds. What it puts into a named volume is not: only the engine sees
that. It is what the files take up at the time: the limit can be passed by as much as the disk takes until the next
look, and a file that was deleted while a process has it open is not seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from .config import SandboxConfig
from .engines.base import Container

HIDDEN_BYTES = 2**63 - 1
"""What is counted where a folder came that can't be looked into: nobody knows how much is in there."""

_BLOCK_BYTES = 512
"""The unit of ``st_blocks`` (inode(7))."""


class DiskMeter:
    """Measures one sandbox; folders from the size that they have now, an overlay's upper folder all that is in it.

    Parameters
    ----------
    container : Container
        Started.
    folders : sequence of Path
        Folders, and files, of the host that it may write to.
    uppers : sequence of Path
        The folders that its overlays of the repository write to.
    layer : bool
        Whether the image's file system takes writes.

    Raises
    ------
    EngineError, OSError
        It can't be measured.
    """

    def __init__(
        self, container: Container, folders: Sequence[Path], *, layer: bool, uppers: Sequence[Path] = ()
    ) -> None:
        self._container = container
        self._folders = [each for each in folders if not any(other in each.parents for other in folders)]
        self._uppers = uppers
        self._layer = layer
        self._before_bytes, self._hidden_before = self._measure()
        # What the engine keeps to its limit is measured all the same: btrfs lets go of a quota once it has lost count,
        # but then nobody can say how large a layer is that has reached it.
        if layer and not container.keeps_quota:
            container.layer_bytes()  # What could not be measured later would be no limit.

    @classmethod
    def of(
        cls, config: SandboxConfig, container: Container, repository: Sequence[Path], uppers: Sequence[Path] = ()
    ) -> DiskMeter | None:
        """Return the meter of a sandbox; None where it has nothing on disk to write to."""
        layer = not config.security.read_only_root
        folders = [path.resolve() for path in config.mounts.writable]
        if config.repository.mode == "rw":
            folders += repository
        return cls(container, folders, layer=layer, uppers=uppers) if layer or folders or uppers else None

    def added_bytes(self) -> int:
        """Return what the sandbox has added. Raises ``EngineError`` where the engine can't say."""
        added = self._container.layer_bytes() if self._layer else 0
        for upper in self._uppers:
            upper_bytes, hidden = folder_bytes(upper)
            if hidden:
                return HIDDEN_BYTES
            added += upper_bytes
        now_bytes, hidden = self._measure()
        return HIDDEN_BYTES if hidden > self._hidden_before else added + max(0, now_bytes - self._before_bytes)

    def _measure(self) -> tuple[int, int]:
        """Add up all folders: bytes, and how many folders in them could not be looked into."""
        found = [folder_bytes(folder) for folder in self._folders]
        return sum(size for size, _ in found), sum(hidden for _, hidden in found)


def folder_bytes(folder: Path) -> tuple[int, int]:
    """Add up what a file, or all files below a folder, take up on the disk, each once however many names it has.

    Returns
    -------
    tuple of int
        Bytes, and how many folders could not be looked into: they are closed to this user, or nested too deep.
    """
    top = folder.stat()
    if not stat.S_ISDIR(top.st_mode):
        return top.st_blocks * _BLOCK_BYTES, 0
    device, seen, total, hidden = top.st_dev, set[int](), 0, 0
    left = [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                found = [(entry.path, status) for entry in entries if (status := _status(entry))]
        except FileNotFoundError:
            continue  # Gone by now.
        except OSError:
            hidden += 1
            continue
        for path, status in found:
            if status.st_dev != device or status.st_ino in seen:
                continue
            if stat.S_ISDIR(status.st_mode):
                left.append(path)
            elif status.st_nlink > 1:
                seen.add(status.st_ino)
            total += status.st_blocks * _BLOCK_BYTES
    return total, hidden


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
