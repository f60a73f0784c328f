"""What the two live widgets share: one module of JavaScript, one style sheet, and messages that arrive at once.

A button pressed while a cell blocks the main thread must still be heard. JupyterLab sends comm messages to a
subshell of ipykernel 7, but from 7.4 on ipykernel redirects them to the loop that last sent on that comm: the blocked
one. `PromptWidget` keeps the front end's choice, and reads the message in passing, so that front ends without subshells
are served too. On ipykernel 6 nothing arrives while a cell runs; there the JavaScript interrupts the kernel.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from chorus_nb.panel.threads import start_thread

_HERE = Path(__file__).parent
_MAX_REMEMBERED_MESSAGES = 256


class PromptWidget(anywidget.AnyWidget):
    """A widget whose `handle` gets every message of its buttons once and at once, on a thread of its own."""

    _esm = (_HERE / "panel.js").read_text(encoding="utf-8")
    _css = (_HERE / "panel.css").read_text(encoding="utf-8")
    kind = traitlets.Unicode().tag(sync=True)
    heard = traitlets.Unicode().tag(sync=True)
    """Id of the last message that arrived: tells the page that the kernel listens."""

    def __init__(self, **traits: Any) -> None:
        self._seen_ids: deque[str] = deque(maxlen=_MAX_REMEMBERED_MESSAGES)
        self._seen_lock = threading.Lock()
        super().__init__(**traits)
        self.on_msg(lambda _widget, content, _buffers: self._receive(content))
        if self.comm is not None:
            # ipykernel 7.4 calls this in the thread that sorts messages; earlier versions don't know it.
            self.comm._reply_subshell_for = self._route

    def handle(self, content: dict[str, Any]) -> None:
        """Act on one message from the page, which may hold anything."""
        raise NotImplementedError

    def mimebundle(self, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget's view with `text` as its plain form, and the metadata some front ends need."""
        # Named by its class, as a subclass overrides the method in terms of this one.
        bundle: Any = anywidget.AnyWidget._repr_mimebundle_(self)
        # A pair only where the front end needs metadata (Colab).
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(data or {}), "text/plain": text}, dict(metadata)

    def dismiss(self) -> None:
        """Close the widget and its layout, so that neither stays in the notebook's state."""
        self.layout.close()
        self.close()

    def _route(self, data: object, front_end_subshell: str | None) -> str | None:
        if isinstance(data, dict) and data.get("method") == "custom":
            self._receive(data.get("content"))
        return front_end_subshell

    def _receive(self, content: object) -> None:
        if not isinstance(content, dict) or not isinstance(message_id := content.get("id"), str):
            return
        with self._seen_lock:
            if message_id in self._seen_ids:
                return
            self._seen_ids.append(message_id)
        start_thread("chorus-button", self._answer, message_id, content)

    def _answer(self, message_id: str, content: dict[str, Any]) -> None:
        self.heard = message_id
        self.handle(content)
