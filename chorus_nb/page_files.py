"""A page that a cell wrote, as it stands alone: its style sheets, scripts, pictures, films and sounds put into it.

The page is on its way into a frame of another origin without network (:mod:`chorus_nb.frame`), so nothing here makes it
harmless. What a style sheet or a script names itself is not looked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

MAX_CHARACTERS = 2**22
"""Of a page; a larger one stays as it is."""

_NAMING = {"link": "href", **dict.fromkeys(("script", "img", "audio", "video", "source"), "src")}

UrlOf = Callable[[str, str], str | None]
"""Takes a tag's name and what it refers to; returns a ``data:`` URL, or None where the reference stays."""

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


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    attributes: dict[str, str | None]
    begin: int
    end: int

    def with_url(self, url_of: UrlOf) -> str | None:
        key = _NAMING[self.name]
        if self.name == "link" and "stylesheet" not in (self.attributes.get("rel") or "").lower().split():
            return None
        reference = self.attributes.get(key)
        url = url_of(self.name, reference) if reference else None
        return url and f"<{self.name}{''.join(_written({**self.attributes, key: url}.items()))}>"


def _written(attributes: Iterable[tuple[str, str | None]]) -> Iterable[str]:
    return (f" {name}" if value is None else f' {name}="{escape(value)}"' for name, value in attributes)


def _read_tags(page: str, until_s: float) -> list[_Tag]:
    reader = _Reader(page, until_s)
    reader.feed(page)
    reader.close()
    return reader.tags


class _Reader(HTMLParser):
    def __init__(self, page: str, until_s: float) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: list[_Tag] = []
        self._until_s = until_s
        self._lines = [0]
        for line in page.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look_at_the_clock()
        if tag not in _NAMING:
            return
        line, column = self.getpos()
        begin = self._lines[line - 1] + column
        # Of two attributes of one name the first counts.
        self.tags.append(_Tag(tag, dict(reversed(attrs)), begin, begin + len(self.get_starttag_text() or "")))

    def handle_data(self, data: str) -> None:
        self._look_at_the_clock()

    def handle_endtag(self, tag: str) -> None:
        self._look_at_the_clock()

    def handle_comment(self, data: str) -> None:
        self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        if time.monotonic() > self._until_s:
            raise TimeoutError
