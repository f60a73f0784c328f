"""What a notebook and its repository may say about their sandbox: more locks, never fewer.

Read are the table ``[tool.chorus-nb]`` of the ``pyproject.toml`` at the top of the repository and the object ``chorus``
in the notebook's metadata. Both come with the code that is to be locked up, so they are as untrusted as the code. Each
may tighten what was in force before it; what would loosen it is refused, and then nothing runs. What the user asks for
on the command line, or in the kernelspec, goes before both.
"""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .config import OPTIONS, SandboxConfig
from .errors import ChorusError, ConfigurationError, PolicyLoosenedError
from .options import CELL_OPTIONS
from .repository import find_repository

_MAX_TABLE_BYTES = 2**20
_MAX_NOTEBOOK_BYTES = 2**29


@dataclass(frozen=True, slots=True)
class NotebookPolicy:
    """What holds for every cell of a notebook.

    Attributes
    ----------
    config : SandboxConfig
        How its sandbox is made.
    gauge : str
        ``on`` or ``off``: the strip above each cell's output.
    """

    config: SandboxConfig
    gauge: str = "off"

    def changed(self, options: Mapping[str, Any]) -> NotebookPolicy:
        """Return it with options put in. Raises ``ConfigurationError`` for what can't be had."""
        flat = {name: value for name, value in options.items() if name not in CELL_OPTIONS}
        changed = replace(self, config=SandboxConfig.from_options(self.config, **flat))
        if "gauge" in options:
            changed = replace(changed, gauge=_gauge(options["gauge"]))
        return changed

    def tightened(self, options: Mapping[str, Any], source: str, folder: Path) -> NotebookPolicy:
        """Return it with options put in that only tighten it.

        Parameters
        ----------
        options : mapping
            Keys of :data:`chorus_nb.config.OPTIONS`, and ``gauge``.
        source : str
            Where they were found, for messages.
        folder : Path
            The repository; a ``repo_path`` has to lie in it.

        Raises
        ------
        PolicyLoosenedError
            For the first option that would loosen it.
        ConfigurationError
            For one that is not there, or a value that is not allowed.
        """
        if "repo_path" in options:
            options = {**options, "repo_path": _inside(options["repo_path"], folder, source)}
        try:
            changed = self.changed(options)
        except ConfigurationError as error:
            raise ConfigurationError(f"{source}: {error.message}", next_step=error.next_step) from None
        for name in options:
            if not self._is_tighter(name, changed):
                raise _loosened(name, self, source)
        return changed

    def _is_tighter(self, name: str, changed: NotebookPolicy) -> bool:
        return name == "gauge" or OPTIONS[name].tighter(changed.config.option(name), self.config.option(name))

    def text(self, name: str) -> str:
        """Return the value of an option as people write it."""
        return self.config.option_text(name)


def notebook_policy(options: Mapping[str, Any], folder: Path, notebook: Path | None = None) -> NotebookPolicy:
    """Return what holds for a notebook: the defaults, tightened by what comes with it, then the user's options.

    Parameters
    ----------
    options : mapping
        What the user asked for, by the names of ``%%sandbox``.
    folder : Path
        Where the notebook is.
    notebook : Path, optional
        Its file, where that is known.

    Raises
    ------
    ConfigurationError
        Also for a file that can't be read: then it is not known what it would lock.
    """
    repository = Path(options["repo_path"]) if "repo_path" in options else find_repository(folder)
    policy = NotebookPolicy(SandboxConfig())
    for found, source in _found(repository, notebook):
        policy = policy.tightened(found, source, repository)
    return policy.changed(options)


def _found(repository: Path, notebook: Path | None) -> Iterator[tuple[Mapping[str, Any], str]]:
    table = repository / "pyproject.toml"
    yield _section(table, _MAX_TABLE_BYTES, tomllib.loads, "tool", "chorus-nb"), f"{table}, [tool.chorus-nb]"
    if notebook is not None:
        source = f"{notebook}, metadata 'chorus'"
        yield _section(notebook, _MAX_NOTEBOOK_BYTES, json.loads, "metadata", "chorus"), source


def _section(path: Path, max_bytes: int, parse: Callable[[str], Any], *keys: str) -> Mapping[str, Any]:
    """Return the mapping at these keys of a file; empty where the file or the keys are not there."""
    try:
        found = parse(_read(path, max_bytes))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} can't be read, so it is not known what it asks of the sandbox: {error}.",
            next_step="Mend the file, or take it away.",
        ) from None
    for key in keys:
        if not isinstance(found, dict):
            raise ConfigurationError(f"{path}: {key!r} is in no table.", next_step="Mend the file.")
        found = found.get(key, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: {keys[-1]!r} is no table of options.", next_step="Mend the file.")
    return found


def _read(path: Path, max_bytes: int) -> str:
    # A pipe or a device of this name would be read for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes >> 20} MiB")
    return data.decode()


def _inside(path: object, folder: Path, source: str) -> Path:
    inside = (folder / str(path)).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise PolicyLoosenedError(
            f"{source}: repo_path={str(path)!r} lies outside of the repository.",
            next_step=f"Name a folder in {folder}.",
            option="repo_path",
        )
    return inside


def _gauge(value: object) -> str:
    if value not in ("on", "off"):
        raise ConfigurationError(f"gauge={value!r} is not allowed.", next_step="Allowed: on or off.")
    return str(value)


def _loosened(name: str, policy: NotebookPolicy, source: str) -> ChorusError:
    return PolicyLoosenedError(
        f"{source}: {name} may be tightened there and not loosened; in force is {policy.text(name)}.",
        next_step=f"Take it out there. If you trust that code with more, say so yourself with --{name}: "
        "to `chorus-nb run`, or to `chorus-nb kernel install`.",
        option=name,
    )
