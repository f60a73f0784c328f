"""``input()`` and ``getpass.getpass()`` of a cell: questions that the notebook asks, and the answers to them."""

import asyncio
import builtins
import contextlib
import getpass
import select
import socket
import sys
import threading
from collections import deque
from typing import Any, Deque, Dict, Optional

from .streams import Interrupts, Outbox
from .wire import Decoder, Message, new_id

_MAX_PROMPT_CHARS = 2**16
_END_OF_INPUT = "\x04"
_CAN_NOT_ASK = (
    "%s() has nobody to ask: the cell runs where questions are off. "
    "Run it in a notebook or give `on_input`; or pass the value in as a variable of the cell."
)


class StdinNotImplementedError(NotImplementedError):
    """The front end can't ask. The name is IPython's, whose own class is raised where it is there."""


class Inbox:
    """The worker's way in: one message after the other."""

    def __init__(self, connection: socket.socket, interrupts: Interrupts) -> None:
        self._connection = connection
        self._interrupts = interrupts
        self._decoder = Decoder()
        self._waiting: Deque[Message] = deque()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._arrival: Optional["asyncio.Future[None]"] = None
        self._ended = False

    async def next(self) -> Optional[Message]:
        """Wait on the event loop for the next message; None once the supervisor has closed the connection."""
        loop = asyncio.get_running_loop()
        while not self._waiting and not self._ended:
            self._arrival = loop.create_future()
            # Each time: a cell may have taken every reader away. Where ours is still there, this only puts it again.
            loop.add_reader(self._connection, self._arrived)
            with contextlib.suppress(asyncio.CancelledError):  # A cell may cancel every task; this one goes on.
                await self._arrival
        return self._waiting.popleft() if self._waiting else None

    def _arrived(self) -> None:
        if not self._take():
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._connection)
        if self._arrival and not self._arrival.done():
            self._arrival.set_result(None)

    def get(self) -> Optional[Message]:
        """Wait for the next message; None once the supervisor has closed the connection."""
        while not self._waiting:
            # Interrupted here, nothing is lost.
            self._poll.poll()
            if not self._take():
                return None
        return self._waiting.popleft()

    def has_interrupt_of(self, msg_id: str) -> bool:
        """Whether a request to interrupt this cell has come; does not wait."""
        if self._poll.poll(0):
            self._take()
        return any(message.content.get("execution_id") == msg_id for message in self._waiting)

    def _take(self) -> bool:
        """Take what is there, which may be nothing any more; False at the end."""
        # Bytes are in our hands here, and an interrupt has to wait.
        with self._interrupts:
            try:
                data = self._connection.recv(2**18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            self._waiting.extend(message for message, _ in self._decoder.feed(data))
        return bool(data)


class Asker:
    """Asks for the cells of one worker.

    Attributes
    ----------
    allowed : bool
        Whether somebody is there to ask: ``allow_stdin`` of the ``execute_request``.
    """

    def __init__(self, outbox: Outbox, inbox: Inbox) -> None:
        self.allowed = False
        self._outbox = outbox
        self._inbox = inbox

    def install(self) -> None:
        """Take the place of the builtin functions, also where a cell has put something else there."""
        builtins.input = self.input
        getpass.getpass = self.getpass

    def input(self, prompt: object = "") -> str:
        """Ask for a line of text in the notebook."""
        __tracebackhide__ = True
        return self._ask("input", str(prompt), False)

    def getpass(self, prompt: str = "Password: ", stream: Any = None, *, echo_char: Optional[str] = None) -> str:
        """Ask for a text in the notebook that is not shown as it is typed."""
        __tracebackhide__ = True
        return self._ask("getpass", str(prompt), True)

    def _ask(self, name: str, prompt: str, password: bool) -> str:
        __tracebackhide__ = True
        self._check(name)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        msg_id = new_id()
        content = {"prompt": prompt[:_MAX_PROMPT_CHARS], "password": password}
        try:
            self._outbox.send("input_request", content, msg_id=msg_id)
            reply = self._reply_to(msg_id)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Interrupted by user") from None  # Without our frames, as ipykernel has it.
        return _value(reply)

    def _check(self, name: str) -> None:
        __tracebackhide__ = True
        if self._outbox.forked:
            raise EOFError("%s() can't ask from a fork of the cell's process: ask before it is forked" % name)
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("%s() can't ask from a thread: ask in the cell, and hand the value over" % name)
        if self._outbox.parent_id != self._outbox.running_id:
            raise RuntimeError(
                "%s() can't ask once its cell has ended: ask in the cell, and hand the value over" % name
            )
        if not self.allowed:
            raise _not_implemented(_CAN_NOT_ASK % name)

    def _reply_to(self, msg_id: str) -> Dict[str, Any]:
        while True:
            message = self._inbox.get()
            if message is None:
                raise EOFError("the sandbox ends")
            # Anything else is the answer to an earlier question, which was interrupted.
            if message.msg_type == "input_reply" and message.parent_id == msg_id:
                return message.content


def _value(reply: Dict[str, Any]) -> str:
    __tracebackhide__ = True
    if reply["status"] != "ok":
        raise _not_implemented(reply["evalue"])
    if reply["value"] == _END_OF_INPUT:
        raise EOFError
    return str(reply["value"])


def _not_implemented(text: str) -> NotImplementedError:
    kind = getattr(sys.modules.get("IPython.core.error"), "StdinNotImplementedError", StdinNotImplementedError)
    error: NotImplementedError = kind(text)
    return error
