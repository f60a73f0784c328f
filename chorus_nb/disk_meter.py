"""How much a sandbox has added on disk: measured, because few storage drivers know a quota.

Counted are the container's writable layer, which the engine adds up, what a writable repository has grown, and what an
overlay of it holds. That is
what the files take up at the time: the limit can be passed by as much as the disk takes until the next look, and a file
that was deleted while a process has it open is not seen.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .config import SandboxConfig
from .engines.base import Container

HIDDEN_BYTES = 2**63 - 1
"""What is counted where a folder came that can't be looked into: nobody knows how much is in there."""

_BLOCK_BYTES = 512
"""The unit of ``st_blocks`` (inode(7))."""


class DiskMeter:
    """Measures one sandbox; a repository from the size that it has now, an overlay's upper folder all that is in it.

    Parameters
    ----------
    container : Container
        Started.
    repository : Path or None
        The folder that it may write to, if there is one.
    upper : Path or None
        The folder that its overlay of the repository writes to, if there is one.
    layer : bool
        Whether the image's file system takes writes.

    Raises
    ------
    EngineError, OSError
        It can't be measured.
    """

    def __init__(
        self, container: Container, repository: Path | None, *, layer: bool, upper: Path | None = None
    ) -> None:
        self._container = container
        self._repository = repository
        self._upper = upper
        self._layer = layer
        self._before_bytes, self._hidden_before = folder_bytes(repository) if repository else (0, 0)
        # What the engine keeps to its limit is measured all the same: btrfs lets go of a quota once it has lost count,
        # but then nobody can say how large a layer is that has reached it.
        if layer and not container.keeps_quota:
            container.layer_bytes()  # What could not be measured later would be no limit.

    @classmethod
    def of(
        cls, config: SandboxConfig, container: Container, repository: Path | None, upper: Path | None = None
    ) -> DiskMeter | None:
        """Return the meter of a sandbox; None where it has nothing on disk to write to."""
        layer = not config.security.read_only_root
        writable = repository if config.repository.mode == "rw" else None
        return cls(container, writable, layer=layer, upper=upper) if layer or writable or upper else None

    def added_bytes(self) -> int:
        """Return what the sandbox has added. Raises ``EngineError`` where the engine can't say."""
        added = self._container.layer_bytes() if self._layer else 0
        if self._upper:
            upper_bytes, hidden = folder_bytes(self._upper)
            if hidden:
                return HIDDEN_BYTES
            added += upper_bytes
        if self._repository:
            now_bytes, hidden = folder_bytes(self._repository)
            added += max(0, now_bytes - self._before_bytes)
            if hidden > self._hidden_before:
                return HIDDEN_BYTES
        return added


def folder_bytes(folder: Path) -> tuple[int, int]:
    """Add up what the files below a folder take up on its disk, each once however many names it has.

    Returns
    -------
    tuple of int
        Bytes, and how many folders could not be looked into: they are closed to this user, or nested too deep.
    """
    device, seen, total, hidden = folder.stat().st_dev, set[int](), 0, 0
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
