"""The diagrams of scikit-learn, without the script that its newer versions (1.7 and later) bring with each.

The script copies a parameter's name when its button is pressed, and gives the diagram a class for the light or dark
theme of the page. The class is one that a style sheet can do without a script, and the button does nothing here.
Whoever else calls their HTML so loses nothing but their script, which no output may have in the page.
"""

from __future__ import annotations

import re

from .declarations import OWN

_DIAGRAM = re.compile(
    r"<style>(?:[^<]|<(?!/style))*+</style>(?:<body>)?<div id=\"sk-container-id-\d+\"[^<>]* class=\"sk-top-container\b"
)
_SCRIPT = re.compile(r"<script>(?:[^<]|<(?!/script))*+</script>")
_HANDLER = re.compile(r"\sonclick=\"[^\"<>]*\"")
_THEME_CLASS = re.compile(rf"\.{OWN}(light|dark)(?![\w-])")

# As heavy in the cascade as the class; JupyterLab and VS Code say on the body what their theme is.
_DARK = '([data-jp-theme-light="false"] *, [data-vscode-theme-kind*="dark"] *)'
_THEMES = {"dark": f":is{_DARK}", "light": f":not{_DARK}"}


def without_script(html: str) -> str | None:
    """Return the HTML of a diagram without its script, or None where it is none or has none."""
    if not _DIAGRAM.match(html) or "<script>" not in html:
        return None
    # Something unseen in its place: style sheets treat the last of an element's children as such.
    return _HANDLER.sub("", _SCRIPT.sub("<span hidden></span>", html))


def with_theme(sheet: str) -> str:
    """Return a cleaned style sheet in which the theme of the page stands for the classes that the script would set."""
    return _THEME_CLASS.sub(lambda match: _THEMES[match[1]], sheet)
