"""Frames: whole ones come back as they were, and nothing else gets through."""

from __future__ import annotations

import json
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus_nb.agent.wire import (
    MAGIC,
    MAX_BUFFERS,
    MAX_BUFFERS_BYTES,
    MAX_DEPTH,
    MAX_JSON_BYTES,
    MAX_NAME_LENGTH,
    Decoder,
    Message,
    WireError,
    encode,
    new_id,
)

HEAD = struct.Struct(">4sIH")

# JSON has no other floats, and no keys but strings.
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
names = st.text(max_size=MAX_NAME_LENGTH)
messages = st.builds(
    Message,
    msg_type=names,
    content=st.dictionaries(st.text(), values, max_size=4),
    parent_id=names,
    metadata=st.dictionaries(st.text(), values, max_size=2),
    buffers=st.lists(st.binary(max_size=100), max_size=5),
    msg_id=names,
)
VALID = {"msg_id": "", "msg_type": "stream", "parent_id": "", "content": {}, "metadata": {}}


def frame(parts: Any, buffers: tuple[bytes, ...] = ()) -> bytes:
    body = parts if isinstance(parts, bytes) else json.dumps(parts).encode()
    lengths = b"".join(struct.pack(">I", len(buffer)) for buffer in buffers)
    return HEAD.pack(MAGIC, len(body), len(buffers)) + lengths + body + b"".join(buffers)


def decode(data: bytes) -> list[Message]:
    return [message for message, _ in Decoder().feed(data)]


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert decode(encode(message)) == [message]


@given(st.lists(messages, max_size=4), st.data())
def test_any_splitting_of_the_bytes_gives_the_same_messages(several: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, several))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    decoder, found, frames = Decoder(), [], []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for message, whole in decoder.feed(stream[start:end]):
            found.append(message)
            frames.append(whole)
    assert found == several
    assert b"".join(frames) == stream


@given(messages, st.data())
def test_a_truncated_frame_waits(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    assert decode(whole[: data.draw(st.integers(0, len(whole) - 1))]) == []


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_garbage_is_an_error_or_waits(garbage: bytes) -> None:
    try:
        decode(garbage)
    except WireError:
        pass


@given(messages, st.data())
def test_a_changed_byte_is_an_error_another_message_or_waits(message: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(message))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(whole))
    except WireError:
        pass


@pytest.mark.parametrize("garbage", [b"C\x00", b"XXXX", b"CNB\x02", b"\n" + encode(Message("a")), b"Traceback"])
def test_what_does_not_begin_with_the_magic_is_an_error_at_once(garbage: bytes) -> None:
    with pytest.raises(WireError, match="begins with"):
        decode(garbage)


def test_a_frame_inside_a_frame_is_an_error() -> None:
    one, other = encode(Message("one", {"text": "x" * 50})), encode(Message("other"))
    with pytest.raises(WireError):
        decode(one[:30] + other + one[30:])


def test_messages_before_the_garbage_are_still_given() -> None:
    found = Decoder().feed(encode(Message("good")) + b"garbage")
    assert next(found)[0].msg_type == "good"
    with pytest.raises(WireError):
        next(found)


# Bounds: the head alone is enough to refuse a frame


@pytest.mark.parametrize(
    "head",
    [
        HEAD.pack(MAGIC, MAX_JSON_BYTES + 1, 0),
        HEAD.pack(MAGIC, 2**32 - 1, 0),
        HEAD.pack(MAGIC, 2, MAX_BUFFERS + 1),
        HEAD.pack(MAGIC, 2, 2**16 - 1),
        HEAD.pack(MAGIC, 2, 1) + struct.pack(">I", MAX_BUFFERS_BYTES + 1),
        HEAD.pack(MAGIC, 2, 2) + struct.pack(">II", MAX_BUFFERS_BYTES, 1),
        HEAD.pack(MAGIC, 2, MAX_BUFFERS) + struct.pack(">I", 2**32 - 1) * MAX_BUFFERS,
    ],
)
def test_a_frame_over_a_bound_is_refused_before_it_is_kept(head: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(WireError, match="limit"):
        decode(head)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_the_largest_frame_passes() -> None:
    largest = Message("a", buffers=[bytes(MAX_BUFFERS_BYTES)])
    assert len(decode(encode(largest))[0].buffers[0]) == MAX_BUFFERS_BYTES
    assert len(decode(encode(Message("a", buffers=[b"x"] * MAX_BUFFERS)))[0].buffers) == MAX_BUFFERS


@pytest.mark.parametrize(
    "message",
    [
        Message("a", {"text": "x" * (MAX_JSON_BYTES + 1)}),
        Message("a", buffers=[bytes(MAX_BUFFERS_BYTES), b"x"]),
        Message("a", buffers=[b""] * (MAX_BUFFERS + 1)),
        Message("a", {"object": object()}),
        Message("a", {("a", "tuple"): 1}),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_frame_is_not_sent(message: Message) -> None:
    with pytest.raises(WireError):
        encode(message)


def test_a_message_that_holds_itself_is_not_sent() -> None:
    content: dict[str, Any] = {}
    content["self"] = content
    with pytest.raises(WireError):
        encode(Message("a", content))
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(WireError):
        encode(Message("a", {"deep": deep}))


# The JSON part


@pytest.mark.parametrize(
    "parts",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 100_000,
        {},
        VALID | {"extra": 1},
        {key: VALID[key] for key in list(VALID)[:-1]},
        VALID | {"msg_type": 1},
        VALID | {"msg_type": None},
        VALID | {"parent_id": ["x"]},
        VALID | {"content": []},
        VALID | {"content": None},
        VALID | {"metadata": "x"},
        VALID | {"msg_id": "x" * (MAX_NAME_LENGTH + 1)},
    ],
)
def test_json_of_another_shape_is_an_error(parts: Any) -> None:
    with pytest.raises(WireError):
        decode(frame(parts))


@pytest.mark.parametrize("number", ["9" * 100_000, "-" + "9" * 5000])
def test_huge_integers_are_an_error(number: str) -> None:
    body = json.dumps(VALID).replace('"content": {}', f'"content": {{"n": {number}}}')
    with pytest.raises(WireError):
        decode(frame(body.encode()))


def test_deep_json_is_an_error() -> None:
    body = json.dumps(VALID).replace('"content": {}', '"content": {"n": %s}' % ("[" * 50_000 + "]" * 50_000))
    with pytest.raises(WireError):
        decode(frame(body.encode()))


def nested(levels: int) -> Any:
    value: Any = 0
    for level in range(levels):
        value = ([value], {"a": value}, (value,))[level % 3]
    return value


def test_how_deep_a_message_may_be_is_the_same_on_all_versions_of_python() -> None:
    # The message and its content are two levels.
    deepest = Message("stream", {"n": nested(MAX_DEPTH - 2)})
    [passed] = decode(encode(deepest))
    assert json.dumps(passed.content) == json.dumps(deepest.content)
    too_deep = dict(VALID, content={"n": nested(MAX_DEPTH - 1)})
    with pytest.raises(WireError, match="200 levels"):
        encode(Message("stream", too_deep["content"]))
    with pytest.raises(WireError, match="200 levels"):
        decode(frame(json.dumps(too_deep).encode()))


def test_many_values_side_by_side_are_not_deep() -> None:
    message = Message("stream", {"n": [{"[": ["{"]}] * 10_000})
    assert decode(encode(message)) == [message]


def test_a_lone_surrogate_passes() -> None:
    message = Message("stream", {"text": "a\ud800b"})
    assert decode(encode(message)) == [message]


def test_ids_are_unique() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
