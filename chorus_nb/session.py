"""One sandbox, one conversation: a container that starts when it is needed, and the cells that run in it.

A session is used from one thread for cells (the notebook's main thread, so that Ctrl-C works) and from any thread for
everything else: interrupting, asking for usage, moving files, closing.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from .agent.wire import Message
from .asking import InputHandler
from .config import OutputMode, SandboxConfig
from .controls import AgentInfo, Control
from .conversation import Request
from .egress import Egress
from .endings import is_paused, not_restarted, process_lost, stopped, why_silent
from .engines.base import Container, Engine
from .errors import AgentProtocolError, ChorusError, EngineError
from .execution import Outcome, Transfer
from .files import SandboxFiles
from .git import SERVICE_HOST, credentials_for
from .late import LateOutput
from .launch import workspace_of
from .notices import Notices
from .running import MessageHandler, Runner
from .sanitize import clean_text
from .shown import Shown
from .starting import Starter
from .telemetry import ResourceSample, ResourceUsage
from .view.writable_view import WritableView
from .watch import Watch, WhyEnded
from .working_copy import WorkingCopy

State = Literal["new", "starting", "idle", "busy", "dead", "closed"]

_ANSWER_TIMEOUT_S = 30.0


class Session:
    """A named sandbox with a live namespace.

    Parameters
    ----------
    name : str
        What the user calls it.
    config : SandboxConfig
        How it is made; fixed for its life.
    engine : Engine
        Where its container comes from.
    folder : Path, optional
        Where the notebook is: the repository is looked for from here. The working directory when left out.

    Attributes
    ----------
    last_usage : ResourceUsage or None
        What the latest execution used, also where it failed.
    """

    def __init__(self, name: str, config: SandboxConfig, engine: Engine, folder: Path | None = None) -> None:
        self.name = name
        self.config = config
        self.engine = engine
        self.folder = folder or Path.cwd()
        self.last_usage: ResourceUsage | None = None
        self._ready_at_s: float | None = None
        self._state: State = "new"
        self._closed = False
        self._start_lock = threading.RLock()
        self._settling = threading.Lock()
        self._loss: ChorusError | None = None
        self._watch = Watch(self)
        self.shown = Shown(self)
        """What the page shows of it."""
        self.notices = Notices()
        """What it says unasked: its latest figures, and who listens to them."""
        self.view = WritableView(config, engine, self.folder, SandboxFiles(self))
        """What it writes to in place of the repository, with ``--repo overlay``."""
        self._starter = Starter(
            *(name, config, engine, self.folder, self.notices, self.view),
            refuse=self._refuse_if_closed,
            on_unasked=self._unasked,
            on_end=self._ended,
        )
        self.late = LateOutput()
        self._runner = Runner(self, self._starter, self.notices, self._watch)
        self.credentials = credentials_for(config)
        services = {SERVICE_HOST: self.credentials.connect} if self.credentials else {}
        self.egress = Egress(config.network, lambda *message: self.tell_comm(Request(*message), ""), services)

    # What it is

    @property
    def info(self) -> AgentInfo | None:
        """What the agent found in force, once started."""
        return self._starter.info

    @property
    def controls(self) -> list[Control]:
        """Requested against enforced, control by control, also of a start that failed; empty before any report."""
        return self._starter.controls

    @property
    def git_notes(self) -> tuple[str, ...]:
        """What of git does not work in it, and why, as its start found it."""
        return self._starter.git_notes

    @property
    def _container(self) -> Container | None:
        return self._starter.container

    @property
    def state(self) -> State:
        """``new``, ``starting``, ``idle``, ``busy``, ``dead`` (it ended by itself) or ``closed`` (it was stopped)."""
        if self._closed:
            return "closed"
        return "busy" if self._state == "idle" and self._runner.execution else self._state

    @property
    def uptime_s(self) -> float | None:
        """Seconds since it was ready, or None while it is not running."""
        return time.monotonic() - self._ready_at_s if self._ready_at_s and self.state in ("idle", "busy") else None

    @property
    def repository(self) -> Path | None:
        """The host's folder that the sandbox sees, or None."""
        return workspace_of(self.config, self.engine.capabilities(), self.folder)[0]

    @property
    def working_copy(self) -> WorkingCopy | None:
        """What its code has of the repository, to be read, with ``--repo overlay``: from the first start to the end."""
        return self.view.copy

    def logs(self) -> str:
        """Return what was said outside of any cell: by the agent, and by threads and processes that outlived theirs."""
        return clean_text(self._container.stream.diagnostics if self._container else "") + self.notices.log

    # Its life

    def start(self) -> None:
        """Start it where it is not running; wait until it is ready.

        Raises
        ------
        ChorusError
            Whatever kept it from starting. Nothing is left behind then.
        """
        with self._start_lock:
            self._refuse_if_closed()
            if self._state == "idle":
                return
            self._state = "starting"
            try:
                self._starter.launch()
                self._loss = None
                self._settle()
                self.view.settle()
                self._watch.begin(self._container)
            except BaseException:
                self._clear("new")
                self.view.give_up()
                self._refuse_if_closed()
                raise

    def _settle(self) -> None:
        with self._settling:
            self._refuse_if_closed()
            self._starter.refuse_if_lost()
            self._ready_at_s = time.monotonic()
            self._state = "idle"

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise stopped(self.name, "Use its name again to start a new one.")

    def restart(self) -> None:
        """Empty its namespace: a new worker in the same container, in milliseconds. A cell that runs is ended."""
        if self._state != "idle":
            self.start()
            return
        self.notices.worker_ready = False
        self.request(Request("shutdown_request", {"restart": True}), "shutdown_reply")
        self._loss = None
        self.shown.close_widgets()
        if not self.notices.wait(lambda: self.notices.worker_ready, _ANSWER_TIMEOUT_S):
            raise not_restarted(self.name)

    def give_up_start(self) -> None:
        """Have a :meth:`start` that is under way on another thread fail; one that has succeeded stands."""
        with self._settling:
            if self._state == "starting" and self._container:
                self._starter.given_up = True
                self._starter.kill()

    def kill(self) -> None:
        """End its container at once; a cell that runs raises ``SandboxDiedError``."""
        self._starter.kill()

    def is_paused(self) -> bool:
        """Whether somebody has paused its container."""
        return is_paused(self._container)

    def close(self) -> None:
        """End it and remove its container; may be called twice. A cell that runs raises ``SessionClosedError``."""
        self._closed = True
        conversation = self._starter.conversation
        if conversation and not conversation.ended:
            conversation.tell(Request("shutdown_request", {"restart": False}))
            conversation.join(1.0)
        self._clear("closed")
        self.view.close()
        self._watch.join()
        if text := self.git_notice():  # What it left running may have done it after the last cell.
            warnings.warn(text, stacklevel=2)

    def _clear(self, state: State) -> None:
        """Remove the container and forget it."""
        self._state = state
        self._watch.stop()
        self.shown.close_widgets()
        self.egress.end()
        self._starter.remove()

    # Running things in it

    def execute(
        self,
        code: str,
        *,
        timeout_s: float | None = None,
        silent: bool = False,
        store_history: bool = True,
        execution_count: int | None = None,
        user_expressions: Mapping[str, str] | None = None,
        output: OutputMode | None = None,
        on_message: MessageHandler,
        on_input: InputHandler | None = None,
        on_late: MessageHandler | None = None,
    ) -> Outcome:
        """Run a cell and wait for its end; start the sandbox first where it is not running.

        Parameters
        ----------
        code : str
            The cell.
        timeout_s : float, optional
            Seconds after which it is interrupted, and killed if it does not yield. Time in ``on_input`` does not count.
        silent, store_history, user_expressions
            As in a Jupyter ``execute_request``.
        execution_count : int, optional
            The number of the cell; the one after that of the last cell when left out.
        output : str, optional
            In which form its displays pass, where that is not the session's :attr:`OutputPolicy.mode`.
        on_message : callable
            Gets each output message in order, in the calling thread, after the output policy.
        on_input : callable, optional
            Asks the user for the cell, in the calling thread (:data:`InputHandler`); without it the cell can't ask.
        on_late : callable, optional
            Gets what the cell puts out after its end, in any thread; without it that is in :meth:`logs`.

        Returns
        -------
        Outcome
            The reply and the figures. An exception of the cell is in the reply, not raised.

        Raises
        ------
        OutOfMemoryError, WorkerDiedError, ExecutionTimeoutError, SandboxDiedError, SessionBusyError,
        SessionClosedError, AgentProtocolError
        """
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "execution_count": execution_count,
            "user_expressions": dict(user_expressions or {}),
            "allow_stdin": bool(on_input),
        }
        return self._runner.run(Request("execute_request", content), timeout_s, on_message, on_input, on_late, output)

    def command(self, argv: list[str], *, timeout_s: float | None = None, on_message: MessageHandler) -> Outcome:
        """Run a program beside the namespace; as :meth:`execute`, with ``exit_code`` in the reply."""
        return self._runner.run(Request("command_request", {"argv": argv, "environment": {}}), timeout_s, on_message)

    def transfer(self, request: Request, transfer: Transfer) -> Outcome:
        """Have variables brought in or out; as :meth:`execute`, and :attr:`last_usage` stays that of a cell."""
        before = self.last_usage
        try:
            return self._runner.run(request, None, lambda _: None, transfer=transfer)
        finally:
            self.last_usage = before

    def refuse_protocol(self, error: AgentProtocolError) -> AgentProtocolError:
        """End it for what it has sent, and return the error to raise."""
        self._clear("dead")
        return error

    def report_loss(self) -> None:
        """Say once that variables were lost while nobody looked, rather than run the next cell without them."""
        loss, self._loss = self._loss, None
        if loss:
            raise loss

    def interrupt(self) -> None:
        """Interrupt the cell that runs, as Ctrl-C does; nothing happens when none does."""
        self._runner.interrupt()

    # What its watch does

    def expire(self, error: ChorusError, is_due: Callable[[], bool]) -> None:
        """End its container, if that is still due; the cell that runs, or else the next one, raises ``error``."""
        with self._start_lock:
            with self._settling:
                if not is_due() or self._closed or self._state != "idle":
                    return
                self._loss, self._state = error, "dead"
            with suppress(ChorusError):  # Whoever waits is to hear why it ended, not what went wrong afterwards.
                self._clear("dead")

    def end_cell(self, why: WhyEnded) -> bool:
        """End the cell that runs, as :meth:`Execution.end`; False where none runs."""
        return self._runner.end(why)

    def tell(self, error: ChorusError) -> None:
        """Have the next cell raise ``error`` before it runs, unless there is something else to say."""
        self._loss = self._loss or error

    def git_notice(self) -> str:
        """Return what to tell of files that the host's git takes settings from; ``""`` where they are as they were."""
        return self._starter.git_guard.notice()

    # Telling and asking it things

    def tell_comm(self, request: Request, msg_id: str) -> None:
        """Send the sandbox what the page says to a widget. Raises ``WireError`` where it is larger than may be."""
        self._watch.touch()
        if self._starter.conversation:
            self._starter.conversation.tell(request, msg_id=msg_id)

    def request(self, request: Request, reply_type: str, timeout_s: float = _ANSWER_TIMEOUT_S) -> Message:
        """Send a request that runs no code and wait for its reply; works while a cell runs, and never starts it.

        Raises
        ------
        SandboxDiedError, AgentSilentError, AgentProtocolError
        """
        conversation = self._starter.conversation
        if request.msg_type != "usage_request":  # The panel asks for the usage of a session that nobody uses.
            self._watch.touch()
        if conversation is None or self._state != "idle":
            raise self._why_ended()
        try:
            answer = conversation.answer(request, reply_type, timeout_s)
        except TimeoutError:
            raise why_silent(self.name, timeout_s, self._container) from None
        if answer is None:
            raise self._why_ended()
        return answer

    def usage(self) -> ResourceSample:
        """Take a reading of its cgroup now. Raises as :meth:`request` does; never starts it."""
        reply = self.request(Request("usage_request", {}), "usage_reply")
        return ResourceSample.from_content(self.egress.counted(reply).content)

    # What it says unasked, on the reading thread

    def _unasked(self, message: Message) -> None:
        if self.shown.take_comm(message) or self.egress.take(message):
            return
        if message.msg_type == "worker_exit":
            self._loss = process_lost(self.name)
            self.worker_exited(message)
        elif not self.late.take(message):
            self.notices.take(self.egress.counted(message))

    def worker_exited(self, message: Message) -> None:
        """Note that the process with the variables has ended; the next one has none of them."""
        self.shown.close_widgets()
        self.notices.take(message)

    def _ended(self, error: AgentProtocolError | None) -> None:
        self.notices.end()
        with self._settling:
            if self._closed or self._state != "idle":
                return  # Whoever closes or starts it clears up.
            self._loss = error or self._starter.why_ended()
        with suppress(EngineError):  # It is in the log, and whoever waits is to hear of the loss itself.
            self._clear("dead")

    def death(self) -> ChorusError:
        """Return why the conversation ended, and take it as reported."""
        error = self._why_ended()
        self._loss = None
        return error

    def _why_ended(self) -> ChorusError:
        if self._closed:
            return stopped(self.name, "Run the cell again.")
        return self._loss or self._starter.why_ended()
