"""What the worker says: messages on its socket, and ``sys.stdout`` and ``sys.stderr`` made into ``stream`` messages.

A few lines go at once, so that they are not lost if the process is; many are gathered for a moment, so that a million
small prints are not a million messages. Everything leaves in the order in which it was made. Only one thing is out of
our hands: what C code and subprocesses write to descriptors 1 and 2 takes another way, through pipes that the
supervisor reads. To keep that in order too, anything gathered here is delivered, and its delivery confirmed, before the
process starts another one.
"""

import base64
import contextvars
import io
import itertools
import operator
import os
import socket
import sys
import threading
import time
import types
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Tuple

from .wire import MAX_BUFFERS_BYTES, MAX_JSON_BYTES, Message, WireError, encode, encode_parts

# A cell may patch the modules.
_read, _write, _monotonic, _getcwd = os.read, os.write, time.monotonic, os.getcwd
_get_ident, _Thread = threading.get_ident, threading.Thread
_GATHER_S = 0.04
_GATHER_CHARS = 2**15
_LINES_AT_ONCE = 64
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_LARGE_CHARS = 2**16
# JSON may write a character in six bytes, and one beyond the basic plane in twelve.
_MOST_CHARS = MAX_JSON_BYTES // 16
_SPAWNING = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec")


def error_content(error: BaseException, traceback: List[str]) -> Dict[str, Any]:
    """Return the content of an ``error`` message."""
    try:
        text = str(error)
    except Exception:  # The exception's own __str__ is code of the user's; the words are the traceback module's.
        text = "<exception str() failed>"
    return {"ename": type(error).__name__, "evalue": text, "traceback": traceback}


def _binary(mime: str, value: Any) -> Any:
    """Return the bytes of a picture, of which large ones are worth it where they come as base64."""
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if mime in _PICTURES and isinstance(value, str) and len(value) > _LARGE_CHARS:
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            return value  # Whatever it is, it is not ours to judge.
    return value


def _working_dir() -> str:
    try:
        return _getcwd()
    except OSError:  # It was removed.
        return ""


class Interrupts:
    """SIGINT as ``KeyboardInterrupt`` while a cell runs, but never in the middle of a message.

    Attributes
    ----------
    active : bool
        Whether a cell runs, or a lookup, and nothing else on the event loop.
    """

    def __init__(self) -> None:
        self.active = False
        self._waiting = False
        self.elsewhere: Callable[[Optional[types.FrameType]], bool] = lambda _: False
        """While it is not active: whether it is to be raised all the same, in this frame."""
        self._main = _get_ident()
        self._guards = 0
        self._pending = False

    def begin(self) -> None:
        """Note that a cell is about to begin: until its own code runs an interrupt waits.

        What IPython does before that may swallow an exception.
        """
        self.active = self._waiting = True
        self._pending = False

    def code_begins(self) -> None:
        """Note that code of the cell's own is next. Raises ``KeyboardInterrupt`` where one has come before."""
        if self._waiting:
            self._waiting = False
            self._raise_if_pending()

    def end(self) -> None:
        """Note that the cell has ended."""
        self.active = self._waiting = False

    def handle(self, _: int = 0, frame: Optional[types.FrameType] = None) -> None:
        """Be the signal handler."""
        if self._guards or self._waiting:
            self._pending = True
        elif self._hits(frame):
            raise KeyboardInterrupt

    def _hits(self, frame: Optional[types.FrameType]) -> bool:
        return self.active or self.elsewhere(frame)

    def __enter__(self) -> None:
        if _get_ident() == self._main:
            self._guards += 1

    def __exit__(self, *_: Any) -> None:
        if _get_ident() != self._main:
            return
        self._guards -= 1
        if not self._guards and not self._waiting:
            self._raise_if_pending()

    def _raise_if_pending(self) -> None:
        pending, self._pending = self._pending, False
        if pending and self._hits(sys._getframe()):
            raise KeyboardInterrupt


class Outbox:
    """The worker's way out. Safe to use from any thread of this process, and from its forks."""

    def __init__(self, connection: socket.socket, acknowledgements: int) -> None:
        self.interrupts = Interrupts()
        self.running_id = ""
        """The cell that runs, if one does."""
        self._latest_id = ""
        self._max_output_bytes = MAX_BUFFERS_BYTES
        self._first_dir = _working_dir()
        self._cell_id: "contextvars.ContextVar[str]" = contextvars.ContextVar("cell_id")
        self._connection = connection
        self._acknowledgements = acknowledgements
        self.forked = False
        self._lock = threading.RLock()
        self._texts: Deque[Tuple[Tuple[str, str], str]] = deque()
        self._chars = 0
        self._window_s = 0.0
        self._lines = 0
        self._flusher: Optional[threading.Thread] = None
        self._wake = threading.Event()
        os.register_at_fork(after_in_child=self._go_silent)

    @property
    def parent_id(self) -> str:
        """The cell that what is said here and now belongs to, as ipykernel has it.

        A task belongs to the cell that has started it, by its context. A thread has none, and belongs to the latest.
        """
        return self._cell_id.get(self._latest_id)

    def begin(self, cell_id: str, max_output_bytes: int = MAX_BUFFERS_BYTES) -> None:
        """Note that a cell runs, in this context, and how much it may put out."""
        self._max_output_bytes = max_output_bytes
        self.running_id = self._latest_id = cell_id
        self.speak_for(cell_id)

    def speak_for(self, msg_id: str) -> None:
        """Note that what is said in this context belongs to a cell, or to a message of the page."""
        self._cell_id.set(msg_id)

    def end(self) -> None:
        """Note that it has ended; what it has left running still speaks in its name."""
        self.running_id = ""
        self.speak_for("")

    def _go_silent(self) -> None:
        """A fork of the worker has no voice of its own but descriptors 1 and 2."""
        self.forked = True

    def send(
        self,
        msg_type: str,
        content: Dict[str, Any],
        buffers: Tuple[bytes, ...] = (),
        msg_id: str = "",
        **metadata: Any,
    ) -> None:
        """Send a message in the name of a cell, after all text that came before it."""
        if self.forked:
            return
        try:
            frame = encode(Message(msg_type, content, self.parent_id, metadata, list(buffers), msg_id))
        except WireError as error:
            self.write("stderr", "[sandbox] %s was dropped: %s\n" % (msg_type, error))
            return
        with self.interrupts, self._lock:
            self._connection.sendall(self._take_texts() + frame)

    def show(self, msg_type: str, content: Dict[str, Any]) -> None:
        """Send an output. What is binary in its MIME bundle goes beside the JSON; the host makes base64 of it."""
        data = {mime: _binary(mime, value) for mime, value in content["data"].items()}
        buffers = {mime: value for mime, value in data.items() if isinstance(value, bytes)}
        rest = {mime: value for mime, value in data.items() if mime not in buffers}
        text = sum(len(value) for value in rest.values() if isinstance(value, str))
        if not self._fits(data, sum(map(len, buffers.values())), text):
            return
        paths = [["data", mime] for mime in buffers]
        self.send(msg_type, dict(content, data=rest), tuple(buffers.values()), buffer_paths=paths, **self.place())

    def place(self) -> Dict[str, str]:
        """Return where relative names begin now, as metadata; nothing where that is where the cells began."""
        now = _working_dir()
        return {} if now in ("", self._first_dir) else {"working_dir": now}

    def _fits(self, data: Dict[str, Any], binary: int, text: int) -> bool:
        """Whether an output is small enough to be sent; where it is not, say so, and what to do."""
        if binary + text <= self._max_output_bytes and binary <= MAX_BUFFERS_BYTES and text <= MAX_JSON_BYTES // 2:
            return True
        mime = max(data, key=lambda each: len(data[each]) if isinstance(data[each], (str, bytes)) else 0)
        most = self._max_output_bytes >> 20
        cure = 'a cell may put out %d MiB; raise it with Sandbox(max_output="%dm")' % (most, 2 * (binary + text) >> 20)
        if binary > MAX_BUFFERS_BYTES or text > MAX_JSON_BYTES // 2:
            limits = (MAX_BUFFERS_BYTES >> 20, MAX_JSON_BYTES >> 21)
            cure = "one output may have %d MiB of binary data and %d MiB of text; save it to a file" % limits
        self.write("stderr", "[sandbox] %s of %.1f MiB is not shown: %s.\n" % (mime, (binary + text) / 2**20, cure))
        return False

    def answer(self, request_id: str, msg_type: str, content: Dict[str, Any], buffers: Tuple[Any, ...] = ()) -> None:
        """Send the reply to a request that is no cell: no output belongs to it."""
        if self.forked:
            return
        parts = encode_parts(Message(msg_type, content, request_id, buffers=list(buffers)))
        with self.interrupts, self._lock:
            self._connection.sendall(self._take_texts() + parts[0])
            for buffer in parts[1:]:
                self._connection.sendall(buffer)

    def write(self, name: str, text: str) -> None:
        """Gather text of ``stdout`` or ``stderr``. Takes no lock: a deque's ends are safe, and cells print a lot."""
        if self.forked:
            _write(1 if name == "stdout" else 2, text.encode("utf-8", "replace"))
            return
        first = not self._texts
        self._texts.append(((self.parent_id, name), text))
        self._chars += len(text)
        if self._chars > _GATHER_CHARS or (text[-1] == "\n" and self._is_unhurried()):
            self.flush()
        elif first:
            self._flush_soon()

    def _is_unhurried(self) -> bool:
        """Whether few lines came lately: those go at once, so that they are not lost if the process is."""
        now_s = _monotonic()
        if now_s - self._window_s > _GATHER_S:
            self._window_s, self._lines = now_s, 0
        self._lines += 1
        return self._lines <= _LINES_AT_ONCE

    def flush(self) -> None:
        """Send what was gathered."""
        if not self.forked:
            with self.interrupts, self._lock:
                self._connection.sendall(self._take_texts())

    def deliver(self) -> None:
        """Send what was gathered and wait until the supervisor has read it."""
        if self.forked:
            return
        with self.interrupts, self._lock:
            if self._latest_id:
                self.send("sync", {})
                _read(self._acknowledgements, 1)

    def _take_texts(self) -> bytes:
        """Return the frames of what was gathered."""
        self._chars = 0
        texts = [self._texts.popleft() for _ in range(len(self._texts))]
        runs = itertools.groupby(texts, key=operator.itemgetter(0))
        return b"".join([frame for key, run in runs for frame in self._frames(key, "".join([t for _, t in run]))])

    def _frames(self, key: Tuple[str, str], text: str) -> Iterator[bytes]:
        parent_id, name = key
        for start in range(0, len(text), _MOST_CHARS):
            part = text[start : start + _MOST_CHARS]
            yield encode(Message("stream", {"name": name, "text": part}, parent_id))

    def _flush_soon(self) -> None:
        if self._flusher is None or not self._flusher.is_alive():
            self._flusher = _Thread(target=self._flush_for_ever, name="chorus-flush", daemon=True)
            self._flusher.start()
        self._wake.set()

    def _flush_for_ever(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            threading.Event().wait(_GATHER_S)
            try:
                self.flush()
            except OSError:
                return  # The supervisor is gone, and this process about to go.


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a cell. Its ``fileno`` and ``buffer`` are those of the real descriptor."""

    def __init__(self, name: str, outbox: Outbox) -> None:
        self.name = "<%s>" % name
        self._stream = name
        self._outbox = outbox
        self._fd = 1 if name == "stdout" else 2
        self.buffer = os.fdopen(os.dup(self._fd), "wb", 0)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        if text:
            self._outbox.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._outbox.flush()

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


def install(outbox: Outbox) -> Callable[[], None]:
    """Make the streams this process's, and see to the order; return what puts them back if a cell replaced them."""
    streams = {name: Stream(name, outbox) for name in ("stdout", "stderr")}

    def restore() -> None:
        for name, stream in streams.items():
            setattr(sys, name, stream)
            setattr(sys, "__%s__" % name, stream)

    def before_spawn(event: str, _: Any) -> None:
        if event in _SPAWNING:
            outbox.deliver()

    restore()
    sys.addaudithook(before_spawn)
    return restore
