"""A sandbox whose agent is the attacker's: whoever has taken PID 1 of the container over can send any byte at all.

:class:`HostileEngine` plays that agent in this process, so that thousands of attacks take seconds.
:data:`HOSTILE_AGENT` is a program that plays it in a container of a real engine.
"""

from __future__ import annotations

import itertools
import json
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from figures import SAMPLE, USAGE
from hypothesis import strategies as st
from sandboxes import REPORT

from chorus_nb.agent.wire import MAGIC, Decoder, Message, encode
from chorus_nb.engines.base import (
    ByteStream,
    Container,
    ContainerProcess,
    ContainerSpec,
    ContainerState,
    Engine,
    EngineCapabilities,
    ResolvedImage,
)
from chorus_nb.errors import EngineError

ENTRY = {"path": "x", "kind": "file", "size_bytes": 1, "mode": 0o644, "modified_ns": 0, "target": ""}

GENUINE: Mapping[str, dict[str, Any]] = {
    "agent_info": REPORT,
    "worker_ready": {"implementation": "ipython"},
    "worker_exit": {"reason": "ended", "signal": 9, "exit_code": None, "generation": 1},
    "resource_sample": SAMPLE,
    "resource_usage": USAGE,
    "usage_reply": SAMPLE,
    "shutdown_reply": {"restart": True},
    "stream": {"name": "stdout", "text": "x"},
    "display_data": {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "a"}},
    "update_display_data": {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "a"}},
    "execute_result": {"data": {"text/plain": "x"}, "metadata": {}, "execution_count": 1},
    "clear_output": {"wait": False},
    "error": {"ename": "E", "evalue": "x", "traceback": ["line"]},
    "input_request": {"prompt": "?", "password": False},
    "execute_reply": {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}},
    "command_reply": {"exit_code": 0, "killed": False},
    "complete_reply": {"status": "ok", "matches": ["x"], "cursor_start": 0, "cursor_end": 1, "metadata": {}},
    "inspect_reply": {"status": "ok", "found": True, "data": {"text/plain": "x"}, "metadata": {}},
    "file_reply": {
        "status": "ok",
        "size_bytes": 1,
        "entry": ENTRY,
        "results": [{"entries": [ENTRY], "more": False, "size_bytes": 0, "made": True}],
    },
    "comm_open": {"comm_id": "c", "target_name": "jupyter.widget", "data": {"state": {}, "buffer_paths": []}},
    "comm_msg": {"comm_id": "c", "data": {"method": "update", "state": {}, "buffer_paths": []}},
    "comm_close": {"comm_id": "c", "data": {}},
    "status": {"execution_state": "idle"},
    "sync": {},
    "aborted": {},
}
"""One good content of every message that the host takes."""

# What hypothesis alone would rarely come upon.
NASTY_TEXT = (
    *("\x1b]0;title\x07", "\x1b]52;c;ZWNobyBoaQ==\x07", "\x1b[2J\x1b[H", "\x1bP+q544e\x1b\\", "\x9b31m\x9d0;x\x9c"),
    *("\x00", "\r", "\b" * 50, "\u202e", "\ud800", "\udcff", "a\nb", "../../etc/passwd", "/etc/passwd", "__class__"),
    *("x" * 100_000, "%s%n", "{0.__class__}", "stdout", "stderr", "text/html", "<script>alert(1)</script>", ""),
)
NASTY_NUMBERS = (-1, 0, 2**31, 2**63, 2**64, 10**4000, -(10**4000), 1e308, float("nan"), float("inf"), -0.0, True)


def nest(depth: int) -> Any:
    """Return lists within lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


texts = st.sampled_from(NASTY_TEXT) | st.text(max_size=30)
leaves = st.none() | st.booleans() | st.sampled_from(NASTY_NUMBERS) | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
) | st.sampled_from([70, 500, 900]).map(nest)


@st.composite
def forged(draw: st.DrawFn, kinds: Sequence[str] = tuple(GENUINE)) -> dict[str, Any]:
    """Draw a message that is nearly genuine: one or two of its fields are something else, gone, or too many.

    ``@`` stands for the id of the request that it answers.
    """
    kind = draw(st.sampled_from(kinds))
    content = dict(GENUINE[kind])
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*content, "more"]))
        if draw(st.integers(0, 5)) == 0:
            content.pop(name, None)
        elif isinstance(content.get(name), dict) and draw(st.booleans()):
            content[name] = {**content[name], draw(texts): draw(values)}
        else:
            content[name] = draw(values)
    return {
        "msg_type": draw(st.sampled_from([kind] * 9 + ["\x1b]0;x\x07"])),
        "content": content,
        "parent_id": draw(st.sampled_from(["@", "@", "@", "", "another", "\x1b[2J"])),
        "metadata": draw(st.just({}) | st.fixed_dictionaries({"buffer_paths": values})),
        "buffers": draw(st.just([]) | st.lists(st.binary(max_size=20), max_size=3)),
    }


def frame(parts: Mapping[str, Any], msg_id: str) -> bytes:
    """Write down a message, however wrong its parts are."""
    body = {"msg_id": "h", **{key: value for key, value in parts.items() if key != "buffers"}}
    body = {key: msg_id if value == "@" else value for key, value in body.items()}
    return raw_frame(json.dumps(body).encode("utf-8", "surrogatepass"), parts.get("buffers", ()))


def raw_frame(body: bytes, buffers: Sequence[bytes] = ()) -> bytes:
    """Put a frame around any bytes."""
    lengths = b"".join(struct.pack(">I", len(buffer)) for buffer in buffers)
    return struct.pack(">4sIH", MAGIC, len(body), len(buffers)) + lengths + body + b"".join(buffers)


def genuine(kind: str, msg_id: str = "", **changes: Any) -> bytes:
    """Return the frame of a good message."""
    return encode(Message(kind, {**GENUINE[kind], **changes}, msg_id))


def end_of(request: Message) -> bytes:
    """Return what ends a request in good order."""
    kind = request.msg_type.replace("_request", "_reply")
    figures = genuine("resource_usage", request.msg_id) if kind in ("execute_reply", "command_reply") else b""
    known = "file_reply" if kind.startswith("file_") else kind
    reply = genuine(known, request.msg_id) if known in GENUINE else b""
    return figures + reply + (genuine("worker_ready") if known == "shutdown_reply" else b"")


Attack = Callable[[Message], Iterator[bytes]]
"""Takes a request of the host's; yields what to send, ``b""`` to end the stream."""


class HostileStream(ByteStream):
    """The attacker's end is a function."""

    def __init__(self, attack: Callable[[], Attack], greeting: Sequence[bytes], delay_s: float) -> None:
        self.closed = False
        self.last_words: list[bytes] = []
        """What was on its way when the stream was closed."""
        self._delay_s = delay_s
        self._attack = attack
        self._decoder = Decoder()
        self._outgoing: queue.SimpleQueue[Iterator[bytes]] = queue.SimpleQueue()
        self._now: Iterator[bytes] = iter(greeting)

    def send(self, data: bytes | memoryview) -> None:
        if self.closed:
            raise ConnectionError("closed")
        if threading.current_thread().name != "chorus-boot":  # And not what makes an agent of an interpreter.
            for request, _ in self._decoder.feed(bytes(data)):
                self._outgoing.put(self._attack()(request))
                if request.content.get("restart") is False:
                    self._outgoing.put(iter([b""]))  # Else each session takes a second to close.

    def receive(self) -> bytes:
        time.sleep(self._delay_s)
        self._delay_s = 0.0
        while not self.closed:
            part = next(self._now, None)
            if part is not None:
                return part
            self._now = self._outgoing.get()
        time.sleep(0.1 if self.last_words else 0)
        return self.last_words.pop(0) if self.last_words else b""

    def close(self) -> None:
        self.closed = True
        self._outgoing.put(iter([b""]))

    @property
    def diagnostics(self) -> str:
        return "".join(NASTY_TEXT)


class HostileContainer(Container):
    """A container that exists only as its stream."""

    def __init__(self, number: int, stream: HostileStream) -> None:
        self.id = str(number)
        self.stream = stream

    def start(self) -> None:
        pass

    def exec(self, argv: Sequence[str], *, user: str, working_dir: str = "/", stdin: bool = False) -> ContainerProcess:
        raise EngineError("This container runs nothing.")

    def inspect(self) -> ContainerState:
        return ContainerState("removed" if self.stream.closed else "running")

    def kill(self) -> None:
        self.stream.close()

    def remove(self) -> None:
        self.stream.close()


class HostileEngine(Engine):
    """Makes containers that say ``greeting``, and in which ``attack`` answers. Both may be changed at any time."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.greeting = [genuine("agent_info"), genuine("worker_ready")]
        self.delay_s = 0.0
        self._numbers = itertools.count()

    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities(
            name="hostile", isolation=False, limits=False, mirror=False, repository_mounts=False, details={}
        )

    def resolve(self, image: str) -> ResolvedImage:
        return ResolvedImage(reference="hostile", interpreters=("none",))

    def create(self, spec: ContainerSpec) -> Container:
        stream = HostileStream(lambda: self.attack, self.greeting, self.delay_s)
        return HostileContainer(next(self._numbers), stream)

    def owned(self) -> list[tuple[str, Mapping[str, str]]]:
        return []

    def remove_id(self, container_id: str) -> None:
        pass


HOSTILE_AGENT = r"""
import json, os, struct, sys, time

def take(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data)) or os._exit(0)
    return data

def say(data):
    while data:
        data = data[os.write(1, data):]

def frame(kind, content, parent=""):
    body = {"msg_id": "h", "msg_type": kind, "parent_id": parent, "content": content, "metadata": {}}
    body = json.dumps(body).encode()
    return struct.pack(">4sIH", b"CNB\x01", len(body), 0) + body

def requests():
    while True:
        magic, body, count = struct.unpack(">4sIH", take(10))
        lengths = [struct.unpack(">I", take(4))[0] for _ in range(count)]
        message = json.loads(take(body))
        take(sum(lengths))
        yield message

line = b""
while not line.endswith(b"\n"):
    line += take(1)
take(int(line))  # What would make our agent of this process.
GENUINE = json.loads(GENUINE_JSON)
say(frame("agent_info", GENUINE["agent_info"]) + frame("worker_ready", {}))
"""
"""Stands in for our agent, as whoever has taken PID 1 over might.

What follows attacks; ``requests()`` come from the host."""


def hostile_program(attack: str, **report: Any) -> str:
    """Return a program that says what our agent says, then does what ``attack`` says."""
    genuine_contents = {**GENUINE, "agent_info": {**REPORT, **report}}
    return f"GENUINE_JSON = {json.dumps(genuine_contents)!r}\n{HOSTILE_AGENT}{attack}"
