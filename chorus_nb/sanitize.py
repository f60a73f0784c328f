r"""Makes one representation of an output harmless to show: text, TeX, Markdown, pictures, JSON.

Pure functions. Each takes what a sandbox sent and returns what may stand in the notebook page, or None where that can't
be told or nothing is left. What is kept is listed; what is not listed goes:

- text keeps its colours and loses every other terminal control;
- TeX keeps the commands of :data:`TEX_COMMANDS` (MathJax has ``\href``, ``\style``, ``\require``, ...);
- Markdown passes where it has no raw HTML, no image but in itself (``data:``), and only web links;
- images are decoded, recognised by their first bytes and encoded again; SVG becomes an image, where script is dead.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

MAX_JSON_DEPTH = 64


def clean_text(text: str) -> str:
    r"""Return text without terminal controls, but with colours, line erasure, ``\n``, ``\t``, ``\r`` and ``\b``."""
    return _CONTROLS.sub(lambda match: match["kept"] or (match["surrogate"] and "\ufffd") or "", text)


_CONTROLS = re.compile(
    r"(?P<kept>\x1b\[[0-9;:]{0,64}[mK])"
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # OSC: window titles, clipboard, hyperlinks
    r"|\x1b[PX^_][^\x1b\n]*\x1b\\"  # DCS, SOS, PM, APC
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # other CSI: cursor, screen, modes
    r"|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    r"|(?P<surrogate>[\ud800-\udfff])"
)


def printable_line(text: str, most: int = 300) -> str:
    """Return text fit to stand in a sentence of ours: one line, no control and no colour, cut after ``most``."""
    plain = _COLOURS.sub("", clean_text(text[: 4 * most]))
    return "".join(character if character.isprintable() else " " for character in plain)[:most]


_COLOURS = re.compile(r"\x1b\[[0-9;:]*[mK]")


def unescape(text: str) -> str:
    """Return text with HTML's character references replaced, whatever number they have."""
    return html.unescape(ENDLESS_REFERENCE.sub("&#xfffd", _LEADING_ZEROS.sub("&#", text)))


ENDLESS_REFERENCE = re.compile(r"&#[0-9]{100,}")
"""Python refuses to read a number of thousands of digits, with an exception that nobody expects here."""
_LEADING_ZEROS = re.compile(r"&#0+(?=[0-9])")

# MathJax has more commands than these: ones that set links, styles, ids and whole attributes, load extensions, or
# change what other commands mean for the rest of the page.
_TEX_COMMANDS = """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa varkappa lambda mu nu xi omicron pi
    varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma
    Upsilon Phi Psi Omega digamma aleph beth gimel daleth hbar hslash ell wp Re Im partial nabla infty emptyset
    varnothing forall exists nexists neg lnot top bot angle triangle prime backprime imath jmath eth mho complement
    degree S P sum prod coprod int iint iiint oint bigcap bigcup bigsqcup bigvee bigwedge bigodot bigotimes bigoplus
    biguplus pm mp times div cdot ast star circ bullet oplus ominus otimes oslash odot dagger ddagger amalg cap cup
    uplus sqcap sqcup vee wedge setminus smallsetminus wr diamond bigcirc triangleleft triangleright land lor le leq
    leqslant ge geq geqslant ne neq equiv sim simeq approx approxeq cong propto asymp doteq models vdash dashv prec
    preceq succ succeq ll lll gg ggg subset supset subseteq supseteq subsetneq supsetneq sqsubseteq sqsupseteq in ni
    notin not mid nmid parallel nparallel perp smile frown bowtie lesssim gtrsim lessgtr coloneqq triangleq to gets
    leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow longleftarrow longrightarrow
    longleftrightarrow Longleftarrow Longrightarrow Longleftrightarrow uparrow downarrow updownarrow Uparrow
    Downarrow mapsto longmapsto hookrightarrow hookleftarrow rightharpoonup rightharpoondown leftharpoonup
    leftharpoondown rightleftharpoons nearrow searrow swarrow nwarrow iff implies impliedby xrightarrow xleftarrow
    ldots cdots vdots ddots dots dotsb dotsc dotsm dotsi colon lbrace rbrace lbrack rbrack langle rangle lceil rceil
    lfloor rfloor lvert rvert lVert rVert vert Vert backslash ket bra braket left right middle big Big bigg Bigg
    bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm frac dfrac tfrac cfrac binom dbinom tbinom sqrt root of
    over atop choose stackrel overset underset substack hat widehat check tilde widetilde acute grave dot ddot dddot
    breve bar vec mathring overline underline overbrace underbrace overrightarrow overleftarrow overleftrightarrow
    boxed cancel bcancel xcancel phantom hphantom vphantom sin cos tan cot sec csc arcsin arccos arctan sinh cosh
    tanh coth exp log ln lg det dim ker deg gcd hom arg max min sup inf lim limsup liminf Pr bmod pmod mod
    operatorname limits nolimits displaylimits mathrm mathbf mathit mathsf mathtt mathcal mathscr mathfrak mathbb
    boldsymbol bm pmb rm bf it sf tt cal text textrm textbf textit textsf texttt mbox hbox displaystyle textstyle
    scriptstyle scriptscriptstyle color textcolor tiny scriptsize small normalsize large Large LARGE huge Huge begin
    end hline cline hdashline newline cr tag notag nonumber quad qquad thinspace enspace space strut
"""
TEX_COMMANDS = frozenset(_TEX_COMMANDS.split())
_TEX_COMMAND = re.compile(r"\\([A-Za-z@]+)")


def _is_plain_tex(text: str) -> bool:
    return all(name in TEX_COMMANDS for name in _TEX_COMMAND.findall(text))


def clean_latex(source: str) -> str | None:
    """Return TeX source of known commands, or None."""
    source = clean_text(source)
    return source if _is_plain_tex(unescape(source)) else None


def clean_markdown(source: str) -> str | None:
    """Return Markdown that renders to text and links to the web, or None where it may render to more."""
    source = clean_text(source)
    whole, source = source, _PICTURE.sub(lambda found: found["alt"], source)
    # Renderers decode entities and drop backslashes at different times; the checks look through both.
    text = unescape(source)
    bare = re.sub(r"[\\\s]+", " ", text).replace("] ", "]")
    if _RAW_HTML.search(text) or _RICH_MARKDOWN.search(bare):
        return None
    # JupyterLab puts math back after rendering, without escaping: in a link it would end the attribute.
    if _MATH.search(text) and ('"' in text or not _is_plain_tex(text)):
        return None
    return whole


_RAW_HTML = re.compile(r"<[A-Za-z/!?]")
_RICH_MARKDOWN = re.compile(r"!\[|\](?=[(:])(?!(?:\( ?|: ?)https?://)|[`~]{3} ?\{?mermaid", re.IGNORECASE)
_PICTURE = re.compile(
    r"!\[(?P<alt>[^\[\]\n]{0,500})\]"
    r"\(data:image/(?:png|jpeg|gif|webp|bmp|svg\+xml);base64,[A-Za-z0-9+/]*={0,2}\)"
)
_MATH = re.compile(r"\$|\\[(\[]|\\begin|@@")

IMAGE_SIGNATURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "image/bmp": re.compile(rb"BM"),
}


def clean_image(mime: str, data: str) -> str | None:
    """Return base64 of a raster image, or None where it is not one of that type."""
    if mime not in IMAGE_SIGNATURES:
        return None
    try:
        image = base64.b64decode(re.sub(r"[ \t\r\n]+", "", data), validate=True)
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(image).decode() if IMAGE_SIGNATURES[mime].match(image) else None


def clean_json(value: object) -> object | None:
    """Return a JSON value of bounded depth, or None."""
    return value if _depth_within(value, MAX_JSON_DEPTH) else None


def _depth_within(value: object, depth: int) -> bool:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return depth > 0 and all(_depth_within(child, depth - 1) for child in children)


def clean_svg(svg: str) -> str | None:
    """Return HTML that shows SVG as an image: there browsers run no script in it and load nothing for it."""
    if "<svg" not in svg:
        return None
    data = base64.b64encode(without_surrogates(svg).encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}">'


CLEANERS: Mapping[str, Callable[[Any], Any]] = {
    "text/plain": clean_text,
    "text/markdown": clean_markdown,
    "text/latex": clean_latex,
    "image/svg+xml": clean_svg,
    **{mime: partial(clean_image, mime) for mime in IMAGE_SIGNATURES},
    "application/json": clean_json,
}
"""What makes each MIME type fit to show: takes its payload, returns what may be shown, or None."""


def without_surrogates(text: str) -> str:
    """Return text that can be encoded."""
    return text.encode("utf-8", "replace").decode()
