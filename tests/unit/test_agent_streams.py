"""What a worker says: texts and messages leave in their order, whole, whatever interrupts them."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from chorus_nb.agent.streams import Interrupts, Outbox, Stream, error_content
from chorus_nb.agent.wire import MAX_JSON_BYTES, Decoder, Message


class Wire:
    """An outbox and what arrives at its other end."""

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        self._acknowledgements, self._acknowledge = os.pipe()
        self.outbox = Outbox(ours, self._acknowledgements)
        self.outbox.begin("cell")
        self.messages: list[Message] = []
        self._ours = ours
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        decoder = Decoder()
        while data := self._theirs.recv(2**16):
            for message, _ in decoder.feed(data):
                if message.msg_type == "sync":
                    os.write(self._acknowledge, b"\0")
                self.messages.append(message)

    def close(self) -> list[Message]:
        """End the stream; return all that arrived."""
        self._ours.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        return self.messages


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def text_of(messages: list[Message], name: str = "stdout") -> str:
    return "".join(m.content["text"] for m in messages if m.msg_type == "stream" and m.content["name"] == name)


def test_text_and_messages_keep_their_order(wire: Wire) -> None:
    wire.outbox.write("stdout", "1")
    wire.outbox.write("stdout", "2")
    wire.outbox.write("stderr", "3")
    wire.outbox.send("display_data", {"data": {}})
    wire.outbox.write("stdout", "4")
    wire.outbox.flush()
    found = [(m.msg_type, m.content.get("name"), m.content.get("text")) for m in wire.close()]
    assert found == [
        ("stream", "stdout", "12"),
        ("stream", "stderr", "3"),
        ("display_data", None, None),
        ("stream", "stdout", "4"),
    ]
    assert {m.parent_id for m in wire.messages} == {"cell"}


def test_text_leaves_by_itself_after_a_moment(wire: Wire) -> None:
    wire.outbox.write("stdout", "soon")
    give_up_at_s = time.monotonic() + 10
    while not wire.messages:
        assert time.monotonic() < give_up_at_s
        time.sleep(0.01)
    assert text_of(wire.messages) == "soon"


def test_many_small_writes_are_few_messages_and_lose_nothing(wire: Wire) -> None:
    for number in range(100_000):
        wire.outbox.write("stdout", f"{number}\n")
    wire.outbox.flush()
    messages = wire.close()
    assert text_of(messages) == "".join(f"{number}\n" for number in range(100_000))
    assert len(messages) < 1000


def test_writes_of_several_threads_lose_nothing(wire: Wire) -> None:
    def write(letter: str) -> None:
        for _ in range(20_000):
            wire.outbox.write("stdout", letter)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire.outbox.flush()
    text = text_of(wire.close())
    assert sorted(text) == sorted("abcd" * 20_000)


def test_text_larger_than_a_frame_is_parted(wire: Wire) -> None:
    text = "é" * (MAX_JSON_BYTES // 4)
    wire.outbox.write("stdout", text)
    wire.outbox.flush()
    assert text_of(wire.close()) == text


def test_a_message_that_is_no_frame_is_dropped_and_told(wire: Wire) -> None:
    wire.outbox.send("display_data", {"data": {"text/plain": "x" * (MAX_JSON_BYTES + 1)}})
    wire.outbox.send("display_data", {"data": {"application/json": {"object": object()}}})
    wire.outbox.flush()
    messages = wire.close()
    assert {m.msg_type for m in messages} == {"stream"}
    assert text_of(messages, "stderr").count("display_data was dropped") == 2


def test_delivery_waits_for_the_acknowledgement(wire: Wire) -> None:
    wire.outbox.write("stdout", "before")
    wire.outbox.deliver()
    assert text_of(wire.messages) == "before"


def test_a_fork_writes_to_its_descriptors_and_not_to_the_wire(wire: Wire) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        wire.outbox.write("stdout", "from the fork")
        wire.outbox.send("display_data", {})
        wire.outbox.flush()
        wire.outbox.deliver()
        os._exit(0)
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(read, 100) == b"from the fork"
    os.close(read)
    assert wire.close() == []


def test_streams_are_what_programs_expect(wire: Wire) -> None:
    stream = Stream("stdout", wire.outbox)
    assert (stream.write("text"), stream.fileno(), stream.isatty(), stream.encoding) == (4, 1, False, "utf-8")
    assert stream.writable()
    with pytest.raises(TypeError, match="not bytes"):
        stream.write(b"bytes")  # type: ignore[arg-type]
    print("printed", file=stream, flush=True)
    assert text_of(wire.close()) == "textprinted\n"


# Interrupts


def test_an_interrupt_is_raised_only_while_a_cell_runs() -> None:
    interrupts = Interrupts()
    interrupts.handle()
    interrupts.active = True
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle()


def test_an_interrupt_within_a_message_comes_after_it() -> None:
    interrupts = Interrupts()
    interrupts.active = True
    done = []

    def send() -> None:
        with interrupts:
            with interrupts:
                interrupts.handle()
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        send()
    assert done == ["inner", "outer"]
    with interrupts:
        pass


def test_another_threads_messages_do_not_hold_up_interrupts() -> None:
    interrupts = Interrupts()
    interrupts.active = True
    inside, leave = threading.Event(), threading.Event()

    def send() -> None:
        with interrupts:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=send)
    thread.start()
    inside.wait(60)
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle()
    leave.set()
    thread.join()


def test_hundreds_of_interrupts_never_split_a_frame(wire: Wire) -> None:
    interrupts = wire.outbox.interrupts
    before = signal.signal(signal.SIGINT, interrupts.handle)
    stop = threading.Event()

    def shower() -> None:
        while not stop.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.0005)

    thread = threading.Thread(target=shower)
    caught = sent = 0
    try:
        interrupts.active = True
        thread.start()
        while caught < 300:
            try:
                wire.outbox.send("display_data", {"data": {"text/plain": "x" * 5000}})
                sent += 1
                wire.outbox.write("stdout", "y" * 5000)
            except KeyboardInterrupt:
                caught += 1
    except KeyboardInterrupt:
        pass  # It came between the two.
    finally:
        interrupts.active = False
        stop.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    wire.outbox.flush()
    messages = wire.close()
    shown = [m for m in messages if m.msg_type == "display_data"]
    assert len(shown) >= sent
    assert all(m.content["data"]["text/plain"] == "x" * 5000 for m in shown)
    assert set(text_of(messages)) <= {"y"}


def test_an_exception_that_can_not_be_printed_is_still_told() -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise ValueError

    content = error_content(BadError(), ["line"])
    assert content == {"ename": "BadError", "evalue": "<exception str() failed>", "traceback": ["line"]}
