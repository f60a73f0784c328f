"""The asyncio event loop that cells run on, which goes on between them: what ipykernel gives a cell, made to last.

The worker's conversation is one task of it. A cell that awaits nothing runs inside that task, so that
``asyncio.get_running_loop()`` and ``asyncio.current_task()`` find what they find under ipykernel; one that awaits runs
in a task of its own. Whatever a cell does to the loop (stop it, cancel every task, raise ``SystemExit`` in a callback,
come back to it in a fork), the conversation goes on.
"""

import asyncio
import contextlib
import os
import selectors
import types
from typing import Any, Callable, Coroutine, Generator, Optional

from .streams import Interrupts

_getpid = os.getpid  # A cell may patch the module.
_OURS = (__name__.partition(".")[0], "asyncio", "selectors")


class _Selector(selectors.DefaultSelector):
    """Ends a fork of the worker that comes back to the loop: it would take the worker's messages from it."""

    def __init__(self) -> None:
        super().__init__()
        self._pid = _getpid()

    def select(self, timeout: Optional[float] = None) -> Any:
        if _getpid() != self._pid:
            os._exit(0)
        return super().select(timeout)


class Loop:
    """Runs one coroutine to its end, and whatever else cells start meanwhile."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._loop = asyncio.SelectorEventLoop(_Selector())
        self._cell: Optional["asyncio.Task[Any]"] = None
        self._interrupted = False

    def run(self, main: Any) -> None:
        """Run until the coroutine ``main`` is done."""
        self._main = main.cr_code
        self._interrupts.elsewhere = self._hits
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(main)
        task.add_done_callback(lambda _: self._loop.stop())
        while not task.done():
            try:
                self._loop.run_forever()
            except KeyboardInterrupt:
                self.interrupt()  # It hit another task than the cell's, which is the one that is meant.
            except SystemExit:
                pass  # A task's or a callback's; there is nothing here that it could end.
        task.result()

    async def run_cell(self, cell: Coroutine[Any, Any, Any]) -> Any:
        """Run a cell that awaits, in a task and so in a context of its own. Raises ``KeyboardInterrupt``."""
        self._interrupted = False
        try:
            task = self._cell = self._loop.create_task(self._interruptible(cell))
            self._interrupts.active = False  # From here on it is for us to say what an interrupt hits.
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):  # A cell may well cancel every task there is.
                    await asyncio.wait([task])
            return task.result()
        finally:
            if self._cell is not None:
                self._cell.cancel()
                self._cell = None

    def interrupt(self) -> None:
        """Interrupt the cell where it waits."""
        if self._cell is not None:
            self._interrupted = True
            self._cell.cancel()

    def _hits(self, frame: Optional[types.FrameType]) -> bool:
        """Whether an interrupt has hit code of the user's; anywhere else an exception would be lost, or do harm."""
        users = False
        while frame is not None and frame.f_code is not Loop.run.__code__:
            if frame.f_code is self._main:
                return False
            users = users or str(frame.f_globals.get("__name__")).partition(".")[0] not in _OURS
            frame = frame.f_back
        if not users:
            self._loop.call_soon_threadsafe(self.interrupt)
        return users

    async def _interruptible(self, cell: Coroutine[Any, Any, Any]) -> Any:
        return await _Steps(cell, self._is_interrupt)

    def _is_interrupt(self) -> bool:
        """Whether the cancellation that has come to the cell's task is an interrupt."""
        interrupted, self._interrupted = self._interrupted, False
        # Python 3.11 counts cancellations; timeouts and task groups would take this one for theirs.
        if interrupted and self._cell is not None and hasattr(self._cell, "uncancel"):
            self._cell.uncancel()
        return interrupted


class _Steps:
    """Awaits a coroutine, and gives it ``KeyboardInterrupt`` where its task is cancelled for one."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], is_interrupt: Callable[[], bool]) -> None:
        self._coroutine = coroutine
        self._is_interrupt = is_interrupt

    def __await__(self) -> Generator[Any, Any, Any]:
        thrown: Optional[BaseException] = None
        while True:
            try:
                waits_for = self._coroutine.throw(thrown) if thrown else self._coroutine.send(None)
            except StopIteration as done:
                return done.value
            thrown = None
            try:
                yield waits_for
            except asyncio.CancelledError as cancelled:
                # Without this frame of ours.
                thrown = KeyboardInterrupt() if self._is_interrupt() else cancelled.with_traceback(None)
            except BaseException as error:
                thrown = error
