"""The live strip of one execution."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import traitlets

from chorus_nb.panel.figures import StripFigures
from chorus_nb.panel.widget import PromptWidget


class StripWidget(PromptWidget):
    """Shows figures, and calls `on_stop` once when its button is pressed.

    The run's id travels with the message: one that arrives after its cell, from a queue, must not stop the next.
    """

    run_id = traitlets.Unicode().tag(sync=True)
    figures = traitlets.Dict().tag(sync=True)

    def __init__(self, figures: StripFigures, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._stop_lock = threading.Lock()
        super().__init__(kind="strip", run_id=uuid.uuid4().hex, figures=figures.as_json())

    def show(self, figures: StripFigures) -> None:
        """Put new figures on the page; equal ones cost nothing."""
        self.figures = figures.as_json()

    def handle(self, content: dict[str, Any]) -> None:
        """Stop this run, if it is the one that is meant."""
        meant = content.get("type") == "stop" and content.get("run_id") == self.run_id
        if meant and self._stop_lock.acquire(blocking=False):
            self._on_stop()
