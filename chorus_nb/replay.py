"""Showing in the notebook cell what a sandbox put out, after the output policy."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from IPython import get_ipython
from IPython.core import page
from IPython.display import clear_output, publish_display_data

from .agent.wire import Message
from .config import OutputMode
from .egress import denied
from .errors import ExecutionError, ExecutionInterruptedError
from .execution import Outcome
from .payloads import Page, payloads
from .publishing import Publisher
from .sandbox import RichOutput
from .telemetry import ResourceSample, ResourceUsage


class Strip(Protocol):
    """What a cell needs of its gauge (:class:`chorus_nb.panel.gauge.Gauge` is one)."""

    output: OutputMode

    def begin(self, state: str = "starting") -> None: ...
    def again(self) -> None: ...
    def state(self, text: str) -> None: ...
    def sample(self, sample: ResourceSample) -> None: ...
    def end(self, state: str, usage: ResourceUsage | None) -> None: ...


Capture = Callable[[Message], bool]
"""Publishes a message as it is where a widget takes the cell's output (``Output``); False where none does."""


class Replay:
    """Takes the messages of one execution and shows each in the running cell.

    Attributes
    ----------
    result : RichOutput or None
        The value of the cell's last expression: for ``Out[n]``. None also where it is shown already.
    capture : callable
        Asked first about what would clear the cell, or end it.
    """

    def __init__(self, strip: Strip) -> None:
        self.result: RichOutput | None = None
        self.capture: Capture = lambda _: False
        self._strip = strip
        self._shell: Any = get_ipython()
        self._publisher = Publisher(self._shell)
        self._error: Message | None = None
        self._clear_first = False
        self._show: dict[str, Callable[[Message], None]] = {
            "stream": self._stream,
            "display_data": self._display,
            "update_display_data": self._update,
            "execute_result": self._result,
            "clear_output": self._clear,
            "error": self._keep_error,
        }

    def __call__(self, message: Message) -> None:
        if message.msg_type in ("clear_output", "error") and self.capture(message):
            return
        if self._clear_first and message.msg_type != "clear_output":
            self._clear_first = False
            self._clear_now()
        if self.result is not None:
            self.show_result()
        self._show[message.msg_type](message)

    def payloads(self, reply: Mapping[str, Any], session_name: str) -> None:
        """Show help in the pager, and put text that is for the next cell there, to run in the same sandbox."""
        # Payloads leave with the reply of the cell that runs in the main thread, which may be another.
        here = threading.current_thread() is threading.main_thread()
        for payload in payloads(reply):
            if isinstance(payload, Page) and here:
                page.page({"text/plain": payload.text}, start=payload.start)
            elif isinstance(payload, Page):
                self.display({"data": {"text/plain": payload.text}, "metadata": {}})
            elif self._shell is not None and here:
                self._shell.set_next_input(f"%%sandbox {session_name}\n{payload.text}", payload.replace)

    @property
    def on_late(self) -> Callable[[Message], None] | None:
        """What shows, in the cell's output, what comes after the cell's end; None where there is no front end."""
        return self._late if self._publisher.has_kernel else None

    def _late(self, message: Message) -> None:
        kind = "display_data" if message.msg_type == "execute_result" else message.msg_type
        self._publisher.publish(kind, message.content)

    def error(self, outcome: Outcome) -> ExecutionError | None:
        """Return what the cell ended with, to raise it here."""
        if self._error is None:
            return None
        if outcome.reply.get("status") == "ok":
            self._show_error()  # Code of the cell's own has shown a traceback, and gone on.
            return None
        content = self._error.content
        kind = ExecutionInterruptedError if outcome.interrupted else ExecutionError
        refused = None if outcome.interrupted else denied(outcome.egress, content["traceback"])
        return refused or kind(content["ename"], content["evalue"], content["traceback"])

    # What a subclass does elsewhere than in the cell that runs now

    def stream(self, name: str, text: str) -> None:
        """Write to ``"stdout"`` or ``"stderr"``."""
        stream = sys.stdout if name == "stdout" else sys.stderr
        stream.write(text)
        stream.flush()

    def display(self, content: Mapping[str, Any], *, update: bool = False) -> None:
        """Show the content of a ``display_data`` message, or put it in place of what has its id."""
        publish_display_data(content["data"], content["metadata"], transient=content.get("transient"), update=update)

    def clear(self) -> None:
        """Take away what was shown so far."""
        clear_output()

    def show_result(self) -> None:
        """Show the result ahead of what follows it, figures for one: the value of a magic is shown at its end."""
        result, self.result = self.result, None
        get_ipython().displayhook(result)

    def passing_error(self, content: Mapping[str, Any]) -> None:
        """Show an error that does not end the cell."""
        if self._publisher.has_kernel:
            self._publisher.publish("error", content)
        else:
            self.stream("stderr", "\n".join([*content["traceback"], ""]))

    # The messages

    def _stream(self, message: Message) -> None:
        self.stream(message.content["name"], message.content["text"])

    def _display(self, message: Message) -> None:
        self.display(message.content)

    def _update(self, message: Message) -> None:
        self.display(message.content, update=True)

    def _result(self, message: Message) -> None:
        self.result = RichOutput(message.content["data"], message.content["metadata"])

    def _keep_error(self, message: Message) -> None:
        self._show_error()
        self._error = message

    def _show_error(self) -> None:
        """Show one that was not the end of the cell."""
        error, self._error = self._error, None
        if error:
            self.passing_error(error.content)

    def _clear(self, message: Message) -> None:
        if message.content["wait"]:
            self._clear_first = True
        else:
            self._clear_now()

    def _clear_now(self) -> None:
        self.clear()
        # That took the strip along.
        self._strip.again()
