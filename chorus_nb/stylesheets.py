"""Reduces style sheets of an output to what can only change its looks: known properties, plain values, own names.

Everything here is a list of what may pass. What is not on it makes the whole sheet None: the caller then shows the
output in a frame, where any sheet is harmless, rather than with half of its looks.

Names are made the output's own: each ``id`` and each class that the page has no use for gets :data:`OWN`, and every
rule is scoped to one class, with ``:where()``, which leaves its weight in the cascade as it was.
"""

from __future__ import annotations

import re

OWN = "sandbox-"
"""Begins every id and class that an output may choose itself."""

MAX_RULES = 20_000

_PAGE_CLASS = re.compile(
    r"dataframe|blank|data|index_name|col_heading|row_heading|(?:level|row|col)\d{1,6}|(?:mathjax|tex2jax)_ignore"
)
_NAME = re.compile(r"[A-Za-z_][\w-]{0,127}", re.ASCII)

_PROPERTY = re.compile(
    r"background(?:-(?:color|image|size|position|repeat))?|color|opacity|display|line-height|letter-spacing"
    r"|font(?:-(?:family|size|style|weight|variant))?|text-(?:align|decoration|transform|indent|shadow|overflow)"
    r"|vertical-align|white-space|word-(?:break|wrap|spacing)|overflow-wrap|(?:min-|max-)?(?:width|height)"
    r"|overflow(?:-[xy])?|table-layout|caption-side|empty-cells|box-sizing|list-style(?:-type)?"
    r"|padding(?:-(?:top|right|bottom|left))?"
    r"|border(?:-(?:top|right|bottom|left))?(?:-(?:collapse|spacing|radius|color|width|style))?",
    re.IGNORECASE,
)
# No quotes, escapes or comments, and no functions but colours and gradients: nothing that CSS could read otherwise,
# and no url().
_COLOUR = r"\b(?:rgb|hsl)a?\([-\w.%,/ ]*\)"
_GRADIENT = rf"\b(?:repeating-)?linear-gradient\((?:[-\w#.%, ]|{_COLOUR})*\)"
_VALUE = re.compile(rf"(?:[-\w#.%,/ ]|{_COLOUR}|{_GRADIENT}){{1,1000}}(?:!important)?", re.IGNORECASE | re.ASCII)

_RULE = re.compile(r"\s*(?P<selectors>[^{}<@\\;]{1,100000})\{(?P<body>[^{}<>@\\]{0,20000})\}\s*")
_PSEUDO = (
    r":(?:hover|first-child|last-child|only-child|first-of-type|last-of-type|only-of-type|empty"
    r"|nth-(?:last-)?(?:child|of-type)\([-+ \dn]{1,20}\)|nth-child\((?:odd|even)\)"
    r"|not\(:(?:first|last)-child\))"
)
_COMPOUND = rf"(?:[A-Za-z][A-Za-z0-9]{{0,15}}|\*)?(?:[.#][A-Za-z_][\w-]{{0,127}}|{_PSEUDO}){{0,20}}"
_SELECTOR = re.compile(rf"(?=[A-Za-z*.#:]){_COMPOUND}(?:\s*[>+~]\s*{_COMPOUND}|\s+{_COMPOUND}){{0,10}}", re.ASCII)
_SELECTED_NAME = re.compile(r"([.#])([A-Za-z_][\w-]*)", re.ASCII)


def own_name(name: str) -> str | None:
    """Return an id as the output may have it, or None where it is no plain name."""
    return OWN + name if _NAME.fullmatch(name) else None


def own_classes(names: str) -> str | None:
    """Return the value of a ``class`` attribute: classes known to be harmless as they are, all others made its own."""
    kept = (name if _PAGE_CLASS.fullmatch(name) else own_name(name) for name in names.split())
    return " ".join(filter(None, kept)) or None


def clean_declarations(source: str) -> tuple[str, bool]:
    """Return the declarations that may pass, as one line, and whether those are all there were."""
    given = [part for part in source.split(";") if part.strip()]
    pairs = [tuple(map(str.strip, part.partition(":")[::2])) for part in given]
    kept = [f"{name}: {value}" for name, value in pairs if _PROPERTY.fullmatch(name) and _VALUE.fullmatch(value)]
    return "; ".join(kept), len(kept) == len(given)


def clean_sheet(source: str, scope: str) -> str | None:
    """Return a style sheet whose every rule applies below the class ``scope`` only, or None where it can't be had."""
    rules: list[str] = []
    position = 0
    source = source.strip()
    while position < len(source):
        match = _RULE.match(source, position)
        rule = match and _rule(match["selectors"], match["body"], scope)
        if not match or not rule or len(rules) >= MAX_RULES:
            return None
        rules.append(rule)
        position = match.end()
    return "\n".join(rules)


def _rule(selectors: str, body: str, scope: str) -> str | None:
    parts = [part.strip() for part in selectors.split(",")]
    declarations, complete = clean_declarations(body)
    if not complete or not all(_SELECTOR.fullmatch(part) for part in parts):
        return None
    return ", ".join(f":where(.{scope}) {_own_selector(part)}" for part in parts) + f" {{{declarations}}}"


def _own_selector(selector: str) -> str:
    def own(match: re.Match[str]) -> str:
        mark, name = match.groups()
        return match[0] if mark == "." and _PAGE_CLASS.fullmatch(name) else f"{mark}{OWN}{name}"

    return _SELECTED_NAME.sub(own, selector)
