"""Differences as HTML of our own: everything in it is escaped, and nothing in it runs.

Styles stand at the elements, and colours are see-through: text keeps the theme's colour on the theme's background. So
it is read in light and in dark themes, in nbconvert's pages, and after JupyterLab has sanitized a notebook that it does
not trust, which takes style sheets away.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from .model import Difference, Picture, Report
from .plain import as_lines, heading, remarks

_OUTER = 'class="chorus-diff tex2jax_ignore mathjax_ignore" style="max-width: 100%; word-wrap: break-word"'
_FILE = 'style="margin: 0 0 8px 0; border: 1px solid rgba(128, 132, 140, 0.5)"'
_SUMMARY = 'style="padding: 3px 8px; background-color: rgba(128, 132, 140, 0.12); cursor: pointer"'
_WARNING = 'style="padding: 3px 8px; font-weight: bold; background-color: rgba(220, 150, 40, 0.25)"'
_LINES = (
    'style="margin: 0; padding: 0; overflow-x: auto; white-space: pre; background: none; font-size: 12px; '
    "line-height: 1.4; font-family: Menlo, Consolas, 'DejaVu Sans Mono', monospace\""
)
_BLOCK = "display: block; padding: 0 8px"
_STYLES: Mapping[str, str] = {
    "hunk": f"{_BLOCK}; background-color: rgba(70, 130, 200, 0.14)",
    "same": _BLOCK,
    "removed": f"{_BLOCK}; background-color: rgba(220, 60, 60, 0.18)",
    "added": f"{_BLOCK}; background-color: rgba(40, 160, 80, 0.18)",
    "note": f"{_BLOCK}; font-style: italic",
}
_PAIR = 'style="display: flex; flex-wrap: wrap; padding: 8px"'
_SIDE = 'style="margin: 0 16px 0 0"'
_IMAGE = 'style="max-width: 400px; border: 1px solid rgba(128, 132, 140, 0.5); background-color: rgb(255, 255, 255)"'


def as_html(report: Report) -> str:
    """Return a report as one element."""
    listed = f"<pre {_LINES}>{escape(chr(10).join(report.listed))}</pre>" if report.listed else ""
    files = "".join(_file(each) for each in report.differences)
    return f"<div {_OUTER}>{_sentence(report.opening)}{files}{listed}{_sentence(report.closing)}</div>"


def _sentence(text: str) -> str:
    return f'<p style="margin: 0 0 8px 0">{escape(text)}</p>' if text else ""


def _file(difference: Difference) -> str:
    beside = remarks(difference)
    head = f"<b>{escape(heading(difference))}</b>" + (f" ({escape(beside)})" if beside else "")
    warning = f"<div {_WARNING}>{escape(difference.warning)}</div>"
    body = (warning if difference.warning else "") + _pictures(difference) + _lines(difference)
    if not body:
        return f"<div {_FILE}><div {_SUMMARY.replace('cursor: pointer', '')}>{head}</div></div>"
    return f"<details open {_FILE}><summary {_SUMMARY}>{head}</summary>{body}</details>"


def _lines(difference: Difference) -> str:
    spans = "".join(
        f'<span style="{_STYLES[kind]}">{escape(text) or " "}</span>' for kind, text in as_lines(difference.body.lines)
    )
    return f"<pre {_LINES}>{spans}</pre>" if spans else ""


def _pictures(difference: Difference) -> str:
    if difference.pictures == (None, None):
        return ""
    sides = zip(("before", "after"), difference.pictures, strict=True)
    return f"<div {_PAIR}>{''.join(_side(label, each) for label, each in sides)}</div>"


def _side(label: str, picture: Picture | None) -> str:
    if picture is None:
        return f"<div {_SIDE}>{label}: none</div>"
    shown = f'<img src="{escape(picture.uri)}" alt="{label}" {_IMAGE}>'
    return f"<div {_SIDE}><div>{label}: {escape(picture.description)}</div>{shown}</div>"
