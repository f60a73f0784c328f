"""The process that runs the cells: a fork of the template.

One conversation: take a request, run it, reply; on an event loop, where what cells have started goes on meanwhile.
"""

import asyncio
import base64
import os
import signal
import socket
import sys
from typing import Any, Callable, Dict, List

from . import boot, posix, streams
from .asking import Asker, Inbox
from .comms import Comms, Kernel
from .loop import Loop
from .wire import Message, WireError, encode

ShellFactory = Callable[[streams.Outbox], Any]

MAX_EXPRESSION_BYTES = 2**18


class Worker:
    """The conversation of one worker with the supervisor."""

    def __init__(
        self, connection: socket.socket, acknowledgements: int, comms: socket.socket, make_shell: ShellFactory
    ) -> None:
        self._outbox = streams.Outbox(connection, acknowledgements)
        self._inbox = Inbox(connection, self._outbox.interrupts)
        self._asker = Asker(self._outbox, self._inbox)
        self._restore_streams = streams.install(self._outbox)
        self._loop = Loop(self._outbox.interrupts)
        self._comms = Comms(self._outbox, comms)
        self._shell = make_shell(self._outbox)
        self._shell.kernel = Kernel(self._outbox)

    def run(self) -> None:
        """Serve requests until the supervisor closes the connection."""
        self._loop.run(self._converse())

    async def _converse(self) -> None:
        self._outbox.send("worker_ready", self._shell.info())
        while True:
            message = await self._inbox.next()
            if message is None:
                return
            await self._serve(message)

    async def _serve(self, request: Message) -> None:
        if request.msg_type == "execute_request":
            await self._execute(request)
        elif request.msg_type in ("complete_request", "inspect_request"):
            self._look_up(request)
        elif request.msg_type in ("push_request", "pull_request"):
            self._transfer(request)
        # Anything else belongs to a cell that has ended: the answer to its question, or its interrupt.

    async def _execute(self, request: Message) -> None:
        self._outbox.begin(request.msg_id, request.content["max_output_bytes"])
        self._restore_streams()
        self._asker.allowed = request.content["allow_stdin"]
        self._asker.install()
        self._comms.install()
        # A cell may have set a handler of its own for itself; the next one starts with ours.
        signal.signal(signal.SIGINT, self._outbox.interrupts.handle)
        reply = await self._run_cell(request.msg_id, request.content)
        self._outbox.send("execute_reply", reply)
        self._outbox.end()

    async def _run_cell(self, msg_id: str, content: Dict[str, Any]) -> Dict[str, Any]:
        interrupts = self._outbox.interrupts
        try:
            interrupts.begin()
            if self._inbox.has_interrupt_of(msg_id):  # It came before the signal could be heard.
                raise KeyboardInterrupt
            if content["execution_count"]:
                self._shell.execution_count = content["execution_count"]
            reply = self._shell.execute(content["code"], content["silent"], content["store_history"])
            if asyncio.iscoroutine(reply):
                reply = await self._loop.run_cell(reply)
            if reply["status"] == "ok":
                interrupts.code_begins()  # Where the cell has no code, its expressions have.
                values = self._shell.user_expressions(content["user_expressions"])
                reply["user_expressions"] = {name: _small(value) for name, value in values.items()}
            interrupts.end()
        except KeyboardInterrupt:
            # It came before the cell began or as it ended, where no code of the user's could catch it.
            interrupts.end()
            reply = {"status": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": []}
            self._outbox.send("error", {key: reply[key] for key in ("ename", "evalue", "traceback")})
        return dict(reply)

    def _transfer(self, request: Message) -> None:
        """Answer a request about variables; what is put out meanwhile belongs to cells that have ended."""
        interrupts = self._outbox.interrupts
        signal.signal(signal.SIGINT, interrupts.handle)
        try:
            interrupts.begin()
            variables = self._variables()  # Before an interrupt is heard: half a module is none.
            if self._inbox.has_interrupt_of(request.msg_id):
                raise KeyboardInterrupt
            interrupts.code_begins()
            reply = variables.answer(request)
            interrupts.end()
        except BaseException as error:  # What values are asked runs code of the user's, and raises what it likes.
            interrupts.end()
            reply = {"status": "error", "ename": type(error).__name__, "evalue": ""}
        self._outbox.answer(request.msg_id, "execute_reply", reply)

    def _variables(self) -> Any:
        boot.make_late()
        from . import variables

        return variables.Variables(self._shell.user_ns, self._outbox, self._inbox)

    def _look_up(self, request: Message) -> None:
        """Answer a ``complete_request`` or ``inspect_request``; whatever happens in it, there is one answer."""
        asked = request.content
        about = (asked["code"], asked["cursor_pos"])
        signal.signal(signal.SIGINT, self._outbox.interrupts.handle)
        if request.msg_type == "complete_request":
            reply = self._interruptible(lambda: self._shell.do_complete(*about))
        else:
            reply = self._interruptible(lambda: self._shell.do_inspect(*about, asked["detail_level"]))
        reply_type = request.msg_type.replace("_request", "_reply")
        try:
            self._outbox.answer(request.msg_id, reply_type, reply)
        except WireError:
            self._outbox.answer(request.msg_id, reply_type, {"status": "error"})

    def _interruptible(self, look_up: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
        interrupts = self._outbox.interrupts
        try:
            interrupts.active = True
            reply = look_up()
            interrupts.active = False
        except BaseException:  # What it looks at is the user's, and raises what it likes: SystemExit too.
            interrupts.active = False
            reply = {"status": "error"}
        return reply


def _small(value: Dict[str, Any]) -> Dict[str, Any]:
    """Return the value of a user expression where the reply has room for it, else an error in its place."""
    data = {
        mime: base64.b64encode(part).decode() if isinstance(part, bytes) else part
        for mime, part in value.get("data", {}).items()
    }
    value = dict(value, data=data) if data else value
    try:
        if len(encode(Message("", value))) <= MAX_EXPRESSION_BYTES:
            return value
        reason = "The value is larger than %d bytes." % MAX_EXPRESSION_BYTES
    except WireError as error:
        reason = str(error)
    return {"status": "error", "ename": "ValueError", "evalue": reason, "traceback": []}


def become_child(descriptors: List[int], working_dir: str) -> None:
    """Turn a fork of the template into a process of its own: session, descriptors 0 to 2, working directory."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    # The template can't be traced; what runs the user's code may be, by the user's code.
    posix.set_dumpable(True)
    posix.prefer_for_oom_kill(os.getpid())
    _, stdout, stderr = descriptors[:3]
    for theirs, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (stdout, 1), (stderr, 2)):
        os.dup2(theirs, standard)
        os.close(theirs)
    try:
        os.chdir(working_dir)
    except OSError as error:
        os.write(2, ("[sandbox] %s: %s; the working directory is /\n" % (working_dir, error.strerror)).encode())


def run(descriptors: List[int], config: Dict[str, Any], make_shell: ShellFactory) -> None:
    """Be a worker until the supervisor has no more use for one."""
    become_child(descriptors, config["working_dir"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As under Jupyter: modules beside the notebook can be imported.
    sys.path.insert(0, "")
    sys.argv = [""]
    connection = socket.socket(fileno=descriptors[0])
    Worker(connection, descriptors[3], socket.socket(fileno=descriptors[4]), make_shell).run()
