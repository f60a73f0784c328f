"""One cell on its way: waiting for its messages, its time limit, its interrupts, and the ways it can end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .agent.wire import Message
from .asking import InputHandler, Question, refusal
from .buffers import with_buffers
from .conversation import Conversation, Exchange, Request, Signal
from .egress import HostTraffic, egress_notice
from .endings import gave_no_answer, process_lost
from .errors import (
    AgentProtocolError,
    ChorusError,
    EngineGoneError,
    ExecutionTimeoutError,
    OutOfMemoryError,
    WorkerDiedError,
)
from .limits_reached import ReachedLimit, reached_limit
from .outputs import OutputFilter
from .telemetry import ResourceUsage
from .widgets import COMM_TYPES

if TYPE_CHECKING:
    from .session import Session

GRACE_S = 3.0
"""How long an interrupted cell may go on before its process is killed."""

_INTERRUPTED = (-signal.SIGINT, 128 + signal.SIGINT)
"""Exit codes of a program that SIGINT ended, and of a shell whose program it ended."""

SHOWN_AFTER_INTERRUPT_S = 1.0
"""How long an interrupted cell's output is still shown: its last words, not the backlog of a flood."""

STOOD_STILL_S = 1.0
"""How late the end of a time limit is noticed where this process was stopped meanwhile, and did not just wait."""

_REPLIES = {
    "execute_request": "execute_reply",
    "command_request": "command_reply",
    "push_request": "execute_reply",
    "pull_request": "execute_reply",
}


class Transfer(Protocol):
    """Variables on their way, as far as an execution has to know."""

    message_types: tuple[str, ...]

    def begin(self, send: Callable[[Request], None]) -> None:
        """Begin to send, in another thread, where that is what it does."""

    def take(self, message: Message) -> None:
        """Take a message of :attr:`message_types`. Raises ``AgentProtocolError``."""

    def end(self) -> None:
        """Send no more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended.

    Attributes
    ----------
    reply : mapping
        Content of the ``execute_reply`` or ``command_reply``: hostile, as everything from a sandbox.
    usage : ResourceUsage
        What it used.
    notice : str or None
        What to tell the reader about output that was dropped, and about the limit that it failed at.
    interrupted : bool
        Whether it was interrupted, and ended by that.
    reached : ReachedLimit or None
        The limit that it failed at, or that of the output.
    egress : tuple of HostTraffic
        What it exchanged with which host by ``network=allowlist``, and what was refused.
    """

    reply: Mapping[str, Any]
    usage: ResourceUsage
    notice: str | None
    interrupted: bool
    reached: ReachedLimit | None = None
    egress: tuple[HostTraffic, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit status of a command, negative for the signal that ended it."""
        code = _integer(self.reply.get("exit_code"))
        if code is None:
            raise AgentProtocolError("The sandbox sent no exit code.", next_step="Restart the session.")
        return code


class Execution:
    """The host's side of one request that runs code."""

    def __init__(self, session: Session, conversation: Conversation, request: Request, outputs: OutputFilter) -> None:
        self._session = session
        self._conversation = conversation
        self._request = request
        self._outputs = outputs
        self._exchange: Exchange | None = None
        self._on_input: InputHandler | None = None
        self._question: Question | None = None
        self._transfer: Transfer | None = None
        self._usage: ResourceUsage | None = None
        self._timeout_s: float | None = None
        self._deadline_s: float | None = None
        self._interrupt_asked = False
        self._asked_to_end: str | None = None
        self._why: Callable[[bool], ChorusError] | None = None
        self._asked_to_end_s: float | None = None
        self._killed = False
        self._ended_container = False
        self._stood_still = False
        self._was_paused = False

    def run(
        self,
        timeout_s: float | None,
        on_message: Callable[[Message], None],
        on_input: InputHandler | None,
        on_late: Callable[[Message], None] | None = None,
        transfer: Transfer | None = None,
    ) -> Outcome:
        """Send the request and see it to its end; ``on_late`` gets what comes after that."""
        self._transfer = transfer
        self._timeout_s = timeout_s
        self._on_input = on_input
        self._session.egress.begin()
        self._deadline_s = time.monotonic() + timeout_s if timeout_s else None
        ask, late = self._conversation.ask, self._session.late
        with ask(self._request) as self._exchange, late.of(self._exchange.msg_id, self._outputs, on_late):
            self._exchange.on_ending = self._give_up_question
            try:
                if transfer:
                    transfer.begin(partial(self._conversation.tell, parent_id=self._exchange.msg_id))
                return self._wait(on_message)
            except BaseException:
                # Whatever went wrong here, the cell must not run on with nobody listening.
                self._tell("kill_request")
                raise
            finally:
                if transfer:
                    transfer.end()

    def _wait(self, on_message: Callable[[Message], None]) -> Outcome:
        while True:
            try:
                message = self._next()
                reply = self._take(message, on_message) if message else None
                if reply is not None:
                    return self._outcome(reply)
            except KeyboardInterrupt:
                self._interrupt_asked = True

    def interrupt(self) -> None:
        """Do what Ctrl-C does to the cell. From any thread."""
        self._interrupt_asked = True
        if self._exchange:
            self._exchange.wake()
        self._give_up_question()

    def end(self, why: Callable[[bool], ChorusError]) -> None:
        """Interrupt the cell, and kill it where it does not yield. From any thread.

        It raises what ``why`` makes from whether its variables are kept.
        """
        self._why = why
        if self._exchange:
            self._exchange.wake()
        self._give_up_question()

    def _tell(self, msg_type: str) -> None:
        assert self._exchange is not None
        self._conversation.tell(Request(msg_type, {"execution_id": self._exchange.msg_id}))

    def _next(self) -> Message | None:
        """Return the next message, or None where there is none now.

        Interrupts and time limits come first: a cell that never stops talking must not talk its way past them.
        """
        assert self._exchange is not None
        if self._interrupt_asked and self._asked_to_end is None:
            self._escalate("interrupted")
        elif self._why and self._asked_to_end is None:
            self._escalate("ended")
        left_s = None if self._deadline_s is None else self._deadline_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            self._stood_still = self._stood_still or left_s < -STOOD_STILL_S
            self._escalate("timed out")
            return None
        try:
            item = self._exchange.peek(left_s)
        except TimeoutError:
            return None
        if item is Signal.ENDED:
            raise self._death()
        if isinstance(item, Message):
            return item
        self._exchange.take()
        return None

    def _escalate(self, reason: str) -> None:
        """Interrupt; then, if that was not heeded in time, kill the process; then the container."""
        if self._asked_to_end is None:
            self._asked_to_end = reason
            self._asked_to_end_s = time.monotonic()
            self._tell("interrupt_request")
        elif not self._killed:
            self._killed = True
            self._tell("kill_request")
        else:
            self._was_paused = self._was_paused or self._session.is_paused()
            self._ended_container = True
            self._session.kill()
        self._deadline_s = time.monotonic() + GRACE_S

    def _take(self, message: Message, on_message: Callable[[Message], None]) -> Mapping[str, Any] | None:
        """Handle one message; return the reply's content where this was it.

        What must not be missed stays in the queue while it is looked at: a Ctrl-C may come just then.
        """
        assert self._exchange is not None
        if message.msg_type == _REPLIES[self._request.msg_type]:
            return message.content
        if message.msg_type == "worker_exit":
            self._session.worker_exited(message)
            raise self._worker_died(message.content)
        if message.msg_type == "resource_usage":
            self._usage = self._session.last_usage = self._figures(self._session.egress.counted(message).content)
            self._exchange.take()
            return None
        self._exchange.take()
        if self._transfer and message.msg_type in self._transfer.message_types:
            self._transfer.take(message)
        elif message.msg_type == "input_request":
            self._ask(message)
        elif message.msg_type in COMM_TYPES:
            self._session.shown.take_comm(message, may_wait=True)
        elif message.msg_type == "error" or not self._is_late():
            admitted = self._outputs.admit(self._outputs.with_files(with_buffers(message)))
            if admitted:
                on_message(admitted)
        return None

    def _ask(self, message: Message) -> None:
        """Put a question of the cell to the user; a cell that was asked to end may ask no more."""
        if self._on_input is None:
            raise AgentProtocolError("The sandbox asks where it was told not to.", next_step="Restart the session.")
        question = self._question = Question(message)
        assert self._exchange is not None
        if self._exchange.ending or self._interrupt_asked:
            question.give_up()
        if self._asked_to_end is not None:
            answer: dict[str, Any] | None = refusal("The cell was asked to end, so it can't ask any more.")
        else:
            answer = self._ask_user(question, self._on_input)
        if answer is not None:
            self._conversation.tell(Request("input_reply", answer), message.msg_id)

    def _ask_user(self, question: Question, on_input: InputHandler) -> dict[str, Any] | None:
        asked_at_s = time.monotonic()
        try:
            return question.ask(on_input)
        finally:
            # How long somebody thinks says nothing about the cell.
            if self._deadline_s is not None:
                self._deadline_s += time.monotonic() - asked_at_s

    def _give_up_question(self) -> None:
        if self._question:
            self._question.give_up()

    def _is_late(self) -> bool:
        """Whether the cell was asked to end a while ago: then a backlog of output must not hide that it did."""
        return self._asked_to_end_s is not None and time.monotonic() - self._asked_to_end_s > SHOWN_AFTER_INTERRUPT_S

    def _figures(self, content: Mapping[str, Any]) -> ResourceUsage:
        dropped = content.get("dropped_bytes")
        if isinstance(dropped, int) and dropped > 0:
            self._outputs.dropped_bytes += dropped
        return ResourceUsage.from_content(content)

    def _outcome(self, reply: Mapping[str, Any]) -> Outcome:
        ended_by_us = self._asked_to_end is not None and (
            reply.get("ename") == "KeyboardInterrupt" or reply.get("exit_code") in _INTERRUPTED
        )
        if self._asked_to_end == "timed out" and (ended_by_us or not self._was_in_time()):
            # However it ended: code may well catch the interrupt and end in good order.
            raise self._timed_out(state_kept=True)
        if self._asked_to_end == "ended" and self._why:
            raise self._why(True)
        killed = reply.get("killed") is True
        if self._usage is None:
            raise AgentProtocolError("The sandbox sent no figures.", next_step="Restart the session.")
        reached, egress = self._reached(reply, self._usage), self._session.egress.since_begin()
        # A cell that failed says by its error what was refused to it.
        refusals = egress_notice(egress) if reply.get("status") == "ok" else ""
        warning = "" if self._transfer else self._session.git_notice()  # Of variables nobody hears a notice.
        notice = (
            warning + (self._outputs.notice() or "") + refusals + (f"[sandbox] {reached.hint}\n" if reached else "")
        )
        reached = reached or self._outputs.reached()
        return Outcome(reply, self._usage, notice or None, ended_by_us or killed, reached, egress)

    def _reached(self, reply: Mapping[str, Any], usage: ResourceUsage) -> ReachedLimit | None:
        failed = reply.get("status") != "ok" or reply.get("exit_code")
        if not failed or not self._session.engine.capabilities().limits:
            return None
        return reached_limit(self._session.config.limits, reply, usage)

    def _was_in_time(self) -> bool:
        """Whether it was this process that stood still, and the cell had long ended when it looked again."""
        return bool(self._stood_still and self._usage and self._usage.duration_s < (self._timeout_s or 0))

    # The ways it can end without a reply

    def _death(self) -> ChorusError:
        death = self._session.death()
        if not self._ended_container or isinstance(death, (AgentProtocolError, EngineGoneError)):
            return death
        if self._asked_to_end == "timed out":
            return self._timed_out(state_kept=False)
        return gave_no_answer(self._session.name, 2 * GRACE_S, paused=self._was_paused)

    def _worker_died(self, content: Mapping[str, Any]) -> ChorusError:
        reason = content.get("reason")
        if reason == "replaced":
            self._session.report_loss()
            return process_lost(self._session.name)
        if reason == "out_of_memory":
            return self._out_of_memory()
        if reason == "killed" and self._asked_to_end == "timed out":
            return self._timed_out(state_kept=False)
        if reason == "killed" and self._asked_to_end == "ended" and self._why:
            return self._why(False)
        number, code = _integer(content.get("signal")), _integer(content.get("exit_code"))
        return WorkerDiedError(
            f"{self._how(reason, number, code)} The variables of the session {self._session.name!r} are lost.",
            next_step=_next_step(reason),
            exit_code=code,
            signal=number,
        )

    def _how(self, reason: object, number: int | None, code: int | None) -> str:
        if reason == "killed":
            return f"The cell did not yield to the interrupt within {GRACE_S:g} s, so its process was killed."
        if reason == "restarted":
            return "The session was restarted while this cell was running."
        if isinstance(reason, str) and reason.startswith("not started"):
            limit = self._session.config.limits.pids
            return f"No new process could be started: the limit of {limit} processes is reached."
        if number is not None:
            return f"The cell's process was ended by signal {number}."
        return f"The cell's process ended itself with exit code {code}."

    def _out_of_memory(self) -> OutOfMemoryError:
        limit = self._session.config.limits.memory_bytes
        peak = self._usage.memory_peak_bytes if self._usage else 0
        return OutOfMemoryError(
            f"The cell reached the memory limit of {limit >> 20} MiB of the session {self._session.name!r} "
            "and was killed; its variables are lost.",
            next_step=f"Use less, or give it more: --fresh --memory {2 * limit >> 20}m.",
            limit_bytes=limit,
            peak_bytes=peak,
        )

    def _timed_out(self, *, state_kept: bool) -> ExecutionTimeoutError:
        assert self._timeout_s is not None
        kept = "its variables are kept" if state_kept else "it did not yield and was killed, its variables are lost"
        return ExecutionTimeoutError(
            f"The cell ran longer than {self._timeout_s:g} s in the session {self._session.name!r}; {kept}.",
            next_step="Allow it more time with --timeout.",
            timeout_s=self._timeout_s,
            state_kept=state_kept,
        )


def _integer(value: object) -> int | None:
    return value if type(value) is int and abs(value) < 2**31 else None


def _next_step(reason: object) -> str:
    if isinstance(reason, str) and reason.startswith("not started"):
        return "`%sandbox restart` ends what is still running; raise the limit with --pids."
    return "The session goes on with a new process: run the cells that define them again."
