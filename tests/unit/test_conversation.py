"""Requests and answers over a stream that this test plays the other end of."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest
from conftest import wait_until

from chorus_nb.agent.wire import Decoder, Message, encode
from chorus_nb.conversation import _QUEUE_LENGTH, Conversation, Exchange, Request, Signal
from chorus_nb.engines.base import ByteStream
from chorus_nb.errors import AgentProtocolError


class Peer(ByteStream):
    """A stream whose other end is in the hands of a test."""

    def __init__(self) -> None:
        self.sent: queue.Queue[Message] = queue.Queue()
        self.closed = False
        self._incoming: queue.Queue[bytes] = queue.Queue()
        self._decoder = Decoder()

    def send(self, data: bytes | memoryview) -> None:
        if self.closed:
            raise ConnectionError("closed")
        for message, _ in self._decoder.feed(bytes(data)):
            self.sent.put(message)

    def receive(self) -> bytes:
        return self._incoming.get()

    def close(self) -> None:
        self.closed = True
        self._incoming.put(b"")

    @property
    def diagnostics(self) -> str:
        return ""

    def say(self, *messages: Message) -> None:
        self._incoming.put(b"".join(map(encode, messages)))

    def say_bytes(self, data: bytes) -> None:
        self._incoming.put(data)


class Talk:
    """A conversation, what came unasked, and how it ended."""

    def __init__(self) -> None:
        self.peer = Peer()
        self.unasked: list[Message] = []
        self.ends: list[AgentProtocolError | None] = []
        self.conversation = Conversation(self.peer, self.unasked.append, self.ends.append)

    def ask(self, msg_type: str = "execute_request") -> Exchange:
        return self.conversation.ask(Request(msg_type, {"code": "1"}))

    def heard(self) -> Message:
        return self.peer.sent.get(timeout=60)


@pytest.fixture
def talk() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.peer.close()
    assert talk.conversation.join(60)


def get(exchange: Exchange) -> Message | Signal:
    return exchange.get(60)


def test_answers_go_to_whoever_asked(talk: Talk) -> None:
    with talk.ask() as one, talk.ask("usage_request") as other:
        asked, asked_other = talk.heard(), talk.heard()
        assert (asked.msg_type, asked_other.msg_type) == ("execute_request", "usage_request")
        assert asked.msg_id != asked_other.msg_id
        talk.peer.say(
            Message("usage_reply", {"n": 2}, asked_other.msg_id),
            Message("stream", {"n": 1}, asked.msg_id),
            Message("execute_reply", {"n": 3}, asked.msg_id),
        )
        assert [get(one).content["n"], get(one).content["n"], get(other).content["n"]] == [1, 3, 2]  # type: ignore[union-attr]


def test_buffers_are_sent_along(talk: Talk) -> None:
    talk.conversation.ask(Request("file_write_request", {}, (b"data",)))
    assert talk.heard().buffers == [b"data"]


def test_what_nobody_asked_for_is_handed_over(talk: Talk) -> None:
    talk.peer.say(Message("worker_ready"), Message("stream", {}, "of a request that was never made"))
    wait_until(lambda: len(talk.unasked) == 2)


def test_samples_go_to_everybody_even_those_of_a_request(talk: Talk) -> None:
    with talk.ask():
        talk.peer.say(Message("resource_sample", {}, talk.heard().msg_id))
        wait_until(lambda: len(talk.unasked) == 1)


def test_answers_after_an_exchange_was_left_are_unasked(talk: Talk) -> None:
    with talk.ask():
        asked = talk.heard()
    talk.peer.say(Message("execute_reply", {}, asked.msg_id))
    wait_until(lambda: len(talk.unasked) == 1)


def test_no_answer_in_time(talk: Talk) -> None:
    with talk.ask() as exchange, pytest.raises(TimeoutError):
        exchange.get(0.01)


def test_the_end_of_the_stream_ends_every_exchange(talk: Talk) -> None:
    with talk.ask() as one, talk.ask() as other:
        talk.peer.close()
        assert (get(one), get(other)) == (Signal.ENDED, Signal.ENDED)
    assert talk.ends == [None]
    with talk.ask() as late:
        assert get(late) is Signal.ENDED
    talk.conversation.tell(Request("interrupt_request", {}))


@pytest.mark.parametrize("garbage", [b"Traceback (most recent call last)", b"CNB\x01" + b"\xff" * 6])
def test_garbage_ends_the_conversation_with_what_came_before_it_intact(talk: Talk, garbage: bytes) -> None:
    with talk.ask() as exchange:
        reply = encode(Message("stream", {"text": "before"}, talk.heard().msg_id))
        talk.peer.say_bytes(reply + garbage)
        first = get(exchange)
        assert isinstance(first, Message)
        assert first.content == {"text": "before"}
        assert get(exchange) is Signal.ENDED
    assert talk.peer.closed
    assert isinstance(talk.ends[0], AgentProtocolError)
    assert len(talk.ends) == 1


def test_a_reader_that_does_not_keep_up_holds_up_the_sandbox_and_loses_nothing(talk: Talk) -> None:
    with talk.ask() as exchange:
        parent = talk.heard().msg_id
        for number in range(1000):
            talk.peer.say(Message("stream", {"n": number}, parent))
        wait_until(lambda: len(exchange._items) >= _QUEUE_LENGTH)
        assert [get(exchange).content["n"] for _ in range(1000)] == list(range(1000))  # type: ignore[union-attr]


def test_leaving_an_exchange_lets_the_reading_go_on(talk: Talk) -> None:
    with talk.ask() as exchange:
        parent = talk.heard().msg_id
        for _ in range(600):
            talk.peer.say(Message("stream", {}, parent))
        wait_until(lambda: len(exchange._items) >= _QUEUE_LENGTH)
    talk.peer.say(Message("worker_exit"))
    wait_until(lambda: "worker_exit" in [message.msg_type for message in talk.unasked])


def test_draining_lets_the_reading_go_on_to_the_end_while_nobody_takes_anything(talk: Talk) -> None:
    with talk.ask() as exchange:
        parent = talk.heard().msg_id
        for _ in range(2 * _QUEUE_LENGTH):
            talk.peer.say(Message("stream", {}, parent))
        wait_until(lambda: len(exchange._items) >= _QUEUE_LENGTH)
        talk.peer.close()
        assert not talk.conversation.join(0.1)
        talk.conversation.drain()
        assert talk.conversation.join(60)
        assert len(exchange._items) == _QUEUE_LENGTH + 1
        assert [get(exchange) for _ in range(_QUEUE_LENGTH + 1)][-1] is Signal.ENDED


def test_another_thread_can_wake_the_one_that_waits(talk: Talk) -> None:
    with talk.ask() as exchange:
        threading.Timer(0.05, exchange.wake).start()
        assert get(exchange) is Signal.WAKE


def test_waking_does_not_wait_for_room(talk: Talk) -> None:
    with talk.ask() as exchange:
        parent = talk.heard().msg_id
        for _ in range(600):
            talk.peer.say(Message("stream", {}, parent))
        wait_until(lambda: len(exchange._items) >= _QUEUE_LENGTH)
        exchange.wake()


def test_join_on_the_reading_thread_does_not_wait_for_itself() -> None:
    peer, joined = Peer(), []
    talk = Conversation(peer, lambda _: None, lambda _: joined.append(talk.join(60)))
    peer.close()
    assert talk.join(60)
    assert joined == [False]
