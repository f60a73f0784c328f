"""What a session's live namespace knows of a name: completions and descriptions, made fit to show.

Never starts a sandbox and never waits long. Where there is no answer in time the result is None, and whoever asked does
without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .agent.wire import Message, WireError
from .config import OutputPolicy
from .conversation import Request
from .errors import ChorusError
from .outputs import OutputFilter
from .page import OutputPage

if TYPE_CHECKING:
    from .session import Session

COMPLETE_TIMEOUT_S = 0.8
"""Below the second after which JupyterLab stops waiting for completions."""

INSPECT_TIMEOUT_S = 3.0
"""For a description JupyterLab waits without end, and on a busy machine the first one takes its time."""

MAX_MATCHES = 500
MAX_MATCH_LENGTH = 256
_POLICY = OutputPolicy(max_bytes=2**19)
_TYPE = re.compile(r"[a-z]{1,20}")


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand in place of ``code[start:end]``, within the line of the cursor.

    ``types`` names what some of the matches are: ``function``, ``module``, ``instance``, ...
    """

    matches: list[str]
    types: dict[str, str]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the name at the cursor is: a MIME bundle after the output policy, empty where nothing is known."""

    data: dict[str, Any]
    metadata: dict[str, Any]


def complete(session: Session, code: str, cursor_pos: int, timeout_s: float = COMPLETE_TIMEOUT_S) -> Completion | None:
    """Ask what may be typed at the cursor (in characters of ``code``). None where the session can't say in time."""
    content = _ask(session, "complete", {"code": code, "cursor_pos": cursor_pos}, timeout_s)
    return None if content is None else _completion(content, code, cursor_pos)


def inspect(
    session: Session, code: str, cursor_pos: int, detail_level: int = 0, timeout_s: float = INSPECT_TIMEOUT_S
) -> Inspection | None:
    """Ask what the name at the cursor is; ``detail_level`` 1 adds its source. None as for :func:`complete`."""
    asked = {"code": code, "cursor_pos": cursor_pos, "detail_level": detail_level}
    content = _ask(session, "inspect", asked, timeout_s)
    return None if content is None else _inspection(content)


def evaluate(session: Session, expressions: Mapping[str, str]) -> dict[str, Any]:
    """Return the ``user_expressions`` of an ``execute_reply``: each one's value or error, after the output policy.

    Raises as :meth:`Session.execute`, for these expressions are code like any other.
    """
    outcome = session.execute(
        "", silent=True, store_history=False, user_expressions=expressions, on_message=lambda _: None
    )
    found = outcome.reply.get("user_expressions")
    answers = found if isinstance(found, dict) else {}
    return {name: _expression(answers.get(name)) for name in expressions}


def _expression(answer: object) -> dict[str, Any]:
    shown = None
    if isinstance(answer, dict):
        kind = "display_data" if answer.get("status") == "ok" else "error"
        with suppress(ChorusError):
            shown = OutputFilter(_POLICY, OutputPage("", frames=False)).admit(Message(kind, answer))
    if shown is None:
        return {"status": "error", "ename": "ValueError", "evalue": "The value can't be shown.", "traceback": []}
    return {**shown.content, "status": "ok" if shown.msg_type == "display_data" else "error"}


def _ask(session: Session, what: str, asked: dict[str, Any], timeout_s: float) -> Mapping[str, Any] | None:
    if session.state != "idle":
        return None
    try:
        content = session.request(Request(f"{what}_request", asked), f"{what}_reply", timeout_s).content
    except (ChorusError, WireError):  # WireError: the cell is larger than a message may be.
        return None
    return content if content.get("status") == "ok" else None


def _completion(content: Mapping[str, Any], code: str, cursor_pos: int) -> Completion | None:
    start, end, found = content.get("cursor_start"), content.get("cursor_end"), content.get("matches")
    if not (type(start) is type(end) is int and 0 <= start <= cursor_pos <= end <= len(code)):
        return None
    if not isinstance(found, list) or "\n" in code[start:end]:
        return None
    matches = [match for match in found[:MAX_MATCHES] if _is_text(match)]
    return Completion(matches, _types(content.get("metadata")), start, end)


def _is_text(match: object) -> bool:
    return isinstance(match, str) and len(match) <= MAX_MATCH_LENGTH and match.isprintable()


def _types(metadata: object) -> dict[str, str]:
    entries = metadata.get("_jupyter_types_experimental") if isinstance(metadata, dict) else None
    types = {}
    for entry in entries[:MAX_MATCHES] if isinstance(entries, list) else []:
        text, kind = (entry.get("text"), entry.get("type")) if isinstance(entry, dict) else (None, None)
        if isinstance(text, str) and _is_text(text) and isinstance(kind, str) and _TYPE.fullmatch(kind):
            types[text] = kind
    return types


def _inspection(content: Mapping[str, Any]) -> Inspection | None:
    if content.get("found") is not True:
        return Inspection({}, {})
    try:
        admitted = OutputFilter(_POLICY, OutputPage("", frames=False)).admit(Message("display_data", dict(content)))
    except ChorusError:
        return None
    return Inspection(admitted.content["data"], admitted.content["metadata"]) if admitted else Inspection({}, {})
