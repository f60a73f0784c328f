"""Files that hold options: read once, within bounds, and named in every error.

============================  ===========================  ==============================
file                          options at                   whose
============================  ===========================  ==============================
``config.toml``, see          top level; profiles in       the user's
:func:`user_file`             ``[profiles.NAME]``
``chorus.toml``               top level                    the repository's, at its top
``pyproject.toml``            ``[tool.chorus-nb]``         the repository's, at its top
``NOTEBOOK.ipynb``            ``chorus`` of the metadata   the notebook's
============================  ===========================  ==============================
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from ..errors import ConfigurationError

APPLICATION = "chorus-nb"

_MAX_TABLE_BYTES = 2**20
_MAX_NOTEBOOK_BYTES = 2**29
_PLACES = {"pyproject.toml": ("tool", APPLICATION), "chorus.toml": ()}


def user_file() -> Path:
    """Return where the user's configuration is, if there is one: ``~/.config/chorus-nb/config.toml`` on Linux."""
    return platformdirs.user_config_path(APPLICATION, appauthor=False) / "config.toml"


def notebook_file() -> Path | None:
    """Return the notebook that this is the kernel of, where whoever started it says so, as Jupyter's servers do."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    path = Path.cwd() / name
    return path if name.endswith(".ipynb") and path.exists() else None


@dataclass(frozen=True, slots=True)
class Section:
    """Options that were found in a file.

    Attributes
    ----------
    path : Path or None
        The file; None for options that stand in none.
    options : mapping
        What stands there, not checked yet; empty where the file or its section is not there.
    place : str
        Where in the file, for messages.
    text : str
        The text of a TOML file, to find lines in.
    """

    path: Path | None
    options: Mapping[str, Any]
    place: str = ""
    text: str = ""

    def __str__(self) -> str:
        return ", ".join(str(part) for part in (self.path, self.place) if part)

    @property
    def digest(self) -> str:
        """The SHA-256 of the options, in hexadecimal: of what was parsed, and of nothing else in the file."""
        # TOML has dates, which no option takes, and JSON does not know.
        text = json.dumps(self.options, sort_keys=True, separators=(",", ":"), default=repr)
        return hashlib.sha256(text.encode()).hexdigest()

    def at(self, key: str) -> str:
        """Return the file and, where it is plain to see, the line of a key."""
        line = self._line(key)
        return f"{self}, line {line}" if line else str(self)

    def _line(self, key: str) -> int | None:
        header = self.place
        inside = not header
        for number, line in enumerate(self.text.splitlines(), start=1):
            if line.lstrip().startswith("["):
                inside = line.strip() == header
            elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
                return number
        return None


def repository_files(folder: Path) -> list[Path]:
    """Return the files in which a repository may have options."""
    return [folder / name for name in _PLACES]


def repository_section(folder: Path) -> Section:
    """Return what the repository at ``folder`` asks for.

    Raises
    ------
    ConfigurationError
        For a file that can't be read: then it is not known what it would lock. Where two files have options.
    """
    project, own = (read_section(path) for path in repository_files(folder))
    if own.options and project.options:
        raise ConfigurationError(
            f"{own} and {project} both have options of the sandbox.", next_step="Keep them in one of the two."
        )
    return own if own.options else project


def read_section(path: Path) -> Section:
    """Return the options in a file of a repository, by its name, or in the metadata of a notebook."""
    if path.suffix == ".ipynb":
        found = _parsed(path, _MAX_NOTEBOOK_BYTES, json.loads)
        return Section(path, _table(found[0], path, "metadata", "chorus"), "metadata 'chorus'")
    keys = _PLACES.get(path.name, ())
    document, text = _parsed(path, _MAX_TABLE_BYTES, tomllib.loads)
    return Section(path, _table(document, path, *keys), f"[{'.'.join(keys)}]" if keys else "", text)


def read_user_file(path: Path) -> Section:
    """Return all that stands in the user's configuration. Raises where others than the user may write it."""
    document, text = _parsed(path, _MAX_TABLE_BYTES, tomllib.loads, own=True)
    return Section(path, _table(document, path), text=text)


def _parsed(path: Path, max_bytes: int, parse: Any, own: bool = False) -> tuple[Any, str]:
    try:
        text = read_text(path, max_bytes, own=own)
        return parse(text), text
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} can't be read, so it is not known what it asks of the sandbox: {error}.",
            next_step="Mend the file, or take it away.",
        ) from None


def read_text(path: Path, max_bytes: int, own: bool = False) -> str:
    """Return the text of a regular file, read once.

    Raises
    ------
    OSError, ValueError
        Where it is none, is larger than that, or is to be the user's ``own`` and could be written by others.
    """
    # A pipe or a device of this name would be waited for, or read for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if own and status.st_uid not in (0, os.getuid()):
            raise ValueError(f"it belongs to another user, {status.st_uid}")
        if own and status.st_mode & stat.S_IWOTH:
            raise ValueError("everybody may write it (`chmod o-w` ends that)")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes >> 20} MiB")
    return data.decode()


def _table(found: Any, path: Path, *keys: str) -> Mapping[str, Any]:
    """Return the mapping at these keys; empty where they are not there."""
    for key in keys:
        if not isinstance(found, dict):
            raise ConfigurationError(f"{path}: {key!r} is in no table.", next_step="Mend the file.")
        found = found.get(key, {})
    if not isinstance(found, dict):
        where = f"{keys[-1]!r}" if keys else "it"
        raise ConfigurationError(f"{path}: {where} is no table of options.", next_step="Mend the file.")
    return found
