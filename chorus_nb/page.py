"""What a session's HTML and script become: something to look at in the notebook page, or a frame of their own.

In a notebook all outputs share one page, and libraries count on it: Plotly and Bokeh put their script into it once and
draw with it from then on. A frame shares nothing with any other, so what earlier outputs loaded is put into each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .frame import Library, framed, library, script
from .markup import boxed_html, inline_html

SCRIPT_TYPES = ("text/html", "application/javascript", "text/javascript")
"""MIME types that may act in a page, those that front ends prefer first."""

SMALLEST_LIBRARY_CHARACTERS = 2**15
MAX_LIBRARIES_CHARACTERS = 2**24
"""All libraries of a session together, packed."""

_BOKEH_LOAD = "application/vnd.bokehjs_load.v0+json"
_UNSEEN = re.compile(r"\s*(?:<(?P<element>script|style)\b|<(?:link|meta)\b|(?P<comment><!--))")
_EMPTY = re.compile(r"(?:\s+|<!--.*?-->|</?(?:div|span|p|br|section|center)\b[^<>]*>)*+", re.IGNORECASE | re.DOTALL)


@dataclass
class OutputPage:
    """What the outputs of one session share.

    Attributes
    ----------
    display_prefix : str
        Put before every ``display_id``, so that a sandbox can update its own displays and nobody else's.
    frames : bool
        Whether this place can have frames; a tooltip can't.
    session : str
        What people call the session.
    """

    display_prefix: str
    frames: bool = True
    session: str = ""
    _libraries: list[Library] = field(default_factory=list)
    _placeholders: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Take note that another cell begins."""
        self._placeholders.clear()

    def show(self, sources: Mapping[str, str], mimes: Collection[str], text: str) -> str | None:
        """Return HTML for the notebook page, or None where there is nothing to see.

        Parameters
        ----------
        sources : mapping
            What a display has of :data:`SCRIPT_TYPES`.
        mimes : collection of str
            All MIME types of the display.
        text : str
            The display as text.
        """
        mime = next(mime for mime in SCRIPT_TYPES if mime in sources)
        source = sources[mime] if mime == "text/html" else script(sources[mime])
        if mime == "text/html" and (inline := inline_html(source) or boxed_html(source, self.session)):
            return inline
        if not self.frames:
            return None
        if _BOKEH_LOAD in mimes or _is_library(source):
            self._keep(library(source))
            return None
        if _EMPTY.fullmatch(source):
            # Nothing to see yet: an element for a script that comes next.
            self._placeholders.append(source)
            return None
        libraries = self._libraries if "<script" in source.lower() else []
        return framed("".join([*self._placeholders, source]), text, libraries)

    def _keep(self, packed: Library) -> None:
        if packed in self._libraries:
            return
        self._libraries.append(packed)
        while sum(map(len, self._libraries)) > MAX_LIBRARIES_CHARACTERS:
            del self._libraries[0]


def _is_library(source: str) -> bool:
    """Tell script that only prepares what comes later from an output: it is large, and there is nothing around it."""
    if len(source) < SMALLEST_LIBRARY_CHARACTERS:
        return False
    text, at = source.lower().rstrip(), 0
    while at < len(text):
        # Piece by piece: an expression for all of it would take quadratic time for what is made to.
        piece = _UNSEEN.match(text, at)
        if piece is None:
            return False
        closer = f"</{piece['element']}" if piece["element"] else "-->" if piece["comment"] else ">"
        end = text.find(closer, piece.end())
        at = text.find(">", end) + 1
        if end < 0 or at == 0:
            return False
    return True
