"""PID 1 of the sandbox: one loop that never runs user code and never waits for anybody.

It takes requests from its standard input, has the template fork workers, passes their messages on, samples the cgroup
while something runs, and says what happened when a worker dies. It ends with its input: when the notebook kernel is
gone, however it went, the container goes too.

Requests (``..._request``): ``execute``, ``command``, ``push``, ``pull``, ``complete``, ``inspect``, ``interrupt``,
``kill``, ``shutdown``, ``usage``, ``file_*``; ``egress_*`` for the proxy; ``transfer_data`` that belongs to a push; and
``input_reply`` to the ``input_request`` of the running cell, of which the host has one at a time. What it sends of its
own: ``agent_info``, ``worker_ready``, ``worker_exit``, ``resource_sample``, ``resource_usage``, ``usage_reply``,
``command_reply``, ``shutdown_reply``, ``egress_reset``, and ``aborted`` where a lookup can't be.
"""

import errno
import gc
import os
import selectors
import signal
import socket
import time
from typing import Any, Dict, List, Optional, Sequence

from . import boot, egress, posix, syscalls
from .cgroup import Cgroup
from .commands import Commands, Execution
from .file_requests import FileRequests
from .flow import Flow
from .forks import DisconnectedError, Fork, Template
from .late import Late
from .lookups import REPLIES, Lookups
from .pump import Outlet, enlarge, read_some
from .report import policy_report
from .wire import Decoder, Message, encode

_SAMPLE_INTERVAL_S = 0.125
_MAX_BARREN_TEMPLATES = 3
"""How many templates in a row may end before their first fork: more would end likewise."""

_OUTPUT = ("stream", "display_data", "update_display_data", "execute_result", "clear_output")
_COMM = ("comm_open", "comm_msg", "comm_close", "status")
_TRANSFER = ("transfer_begin", "transfer_data", "transfer_ack")
_ANSWERS = ("execute_reply", "worker_ready", *_TRANSFER, *REPLIES.values())
_FROM_WORKER = _OUTPUT + _COMM + _ANSWERS + ("error", "input_request", "sync")
_FROM = {b"W": _FROM_WORKER, b"D": ("file_reply", "worker_ready"), egress.ROLE: egress.FROM_PROXY}


class Supervisor:
    """The state of one sandbox."""

    def __init__(
        self,
        carried: Dict[str, Any],
        template: Template,
        stdin: int,
        stdout: int,
        undumpable: bool,
        listener: Optional[socket.socket] = None,
    ) -> None:
        self.carried = carried
        self.config = config = carried["config"]
        self.cgroup = Cgroup() if config["own_cgroup"] else Cgroup(root="")
        self.loop = selectors.DefaultSelector()
        self.host = Outlet(stdout, self.loop)
        self.lookups = Lookups(self.host.put)
        self.decoder = Decoder()
        self.execution: Optional[Execution] = None
        self.generation = 0  # Of the workers: how many have ended by themselves, or with a cell. The host is told.
        self.late = Late(self.host.put_later)
        self.flow = Flow(self.loop, self.host, self.late)
        sources, read_pipe = self.flow.sources, self.flow.read_pipe
        self.commands = Commands(self.cgroup, config["working_dir"], sources, self.send, read_pipe)
        self.files = FileRequests(self.host.put, self._fork)
        self.next_sample_s = 0.0
        self.barren_templates = 0
        self.children = posix.ChildWatch()
        self.loop.register(self.children.readable, selectors.EVENT_READ, self._reap)
        os.set_blocking(stdin, False)
        for fd in (stdin, stdout):
            enlarge(fd)
        self.loop.register(stdin, selectors.EVENT_READ, lambda: self._read_host(stdin))
        self.send("agent_info", policy_report(self.cgroup, undumpable, config["paths"]))
        syscalls.restrict(config)  # After the report, which is to say what the engine filters.
        self._take_template(template)
        self.egress = egress.Egress(listener, self.loop, self.host, self._fork)
        self.worker = self._fork(b"W")

    # The loop

    def run(self) -> None:
        """Serve until the input ends."""
        while True:
            self.flow.regulate()
            for key, _ in self.loop.select(self._timeout()):
                key.data()
            self.host.flush_if_due()
            self._sample_if_due()
            self._settle()

    def _timeout(self) -> Optional[float]:
        due_s = [self.next_sample_s] if self.execution or self.commands.running else []
        if self.host.due_s is not None:
            due_s.append(self.host.due_s)
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _sample_if_due(self) -> None:
        now = time.monotonic()
        if now < self.next_sample_s:
            return
        running: List[Execution] = list(self.commands.running.values())
        for execution in running + ([self.execution] if self.execution else []):
            figures = execution.meter.sample()
            if not self.host.full:
                self.send("resource_sample", figures, execution.msg_id)
        self.lookups.insist(self.worker)
        self.next_sample_s = now + _SAMPLE_INTERVAL_S

    def send(self, msg_type: str, content: Dict[str, Any], parent_id: str = "") -> None:
        """Send a message of our own to the host."""
        self.host.put(encode(Message(msg_type, content, parent_id)))

    # Requests of the host

    def _read_host(self, stdin: int) -> None:
        try:
            data = read_some(stdin)
        except BlockingIOError:
            return
        if not data:
            self._end()
        for message, frame in self.decoder.feed(data):
            self._handle(message, frame)

    def _handle(self, message: Message, frame: bytes) -> None:
        kind = message.msg_type
        if kind.startswith("file_"):
            self.files.send(message.msg_id, frame)
        elif kind.startswith("egress_"):
            self.egress.send(frame)
        elif kind in _COMM:
            self.late.hear(message.msg_id)
            self.worker.send_comm(frame)
        elif kind in REPLIES:
            self.lookups.ask(self.worker, message, frame, self.execution is not None)
        else:
            getattr(self, "_on_" + kind, self._on_unknown)(message, frame)

    def _on_unknown(self, message: Message, frame: bytes) -> None:
        self.send("error", {"ename": "UnknownRequest", "evalue": message.msg_type, "traceback": []}, message.msg_id)

    def _on_execute_request(self, message: Message, frame: bytes) -> None:
        if message.content["generation"] != self.generation:
            # It is for a process that has ended, and this one has none of its variables.
            self.send("worker_exit", {"reason": "replaced", "generation": self.generation}, message.msg_id)
            return
        # First on its way, then the meter: it has taken its first reading before the worker has even woken up.
        self.lookups.send(self.worker, frame)
        self.execution = Execution(message.msg_id, self.cgroup, message.content["max_output_bytes"])
        self.execution.is_cell = message.msg_type == "execute_request"
        self.next_sample_s = time.monotonic() + _SAMPLE_INTERVAL_S

    _on_push_request = _on_pull_request = _on_execute_request

    def _on_transfer_data(self, message: Message, frame: bytes) -> None:
        if self.execution and self.execution.msg_id == message.parent_id:
            self.lookups.send(self.worker, frame)

    def _on_interrupt_request(self, message: Message, frame: bytes) -> None:
        target = message.content["execution_id"]
        if target in self.commands.running:
            self.commands.running[target].interrupt()
        elif self.execution and self.execution.msg_id == target and self.worker.pid:
            self.execution.forget_questions()
            # Before the cell begins a signal is not heard; while it runs a message is not read.
            self.lookups.send(self.worker, frame)
            posix.kill(self.worker.pid, signal.SIGINT, group=True)
        self.lookups.interrupt(self.worker, target)

    def _on_input_reply(self, message: Message, frame: bytes) -> None:
        if self.execution and self.execution.asked == message.parent_id:
            self.worker.send(frame)
            self.host.put(self.execution.next_question())

    def _on_kill_request(self, message: Message, frame: bytes) -> None:
        target = message.content["execution_id"]
        if target in self.commands.running:
            self.commands.running[target].kill()
        elif self.execution and self.execution.msg_id == target:
            self.execution.killed = True
            self._kill_all_but_template()

    def _on_usage_request(self, message: Message, frame: bytes) -> None:
        self.send("usage_reply", self.cgroup.sample(), message.msg_id)

    def _on_shutdown_request(self, message: Message, frame: bytes) -> None:
        self.send("shutdown_reply", message.content, message.msg_id)
        if not message.content["restart"]:
            self._end()
        self._kill_all_but_template()
        if self.execution:
            self._worker_ended("restarted", {})
        self._replace_worker()

    def _on_command_request(self, message: Message, frame: bytes) -> None:
        self.commands.start(message)

    # The template and its forks

    def _take_template(self, template: Template) -> None:
        self.template = template
        self.loop.register(self.template.control, selectors.EVENT_READ, self._read_template)

    def _read_template(self) -> None:
        if self.template.read(self._child_ended, self._fork_failed):
            return
        # It was killed from inside, or never started. Its forks are orphans now and ours to reap.
        self.loop.unregister(self.template.control)
        self.template.control.close()
        self.barren_templates = 0 if self.template.has_forked else self.barren_templates + 1
        if self.barren_templates == _MAX_BARREN_TEMPLATES - 1:
            posix.kill_descendants([])  # Maybe one of them is what kills it.
        elif self.barren_templates == _MAX_BARREN_TEMPLATES:
            self._give_up()
        self._take_template(Template.spawned(self.carried))
        for child in (self.files.process, self.egress.process):
            if child is not None and child.pid is None:
                self._drop(child)
        if self.worker.pid is None:
            self._replace_worker()

    def _give_up(self) -> None:
        """Say why no worker can be had, and end; the host reads it from our standard error."""
        killed = self.cgroup.sample()["oom_kills"]
        os.write(2, (boot.OUT_OF_MEMORY if killed else boot.NO_TEMPLATE).encode() + b"\n")
        os._exit(1)

    def _fork(self, role: bytes, more: Sequence[int] = ()) -> Fork:
        posix.kill(self.template.pid, signal.SIGCONT)  # Code in the sandbox may have stopped it.
        child = self.template.fork(role, more)
        child.connect(
            self.loop,
            self.flow.sources,
            on_message=lambda: self._read_fork(child),
            on_text=lambda name: self.flow.read_pipe(child.pipes, name, self._execution_of(child)),
        )
        return child

    def _execution_of(self, child: Fork) -> Optional[Execution]:
        running = self.execution if self.execution and self.execution.is_cell else self.late.latest
        return running if child is self.worker else None

    def _fork_failed(self, child: Fork, number: int) -> None:
        reason = "the process limit is reached" if number == errno.EAGAIN else os.strerror(number)
        if child is self.worker:
            self._worker_ended("not started: " + reason, {})
        elif child is self.egress.process:
            self.egress.failed()
        self._drop(child, reason)

    def _replace_worker(self) -> None:
        self.execution = None
        self.late.forget()
        self._drop(self.worker)
        self.worker = self._fork(b"W")

    def _drop(self, child: Fork, reason: str = "the process that handles files was ended") -> None:
        child.close()
        if child is self.files.process:
            self.files.forget(reason)
        elif child is self.egress.process:
            self.egress.forget()

    def _kill_all_but_template(self) -> None:
        if not posix.kill_descendants([self.template.pid]) and os.getpid() == 1:
            # They fork faster than we kill. To everybody at once, which the kernel does in one go; the template too.
            os.kill(-1, signal.SIGKILL)

    # What they say

    def _read_fork(self, child: Fork) -> bool:
        """Pass on what is there; False where nothing was."""
        self.flow.drain(child.pipes, self._execution_of(child))
        anything = False
        try:
            for message, frame in child.receive():
                self._from_fork(child, message, frame)
                anything = True
        except DisconnectedError:
            child.ignore()
            if child.pid is not None and child.status is None:
                posix.kill(child.pid, signal.SIGKILL)
            return False
        return anything

    def _from_fork(self, child: Fork, message: Message, frame: bytes) -> None:
        if message.msg_type not in _FROM[child.role]:
            return
        if child.role == egress.ROLE:
            self.host.put(frame)
            return
        if message.msg_type == "sync":
            child.acknowledge()
        elif message.msg_type in REPLIES.values():
            self.lookups.answered(child, message, frame)
        elif message.msg_type == "file_reply":
            self.files.answered(message.parent_id, frame)
        elif message.msg_type == "worker_ready":
            if child is self.worker:
                self.host.put(frame)
        elif message.msg_type in _COMM:
            self.host.put_later(frame)
        elif self.execution and message.parent_id == self.execution.msg_id:
            self._from_execution(self.execution, message, frame)
        elif message.msg_type in (*_OUTPUT, "error"):
            self.late.take(message.parent_id, frame)

    def _from_execution(self, execution: Execution, message: Message, frame: bytes) -> None:
        if message.msg_type == "execute_reply":
            self.flow.drain(self.worker.pipes, self._execution_of(self.worker))
            # In one write: each wakes every process on the way to the host.
            frame = encode(Message("resource_usage", execution.usage(), execution.msg_id)) + frame
            if execution.is_cell:
                self.late.add(execution)
            self.execution = None
        elif message.msg_type == "input_request":
            frame = execution.ask(message.msg_id, frame)
        if message.msg_type not in _OUTPUT:
            self.host.put(frame)
        elif execution.admits(len(frame)):
            self.host.put_later(frame)

    # Ends

    def _reap(self) -> None:
        for pid, status in self.children.reap():
            self._child_ended(pid, status)

    def _child_ended(self, pid: int, status: int) -> None:
        """Note the end of a fork (told by the template, or reaped once that is gone) or of a command."""
        for child in (self.worker, self.files.process, self.egress.process):
            if child is not None and child.pid == pid:
                child.status = status
        self.commands.child_ended(pid, status)

    def _settle(self) -> None:
        """Finish what has ended, once everything it said has been passed on."""
        if self.host.full:
            return
        for child in (self.files.process, self.egress.process):
            if child is not None and child.status is not None:
                self._drop(child)
        self.commands.settle()
        if self.worker.status is not None:
            self._finish_worker(self.worker.status)

    def _finish_worker(self, status: int) -> None:
        self._kill_all_but_template()
        before = self.execution
        # What it left in its socket and pipes; its descendants are dead too, so this ends.
        while self._read_fork(self.worker):
            pass
        if self.execution is before:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            self._worker_ended("ended", {"signal": number, "exit_code": code})
        self._replace_worker()

    def _worker_ended(self, reason: str, how: Dict[str, Any]) -> None:
        execution = self.execution
        usage = execution.usage() if execution else {}
        if execution:
            self.send("resource_usage", usage, execution.msg_id)
        if execution and execution.killed:
            reason = "killed"
        elif usage.get("oom_kills") and how.get("signal") == signal.SIGKILL:
            reason = "out_of_memory"
        self.generation += 1
        content = dict(how, reason=reason, generation=self.generation)
        self.send("worker_exit", content, execution.msg_id if execution else "")
        self.execution = None

    def _end(self) -> None:
        """Go, and take everything with us: the kernel does so for PID 1, but under the fake engine we are not that."""
        self.host.flush()
        posix.kill_descendants([])
        os._exit(0)


def main(carried: Dict[str, Any]) -> None:
    """Take the protocol's descriptors for ourselves, lock the process, and serve."""
    stdin, stdout = posix.take_standard_streams()
    undumpable = posix.set_dumpable(False)
    posix.adopt_orphans()
    os.umask(int(carried["config"]["umask"], 8))
    listener = egress.listen(carried["config"])
    template = Template.forked(carried, [stdin, stdout] + ([listener.fileno()] if listener else []))
    gc.enable()
    # PID 1 gets only the signals it has handlers for, and has none that ends it: a worker's kill(1) does nothing.
    # A handler, not SIG_IGN, which the commands we start would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    Supervisor(carried, template, stdin, stdout, undumpable, listener).run()
