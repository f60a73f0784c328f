"""What processes of the sandbox put out, on its way to the host: no more than that takes, and no more than a cell may.

Everything that can flood us sits in a selector of its own, which is itself one entry of the loop's (epolls nest) and is
taken out while the host does not keep up. Requests never wait behind output.
"""

import selectors
from typing import Optional

from .commands import Execution
from .late import Late
from .pump import Outlet, TextPipes
from .wire import Message, encode


class Flow:
    """Listens to those who can flood us only while the host takes what they say.

    Attributes
    ----------
    sources : selector
        Where they are registered, each with what to call.
    """

    def __init__(self, loop: selectors.BaseSelector, host: Outlet, late: Late) -> None:
        self.sources = selectors.DefaultSelector()
        self._loop = loop
        self._host = host
        self._late = late
        self._flowing = False

    def regulate(self) -> None:
        """Listen, or do not, by what waits for the host now."""
        if self._flowing == (not self._host.full):
            return
        self._flowing = not self._flowing
        if self._flowing:
            self._loop.register(self.sources, selectors.EVENT_READ, self._read)
        else:
            self._loop.unregister(self.sources)

    def _read(self) -> None:
        for key, _ in self.sources.select(0):
            if self._host.full:
                return
            key.data()

    def read_pipe(self, pipes: TextPipes, name: str, execution: Optional[Execution]) -> bool:
        """Pass on what is in one of the pipes of a process, in the name of what runs; False where nothing was."""
        text = pipes.read(name)
        if text and (execution is None or execution.admits(len(text))):
            parent_id = execution.msg_id if execution else ""
            self._host.put_later(encode(Message("stream", {"name": name, "text": text}, parent_id)))
        elif text and execution:
            self._late.say_dropped(execution)
        return bool(text)

    def drain(self, pipes: TextPipes, execution: Optional[Execution]) -> None:
        """Take what was written to the descriptors before what was sent as a message, so that both stay in order."""
        for name in ("stdout", "stderr"):
            while not self._host.full and self.read_pipe(pipes, name, execution):
                pass
