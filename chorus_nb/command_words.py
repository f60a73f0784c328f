"""The words after ``%sandbox COMMAND``, taken apart as a shell and ``argparse`` would."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from typing import NoReturn

from IPython.core.error import UsageError

from .manager import DEFAULT_NAME
from .sanitize import printable_line


class CommandParser(ArgumentParser):
    """Reads the words of one command, among them ``--session NAME``.

    Parameters
    ----------
    usage : str
        What to say where they are wrong: the whole line, from ``%sandbox``.
    """

    def __init__(self, usage: str) -> None:
        super().__init__(usage=usage, add_help=False, allow_abbrev=False)
        self.add_argument("--session", default=DEFAULT_NAME)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def read(self, text: str) -> Namespace:
        """Return what the words say. Raises ``UsageError``, which ends with the usage."""
        try:
            asked: Namespace = self.parse_args(shlex.split(text))
        except (UsageError, ValueError) as error:  # ValueError: a quotation without an end.
            raise self.wrong(str(error)) from None
        return asked

    def wrong(self, what: str) -> UsageError:
        """Return what to raise for words that can't be."""
        return UsageError(f"{printable_line(what)}. Usage: {self.usage}")
