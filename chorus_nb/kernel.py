"""The kernel ``chorus-nb``: a notebook on it runs wholly in a sandbox.

It is ipykernel with another place for the code. The process on the host speaks the Jupyter protocol and holds the
session; every cell, completion, inspection and user expression is answered by the sandbox. Nothing of a notebook is
evaluated here: the host's shell refuses to run code at all, no import of this process may come from the notebook's
folder, and of the cells only our own magics, taken apart by :mod:`chorus_nb.host_cells`, are for the host.

:mod:`chorus_nb.kernel_launcher` starts it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from ipykernel.displayhook import ZMQShellDisplayHook
from ipykernel.ipkernel import IPythonKernel
from ipykernel.jsonutil import encode_images, json_clean
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Instance, Type, default

from . import introspection
from ._extension import attach, make_strip
from ._version import __version__
from .cell import ask, can_ask, run_in_turn
from .errors import ChorusError, ConfigurationError, ExecutionError
from .host_cells import sandbox_cell, sandbox_commands
from .kernel_requests import complete_reply, inspect_reply
from .manager import DEFAULT_NAME
from .notebook_sessions import NotebookSessions
from .sandbox import RichOutput
from .session import Session


class ResultHook(ZMQShellDisplayHook):
    """Shows a result that other output follows; the cell's number is the shell's, which counts on after the cell."""

    @property
    def prompt_count(self) -> int:
        count: int = self.shell.execution_count
        return count


class LockedShell(ZMQInteractiveShell):
    """The host's shell: it displays, keeps the history, and runs nothing."""

    displayhook_class = Type(ResultHook)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise PermissionError("The sandbox kernel runs no code on the host.")

    def init_magics(self) -> None:
        """Set up the magics; IPython 9.0 calls one to choose its colours, the only one that is ever called here."""
        self.run_line_magic = super().run_line_magic  # type: ignore[method-assign]
        super().init_magics()
        del self.run_line_magic

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """Have the front end put text into a cell: every cell is the sandbox's, so it needs no line that says so."""
        super().set_next_input(text.removeprefix(f"%%sandbox {DEFAULT_NAME}\n"), replace)

    run_cell = run_cell_async = run_code = run_ast_nodes = run_line_magic = run_cell_magic = _refuse
    ex = ev = system = getoutput = safe_execfile = user_expressions = complete = object_inspect_mime = _refuse


class SandboxKernel(IPythonKernel):
    """ipykernel, with the code in a sandbox."""

    implementation = "chorus-nb"
    implementation_version = __version__
    banner = f"chorus-nb {__version__}: every cell runs in a sandbox. %sandbox help says what there is."
    shell_class = Type(LockedShell)
    sessions = Instance(NotebookSessions)

    @default("sessions")
    def _default_sessions(self) -> object:
        return self.parent.sessions

    def start(self) -> None:
        """Begin to serve."""
        self._magics = attach(self.shell, self.sessions)
        self._magics.namespace = None
        self._figures: dict[str, Any] | None = None
        super().start()

    @property
    def _session(self) -> Session:
        """The session of every cell that names no other."""
        session: Session = self.sessions.ensure(DEFAULT_NAME, {})
        return session

    # Cells

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: object = None,
        cell_id: object = None,
    ) -> dict[str, Any]:
        """Run a cell in the sandbox; return the content of ``execute_reply``."""
        self._forward_input(allow_stdin)
        self._figures = None
        try:
            error = self._attempt(code, silent, store_history and not silent)
            values = {} if error else self._evaluate(user_expressions or {})
        finally:
            self._restore_input()
        reply = {
            "status": "error" if error else "ok",
            "execution_count": self.shell.execution_count - 1,
            "user_expressions": values,
            "payload": self.shell.payload_manager.read_payload(),
            **(error or {}),
        }
        self.shell.payload_manager.clear_payload()
        return reply

    def _attempt(self, code: str, silent: bool, store_history: bool) -> dict[str, Any] | None:
        """Run a cell and show what comes of it; return what it raised, as an ``error`` message has it."""
        count = self.shell.execution_count
        store_history = store_history and bool(code.strip())
        error = None
        try:
            if store_history:
                self.shell.history_manager.store_inputs(count, code, code)
            result = self._run(code, silent=silent, store_history=store_history, execution_count=count)
            if result is not None and not silent:
                self._show(result, count)
        except (Exception, KeyboardInterrupt) as failure:
            # Whatever it is: a front end that gets no reply waits for ever.
            error = error_content(failure)
            self._send("error", error)
        if store_history:
            self.shell.execution_count = count + 1
        return error

    def _run(self, code: str, **asked: Any) -> RichOutput | None:
        commands = sandbox_commands(code)
        if commands is not None:
            for command in commands:
                self._magics.line(command)
            return None
        cell = sandbox_cell(code)
        if cell is None:
            return self._run_in(self._session, code, **asked)
        result: RichOutput | None = self._magics.cell(*cell)
        return result

    def _run_in(self, session: Session, code: str, **asked: Any) -> RichOutput | None:
        session.last_usage = None
        turn = self._magics.turns.enter(session)
        strip = make_strip(session, self.sessions.policy.gauge, turn.stop)
        try:
            return run_in_turn(turn, session, code, None, strip, ask if can_ask(self.shell) else None, **asked)
        finally:
            self._figures = session.last_usage.model_dump() if session.last_usage else None

    def _evaluate(self, expressions: Mapping[str, str]) -> dict[str, Any]:
        if not expressions:
            return {}
        try:
            return introspection.evaluate(self._session, expressions)
        except (Exception, KeyboardInterrupt) as failure:
            return {name: {**error_content(failure), "status": "error"} for name in expressions}

    def _show(self, result: RichOutput, count: int) -> None:
        data, metadata = self.shell.display_formatter.format(result)
        content = {"data": encode_images(data), "metadata": metadata, "execution_count": count}
        self._send("execute_result", json_clean(content))

    def _send(self, msg_type: str, content: dict[str, Any]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.send_response(self.iopub_socket, msg_type, content, ident=self._topic(msg_type))

    def finish_metadata(self, parent: Any, metadata: dict[str, Any], reply_content: dict[str, Any]) -> dict[str, Any]:
        """Put what the cell used into the metadata of its reply, for whoever runs the notebook."""
        metadata = super().finish_metadata(parent, metadata, reply_content)
        if self._figures is not None:
            metadata["chorus_nb"] = {"usage": self._figures}
        return metadata

    # Looking things up

    async def do_complete(self, code: str, cursor_pos: int | None) -> dict[str, Any]:
        """Answer Tab from the sandbox's live namespace; with nothing where it can't say in time."""
        cursor_pos = len(code) if cursor_pos is None else cursor_pos
        found = None
        with suppress(ChorusError):
            found = introspection.complete(self._session, code, cursor_pos)
        return complete_reply(found or introspection.Completion([], {}, cursor_pos, cursor_pos))

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: object = ()
    ) -> dict[str, Any]:
        """Answer Shift-Tab and ``?`` in the same way."""
        found = None
        with suppress(ChorusError):
            found = introspection.inspect(self._session, code, cursor_pos, detail_level)
        return inspect_reply(found or introspection.Inspection({}, {}))

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Say whether a cell is whole: from its text alone, by IPython's rules."""
        content: dict[str, Any] = super().do_is_complete(code)
        return content

    async def do_history(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return cells of before; the front end asks, the sandbox can't."""
        content: dict[str, Any] = super().do_history(*args, **kwargs)
        return content

    # Its end, and what it does not do

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End every sandbox: a restarted kernel is a new process with a new one."""
        self.sessions.close_all()
        content: dict[str, Any] = super().do_shutdown(restart)
        return content

    @property
    def kernel_info(self) -> dict[str, Any]:
        """What front ends are told of it: no debugger, as that would look into the host's process."""
        info: dict[str, Any] = super().kernel_info
        features = [feature for feature in info.get("supported_features", []) if feature != "debugger"]
        return {**info, "supported_features": features}

    async def do_debug_request(self, msg: dict[str, Any]) -> dict[str, Any]:
        """Refuse: a debugger would look into the host's process."""
        return {
            "type": "response",
            "request_seq": msg.get("seq", 0),
            "command": msg.get("command", ""),
            "success": False,
            "message": "The sandbox kernel has no debugger.",
            "body": {},
        }

    def do_apply(self, content: Any, bufs: Any, msg_id: Any, reply_metadata: Any) -> tuple[dict[str, Any], list[bytes]]:
        """Refuse: the request of ipyparallel would unpickle and run a function on the host."""
        error = error_content(
            ConfigurationError("The sandbox kernel takes no apply requests.", next_step="Put the code into a cell.")
        )
        return {"status": "error", **error}, []

    def do_clear(self) -> dict[str, Any]:
        """Empty the namespace."""
        self._session.restart()
        return {"status": "ok"}


def error_content(error: BaseException) -> dict[str, Any]:
    """Return the content of an ``error`` message; no frame of the host is in it."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, ExecutionError):
        name, text = error.ename, error.evalue
    render = getattr(error, "_render_traceback_", None)
    lines = render() if render else [f"\x1b[31m{name}\x1b[0m: {text}".removesuffix(": ")]
    return {"ename": name, "evalue": text, "traceback": lines}


class SandboxKernelApp(IPKernelApp):
    """Starts the kernel."""

    name = "chorus-nb-kernel"
    kernel_class = Type(SandboxKernel)
    sessions = Instance(NotebookSessions)

    def init_path(self) -> None:
        """Leave the notebook's folder out: a file there must not stand in for a module of the host."""

    def init_gui_pylab(self) -> None:
        """Plots are the sandbox's."""

    def init_extensions(self) -> None:
        """What the user has for native kernels would run on the host, where no cell runs."""

    def init_code(self) -> None:
        """As for extensions: startup files define names that no cell would see."""


def serve(words: list[str], sessions: NotebookSessions) -> None:
    """Be the kernel that the words of a command line describe, until a front end ends it."""
    app = SandboxKernelApp.instance(sessions=sessions)
    app.initialize(words)
    app.start()
