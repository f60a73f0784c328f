"""SVG that may stand in the page as elements, to take its colours from the style sheets of the output.

A small part of SVG 2: shapes, text, and symbols that are used again. What is left out loads something, runs something
(``script``, ``animate``, ``set``, handlers), leads elsewhere (``a``), or is HTML again inside (``foreignObject``,
``title``, ``desc``): there readers have differed in what belongs to which language, and so in what is harmless.
"""

from __future__ import annotations

import re

TAGS = frozenset("svg g defs symbol use path rect circle ellipse line polyline polygon text tspan".split())

MAX_COPIES = 20_000
"""Elements that all uses of symbols may come to."""

_GEOMETRY = frozenset(
    "x y x1 y1 x2 y2 dx dy cx cy r rx ry width height d points transform viewBox preserveAspectRatio rotate textLength"
    " pathLength".split()
)
_PRESENTATION = frozenset(
    "fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-dasharray"
    " stroke-dashoffset stroke-miterlimit opacity color font-size font-family font-weight font-style text-anchor"
    " dominant-baseline display visibility".split()
)
ATTRIBUTES = _GEOMETRY | _PRESENTATION | {"style", "class"}
"""What any of the elements may have; a symbol has an ``id`` besides, and a use has an ``href``."""

_PLAIN = re.compile(r"(?:[-+\w\s#.,%]|\b(?:rgba?|hsla?|rotate|translate|scale|skew[XY]|matrix)\([-+\w\s.,%]*\))*", re.ASCII)
_LOCAL = re.compile(r"#([A-Za-z_][\w-]{0,127})", re.ASCII)
_SYMBOL = re.compile(r"<symbol\b[^>]*>(.*?)</symbol>", re.DOTALL)


def is_plain_attribute(value: str) -> bool:
    """Tell whether a value of geometry or presentation names nothing outside of itself."""
    return _PLAIN.fullmatch(value) is not None


def symbol_of(reference: str) -> str | None:
    """Return the id that a ``use`` refers to in its own document, or None where it refers to anything else."""
    match = _LOCAL.fullmatch(reference)
    return match and match[1]


def is_bounded(clean: str) -> bool:
    """Tell whether the symbols of sanitised HTML are small for how often they are used.

    A use inside of a symbol would multiply with each level. Only a symbol has an ``id``, so there is no other way to
    use a use.
    """
    sizes = [symbol.count("<") for symbol in _SYMBOL.findall(clean)]
    nested = any("<use" in symbol or "<symbol" in symbol for symbol in _SYMBOL.findall(clean))
    return not nested and clean.count("<use") * max(sizes, default=0) <= MAX_COPIES
