"""The panel of all sessions of this kernel, for ``%sandbox panel``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import traitlets

from chorus_nb.panel.changes import ChangesPanel, Discard, ReviewOf
from chorus_nb.panel.figures import Meter
from chorus_nb.panel.format import format_bytes, format_duration, printable
from chorus_nb.panel.gauge import has_kernel
from chorus_nb.panel.threads import start_thread
from chorus_nb.panel.widget import PromptWidget

if TYPE_CHECKING:
    from chorus_nb.telemetry import ResourceSample

POLL_INTERVAL_S = 0.5
SAVED_TEXT = "sandbox panel (live in a running notebook)"

ACTIONS: Final = ("start", "interrupt", "restart", "stop", "remove")
_STOPPED_STATES = frozenset({"new", "stopped", "closed", "dead", "died"})


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as the host sees it now.

    Attributes
    ----------
    uptime_s
        Seconds since its container started; None while it has none.
    sample
        Its latest reading; None while it has no container.
    has_view
        Whether it has a view of the repository of its own, which may be different.
    """

    name: str
    state: str
    image: str
    memory_limit_bytes: int | None
    cpus: float | None
    pids_limit: int | None
    network: str
    repository_mode: str
    uptime_s: float | None
    sample: ResourceSample | None
    has_view: bool = False

    @property
    def actions(self) -> tuple[str, ...]:
        """What can be done with it in this state."""
        return ("start", "remove") if self.state in _STOPPED_STATES else ACTIONS[1:]

    @property
    def facts(self) -> str:
        """Image, limits and policy in one line."""
        parts = [
            printable(self.image),
            None if self.memory_limit_bytes is None else format_bytes(self.memory_limit_bytes),
            None if self.cpus is None else f"{self.cpus:g} CPU" + ("" if self.cpus == 1 else "s"),
            None if self.pids_limit is None else f"{self.pids_limit} processes",
            f"network {printable(self.network)}",
            f"repository {printable(self.repository_mode)}",
        ]
        return " · ".join(part for part in parts if part)


class SessionsPanel(PromptWidget):
    """Every session with its live strip and buttons. Display it; in a terminal it prints as a table.

    Parameters
    ----------
    source
        Returns the sessions of this moment, in the order to show them. Called about twice a second from a background
        thread until the widget is closed, here or by the page; what it raises is shown in the panel.
    act
        Called with an action of `ACTIONS` and a session's name, on a thread of its own; what it raises is shown in the
        session's row. One action at a time per session.
    review_of, discard
        As of `ChangesPanel`, for the sessions that have a view of their own; called on threads likewise.
    """

    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)
    changes: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        source: Callable[[], Sequence[SessionRow]],
        act: Callable[[str, str], None],
        review_of: ReviewOf | None = None,
        discard: Discard | None = None,
    ) -> None:
        self._source = source
        self._act = act
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._known: dict[str, SessionRow] = {}
        self._meters: dict[str, Meter] = {}
        self._pending: dict[str, str] = {}
        self._errors: dict[str, str] = {}
        self._changes = ChangesPanel(review_of, discard, self._show_changes) if review_of and discard else None
        super().__init__(kind="panel")
        self.refresh()
        if has_kernel() and self.comm is not None:
            self.comm.on_close(lambda _message: self._closed.set())
            start_thread("chorus-panel", self._poll)

    def refresh(self) -> None:
        """Ask the source and show what it says."""
        try:
            rows = list(self._source())
        except Exception as error:
            self.problem = f"Sessions can't be listed: {printable(error, 300)}"
            return
        self.problem = ""
        with self._lock:
            self._known = {row.name: row for row in rows}
            for gone in self._meters.keys() - self._known.keys():
                del self._meters[gone]
                self._errors.pop(gone, None)
            self.rows = [self._row(row) for row in rows]
        if self._changes:
            self._changes.follow({row.name: row.state for row in rows if row.has_view})

    def handle(self, content: dict[str, Any]) -> None:
        """Do what a button asks, if both the action and the session are known and the session is free."""
        action, name = content.get("action"), content.get("name")
        if content.get("type") == "changes":
            self._handle_changes(action, name, content.get("key"))
        if content.get("type") != "action" or action not in ACTIONS or not isinstance(name, str):
            return
        with self._lock:
            row = self._known.get(name)
            if row is None or name in self._pending or action not in row.actions:
                return
            self._pending[name] = action
            self._errors.pop(name, None)
        self.refresh()
        error = self._outcome(action, name)
        with self._lock:
            del self._pending[name]
            if error:
                self._errors[name] = error
        self.refresh()

    def _handle_changes(self, action: object, name: object, key: object) -> None:
        with self._lock:
            row = self._known.get(name) if isinstance(name, str) else None
        if self._changes and row and row.has_view:
            self._changes.handle(action, row.name, key)

    def _show_changes(self, changes: dict[str, Any]) -> None:
        self.changes = changes

    def close(self) -> None:
        """Close the widget and end its thread."""
        # ipywidgets calls this on objects whose construction failed, too.
        if closed := getattr(self, "_closed", None):
            closed.set()
        super().close()

    def render_text(self) -> str:
        """Return the sessions as a plain table, one a line."""
        header = ("NAME", "STATE", "UP", "CPU", "MEMORY", "PROCESSES", "IMAGE AND LIMITS")
        lines = [header, *(_text_row(row) for row in self._known.values())]
        if len(lines) == 1:
            return self.problem or "No sandbox sessions yet. A %%sandbox cell starts one."
        widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if not has_kernel():
            return {"text/plain": self.render_text()}, {}
        # Constant, as nbval compares it, and all that is left where no kernel runs.
        return self.mimebundle(SAVED_TEXT)

    def _poll(self) -> None:
        while not self._closed.wait(POLL_INTERVAL_S) and self.comm is not None:
            self.refresh()

    def _outcome(self, action: str, name: str) -> str:
        try:
            self._act(action, name)
        except Exception as error:
            return f"{action} failed: {printable(error, 300)}"
        return ""

    def _row(self, row: SessionRow) -> dict[str, Any]:
        if row.sample is None:
            self._meters.pop(row.name, None)
        meter = self._meters.setdefault(row.name, Meter(row.cpus, row.memory_limit_bytes, span="session"))
        if row.sample is not None:
            meter.add(row.sample)
        pending = self._pending.get(row.name)
        figures = meter.live(row.name, f"{pending} …" if pending else row.state, row.uptime_s)
        return {
            "name": row.name,
            "figures": figures.as_json(),
            "facts": row.facts,
            "has_view": row.has_view,
            "actions": [] if pending else list(row.actions),
            "error": self._errors.get(row.name, ""),
        }


def _text_row(row: SessionRow) -> tuple[str, ...]:
    sample = row.sample
    return (
        printable(row.name),
        printable(row.state),
        "-" if row.uptime_s is None else format_duration(row.uptime_s),
        "-" if sample is None else format_duration(sample.cpu_time_s),
        "-" if sample is None else format_bytes(sample.memory_bytes),
        "-" if sample is None else str(sample.pids),
        row.facts,
    )
