"""The options of a sandbox on a command line: one declaration for ``%%sandbox``, ``chorus-nb`` and the kernel.

There is one for each flat option of :mod:`chorus_nb.config`, with ``-`` for ``_``, grouped as they are there.
"""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .config import OPTIONS, REFUSED, SECTIONS, choices, meaning
from .errors import ConfigurationError

CELL_OPTIONS: Mapping[str, str] = {
    "gauge": "The strip above a cell's output. Allowed: on or off.",
}
"""What is about each cell, and not about the container."""

PROFILE = "default, strict, tutorial, untrusted, or one of your own configuration"
"""What the option ``profile`` takes."""

_TITLES = {"": "the sandbox"}
_LONG = 120
_WITHOUT_VALUE: Mapping[str, Mapping[str, Any]] = {"privileged": {"action": "store_const", "const": ""}}
_NAMES = ["profile", *OPTIONS, *CELL_OPTIONS]


def add_policy_arguments(parser: ArgumentParser, leave_out: Iterable[str] = ()) -> None:
    """Declare the options. Their values stay text: what is wrong with one is said by the configuration."""
    parser.add_argument("--profile", metavar="VALUE", help=f"What to start from: {PROFILE}.")
    for title, arguments in policy_arguments(leave_out):
        group = parser.add_argument_group(title)
        for name, keywords in arguments:
            group.add_argument(name, **keywords)
    group = parser.add_argument_group("each cell")
    for name, text in CELL_OPTIONS.items():
        group.add_argument(flag(name), metavar="VALUE", help=text)


def policy_arguments(leave_out: Iterable[str] = ()) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Yield the title of each part of the configuration, and what ``add_argument`` takes for each of its options."""
    for section, names in SECTIONS.items():
        yield _TITLES.get(section, section), [_argument(name) for name in names if name not in leave_out]
    # Said to be refused, rather than not to be known or taken for the beginning of another's name.
    yield "", [(flag(name), {"help": SUPPRESS, **_WITHOUT_VALUE.get(name, {})}) for name in REFUSED]


def _argument(name: str) -> tuple[str, dict[str, Any]]:
    if name == "env":
        text = "Pass an environment variable in, with the value it has here or this one; may be repeated."
        return "--env", {"action": "append", "metavar": "NAME[=VALUE]", "help": text}
    text = f"{_short(meaning(name))} Allowed: {OPTIONS[name].allowed}".replace("%", "%%")
    if OPTIONS[name].many:
        return flag(name), {"action": "append", "metavar": "VALUE", "help": f"{text}; may be repeated."}
    # What is true or false is turned on by its name alone.
    alone = {"nargs": "?", "const": "true"} if choices(name) == ("true", "false") else {}
    return flag(name), {"metavar": "VALUE", "help": f"{text}.", **alone}


def _short(text: str) -> str:
    """Return a text, or the first sentence of a long one."""
    return text if len(text) <= _LONG else text.partition(". ")[0].removesuffix(".") + "."


def given(arguments: Namespace) -> dict[str, Any]:
    """Return the options that were given, as :func:`chorus_nb.settings.resolve` takes them.

    Raises
    ------
    ConfigurationError
        Where ``--env`` names a variable that is not there.
    """
    asked: dict[str, Any] = {name: getattr(arguments, name, None) for name in (*_NAMES, *REFUSED)}
    options = {name: value for name, value in asked.items() if value is not None}
    if "env" in options:
        options["env"] = environment(arguments.env)
    return options


def as_arguments(arguments: Namespace) -> list[str]:
    """Return the words that give the same options to another program."""
    words = []
    for name in _NAMES:
        value = getattr(arguments, name, None)
        for each in [] if value is None else value if isinstance(value, list) else [value]:
            words.append(f"{flag(name)}={each}")
    return words


def environment(variables: Iterable[str]) -> dict[str, str]:
    """Read ``NAME=VALUE``, and ``NAME`` with the value it has here."""
    return dict(_variable(each) for each in variables)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals and name not in os.environ:
        raise ConfigurationError(
            f"--env {name}: there is no such variable here.", next_step=f"Give it a value: --env {name}=VALUE."
        )
    return name, value if equals else os.environ[name]


def flag(name: str) -> str:
    """Return an option as it is typed: ``--open-files`` for ``open_files``."""
    return "--" + name.replace("_", "-")
