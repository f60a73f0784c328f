"""Frames of the byte stream between the notebook and the sandbox, and the messages they carry.

Both ends use this file. A message is shaped like one of the Jupyter messaging protocol (``msg_type``, ``content``,
``metadata``, ``buffers``, and the id of the request it answers); a frame is::

    4 bytes   magic, b"CNB\\x01"
    4 bytes   length of the JSON part, big-endian
    2 bytes   number of buffers
    4 bytes   length of each buffer, in turn
    ...       the JSON part, UTF-8, then the buffers

Every length is checked against a bound before anything is allocated for it, and the JSON part against the shape above,
because the other end of a host's stream is a sandbox. Whatever does not fit raises :class:`WireError`; there is no way
to find the next frame after that, so the reader ends the conversation.
"""

import itertools
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

MAGIC = b"CNB\x01"
MAX_JSON_BYTES = 16 * 2**20
MAX_BUFFERS = 64
MAX_BUFFERS_BYTES = 64 * 2**20
MAX_NAME_LENGTH = 128
MAX_DEPTH = 200
"""Levels of objects and arrays in the JSON part: what an interpreter makes of more depends on its version and stack."""

BULK = ("transfer_data",)
"""Messages that carry a lot: each copy of their buffers counts."""

_LARGE_BYTES = 2**16

_HEAD = struct.Struct(">4sIH")
_LENGTH = struct.Struct(">I")
_KEYS = {"msg_id": str, "msg_type": str, "parent_id": str, "content": dict, "metadata": dict}

# Made once: json.dumps makes one a call where it is given anything but its defaults. And a cell may patch the module.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode

_counter = itertools.count(1)


class WireError(ValueError):
    """The bytes are not a frame, or go beyond a bound."""


@dataclass(frozen=True)
class Message:
    """One message, either way.

    ``parent_id`` is the ``msg_id`` of the request that it answers or belongs to, or ``""``. Buffers come as ``bytes``,
    those of :data:`BULK` messages as views of the frame that they came in.
    """

    msg_type: str
    content: Dict[str, Any] = field(default_factory=dict)
    parent_id: str = ""
    metadata: Dict[str, Any] = field(default_factory=dict)
    buffers: List[Any] = field(default_factory=list)
    msg_id: str = ""


def new_id() -> str:
    """Return an id that is unique in this process."""
    return "%d-%d" % (os.getpid(), next(_counter))


def encode(message: Message) -> bytes:
    """Return the frame of a message. Raises :class:`WireError` where the message is larger than a frame may be."""
    return b"".join(encode_parts(message))


def encode_parts(message: Message) -> List[Any]:
    """Return the frame as :func:`encode` does; a large one uncopied: what is before the buffers, then each of them."""
    parts = {key: getattr(message, key) for key in _KEYS}
    try:
        body = _to_json(parts).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("the message can't be written as JSON: %s" % error)
    _check_depth(body, parts)
    lengths = [len(buffer) for buffer in message.buffers]
    _check_bounds(len(body), lengths)
    head = _HEAD.pack(MAGIC, len(body), len(lengths)) + b"".join(map(_LENGTH.pack, lengths))
    if sum(lengths) <= _LARGE_BYTES:
        return [b"".join([head, body] + message.buffers)]
    return [head + body] + message.buffers


class Decoder:
    """Takes bytes as they come and gives back whole messages, with the frame each came in."""

    def __init__(self) -> None:
        self._data = bytearray()
        # A large frame is gathered where it stays: it is not copied once more when it is whole.
        self._large: Optional[bytearray] = None
        self._filled = 0

    def feed(self, data: bytes) -> Iterator[Tuple[Message, Any]]:
        """Yield each message that ``data`` completes, and its frame. Raises :class:`WireError`."""
        rest = memoryview(data)
        while True:
            if self._large is None:
                self._data += rest
            else:
                rest = self._fill(self._large, rest)
                if self._filled < len(self._large):
                    return
                frame, self._large, self._data = self._large, None, bytearray(rest)
                yield _decode(frame), frame
            whole = self._cut()
            while whole is not None:
                yield _decode(whole), whole
                whole = self._cut()
            if self._large is None:
                return
            rest = memoryview(b"")

    def _fill(self, frame: bytearray, data: memoryview) -> memoryview:
        """Put the next bytes of a large frame where they belong, and return what is not of it."""
        count = min(len(data), len(frame) - self._filled)
        frame[self._filled : self._filled + count] = data[:count]
        self._filled += count
        return data[count:]

    def _cut(self) -> Optional[bytes]:
        size = _frame_length(self._data)
        if size is None:
            return None
        if len(self._data) < size:
            if size > _LARGE_BYTES:
                self._large, self._filled = bytearray(size), len(self._data)
                self._large[: self._filled] = self._data
                self._data = bytearray()
            return None
        frame = bytes(memoryview(self._data)[:size])
        del self._data[:size]
        return frame


def _frame_length(data: bytearray) -> Optional[int]:
    """Return the length of the frame that ``data`` begins with, or None while that can't be told yet."""
    if not MAGIC.startswith(bytes(data[:4])):
        raise WireError("a frame begins with %r" % bytes(data[:4]))
    if len(data) < _HEAD.size:
        return None
    _, body, count = _HEAD.unpack_from(data)
    _check_bounds(body, [0] * min(count, MAX_BUFFERS + 1))
    start = _HEAD.size + count * _LENGTH.size
    if len(data) < start:
        return None
    lengths = [_LENGTH.unpack_from(data, _HEAD.size + i * _LENGTH.size)[0] for i in range(count)]
    _check_bounds(body, lengths)
    return int(start + body + sum(lengths))


def _check_bounds(body: int, buffers: List[int]) -> None:
    if body > MAX_JSON_BYTES:
        raise WireError("a message of %d bytes is over the limit of %d" % (body, MAX_JSON_BYTES))
    if len(buffers) > MAX_BUFFERS or sum(buffers) > MAX_BUFFERS_BYTES:
        raise WireError("buffers of %d bytes are over the limit of %d" % (sum(buffers), MAX_BUFFERS_BYTES))


def _check_depth(body: bytes, parts: Any) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return  # So it is with all small ones.
    level = [parts]
    for _ in range(MAX_DEPTH):
        inside = itertools.chain.from_iterable(each.values() if isinstance(each, dict) else each for each in level)
        level = [each for each in inside if isinstance(each, (dict, list, tuple))]
        if not level:
            return
    raise WireError("the message is nested more than %d levels deep" % MAX_DEPTH)


def _decode(frame: Any) -> Message:
    _, body, count = _HEAD.unpack_from(frame)
    at = _HEAD.size + count * _LENGTH.size
    view = memoryview(frame)
    parts = _parse(bytes(view[at : at + body]))
    at += body
    buffers: List[Any] = []
    for i in range(count):
        (length,) = _LENGTH.unpack_from(frame, _HEAD.size + i * _LENGTH.size)
        buffers.append(view[at : at + length])
        at += length
    if parts["msg_type"] not in BULK:
        buffers = [bytes(buffer) for buffer in buffers]
    return Message(buffers=buffers, **parts)


def _parse(body: bytes) -> Dict[str, Any]:
    try:
        parts = _from_json(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise WireError("a message is not JSON: %s" % error)
    _check_depth(body, parts)
    if not isinstance(parts, dict) or parts.keys() != _KEYS.keys():
        raise WireError("a message has other keys than %s" % sorted(_KEYS))
    for key, kind in _KEYS.items():
        value = parts[key]
        if not isinstance(value, kind) or (kind is str and len(value) > MAX_NAME_LENGTH):
            raise WireError("the %s of a message is not a fitting %s" % (key, kind.__name__))
    return parts
