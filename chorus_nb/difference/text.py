"""Text as a unified diff: decoded, in lines, bounded, with everything visible that a terminal or a page would hide."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from .lines import CONTEXT_LINES, Region, changed_regions, hunks
from .model import Body, Budget, Line, LineKind
from .plain import count, visible

MAX_BYTES = 2**20
MAX_SHOWN_LINES = 1000
MAX_LINE_CHARACTERS = 400

_NO_NEWLINE = Line("note", "\\ No newline at end of file")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_BEFORE_DIFFERENCE = 100


@dataclass(frozen=True, slots=True)
class Text:
    """A text in lines, with their ends, and what it was decoded from; the empty text is in any encoding."""

    lines: list[str]
    encoding: str = ""


def decoded(content: bytes) -> Text | None:
    """Return content as text, or None where it is binary.

    Text is UTF-8, UTF-16 with a byte order mark, or else what has no control characters, as Latin-1.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _utf16(content)
    if b"\0" in content:
        return None
    try:
        return Text(_lines(content.decode()), "UTF-8")
    except UnicodeDecodeError:
        return None if _BINARY.search(content) else Text(_lines(content.decode("latin-1")), "Latin-1")


def text_difference(old: Text, new: Text, budget: Budget) -> Body:
    """Compare two texts line by line."""
    regions = changed_regions(old.lines, new.lines, budget)
    every = _Shown(old.lines, new.lines, _same_endings(old.lines, new.lines)).hunks(regions)
    return Body(
        bounded(every, budget),
        sum(each.new_end - each.new_start for each in regions),
        sum(each.old_end - each.old_start for each in regions),
        _encodings(old, new),
    )


def _encodings(old: Text, new: Text) -> tuple[str, ...]:
    names = [*dict.fromkeys(text.encoding for text in (old, new) if text.encoding and text.lines)]
    return () if names in ([], ["UTF-8"]) else (" -> ".join(names),)


def bounded(lines: Iterator[Line], budget: Budget) -> tuple[Line, ...]:
    """Return as many lines as may be shown, and a last one that says so where there are more."""
    kept: list[Line] = []
    for line in lines:
        if len(kept) == MAX_SHOWN_LINES or budget.characters <= 0:
            left = 1 + sum(1 for _ in lines)
            limit = f"of one file {MAX_SHOWN_LINES} are shown" if kept and budget.characters > 0 else "that is enough"
            return (*kept, Line("note", f"… {count(left, 'more line')}: {limit}"))
        kept.append(line)
        budget.characters -= len(line.text)
    return tuple(kept)


def _utf16(content: bytes) -> Text | None:
    try:
        return Text(_lines(content.decode("utf-16")), "UTF-16")
    except UnicodeDecodeError:
        return None


def _lines(text: str) -> list[str]:
    # Not splitlines(), which ends lines at a dozen other characters, too.
    lines = text.split("\n")
    return [*(line + "\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]


def _same_endings(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether all lines that end do so in CRLF, on both sides: then that is nothing to be shown."""
    return all(line.endswith("\r\n") for lines in (old, new) for line in lines if line.endswith("\n"))


@dataclass(frozen=True, slots=True)
class _Shown:
    old: Sequence[str]
    new: Sequence[str]
    hide_cr: bool

    def hunks(self, regions: Sequence[Region]) -> Iterator[Line]:
        for group in hunks(regions):
            yield from self._hunk(group)

    def _hunk(self, group: Sequence[Region]) -> Iterator[Line]:
        first, last = group[0], group[-1]
        above = min(CONTEXT_LINES, first.old_start)
        below = min(CONTEXT_LINES, len(self.old) - last.old_end)
        old = _range(first.old_start - above, last.old_end + below)
        new = _range(first.new_start - above, last.new_end + below)
        yield Line("hunk", f"@@ -{old} +{new} @@")
        at = first.old_start - above
        for region in group:
            yield from self._same(at, region.old_start)
            yield from self._changed(region)
            at = region.old_end
        yield from self._same(at, at + below)

    def _same(self, start: int, end: int) -> Iterator[Line]:
        for line in self.old[start:end]:
            yield from self._line("same", line, line)

    def _changed(self, region: Region) -> Iterator[Line]:
        removed = self.old[region.old_start : region.old_end]
        added = self.new[region.new_start : region.new_end]
        yield from self._side("removed", removed, added)
        yield from self._side("added", added, removed)

    def _side(self, kind: LineKind, lines: Sequence[str], others: Sequence[str]) -> Iterator[Line]:
        for line, other in zip_longest(lines, others[: len(lines)], fillvalue=""):
            yield from self._line(kind, line, other)

    def _line(self, kind: LineKind, line: str, other: str) -> Iterator[Line]:
        text = line.removesuffix("\r\n" if self.hide_cr else "\n")
        yield Line(kind, _cut(text, other))
        if not line.endswith("\n"):
            yield _NO_NEWLINE


def _range(start: int, end: int) -> str:
    """Write a range of lines as the unified format has it (POSIX diff, -U): an empty one is after its line."""
    length = end - start
    return f"{start + (length > 0)}" + ("" if length == 1 else f",{length}")


def _cut(line: str, other: str) -> str:
    """Return a line; of a long one the part where it begins to differ from the other."""
    if len(line) <= MAX_LINE_CHARACTERS:
        return visible(line)
    differs = next((i for i, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), 0)
    start = 0 if differs < MAX_LINE_CHARACTERS - _BEFORE_DIFFERENCE else differs - _BEFORE_DIFFERENCE
    left = len(line) - start - MAX_LINE_CHARACTERS
    head = f"[{count(start, 'character')} …] " if start else ""
    tail = f" [… {count(left, 'character')}]" if left > 0 else ""
    return head + visible(line[start : start + MAX_LINE_CHARACTERS]) + tail
