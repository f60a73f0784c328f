"""What kind of difference two versions have, and that difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from .model import Body, Budget, ChangeKind, Difference, Line, LineKind, Picture, Pictures, Version
from .notebooks import notebook_difference
from .pictures import is_image, picture
from .plain import count, visible
from .text import MAX_BYTES, Text, decoded, text_difference

_SPENT = "not compared: more than is shown at one time; name it to see it"


def compare(
    kind: ChangeKind,
    path: str,
    before: Version | None,
    after: Version | None,
    budget: Budget,
    *,
    source: str = "",
    warning: str = "",
) -> Difference:
    """Return the difference of two versions of a path, one of them None where there is nothing.

    Parameters
    ----------
    budget : Budget
        Counted down by what is compared and shown.
    source : str
        Where it was before, if it was renamed.
    warning : str
        Why it can't be taken over as it is.
    """
    facts = _facts(before, after)
    body = Body()
    pictures: Pictures = (None, None)
    if budget.is_spent:
        facts = (*facts, _SPENT)
    elif not _same_content(before, after):
        pictures = _pictures(source or path, before, path, after, budget)
        body = _body(path, before, after, budget)
    body = replace(body, facts=(*facts, *_described(pictures), *body.facts))
    return Difference(kind, visible(path), visible(source), visible(warning), body, pictures)


def _described(pictures: Pictures) -> tuple[str, ...]:
    descriptions = dict.fromkeys(each.description for each in pictures if each)
    return (" -> ".join(descriptions),) if descriptions else ()


def _same_content(before: Version | None, after: Version | None) -> bool:
    if before is None or after is None:
        return False
    if (before.kind, before.target) != (after.kind, after.target):
        return False
    return before.kind != "file" or (before.digest == after.digest != "")


def _facts(before: Version | None, after: Version | None) -> tuple[str, ...]:
    facts = []
    for version in (before, after):
        if version and version.kind != "file" and (kind := _KINDS[version.kind]) not in facts:
            facts.append(kind)
    if before and after and before.mode != after.mode and "link" not in (before.kind, after.kind):
        facts.append(f"mode {before.mode:03o} -> {after.mode:03o}")
    elif before is None and after and after.kind == "file" and after.mode & 0o111:
        facts.append("executable")
    return tuple(facts)


_KINDS = {"directory": "folder", "link": "symbolic link", "other": "no regular file"}


def _body(path: str, before: Version | None, after: Version | None, budget: Budget) -> Body:
    texts = [_text(version) for version in (before, after)]
    if None in texts:
        return _sizes(before, after)
    old, new = (text or Text([]) for text in texts)
    if before and after and PurePosixPath(path).suffix == ".ipynb":
        cells = notebook_difference(before.content or b"", after.content or b"", budget)
        if cells:
            return cells
    return text_difference(old, new, budget)


def _text(version: Version | None) -> Text | None:
    """Return what can be compared line by line; None where that can't be."""
    if version is None or version.kind == "directory":
        return Text([])
    if version.kind == "link":
        return Text([f"{version.target}\n"])
    if version.content is None or len(version.content) > MAX_BYTES:
        return None
    return decoded(version.content)


def _sizes(before: Version | None, after: Version | None) -> Body:
    large = any(version and version.size_bytes > MAX_BYTES for version in (before, after))
    fact = f"larger than {MAX_BYTES >> 20} MiB: size and digest" if large else "binary"
    lines = (*_size("removed", before), *_size("added", after))
    return Body(lines, facts=(fact,) if lines else ())


def _size(kind: LineKind, version: Version | None) -> tuple[Line, ...]:
    if version is None or version.kind != "file":
        return ()
    return (Line(kind, f"{count(version.size_bytes, 'byte')}, {version.digest or 'too large for a digest'}"),)


def _pictures(old_path: str, before: Version | None, path: str, after: Version | None, budget: Budget) -> Pictures:
    if not is_image(path) or budget.pictures <= 0:
        return None, None
    budget.pictures -= 1
    return _picture(old_path, before), _picture(path, after)


def _picture(path: str, version: Version | None) -> Picture | None:
    return picture(path, version.content) if version and version.content else None
