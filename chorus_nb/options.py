"""The options of a sandbox on a command line: one declaration for ``chorus-nb run`` and for the kernel.

There is one for nearly each flat option of :mod:`chorus_nb.config`, named as in ``%%sandbox``.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from typing import Any

from .config import OPTIONS
from .errors import ConfigurationError

CELL_OPTIONS: Mapping[str, str] = {
    "gauge": "on or off: the strip above a cell's output",
}
"""What is about each cell, and not about the container."""

# ``kernel install --user`` has meant something else for as long as there have been kernelspecs.
_NAMES = [*(name for name in OPTIONS if name != "user"), *CELL_OPTIONS]


def add_policy_arguments(parser: ArgumentParser) -> None:
    """Declare the options. Their values stay text: what is wrong with one is said by the configuration."""
    group = parser.add_argument_group("policy", "What the sandbox may do and use; the locked defaults when left out.")
    for name in _NAMES:
        text = CELL_OPTIONS.get(name) or OPTIONS[name].allowed
        if name == "env":
            text = "pass an environment variable in, with the value it has here or this one; may be repeated"
            group.add_argument("--env", action="append", metavar="NAME[=VALUE]", help=text)
        elif name in OPTIONS and OPTIONS[name].many:
            group.add_argument(_flag(name), action="append", metavar="VALUE", help=f"{text}; may be repeated")
        else:
            group.add_argument(_flag(name), metavar="VALUE", help=text)


def given(arguments: Namespace) -> dict[str, Any]:
    """Return the options that were given, as :meth:`SandboxConfig.from_options` takes them, and the cell's.

    Raises
    ------
    ConfigurationError
        Where ``--env`` names a variable that is not there.
    """
    options = {name: getattr(arguments, name) for name in _NAMES}
    options = {name: value for name, value in options.items() if value is not None}
    if "env" in options:
        options["env"] = environment(options["env"])
    return options


def as_arguments(arguments: Namespace) -> list[str]:
    """Return the words that give the same options to another program."""
    words = []
    for name in _NAMES:
        value = getattr(arguments, name)
        for each in [] if value is None else value if isinstance(value, list) else [value]:
            words.append(f"{_flag(name)}={each}")
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


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
