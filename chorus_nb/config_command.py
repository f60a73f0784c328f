"""``chorus-nb config``: what holds here and why, and which files may loosen it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import OPTIONS
from .errors import ConfigurationError
from .repository import find_repository
from .settings import (
    NAMES,
    Section,
    Settings,
    TrustStore,
    files_read,
    loosened_by,
    read_section,
    repository_files,
    repository_section,
    resolve,
    user_file,
)
from .status import settings_table, table, visible

PRECEDENCE = f"""\
who goes before whom, from the lowest to the highest:
  1. the built-in defaults
  2. your own configuration, {user_file()}:
     options at the top, your profiles in [profiles.NAME]; or in its place the profile
     that you type, which is whole: what it does not name is as built in
  3. the repository's chorus.toml, or [tool.chorus-nb] of its pyproject.toml, at its top;
     then 'chorus' in the notebook's metadata. Each may tighten what holds so far. To
     loosen it, you have to trust the file once: chorus-nb config trust. Not even then
     does it loosen a profile that you type
  4. the options that you type
"""


def show(options: Mapping[str, Any], notebook: Path | None, *, as_json: bool) -> int:
    """Print every option with its value and its source, and the files that were read."""
    folder = notebook.absolute().parent if notebook else Path.cwd()
    settings = resolve(folder, options, notebook)
    files = files_read(folder, options, notebook)
    if as_json:
        print(json.dumps(_document(settings, files), indent=1))
        return 0
    rows = [(visible(str(section)), state) for section, state in files]
    print(f"{settings_table(settings)}\n\n{table(rows)}")
    return 0


def _document(settings: Settings, files: list[tuple[Section, str]]) -> dict[str, Any]:
    options = {name: {"value": settings.text(name), "from": str(settings.source(name))} for name in NAMES}
    read = [{"path": str(section.path), "place": section.place, "state": state} for section, state in files]
    return {"profile": settings.profile, "options": options, "files": read}


def trust(path: Path, *, yes: bool) -> int:
    """Show what a file would loosen, ask, and let it; return the exit status."""
    section, folder = _section_at(path)
    assert section.path is not None
    looser = loosened_by(section, folder) if section.options else []
    if not looser:
        print(f"{visible(str(section))} loosens nothing: there is nothing to trust.")
        return 0
    rows = [(name, _shown(name, without), _shown(name, trusted)) for name, without, trusted in looser]
    print(f"{visible(str(section))} would loosen:\n\n{table([('OPTION', 'NOW', 'THEN'), *rows])}\n")
    if not yes and not _asked():
        print("Not trusted.")
        return 1
    TrustStore().add(section.path, section)
    again = f"chorus-nb config untrust {shlex.quote(str(section.path))}"
    print(f"Trusted, as long as it asks for just this. To take that back: {visible(again)}")
    return 0


def untrust(path: Path) -> int:
    """Trust a file, or those of a repository, no longer."""
    store = TrustStore()
    paths = repository_files(find_repository(path)) if path.is_dir() else [path]
    removed = [each for each in paths if store.remove(each)]
    for each in removed:
        print(f"{visible(str(each))} is no longer trusted.")
    if not removed:
        print(f"{visible(str(path))} was not trusted.")
    return 0


def _section_at(path: Path) -> tuple[Section, Path]:
    """Return what a file, or the repository around a folder, asks for, and the folder that it is about."""
    path = path.absolute()
    if path.is_dir():
        return repository_section(find_repository(path)), path
    if not path.exists():
        raise ConfigurationError(f"There is no file {path}.", next_step="Name a file, or the folder of a repository.")
    places = repository_files(find_repository(path.parent))
    if path not in places and path.suffix != ".ipynb":
        raise ConfigurationError(
            f"{path} is not read, so there is nothing to trust.",
            next_step=f"A repository has its options in {' or '.join(map(str, places))}.",
        )
    return read_section(path), path.parent


def _shown(name: str, settings: Settings) -> str:
    """Return a value in full, the variables' too: this is what somebody agrees to."""
    value = settings.value(name)
    if name in OPTIONS and isinstance(value, Mapping):
        return " ".join(f"{key}={text!r}" for key, text in value.items()) or "none"
    return visible(settings.text(name))


def _asked() -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody can be asked here.", next_step="Look at the list above, then add --yes.")
    return input("Trust it with that? [y/N] ").strip().lower() in ("y", "yes")
