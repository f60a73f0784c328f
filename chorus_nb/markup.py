"""HTML of an output: what may stand in the notebook page, and whether it still looks as it was meant to.

``nh3`` alone decides what is harmless. A reader of the same source decides what is lost by that: where nothing is, the
HTML stands in the page; where something is, the output goes whole into a frame (:mod:`chorus_nb.frame`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser

import nh3

from . import drawings
from .declarations import OWN, clean_declarations
from .estimators import with_theme, without_script
from .sanitize import ENDLESS_REFERENCE, TEX_COMMANDS, clean_image, unescape, without_surrogates
from .stylesheets import clean_sheet, own_classes, own_id

MAX_HTML_TAGS = 500_000
MAX_HTML_NESTING_TAGS = 5_000
"""Tags other than a table's rows and cells."""
MAX_HTML_ENTITIES = 50_000

_NAMES = """
    a abbr b bdi bdo blockquote br caption center cite code col colgroup dd del details dfn div dl dt em figcaption
    figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre progress q rp rt ruby s samp small span strike strong
    sub summary sup table tbody td tfoot th thead time tr tt u ul var
"""
_TAGS = frozenset(_NAMES.split())
_CONTENT_TAGS = {"script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math", "textarea"}
_EVERYWHERE = {"class", "style", "title", "dir", "lang", "align", "valign", "id"}
_ATTRIBUTES = {
    "a": {"href", "download"},
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


@dataclass(frozen=True)
class _Rules:
    """What may stay of HTML.

    Attributes
    ----------
    tags, attributes
        As ``nh3`` takes them, the attributes of each element under ``"*"``.
    boxed : bool
        Whether the HTML stands in a box (:mod:`chorus_nb.declarations`).
    forced : mapping
        Attributes that elements get whatever they had, and their values.
    """

    tags: frozenset[str] = _TAGS
    attributes: Mapping[str, set[str]] = field(default_factory=lambda: {"*": _EVERYWHERE, **_ATTRIBUTES})
    boxed: bool = False
    forced: Mapping[str, dict[str, str]] = field(default_factory=lambda: {"a": {"target": "_blank"}})

    def allows(self, tag: str, name: str) -> bool:
        """Tell whether an element may have an attribute, however the name is written."""
        if tag in drawings.TAGS:
            return name in _DRAWING_ATTRIBUTES or (tag, name) in _DRAWING_LINKS
        return name in self.attributes["*"] or name in self.attributes.get(tag, ())


_DRAWING_ATTRIBUTES = {name.lower() for name in drawings.ATTRIBUTES}
_DRAWING_LINKS = {("symbol", "id"), ("use", "href"), ("use", "xlink:href")}
_ANYWHERE = _Rules()
# A form's controls do nothing but to be checked: no form, no name, no value, and the type is ours.
_IN_A_BOX = _Rules(
    tags=_TAGS | {"input", "label", "button"} | drawings.TAGS,
    attributes={
        "*": _EVERYWHERE | {"hidden", "tabindex"},
        **_ATTRIBUTES,
        "input": {"checked", "disabled"},
        "button": {"disabled"},
        "label": {"for"},
        **{tag: {*drawings.ATTRIBUTES, "id", "href"} for tag in drawings.TAGS},
    },
    boxed=True,
    forced={**_ANYWHERE.forced, "input": {"type": "checkbox"}, "button": {"type": "button"}},
)
BOX = "contain: paint; overflow: auto"
"""The style of an element that nothing inside of it can paint beyond, nor be pinned to anything else than to it."""
_PAGE_CLASS = "jp-RenderedHTMLCommon"
"""What JupyterLab calls the element around an output: it has style sheets for the children of one."""


def inline_html(html: str) -> str | None:
    """Return HTML that can only be looked at and looks as the source does, or None where that can't be had."""
    return _inline(html, "", _ANYWHERE)


def boxed_html(html: str, session: str = "") -> str | None:
    """Return what :func:`inline_html` does, of more HTML: check boxes, drawings, content that is put somewhere.

    It stands in a box (:data:`BOX`). A reader of the result must not take the box away and leave its content.

    Parameters
    ----------
    html : str
        What a sandbox displays.
    session : str
        Whose it is: the check boxes of one session's outputs are never those of another's.
    """
    if (diagram := without_script(html)) is None:
        return _inline(html, session, _IN_A_BOX)
    return _inline(diagram, session, _IN_A_BOX, with_theme)


def _inline(html: str, session: str, rules: _Rules, finish: Callable[[str], str] = str) -> str | None:
    html = _PLAIN_COMMENT.sub("", html)
    # Other comments, and declarations, are read in as many ways as there are readers.
    if not is_cheap_to_parse(html) or "<!" in html or "<?" in html:
        return None
    reader = _Reader(rules)
    reader.feed(html)
    reader.close()
    # Ids that something refers to, and no output can give an element another one's: their names begin with a letter.
    owner = f"-{_digest(session + _DRAWN.sub('', html))[:8]}-" if rules.boxed else ""
    clean = _clean(html, rules, owner) if reader.complete else None
    if clean is None or (rules.boxed and not (_is_stable(clean, rules) and drawings.is_bounded(clean))):
        return None
    if not reader.sheets and not rules.boxed:
        return clean
    source = "\n".join(reader.sheets)
    # Named by its content: an output that is the same again is the same to the letter. No output can give an element
    # the name of a box, with one more dash, and so have what applies in boxes apply outside of one.
    scope = f"{OWN}{'-' if rules.boxed else ''}{_digest(source)}"
    sheet = clean_sheet(source, scope, owner, rules.boxed)
    return None if sheet is None else _wrapped(clean, finish(sheet), scope, rules.boxed)


def _wrapped(clean: str, sheet: str, scope: str, boxed: bool) -> str:
    style = f"{BOX if boxed else 'overflow-y: clip'}; margin: 0; padding: 0"
    element = f"<style>\n{sheet}\n</style>\n" if sheet else ""
    return f'<div class="{scope} {_PAGE_CLASS}" style="{style}">{element}{clean}</div>'


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_PLAIN_COMMENT = re.compile(r"<!--[\w .,:;/]*-->", re.ASCII)
# Names that libraries draw (UUIDs, pandas' T_0f3a1), and words with figures in them. The ids of an output shall not
# depend on them: who masks them to compare notebooks would have to mask the ids too.
_DRAWN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\bT_[0-9a-f]{5}\b|\b[^\W\d]*+\d\w*+", re.ASCII)


def clean_html(html: str) -> str | None:
    """Return HTML that can only be looked at, whatever that takes, or None where it leaves nothing to see."""
    return _clean(html, _ANYWHERE, "") if is_cheap_to_parse(html) else None


def _clean(html: str, rules: _Rules, owner: str) -> str | None:
    clean = _sanitise(without_surrogates(html), rules, partial(_attribute, rules=rules, owner=owner))
    visible = unescape(re.sub(r"<(?!img |hr|progress|svg|input)[^\">]*(?:\"[^\"]*\"[^\">]*)*>", "", clean)).strip()
    return _without_tex_commands(clean) if visible else None


def _sanitise(html: str, rules: _Rules, attribute: Callable[[str, str, str], str | None] | None) -> str:
    return nh3.clean(
        html,
        tags=set(rules.tags),
        clean_content_tags=_CONTENT_TAGS - rules.tags,
        attributes={tag: set(names) for tag, names in rules.attributes.items()},
        attribute_filter=attribute,
        url_schemes={"http", "https", "data"},
        # References within a drawing are relative; the filter lets no other pass.
        url_relative="pass_through" if rules.boxed else "deny",
        set_tag_attribute_values={tag: dict(values) for tag, values in rules.forced.items()},
    ).strip()


def _is_stable(clean: str, rules: _Rules) -> bool:
    """Tell whether sanitised HTML is the same when it is read once more, so that it ends where it is meant to end.

    Text that changes its meaning with the second reading is how sanitisers have been deceived about SVG (mutation XSS).
    """
    whole = f"<div>{clean}</div>"
    return _sanitise(whole, rules, None) == whole


def is_cheap_to_parse(html: str) -> bool:
    """Refuse what the HTML parser takes quadratic time for: deep nesting, thousands of attributes, entities.

    A tag that is not plainly well formed might go on after its first ``>``, so it counts as too expensive.
    """
    rest, tags = _PLAIN_TAG.subn(" ", html)
    if tags > MAX_HTML_TAGS or re.search(r"</?[A-Za-z]", rest):
        return False
    # What is left of < and > is made entities.
    if html.count("&") + sum(map(rest.count, "<>")) > MAX_HTML_ENTITIES or ENDLESS_REFERENCE.search(html):
        return False
    return len(_NESTING_TAG.findall(html)) <= MAX_HTML_NESTING_TAGS


_PLAIN_TAG = re.compile(
    r"</?[A-Za-z][^\s<>\"'=/`]*+"
    r"(?:(?:\s++|(?<=[\"']))[^\s<>\"'=/`]++(?:\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'|[^\s<>\"'=`]++))?+){0,64}+\s*+/?>",
    re.ASCII,
)
_NESTING_TAG = re.compile(r"</?(?!(?:t[dhr]|tbody|thead|tfoot|col|colgroup|caption)\b)[A-Za-z]", re.IGNORECASE)


class _Reader(HTMLParser):
    """Reads HTML, collects its style sheets, and notes whether the sanitiser takes anything else away."""

    def __init__(self, rules: _Rules) -> None:
        super().__init__(convert_charrefs=True)
        self.sheets: list[str] = []
        self.complete = True
        self._in_sheet = False
        self._rules = rules

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_sheet = tag == "style"
        if self._in_sheet or _UNKNOWN_TAG.fullmatch(tag):
            kept = all(_INVISIBLE_ATTRIBUTE.fullmatch(name) for name, _ in attrs)
        elif tag == "input":
            kept = ("type", "checkbox") in attrs and self._is_kept(tag, attrs)
        else:
            # A body within a body is nothing.
            kept = tag == "body" or self._is_kept(tag, attrs)
        self.complete = self.complete and kept

    def handle_endtag(self, tag: str) -> None:
        self._in_sheet = False

    def handle_data(self, data: str) -> None:
        if self._in_sheet:
            self.sheets.append(data)

    def _is_kept(self, tag: str, attrs: list[tuple[str, str | None]]) -> bool:
        return tag in self._rules.tags and all(_is_kept(tag, name, value or "", self._rules) for name, value in attrs)


_UNKNOWN_TAG = re.compile(r"na|(?!jp-|mjx-|lm-)[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)+", re.ASCII)
"""Elements that nobody has defined, as ``<NA>``: what is inside of them looks as it does without."""


def _is_kept(tag: str, name: str, value: str, rules: _Rules) -> bool:
    if not rules.allows(tag, name):
        return bool(_INVISIBLE_ATTRIBUTE.fullmatch(name) or (tag == "svg" and name.startswith(("xmlns", "version"))))
    if name == "style":
        return clean_declarations(value, rules.boxed)[1]
    return name in ("class", "id") or _attribute(tag, name.removeprefix("xlink:"), value, rules, "") is not None


def _attribute(tag: str, name: str, value: str, rules: _Rules, owner: str) -> str | None:
    """Return the value an attribute may have; ``nh3`` asks for each that it knows."""
    if name == "class":
        return own_classes(value)
    if name == "style":
        return clean_declarations(value, rules.boxed)[0] or None
    if tag in drawings.TAGS:
        return _drawing_attribute(tag, name, value, owner)
    if name == "href":
        return value if _WEB_OR_FILE.match(value) else None
    if name == "download":
        return value if value.isprintable() and not re.search(r"[/\\]", value) else None
    if name == "src":
        return _image_url(value)
    if name in ("id", "for"):
        return own_id(value, owner)
    if name in ("tabindex", "hidden"):
        return value if value == {"tabindex": "0"}.get(name, "") else None
    return value


def _drawing_attribute(tag: str, name: str, value: str, owner: str) -> str | None:
    if name == "id":
        return own_id(value, owner) if tag == "symbol" else None
    if name == "href":
        symbol = drawings.symbol_of(value) if tag == "use" else None
        return symbol and f"#{own_id(symbol, owner)}"
    return value if drawings.is_plain_attribute(value) else None


_WEB_OR_FILE = re.compile(r"(?i:https?://)|data:application/octet-stream;base64,[A-Za-z0-9+/]*={0,2}\Z")
"""Where a link may lead: of what it has in itself, no browser makes a page, so that it can only be saved."""


def _image_url(url: str) -> str | None:
    head, _, data = url.partition(",")
    mime = head.removeprefix("data:").removesuffix(";base64")
    clean = clean_image(mime, data) if head == f"data:{mime};base64" else None
    if head == "data:image/svg+xml;base64" and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", data):
        clean = data  # An image, where browsers run no script of it and load nothing for it.
    return clean and f"{head},{clean}"


_HTML_OR_TEX_COMMAND = re.compile(r"<[^\">]*(?:\"[^\"]*\"[^\">]*)*>|\\([A-Za-z@]+)")


def _without_tex_commands(html: str) -> str:
    """Cut unknown TeX commands in two by an empty element: looks the same, and no typesetter reads across it."""

    def cut(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name is None or name in TEX_COMMANDS else f"\\<span></span>{name}"

    return _HTML_OR_TEX_COMMAND.sub(cut, html)
