"""SVG that may stand in the page as elements, to take its colours from the style sheets of the output.

A small part of SVG 2: shapes, text, and symbols that are used again. What is left out loads something, runs something
(``script``, ``animate``, ``set``, handlers), leads elsewhere (``a``), or is HTML again inside (``foreignObject``,
``title``, ``desc``): there readers have differed in what belongs to which language, and so in what is harmless.
"""

from __future__ import annotations

import re

_TAGS = "svg g defs symbol use path rect circle ellipse line polyline polygon text tspan"
TAGS = frozenset(_TAGS.split())

MAX_COPIES = 20_000
"""Elements that all uses of symbols may come to."""

_GEOMETRY = """
    x y x1 y1 x2 y2 dx dy cx cy r rx ry width height d points transform viewBox preserveAspectRatio rotate textLength
    pathLength
"""
_PRESENTATION = """
    fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-dasharray
    stroke-dashoffset stroke-miterlimit opacity color font-size font-family font-weight font-style text-anchor
    dominant-baseline display visibility
"""
ATTRIBUTES = frozenset([*_GEOMETRY.split(), *_PRESENTATION.split(), "style", "class"])
"""What any of the elements may have; a symbol has an ``id`` besides, and a use has an ``href``."""

_FUNCTION = r"\b(?:rgba?|hsla?|rotate|translate|scale|skew[XY]|matrix)\([-+\w\s.,%]*+\)"
_PLAIN = re.compile(rf"(?:{_FUNCTION}|[-+\w\s#.,%])*+", re.ASCII)
_LOCAL = re.compile(r"#([A-Za-z_][\w-]{0,127})", re.ASCII)
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][\w-]*)[^\">]*+(?:\"[^\"]*+\"[^\">]*+)*+>")


def is_plain_attribute(value: str) -> bool:
    """Tell whether a value of geometry or presentation names nothing outside of itself."""
    return _PLAIN.fullmatch(value) is not None


def symbol_of(reference: str) -> str | None:
    """Return the id that a ``use`` refers to in its own document, or None where it refers to anything else."""
    match = _LOCAL.fullmatch(reference)
    return match and match[1]


def is_bounded(clean: str) -> bool:
    """Tell whether drawings in sanitised HTML have nothing else in them, and symbols small for how often they are used.

    A use inside of a symbol would multiply with each level. Only a symbol has an ``id``, so there is no other way to
    use a use.
    """
    inside, uses, size, largest = 0, 0, 0, 0
    in_symbol = False
    for tag in _TAG.finditer(clean):
        name, change = tag["name"].lower(), -1 if tag["end"] else 1
        inside += change * (name == "svg")
        if inside and name not in TAGS:
            return False
        if name == "symbol":
            if in_symbol and change > 0:
                return False
            in_symbol, size = change > 0, 0
        if name == "use" and in_symbol:
            return False
        uses += name == "use" and change > 0
        size += in_symbol
        largest = max(largest, size)
    return uses * largest <= 2 * MAX_COPIES
