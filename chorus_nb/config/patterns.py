"""Patterns in the syntax of ``.gitignore`` (gitignore(5)), as far as they can be checked without any file."""

from __future__ import annotations

import re

from pathspec import GitIgnoreSpec

_BEYOND = re.compile(r"(?<!\\)\[[^]]*(?:\[:|\\)")
"""What Git understands and pathspec takes for something else: it would hide less than was asked for."""
_MAX_LENGTH = 500
_MAX_STARS_IN_A_NAME = 3
_MAX_DOUBLE_STARS = 3


def gitignore_pattern(value: object) -> str:
    """Return a pattern that says something. Raises ``ValueError`` for what is none.

    A pattern becomes a regular expression, whose time grows with the power of its ``*``: a repository that brings one
    along with many of them could hold up the notebook for hours. Real ones have one or two.
    """
    if not isinstance(value, str) or not value.strip() or value.startswith("#") or len(value) > _MAX_LENGTH:
        raise ValueError("a pattern")
    if re.search(r"[\x00\r\n]", value) or value.strip("!/ ") == "" or re.search(r"(?<!\\)(\\\\)*\\$", value):
        raise ValueError("a pattern")
    names = value.split("/")
    if names.count("**") > _MAX_DOUBLE_STARS or any(_stars(name) > _MAX_STARS_IN_A_NAME for name in names):
        raise ValueError(f"a pattern with at most {_MAX_STARS_IN_A_NAME} stars in a name")
    if _BEYOND.search(value):
        raise ValueError("a pattern with neither a class such as [:alpha:] nor a backslash in brackets")
    try:
        GitIgnoreSpec.from_lines([value])
    except (ValueError, re.error):
        raise ValueError("a pattern") from None
    return value


def _stars(name: str) -> int:
    return 0 if name == "**" else len(re.findall(r"\*", name))


def hides_no_less(new: tuple[str, ...], old: tuple[str, ...]) -> bool:
    """Whether patterns of what is hidden hide all that others do: those, and behind them more, none of which shows."""
    return new[: len(old)] == old and not any(pattern.startswith("!") for pattern in new[len(old) :])


def includes_no_more(new: tuple[str, ...], old: tuple[str, ...]) -> bool:
    """Whether patterns of what is included include no more than others do; no pattern includes everything."""
    return not old or new == old
