"""``%%sandbox a,b,c``: one cell in several sessions at the same time, its outputs side by side."""

from __future__ import annotations

import contextvars
import math
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress

from IPython import get_ipython
from IPython.display import publish_display_data

from .asking import CanNotAskError
from .cell import run_begun_cell
from .columns import Column, table, text
from .errors import ChorusError, ExecutionError, ExecutionInterruptedError, SessionsFailedError
from .replay import Strip
from .sandbox import RichOutput
from .session import Session
from .turns import Turn
from .variables import CellVariables

LIVE_AFTER_S = 0.3
LIVE_INTERVAL_S = 0.25
LIVE_BYTES_PER_S = 2e6
"""How much the live columns may send; larger ones are sent less often."""

_AGAIN_S = 0.1


class Results(dict[str, RichOutput | None]):
    """The value of the cell in each session, by name; None where it has none."""

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {_one_line(value)}" for name, value in self.items()) + "}"


class Branch:
    """The cell in one of the sessions, on a thread of its own."""

    def __init__(self, session: Session, turn: Turn, strip: Strip) -> None:
        self.session = session
        self.column = Column(session.name, strip)
        self.result: RichOutput | None = None
        self.error: BaseException | None = None
        self._turn = turn
        self._strip = strip
        self._begun = False
        # Not the thread's own end: an interrupt of a join makes CPython 3.11 take it for ended (bpo-45274).
        self._ended = threading.Event()

    def start(self, code: str, timeout_s: float | None, variables: CellVariables | None = None) -> None:
        """Show the strip and begin."""
        self._strip.begin(self._turn.state)
        # ipykernel keeps the cell that runs in a context variable, and the strip looks there.
        run = contextvars.copy_context().run
        work = (self._run, code, timeout_s, variables)
        threading.Thread(target=run, args=work, name="chorus-side", daemon=True).start()
        self._begun = True

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it has ended."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """Give up the start, or interrupt the cell; may be asked for again and again."""
        with suppress(ChorusError):
            self.session.give_up_start()
            self._turn.stop()

    def give_up(self) -> None:
        """Stop it, or never begin."""
        if self._begun:
            self.stop()
        else:
            self._turn.leave()

    def _run(self, code: str, timeout_s: float | None, variables: CellVariables | None) -> None:
        try:
            with self._turn:
                if not self._turn.wait():
                    self._strip.end("interrupted", None)
                    raise ExecutionInterruptedError("KeyboardInterrupt", "the cell did not run", [])
                self.result = run_begun_cell(self.session, code, timeout_s, self._strip, self.column, _ask, variables)
        except BaseException as error:
            self.error = error
            self.column.fail(_traceback(error))
        finally:
            self._ended.set()


def run_side_by_side(
    branches: Sequence[Branch], code: str, timeout_s: float | None, variables: CellVariables | None = None
) -> Results | None:
    """Run a cell in several sessions; show strips, live columns, and at the end the columns as they stay.

    Returns
    -------
    Results or None
        None where no session has a value, as for a cell without one.

    Raises
    ------
    SessionsFailedError
        It failed somewhere. It has run to its end everywhere else.
    """
    try:
        for branch in branches:
            branch.start(code, timeout_s, variables)
    except BaseException:
        for branch in branches:
            branch.give_up()
        raise
    columns = [branch.column for branch in branches]
    live = LiveColumns(columns)
    _wait(branches, live)
    publish_display_data({"text/plain": text(columns), "text/html": table(columns)})
    live.end()
    errors = {branch.session.name: branch.error for branch in branches if branch.error}
    results = Results({branch.session.name: branch.result for branch in branches})
    if errors:
        raise _failed(errors, results)
    return results if any(value is not None for value in results.values()) else None


def _wait(branches: Sequence[Branch], live: LiveColumns) -> None:
    """Wait for all; an interrupt stops all, and is asked for until it is heeded: some may still be starting."""
    running, stopping = list(branches), False
    while running:
        try:
            running = [branch for branch in running if not branch.wait(_AGAIN_S / len(running))]
            live.show()
            if stopping:
                for branch in running:
                    branch.stop()
        except KeyboardInterrupt:
            stopping = True


class LiveColumns:
    """The columns while the cell runs: an output of constant text, which shows them meanwhile and not at the end.

    nbval leaves updates out, so what is first and last shown has to be the same; the final columns are another output.
    A terminal can't change what it has shown, and gets only those.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        has_kernel = getattr(get_ipython(), "kernel", None) is not None
        self._columns = columns
        self._text = "side by side: " + ", ".join(column.name for column in columns)
        self._display_id = uuid.uuid4().hex
        self._version = 0
        self._next_s = time.monotonic() + LIVE_AFTER_S if has_kernel else math.inf
        if has_kernel:
            self._publish({}, update=False)

    def show(self) -> None:
        """Show what is new, if it is time."""
        version = sum(column.version for column in self._columns)
        if version == self._version or time.monotonic() < self._next_s:
            return
        self._version = version
        html = table(self._columns, live=True)
        self._publish({"text/html": html}, update=True)
        self._next_s = time.monotonic() + max(LIVE_INTERVAL_S, len(html) / LIVE_BYTES_PER_S)

    def end(self) -> None:
        """Leave the text alone."""
        if self._version:
            self._publish({}, update=True)

    def _publish(self, data: dict[str, str], *, update: bool) -> None:
        shown = {"text/plain": self._text, **data}
        publish_display_data(shown, transient={"display_id": self._display_id}, update=update)


def _failed(errors: Mapping[str, BaseException], results: Results) -> SessionsFailedError:
    each = "; ".join(f"{name}: {_in_short(error)}" for name, error in errors.items())
    return SessionsFailedError(
        f"The cell failed in {len(errors)} of {len(results)} sessions. {each}.",
        next_step="The error's `errors` has each of them whole.",
        errors=errors,
        results=results,
    )


def _in_short(error: BaseException) -> str:
    kind = "" if isinstance(error, ExecutionError) else f"{type(error).__name__}: "
    text = error.message if isinstance(error, ChorusError) else str(error)
    return (kind + text).partition("\n")[0][:200].rstrip(".")


def _ask(prompt: str, password: bool) -> str:
    raise CanNotAskError("A cell that runs in several sessions can't ask: run it in one, or give it the value.")


def _traceback(error: BaseException) -> list[str]:
    return error._render_traceback_() if isinstance(error, ChorusError) else [f"{type(error).__name__}: {error}"]


def _one_line(value: RichOutput | None) -> str:
    text = str(value)
    first = text.partition("\n")[0][:60]
    return first if first == text else f"{first}…"
