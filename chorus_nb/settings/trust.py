"""Which files of repositories the user has trusted to loosen a sandbox, by path and by the digest of their options.

The list is a file of the user's, outside of every repository and of every sandbox. A file that asks for something else
than it did when it was trusted is no longer trusted.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from ..errors import ConfigurationError
from .files import APPLICATION, Section, read_text

_MAX_BYTES = 2**22


def trust_file() -> Path:
    """Return where the list is kept: ``~/.local/share/chorus-nb/trusted.json`` on Linux."""
    return platformdirs.user_data_path(APPLICATION, appauthor=False) / "trusted.json"


class TrustStore:
    """The files that are trusted.

    Parameters
    ----------
    path : Path, optional
        Where the list is; that of :func:`trust_file` when left out.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or trust_file()

    def trusts(self, section: Section) -> bool:
        """Whether the user has trusted just these options in just this file."""
        if section.path is None or not section.options:
            return False
        return self._read().get(_key(section.path)) == section.digest

    def knows(self, path: Path) -> bool:
        """Whether the file was trusted once, whatever it says now."""
        return _key(path) in self._read()

    def add(self, path: Path, section: Section) -> None:
        """Trust a file with what it says now."""
        self._write({**self._read(), _key(path): section.digest})

    def remove(self, path: Path) -> bool:
        """Trust a file no longer; return whether it was trusted."""
        digests = dict(self._read())
        known = digests.pop(_key(path), None) is not None
        if known:
            self._write(digests)
        return known

    def _read(self) -> Mapping[str, str]:
        try:
            found = json.loads(read_text(self.path, _MAX_BYTES, own=True))["sha256"]
            return {str(path): str(digest) for path, digest in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                f"{self.path}, the list of trusted files, can't be read: {error}.",
                next_step="Take it away; then no file is trusted.",
            ) from None

    def _write(self, digests: Mapping[str, str]) -> None:
        """Write it whole or not at all, for the user alone."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".trusted-")
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump({"sha256": dict(sorted(digests.items()))}, file, indent=1)
                    file.flush()
                    os.fsync(descriptor)
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigurationError(
                f"{self.path}, the list of trusted files, can't be written: {error}.",
                next_step="See that its folder is yours and has room, then trust the file again.",
            ) from None


def _key(path: Path) -> str:
    return str(path.resolve())
