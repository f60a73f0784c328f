"""Reduces style sheets of an output to what can only change its looks, of nothing but the output.

Everything here is a list of what may pass. What is not on it makes the whole sheet None: the caller then shows the
output in a frame, where any sheet is harmless, rather than with half of its looks.

Names are made the output's own: each ``id`` and each class that the page has no use for gets :data:`OWN`, and every
rule is scoped to one class, with ``:where()``, which leaves its weight in the cascade as it was. A selector may read
the theme of the page from its root and from its body, and select something of the output by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .declarations import CUSTOM, OWN, REFERENCE, STRING, clean_declarations, split_declarations

MAX_RULES = 20_000
MAX_NESTED_RULES = 3
MAX_CUSTOM_PROPERTIES = 200
MAX_EXPANDED_CHARACTERS = 2_000
"""How long the value of a custom property may become when all it refers to is put in."""

_PAGE_CLASS = re.compile(
    r"dataframe|blank|data|index_name|col_heading|row_heading|(?:level|row|col)\d{1,6}|(?:mathjax|tex2jax)_ignore"
)
_NAME = re.compile(r"[A-Za-z_][\w-]{0,127}", re.ASCII)

_COMMENT = re.compile(rf"(?P<string>{STRING})|/\*.*?\*/", re.DOTALL)
_RULE = re.compile(r"\s*(?P<selectors>[^{}<@\\;]{1,100000})\{(?P<body>[^{}<>@\\]{0,20000})\}\s*")
_TEST = r"@(?P<kind>media|supports)\s*(?P<test>\([-\w:. ]{1,80}\)(?: and \([-\w:. ]{1,80}\)){0,3})\s*\{\s*"
_OPEN = re.compile(rf"\s*{_TEST}", re.ASCII)
# A rule that ends with declarations under a condition (CSS Nesting).
_NESTED = re.compile(
    r"\s*(?P<selectors>[^{}<@\\;]{1,100000})\{(?P<body>[^{}<>@\\]{0,20000})"
    rf"{_TEST}(?P<inner>[^{{}}<>@\\]{{0,20000}})\}}\s*\}}\s*",
    re.ASCII,
)
_CLOSE = re.compile(r"\s*\}\s*")

_ATOM = (
    r"(?:[.#][A-Za-z_][\w-]{0,127}|\[(?:open|hidden|checked|disabled)\]"
    r"|:(?:hover|active|focus(?:-visible|-within)?|link|visited|any-link|enabled|disabled|checked|empty"
    r"|(?:first|last|only)-(?:child|of-type)|nth-(?:last-)?(?:child|of-type)\((?:[-+ \dn]{1,20}|odd|even)\))"
    r"|::?(?:before|after|marker|first-letter|first-line))"
)
_TYPE = r"(?:[A-Za-z][A-Za-z0-9]{0,15}|\*)?"
_LIST = rf"\(\s*{_TYPE}{_ATOM}{{0,10}}(?:\s*,\s*{_TYPE}{_ATOM}{{0,10}}){{0,10}}\s*\)"
_COMPOUND = rf"{_TYPE}(?:{_ATOM}|:(?:is|not|where){_LIST}){{0,20}}"
_SELECTOR = re.compile(rf"(?=[A-Za-z*.#:\[]){_COMPOUND}(?:\s*[>+~]\s*{_COMPOUND}|\s+{_COMPOUND}){{0,10}}", re.ASCII)
_SELECTED_NAME = re.compile(r"([.#])([A-Za-z_][\w-]*)", re.ASCII)
_ROOT = re.compile(
    r"(?P<root>(?::root|html|body)(?:\[(?:data-)?[\w-]{0,20}theme[\w-]{0,20}(?:=(?:[\w-]{1,40}|\"[\w -]{1,40}\"))?\]"
    r"|\.[A-Za-z_][\w-]{0,40}){0,4})(?:\s+(?P<rest>[^\s>+~].*))?",
    re.ASCII | re.DOTALL,
)


_BODY = re.compile(r"\{([^{}]*)\}")


def own_id(name: str, owner: str) -> str | None:
    """Return an id as the output may have it, or None where it is no plain name."""
    return OWN + owner + name if _NAME.fullmatch(name) else None


def own_classes(names: str) -> str | None:
    """Return the value of a ``class`` attribute: classes known to be harmless as they are, all others made its own."""
    kept = (name if _PAGE_CLASS.fullmatch(name) else own_id(name, "") for name in names.split())
    return " ".join(filter(None, kept)) or None


def clean_sheet(source: str, scope: str, owner: str = "", boxed: bool = False) -> str | None:
    """Return a style sheet whose every rule applies below the class ``scope`` only, or None where it can't be had.

    Parameters
    ----------
    source : str
        A style sheet.
    scope : str
        The class of the element that has the output in it.
    owner : str
        What the ids of the output have been given in front, after :data:`OWN`.
    boxed : bool
        Whether that element is a box (:mod:`chorus_nb.declarations`).
    """
    source = _COMMENT.sub(lambda match: match["string"] or " ", source).strip()
    rules: list[str] = []
    position, depth = 0, 0
    while position < len(source):
        match = _RULE.match(source, position) or _NESTED.match(source, position) or _OPEN.match(source, position)
        match = match or _CLOSE.match(source, position)
        rule = match and _part(match, scope, owner, boxed)
        if not match or not rule or len(rules) >= MAX_RULES:
            return None
        rules.append(rule)
        position = match.end()
        depth += (match.re is _OPEN) - (match.re is _CLOSE)
        if not 0 <= depth <= MAX_NESTED_RULES:
            return None
    return "\n".join(rules) if depth == 0 and _is_bounded(rules) else None


def _part(match: re.Match[str], scope: str, owner: str, boxed: bool) -> str | None:
    """Return what stands for a rule, for the beginning of a group of rules, or for its end."""
    if match.re is _CLOSE:
        return "}"
    if match.re is _OPEN:
        return f"@{match['kind']} {match['test']} {{"
    rule = _rule(match["selectors"], match["body"], scope, owner, boxed)
    if match.re is _RULE or rule is None:
        return rule
    inner = _rule(match["selectors"], match["inner"], scope, owner, boxed)
    return inner and f"{rule}\n@{match['kind']} {match['test']} {{\n{inner}\n}}"


def _rule(selectors: str, body: str, scope: str, owner: str, boxed: bool) -> str | None:
    declarations, complete = clean_declarations(body, boxed, custom=boxed)
    custom = all(CUSTOM.fullmatch(name) for name, _ in split_declarations(declarations))
    own = [_scoped(part, scope, owner, custom) for part in _split(selectors)]
    return f"{', '.join(map(str, own))} {{{declarations}}}" if complete and all(own) else None


def _split(selectors: str) -> Iterator[str]:
    """Yield the selectors of a list; a comma between parentheses does not end one."""
    start, depth = 0, 0
    for mark in re.finditer(r"[(),]|\Z", selectors):
        depth += (mark[0] == "(") - (mark[0] == ")")
        if mark[0] in ("", ",") and depth == 0:
            # White space in one way only: an expression could share a run of it out in a great many.
            yield " ".join(selectors[start : mark.start()].split())
            start = mark.end()
    if depth:
        yield ""


def _scoped(selector: str, scope: str, owner: str, custom: bool) -> str | None:
    """Return a selector of the output's own elements, or of the element it is in, for custom properties of the root."""
    if root := _ROOT.fullmatch(selector):
        if root["rest"]:
            return _SELECTOR.fullmatch(root["rest"]) and f"{root['root']} :where(.{scope}) {_own(root['rest'], owner)}"
        if custom:
            return f"{root['root']} :where(.{scope})"
    return f":where(.{scope}) {_own(selector, owner)}" if _SELECTOR.fullmatch(selector) else None


def _own(selector: str, owner: str) -> str:
    def own(match: re.Match[str]) -> str:
        mark, name = match.groups()
        if mark == "#":
            return f"#{OWN}{owner}{name}"
        return match[0] if _PAGE_CLASS.fullmatch(name) else f".{OWN}{name}"

    return _SELECTED_NAME.sub(own, selector)


def _is_bounded(rules: Iterable[str]) -> bool:
    """Tell whether custom properties that refer to each other stay short: each level could double them."""
    values: dict[str, list[str]] = {}
    for body in _BODY.findall("\n".join(rules)):
        for name, value in split_declarations(body):
            if CUSTOM.fullmatch(name):
                values.setdefault(name, []).append(value)
    lengths: dict[str, int] = {}

    def length(name: str) -> int:
        if name not in lengths:
            # In circles they would grow with each element inside of another.
            lengths[name] = MAX_EXPANDED_CHARACTERS + 1
            parts = [len(value) + sum(map(length, REFERENCE.findall(value))) for value in values.get(name, ())]
            lengths[name] = max(parts, default=0)
        return lengths[name]

    return len(values) <= MAX_CUSTOM_PROPERTIES and all(length(name) <= MAX_EXPANDED_CHARACTERS for name in values)
