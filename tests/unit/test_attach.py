"""The attached stream: frames taken apart, bytes in order, what is kept of standard error, and forks."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb.engines.attach import TAIL_BYTES, AttachedStream, Demultiplexer, Tail

STDOUT, STDERR = 1, 2


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


# Frames


@given(
    st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_frames_are_taken_apart_however_they_arrive(frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in frames)
    stderr = bytearray()
    demultiplexer = Demultiplexer(lambda piece: stderr.extend(piece))
    stdout, turn = bytearray(), 0
    while data:
        size = sizes[turn % len(sizes)]
        stdout += demultiplexer.feed(data[:size])
        data, turn = data[size:], turn + 1
    assert bytes(stdout) == b"".join(payload for stream, payload in frames if stream == STDOUT)
    assert bytes(stderr) == b"".join(payload for stream, payload in frames if stream == STDERR)


@pytest.mark.parametrize("header", [b"\x09\0\0\0\0\0\0\x01", b"\x01\x01\0\0\0\0\0\x01", b"HTTP/1.1"])
def test_what_is_no_frame_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        Demultiplexer(lambda piece: None).feed(header)


def test_an_announced_length_costs_no_memory() -> None:
    assert Demultiplexer(lambda piece: None).feed(b"\x01\0\0\0\xff\xff\xff\xffabc") == b"abc"


def test_a_tail_keeps_the_end() -> None:
    tail = Tail(limit_bytes=4)
    for piece in (b"ab", b"cdefgh", b"", b"i"):
        tail.append(piece)
    assert str(tail) == "fghi"


@pytest.fixture
def peers() -> Iterator[tuple[AttachedStream, socket.socket]]:
    here, there = socket.socketpair()
    stream = AttachedStream(here, frame(STDOUT, b"early"))
    yield stream, there
    stream.close()
    there.close()


def test_buffered_bytes_come_first(peers: tuple[AttachedStream, socket.socket]) -> None:
    stream, there = peers
    there.sendall(frame(STDERR, b"why") + frame(STDOUT, b"late"))
    assert stream.receive() == b"early"
    assert stream.receive() == b"late"
    assert stream.diagnostics == "why"


def test_garbage_from_the_engine_ends_the_stream(peers: tuple[AttachedStream, socket.socket]) -> None:
    stream, there = peers
    stream.receive()
    there.sendall(b"no frame at all")
    assert stream.receive() == b""
    assert "not a frame" in stream.diagnostics
    with pytest.raises(ConnectionError):
        stream.send(b"x")


def test_the_tail_of_a_flood_on_standard_error_is_bounded(peers: tuple[AttachedStream, socket.socket]) -> None:
    stream, there = peers
    stream.receive()
    there.sendall(frame(STDERR, b"x" * 50_000 + b"end") + frame(STDOUT, b"out"))
    assert stream.receive() == b"out"
    assert stream.diagnostics.endswith("end")
    assert len(stream.diagnostics) == TAIL_BYTES


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_fork_lets_go_of_the_connection_and_leaves_it_to_its_parent() -> None:
    """Otherwise the engine would not see that a killed kernel is gone while a child of it lives."""
    ours, engines = socket.socketpair()
    stream = AttachedStream(ours)
    descriptor = ours.fileno()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Other tests' threads may be running.
        child = os.fork()
    if child == 0:
        os._exit(int(is_open(descriptor)))
    assert os.waitpid(child, 0)[1] == 0
    stream.send(b"still here")
    assert engines.recv(100) == b"still here"
    stream.close()
    engines.close()
