"""The widgets of a session in the page of this kernel: told as they change, heard when somebody moves them.

Every model of the sandbox gets a comm of this kernel. It is no ipykernel comm but a plain one: so what the page says
arrives on the thread that the front end chose for it, also while a cell blocks the main one. For a page that is loaded
anew the models stand among ipywidgets' own, where the kernel answers ``request_states`` from.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import comm
from comm.base_comm import BaseComm
from IPython import get_ipython

from .agent.wire import Message, WireError, new_id
from .buffers import with_buffers
from .conversation import Request
from .displayed import DisplayedFiles
from .errors import AgentProtocolError
from .held_outputs import HeldOutputs
from .in_order import InOrder
from .outputs import OutputFilter
from .publishing import Publisher
from .session import Session
from .widget_messages import split_buffers
from .widgets import COMM_TYPES, TARGET, Model, Models, Told

MAX_PARENTS = 512
"""Messages of which it is remembered in whose name the sandbox answers."""
BURST = 1000
RATE_PER_S = 800
"""Messages to the page at once, and in the long run: Jupyter's server drops what comes faster than 1000 a second."""
BYTES_PER_TOKEN = 4096
_FLUSH_S = 0.1
HEARD_TIMEOUT_S = 600.0
"""How long a callback of a widget may run before the next message of the page is sent, as a kernel would have it."""
_PROTOCOL_VERSION = "2.1.0"


def relay_of(session: Session) -> Relay | None:
    """Return what shows the session's widgets, where there is a page to show them."""
    shell = get_ipython()
    has_comms = hasattr(getattr(shell, "kernel", None), "comm_manager")
    if session.shown.widget_relay is None and has_comms:
        session.shown.widget_relay = Relay(session, shell)
    return session.shown.widget_relay if isinstance(session.shown.widget_relay, Relay) else None


class Relay:
    """Shows the widgets of one session.

    Parameters
    ----------
    session : Session
    shell : InteractiveShell
        One with a kernel.
    """

    def __init__(self, session: Session, shell: Any) -> None:
        self._session = session
        self._shell = shell
        self._lock = threading.RLock()
        self._models = Models(session.config.output.max_bytes, self._clean_output, self._page_message_id)
        self._comms: dict[str, _PageComm] = {}
        self._cell = Publisher(shell, {})
        self._parents: OrderedDict[str, _Parent] = OrderedDict()
        self._held = _held_outputs(session)
        self._in_order = InOrder(self._has_to_wait, self._take)
        self._flow = _Flow()
        self._pending: dict[str, set[str]] = {}
        self._flusher: threading.Timer | None = None

    # The cell

    def begin_cell(self, mode: str) -> Callable[[Message], bool]:
        """Tell of widgets in the name of the cell that runs now.

        Parameters
        ----------
        mode : str
            The cell's output policy. Widgets that are made in a cell of the mode ``trusted`` show as they are.

        Returns
        -------
        callable
            Publishes what an ``Output`` widget takes; False where none does.
        """
        self._cell = publisher = Publisher(self._shell)
        self._models.trusting = mode == "trusted"

        def capture(message: Message) -> bool:
            with self._lock:
                captured = self._models.takes(publisher.message_id, message.msg_type)
            if captured:
                publisher.publish(message.msg_type, message.content)
            return captured

        return capture

    def end_cell(self) -> str:
        """Tell what was held back; return what to say of what was refused."""
        with self._lock:
            self._flush()
            self._models.trusting = False
            return self._models.not_shown.notice()

    # From the sandbox

    def take(self, message: Message, may_wait: bool = False) -> bool:
        """Take a comm message, or the output of a widget's callback, now or after those that wait for files."""
        parent = self._parents.get(message.parent_id)
        if message.msg_type not in COMM_TYPES and (parent is None or parent.outputs is None):
            return False
        self._in_order.put(message, may_wait)
        return True

    def _take(self, message: Message) -> None:
        if message.msg_type in COMM_TYPES:
            whole = self._held.with_files(message) if self._held else message
            with self._lock:
                told = self._models.admit(self._remembered(whole))
                if told is not None:
                    self._tell(told, self._publisher(message.parent_id))
            return
        parent = self._parents.get(message.parent_id)
        if parent is None or parent.outputs is None:
            return
        if message.msg_type == "status":
            parent.heard.set()
        else:
            self._show(message, parent.publisher, parent.outputs)

    def _has_to_wait(self, message: Message) -> bool:
        """Whether files have to be read for a message of the sandbox."""
        parent = self._parents.get(message.parent_id)
        if message.msg_type in COMM_TYPES:
            return self._held is not None and self._held.name_files(message)
        return parent is not None and parent.outputs is not None and parent.outputs.names_files(message)

    def view(self, value: Any) -> dict[str, Any] | None:
        """Return what shows a widget in the page."""
        with self._lock:
            return self._models.view(value)

    def close(self) -> None:
        """Close every widget in the page."""
        with self._lock:
            for model in self._models.close():
                self._tell(Told(model, "close"), self._cell)
            self._pending.clear()
            for parent in self._parents.values():
                parent.heard.set()

    def _remembered(self, message: Message) -> Message:
        """Note in which cell's name a message was sent: ``Output`` asks for that by the id which the sandbox knows."""
        if message.parent_id and message.parent_id not in self._parents:
            self._remember(message.parent_id, _Parent(self._cell, None))
        return message

    def _remember(self, msg_id: str, parent: _Parent) -> None:
        self._parents[msg_id] = parent
        while len(self._parents) > MAX_PARENTS:
            self._parents.popitem(last=False)

    def _publisher(self, parent_id: str) -> Publisher:
        parent = self._parents.get(parent_id)
        return parent.publisher if parent else self._cell

    def _page_message_id(self, msg_id: str) -> str:
        parent = self._parents.get(msg_id)
        return parent.publisher.message_id if parent else ""

    def _show(self, message: Message, publisher: Publisher, outputs: OutputFilter) -> None:
        admitted = outputs.admit(outputs.with_files(with_buffers(message)))
        if admitted:
            with self._lock:
                self._models.takes(publisher.message_id, message.msg_type)
            publisher.publish(admitted.msg_type, admitted.content)

    def _clean_output(self, output: dict[str, Any]) -> dict[str, Any] | None:
        content = {key: value for key, value in output.items() if key != "output_type"}
        try:
            admitted = self._session.shown.output_filter().admit(Message(str(output.get("output_type")), content))
        except AgentProtocolError:
            return None
        return {"output_type": output["output_type"], **admitted.content} if admitted else None

    # To the page

    def _tell(self, told: Told, publisher: Publisher) -> None:
        model = told.model
        if told.method == "open":
            self._flow.wait()
            self._open(model)
        if told.method in ("update", "echo_update") and model.name != "OutputModel" and not self._flow.free():
            self._pending.setdefault(model.page_id, set()).update(told.state)
            self._flush_soon()
        elif told.method != "custom" or self._flow.free():
            self._publish(told, publisher)
        if told.method == "close":
            self._forget(model)

    def _publish(self, told: Told, publisher: Publisher) -> None:
        content: dict[str, Any] = {"comm_id": told.model.page_id}
        buffers = told.buffers
        if told.method == "custom":
            content["data"] = {"method": "custom", **told.state}
        elif told.method == "close":
            content["data"] = {}
        else:
            held_back = self._pending.pop(told.model.page_id, set())
            whole = {**{key: told.model.state[key] for key in held_back}, **told.state}
            state, paths, buffers = split_buffers(whole)
            content["data"] = {"state": state, "buffer_paths": paths}
            content["data"] |= {} if told.method == "open" else {"method": told.method}
        metadata = {}
        if told.method == "open":
            content["target_name"] = TARGET
            metadata["version"] = _PROTOCOL_VERSION
        self._flow.spend(sum(map(len, buffers)))
        kind = {"open": "comm_open", "close": "comm_close"}.get(told.method, "comm_msg")
        publisher.publish(kind, content, metadata, buffers)

    def _open(self, model: Model) -> None:
        page_comm = self._comms[model.page_id] = _PageComm(model.page_id, self._hear)
        comm.get_comm_manager().register_comm(page_comm)
        registry = _registry()
        if registry is not None:
            registry[model.page_id] = _Mirror(model)

    def _forget(self, model: Model) -> None:
        page_comm = self._comms.pop(model.page_id, None)
        if page_comm is not None and model.page_id in comm.get_comm_manager().comms:
            comm.get_comm_manager().unregister_comm(page_comm)
        registry = _registry()
        if registry is not None:
            registry.pop(model.page_id, None)
        self._pending.pop(model.page_id, None)

    def _flush_soon(self) -> None:
        if self._flusher is None or not self._flusher.is_alive():
            self._flusher = threading.Timer(_FLUSH_S, self._flush_later)
            self._flusher.daemon = True
            self._flusher.start()

    def _flush_later(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        """Tell the latest of what was held back while too much came at once."""
        for page_id in list(self._pending):
            model = self._models.by_page_id(page_id)
            if model:
                self._publish(Told(model, "update"), self._cell)
        self._pending.clear()

    # From the page

    def _hear(self, message: Mapping[str, Any], kind: str) -> None:
        content, buffers = message["content"], [bytes(buffer) for buffer in message.get("buffers") or ()]
        publisher = Publisher(self._shell, message)
        page_id, data = content["comm_id"], content.get("data") or {}
        with self._lock:
            model = self._models.by_page_id(page_id)
            if model and kind == "comm_msg" and data.get("method") == "request_state":
                self._publish(Told(model, "update", dict(model.state)), publisher)
                return
            sent = self._models.to_sandbox(page_id, data, buffers)
            if model and kind == "comm_close":
                self._models.forget(model)
                self._forget(model)
            msg_id, parent = new_id(), _Parent(publisher, self._session.shown.output_filter())
            self._remember(msg_id, parent)
        if sent is not None and self._send(Request(kind, sent, tuple(buffers)), msg_id, publisher):
            # A front end takes output in the name of a message until the kernel is idle again.
            parent.heard.wait(HEARD_TIMEOUT_S)

    def _send(self, request: Request, msg_id: str, publisher: Publisher) -> bool:
        try:
            self._session.tell_comm(request, msg_id)
        except WireError as error:
            text = f"[sandbox] What was put into a widget did not go to the sandbox: {error}.\n"
            publisher.publish("stream", {"name": "stderr", "text": text})
            return False
        return True


def _held_outputs(session: Session) -> HeldOutputs | None:
    policy = session.config.output
    return None if policy.mode == "text" else HeldOutputs(DisplayedFiles(session), policy.max_bytes)


class _Parent:
    """In whose name the sandbox answers to a message; for one of the page, also what the output has to pass."""

    def __init__(self, publisher: Publisher, outputs: OutputFilter | None) -> None:
        self.publisher = publisher
        self.outputs = outputs
        self.heard = threading.Event()


class _PageComm(BaseComm):  # type: ignore[misc]
    """This kernel's end of the comm of one widget of a sandbox."""

    def __init__(self, comm_id: str, hear: Callable[[Mapping[str, Any], str], None]) -> None:
        super().__init__(target_name=TARGET, comm_id=comm_id, primary=False)
        self._hear = hear

    def publish_msg(self, *_: Any, **__: Any) -> None:
        """Say nothing of its own."""

    def handle_msg(self, msg: dict[str, Any]) -> None:
        """Pass on what the page says; no code of this kernel runs for it, so no events do either."""
        self._hear(msg, "comm_msg")

    def handle_close(self, msg: dict[str, Any]) -> None:
        """Pass on that the page closed it."""
        self._hear(msg, "comm_close")


class _Mirror:
    """A widget of a sandbox as ipywidgets asks its own: for a page that is loaded anew."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.model_id = model.page_id
        self._model_name = model.state["_model_name"]
        self._model_module = model.state["_model_module"]
        self._model_module_version = model.state["_model_module_version"]

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return what the page was told last."""
        return dict(self._model.state)

    def _get_embed_state(self, drop_defaults: bool = False) -> dict[str, Any]:
        state, _, _ = split_buffers(self.get_state())
        names = {name: getattr(self, f"_{name}") for name in ("model_name", "model_module", "model_module_version")}
        return {**names, "state": state}

    def close(self) -> None:
        """Stay: ``Widget.close_all()`` is for the notebook's own widgets."""


def _registry() -> dict[str, Any] | None:
    """Return where ipywidgets keeps its widgets by id."""
    import ipywidgets  # noqa: F401  # (registers the target of request_states, too)

    return getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", None)


class _Flow:
    """How much may be told to the page now: a token a message, and one for every :data:`BYTES_PER_TOKEN` of it."""

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._at_s = time.monotonic()

    def free(self) -> bool:
        """Whether there are tokens."""
        now_s = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now_s - self._at_s) * RATE_PER_S)
        self._at_s = now_s
        return self._tokens > 0

    def spend(self, size_bytes: int) -> None:
        """Take what one message of that many bytes costs."""
        self._tokens -= 1 + size_bytes // BYTES_PER_TOKEN

    def wait(self) -> None:
        """Wait a moment where there are none: for what can't be put together with what comes later."""
        if not self.free():
            time.sleep(2 / RATE_PER_S)
