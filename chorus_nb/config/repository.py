"""Which folder of the host a sandbox sees, and what of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pathspec import GitIgnoreSpec
from pydantic import BeforeValidator, Field, field_validator

from .option import Option, Policy, free, in_order
from .patterns import gitignore_pattern, hides_no_less, includes_no_more


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _fewer(new: tuple[str, ...], old: tuple[str, ...]) -> bool:
    return set(new) <= set(old)


def _pattern(value: object) -> str:
    pattern = gitignore_pattern(value)
    # Git takes one with a bracket that nothing closes for a pattern that fits no name; who types it means a name.
    if GitIgnoreSpec.from_lines([pattern]).patterns[0].include is None:
        raise ValueError("a pattern that some name fits")
    return pattern


def _shown(value: object) -> str:
    pattern = _pattern(value)
    if pattern.startswith("!"):
        raise ValueError("a pattern without !")
    return pattern


def _umask(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError("three octal digits")
    return value[-3:]


def _masks_no_less(new: str, old: str) -> bool:
    return int(new, 8) & int(old, 8) == int(old, 8)


_Patterns = Annotated[
    tuple[Annotated[str, BeforeValidator(_pattern)], ...], BeforeValidator(_listed), Field(max_length=256)
]
_Shown = Annotated[tuple[Annotated[str, BeforeValidator(_shown)], ...], BeforeValidator(_listed), Field(max_length=256)]
_PATTERNS = "lines as .gitignore has them, such as data/ or *.csv, with at most three stars in a name; no [:alpha:]"


class RepositoryMount(Policy):
    """Which folder of the host the sandbox sees at ``/workspace``, and whether it may write there."""

    mode: Annotated[
        Literal["ro", "rw", "overlay", "none"],
        Option("repo", "ro, rw, overlay or none", in_order("none", "ro", "overlay", "rw")),
    ] = "ro"
    """``ro``: read-only. ``rw``: changes go straight to the host's files. ``overlay``: changes go to a view of
    the sandbox's own, which the session keeps; the host's files stay as they are. ``none``: an empty folder."""
    # Where it comes from a file of the repository, it has to lie in there.
    path: Annotated[Path | None, Option("repo_path", "the path of a folder", free)] = None
    """The folder; None takes the git top level around the working directory, else the working directory."""
    include: Annotated[_Patterns, Option("include", _PATTERNS, includes_no_more, many=True)] = ()
    """What the sandbox sees of the folder, besides ``.git``; everything where there is no pattern."""
    exclude: Annotated[_Patterns, Option("exclude", _PATTERNS, hides_no_less, many=True)] = ()
    """What it does not see, also where that is included: such files look empty, and so do folders."""
    respect_gitignore: Annotated[bool, Option("respect_gitignore", "True or False", in_order(True, False))] = False
    """Whether what the patterns of ``.gitignore`` files and ``.git/info/exclude`` say is not seen either."""
    show_secrets: Annotated[
        _Shown, Option("show_secrets", "lines as .gitignore has them, without !, such as .env", _fewer, many=True)
    ] = ()
    """What is seen although its name is that of a secret: keys, credentials, ``.env``."""
    umask: Annotated[
        Annotated[str, BeforeValidator(_umask)], Option("umask", "three octal digits, such as 022", _masks_no_less)
    ] = "022"
    """Which permissions files and folders lack that the code makes (umask(2))."""

    @field_validator("path", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path if path is None else path.expanduser().absolute()
