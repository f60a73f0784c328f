"""Moving bytes without ever waiting for the other end: what keeps the supervisor answering."""

import codecs
import fcntl
import functools
import os
import selectors
import time
from collections import deque
from typing import Callable, Deque, Dict, Optional

READ_SIZE = 2**18
_FULL_BYTES = 2**22
_MOMENT_S = 0.004


class Outlet:
    """A descriptor that is written to as fast as its reader takes it; what does not fit yet waits here."""

    def __init__(self, fd: int, loop: selectors.BaseSelector) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = loop
        self._waiting: Deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._registered = False
        self.closed = False
        self.due_s: Optional[float] = None
        """When to flush what was only put for later (monotonic clock)."""

    @property
    def full(self) -> bool:
        """Whether so much waits that nobody should put more."""
        return self._waiting_bytes > _FULL_BYTES

    def put(self, frame: bytes) -> None:
        """Write what the descriptor takes now, and the rest when it takes more."""
        if self.closed or not frame:
            return
        idle = not self._waiting or self.due_s is not None
        self._append(frame)
        if idle:
            self.flush()

    def put_later(self, frame: bytes) -> None:
        """Write it with what comes next, or in a moment: each write wakes every process on the way."""
        if self.closed:
            return
        if not self._waiting:
            self.due_s = time.monotonic() + _MOMENT_S
        self._append(frame)

    def flush_if_due(self) -> None:
        """Write what was put for later, once its moment is over."""
        if self.due_s is not None and time.monotonic() >= self.due_s:
            self.flush()

    def _append(self, frame: bytes) -> None:
        self._waiting.append(memoryview(frame))
        self._waiting_bytes += len(frame)

    def flush(self) -> None:
        """Write until the descriptor takes no more; the loop goes on when it does."""
        self.due_s = None
        while self._waiting:
            try:
                done = os.write(self._fd, self._waiting[0])
            except BlockingIOError:
                self._wait_for_reader()
                return
            except OSError:
                self.close()
                return
            self._waiting_bytes -= done
            rest = self._waiting.popleft()[done:]
            if rest:
                self._waiting.appendleft(rest)
        self._forget()

    def close(self) -> None:
        """Write no more. The descriptor itself stays its owner's."""
        self.closed = True
        self._waiting.clear()
        self._waiting_bytes = 0
        self._forget()

    def _wait_for_reader(self) -> None:
        if not self._registered:
            self._registered = True
            self._loop.register(self._fd, selectors.EVENT_WRITE, self.flush)

    def _forget(self) -> None:
        if self._registered:
            self._registered = False
            self._loop.unregister(self._fd)


def read_some(fd: int) -> bytes:
    """Read what is there; ``b""`` at the end of the stream. Raises ``BlockingIOError`` when nothing is there."""
    try:
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        raise
    except OSError:
        return b""


def enlarge(fd: int) -> None:
    """Have a pipe hold more, so that who writes runs on while who reads is busy; some kernels refuse."""
    try:
        fcntl.fcntl(fd, 1031, 2**20)  # F_SETPIPE_SZ
    except OSError:
        pass


class TextPipes:
    """The read ends of a process's standard output and error, decoded as they come."""

    def __init__(self) -> None:
        self.write_ends: Dict[str, int] = {}
        self.read_ends: Dict[str, int] = {}
        self._decoders = {}
        self._sources: Optional[selectors.BaseSelector] = None
        for name in ("stdout", "stderr"):
            self.read_ends[name], self.write_ends[name] = os.pipe()
            os.set_blocking(self.read_ends[name], False)
            enlarge(self.read_ends[name])
            self._decoders[name] = codecs.getincrementaldecoder("utf-8")("replace")

    def listen(self, sources: selectors.BaseSelector, on_readable: Callable[[str], object]) -> None:
        """Have ``on_readable`` called with ``stdout`` or ``stderr`` when there is something to read."""
        self._sources = sources
        for name, fd in self.read_ends.items():
            sources.register(fd, selectors.EVENT_READ, functools.partial(on_readable, name))

    def read(self, name: str) -> str:
        """Return the text that is there, ``""`` for none; at the end of the stream the pipe closes itself."""
        fd = self.read_ends.get(name)
        if fd is None:
            return ""
        try:
            data = read_some(fd)
        except BlockingIOError:
            return ""
        if not data:
            self.close_read_end(name)
        return self._decoders[name].decode(data, not data)

    def close_write_ends(self) -> None:
        """Close our copies once the process has its own."""
        while self.write_ends:
            os.close(self.write_ends.popitem()[1])

    def close_read_end(self, name: str) -> None:
        """Stop reading one of the two."""
        fd = self.read_ends.pop(name, None)
        if fd is None:
            return
        if self._sources is not None:
            self._sources.unregister(fd)
        os.close(fd)

    def close(self) -> None:
        """Stop reading."""
        for name in list(self.read_ends):
            self.close_read_end(name)
