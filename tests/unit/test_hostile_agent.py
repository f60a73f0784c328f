"""Forged, oversized, truncated and interleaved frames from an agent that is the attacker's.

Whatever it sends: the notebook gets a result or a ``ChorusError``, within the time it allows, of bounded size, that any
front end can be told and no terminal obeys; no thread of the host ends by it; and the session can be used or closed.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from conftest import wait_until
from hostile import (
    ENTRY,
    GENUINE,
    NASTY_TEXT,
    HostileEngine,
    end_of,
    forged,
    frame,
    genuine,
    raw_frame,
    values,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chorus_nb import execution, introspection, session, writer
from chorus_nb.agent.wire import MAX_BUFFERS_BYTES, Message
from chorus_nb.config import SandboxConfig
from chorus_nb.conversation import MAX_WAITING_BYTES, Request
from chorus_nb.errors import AgentProtocolError, ChorusError, SandboxFileError
from chorus_nb.sandbox import Sandbox

# The same examples each time: a suite that fails by chance is not believed. scripts/fuzz_wire.py looks for new ones.
EXAMPLES = os.environ.get("CHORUS_NB_FUZZ_EXAMPLES")
thorough = settings(
    max_examples=int(EXAMPLES or 50),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


PATIENCE_S = 0.05


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "GRACE_S", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that never answers is given up soon: a random one often does not."""
    monkeypatch.setattr(session, "_ANSWER_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(session.Session.request, "__defaults__", (PATIENCE_S,))


@pytest.fixture(autouse=True)
def _no_thread_ends_by_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reading thread that has ended by an exception leaves a session that hangs."""
    ended: list[object] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    yield
    assert ended == []


def genuine_agent(request: Message) -> Iterator[bytes]:
    yield end_of(request)


def saying(*parts: bytes | dict[str, Any], ends: bool = True) -> Callable[[Message], Iterator[bytes]]:
    """Make an agent that says these, then ends the request in good order, or the stream."""

    def attack(request: Message) -> Iterator[bytes]:
        for part in parts:
            yield part if isinstance(part, bytes) else frame(part, request.msg_id)
        yield end_of(request) if ends else b""

    return attack


CONTROLS = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\[[0-9;:]*[mK])")


def assert_harmless(value: object) -> None:
    """Any front end can be told it, and a terminal that prints its texts does nothing but colours."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    for text in texts_in(value):
        assert not CONTROLS.search(text), text


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(key)
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)


def try_all(sandbox: Sandbox, shown: list[Message]) -> None:
    """Ask everything that there is to ask, as the faces do."""
    session = sandbox._session
    on_late: Callable[[Message], None] = shown.append
    errors: list[str] = []
    for ask in (
        lambda: session.execute("1", on_message=shown.append, on_late=on_late, on_input=lambda prompt, _: prompt),
        lambda: sandbox.run("1"),
        lambda: sandbox.command(["true"]).exit_code,
        lambda: introspection.complete(session, "x", 1),
        lambda: introspection.inspect(session, "x", 1),
        lambda: introspection.evaluate(session, {"a": "1"}),
        lambda: sandbox.files.read("x", max_bytes=2**20),
        lambda: sandbox.files.list("."),
        sandbox.usage,
        sandbox.restart,
    ):
        try:
            ask()
        except ChorusError as error:
            errors.append(str(error))
    assert_harmless(errors)
    assert all(len(error) < 10_000 for error in errors)
    for message in shown:
        assert_harmless(message.content)
    assert_harmless(session.logs())


def attack(*parts: bytes | dict[str, Any], ends: bool = True) -> None:
    """Attack every request of a session, then see that the next one can be had."""
    engine = HostileEngine(saying(*parts, ends=ends))
    started_s = time.monotonic()
    with Sandbox(engine=engine, repo="none", timeout=PATIENCE_S) as sandbox:
        try_all(sandbox, [])
        engine.attack = genuine_agent
        sandbox._session.config = SandboxConfig.from_options(sandbox.config, timeout=5)  # It is honest, not quick.
        for _ in range(3):  # What is lost is said once; one that it made wait ends first.
            with suppress(ChorusError):
                sandbox.restart()
            with suppress(ChorusError):
                if sandbox.run("1", timeout=5).ok:
                    break
        else:
            pytest.fail("the session can't be used any more")
    assert time.monotonic() - started_s < 60


def test_an_agent_that_says_what_it_should_is_believed(engine: HostileEngine) -> None:
    """Else what is below would attack nothing."""
    with Sandbox(engine=engine, repo="none") as sandbox:
        assert sandbox.run("1").ok
        assert sandbox.command(["true"]).exit_code == 0
        assert sandbox.usage().pids == 3
        sandbox.restart()
        assert sandbox.run("1").ok


# Property by property


@pytest.mark.usefixtures("impatient")
@thorough
@given(st.lists(forged(), min_size=1, max_size=4))
def test_forged_messages(messages: list[dict[str, Any]]) -> None:
    attack(*messages)


@pytest.mark.usefixtures("impatient")
@thorough
@given(st.lists(forged(["stream", "display_data", "execute_result", "error"]), max_size=3), st.data())
def test_frames_cut_spliced_and_changed(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    bad = bytearray(b"".join(frame(message, "@") for message in messages) + genuine("execute_reply"))
    at = data.draw(st.integers(0, len(bad) - 1))
    match data.draw(st.sampled_from(["cut", "change", "insert", "repeat", "drop"])):
        case "cut":
            del bad[at:]
        case "change":
            bad[at] ^= data.draw(st.integers(1, 255))
        case "insert":
            bad[at:at] = genuine("stream")[: data.draw(st.integers(1, 40))]
        case "repeat":
            bad[at:at] = bad[at : at + 20]
        case "drop":
            del bad[at : at + data.draw(st.integers(1, 20))]
    attack(bytes(bad), ends=data.draw(st.booleans()))


@pytest.mark.usefixtures("impatient")
@thorough
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_in_a_frame(body: bytes, ends: bool) -> None:
    attack(raw_frame(body), ends=ends)


@pytest.mark.usefixtures("impatient")
@thorough
@given(st.dictionaries(st.sampled_from(["msg_id", "msg_type", "parent_id", "content", "metadata"]), values))
def test_any_json_in_a_frame(parts: dict[str, Any]) -> None:
    attack(frame(parts, "@"))


@pytest.mark.usefixtures("impatient")
@thorough
@given(forged(["agent_info", "worker_ready", "stream", "resource_sample", "worker_exit"]))
def test_lies_before_anything_was_asked(first: dict[str, Any]) -> None:
    engine = HostileEngine(genuine_agent)
    engine.greeting = [frame({**first, "parent_id": ""}, ""), genuine("agent_info"), genuine("worker_ready")]
    try:
        with Sandbox(engine=engine, repo="none") as sandbox:
            assert_harmless(sandbox.info().model_dump())
            assert_harmless(sandbox._session.logs())
    except ChorusError as error:
        assert_harmless(str(error))


# One by one: what needs time, or memory


@pytest.fixture
def engine() -> HostileEngine:
    return HostileEngine(genuine_agent)


@pytest.fixture
def sandbox(engine: HostileEngine) -> Iterator[Sandbox]:
    with Sandbox(engine=engine, repo="none") as sandbox:
        yield sandbox


def body(content: str, msg_id: str = "", kind: str = "stream") -> bytes:
    """Return the JSON part of a message whose content is written out."""
    text = f'{{"msg_id":"","msg_type":"{kind}","parent_id":"{msg_id}","metadata":{{}},"content":{content}}}'
    return text.encode()


MANY = 3_000_000
BOMBS = {
    "empty lists": '{"text":[' + "[]," * MANY + "[]]}",
    "empty objects": '{"text":[' + "{}," * MANY + "{}]}",
    "many keys": "{" + ",".join(f'"{n}":0' for n in range(MANY // 10)) + "}",
    "the same key": "{" + ",".join(['"text":[]'] * (MANY // 10)) + "}",
    "depth": '{"text":' + "[" * 990 + "]" * 990 + "}",
    "more depth": '{"text":' + "[" * MANY + "]" * MANY + "}",
    "a long number": '{"text":' + "9" * MANY + "}",
    "a number that is none": '{"text":NaN,"name":Infinity}',
    "half a pair": '{"name":"stdout","text":"\\ud800\\udc00\\ud800"}',
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("parent", ["@", ""])
def test_a_json_bomb(sandbox: Sandbox, engine: HostileEngine, bomb: str, parent: str) -> None:
    def attack(request: Message) -> Iterator[bytes]:
        yield raw_frame(body(bomb, request.msg_id if parent else ""))
        yield end_of(request)

    engine.attack = attack
    started_s = time.monotonic()
    with suppress(ChorusError):
        assert_harmless(sandbox.run("1", timeout=20).stdout)
    assert time.monotonic() - started_s < 20


def test_frames_that_nobody_takes_fill_no_memory(sandbox: Sandbox, engine: HostileEngine) -> None:
    """While the user is asked nothing is taken, for hours maybe."""
    sent = []

    def attack(request: Message) -> Iterator[bytes]:
        yield genuine("input_request", request.msg_id)
        for _ in range(40):
            sent.append(1)
            yield raw_frame(body('{"name":"stdout","text":"x"}', request.msg_id), [bytes(MAX_BUFFERS_BYTES // 2)])
        yield end_of(request)

    def answer(prompt: str, password: bool) -> str:
        time.sleep(1)
        return ""

    engine.attack = attack
    tracemalloc.start()
    with suppress(ChorusError):
        sandbox.run("1", timeout=20, on_input=answer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MAX_WAITING_BYTES + 4 * MAX_BUFFERS_BYTES
    assert len(sent) < 40 or peak < 40 * MAX_BUFFERS_BYTES // 8


FLOODS = {kind: {"msg_type": kind, "content": GENUINE[kind], "parent_id": "@", "metadata": {}} for kind in GENUINE}


@pytest.mark.parametrize("kind", [kind for kind in FLOODS if kind not in ("execute_reply", "worker_exit")])
def test_a_flood_ends_at_the_time_limit(sandbox: Sandbox, engine: HostileEngine, kind: str) -> None:
    def attack(request: Message) -> Iterator[bytes]:
        while True:
            yield frame(FLOODS[kind], request.msg_id)

    engine.attack = attack
    started_s = time.monotonic()
    with pytest.raises(ChorusError):
        sandbox.run("1", timeout=0.2, on_input=lambda *_: "")
    assert time.monotonic() - started_s < 10


def deafen(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent read no more, as a paused container or a stopped agent does: sending waits until it is closed."""
    stream: Any = sandbox._session._container.stream  # type: ignore[union-attr]

    def send(data: bytes) -> None:
        while not stream.closed:
            time.sleep(0.01)
        raise ConnectionError("closed")

    monkeypatch.setattr(stream, "send", send)


def test_an_agent_that_never_reads_holds_up_neither_time_limit_nor_end(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(sandbox, monkeypatch)
    started_s = time.monotonic()
    with pytest.raises(ChorusError):
        sandbox.run("x" * 2**22, timeout=0.2)
    assert time.monotonic() - started_s < 10


def test_an_agent_that_never_reads_can_be_closed(engine: HostileEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(engine=engine, repo="none") as sandbox:
        deafen(sandbox, monkeypatch)
        started_s = time.monotonic()
        threading.Timer(0.1, sandbox.interrupt).start()
        with pytest.raises((ChorusError, KeyboardInterrupt)):
            sandbox.run("x" * 2**22)
    assert time.monotonic() - started_s < 10


def test_an_agent_that_never_reads_is_given_up_where_more_waits_than_may(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(sandbox, monkeypatch)
    monkeypatch.setattr(writer, "GIVE_UP_S", 0.1)
    monkeypatch.setattr(writer, "MAX_WAITING_BYTES", 2**20)
    for _ in range(3):
        sandbox._session.tell_comm(Request("comm_msg", {"data": "x" * 2**20}), "id")
    wait_until(lambda: sandbox._session.state == "dead")


# Replies to requests nobody made


def test_replies_to_requests_nobody_made_are_dropped(sandbox: Sandbox, engine: HostileEngine) -> None:
    for kind in (each for each in GENUINE if each.endswith("_reply")):
        for parent in ("", "1-1", "another", "@"):
            engine.attack = saying({"msg_type": kind, "content": {"status": "ok"}, "parent_id": parent, "metadata": {}})
            with suppress(ChorusError):
                sandbox.run("1", timeout=5)
    engine.attack = genuine_agent
    with suppress(ChorusError):
        sandbox.run("1")
    assert sandbox.run("1").ok


def test_a_reply_to_an_earlier_request_ends_no_later_one(sandbox: Sandbox, engine: HostileEngine) -> None:
    earlier: list[str] = []

    def attack(request: Message) -> Iterator[bytes]:
        for msg_id in earlier:
            yield genuine("resource_usage", msg_id) + genuine("execute_reply", msg_id, status="forged")
        yield genuine("stream", request.msg_id, text="of this one")
        earlier.append(request.msg_id)
        yield end_of(request)

    engine.attack = attack
    assert [sandbox.run("1").stdout for _ in range(3)] == ["of this one"] * 3


def test_the_last_words_of_one_container_are_not_the_first_of_the_next(engine: HostileEngine) -> None:
    """Its reading thread may still be at work when the next container starts; nor does its end end that one."""
    engine.attack = saying({"msg_type": "stream", "content": {"name": "?"}, "parent_id": "@", "metadata": {}})
    with Sandbox(engine=engine, repo="none") as sandbox:
        stream: Any = sandbox._session._starter.container.stream  # type: ignore[union-attr]
        stream.last_words = [genuine("agent_info", python_version="forged"), genuine("worker_exit")]
        with pytest.raises(AgentProtocolError):
            sandbox.run("1")
        engine.attack = genuine_agent
        engine.delay_s = 0.6
        assert sandbox.run("1").ok
        assert sandbox.info().python_version != "forged"
        assert sandbox.run("1").ok


# What the host is told of files


def listing(request: Message, entries: list[dict[str, Any]]) -> bytes:
    return genuine("file_reply", request.msg_id, status="ok", results=[{"entries": entries, "more": False}])


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/etc/passwd", "../x", "a/b", "a\0b", "x" * 256, "\ud800", "\udcc3\udca9"]
)
def test_a_list_of_files_that_holds_a_path_is_refused(sandbox: Sandbox, engine: HostileEngine, name: str) -> None:
    engine.attack = lambda request: iter([listing(request, [{**ENTRY, "path": name}])])
    with pytest.raises(AgentProtocolError, match="list of files"):
        sandbox.files.list()


def test_a_list_of_more_files_than_were_asked_for_is_refused(sandbox: Sandbox, engine: HostileEngine) -> None:
    entries = [{**ENTRY, "path": f"{number:05}"} for number in range(30_000)]
    engine.attack = lambda request: iter([listing(request, entries)])
    with pytest.raises(AgentProtocolError, match="list of files"):
        sandbox.files.list()


def file_piece(size: int) -> Callable[[Message], Iterator[bytes]]:
    content = json.dumps({"status": "ok"})
    return lambda request: iter([raw_frame(body(content, request.msg_id, "file_reply"), [bytes(size)])])


def test_more_of_a_file_than_was_asked_for_is_refused(sandbox: Sandbox, engine: HostileEngine) -> None:
    engine.attack = file_piece(2**23)
    with pytest.raises(AgentProtocolError, match="more of a file"):
        sandbox.files.read("x")


def test_a_file_without_end_costs_no_more_than_was_allowed(sandbox: Sandbox, engine: HostileEngine) -> None:
    asked: list[int] = []

    def endless(request: Message) -> Iterator[bytes]:
        if request.msg_type == "file_read_request":
            asked.append(request.content["size"])
            yield from file_piece(request.content["size"])(request)

    engine.attack = endless
    with pytest.raises(SandboxFileError, match="larger than"):
        sandbox.files.read("x", max_bytes=10 * 2**20)
    assert sum(asked) == 10 * 2**20 + 1


def test_a_file_that_comes_in_crumbs_ends_with_the_first(sandbox: Sandbox, engine: HostileEngine) -> None:
    engine.attack = file_piece(1)
    assert sandbox.files.read("x") == b"\0"


# What it says of itself


@pytest.mark.parametrize("text", [text for text in NASTY_TEXT if not text.isprintable() or len(text) > 4096])
@pytest.mark.parametrize("name", ["python_version", "python_executable", "interfaces"])
def test_controls_in_the_agents_report_end_the_start(engine: HostileEngine, name: str, text: str) -> None:
    lie = {name: [text] if name == "interfaces" else text}
    engine.greeting = [genuine("agent_info", **lie), genuine("worker_ready")]
    with pytest.raises(AgentProtocolError, match="report can't be read"), Sandbox(engine=engine, repo="none"):
        pass
