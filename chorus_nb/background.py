"""``%%sandbox --bg``: a cell that runs while the notebook goes on."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any

from .asking import CanNotAskError
from .cell import run_begun_cell
from .errors import CellCancelledError, CellNotDoneError, ChorusError, ExecutionInterruptedError
from .publishing import Publisher
from .replay import Replay, Strip
from .sandbox import RichOutput
from .session import Session
from .turns import Turn
from .variables import CellVariables

_AGAIN_S = 0.1


class BackgroundReplay(Replay):
    """Shows output in the cell that started it, whichever runs now."""

    def __init__(self, strip: Strip, publisher: Publisher) -> None:
        super().__init__(strip)
        self._publisher = publisher

    def stream(self, name: str, text: str) -> None:
        self._publisher.publish("stream", {"name": name, "text": text})

    def display(self, content: Mapping[str, Any], *, update: bool = False) -> None:
        self._publisher.publish("update_display_data" if update else "display_data", {"transient": {}, **content})

    def clear(self) -> None:
        self._publisher.publish("clear_output", {"wait": False})

    def show_result(self) -> None:
        """Keep it: the handle has it at the end."""

    def show_error(self, error: BaseException) -> None:
        """Show an error as that of the cell."""
        content = {"ename": type(error).__name__, "evalue": str(error), "traceback": _traceback(error)}
        self._publisher.publish("error", content)


class TerminalReplay(Replay):
    """Prints output where the terminal is."""

    def show_error(self, error: BaseException) -> None:
        """Print an error."""
        self.stream("stderr", "\n".join([*_traceback(error), ""]))


class BackgroundCell(concurrent.futures.Future[RichOutput | None]):
    """A cell in the background: what a ``%%sandbox --bg`` cell has for its value.

    A ``concurrent.futures.Future``, so ``result(timeout)``, ``exception(timeout)``, ``done()``, ``running()`` and the
    functions of that module do what their readers expect; ``await`` works, too. Cells of one session run one after the
    other. Nobody can be asked by ``input()``.

    Attributes
    ----------
    session_name : str
    status : str
        ``queued``, ``running``, ``done``, ``error``, ``interrupted`` or ``cancelled`` (it never ran).
    """

    def __init__(
        self,
        shell: Any,
        turn: Turn,
        session: Session,
        code: str,
        timeout_s: float | None,
        strip: Strip,
        variables: CellVariables | None = None,
    ) -> None:
        super().__init__()
        self.session_name = session.name
        self._shell = shell
        self._cell = self._cells_so_far()
        self._turn = turn
        self._session = session
        self._strip = strip
        self._variables = variables
        publisher = Publisher(shell)
        self._replay = BackgroundReplay(strip, publisher) if publisher.has_kernel else TerminalReplay(strip)
        # Now, while the cell runs in the notebook: that puts the strip first in its output.
        strip.begin(turn.state)
        # ipykernel keeps the cell that runs in a context variable, and the strip looks there.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run, code, timeout_s), name="chorus-background", daemon=True).start()

    @property
    def status(self) -> str:
        if self.cancelled():
            return "cancelled"
        if not self.done():
            return "running" if self.running() else "queued"
        error = super().exception()
        return "interrupted" if isinstance(error, ExecutionInterruptedError) else "error" if error else "done"

    def result(self, timeout: float | None = None) -> RichOutput | None:
        """Wait for its end; return the value of its last expression, or raise its error.

        Raises
        ------
        CellNotDoneError
            It runs on after ``timeout`` seconds.
        CellCancelledError
            It never ran.
        ExecutionError
            An exception of its own; and whatever else can happen to a cell.
        """
        error = self.exception(timeout)
        if error:
            raise error
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for its end as :meth:`result`; return its error, or None."""
        if not self.wait(timeout):
            raise CellNotDoneError(
                f"The background cell in {self.session_name!r} is {self.status} after {timeout:g} s.",
                next_step="Wait longer, or stop it with cancel().",
            )
        if self.cancelled():
            return CellCancelledError(
                f"The background cell in {self.session_name!r} was cancelled before its turn.",
                next_step="Run it again.",
            )
        return super().exception()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, however it ends, at most ``timeout`` seconds; return whether it has ended."""
        ended = not concurrent.futures.wait([self], timeout).not_done
        if ended:
            # Some front ends (nbclient) take only what is sent in the name of the cell that runs now.
            self._strip.again()
        return ended

    def cancel(self) -> bool:
        """Take it out of the queue, or interrupt it as Ctrl-C does; False where it has ended already."""
        if super().cancel():
            self._turn.stop()
            return True
        if self.done():
            return False
        threading.Thread(target=self._insist, name="chorus-cancel", daemon=True).start()
        return True

    interrupt = cancel

    def __await__(self) -> Generator[Any, None, RichOutput | None]:
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        return f"<BackgroundCell in {self.session_name!r}: {self.status}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # The value of its own cell looks the same on each run, however quick it is: nbval compares it.
        is_own = self._cell == self._cells_so_far()
        printer.text(f"<BackgroundCell in {self.session_name!r}>" if is_own else repr(self))

    def _cells_so_far(self) -> int:
        return len(self._shell.history_manager.input_hist_raw)

    def _run(self, code: str, timeout_s: float | None) -> None:
        with self._turn:
            if not self._turn.wait():
                super().cancel()
            if not self.set_running_or_notify_cancel():
                self._strip.end("cancelled", None)
                return
            error, result = self._outcome(code, timeout_s)
        # Only now: whoever waits for it may have the next cell at once.
        if error:
            self.set_exception(error)
        else:
            self.set_result(result)

    def _outcome(self, code: str, timeout_s: float | None) -> tuple[BaseException | None, RichOutput | None]:
        try:
            result = run_begun_cell(self._session, code, timeout_s, self._strip, self._replay, _ask, self._variables)
        except BaseException as error:
            self._replay.show_error(error)
            return error, None
        if result is not None:
            self._replay.display({"data": result.data, "metadata": result.metadata})
        return None, result

    def _insist(self) -> None:
        """Interrupt it until it has ended: at first there may be no container or no cell yet to interrupt."""
        while not self.done():
            with suppress(ChorusError):
                self._session.give_up_start()
                self._session.interrupt()
            self.wait(_AGAIN_S)


def _ask(prompt: str, password: bool) -> str:
    raise CanNotAskError("A background cell can't ask: run it without --bg, or give it the value another way.")


def _traceback(error: BaseException) -> list[str]:
    render: Callable[[], list[str]] | None = getattr(error, "_render_traceback_", None)
    return render() if render else [f"{type(error).__name__}: {error}"]
