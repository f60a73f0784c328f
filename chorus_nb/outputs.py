"""What a sandbox puts out, bounded and made fit to show in the notebook.

Outputs are hostile input. JupyterLab runs script in the outputs of a cell that was executed in the session, and with
the page an attacker has the server and the host. So every message is checked for its shape and its size, every
representation is made harmless by :mod:`chorus_nb.sanitize` and :mod:`chorus_nb.page`, and what is dropped is named in
:meth:`OutputFilter.notice`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .agent.wire import Message
from .config import OutputPolicy
from .errors import AgentProtocolError
from .limits_reached import ReachedLimit
from .page import SCRIPT_TYPES, OutputPage
from .sanitize import CLEANERS, clean_text
from .widgets import VIEW

if TYPE_CHECKING:
    from .displayed import DisplayedFiles

MESSAGE_OVERHEAD_BYTES = 64
"""What a message counts on top of its content, so that a flood of empty ones ends too."""

MAX_ERROR_CHARACTERS = 2**18
MAX_ERROR_LINES = 500
MAX_NAMED = 8


class OutputFilter:
    """Takes the output messages of one execution in their order, and says what may be shown.

    Parameters
    ----------
    policy : OutputPolicy
        How many bytes may pass, and in which form.
    page : OutputPage
        What this execution's outputs share with the session's earlier ones.
    view : callable, optional
        Takes what a display says to show a widget; returns what shows it in the page, or None where it can't be.
        Without it no widget is shown.
    files : DisplayedFiles, optional
        Has the files that outputs name. Without it they show none.

    Attributes
    ----------
    dropped_bytes : int
        What was dropped because of the limit.
    """

    def __init__(
        self,
        policy: OutputPolicy,
        page: OutputPage,
        view: Callable[[Any], dict[str, Any] | None] | None = None,
        files: DisplayedFiles | None = None,
    ) -> None:
        self.dropped_bytes = 0
        self._files = None if policy.mode == "text" else files
        self._limit_bytes = policy.max_bytes
        self._left_bytes = policy.max_bytes
        self._page = page
        page.begin()
        self._view = view
        self._oversized: list[str] = []
        self._refused: dict[str, None] = {}
        self._has_error = False
        self._represent = {"safe": self._safe, "trusted": self._raw, "text": self._text}[policy.mode]
        self._admit: Mapping[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "stream": self._stream,
            "display_data": self._display,
            "update_display_data": self._update,
            "execute_result": self._result,
            "clear_output": self._clear,
            "error": self._error,
        }

    def names_files(self, message: Message) -> bool:
        """Tell whether files of the sandbox belong into a message before it is admitted."""
        return self._files is not None and self._files.are_named_in(message)

    def with_files(self, message: Message) -> Message:
        """Return the message with the files that it names; waits for the sandbox, so not on the reading thread."""
        if self._files is None or not self._files.are_named_in(message):
            return message
        return self._files.put_into(message, self._left_bytes)

    def admit(self, message: Message) -> Message | None:
        """Return the message as it may be replayed, or None where nothing of it may.

        Raises
        ------
        AgentProtocolError
            For a message that is no output, or not shaped like one.
        """
        admit = self._admit.get(message.msg_type)
        if admit is None:
            raise _malformed("message type")
        self._left_bytes -= MESSAGE_OVERHEAD_BYTES
        content = admit(message.content)
        return None if content is None else replace(message, content=content, metadata={}, buffers=[])

    def reached(self) -> ReachedLimit | None:
        """Return the limit of the output, where it was reached."""
        if not self.dropped_bytes:
            return None
        limit = self._limit_bytes
        return ReachedLimit("max_output", limit, limit + self.dropped_bytes, f"A cell may put out {_size(limit)}.")

    def notice(self) -> str | None:
        """Return what to print after the output: what was dropped and how to see it. None where nothing was."""
        lines = []
        if self.dropped_bytes:
            what = f"{_size(self.dropped_bytes)} of output dropped after the first {_size(self._limit_bytes)}"
            named = f" ({', '.join(self._oversized)})" if self._oversized else ""
            more = f'Sandbox(max_output="{max(1, 10 * self._limit_bytes >> 20)}m")'
            lines.append(f"[sandbox] {what}{named}; raise it with {more}.\n")
        if self._refused:
            lines.append(f"[sandbox] Not shown: {', '.join(self._refused)}. {_ONLY_SAFE}\n")
        return "".join(lines) or None

    def _stream(self, content: dict[str, Any]) -> dict[str, Any] | None:
        name, text = _field(content, "name", str), _field(content, "text", str)
        if name not in ("stdout", "stderr"):
            raise _malformed("stream name")
        data = text.encode("utf-8", "surrogatepass")
        kept = max(0, min(len(data), self._left_bytes))
        self._left_bytes -= kept
        if kept < len(data):
            self.dropped_bytes += len(data) - kept
            self._left_bytes = 0
            text = data[:kept].decode("utf-8", "ignore")
        return {"name": name, "text": clean_text(text)} if kept else None

    def _display(self, content: dict[str, Any]) -> dict[str, Any] | None:
        data = self._represent(_field(content, "data", dict))
        if not data:
            return None
        shown = {"data": data, "metadata": clean_metadata(_field(content, "metadata", dict, {}), data)}
        display_id = _field(_field(content, "transient", dict, {}), "display_id", str, "")
        if re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", display_id):
            shown["transient"] = {"display_id": self._page.display_prefix + display_id}
        return shown

    def _update(self, content: dict[str, Any]) -> dict[str, Any] | None:
        shown = self._display(content)
        return shown if shown and "transient" in shown else None

    def _result(self, content: dict[str, Any]) -> dict[str, Any] | None:
        count = _field(content, "execution_count", int)
        if not 0 <= count < 2**31:
            raise _malformed("execution_count")
        shown = self._display(content)
        return shown and {**shown, "execution_count": count}

    def _clear(self, content: dict[str, Any]) -> dict[str, Any] | None:
        return {"wait": _field(content, "wait", bool, False)} if self._left_bytes > 0 else None

    def _error(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """Let the first error through even beyond the limit: it is what the reader needs most."""
        if self._has_error and self._left_bytes <= 0:
            return None
        error = clean_error(content)
        self._has_error = True
        self._left_bytes -= sum(map(len, (error["ename"], error["evalue"], *error["traceback"])))
        return error

    def _safe(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return what may stand in the page; HTML and script as the page of the session shows them."""
        shown: dict[str, Any] = {}
        refused: list[str] = []
        active: dict[str, str] = {}
        # What every reader can show goes first, while there is room.
        for mime in sorted(data, key=lambda mime: mime != "text/plain"):
            if mime == VIEW and self._view:
                continue  # Whoever knows the widgets says what was refused of them.
            if mime not in CLEANERS and mime not in SCRIPT_TYPES:
                refused.append(mime)
            elif not self._spend(mime, data[mime]):
                continue
            elif mime in SCRIPT_TYPES:
                active[mime] = data[mime]
            elif (value := CLEANERS[mime](data[mime])) is not None:
                shown[mime] = value
            else:
                refused.append(mime)
        for mime in set(refused) & _READABLE_SOURCE:
            shown["text/plain"] = clean_text(data[mime])
        shown |= self._widget(data)
        svg = shown.pop("image/svg+xml", None)
        html = self._page.show(active, data.keys(), shown.get("text/plain", "")) if active else svg
        if not html and not shown.keys() - {"text/plain"}:
            self._refuse(refused)
        return {"text/html": html, **shown} if html else shown

    def _raw(self, data: dict[str, Any]) -> dict[str, Any]:
        shown = {mime: value for mime, value in data.items() if mime != VIEW and self._spend(mime, value)}
        return shown | self._widget(data)

    def _widget(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return what shows a widget: models have other ids in the page."""
        view = self._view(data[VIEW]) if self._view and VIEW in data else None
        return {VIEW: view} if view else {}

    def _text(self, data: dict[str, Any]) -> dict[str, Any]:
        text = data.get("text/plain")
        shown = text is not None and self._spend("text/plain", text)
        if not shown:
            self._refuse(list(data))
        return {"text/plain": clean_text(str(text))} if shown else {}

    def _spend(self, mime: str, value: Any) -> bool:
        size = len(_payload(mime, value))
        if size <= self._left_bytes:
            self._left_bytes -= size
            return True
        self.dropped_bytes += size
        if len(self._oversized) < MAX_NAMED:
            self._oversized.append(f"{mime} of {_size(size)}")
        return False

    def _refuse(self, mimes: list[str]) -> None:
        for mime in mimes:
            if len(self._refused) < MAX_NAMED:
                self._refused[mime if re.fullmatch(r"[a-z0-9.+/-]{1,80}", mime) else "an unknown type"] = None


_READABLE_SOURCE = {"text/latex", "text/markdown"}
_ONLY_SAFE = "Only text, tables and pictures of a sandbox can't act in this page."
_NOT_IN_ERRORS = re.compile(r"\x1b\[[0-9;:]*K|[\r\b]")


def clean_error(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an ``error`` message or a failed ``execute_reply``, cleaned and bounded.

    Raises
    ------
    AgentProtocolError
        Where a field is missing or of another type.
    """
    lines = _field(content, "traceback", list)
    if not all(isinstance(line, str) for line in lines):
        raise _malformed("traceback")
    if len(lines) > MAX_ERROR_LINES:
        half = MAX_ERROR_LINES // 2
        lines = [*lines[:half], f"[... {len(lines) - 2 * half} parts left out ...]", *lines[-half:]]
    return {
        "ename": _error_text(_field(content, "ename", str), 200),
        "evalue": _error_text(_field(content, "evalue", str), MAX_ERROR_CHARACTERS // 8),
        "traceback": [_error_text(line, MAX_ERROR_CHARACTERS // max(8, len(lines))) for line in lines],
    }


def _error_text(text: str, most: int) -> str:
    text = text if len(text) <= most else f"{text[: most // 2]}\x1b[0m [...] {text[-most // 2 :]}"
    return _NOT_IN_ERRORS.sub("", clean_text(text))


_METADATA: Mapping[str, Callable[[Any], bool]] = {
    "width": lambda value: type(value) in (int, float) and 0 < value < 1e5,
    "height": lambda value: type(value) in (int, float) and 0 < value < 1e5,
    "alt": lambda value: isinstance(value, str) and value.isprintable() and len(value) <= 1000,
    "needs_background": lambda value: value in ("light", "dark"),
    "expanded": lambda value: isinstance(value, bool),
}


def clean_metadata(metadata: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known entries of a display's metadata, at the top and per MIME type of ``data``."""
    known = {key: metadata[key] for key, fits in _METADATA.items() if key in metadata and fits(metadata[key])}
    for mime in data:
        entry = metadata.get(mime)
        if isinstance(entry, dict) and (inner := clean_metadata(entry, {})):
            known[mime] = inner
    return known


def _payload(mime: str, value: Any) -> bytes:
    """Return the bytes of one representation. Raises where its type is not the MIME type's."""
    if mime.endswith("json"):
        try:
            value = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise _malformed(mime) from None
    if not isinstance(value, str):
        raise _malformed(mime)
    return value.encode("utf-8", "surrogatepass")


_REQUIRED = object()


def _field(content: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = content.get(name, default)
    # bool is an int to Python, but not to JSON.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _malformed(name)
    return value


def _malformed(what: str) -> AgentProtocolError:
    return AgentProtocolError(
        f"The sandbox sent output with a malformed {what}.",
        next_step="Something in it wrote to the agent's stream; run the cell again in a fresh sandbox.",
    )


def _size(size_bytes: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} bytes"
