"""Tab and Shift-Tab below a ``%%sandbox`` line: answered from the live namespace of the cell's session.

ipykernel asks its own shell, which takes the cell for one of the notebook's. So the two methods that answer a front end
are wrapped on the kernel object: both kinds of request pass there in every version, with the whole cell and the cursor
in it. (IPython's completers see only the text before the cursor, and inspection has no hook at all.) In every case that
is not ours, the kernel answers as before; ``is_complete`` needs nothing, as IPython does not parse the body of a magic.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from . import introspection

if TYPE_CHECKING:
    from .magics import SandboxMagics
    from .session import Session

_FIRST_LINE = re.compile(r"\s*%%sandbox(?:[ \t](?P<arguments>.*))?\n")
_TYPES = "_jupyter_types_experimental"  # ipykernel's name for what its replies tell beyond the protocol


class KernelRequests:
    """The wrapped methods of one kernel."""

    def __init__(self, magics: SandboxMagics) -> None:
        self._magics = magics
        self._kernel: Any = None
        self._originals: dict[str, Callable[..., Any]] = {}

    def install(self, shell: Any) -> None:
        """Wrap them where the shell has a kernel; IPython in a terminal has none."""
        self._kernel = getattr(shell, "kernel", None)
        if self._kernel is None:
            return
        for name, ours in (("do_complete", self.complete), ("do_inspect", self.inspect)):
            self._originals[name] = getattr(self._kernel, name)
            setattr(self._kernel, name, _before(self._originals[name], ours))

    def uninstall(self) -> None:
        """Leave the kernel as it was."""
        for name, original in self._originals.items():
            setattr(self._kernel, name, original)

    def complete(self, code: str, cursor_pos: int | None) -> dict[str, Any] | None:
        """Return the content of a ``complete_reply``, or None where the kernel's own is wanted."""
        if self._in_script(code, cursor_pos):
            cursor_pos = len(code) if cursor_pos is None else cursor_pos
            return {"status": "ok", "matches": [], "cursor_start": cursor_pos, "cursor_end": cursor_pos, "metadata": {}}
        asked = self._asked(code, cursor_pos)
        found = asked and introspection.complete(asked[0], code[asked[1] :], asked[2])
        if not asked or not found:
            return None
        start, end = found.start + asked[1], found.end + asked[1]
        return complete_reply(replace(found, start=start, end=end))

    def inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> dict[str, Any] | None:
        """Return the content of an ``inspect_reply``, or None where the kernel's own is wanted."""
        if self._in_script(code, cursor_pos):
            return {"status": "ok", "found": False, "data": {}, "metadata": {}}
        asked = self._asked(code, cursor_pos)
        found = asked and introspection.inspect(asked[0], code[asked[1] :], asked[2], detail_level)
        if not found:
            return None
        return inspect_reply(found)

    def _in_script(self, code: str, cursor_pos: int | None) -> bool:
        """Whether the cursor is in the body of a cell that is no Python: what Python knows would mislead there."""
        first = _FIRST_LINE.match(code)
        if first and cursor_pos is not None and cursor_pos < first.end():
            return False
        return self._magics.is_script((first["arguments"] or "") if first else None, code)

    def _asked(self, code: str, cursor_pos: int | None) -> tuple[Session, int, int] | None:
        """Return the session, where the body begins, and where in it the cursor is. None where it is not in a body."""
        cursor_pos = len(code) if cursor_pos is None else cursor_pos
        if first := _FIRST_LINE.match(code):
            start, session = first.end(), self._magics.session_of(first["arguments"] or "")
        else:
            start, session = 0, self._magics.session_of_mode(code)
        return (session, start, cursor_pos - start) if session and start <= cursor_pos <= len(code) else None


def complete_reply(found: introspection.Completion) -> dict[str, Any]:
    """Return the content of a ``complete_reply``."""
    # Front ends that find this list show it in place of the matches.
    described = [
        {"text": text, "type": found.types.get(text, ""), "start": found.start, "end": found.end}
        for text in found.matches
    ]
    return {
        "status": "ok",
        "matches": found.matches,
        "cursor_start": found.start,
        "cursor_end": found.end,
        "metadata": {_TYPES: described},
    }


def inspect_reply(found: introspection.Inspection) -> dict[str, Any]:
    """Return the content of an ``inspect_reply``."""
    return {"status": "ok", "found": bool(found.data), "data": found.data, "metadata": found.metadata}


def _before(original: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return what asks ``ours`` first. A coroutine: that is what kernels are to have, and all versions await it."""

    async def answer(*args: Any, **kwargs: Any) -> Any:
        reply = ours(*args, **kwargs)
        if reply is None:
            reply = original(*args, **kwargs)
        return await reply if isawaitable(reply) else reply

    return answer
