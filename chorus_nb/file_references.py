"""Where HTML and Markdown name files: found by expressions that take no quadratic time, however they are nested."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .sanitize import unescape

MAX_TAGS = 100_000
"""As many tags of one output are looked at, which takes about half a second."""

_MOST_WITHIN = 2_000
"""Characters of an element after its first tag, so that those which never end take no quadratic time."""

_SKIPPED = {"script": "</script", "style": "</style", "textarea": "</textarea", "template": "</template", "!--": "-->"}
TAG = re.compile(
    r"<(?:(?P<skipped>script\b|style\b|textarea\b|template\b|!--)"
    r"|(?P<tag>img|a|iframe|video|audio|source)\s[^<>]{1,5000}>)"
)
ATTRIBUTE = re.compile(r"""(?<=\s)(?:src|href)=(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'>]+))""")
MARKDOWN_IMAGE = re.compile(
    r"!\[(?P<alt>[^\[\]\n]{0,500})\]\((?P<path>[^()<>\s\"'\\]{1,1000})(?:[ \t]\"[^\"\n]{0,500}\")?\)"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|#")


def references(html: str) -> Iterator[re.Match[str]]:
    """Yield the tags that may name a file, outside of scripts and comments."""
    if "src=" not in html and "href=" not in html:
        return
    named = _Named(html)
    at = 0
    for _ in range(MAX_TAGS):
        found = TAG.search(html, at)
        if found is None:
            return
        at = found.end()
        if found["skipped"]:
            at = html.find(_SKIPPED[found["skipped"]], at)
            if at < 0:
                return
        elif named.between(found.start(), end_of(html, found)):
            yield found


class _Named:
    """Finds attributes that name files, and looks at nothing twice: elements may hold each other."""

    def __init__(self, html: str) -> None:
        self._html = html
        self._latest = -1
        self._end = 0

    def between(self, start: int, end: int) -> bool:
        """Whether there is one; the starts that are asked for never go back."""
        if start <= self._latest < end:
            return True
        for found in ATTRIBUTE.finditer(self._html, max(start, self._end), end):
            if path_of(value_of(found)):
                self._latest, self._end = found.start(), found.end()
                return True
        self._end = max(self._end, end)
        return False


def end_of(html: str, found: re.Match[str]) -> int:
    """Return where the element ends that a tag begins."""
    if found["tag"] in ("img", "source"):
        return found.end()
    closing = f"</{found['tag']}>"
    end = html.find(closing, found.end(), found.end() + _MOST_WITHIN)
    return found.end() if end < 0 else end + len(closing)


def value_of(attribute: re.Match[str]) -> str:
    """Return what an attribute says, without its quotes and entities."""
    return unescape(attribute["double"] or attribute["single"] or attribute["bare"] or "")


def path_of(reference: str) -> str | None:
    """Return the path that a reference means, or None where it means an address or a place in the page."""
    return None if not reference or "\0" in reference or _SCHEME.match(reference) else reference
