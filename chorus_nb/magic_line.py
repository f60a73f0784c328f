"""What the line above a cell asks for: which sessions, and with which options."""

from __future__ import annotations

import itertools
import re
from argparse import Namespace
from typing import Any

from .config import OPTIONS, SandboxConfig
from .errors import ConfigurationError
from .manager import DEFAULT_NAME
from .options import CELL_OPTIONS, given

OF_THE_CELL = (*CELL_OPTIONS, "output", "timeout")
"""Options that may differ from cell to cell. All others make a session."""

MAX_AT_ONCE = 16
"""Sessions that one cell may run in: each is a container with a memory limit of its own."""

MATRIX_OPTIONS = (
    *(name for name, option in OPTIONS.items() if not option.many and name not in (*OF_THE_CELL, "repo_path")),
    "python",
)
_PYTHON = re.compile(r"\d{1,2}\.\d{1,3}(?:\.\d{1,3})?")


def sessions_asked(arguments: Namespace) -> dict[str, dict[str, Any]]:
    """Return the options of each session that a cell is to run in, by its name, in the order of the line.

    Raises
    ------
    ConfigurationError
        For names or a matrix that can't be.
    """
    options = options_of(arguments)
    sessions = _matrix(arguments, options) if arguments.matrix else dict.fromkeys(_names(arguments.name), options)
    if len(sessions) > MAX_AT_ONCE:
        raise ConfigurationError(
            f"That is {len(sessions)} sessions at one time; the limit is {MAX_AT_ONCE}.",
            next_step="Spread them over several cells.",
        )
    return sessions


def options_of(arguments: Namespace) -> dict[str, Any]:
    """Return the options that configure a session, as far as they are given."""
    return {name: value for name, value in given(arguments).items() if name not in OF_THE_CELL}


def _names(text: str) -> list[str]:
    names = text.split(",")
    if "" in names or len(set(names)) < len(names):
        raise ConfigurationError(
            f"{text!r} does not name each session once.", next_step="Separate names by commas alone: a,b,c."
        )
    return names


def _matrix(arguments: Namespace, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if arguments.name != DEFAULT_NAME or arguments.fresh:
        given = "--fresh" if arguments.fresh else repr(arguments.name)
        raise ConfigurationError(
            f"--matrix makes sessions of its own and ends them after the cell; {given} says otherwise.",
            next_step=f"Leave out {given}, or name the sessions and their options without --matrix.",
        )
    axes = [_axis(text) for text in arguments.matrix]
    _refuse_repeated([option for option, _ in axes], options)
    every = itertools.product(*([(option, value) for value in values] for option, values in axes))
    return {" ".join(f"{option}={value}" for option, value in one): options | _settings(one) for one in every}


def _axis(text: str) -> tuple[str, list[str]]:
    """Read ``option=A,B``, and refuse values that can't be before any session is made."""
    option, equals, values = text.partition("=")
    if option not in MATRIX_OPTIONS or not equals:
        raise ConfigurationError(
            f"--matrix {text} is not allowed.",
            next_step=f"Allowed: OPTION=A,B with one of {', '.join(MATRIX_OPTIONS)}.",
        )
    found = _names(values)
    for value in found:
        SandboxConfig.from_options(**_settings(((option, value),)))
    return option, found


def _refuse_repeated(given: list[str], options: dict[str, Any]) -> None:
    # A Python version stands for an image.
    fields = ["image" if option == "python" else option for option in given]
    twice = {field for field in fields if fields.count(field) > 1 or field in options}
    if twice:
        raise ConfigurationError(
            f"The matrix and the line set {', '.join(sorted(twice))} more than once.",
            next_step="Give each option once; `python` sets the image.",
        )


def _settings(chosen: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return dict(_image_of(value) if option == "python" else (option, value) for option, value in chosen)


def _image_of(version: str) -> tuple[str, str]:
    if not _PYTHON.fullmatch(version):
        raise ConfigurationError(f"python={version} is not allowed.", next_step="Allowed: a version such as 3.13.")
    return "image", f"python:{version}-slim"
