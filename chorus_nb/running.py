"""What runs in a session: one cell, one command or one transfer of variables at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .agent.wire import Message
from .asking import InputHandler
from .config import OutputMode
from .conversation import Request
from .endings import busy
from .errors import AgentProtocolError
from .execution import Execution, Outcome, Transfer
from .launch import only_scripts
from .notices import Notices
from .starting import Starter
from .watch import Watch, WhyEnded

if TYPE_CHECKING:
    from .session import Session

MessageHandler = Callable[[Message], None]


class Runner:
    """Runs what a session is asked to run; who comes while something runs is refused.

    Attributes
    ----------
    execution : Execution or None
        What runs.
    """

    def __init__(self, session: Session, starter: Starter, notices: Notices, watch: Watch) -> None:
        self.execution: Execution | None = None
        self._session = session
        self._starter = starter
        self._notices = notices
        self._watch = watch
        self._turn_lock = threading.Lock()

    def run(
        self,
        request: Request,
        timeout_s: float | None,
        on_message: MessageHandler,
        on_input: InputHandler | None = None,
        on_late: MessageHandler | None = None,
        output: OutputMode | None = None,
        transfer: Transfer | None = None,
    ) -> Outcome:
        """Start the session where it is not running, send the request, and wait for its end.

        Parameters and errors are those of :meth:`Session.execute`; ``transfer`` is what sends or takes variables.
        """
        session = self._session
        with self._turn():
            session.report_loss()
            session.start()
            request.content["generation"] = self._notices.generation
            session.report_loss()  # Of an end until here; of one from here on the sandbox knows, and refuses the cell.
            execution = self._prepared(request, output)
            session.last_usage = None
            timeout_s = min((limit for limit in (timeout_s, session.config.limits.timeout_s) if limit), default=None)
            self._watch.cell_begins()
            self.execution = execution
            try:
                return execution.run(timeout_s, on_message, on_input, on_late, transfer)
            except AgentProtocolError as error:
                session.refuse_protocol(error)
                raise

    def _prepared(self, request: Request, output: OutputMode | None) -> Execution:
        session, conversation, no_python = self._session, self._starter.conversation, self._starter.no_python
        assert conversation is not None
        if no_python and request.msg_type != "command_request":
            raise only_scripts(no_python)
        request.content["max_output_bytes"] = session.config.output.max_bytes
        return Execution(session, conversation, request, session.shown.output_filter(output))

    def interrupt(self) -> None:
        """Interrupt what runs, as Ctrl-C does; nothing happens when nothing does."""
        execution = self.execution
        if execution:
            execution.interrupt()

    def end(self, why: WhyEnded) -> bool:
        """End what runs, as :meth:`Execution.end`; False where nothing does."""
        execution = self.execution
        if execution:
            execution.end(why)
        return execution is not None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turn_lock.acquire(blocking=False):
            raise busy(self._session.name)
        try:
            yield
        finally:
            self.execution = None
            self._watch.cell_ends()
            self._turn_lock.release()
