"""A page that a cell wrote, as it stands alone: its style sheets, scripts, pictures, films and sounds put into it.

The page is on its way into a frame of another origin without network (:mod:`chorus_nb.frame`), so nothing here makes it
harmless. Style sheets bring what they name themselves; what scripts name is not looked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

MAX_CHARACTERS = 2**22
"""Of a page; a larger one stays as it is."""

_NAMING = {"link": "href", **dict.fromkeys(("script", "img", "audio", "video", "source"), "src")}

IN_STYLE = "url()"
"""What stands for the name of a tag where a style sheet names a picture or a font."""

UrlOf = Callable[[str, str], str | None]
"""Takes a tag's name and what it refers to; returns a ``data:`` URL, or None where the reference stays."""

# Tokens of CSS Syntax Level 3, section 4: comments and strings, as what is in them names nothing, and URLs.
_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_STYLE_TOKEN = re.compile(
    rf"/\*.*?(?:\*/|\Z)|(?P<at>@import\s{{1,20}})?"
    rf"(?:(?P<url>url\(\s{{0,20}}(?P<inner>{_STRING}|[^\s\"'()\\]{{1,2000}})\s{{0,20}}\))|(?P<string>{_STRING}))",
    re.DOTALL | re.IGNORECASE,
)

_Attributes = Sequence[tuple[str, str | None]]


def with_files(page: str, url_of: UrlOf, until_s: float) -> str:
    """Return a page with the files that its tags name.

    Parameters
    ----------
    page : str
        HTML.
    url_of : callable
        Has the files.
    until_s : float
        When to give up (``time.monotonic``): the parser takes quadratic time for what is made to. The page stays as it
        is then.
    """
    if len(page) > MAX_CHARACTERS:
        return page
    try:
        tags = _read_tags(page, until_s)
    except (TimeoutError, AssertionError, ValueError):  # The parser raises these for what it can't make sense of.
        return page
    pieces, at = [], 0
    for tag in tags:
        new = tag.with_url(url_of)
        if new is not None:
            pieces += [page[at : tag.begin], new]
            at = tag.end
    return "".join([*pieces, page[at:]])


def style_with_files(css: str, url_of: UrlOf) -> str:
    """Return a style sheet with the files that it names; parameters as of :func:`with_files`."""

    def put(found: re.Match[str]) -> str:
        reference = (found["inner"] or (found["at"] and found["string"]) or "").strip("\"'")
        url = reference and "\\" not in reference and url_of("link" if found["at"] else IN_STYLE, reference)
        return f'{found["at"] or ""}url("{url}")' if url else found[0]

    return _STYLE_TOKEN.sub(put, css)


@dataclass(frozen=True, slots=True)
class _Style:
    """What is in a ``style`` element."""

    css: str
    begin: int
    end: int

    def with_url(self, url_of: UrlOf) -> str | None:
        return style_with_files(self.css, url_of)


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    attributes: dict[str, str | None]
    begin: int
    end: int
    closed: bool

    def with_url(self, url_of: UrlOf) -> str | None:
        new = {**self.attributes, **self._file(url_of)}
        if style := self.attributes.get("style"):
            new["style"] = style_with_files(style, url_of)
        if new == self.attributes:
            return None
        if self.name == "img":
            new.pop("srcset", None)  # It goes before src, and is for larger screens.
        closed = "/" if self.closed and self.name not in _NAMING else ""
        return f"<{self.name}{''.join(_written(new.items()))}{closed}>"

    def _file(self, url_of: UrlOf) -> dict[str, str]:
        key = _NAMING.get(self.name, "")
        if self.name == "link" and "stylesheet" not in (self.attributes.get("rel") or "").lower().split():
            return {}
        reference = self.attributes.get(key)
        url = url_of(self.name, reference) if reference else None
        return {key: url} if url else {}


def _written(attributes: Iterable[tuple[str, str | None]]) -> Iterable[str]:
    return (f" {name}" if value is None else f' {name}="{escape(value)}"' for name, value in attributes)


def _read_tags(page: str, until_s: float) -> list[_Tag | _Style]:
    reader = _Reader(page, until_s)
    reader.feed(page)
    reader.close()
    return reader.tags


class _Reader(HTMLParser):
    def __init__(self, page: str, until_s: float) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: list[_Tag | _Style] = []
        self._page = page
        self._style_begins: int | None = None
        self._until_s = until_s
        self._lines = [0]
        for line in page.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look_at_the_clock()
        begin, text = self._at(), self.get_starttag_text() or ""
        attributes = dict(reversed(attrs))  # Of two attributes of one name the first counts.
        if tag in _NAMING or "style" in attributes:
            self.tags.append(_Tag(tag, attributes, begin, begin + len(text), text.endswith("/>")))
        self._style_begins = begin + len(text) if tag == "style" else None

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_data(self, data: str) -> None:
        self._look_at_the_clock()

    def handle_endtag(self, tag: str) -> None:
        self._look_at_the_clock()
        if tag == "style" and self._style_begins is not None:
            begin, end = self._style_begins, self._at()
            self.tags.append(_Style(self._page[begin:end], begin, end))
            self._style_begins = None

    def handle_comment(self, data: str) -> None:
        self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        if time.monotonic() > self._until_s:
            raise TimeoutError
