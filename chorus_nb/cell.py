"""One cell of a notebook, run in a session: its strip, its output as it comes, its result or its error."""

from __future__ import annotations

import getpass
from functools import partial
from typing import Any

from .asking import InputHandler
from .comm_relay import Relay, relay_of
from .errors import (
    ChorusError,
    DiskQuotaExceededError,
    ExecutionInterruptedError,
    ExecutionTimeoutError,
    OutOfMemoryError,
    SessionClosedError,
    SessionExpiredError,
    VariableError,
)
from .execution import Outcome
from .replay import Replay, Strip
from .sandbox import RichOutput
from .script import Script, script_argv, script_error
from .session import Session
from .turns import Turn
from .variables import CellVariables


def ask(prompt: str, password: bool) -> str:
    """Ask the user, here: in a kernel both functions are the kernel's own, and ask in the notebook."""
    return getpass.getpass(prompt) if password else input(prompt)


def can_ask(shell: Any) -> bool:
    """Whether the front end answers questions: as a kernel was told with the cell, and a terminal always does."""
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", True))


def run_in_turn(
    turn: Turn,
    session: Session,
    code: str,
    timeout_s: float | None,
    strip: Strip,
    on_input: InputHandler | None,
    variables: CellVariables | None = None,
    **asked: Any,
) -> RichOutput | None:
    """Run a cell in a session and show it in the notebook cell that runs now.

    It waits for the cells of the session that were asked for before, which run in the background. ``asked`` goes to
    :meth:`Session.execute`: ``silent``, ``store_history``, ``execution_count``.

    Returns the value of its last expression; raises ``ExecutionError`` for an exception of its own, ``CommandError``
    for a :class:`Script` that fails, and whatever :meth:`Session.execute` raises.
    """
    with turn:
        strip.begin(turn.state)
        try:
            has_come = turn.wait()
        except KeyboardInterrupt:
            has_come = False
        if not has_come:
            strip.end("interrupted", None)
            raise ExecutionInterruptedError(
                "KeyboardInterrupt", f"the cell did not run: the session {session.name!r} was running another one", []
            )
        return run_begun_cell(session, code, timeout_s, strip, Replay(strip), on_input, variables, **asked)


def run_begun_cell(
    session: Session,
    code: str,
    timeout_s: float | None,
    strip: Strip,
    replay: Replay,
    on_input: InputHandler | None,
    variables: CellVariables | None = None,
    **asked: Any,
) -> RichOutput | None:
    """Run a cell whose strip is shown already, and show its output by ``replay``."""
    relay = relay_of(session)
    if relay:
        replay.capture = relay.begin_cell(strip.output)
    state = "failed"
    session.notices.add_listener(strip.sample)
    started = False
    try:
        argv = script_argv(code) if isinstance(code, Script) else None
        session.report_loss()
        session.start()
        started = True
        if variables:
            variables.bring_in(session)
        strip.state("running")
        asked |= {"output": strip.output, "on_input": on_input, "on_late": replay.on_late}
        run = partial(session.command, argv) if argv else partial(session.execute, code, **asked)
        outcome = run(timeout_s=timeout_s, on_message=replay)
        _show_the_rest(outcome, session, replay, relay)
        error = script_error(outcome, session.config.limits) if argv else replay.error(outcome)
        if variables and not error:
            variables.bring_out(session)
        state = "interrupted" if outcome.interrupted else "error" if error else "done"
    except ChorusError as failure:
        state = _state_after(failure) if started else "failed"
        raise
    finally:
        session.notices.remove_listener(strip.sample)
        strip.end(state, session.last_usage if started else None)
    if error:
        raise error
    return replay.result


def _show_the_rest(outcome: Outcome, session: Session, replay: Replay, relay: Relay | None) -> None:
    """Show what is known at the end of a cell only: its help and next cell, and what was kept from the reader."""
    replay.payloads(outcome.reply, session.name)
    notice = (outcome.notice or "") + (relay.end_cell() if relay else "")
    if notice:
        replay.stream("stderr", notice)


def _state_after(failure: ChorusError) -> str:
    states = {
        OutOfMemoryError: "out of memory",
        ExecutionTimeoutError: "timeout",
        DiskQuotaExceededError: "disk full",
        SessionExpiredError: "expired",
        SessionClosedError: "stopped",
        VariableError: "failed",
    }
    return next((state for kind, state in states.items() if isinstance(failure, kind)), "died")
