"""Files that are mounted over others of a git directory. They hold no secrets, and each is named by what is in it.

So two sandboxes share one, and none has to be removed with its container. Who writes one removes those that nobody
has used for a week; a container that still has one mounted keeps it all the same.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from ..engines.base import Mount
from ..errors import SandboxStartError

_KEPT_S = 7 * 24 * 3600.0


def mounted(generated: Iterable[tuple[str, str]]) -> Iterator[Mount]:
    """Yield mounts of files with these texts, by their paths inside. Raises ``SandboxStartError``."""
    folder = user_cache_path("chorus-nb") / "git"
    for target, text in generated:
        try:
            yield Mount(str(_written(folder, os.fsencode(text))), target)
        except OSError as error:
            raise SandboxStartError(
                f"The folder {str(folder)!r}, for what the sandbox sees of git's settings, takes no file: "
                f"{error.strerror}.",
                next_step="Free space there, or set XDG_CACHE_HOME to a folder on another disk.",
            ) from error


def _written(folder: Path, data: bytes) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()
    try:
        os.utime(path)
    except FileNotFoundError:
        _remove_old(folder)
        draft = folder / f"{path.name}.{secrets.token_hex(4)}"
        draft.write_bytes(data)
        draft.chmod(0o644)  # The folder is this user's; in the sandbox another one may have to read it.
        draft.replace(path)
    return path


def _remove_old(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _KEPT_S:
                path.unlink()
