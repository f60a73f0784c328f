"""What one cell shows in several sessions, as one table with a column for each.

Everything in it has passed the output policy. Here text is escaped and pictures are put inline, so that a table of HTML
holds it all, live and in a saved notebook, with nothing that runs.
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .agent.wire import Message
from .ansi import as_terminal, plain, to_html
from .replay import Replay, Strip

LIVE_CHARS = 4000
"""Of each text, while the cell runs: the end of it, as it is sent anew several times a second."""

_RULE = re.compile(r"\A(?:\x1b\[[\d;]*m)*-{20,}(?:\x1b\[[\d;]*m)*\n")
_IMAGES = ("image/png", "image/jpeg", "image/gif")


@dataclass
class _Text:
    """What was printed, or a traceback (``name`` is ``"error"``)."""

    name: str
    pieces: list[str] = field(default_factory=list)

    def html(self, most: int | None) -> str:
        return _pre(as_terminal(self._end(most)).rstrip("\n"), self.name)

    def _end(self, most: int | None) -> str:
        if most is None:
            return "".join(self.pieces)
        kept, left = [], most
        for piece in reversed(self.pieces):
            if left <= 0:
                break
            kept.append(piece[-left:])
            left -= len(piece)
        return "".join(reversed(kept))

    def plain(self) -> str:
        return plain(as_terminal("".join(self.pieces))).rstrip("\n")


@dataclass
class _Shown:
    """A display, or the value of the last expression."""

    content: Mapping[str, Any]

    def html(self, most: int | None) -> str:
        data, metadata = self.content["data"], self.content["metadata"]
        if "text/html" in data:
            return f"<div>{data['text/html']}</div>"
        for mime in _IMAGES:
            if mime in data:
                return _image(mime, data[mime], metadata)
        return _pre(_text_of(data), "stdout")

    def plain(self) -> str:
        data = self.content["data"]
        return str(data.get("text/plain", "")) or f"<{next(iter(data), 'nothing')}>"


class Column(Replay):
    """Gathers the output of one session.

    Attributes
    ----------
    version : int
        Grows with every change.
    """

    def __init__(self, name: str, strip: Strip) -> None:
        super().__init__(strip)
        self.name = name
        self.version = 0
        self._parts: list[_Text | _Shown] = []
        self._lock = threading.Lock()

    def stream(self, name: str, text: str) -> None:
        with self._lock:
            last = self._parts[-1] if self._parts else None
            if not isinstance(last, _Text) or last.name != name:
                last = _Text(name)
                self._parts.append(last)
            last.pieces.append(text)
            self.version += 1

    def display(self, content: Mapping[str, Any], *, update: bool = False) -> None:
        with self._lock:
            if update:
                same = content["transient"]
                self._parts = [_Shown(content) if _id_of(part) == same else part for part in self._parts]
            else:
                self._parts.append(_Shown(content))
            self.version += 1

    def clear(self) -> None:
        with self._lock:
            self._parts.clear()
            self.version += 1

    def show_result(self) -> None:
        """Leave it where it is: it was shown when it came."""

    def passing_error(self, content: Mapping[str, Any]) -> None:
        self.fail(content["traceback"])

    def fail(self, traceback: Sequence[str]) -> None:
        """Show an error at the end, without the line above a traceback, which is wider than a column."""
        self.stream("error", _RULE.sub("", "\n".join(traceback)))

    def html(self, *, live: bool = False) -> str:
        """Return the content of the column, the end of it while it is live."""
        with self._lock:
            return "".join(part.html(LIVE_CHARS if live else None) for part in self._parts)

    def plain(self) -> str:
        """Return it as text without colours."""
        with self._lock:
            return "\n".join(part.plain() for part in self._parts)

    def _result(self, message: Message) -> None:
        super()._result(message)
        self.display(message.content)


def table(columns: Sequence[Column], *, live: bool = False) -> str:
    """Return the columns as HTML, in the order in which they were asked for."""
    heads = "".join(f'<th style="{_CELL}; font-weight: bold">{html.escape(column.name)}</th>' for column in columns)
    bodies = "".join(f'<td style="{_CELL}">{column.html(live=live)}</td>' for column in columns)
    rows = f"<thead><tr>{heads}</tr></thead><tbody><tr {_ROW}>{bodies}</tr></tbody>"
    return f'<div style="overflow-x: auto"><table style="{_TABLE}">{rows}</table></div>'


def text(columns: Sequence[Column]) -> str:
    """Return the columns as text, one below the other."""
    return "\n\n".join(f"[{column.name}]\n{column.plain()}".rstrip() for column in columns)


_TABLE = "width: 100%; margin: 0; border-collapse: collapse"
_CELL = (
    "text-align: left; vertical-align: top; min-width: 180px; padding: 4px 12px; border: 1px solid rgb(128, 132, 140)"
)
_PRE = 'style="white-space: pre-wrap; margin: 0; background: none" class="tex2jax_ignore mathjax_ignore"'
_ROW = 'style="background: none"'


def _pre(text: str, name: str) -> str:
    # The classes are those of Jupyter's own text outputs, so that the theme colours it; math in it is text.
    mime = "application/vnd.jupyter.stderr" if name in ("stderr", "error") else "application/vnd.jupyter.stdout"
    return f'<div class="jp-RenderedText" data-mime-type="{mime}"><pre {_PRE}>{to_html(text)}</pre></div>'


def _image(mime: str, data: str, metadata: Mapping[str, Any]) -> str:
    known = {**metadata, **metadata.get(mime, {})}
    size = "".join(f' {name}="{known[name]:g}"' for name in ("width", "height") if name in known)
    alt = html.escape(str(known.get("alt", "")))
    background = ' style="background: white"' if known.get("needs_background") == "light" else ""
    return f'<img src="data:{mime};base64,{re.sub(r"[^A-Za-z0-9+/=]", "", data)}" alt="{alt}"{size}{background}>'


def _text_of(data: Mapping[str, Any]) -> str:
    for mime in ("text/plain", "text/markdown", "text/latex"):
        if mime in data:
            return str(data[mime])
    return json.dumps(data.get("application/json", list(data)), indent=2)


def _id_of(part: _Text | _Shown) -> object:
    return part.content.get("transient") if isinstance(part, _Shown) else None
