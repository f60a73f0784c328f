"""What of a session's widgets is not shown, and what the reader is told about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_NAMED = 8


class NotShown:
    """Counts what was refused until the reader is told.

    Parameters
    ----------
    max_models, max_bytes : int
        The limits that the reader is told of.

    Attributes
    ----------
    models : int
        How many widgets came when there were too many.
    values : int
        How many values were too large, or held more than a page can draw.
    """

    def __init__(self, max_models: int, max_bytes: int) -> None:
        self.models = self.values = 0
        self._max_models = max_models
        self._max_bytes = max_bytes
        self._kinds: dict[str, None] = {}

    def add_kind(self, state: Mapping[str, Any]) -> None:
        """Note a widget that is none of the standard ones, by the names in its state."""
        named = f"{state.get('_model_name')} ({state.get('_model_module')})"
        if len(self._kinds) < MAX_NAMED:
            self._kinds[named if re.fullmatch(r"[\w@/. ()-]{1,100}", named, re.ASCII) else "an unnamed one"] = None

    def notice(self) -> str:
        """Return what to tell the reader about what was refused since the last time; ``""`` for nothing."""
        lines = []
        if self._kinds:
            why = "They bring code that would run in this page, or are not among the standard controls"
            lines.append(
                f"[sandbox] Widgets not shown: {', '.join(self._kinds)}. {why}; `--output trusted` allows them.\n"
            )
        if self.models:
            many = f"{self.models} widget models beyond the first {self._max_models} of this session"
            lines.append(f"[sandbox] {many} not shown: close some (`close()`, `close_all()`), or restart it.\n")
        if self.values:
            more = f'Sandbox(max_output="{max(1, 10 * self._max_bytes >> 20)}m")'
            lines.append(f"[sandbox] {self.values} widget values over the limit dropped; raise it with {more}.\n")
        self._kinds, self.models, self.values = {}, 0, 0
        return "".join(lines)
