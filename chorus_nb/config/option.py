"""A field of the configuration as people meet it: what it is called, what it takes, and which way is tighter.

Each field carries its :class:`Option` in its type, so that a new one is declared in one place and is at once known to
``%%sandbox``, to the command line, to policy files and to the messages about bad values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

Rule = Callable[[Any, Any], bool]
"""Takes the new value and the old one: does the new one give the code in the sandbox no more than the old one does?"""


def same(new: Any, old: Any) -> bool:
    """Only what changes nothing: for what has no order of tightness."""
    return bool(new == old)


def free(new: Any, old: Any) -> bool:
    """Any value: it gives the code no rights."""
    return True


def smaller(new: Any, old: Any) -> bool:
    """The smaller number; None is no limit."""
    return old is None or (new is not None and bool(new <= old))


def in_order(*tight_to_loose: Any) -> Rule:
    """Make a rule from all the values that there are, the tightest first."""
    return lambda new, old: tight_to_loose.index(new) <= tight_to_loose.index(old)


@dataclass(frozen=True, slots=True)
class Option:
    """The flat option that sets a field.

    Attributes
    ----------
    name : str
        Its name in Python, and with ``-`` for ``_`` on a command line.
    allowed : str
        What it takes, in the words of somebody who types it.
    tighter : callable
        The :data:`Rule` for what comes with a repository.
    many : bool
        Whether a command line may give it several times; its value is a list then.
    """

    name: str
    allowed: str
    tighter: Rule = same
    many: bool = False


class Policy(BaseModel):
    """Base of the parts of a configuration: frozen, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def options_of(model: type[BaseModel]) -> Iterator[tuple[str, Option]]:
    """Yield each field of a model that an option sets, with the option."""
    for field, info in model.model_fields.items():
        for each in info.metadata:
            if isinstance(each, Option):
                yield field, each
