"""Executions as the supervisor keeps account of them, and commands: programs run beside the worker."""

import os
import selectors
import signal
import subprocess
from typing import Any, Callable, Dict, Optional, Tuple

from .cgroup import Cgroup, Meter
from .posix import prefer_for_oom_kill
from .pump import TextPipes
from .wire import Message


class Execution:
    """One request that runs code: what it used, and how much it may still put out."""

    def __init__(self, msg_id: str, cgroup: Cgroup, max_output_bytes: int) -> None:
        self.msg_id = msg_id
        self.meter = Meter(cgroup)
        self.dropped_bytes = 0
        self.killed = False
        self.is_cell = True
        """Whether what the worker writes to its descriptors belongs to it."""
        self._left = max_output_bytes
        self.asked: Optional[str] = None
        """The id of the question that the host has now."""
        self._next_question: Tuple[Optional[str], bytes] = (None, b"")

    def admits(self, size: int) -> bool:
        """Whether output of this size still fits; what does not is counted."""
        if size > self._left:
            # From the first byte that does not fit nothing does, or the reader would see text with holes in it.
            self._left = 0
            self.dropped_bytes += size
            return False
        self._left -= size
        return True

    def ask(self, msg_id: str, frame: bytes) -> bytes:
        """Return what to send to the host for a question: it gets one at a time, and of those after it the last."""
        if self.asked is not None:
            self._next_question = (msg_id, frame)
            return b""
        self.asked = msg_id
        return frame

    def next_question(self) -> bytes:
        """Return what to send to the host once it has answered."""
        self.asked, frame = self._next_question
        self._next_question = (None, b"")
        return frame

    def forget_questions(self) -> None:
        """Take no answer to what was asked before an interrupt."""
        self.next_question()
        self.asked = None

    def usage(self) -> Dict[str, Any]:
        """Return the content of ``resource_usage``."""
        return dict(self.meter.usage(), dropped_bytes=self.dropped_bytes)


class Command(Execution):
    """A program in a process group of its own."""

    def __init__(self, request: Message, cgroup: Cgroup, cwd: str) -> None:
        asked = request.content
        super().__init__(request.msg_id, cgroup, asked["max_output_bytes"])
        self.pipes = TextPipes()
        self.status: Optional[int] = None
        try:
            self.process = subprocess.Popen(
                asked["argv"],
                stdin=subprocess.DEVNULL,
                stdout=self.pipes.write_ends["stdout"],
                stderr=self.pipes.write_ends["stderr"],
                cwd=cwd,
                env=dict(os.environ, **asked["environment"]),
                start_new_session=True,
            )
        finally:
            self.pipes.close_write_ends()
        prefer_for_oom_kill(self.process.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the program and all it started."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once."""
        self.killed = True
        self.signal(signal.SIGKILL)

    def reply(self) -> Dict[str, Any]:
        """Return the content of ``command_reply``; ``exit_code`` is negative for a signal, as in ``subprocess``."""
        assert self.status is not None
        code = -os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else os.WEXITSTATUS(self.status)
        self.process.returncode = code  # We reaped it; Popen must not try.
        return {"status": "ok", "exit_code": code, "killed": self.killed}


class Commands:
    """The commands that run.

    Parameters
    ----------
    cgroup, working_dir
        What they use is read there, and they begin here.
    sources
        What listens to their output.
    send : callable
        Sends the host a message: type, content, and which request it answers.
    read : callable
        Passes on what is in one of the pipes of a command; tells whether anything was.

    Attributes
    ----------
    running : dict
        By the id of their request.
    """

    def __init__(
        self,
        cgroup: Cgroup,
        working_dir: str,
        sources: selectors.BaseSelector,
        send: Callable[[str, Dict[str, Any], str], None],
        read: Callable[[TextPipes, str, Execution], bool],
    ) -> None:
        self.running: Dict[str, Command] = {}
        self._cgroup = cgroup
        self._working_dir = working_dir
        self._sources = sources
        self._send = send
        self._read = read

    def start(self, request: Message) -> None:
        """Start one; where it can't be, say why as a shell does."""
        msg_id = request.msg_id
        try:
            command = Command(request, self._cgroup, self._working_dir)
        except (OSError, ValueError) as error:
            self._send("stream", {"name": "stderr", "text": "%s\n" % error}, msg_id)
            self._send("resource_usage", Execution(msg_id, self._cgroup, 0).usage(), msg_id)
            self._send("command_reply", not_started(error), msg_id)
            return
        self.running[msg_id] = command
        command.pipes.listen(self._sources, lambda name: self._read(command.pipes, name, command))

    def child_ended(self, pid: int, status: int) -> None:
        """Note the end of a process, which may be one of them."""
        for command in self.running.values():
            if command.process.pid == pid:
                command.status = status

    def settle(self) -> None:
        """Finish those that have ended, once everything they said has been passed on."""
        for command in [command for command in self.running.values() if command.status is not None]:
            self._finish(command)

    def _finish(self, command: Command) -> None:
        command.signal(signal.SIGKILL)
        for name in ("stdout", "stderr"):
            while self._read(command.pipes, name, command):
                pass
        command.pipes.close()
        del self.running[command.msg_id]
        self._send("resource_usage", command.usage(), command.msg_id)
        self._send("command_reply", command.reply(), command.msg_id)


def not_started(error: Exception) -> Dict[str, Any]:
    """Return the content of ``command_reply`` with a shell's words: 127 for not there, 126 for not to be run."""
    code = 127 if isinstance(error, FileNotFoundError) else 126
    return {"status": "ok", "exit_code": code, "killed": False, "evalue": str(error)}
