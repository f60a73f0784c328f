"""The bar of a transfer in a notebook: an output that is there while it goes on, and empty afterwards.

It begins empty as well: so nbval finds nothing to compare, whether or not there was one, and a saved notebook shows
none. What is left of tqdm's own would be its text at the moment of saving.
"""

from __future__ import annotations

import html
import time
from typing import Any

from IPython.display import DisplayHandle, publish_display_data

_DELAY_S = 1.0
_INTERVAL_S = 0.2


class NotebookBar:
    """Shows itself once it has taken a second, five times a second at most.

    Parameters
    ----------
    title : str
    total_bytes : int
    """

    def __init__(self, title: str, total_bytes: int) -> None:
        self._title = title
        self._total = total_bytes
        self._done = 0
        self._display_id = ""
        self._due_s = time.monotonic() + _DELAY_S

    def update(self, size_bytes: int) -> None:
        """Say that so much more is done."""
        self._done += size_bytes
        if time.monotonic() < self._due_s:
            return
        if not self._display_id:
            self._display_id = str(DisplayHandle().display_id)
            self._publish({}, update=False)
        self._publish({"text/html": self._html(), "text/plain": self._text()})
        self._due_s = time.monotonic() + _INTERVAL_S

    def close(self) -> None:
        """Leave nothing to see."""
        if self._display_id:
            self._publish({})
            self._display_id = ""

    def _publish(self, data: dict[str, Any], update: bool = True) -> None:
        publish_display_data(data, {}, transient={"display_id": self._display_id}, update=update)

    def _text(self) -> str:
        return f"{self._title}: {self._done / 2**20:.0f} of {self._total / 2**20:.0f} MiB"

    def _html(self) -> str:
        bar = f'<progress value="{min(self._done, self._total)}" max="{max(self._total, 1)}"></progress>'
        return f"{bar} {html.escape(self._text())}"
