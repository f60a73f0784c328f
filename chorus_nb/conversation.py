"""Requests and answers over one byte stream: who waits for what, and what happens to all of them when it ends."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .agent.wire import Decoder, Message, WireError, encode_parts, new_id
from .engines.base import ByteStream
from .errors import AgentProtocolError
from .writer import Writer

MAX_WAITING_BYTES = 64 * 2**20
"""What may wait for one request to be taken: a notebook that asks its user takes nothing for hours."""

LONGEST_WAIT_S = 3600.0
"""No wait of the main thread is without an end: the kernel begins such a one anew after a signal where a library has
asked for that (``SA_RESTART`` of signal(7); polars does), and Python never hears of the Ctrl-C."""

_QUEUE_LENGTH = 256
_JSON_GROWTH = 16
"""As many bytes take the objects that one byte of JSON text makes, at worst: ``[[],[],...``."""
_POLL_S = 0.005
_LAST = ("execute_reply", "command_reply", "worker_exit")


class Signal(Enum):
    """What an exchange may hand out instead of a message."""

    ENDED = "ended"
    """The conversation is over: nothing will come any more."""
    WAKE = "wake"
    """Another thread has something to say to the one that waits."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask: a message type, its content and its buffers."""

    msg_type: str
    content: dict[str, Any]
    buffers: tuple[bytes, ...] = ()


class Exchange:
    """One request and what comes back for it, in order.

    Attributes
    ----------
    ending : bool
        Whether the last of it has come, though it may still wait to be taken.
    on_ending : callable
        Called when it has, on the reading thread.
    """

    def __init__(self, conversation: Conversation, msg_id: str) -> None:
        self.msg_id = msg_id
        self.ending = False
        self.on_ending: Callable[[], None] = lambda: None
        self._conversation = conversation
        self._items: deque[tuple[Message | Signal, int]] = deque()
        # One for each item, and only to wait for: taken first, so that a Ctrl-C just then loses no item with it.
        self._arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Each is counted by one thread only.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._closed = False

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._conversation.forget(self)

    def put(self, item: Message | Signal, size_bytes: int = 0) -> None:
        """Hand over an item, waiting while many or large ones wait already and somebody still wants them.

        A reader that can't hand over stops reading, and so the sandbox is held up, not the host's memory filled.
        """
        if item is Signal.ENDED or (isinstance(item, Message) and item.msg_type in _LAST):
            self.ending = True
            self.on_ending()
        while self._is_full and not (self._closed or self._conversation.draining):
            time.sleep(_POLL_S)
        if not self._is_full or item is Signal.ENDED:
            self._put_bytes += size_bytes
            self._add(item, size_bytes)

    def _add(self, item: Message | Signal, size_bytes: int = 0) -> None:
        self._items.append((item, size_bytes))
        self._arrivals.put(None)

    @property
    def _is_full(self) -> bool:
        return len(self._items) >= _QUEUE_LENGTH or self._put_bytes - self._taken_bytes >= MAX_WAITING_BYTES

    def wake(self) -> None:
        """Have :meth:`get` return soon."""
        self._add(Signal.WAKE)

    def get(self, timeout_s: float | None = None) -> Message | Signal:
        """Return the next item and take it out. Raises as :meth:`peek` does."""
        item = self.peek(timeout_s)
        self.take()
        return item

    def peek(self, timeout_s: float | None = None) -> Message | Signal:
        """Return the next item, which stays the next. Raises ``TimeoutError``; lets Ctrl-C through while it waits."""
        give_up_at_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = LONGEST_WAIT_S if give_up_at_s is None else max(0.0, give_up_at_s - time.monotonic())
            try:
                self._arrivals.get(block=not self._items, timeout=left_s)
            except queue.Empty:
                if not self._items and give_up_at_s is not None:
                    raise TimeoutError from None
            if self._items:
                return self._items[0][0]

    def take(self) -> None:
        """Take out what :meth:`peek` has returned."""
        self._taken_bytes += self._items.popleft()[1]


class Conversation:
    """The host's end of the stream, with one thread that takes its frames apart.

    Parameters
    ----------
    stream : ByteStream
        The stream; this object is the only one to use it from now on.
    on_unasked : callable
        Gets, on the reading thread, each message that answers nobody's request. Where it raises
        ``AgentProtocolError``, the stream is closed.
    on_end : callable
        Called once, on the reading thread, when the stream has ended; gets the protocol error that ended it, or None.
    """

    def __init__(
        self,
        stream: ByteStream,
        on_unasked: Callable[[Message], None],
        on_end: Callable[[AgentProtocolError | None], None],
    ) -> None:
        self._stream = stream
        self._on_unasked = on_unasked
        self._on_end = on_end
        self._exchanges: dict[str, Exchange] = {}
        self._lock = threading.Lock()
        self._writer = Writer(stream)
        self.ended = False
        self.draining = False
        self._thread = threading.Thread(target=self._read, name="chorus-reader", daemon=True)
        self._thread.start()

    def ask(self, request: Request) -> Exchange:
        """Send a request. On a stream that has ended, the exchange says so at once."""
        message = Message(request.msg_type, request.content, buffers=list(request.buffers), msg_id=new_id())
        exchange = Exchange(self, message.msg_id)
        with self._lock:
            self._exchanges[exchange.msg_id] = exchange
            ended = self.ended
        if ended:
            exchange.put(Signal.ENDED)
        else:
            # Where that fails the stream is at its end, and the reading thread is about to say so.
            self._send(message)
        return exchange

    def answer(self, request: Request, reply_type: str, timeout_s: float) -> Message | None:
        """Send a request that runs no code and wait for its reply; None where the stream ends first.

        Raises
        ------
        TimeoutError
            There was none in time.
        AgentProtocolError
            It is of another type than ``reply_type``.
        """
        with self.ask(request) as exchange:
            try:
                item = exchange.get(timeout_s)
            except BaseException:
                # Looking something up may run code that does not end; other requests are not touched by this.
                self.tell(Request("interrupt_request", {"execution_id": exchange.msg_id}))
                raise
        if isinstance(item, Signal):
            return None
        if item.msg_type != reply_type:
            raise AgentProtocolError(
                f"The sandbox answered {request.msg_type} with {item.msg_type!r}.", next_step="Restart the session."
            )
        return item

    def tell(self, request: Request, parent_id: str = "", msg_id: str = "") -> None:
        """Send a request, or an answer to ``parent_id``, and wait for nothing; a stream that has ended is no error."""
        buffers = list(request.buffers)
        self._send(Message(request.msg_type, request.content, parent_id, buffers=buffers, msg_id=msg_id or new_id()))

    def forget(self, exchange: Exchange) -> None:
        """Wait for no more answers to a request."""
        with self._lock:
            self._exchanges.pop(exchange.msg_id, None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the stream; False where it did not come in time."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return self.ended

    def drain(self) -> None:
        """Drop from now on what does not fit any more, and hold nobody up: the container is about to be killed.

        Docker does not finish to kill a container while what it wrote can't be handed over.
        """
        self.draining = True

    def _send(self, message: Message) -> None:
        self._writer.put(encode_parts(message))

    def _read(self) -> None:
        error = None
        try:
            self._dispatch(iter(self._stream.receive, b""))
        except WireError as broken:
            error = AgentProtocolError(
                f"The sandbox sent something that is not our protocol ({broken}).",
                next_step="It was ended, and nothing it sent was used. Run the cell again to start a new one.",
            )
            self._stream.close()
        except AgentProtocolError as malformed:
            error = malformed
            self._stream.close()
        except Exception as failure:  # Whatever it is: a reader that is simply gone leaves everybody waiting.
            error = AgentProtocolError(
                f"The sandbox sent something that can't be handled ({type(failure).__name__}).",
                next_step="It was ended. Run the cell again to start a new one.",
            )
            error.__cause__ = failure
            self._stream.close()
        self._writer.close()
        try:
            # First whoever made this, so that those who wait, now or from here on, find everything settled.
            self._on_end(error)
        finally:
            with self._lock:
                self.ended = True
                waiting = list(self._exchanges.values())
            for exchange in waiting:
                exchange.put(Signal.ENDED)

    def _dispatch(self, parts: Iterable[bytes]) -> None:
        decoder = Decoder()
        for part in parts:
            for message, frame in decoder.feed(part):
                with self._lock:
                    exchange = self._exchanges.get(message.parent_id)
                if exchange is None or exchange.ending or message.msg_type == "resource_sample":
                    self._on_unasked(message)
                else:
                    exchange.put(message, _size_bytes(message, frame))


def _size_bytes(message: Message, frame: bytes) -> int:
    buffers = sum(map(len, message.buffers))
    return buffers + _JSON_GROWTH * (len(frame) - buffers)
