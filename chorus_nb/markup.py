"""HTML of an output: what may stand in the notebook page, and whether it still looks as it was meant to.

``nh3`` alone decides what is harmless. A reader of the same source decides what is lost by that: where nothing is, the
HTML stands in the page; where something is, the output goes whole into a frame (:mod:`chorus_nb.frame`).
"""

from __future__ import annotations

import hashlib
import re
from html import unescape
from html.parser import HTMLParser

import nh3

from .sanitize import TEX_COMMANDS, clean_image, without_surrogates
from .stylesheets import clean_declarations, clean_sheet, own_classes, own_name

MAX_HTML_TAGS = 500_000
MAX_HTML_NESTING_TAGS = 5_000
"""Tags other than a table's rows and cells."""
MAX_HTML_ENTITIES = 50_000

_TAGS = """
    a abbr b bdi bdo blockquote br caption center cite code col colgroup dd del details dfn div dl dt em figcaption
    figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre progress q rp rt ruby s samp small span strike strong
    sub summary sup table tbody td tfoot th thead time tr tt u ul var
"""
_CONTENT_TAGS = {"script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math", "textarea"}
_EVERYWHERE = {"class", "style", "title", "dir", "lang", "align", "valign", "id"}
_ATTRIBUTES = {
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start", "type", "reversed"},
    "table": {"border", "cellpadding", "cellspacing", "width"},
    "td": {"colspan", "rowspan", "headers"},
    "th": {"colspan", "rowspan", "headers", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "progress": {"max", "value"},
    "details": {"open"},
}
_INVISIBLE_ATTRIBUTE = re.compile(r"data-[\w-]+|aria-[\w-]+|role|target|rel|scoped|type|halign", re.ASCII)
"""Attributes that may go without a change to what is seen."""


def inline_html(html: str) -> str | None:
    """Return HTML that can only be looked at and looks as the source does, or None where that can't be had."""
    # Comments and declarations are read in as many ways as there are readers.
    if not is_cheap_to_parse(html) or "<!" in html or "<?" in html:
        return None
    reader = _Reader()
    reader.feed(html)
    reader.close()
    clean = clean_html(html) if reader.complete else None
    if clean is None or not reader.sheets:
        return clean
    source = "\n".join(reader.sheets)
    # Named by its content: an output that is the same again is the same to the letter.
    scope = f"sandbox-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    sheet = clean_sheet(source, scope)
    return sheet and f'<div class="{scope}" style="overflow-y: clip"><style>\n{sheet}\n</style>\n{clean}</div>'


def clean_html(html: str) -> str | None:
    """Return HTML that can only be looked at, whatever that takes, or None where it leaves nothing to see."""
    if not is_cheap_to_parse(html):
        return None
    clean = nh3.clean(
        without_surrogates(html),
        tags=set(_TAGS.split()),
        clean_content_tags=_CONTENT_TAGS,
        attributes={"*": _EVERYWHERE, **_ATTRIBUTES},
        attribute_filter=_attribute,
        url_schemes={"http", "https", "data"},
        url_relative="deny",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    ).strip()
    visible = unescape(re.sub(r"<(?!img |hr|progress)[^\">]*(?:\"[^\"]*\"[^\">]*)*>", "", clean)).strip()
    return _without_tex_commands(clean) if visible else None


def is_cheap_to_parse(html: str) -> bool:
    """Refuse what the HTML parser takes quadratic time for: deep nesting, thousands of attributes, entities.

    A tag that is not plainly well formed might go on after its first ``>``, so it counts as too expensive.
    """
    rest, tags = _PLAIN_TAG.subn(" ", html)
    if tags > MAX_HTML_TAGS or html.count("&") > MAX_HTML_ENTITIES or re.search(r"</?[A-Za-z]", rest):
        return False
    return len(_NESTING_TAG.findall(html)) <= MAX_HTML_NESTING_TAGS


_PLAIN_TAG = re.compile(
    r"</?[A-Za-z][^\s<>\"'=/`]*+"
    r"(?:\s++[^\s<>\"'=/`]++(?:\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'|[^\s<>\"'=`]++))?+){0,64}+\s*+/?>",
    re.ASCII,
)
_NESTING_TAG = re.compile(r"</?(?!(?:t[dhr]|tbody|thead|tfoot|col|colgroup|caption)\b)[A-Za-z]", re.IGNORECASE)


class _Reader(HTMLParser):
    """Reads HTML, collects its style sheets, and notes whether the sanitiser takes anything else away."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sheets: list[str] = []
        self.complete = True
        self._in_sheet = False
        self._tags = frozenset(_TAGS.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_sheet = tag == "style"
        if not self._in_sheet:
            self.complete = self.complete and tag in self._tags and all(_is_kept(tag, n, v or "") for n, v in attrs)
        elif any(not _INVISIBLE_ATTRIBUTE.fullmatch(name) for name, _ in attrs):
            self.complete = False

    def handle_endtag(self, tag: str) -> None:
        self._in_sheet = False

    def handle_data(self, data: str) -> None:
        if self._in_sheet:
            self.sheets.append(data)


def _is_kept(tag: str, name: str, value: str) -> bool:
    if name not in _EVERYWHERE | _ATTRIBUTES.get(tag, set()):
        return bool(_INVISIBLE_ATTRIBUTE.fullmatch(name))
    if name == "style":
        return clean_declarations(value)[1]
    return name in ("class", "id") or _attribute(tag, name, value) is not None


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value an attribute may have; ``nh3`` asks for each that it knows."""
    if name == "href":
        return value if re.match(r"https?://", value, re.IGNORECASE) else None
    if name == "src":
        return _image_url(value)
    if name == "class":
        return own_classes(value)
    if name == "id":
        return own_name(value)
    if name == "style":
        return clean_declarations(value)[0] or None
    return value


def _image_url(url: str) -> str | None:
    head, _, data = url.partition(",")
    mime = head.removeprefix("data:").removesuffix(";base64")
    clean = clean_image(mime, data) if head == f"data:{mime};base64" else None
    return clean and f"{head},{clean}"


_HTML_OR_TEX_COMMAND = re.compile(r"<[^\">]*(?:\"[^\"]*\"[^\">]*)*>|\\([A-Za-z@]+)")


def _without_tex_commands(html: str) -> str:
    """Cut unknown TeX commands in two by an empty element: looks the same, and no typesetter reads across it."""

    def cut(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name is None or name in TEX_COMMANDS else f"\\<span></span>{name}"

    return _HTML_OR_TEX_COMMAND.sub(cut, html)
