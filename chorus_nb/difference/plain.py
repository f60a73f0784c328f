"""Differences as text, with colours for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .model import ChangeKind, Difference, Line, Report

_SIGNS: Mapping[str, str] = {"hunk": "", "same": " ", "removed": "-", "added": "+", "note": ""}
_COLOURS: Mapping[str, str] = {"hunk": "36", "removed": "31", "added": "32", "note": "2"}
_BOLD = "1"
_WARNING = "1;31"


def visible(text: str) -> str:
    """Return text with whatever acts on a terminal, or is not seen there, written as an escape; tabs stay.

    Marks that turn the writing direction are of these, so a change can't read as another (CVE-2021-42574).
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\t" else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def as_text(report: Report, *, colours: bool = False) -> str:
    """Return a report as text, each file below a heading."""
    files = [line for each in report.differences for line in ["", *(_coloured(each) if colours else _plain(each))]]
    listed = ["", *report.listed] if report.listed else []
    return "\n".join([report.opening, *files, *listed, *(["", report.closing] if report.closing else [])])


def heading(difference: Difference) -> str:
    """Return what happened to which path."""
    return named(difference.kind, difference.path, difference.source)


def named(kind: ChangeKind, path: str, source: str = "") -> str:
    """Return a change in one line; the paths have to be visible already."""
    return f"{kind}: {source} -> {path}" if source else f"{kind}: {path}"


def remarks(difference: Difference) -> str:
    """Return what stands beside the path: lines added and removed, and facts."""
    body = difference.body
    lines = [f"+{body.added} -{body.removed}"] if body.added or body.removed else []
    return ", ".join([*lines, *body.facts])


def as_lines(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each line, with the sign before it."""
    for line in lines:
        yield line.kind, _SIGNS[line.kind] + line.text


def _plain(difference: Difference) -> Iterator[str]:
    beside = remarks(difference)
    yield heading(difference) + (f"  ({beside})" if beside else "")
    if difference.warning:
        yield difference.warning
    for _, text in as_lines(difference.body.lines):
        yield text


def _coloured(difference: Difference) -> Iterator[str]:
    beside = remarks(difference)
    yield _colour(_BOLD, heading(difference)) + (f"  ({beside})" if beside else "")
    if difference.warning:
        yield _colour(_WARNING, difference.warning)
    for kind, text in as_lines(difference.body.lines):
        yield _colour(_COLOURS[kind], text) if kind in _COLOURS else text


def _colour(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"
