"""What a sandbox says without being asked: that it is ready, what it uses, and what was printed outside of any cell."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pydantic import ValidationError

from .agent.wire import Message
from .sanitize import clean_text
from .telemetry import ResourceSample

SampleListener = Callable[[ResourceSample], None]

_LOG_PARTS = 2000
_LOG_PART_CHARS = 10_000


class Notices:
    """Keeps them for a session. Filled on the reading thread, read from any.

    Attributes
    ----------
    agent_info : Message or None
        The agent's first report; a later one is not believed.
    worker_ready : bool
        Whether a worker is there to run cells.
    generation : int
        Which worker that is: each that ended has made it larger, by the sandbox's word. A cell says which it is for.
    ended : bool
        Whether the container's stream has ended.
    last_sample : ResourceSample or None
        The latest reading of the cgroup.
    """

    def __init__(self) -> None:
        self.agent_info: Message | None = None
        self.worker_ready = False
        self.generation = 0
        self.ended = False
        self.last_sample: ResourceSample | None = None
        self._listeners: list[SampleListener] = []
        self._log: deque[str] = deque(maxlen=_LOG_PARTS)
        self._changed = threading.Condition()

    @property
    def log(self) -> str:
        """The last of what was printed outside of any cell, without terminal controls."""
        return "".join(self._log)

    def begin(self) -> None:
        """Forget what an earlier container said of itself; the log stays."""
        self.agent_info, self.worker_ready, self.generation, self.ended = None, False, 0, False

    def end(self) -> None:
        """Note that nothing more will come."""
        self.ended = True
        self.wake()

    def take(self, message: Message) -> None:
        """Take one message. Of a type that is not known here, nothing is taken."""
        if message.msg_type == "resource_sample":
            self._take_sample(message)
        elif message.msg_type == "stream":
            self.add_to_log(str(message.content.get("text"))[:_LOG_PART_CHARS])
        elif message.msg_type == "agent_info":
            self.agent_info = self.agent_info or message
        elif message.msg_type == "worker_ready":
            self.worker_ready = True
        elif message.msg_type == "worker_exit":
            generation = message.content.get("generation")
            self.generation = generation if type(generation) is int and 0 <= generation < 2**31 else 0
        self.wake()

    def add_to_log(self, text: str) -> None:
        """Keep text that belongs to no cell."""
        self._log.append(clean_text(text))

    def wake(self) -> None:
        """Have whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition`` holds; False where it did not in time."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def add_listener(self, listener: SampleListener) -> None:
        """Have ``listener`` called on the reading thread with each sample, about eight a second while a cell runs."""
        self._listeners.append(listener)

    def remove_listener(self, listener: SampleListener) -> None:
        """Take a listener away again."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _take_sample(self, message: Message) -> None:
        try:
            sample = ResourceSample.model_validate(message.content)
        except ValidationError:
            return
        self.last_sample = sample
        for listener in list(self._listeners):
            listener(sample)
