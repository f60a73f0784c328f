"""What the output policy leaves of a display, and HTML read the way a page would: what of it could act."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chorus_nb import frame
from chorus_nb.agent.wire import Message
from chorus_nb.config import OutputPolicy
from chorus_nb.outputs import OutputFilter
from chorus_nb.page import OutputPage

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"pixels").decode()
FORBIDDEN_TAGS = """
    script iframe frame object embed applet form input button textarea select meta base link style svg math
    video audio source track portal dialog template slot area map canvas marquee noscript
"""
ALLOWED_LINKS = {"http", "https"}


def admit(msg_type: str, *, limit: int = 10 * 2**20, **content: Any) -> dict[str, Any] | None:
    message = OutputFilter(OutputPolicy(max_bytes=limit), OutputPage("s1-")).admit(
        Message(msg_type=msg_type, content=content)
    )
    return None if message is None else message.content


def show(**data: Any) -> dict[str, Any]:
    """Return what is left of a display whose MIME types are written as ``text__html``."""
    bundle = {mime.replace("__", "/"): value for mime, value in data.items()}
    content = admit("display_data", data=bundle, metadata={})
    return content["data"] if content else {}


BOXED_TAGS = "svg input label button"
SVG_TAGS = "svg g defs symbol use path rect circle ellipse line polyline polygon text tspan"


class Inspector(HTMLParser):
    """Reads HTML the way a page would, and lists everything that could act, load or reach beyond the output."""

    def __init__(self, html: str, boxed: bool = False) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.texts: list[str] = []
        self.boxed = boxed
        self._depth = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._depth += tag == "div"
        allowed = BOXED_TAGS.split() if self.boxed else []
        if tag in FORBIDDEN_TAGS.split() and tag not in allowed:
            self.faults.append(f"<{tag}>")
        if tag in ("input", "button") and dict(attrs).get("type") not in ("checkbox", "button"):
            self.faults.append(f"{tag} {attrs}")
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "div"
        if self._depth < 0:
            self.faults.append("</div> of something else")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name.startswith(("on", "data-")) or name in {"name", "srcdoc", "srcset", "ping", "form", "autofocus"}:
            self.faults.append(f"{tag} {name}")
        if name in ("id", "for") and not re.fullmatch(r"sandbox-[\w-]+", value):
            self.faults.append(f"{tag} {name}")
        if name == "id" and tag in SVG_TAGS.split() and tag != "symbol":
            self.faults.append(f"{tag} {name}")
        if tag == "use" and name in ("href", "xlink:href"):
            if not re.fullmatch(r"#sandbox--[0-9a-f]{8}-[\w-]+", value):
                self.faults.append(f"{tag} {name}={value}")
        elif name in {"href", "action", "formaction", "xlink:href", "background", "poster", "cite"}:
            scheme = urlsplit(re.sub(r"[\x00-\x20]", "", value)).scheme.lower()
            if tag != "a" or scheme not in ALLOWED_LINKS:
                self.faults.append(f"{tag} {name}={value}")
        if name == "src" and not re.match(r"data:image/(png|jpeg|gif|svg\+xml);base64,[A-Za-z0-9+/=]+$", value):
            self.faults.append(f"{tag} src={value}")
        beyond = "" if self.boxed else "position|z-index|transform|margin|"
        if name == "style" and re.search(rf"{beyond}url|expression|behavior|import|@|\\", value):
            self.faults.append(f"{tag} style={value}")
        if tag in SVG_TAGS.split() and re.search(r"url|javascript|data:", value):
            self.faults.append(f"{tag} {name}={value}")
        if name == "class" and re.search(
            r"(^|\s)(?!sandbox-)\S*(jp-|lm-|modal|mathjax_process|tex2jax_process)|(^|\s)sandbox--", value
        ):
            self.faults.append(f"{tag} class={value}")


FRAME = re.compile(
    r'<div class="mathjax_ignore tex2jax_ignore"><iframe sandbox="allow-scripts" style="[-\w:;% ]*" '
    r'srcdoc="(?P<outer>[^"<>]*)"><pre>(?P<text>[^<>$\\]*)</pre></iframe><script>(?P<script>.*)</script></div>',
    re.DOTALL,
)
FRAME_FILES = Path(frame.__file__).parent
# What one line of a cleaned style sheet may be: a rule of the output's own elements, a condition, its end.
SHEET_LINE = re.compile(
    r"(((:root|html|body)[^{}<>,:]* )?:where\(\.sandbox--?[0-9a-f]{12}\)( [^{}<>]+?)?(, )?)+ \{[^{}<>@\\]*\}"
    r"|@(media|supports) \([-\w: .]+\) \{|\}"
)
WRAPPED = re.compile(
    r'<div class="sandbox-(?P<boxed>-?)[0-9a-f]{12} jp-RenderedHTMLCommon" '
    r'style="(?:overflow-y: clip|(?P<box>contain: paint; overflow: auto)); margin: 0; padding: 0">'
    r"(?:<style>\n(?P<sheet>[^<]*)\n</style>\n)?(?P<content>.*)</div>",
    re.DOTALL,
)


def framed_content(html: str) -> str | None:
    """Return what a frame has in it, after our own part, or None where HTML is not exactly one of our frames."""
    match = FRAME.fullmatch(html)
    if not match or match["script"] != (FRAME_FILES / "page.js").read_text():
        return None
    before, after = (FRAME_FILES / "outer.html").read_text().split("PARTS")
    outer = unescape(match["outer"])
    assert outer.startswith(before)
    assert outer.endswith(after)
    parts = outer.removeprefix(before).removesuffix(after)
    assert re.fullmatch(r'\["[A-Za-z0-9+/=]+"(, "[A-Za-z0-9+/=]+")+\]', parts)
    _, *content = (gzip.decompress(base64.b64decode(part)).decode() for part in json.loads(parts))
    return "".join(content)


def faults(html: str) -> list[str]:
    """List what of HTML could act in the page: nothing where it is one of our frames, or a style sheet of its own."""
    if framed_content(html) is not None:
        return []
    wrapped = WRAPPED.fullmatch(html)
    if wrapped is None:
        return Inspector(html).faults
    assert bool(wrapped["boxed"]) == bool(wrapped["box"]), "what is named as a box is one"
    lines = (wrapped["sheet"] or "}").split("\n")
    wrong = [line for line in lines if not SHEET_LINE.fullmatch(line) or re.search(r"url\((?!data:)|/\*", line)]
    return wrong + Inspector(wrapped["content"], boxed=bool(wrapped["box"])).faults
