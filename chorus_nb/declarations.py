"""CSS declarations that can only change looks: known properties, and values of a grammar in which nothing is hidden.

There are two lists of properties. Those of the first are harmless wherever they stand. Those of the second can put
something elsewhere or above something else, and are harmless in a *box*: an element that nothing inside of it can paint
beyond (``contain: paint``, CSS Containment 2), positioned and floating content included.
"""

from __future__ import annotations

import re

from .sanitize import clean_image

OWN = "sandbox-"
"""Begins every class, id and anchor name that an output may choose itself."""

MAX_VALUE_CHARACTERS = 20_000
MAX_FUNCTION_DEPTH = 12
MAX_REFERENCES = 8
"""Custom properties that one value may refer to."""

_ANYWHERE = re.compile(
    r"background(?:-(?:color|image|size|position|repeat))?|color|opacity|display|line-height|letter-spacing"
    r"|font(?:-(?:family|size|style|weight|variant))?|text-(?:align|decoration|transform|indent|shadow|overflow)"
    r"|align"  # which is none, but written often
    r"|vertical-align|white-space|word-(?:break|wrap|spacing)|overflow-wrap|(?:min-|max-)?(?:width|height)"
    r"|overflow(?:-[xy])?|table-layout|caption-side|empty-cells|box-sizing|list-style(?:-type)?"
    r"|padding(?:-(?:top|right|bottom|left))?"
    r"|border(?:-(?:top|right|bottom|left))?(?:-(?:collapse|spacing|radius|color|width|style))?",
    re.IGNORECASE,
)
_IN_A_BOX = re.compile(
    r"position|inset|top|right|bottom|left|z-index|float|clear|clip|clip-path|visibility|content|filter|order"
    r"|margin(?:-(?:top|right|bottom|left|(?:block|inline)(?:-(?:start|end))?))?"
    r"|padding-(?:block|inline)(?:-(?:start|end))?|(?:min-|max-)?(?:block|inline)-size"
    r"|flex(?:-(?:grow|shrink|basis|direction|wrap|flow))?|(?:row-|column-)?gap"
    r"|grid(?:-(?:area|auto-(?:columns|flow|rows)|(?:column|row)(?:-(?:start|end))?|template(?:-(?:areas|columns|rows))?))?"
    r"|(?:align|justify|place)-(?:content|items|self)|box-shadow|outline(?:-(?:color|style|width|offset))?"
    r"|text-(?:underline-offset|decoration-(?:color|line|style|thickness)|anchor)|dominant-baseline"
    r"|fill(?:-(?:opacity|rule))?|stroke(?:-(?:width|opacity|linecap|linejoin|dasharray|dashoffset|miterlimit))?"
    r"|transform(?:-origin)?|transition(?:-(?:delay|duration|property|timing-function))?"
    r"|cursor|user-select|pointer-events|scrollbar-(?:width|color)|color-scheme|accent-color"
    r"|anchor-name|position-anchor|position-area",
    re.IGNORECASE,
)
CUSTOM = re.compile(r"--[A-Za-z][\w-]{0,100}", re.ASCII)
"""The name of a custom property."""
REFERENCE = re.compile(r"\bvar\(\s*(--[\w-]+)", re.ASCII | re.IGNORECASE)

# Nothing that loads anything (url, image-set, src), shows an attribute, or runs.
_NAMES = """
    var calc min max clamp rgb rgba hsl hsla hwb lab lch oklab oklch color-mix light-dark linear-gradient
    repeating-linear-gradient radial-gradient drop-shadow grayscale opacity inset rect repeat minmax fit-content
    translate translatex translatey rotate scale
"""
_FUNCTIONS = frozenset(_NAMES.split())
STRING = r"\"[^\"\\<>\x00-\x1f\x7f\ud800-\udfff]*+\"|'[^'\\<>\x00-\x1f\x7f\ud800-\udfff]*+'"
_TOKEN = re.compile(
    rf"\s++|(?P<string>{STRING})|url\((?P<quote>[\"']?)data:(?P<mime>[a-z+/]++);base64,(?P<data>[A-Za-z0-9+/=]++)(?P=quote)\)"
    r"|(?P<function>[A-Za-z-]*+)\(|(?P<closed>\))|#[0-9A-Fa-f]++|!\s*+important\s*+\Z"
    # A word before a parenthesis is a function; a slash and a star make a comment.
    r"|[\w.%-]++(?!\()|,|\+|/(?!\*)|\*(?!/)",
    re.ASCII | re.IGNORECASE,
)
# A semicolon in a string or an address ends nothing.
_DECLARATION = re.compile(rf"(?:{STRING}|url\([^()]*+\)|[^;])++", re.IGNORECASE)


def clean_declarations(source: str, boxed: bool = False, custom: bool = False) -> tuple[str, bool]:
    """Return the declarations that may pass, as one line, and whether those are all there were.

    Parameters
    ----------
    source : str
        What stands in a ``style`` attribute, or between the braces of a rule.
    boxed : bool
        Whether it applies in a box only.
    custom : bool
        Whether there may be custom properties; the caller bounds what they come to.
    """
    given = split_declarations(source)
    kept = [f"{name}: {_own_anchor(name, value)}" for name, value in given if _is_harmless(name, value, boxed, custom)]
    return "; ".join(kept), len(kept) == len(given)


def split_declarations(source: str) -> list[tuple[str, str]]:
    """Return the names and values of declarations."""
    parts = (part.partition(":") for part in _DECLARATION.findall(source) if part.strip())
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _is_harmless(name: str, value: str, boxed: bool, custom: bool) -> bool:
    known = _ANYWHERE.fullmatch(name) or (boxed and _IN_A_BOX.fullmatch(name)) or (custom and CUSTOM.fullmatch(name))
    if not known or not 0 < len(value) <= MAX_VALUE_CHARACTERS or len(REFERENCE.findall(value)) > MAX_REFERENCES:
        return False
    pictured = boxed and name.lower() in ("background", "background-image")
    return _is_plain(value, strings=boxed, pictures=pictured)


def _is_plain(value: str, strings: bool, pictures: bool) -> bool:
    """Tell whether a value can be read in one way only, and loads nothing but a picture that it brings itself."""
    position, depth = 0, 0
    while position < len(value):
        token = _TOKEN.match(value, position)
        if token is None or not _is_known(token, pictures) or (token["string"] and not strings):
            return False
        depth += (token["function"] is not None) - (token["closed"] is not None)
        if not 0 <= depth <= MAX_FUNCTION_DEPTH:
            return False
        position = token.end()
    return depth == 0


def _is_known(token: re.Match[str], pictures: bool) -> bool:
    if token["mime"]:
        # SVG is an image here: browsers run no script in it and load nothing for it.
        return pictures and (token["mime"] == "image/svg+xml" or clean_image(token["mime"], token["data"]) is not None)
    return not token["function"] or token["function"].lower() in _FUNCTIONS


def _own_anchor(name: str, value: str) -> str:
    """Return a value; one that names an anchor (CSS Anchor Positioning) names one of the output's own."""
    return f"--{OWN}{value[2:]}" if name.lower() in ("anchor-name", "position-anchor") and value[:2] == "--" else value
