"""Comms of the sandbox: how widgets that a cell makes talk to their views in the page, and the page to them.

ipywidgets opens its comms by the ``comm`` package, which leaves it to the kernel what a comm is. Here a comm's messages
leave by the worker's outbox, in order with everything else. What the page says comes by a socket of its own that a
thread reads, so that a slider is heard also while a cell runs. Both are made when they are first needed.
"""

import importlib.util
import socket
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

from .streams import Outbox
from .wire import Decoder, Message

_FROM_PAGE = ("comm_msg", "comm_close")


class Kernel:
    """What libraries look for at ``get_ipython().kernel``."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    @property
    def comm_manager(self) -> Any:
        """The comm manager of the process."""
        import comm

        return comm.get_comm_manager()

    def get_parent(self, channel: Optional[str] = None) -> Dict[str, Any]:
        """Return the message that is being worked on, as far as anybody here needs it: its id."""
        return {"header": {"msg_id": self._outbox.parent_id}} if self._outbox.parent_id else {}

    @property
    def _parent_header(self) -> Dict[str, Any]:
        """What ipywidgets 7 looks at."""
        return self.get_parent()


class Comms:
    """The worker's comms.

    Parameters
    ----------
    outbox : Outbox
        The way out.
    connection : socket
        The way in, for nothing else.
    """

    def __init__(self, outbox: Outbox, connection: socket.socket) -> None:
        self._outbox = outbox
        self._connection = connection
        self._thread: Optional[threading.Thread] = None
        self._manager: Any = None
        self._comm: Any = None

    def install(self) -> None:
        """Be what the ``comm`` package makes, also where a cell has imported a kernel that put its own comms there."""
        package = sys.modules.get("comm")
        if package is not None:
            self._take_over(package)
        elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
            sys.meta_path.insert(0, _AfterImport("comm", self._take_over))

    def _take_over(self, package: Any) -> None:
        if self._manager is None:
            self._comm = _comm_class(package.base_comm.BaseComm, self._publish)
            self._manager = package.base_comm.CommManager()
        package.create_comm = self._comm
        package.get_comm_manager = lambda: self._manager

    def _publish(self, msg_type: str, content: Dict[str, Any], metadata: Dict[str, Any], buffers: List[bytes]) -> None:
        self._listen()
        self._outbox.send(msg_type, content, tuple(buffers), **dict(metadata, **self._outbox.place()))

    def _listen(self) -> None:
        if not self._outbox.forked and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._read, name="chorus-comms", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        decoder = Decoder()
        for data in iter(lambda: self._connection.recv(2**18), b""):
            for message, _ in decoder.feed(data):
                self._handle(message)

    def _handle(self, message: Message) -> None:
        """Hand a message of the page to its comm; what callbacks put out belongs to the message."""
        if message.msg_type not in _FROM_PAGE:
            return
        parts = {
            "header": {"msg_id": message.msg_id, "msg_type": message.msg_type},
            "parent_header": {},
            "metadata": message.metadata,
            "content": message.content,
            "buffers": [memoryview(buffer) for buffer in message.buffers],
        }
        self._outbox.speak_for(message.msg_id)
        try:
            getattr(self._manager, message.msg_type)(None, None, parts)
        except Exception:  # The manager logs what callbacks raise; this is a message for a comm that is none.
            sys.excepthook(*sys.exc_info())
        finally:
            # As a kernel says it: from here on nothing more comes in this message's name.
            self._outbox.answer(message.msg_id, "status", {"execution_state": "idle"})


def _comm_class(base: Any, publish: Callable[..., None]) -> Any:
    class SandboxComm(base):  # type: ignore[misc]
        """A comm whose other end is the page."""

        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            content = dict(keys, data=data or {}, comm_id=self.comm_id)
            publish(msg_type, content, metadata or {}, [memoryview(buffer).tobytes() for buffer in buffers or ()])

    return SandboxComm


class _AfterImport:
    """Calls a function with a package as soon as somebody has imported it (``sys.meta_path``)."""

    def __init__(self, name: str, call: Callable[[Any], None]) -> None:
        self._name = name
        self._call = call

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_call(module: Any) -> None:
                execute(module)
                self._call(module)

            spec.loader.exec_module = execute_and_call  # type: ignore[method-assign]
        return spec
