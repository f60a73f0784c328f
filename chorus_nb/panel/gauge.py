"""The gauge: one slim strip above a cell's output, live while the cell runs, a picture afterwards.

The life of its one output:

1. `Gauge.begin` displays constant text and a picture of the strip without figures.
2. A cell that still runs after `LIVE_AFTER_S` gets the live widget in place of the picture: quick ones never flicker.
3. `Gauge.end` puts the final picture there, with the figures in the output's metadata, and closes the widget.

The number of outputs and their text never change, and figures are only in what nbval does not compare, so that a
notebook passes it as it is. No widget remains in the saved notebook; the picture shows wherever notebooks are shown.
"""

from __future__ import annotations

import base64
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from IPython import get_ipython
from IPython.display import publish_display_data

from chorus_nb.panel.figures import Meter, StripFigures, summary_line
from chorus_nb.panel.format import printable
from chorus_nb.panel.picture import picture_metadata, render_png
from chorus_nb.panel.threads import start_thread

if TYPE_CHECKING:
    from chorus_nb.config import OutputMode
    from chorus_nb.panel.strip import StripWidget
    from chorus_nb.telemetry import ResourceSample, ResourceUsage

LIVE_AFTER_S = 0.3
PUBLISH_INTERVAL_S = 0.125
_JOIN_TIMEOUT_S = 2.0


class Gauge:
    """The strip of one execution.

    Parameters
    ----------
    session_name
        Shown as text, whatever it holds.
    cpus
        CPUs the sandbox may use; None is unlimited.
    memory_limit_bytes
        Memory limit, shown until samples name it.
    on_stop
        Called once, on a thread of its own, when the strip's Stop button is pressed.
    mode
        ``"off"`` shows nothing anywhere.
    output
        In which form the cell's output is shown. Where that is not the usual one, the strip, its picture and its text
        say so.
    """

    def __init__(
        self,
        session_name: str,
        cpus: float | None,
        memory_limit_bytes: int | None,
        on_stop: Callable[[], None],
        mode: Literal["on", "off"] = "on",
        output: OutputMode = "safe",
    ) -> None:
        self._name = session_name
        self._on_stop = on_stop
        self._mode = mode
        self.output = output
        self._remark = "" if output == "safe" else output
        self._meter = Meter(cpus, memory_limit_bytes)
        self._state = "starting"
        self._started_s = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._display_id = uuid.uuid4().hex
        self._widget: StripWidget | None = None
        self._publisher: threading.Thread | None = None
        self._final: tuple[StripFigures, dict[str, Any]] | None = None

    def begin(self, state: str = "starting") -> None:
        """Show the strip as the next output of the cell."""
        self._state = state
        self._started_s = time.monotonic()
        if self._mode == "off" or not has_kernel():
            return
        self._show_picture(self._meter.live(self._name, state, None).remarked(self._remark), update=False)
        self._publisher = start_thread("chorus-gauge", self._publish)

    def again(self) -> None:
        """Show the strip once more: after the cell's output was cleared, or its final picture to who has missed it."""
        if self._publisher is None:
            return
        if self._ended.is_set():
            self._show_final()
            return
        if self._widget is None:
            self._show_picture(self._live_figures(), update=False)
        else:
            self._publish_view(self._widget, update=False)

    def state(self, text: str) -> None:
        """Say what happens now; the clock restarts when the cell begins to run."""
        with self._lock:
            if text == "running" != self._state:
                self._started_s = time.monotonic()
            self._state = text

    def sample(self, sample: ResourceSample) -> None:
        """Take one reading of the sandbox; from any thread, as often as wanted."""
        with self._lock:
            self._meter.add(sample)

    def end(self, state: str, usage: ResourceUsage | None) -> None:
        """Leave the final picture, or the plain line in a terminal. A second call does nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        elapsed_s = time.monotonic() - self._started_s
        if self._mode == "off":
            return
        if self._publisher is None:
            print(summary_line(self._name, state, usage, elapsed_s, self._remark), file=sys.stderr)
            return
        self._publisher.join(_JOIN_TIMEOUT_S)
        with self._lock:
            figures = self._meter.final(self._name, state, usage, elapsed_s).remarked(self._remark)
        record = {
            "session": figures.name,
            "state": figures.state,
            "usage": None if usage is None else usage.model_dump(mode="json"),
        }
        self._final = figures, record
        self._show_final()
        if self._widget is not None:
            self._widget.dismiss()

    def _show_final(self) -> None:
        if self._final is not None:
            figures, record = self._final
            self._show_picture(figures, update=True, record=record)

    def _show_picture(self, figures: StripFigures, *, update: bool, record: dict[str, Any] | None = None) -> None:
        metadata: dict[str, Any] = {"image/png": picture_metadata(figures)}
        if record is not None:
            metadata["chorus_nb"] = record
        data = {"text/plain": self._text, "image/png": _base64(figures)}
        self._publish_output(data, metadata, update=update)

    def _publish_output(self, data: dict[str, Any], metadata: dict[str, Any], *, update: bool) -> None:
        publish_display_data(data, metadata, transient={"display_id": self._display_id}, update=update)

    @property
    def _text(self) -> str:
        return f"sandbox {printable(self._name)}" + (f", {self._remark} output" if self._remark else "")

    def _publish(self) -> None:
        if self._ended.wait(LIVE_AFTER_S):
            return
        self._widget = widget = self._show_widget()
        while not self._ended.wait(PUBLISH_INTERVAL_S):
            figures = self._live_figures()
            widget.show(figures)

    def _show_widget(self) -> StripWidget:
        # ipywidgets is not imported for cells that end quickly.
        from chorus_nb.panel.strip import StripWidget

        widget = StripWidget(self._live_figures(), self._stop)
        self._publish_view(widget, update=True)
        return widget

    def _publish_view(self, widget: StripWidget, *, update: bool) -> None:
        figures = self._live_figures()
        data, metadata = widget.mimebundle(self._text)
        # The picture stays beside the view for front ends without widgets.
        data["image/png"] = _base64(figures)
        metadata["image/png"] = picture_metadata(figures)
        self._publish_output(data, metadata, update=update)

    def _live_figures(self) -> StripFigures:
        with self._lock:
            figures = self._meter.live(self._name, self._state, time.monotonic() - self._started_s)
        return figures.remarked(self._remark)

    def _stop(self) -> None:
        if not self._ended.is_set():
            self.state("stopping")
            self._on_stop()


def _base64(figures: StripFigures) -> str:
    return base64.b64encode(render_png(figures)).decode("ascii")


def warm_up() -> None:
    """Import the imaging library now, on a thread that has time, so that the first strip need not wait for it."""
    render_png(Meter(None, None).live("", "starting", None))


def has_kernel() -> bool:
    """Tell a notebook, which takes rich output and widgets, from a terminal or a script."""
    return getattr(get_ipython(), "kernel", None) is not None
