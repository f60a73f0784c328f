"""The agent of a container without Python: on the host's side, with nothing inside but ``/bin/sh``.

In such a container no agent of ours can run. Its main process is a shell that waits for the end of its input
(:data:`KEEPER`), so that the container ends with the notebook kernel as others do; each script is an ``exec`` of the
engine. :class:`ShellAgent` turns the session's requests into those, and what they print into messages: for everybody
else it is the byte stream to an agent like any other.

The scripts run as ``spec.user``. The keeper, and the monitor that reads the cgroup, run as ``spec.keeper_user``: a
script can neither signal nor trace them, so it can't break the leash and can't forge figures. An engine's API can't
signal an ``exec``. Another ``exec`` does, as the scripts' user; where that can't be started any more, as at the limit
of processes, the container is killed.
"""

from __future__ import annotations

import codecs
import queue
import secrets
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from .agent.cgroup import Cgroup, Meter
from .agent.commands import Execution, not_started
from .agent.wire import Decoder, Message, encode
from .engines.base import ByteStream, Container, ContainerProcess, ContainerSpec
from .errors import ChorusError
from .shell_monitor import SHELL, MonitoredCgroup, policy_report, read_all

KEEPER = "while read -r _; do :; done"

# The first line tells the process group, once SIGINT would end the script, and the last words the exit status. Then the
# group is killed, so that the engine does not wait for what the script left in the background. What this shell itself
# has to say of a script that was killed is not the script's. When memory runs out, the script is to go first.
_RUN = """
{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
mark=$1; umask "$2"; shift 2
trap : INT
exec 3>&2 2>/dev/null
(echo $$; exec "$@" </dev/null 2>&3 3>&-)
echo "$mark$?"
kill -9 -$$
"""
_SIGNAL = 'kill -"$1" "$2"; echo sent'
_SAMPLE_INTERVAL_S = 0.2
_DRAIN_S = 0.25
_POLL_S = 1.0
_QUEUE_LENGTH = 64
_MAX_NUMBER_BYTES = 16
_UNKNOWN_EXIT = 128 + signal.SIGKILL
"""Where something killed the shell before it could say how the script ended."""


class ShellAgent(ByteStream):
    """Speaks the agent's protocol for a started container of :func:`chorus_nb.launch.keeper_spec`.

    Parameters
    ----------
    container : Container
        Started.
    spec : ContainerSpec
        What it was made from.
    isolation : bool
        Whether the container is one: else its processes are told by their group only, and the figures are the host's.
    """

    def __init__(self, container: Container, spec: ContainerSpec, isolation: bool) -> None:
        self._container = container
        self._main = container.stream
        self._spec = spec
        self._isolation = isolation
        self._frames: queue.Queue[bytes] = queue.Queue(_QUEUE_LENGTH)
        self._ended = threading.Event()
        self._decoder = Decoder()
        self._failure = ""
        self._running: _Script | None = None
        self._monitor: MonitoredCgroup | None = None
        self._in_background(self._begin)
        self._in_background(self._watch)

    # The stream, as the session sees it

    def send(self, data: bytes | memoryview) -> None:
        if self._ended.is_set():
            raise ConnectionError("the stream to the container is closed")
        for message, _ in self._decoder.feed(bytes(data)):
            if message.msg_type == "command_request":
                self._running = _Script(message, self._put)  # Here, so that no interrupt overtakes it.
            handler = getattr(self, f"_on_{message.msg_type}", self._on_unknown)
            # Requests to the engine take their time, and an interrupt must not wait for one.
            self._in_background(partial(handler, message))

    def receive(self) -> bytes:
        while True:
            try:
                return self._frames.get(timeout=_POLL_S)
            except queue.Empty:
                if self._ended.is_set():
                    return b""

    def close(self) -> None:
        self._ended.set()
        self._main.close()
        if self._monitor:
            self._monitor.close()
        try:
            self._frames.put_nowait(b"")
        except queue.Full:
            pass  # Then nobody waits: what there is comes first.

    @property
    def diagnostics(self) -> str:
        return self._main.diagnostics + self._failure

    # Its life

    def _in_background(self, task: Callable[[], None]) -> None:
        def run() -> None:
            try:
                task()
            except (ChorusError, OSError) as error:
                # The engine or the container is gone, or what the container says is nonsense: this is the end of it.
                if not self._ended.is_set():
                    self._failure = f"{error}\n"
                self.close()

        threading.Thread(target=run, name="chorus-shell", daemon=True).start()

    def _begin(self) -> None:
        if self._isolation:
            self._monitor = MonitoredCgroup(self._exec_as_keeper)
        self._cgroup = self._monitor or Cgroup(root="")
        self._put("agent_info", policy_report(self._container, self._spec, self._cgroup))
        self._put("worker_ready", {})

    def _exec_as_keeper(self, argv: list[str]) -> ContainerProcess:
        return self._container.exec(argv, user=self._spec.keeper_user, stdin=True)

    def _watch(self) -> None:
        """Wait for the end of the container. Its main process has nothing to say."""
        while self._main.receive():
            pass
        self.close()

    def _put(self, msg_type: str, content: dict[str, Any], parent_id: str = "") -> None:
        frame = encode(Message(msg_type, content, parent_id))
        while not self._ended.is_set():
            try:
                self._frames.put(frame, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    # Requests

    def _on_unknown(self, message: Message) -> None:
        reason = {"ename": "NotSupported", "evalue": "the image has no Python, so only shell scripts run"}
        kind = message.msg_type.partition("_")[0]
        reply = "file_reply" if kind == "file" else f"{kind}_reply"
        self._put(reply, {"status": "error", **reason}, message.msg_id)

    def _on_usage_request(self, message: Message) -> None:
        self._put("usage_reply", self._cgroup.sample(), message.msg_id)

    def _on_interrupt_request(self, message: Message) -> None:
        script = self._running
        if script and script.msg_id == message.content["execution_id"] and script.wait_until_begun():
            self._signal(signal.SIGINT, script.group)

    def _on_kill_request(self, message: Message) -> None:
        if (script := self._running) and script.msg_id == message.content["execution_id"]:
            script.killed = True
            self._kill_all()

    def _on_shutdown_request(self, message: Message) -> None:
        if not message.content["restart"]:
            self.close()
            return
        self._kill_all()
        self._put("shutdown_reply", message.content, message.msg_id)
        self._put("worker_ready", {})

    def _kill_all(self) -> None:
        """Kill whatever the scripts' user runs, or the container where even that can't be done."""
        target = "-1" if self._isolation else self._running and self._running.group
        if target and not self._signal(signal.SIGKILL, target):
            self.close()  # First, so that its end is not taken for that of the script alone.
            self._container.kill()

    def _signal(self, number: int, target: str) -> bool:
        """Send a signal from inside; False where nobody there could send it."""
        argv = [SHELL, "-c", _SIGNAL, "sh", str(int(number)), target]
        try:
            process = self._container.exec(argv, user=self._spec.user)
        except ChorusError:
            return False
        return read_all(process) == b"sent\n"

    def _on_command_request(self, message: Message) -> None:
        script, ended = self._running, threading.Event()
        assert script is not None
        script.account = Execution(message.msg_id, self._cgroup, message.content["max_output_bytes"])
        self._in_background(lambda: self._sample(script.account.meter, script.msg_id, ended))
        try:
            reply = self._run(script, message.content["argv"])
        except (ChorusError, ValueError) as error:
            self._put("stream", {"name": "stderr", "text": f"{error}\n"}, message.msg_id)
            reply = not_started(error)
        finally:
            ended.set()
            script.end()
            self._running = None
        self._put("resource_usage", script.account.usage(), message.msg_id)
        self._put("command_reply", reply, message.msg_id)

    def _run(self, script: _Script, program: list[str]) -> dict[str, Any]:
        if any("\0" in word for word in program):
            raise ValueError("embedded null byte")
        argv = script.argv(program, self._spec.umask)
        process = self._container.exec(argv, user=self._spec.user, working_dir=self._spec.working_dir)
        reply = script.follow(process)
        if script.group and script.status is None:
            self._signal(signal.SIGKILL, script.group)  # Somebody killed the shell that would have done so.
        return reply

    def _sample(self, meter: Meter, msg_id: str, ended: threading.Event) -> None:
        while not ended.wait(_SAMPLE_INTERVAL_S):
            self._put("resource_sample", meter.sample(), msg_id)


class _Script:
    """One program on its way: what it prints, up to its last words."""

    account: Execution
    """What it uses and may print; there before it is followed."""

    def __init__(self, request: Message, put: Callable[[str, dict[str, Any], str], None]) -> None:
        self.msg_id = request.msg_id
        self.killed = False
        self.group = ""
        """Its process group as ``kill`` takes it, such as ``-17``; empty before it has begun."""
        self.status: int | None = None
        self._begun = threading.Event()
        self._put = put
        self._mark = secrets.token_hex(16).encode()
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._held = b""

    def argv(self, program: list[str], umask: str) -> list[str]:
        """Return what to run in the container so that this object can follow it."""
        return [SHELL, "-c", _RUN, "sh", self._mark.decode(), umask, *program]

    def follow(self, process: ContainerProcess) -> dict[str, Any]:
        """Pass on what it prints until it has ended; return the content of ``command_reply``."""
        # Whatever it left behind dies with its group; what has left the group as well may still hold its streams.
        drained = threading.Timer(_DRAIN_S, process.close)
        while (piece := process.receive()) is not None:
            name, data = piece
            self._show(name, self._take(data) if name == "stdout" else data)
            if self.status is not None and not drained.is_alive():
                drained = threading.Timer(_DRAIN_S, process.close)
                drained.start()
        drained.cancel()
        self._show("stdout", self._held if self.status is None else b"", final=True)
        self._show("stderr", b"" if self.group else b"The script could not be started.\n", final=True)
        code = process.exit_code() if self.status is None else self.status
        return {"status": "ok", "exit_code": _UNKNOWN_EXIT if code is None else code, "killed": self.killed}

    def wait_until_begun(self) -> bool:
        """Wait until there is something to signal; False where it ended before."""
        return self._begun.wait() and bool(self.group)

    def end(self) -> None:
        """Have nobody wait for its begin any more."""
        self._begun.set()

    def _show(self, name: str, data: bytes, final: bool = False) -> None:
        name = name if self.group else "stderr"
        text = self._decoders[name].decode(data, final)
        if text and self.account.admits(len(data)):
            self._put("stream", {"name": name, "text": text}, self.msg_id)

    def _take(self, data: bytes) -> bytes:
        """Take the first line and the last words out of the output, in whatever pieces they come."""
        if self.status is not None:
            return b""  # Of what is being killed.
        data, self._held = self._held + data, b""
        if not self._begun.is_set():
            data = self._take_first_line(data)
        shown, mark, words = data.partition(self._mark)
        if mark:
            self._take_status(words)
            return shown
        held = next((n for n in range(len(self._mark) - 1, 0, -1) if data.endswith(self._mark[:n])), 0)
        self._held = self._held or data[len(data) - held :]
        return data[: len(data) - held]

    def _take_first_line(self, data: bytes) -> bytes:
        first, complete, rest = data.partition(b"\n")
        if not complete and len(data) < _MAX_NUMBER_BYTES:
            self._held = data
            return b""
        is_process = first.isdigit() and len(first) < _MAX_NUMBER_BYTES and int(first) > 1
        self.group = f"-{int(first)}" if is_process else ""
        self._begun.set()
        return rest if is_process else data  # Else the engine says why the shell did not start.

    def _take_status(self, words: bytes) -> None:
        status, complete, _ = words.partition(b"\n")
        if complete or len(words) >= _MAX_NUMBER_BYTES:
            self.status = int(status) & 0xFF if status.isdigit() and len(status) < _MAX_NUMBER_BYTES else _UNKNOWN_EXIT
        else:
            self._held = self._mark + words
