"""What cells put out after they have ended: from their threads, their tasks and the processes they have left running.

It comes on the reading thread. Each cell keeps its output filter, so that its limit and its name hold for this as well.
What names files of the sandbox waits for them on a thread of its own, and what the cell puts out meanwhile behind it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .agent.wire import Message
from .buffers import with_buffers
from .errors import AgentProtocolError
from .outputs import OutputFilter

MAX_CELLS = 256
MAX_WAITING = 256
MAX_WAITING_BYTES = 16 * 2**20

Show = Callable[[Message], None]


class _Cell:
    def __init__(self, outputs: OutputFilter, show: Show) -> None:
        self.outputs = outputs
        self.show = show
        self.holds = True
        """While the cell runs, or waits for a file."""
        self.has_ended = False
        """Whether nothing more of it is shown: what it sent was malformed."""
        self.waiting: list[Message] = []
        self.waiting_bytes = 0

    def take(self, message: Message) -> None:
        if (admitted := self.outputs.admit(message)) is not None:
            self.show(admitted)

    def end(self) -> None:
        """Show nothing more, and keep nothing for that."""
        self.has_ended = True
        self.waiting.clear()

    def hold(self, message: Message) -> None:
        """Keep it for the end of the cell, where there is room."""
        if self.has_ended:
            return
        self.waiting_bytes += len(json.dumps(message.content)) + sum(map(len, message.buffers))
        if len(self.waiting) < MAX_WAITING and self.waiting_bytes <= MAX_WAITING_BYTES:
            self.waiting.append(message)


class LateOutput:
    """The late output of one session's cells, the latest :data:`MAX_CELLS` of them."""

    def __init__(self) -> None:
        self._cells: dict[str, _Cell] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, msg_id: str, outputs: OutputFilter, show: Show | None) -> Iterator[None]:
        """Show with ``show``, after this block, what the cell puts out that runs in it; without ``show``, nothing."""
        if show is None:
            yield
            return
        cell = _Cell(outputs, show)
        with self._lock:
            self._cells[msg_id] = cell
            while len(self._cells) > MAX_CELLS:
                del self._cells[next(iter(self._cells))]
        try:
            yield
        finally:
            with self._lock:
                self._release(cell)

    def take(self, message: Message) -> bool:
        """Show a message, or have it wait for the end of its cell; False where it belongs to no cell that is known.

        Raises
        ------
        AgentProtocolError
            For a message that is no output, or not shaped like one.
        """
        with self._lock:
            cell = self._cells.get(message.parent_id)
            if cell is None or message.msg_type == "resource_sample":
                return False
            if cell.holds:
                cell.hold(message)
            else:
                self._show(cell, message)
            return True

    def _show(self, cell: _Cell, message: Message) -> None:
        message = with_buffers(message)
        if not cell.outputs.names_files(message):
            cell.take(message)
            return
        cell.holds = True
        threading.Thread(target=self._show_with_files, args=(cell, message), name="chorus-files", daemon=True).start()

    def _show_with_files(self, cell: _Cell, message: Message) -> None:
        try:
            whole = cell.outputs.with_files(message)
            with self._lock:
                cell.take(whole)
                self._release(cell)
        except (AgentProtocolError, RecursionError):
            with self._lock:
                cell.end()

    def _release(self, cell: _Cell) -> None:
        """Show what waits, up to what names files itself."""
        cell.holds, cell.waiting_bytes = False, 0
        while cell.waiting and not cell.holds:
            self._show(cell, cell.waiting.pop(0))
