"""HTML and script of a sandbox, whole, in a frame that reaches neither the page nor the network.

Two frames, one in the other, both with ``sandbox="allow-scripts"`` and thus with origins of their own that share
nothing with the page's or with each other's (HTML standard, "sandboxing"; Content Security Policy Level 3):

- ``outer.html`` is ours. Its policy lets nothing load over the network. A frame may always navigate itself, so it takes
  the policy of the frame around it to keep what is inside from leaving for an address with secrets in it.
- ``inside.html`` begins what is inside: our few lines, the libraries that earlier outputs loaded, then the output.

``page.js`` runs in the notebook page, beside the frame, and gives it the height that it asks for. Where a notebook is
not trusted, JupyterLab takes frames and scripts out and leaves what stands between the frame's tags: the output as
text.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from functools import lru_cache
from pathlib import Path

Library = str
"""Part of a document, packed: base64 of gzip."""

_HERE = Path(__file__).parent
# Of another colour scheme than its content, a frame would be opaque: white in a dark theme.
_STYLE = "display: block; width: 100%; height: 150px; border: 0; color-scheme: light"
_LEVEL = 6
_HEADER = bytes.fromhex("1f8b 0800 0000 0000 0003")
"""Of gzip (RFC 1952), without a time of day and with the system that Python named until 3.12: later ones name none."""


def framed(source: str, fallback: str, libraries: list[Library]) -> str:
    """Return HTML of a frame that shows an output.

    Parameters
    ----------
    source : str
        HTML with whatever is in it.
    fallback : str
        The output as text, for where frames don't show.
    libraries : list of Library
        What goes before it.
    """
    parts = [_prelude(), *libraries, library(source)]
    outer = _file("outer.html").replace("PARTS", json.dumps(parts))
    # As entities these start no formula, neither in the page nor where only the text remains.
    text = html.escape(fallback).replace("$", "&#36;").replace("\\", "&#92;")
    return (
        '<div class="mathjax_ignore tex2jax_ignore">'
        f'<iframe sandbox="allow-scripts" style="{_STYLE}" srcdoc="{html.escape(outer)}">'
        f"<pre>{text}</pre></iframe>"
        f"<script>{_file('page.js')}</script></div>"
    )


def library(source: str) -> Library:
    """Return a part of a document as frames carry it."""
    # An output that is the same again is the same to the letter, on any version of Python.
    packed = gzip.compress(source.encode("utf-8", "replace"), _LEVEL, mtime=0)
    return base64.b64encode(_HEADER + packed[len(_HEADER) :]).decode()


def script(code: str) -> str:
    """Return HTML that runs JavaScript as JupyterLab does: in a function that gets its ``element``."""
    quoted = json.dumps(code).replace("<", "\\u003c")
    return (
        "<div></div><script>((element, code) => {"
        " (0, eval)(`(async function(element) {${code}\\n})`)(element).catch((error) => {"
        " element.textContent = `Javascript Error: ${error}`; throw error; });"
        f" }})(document.currentScript.previousElementSibling, {quoted})</script>"
    )


@lru_cache(maxsize=1)
def _prelude() -> Library:
    return library(_file("inside.html"))


@lru_cache(maxsize=4)
def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
