"""Values as they cross between the notebook and the sandbox: a tree in JSON, and buffers beside it.

Both ends use this file, and those that belong to it: :mod:`encoding`, :mod:`decoding`, and of both :mod:`arrays`,
:mod:`tables` and :mod:`pictures`. In the tree, what JSON has is itself (None, bool, float, short text, integers of 64
bits, lists); everything else is an object with one key, which names its kind: ``{"tuple": [...]}``,
``{"dict": [key, value, ...]}``, ``{"bytes": 0}``. Nodes of some kinds stand for the next of the buffers, whose sizes or
dtypes and shapes come first, so that whoever receives them can put them where they belong.

Nothing is ever unpickled, evaluated, imported or called by what a tree says: a kind is looked up in the tables of these
files, and its parts are checked, because the other end of a host's stream is a sandbox. Whatever does not fit raises
:class:`DecodeError`; what can't cross at all raises :class:`CrossingError`, which says where it is.

A part that occurs twice in a value is sent once and occurs twice in the copy; a value that contains itself is an error.
"""

from typing import Any, Callable, NamedTuple, Tuple

MAX_DEPTH = 100
"""Levels of lists within lists."""

TREE_COST = 16
"""As many bytes take the objects that one byte of a tree makes, about."""

MAX_EXPANDED = 10**7
"""Parts of a value, each counted as often as it occurs: printing goes through all of them."""

WORD = range(-(2**63), 2**64)
"""The integers that JSON has as they are."""

_SHOWN = 140
"""Characters at either end of where a part is: what is wrong with it is said after that."""

Path = Tuple[Any, ...]
"""Where a part of a value is: ``(name,)``, then ``(path, kind of step, key)``."""

Put = Callable[[Any], None]


class CrossingError(TypeError):
    """A value can't cross, and why; ``hint`` says what can."""

    def __init__(self, path: Path, problem: str, hint: str = "") -> None:
        text = written(path)
        self.path = text if len(text) <= 2 * _SHOWN else "%s ... %s" % (text[:_SHOWN], text[-_SHOWN:])
        self.problem = problem
        # What has no name of its own nobody can write down: "a key of x.value" is no expression.
        self.hint = hint.replace("@", str(path[1]) if path[1:2] in (("key",), ("element",)) else self.path)
        super().__init__("%s %s. %s" % (self.path, problem, self.hint))


class DecodeError(ValueError):
    """What came is not what :class:`Encoder` makes."""


class Buffer(NamedTuple):
    """Bytes beside the tree: their number or dtype and shape, how many they are, and what hands them out in pieces."""

    spec: Any
    size_bytes: int
    write: Callable[[Put], None]


def written(path: Path) -> str:
    """Return a path as people write it: ``x['a'][3]``."""
    if len(path) == 1:
        return str(path[0])
    parent, step, key = path
    if step == "key":
        return "a key of %s" % written(parent)
    if step == "element":
        return "an element of %s" % written(parent)
    return written(parent) + (".%s" % key if step == "field" else "[%s]" % _shortened(key))


def _shortened(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 60 else text[:57] + "..."


def type_name(value: Any) -> str:
    """Return the type of a value as people name it."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
    return module + kind.__qualname__


def size_text(size_bytes: int) -> str:
    """Return a size for people, in binary units."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= unit:
            return "%.4g %s" % (size_bytes / unit, name)
    return "%d bytes" % size_bytes
