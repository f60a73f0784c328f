"""Moving bytes without waiting for the other end."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

import pytest

from chorus_nb.agent.pump import Outlet, TextPipes, read_some


@pytest.fixture
def loop() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as loop:
        yield loop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass  # The test closed it.


def drain(loop: selectors.BaseSelector, fd: int) -> bytes:
    """Read what is there while the loop goes on writing."""
    data = bytearray()
    while True:
        for key, _ in loop.select(0):
            key.data()
        try:
            data += read_some(fd)
        except BlockingIOError:
            return bytes(data)


def test_what_is_put_arrives_in_order(loop: selectors.BaseSelector, pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1], loop)
    frames = [os.urandom(1000) for _ in range(1000)]
    for frame in frames:
        outlet.put(frame)
    assert drain(loop, pipe[0]) == b"".join(frames)
    assert not outlet.full
    assert not loop.get_map()


def test_putting_never_waits_and_says_when_it_is_full(loop: selectors.BaseSelector, pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1], loop)
    big = os.urandom(8 * 2**20)
    outlet.put(big)
    assert outlet.full
    assert drain(loop, pipe[0]) == big
    assert not outlet.full


def test_a_reader_that_is_gone_closes_the_outlet(loop: selectors.BaseSelector, pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1], loop)
    outlet.put(bytes(2**20))
    os.close(pipe[0])
    for key, _ in loop.select(1):
        key.data()
    assert outlet.closed
    outlet.put(b"more")
    assert not outlet.full
    assert not loop.get_map()


def test_an_empty_frame_is_nothing(loop: selectors.BaseSelector, pipe: tuple[int, int]) -> None:
    Outlet(pipe[1], loop).put(b"")
    assert not loop.get_map()


def test_text_that_is_cut_inside_a_character_is_put_together() -> None:
    pipes = TextPipes()
    first, second = "é".encode()[:1], "é".encode()[1:]
    os.write(pipes.write_ends["stdout"], b"a" + first)
    assert pipes.read("stdout") == "a"
    os.write(pipes.write_ends["stdout"], second + b"\xff")
    assert pipes.read("stdout") == "é�"
    assert pipes.read("stderr") == ""
    close(pipes)


def test_a_pipe_closes_itself_at_its_end_and_gives_what_was_left() -> None:
    pipes = TextPipes()
    os.write(pipes.write_ends["stderr"], b"cut \xc3")
    pipes.close_write_ends()
    assert pipes.read("stderr") == "cut "
    assert pipes.read("stderr") == "�"
    assert "stderr" not in pipes.read_ends
    assert pipes.read("stderr") == ""
    close(pipes)


def close(pipes: TextPipes) -> None:
    pipes.close_write_ends()
    for name in list(pipes.read_ends):
        pipes.close_read_end(name)
