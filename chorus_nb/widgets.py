"""The widgets of one sandbox, as the notebook page may have them.

A sandbox says what widgets it has by comm messages, and everything it says is hostile. Each of its models gets an id of
its own in the page, which nothing in the sandbox knows: so it can address its own and no other, not the notebook's, not
another session's. Only standard models pass, with the values that :mod:`chorus_nb.widget_state` lets through, up to
a number of models and of bytes. What was let through is kept, for a page that is loaded anew.

Pure: knows no comm, no kernel and no front end.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from .agent.wire import Message
from .widget_messages import REFERENCE, replace_ids, size_bytes, with_buffers
from .widget_notice import NotShown
from .widget_state import (
    BOXES,
    DROP,
    IDENTITY,
    LINKS,
    MAX_ITEMS,
    STYLES,
    clean_value,
    description_markup,
    is_figure,
    standard_identity,
)

COMM_TYPES = ("comm_open", "comm_msg", "comm_close")
TARGET = "jupyter.widget"
VIEW = "application/vnd.jupyter.widget-view+json"
MAX_MODELS = 5000
MAX_NESTING = 40
MAX_VIEWS = 20_000
"""Widgets inside widgets, counted as often as they are seen: a page draws each."""

_METHODS = ("update", "echo_update")


class WidgetRelay(Protocol):
    """Who shows a session's widgets; a session without one has no widgets."""

    def take(self, message: Message, may_wait: bool = False) -> bool:
        """Take a comm message, or an output of a widget's callback; False for anything else. From any thread.

        It is done with it when it returns where it ``may_wait``. The reading thread must not, as files come on it.
        """
        ...

    def view(self, value: Any) -> dict[str, Any] | None:
        """Return what shows a widget in the page, from what the sandbox sent to show it."""
        ...

    def close(self) -> None:
        """Close every widget: the process that had them is gone."""
        ...


OutputCleaner = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Takes one output of an ``Output`` widget; returns it as it may be shown."""


@dataclass
class Model:
    """One widget.

    Attributes
    ----------
    page_id : str
        Its id in the page.
    trusted : bool
        Whether what it holds passes as it is.
    state : dict
        What the page was told of it, with ``bytes`` where buffers are.
    sizes : dict
        What each value of the state takes, in bytes.
    inside : list of str
        Ids of the widgets that are drawn inside of this one.
    opened : bool
        Whether others may hold it by now.
    """

    page_id: str
    name: str
    trusted: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)
    opened: bool = False

    @property
    def size_bytes(self) -> int:
        """What its state takes."""
        return sum(self.sizes.values())


@dataclass(frozen=True, slots=True)
class Told:
    """What to tell the page of a widget.

    Attributes
    ----------
    method : str
        ``open``, ``update``, ``echo_update``, ``custom`` or ``close``.
    state : dict
        What is new of its state, with ``bytes`` where buffers are; for ``custom`` the data itself.
    """

    model: Model
    method: str
    state: dict[str, Any] = field(default_factory=dict)
    buffers: list[bytes] = field(default_factory=list)


class Models:
    """Every widget of one session.

    Parameters
    ----------
    max_bytes : int
        What the states of all together may take.
    clean_output : callable
        The output policy, for what an ``Output`` widget holds.
    page_message_id : callable
        Takes the id of a request to the sandbox; returns that of the message of the page which caused it, or ``""``.

    Attributes
    ----------
    trusting : bool
        Let every model that is opened now, and whatever it holds, through as it is.
    not_shown : NotShown
        What was refused, and the reader is to be told of.
    """

    def __init__(
        self,
        max_bytes: int,
        clean_output: OutputCleaner,
        page_message_id: Callable[[str], str],
    ) -> None:
        self._max_bytes = max_bytes
        self._clean_output = clean_output
        self._page_message_id = page_message_id
        self.trusting = False
        self.not_shown = NotShown(MAX_MODELS, max_bytes)
        self._models: dict[str, Model] = {}
        self._inner_ids: dict[str, str] = {}
        self._bytes = 0

    def __iter__(self) -> Iterator[Model]:
        return iter(list(self._models.values()))

    def by_page_id(self, page_id: str) -> Model | None:
        """Return the model with that id in the page."""
        return self._models.get(self._inner_ids.get(page_id, ""))

    def view(self, value: Any) -> dict[str, Any] | None:
        """Return what shows one of these widgets, from what the sandbox sent to show it; None where it can't be."""
        model = self._models.get(str(value.get("model_id"))) if isinstance(value, dict) else None
        if model is None or model.state.get("_view_name") is None:
            return None
        if not all(self._may_hold(output, [*output.inside, model.page_id]) for output in self._taking):
            return None
        return {"version_major": 2, "version_minor": 0, "model_id": model.page_id}

    def takes(self, page_message_id: str, msg_type: str) -> bool:
        """Whether an ``Output`` widget takes what is put out in the name of that message."""
        taking = [output for output in self._taking if output.state["msg_id"] == page_message_id]
        if msg_type == "clear_output":
            for output in taking:
                output.inside = []
        return bool(taking)

    @property
    def _taking(self) -> list[Model]:
        return [model for model in self if model.name == "OutputModel" and model.state.get("msg_id")]

    # From the sandbox

    def admit(self, message: Message) -> Told | None:
        """Take a ``comm_open``, ``comm_msg`` or ``comm_close``.

        Returns
        -------
        Told or None
            What to tell the page, or None where it must hear nothing of it.
        """
        try:
            return self._admit(message)
        except RecursionError:  # Lists in lists without end.
            return None

    def _admit(self, message: Message) -> Told | None:
        comm_id, data = message.content.get("comm_id"), message.content.get("data")
        if not isinstance(comm_id, str) or not 0 < len(comm_id) <= 128 or not isinstance(data, dict):
            return None
        if message.msg_type == "comm_open":
            return self._open(comm_id, message, data)
        model = self._models.get(comm_id)
        if model is None:
            return None
        if message.msg_type == "comm_close":
            self.forget(model)
            return Told(model, "close")
        return self._told(model, data, message.buffers)

    def _open(self, comm_id: str, message: Message, data: dict[str, Any]) -> Told | None:
        sent = with_buffers(data, message.buffers)
        if comm_id in self._models or message.content.get("target_name") != TARGET or sent is None:
            return None
        identity = {key: sent.get(key) for key in IDENTITY} if self.trusting else standard_identity(sent)
        if identity is None:
            self.not_shown.add_kind(sent)
            return None
        if len(self._models) >= MAX_MODELS:
            self.not_shown.models += 1
            return None
        model = Model(uuid.uuid4().hex, str(identity["_model_name"]), self.trusting)
        self._models[comm_id], self._inner_ids[model.page_id] = model, comm_id
        model.state.update(identity)
        told = Told(model, "open", {**identity, **self._update(model, sent)})
        model.opened = True
        return told

    def forget(self, model: Model) -> None:
        """Know a widget no longer: it was closed."""
        del self._models[self._inner_ids.pop(model.page_id)]
        self._bytes -= model.size_bytes

    def _told(self, model: Model, data: dict[str, Any], buffers: list[bytes]) -> Told | None:
        method = data.get("method")
        if method == "custom":
            content = data.get("content")
            passes = model.trusted or content in ({"do": "focus"}, {"do": "blur"})
            return Told(model, "custom", {"content": content}, buffers) if passes else None
        sent = with_buffers(data, buffers) if method in _METHODS else None
        if sent is None:
            return None
        if method == "echo_update":
            sent.pop("outputs", None)  # The page has made these itself.
        state = self._update(model, sent)
        return Told(model, str(method), state) if state else None

    def _update(self, model: Model, sent: dict[str, Any]) -> dict[str, Any]:
        """Clean what the sandbox says of a model and keep it; return what of it to tell the page."""
        clean = self._translate if model.trusted else lambda key, value: self._clean(model, key, value)
        named = {key: clean(key, value) for key, value in sent.items() if isinstance(key, str) and key not in IDENTITY}
        state = {key: value for key, value in named.items() if value is not DROP}
        if not model.trusted and {**model.state, **state}.get("description_allow_html"):
            # Whichever of the two came later, the page reads the description as markup now.
            written = sent.get("description", model.state.get("description"))
            state["description"] = description_markup(written) if isinstance(written, str) else ""
        return self._keep(model, state)

    def _keep(self, model: Model, state: dict[str, Any]) -> dict[str, Any]:
        kept = {}
        for key, value in state.items():
            size = size_bytes(value)
            growth = size - model.sizes.get(key, 0)
            if growth > 0 and self._bytes + growth > self._max_bytes:
                self.not_shown.values += 1
                continue
            self._bytes += growth
            model.sizes[key] = size
            model.state[key] = kept[key] = value
        return kept

    # Values that name other widgets

    def _clean(self, model: Model, key: str, value: Any) -> Any:
        if key in ("layout", "style"):
            return self._reference(value, lambda name: name == "LayoutModel" if key == "layout" else name in STYLES)
        if key == "children" and model.name in BOXES:
            return self._children(model, value)
        if key in ("source", "target") and model.name in LINKS:
            return self._end_of_link(value)
        if model.name == "OutputModel" and key == "msg_id":
            return self._page_message_id(value) if isinstance(value, str) else DROP
        if model.name == "OutputModel" and key == "outputs":
            return self._outputs(model, value)
        return clean_value(model.name, key, value)

    def _reference(self, value: Any, fits: Callable[[str], bool]) -> Any:
        model = self._named(value)
        return REFERENCE + model.page_id if model and fits(model.name) else DROP

    def _named(self, value: Any) -> Model | None:
        is_reference = isinstance(value, str) and value.startswith(REFERENCE)
        return self._models.get(value[len(REFERENCE) :]) if is_reference else None

    def _children(self, model: Model, value: Any) -> Any:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            return DROP
        children = [self._reference(each, lambda name: name not in STYLES | LINKS | {"LayoutModel"}) for each in value]
        children = [child for child in children if child is not DROP]
        return children if self._may_hold(model, [child[len(REFERENCE) :] for child in children]) else DROP

    def _may_hold(self, model: Model, page_ids: list[str]) -> bool:
        """Whether a widget may hold these: none is inside itself then, and none holds more than a page can draw."""
        before, model.inside = model.inside, page_ids
        # What is new is inside of no other yet.
        roots = [each for each in self if each.inside] if model.opened else [model]
        drawable = can_be_drawn((root.page_id for root in roots), self._inside)
        model.inside = page_ids if drawable else before
        self.not_shown.values += not drawable
        return drawable

    def _inside(self, page_id: str) -> list[str]:
        model = self.by_page_id(page_id)
        return model.inside if model else []

    def _end_of_link(self, value: Any) -> Any:
        """Let the page copy numbers from widget to widget and nothing else: text of one is markup of another."""
        model = self._named(value[0]) if isinstance(value, list) and len(value) == 2 else None
        fits = model is not None and isinstance(value[1], str) and is_figure(model.name, value[1])
        return [REFERENCE + model.page_id, value[1]] if model and fits else None

    def _outputs(self, model: Model, value: Any) -> Any:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            return DROP
        # What came from the page passes back as it is: it was cleaned when it went there.
        known = {json.dumps(each) for each in model.state.get("outputs", [])}
        translated = [(each, self._to_page(each)) for each in value if isinstance(each, dict)]
        cleaned = [page if json.dumps(page) in known else self._clean_output(each) for each, page in translated]
        outputs = [each for each in cleaned if each is not None]
        return outputs if self._may_hold(model, _views_in(outputs)) else DROP

    def _translate(self, key: str, value: Any) -> Any:
        return self._page_message_id(value) if key == "msg_id" and isinstance(value, str) else self._to_page(value)

    def _to_page(self, value: Any) -> Any:
        return replace_ids(value, lambda text: self._models[text].page_id if text in self._models else None)

    def _from_page(self, value: Any) -> Any:
        return replace_ids(value, self._inner_ids.get)

    # From the page

    def to_sandbox(self, page_id: str, data: dict[str, Any], buffers: list[bytes]) -> dict[str, Any] | None:
        """Return the content of the ``comm_msg`` to send for one that the page sent, and keep what it says."""
        model, inner_id = self.by_page_id(page_id), self._inner_ids.get(page_id)
        if model is None:
            return None
        state = with_buffers(data, buffers) if data.get("method") == "update" else None
        if state and model.name != "FileUploadModel":
            self._keep(model, {key: value for key, value in state.items() if key not in IDENTITY})
        return {"comm_id": inner_id, "data": self._from_page(data)}

    def close(self) -> list[Model]:
        """Forget all; return what there was."""
        models = list(self)
        self._models, self._inner_ids, self._bytes = {}, {}, 0
        return models


def can_be_drawn(roots: Iterable[str], inside: Callable[[str], list[str]]) -> bool:
    """Whether no widget is inside itself, and none holds more than a page can take.

    Parameters
    ----------
    roots : iterable of str
        Ids of the widgets to begin with.
    inside : callable
        Returns the ids of the widgets inside of one.
    """
    views: dict[str, int] = {}

    def count(page_id: str, depth: int) -> int:
        if depth >= MAX_NESTING:
            return MAX_VIEWS
        if page_id not in views:
            views[page_id] = 1 + sum(count(each, depth + 1) for each in inside(page_id))
        return views[page_id]

    return all(count(root, 0) < MAX_VIEWS for root in roots)


def _views_in(outputs: list[dict[str, Any]]) -> list[str]:
    bundles = (output.get("data") for output in outputs)
    views = (bundle.get(VIEW) for bundle in bundles if isinstance(bundle, dict))
    return [str(view.get("model_id")) for view in views if isinstance(view, dict)]
