"""One cell of a notebook, run in a session: its strip, its output as it comes, its result or its error."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from .asking import InputHandler
from .errors import ChorusError, ExecutionTimeoutError, OutOfMemoryError, SessionClosedError
from .replay import Replay, Strip
from .sandbox import RichOutput
from .session import Session


def ask(prompt: str, password: bool) -> str:
    """Ask the user, here: in a kernel both functions are the kernel's own, and ask in the notebook."""
    return getpass.getpass(prompt) if password else input(prompt)


def can_ask(shell: Any) -> bool:
    """Whether the front end answers questions: as a kernel was told with the cell, and a terminal always does."""
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", True))


def run_cell(
    session: Session, code: str, timeout_s: float | None, strip: Strip, on_input: InputHandler | None = None
) -> RichOutput | None:
    """Run a cell in a session and show it in the notebook cell that runs now.

    Returns the value of its last expression; raises ``ExecutionError`` for an exception of its own, and whatever
    :meth:`Session.execute` raises.
    """
    replay = Replay(strip)
    state = "failed"
    strip.begin()
    session.add_sample_listener(strip.sample)
    started = False
    try:
        session.report_loss()
        session.start()
        started = True
        strip.state("running")
        outcome = session.execute(
            code, timeout_s=timeout_s, on_message=replay, on_input=on_input, on_late=replay.on_late
        )
        replay.payloads(outcome.reply, session.name)
        if outcome.notice:
            print(outcome.notice, end="", file=sys.stderr)
        error = replay.error(interrupted=outcome.interrupted)
        state = "interrupted" if outcome.interrupted else "error" if error else "done"
    except ChorusError as failure:
        state = _state_after(failure) if started else "failed"
        raise
    finally:
        session.remove_sample_listener(strip.sample)
        strip.end(state, session.last_usage if started else None)
    if error:
        raise error
    return replay.result


def _state_after(failure: ChorusError) -> str:
    states = {OutOfMemoryError: "out of memory", ExecutionTimeoutError: "timeout", SessionClosedError: "stopped"}
    return next((state for kind, state in states.items() if isinstance(failure, kind)), "died")
