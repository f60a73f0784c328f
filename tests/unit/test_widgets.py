"""Widgets of a sandbox as the page may have them: ids, references, hostile values, floods."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chorus_nb.agent.wire import Message
from chorus_nb.widget_messages import split_buffers
from chorus_nb.widgets import MAX_MODELS, MAX_NESTING, VIEW, Model, Models, Told

BASE = {"_model_module_version": "2.0.0", "_view_module_version": "2.0.0"}
CONTROLS = {**BASE, "_model_module": "@jupyter-widgets/controls", "_view_module": "@jupyter-widgets/controls"}
LAYOUT = {
    **BASE,
    "_model_module": "@jupyter-widgets/base",
    "_view_module": "@jupyter-widgets/base",
    "_model_name": "LayoutModel",
    "_view_name": "LayoutView",
}
OUTPUT = {
    "_model_module": "@jupyter-widgets/output",
    "_model_name": "OutputModel",
    "_model_module_version": "1.0.0",
    "_view_module": "@jupyter-widgets/output",
    "_view_name": "OutputView",
    "_view_module_version": "1.0.0",
}
MESSAGES = {"request": "page-message"}
PNG = b"\x89PNG\r\n\x1a\n1234"
SCRIPT = "<img src=x onerror=alert(1)>"


class Sandbox:
    """What says that it has widgets."""

    def __init__(self, max_bytes: int = 2**20) -> None:
        self.cleaned: list[dict[str, Any]] = []
        self.models = Models(max_bytes, self._clean_output, lambda msg_id: MESSAGES.get(msg_id, ""))

    def _clean_output(self, output: dict[str, Any]) -> dict[str, Any] | None:
        self.cleaned.append(output)
        return {"output_type": "stream", "name": "stdout", "text": "cleaned"}

    def open(self, comm_id: str, name: str = "IntSlider", **state: Any) -> Told | None:
        identity = {**CONTROLS, "_model_name": f"{name}Model", "_view_name": f"{name}View"}
        return self.open_as(comm_id, {**identity, **state})

    def open_as(self, comm_id: str, state: dict[str, Any], target: str = "jupyter.widget") -> Told | None:
        inner, paths, buffers = split_buffers(state)
        data = {"state": inner, "buffer_paths": paths}
        content = {"comm_id": comm_id, "target_name": target, "data": data}
        return self.models.admit(Message("comm_open", content, buffers=buffers))

    def tell(self, comm_id: str, **state: Any) -> Told | None:
        return self.say(comm_id, {"method": "update", "state": state})

    def say(self, comm_id: str, data: Any, buffers: tuple[bytes, ...] = ()) -> Told | None:
        return self.models.admit(Message("comm_msg", {"comm_id": comm_id, "data": data}, buffers=list(buffers)))

    def page_id(self, comm_id: str) -> str:
        view = self.models.view({"model_id": comm_id})
        assert view is not None
        return str(view["model_id"])


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def state_of(told: Told | None) -> dict[str, Any]:
    assert told is not None
    return told.state


def model_of(told: Told | None) -> Model:
    assert told is not None
    return told.model


# Ids


def test_a_model_gets_an_id_in_the_page_that_the_sandbox_does_not_know(sandbox: Sandbox) -> None:
    model = model_of(sandbox.open("mine", value=3))
    assert re.fullmatch(r"[0-9a-f]{32}", model.page_id)
    assert sandbox.models.view({"model_id": "mine"}) == {
        "version_major": 2,
        "version_minor": 0,
        "model_id": model.page_id,
    }
    assert model.state["value"] == 3


@pytest.mark.parametrize("foreign", ["theirs", "", 3, None, ["mine"], {"a": 1}])
def test_nothing_but_ones_own_models_can_be_shown_or_told(sandbox: Sandbox, foreign: Any) -> None:
    page_id = model_of(sandbox.open("mine")).page_id
    assert sandbox.models.view({"model_id": foreign}) is None
    assert sandbox.models.view({"model_id": page_id}) is None, "not by the id in the page either"
    assert sandbox.models.view(foreign) is None
    assert sandbox.say(foreign, {"method": "update", "state": {"value": 1}}) is None
    assert sandbox.say(page_id, {"method": "update", "state": {"value": 1}}) is None


def test_references_are_rewritten_and_unknown_ones_left_out(sandbox: Sandbox) -> None:
    layout = model_of(sandbox.open_as("layout", LAYOUT))
    first = model_of(sandbox.open("first", layout="IPY_MODEL_layout", style="IPY_MODEL_layout"))
    assert first.state["layout"] == f"IPY_MODEL_{layout.page_id}"
    assert "style" not in first.state, "a layout is no style"
    references = ["IPY_MODEL_first", "IPY_MODEL_theirs", f"IPY_MODEL_{layout.page_id}", "IPY_MODEL_layout", "first", 7]
    box = state_of(sandbox.open("box", "HBox", children=references, layout="IPY_MODEL_theirs"))
    assert box["children"] == [f"IPY_MODEL_{first.page_id}"]
    assert "layout" not in box


def test_a_closed_model_is_gone(sandbox: Sandbox) -> None:
    page_id = model_of(sandbox.open("mine")).page_id
    told = sandbox.models.admit(Message("comm_close", {"comm_id": "mine", "data": {}}))
    assert (model_of(told).page_id, told and told.method) == (page_id, "close")
    assert sandbox.models.view({"model_id": "mine"}) is None
    assert sandbox.models.to_sandbox(page_id, {"method": "update", "state": {"value": 1}}, []) is None


def test_an_id_is_taken_once(sandbox: Sandbox) -> None:
    sandbox.open("mine")
    assert sandbox.open("mine") is None


# What may be opened


@pytest.mark.parametrize(
    "changes",
    [
        {"_model_module": "anywidget", "_model_name": "AnyModel"},
        {"_model_module": "https://evil.example/x.js"},
        {"_model_name": "ControllerModel", "_view_name": "ControllerView"},
        {"_model_name": "__proto__"},
        {"_view_module": "anywidget", "_view_name": "AnyView"},
        {"_view_name": SCRIPT},
        {"_view_name": "HTMLView"},
        {"_model_module_version": SCRIPT},
        {"_view_module_version": 7},
        {"_model_name": ["IntSliderModel"]},
        {"_model_name": None},
    ],
)
def test_only_the_standard_controls_are_opened(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    assert sandbox.open("mine", **changes) is None
    notice = sandbox.models.not_shown.notice()
    assert "--output trusted" in notice
    assert "<" not in notice
    assert sandbox.models.not_shown.notice() == "", "said once"


def test_what_is_refused_is_named(sandbox: Sandbox) -> None:
    sandbox.open("mine", _model_module="anywidget", _model_name="AnyModel")
    assert "AnyModel (anywidget)" in sandbox.models.not_shown.notice()


@pytest.mark.parametrize("target", ["jupyter.widget.control", "jupyter.widget.version", "other", ""])
def test_only_widgets_have_comms(sandbox: Sandbox, target: str) -> None:
    assert sandbox.open_as("mine", LAYOUT, target) is None


def test_who_a_model_is_never_changes(sandbox: Sandbox) -> None:
    sandbox.open("mine", "Label")
    assert sandbox.tell("mine", _model_name="HTMLModel", _view_name="HTMLView", _view_module="x") is None


# Hostile values


@pytest.mark.parametrize("name", ["HTML", "HTMLMath"])
def test_markup_passes_the_sanitiser(sandbox: Sandbox, name: str) -> None:
    state = state_of(sandbox.open("mine", name, value=f"\u2007<b>bold</b>{SCRIPT}<script>alert(1)</script>\u2007"))
    assert state["value"].startswith("\u2007<b>bold</b>")
    assert state["value"].endswith("\u2007")
    assert "onerror" not in state["value"]
    assert "script" not in state["value"]
    assert "onerror" not in state_of(sandbox.tell("mine", value=SCRIPT))["value"]


def test_a_description_is_text_until_it_is_markup(sandbox: Sandbox) -> None:
    hostile = "<b>x</b><span style='position:fixed;inset:0'>y</span>"
    assert state_of(sandbox.open("mine", description=hostile))["description"] == hostile
    switched = state_of(sandbox.tell("mine", description_allow_html=True))
    assert switched["description"] == "<b>x</b><span>y</span>"
    assert "position" not in state_of(sandbox.tell("mine", description=hostile))["description"]


def test_a_formula_in_a_description_brings_no_attributes(sandbox: Sandbox) -> None:
    """The page takes formulas out of a description before it cleans it, and puts them back as they were."""
    hostile = '<b title="$">a</b><b title=" onmouseover=alert(1) $">b</b>'
    description = state_of(sandbox.open("mine", description=hostile, description_allow_html=True))["description"]
    assert "<" not in description
    harmless = "<b>speed</b> $v_0$"
    assert state_of(sandbox.tell("mine", description=harmless))["description"] == harmless


@pytest.mark.parametrize(
    ("name", "key"), [("Label", "value"), ("IntSlider", "description"), ("Checkbox", "description")]
)
def test_text_that_is_typeset_has_no_tex_that_acts(sandbox: Sandbox, name: str, key: str) -> None:
    value = state_of(sandbox.open("mine", name, **{key: r"$\alpha \href{javascript:alert(1)}{x}$"}))[key]
    assert r"\alpha" in value
    assert r"\href" not in value


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("IntSlider", {"readout_format": SCRIPT}),
        ("FloatsInput", {"format": SCRIPT}),
        ("IntSlider", {"value": SCRIPT}),
        ("IntSlider", {"value": {"<a>": 1}}),
        ("IntSlider", {"min": [SCRIPT, {"x": SCRIPT}]}),
        ("IntSlider", {"_dom_classes": ["jp-Dialog", "x " + SCRIPT]}),
        ("Button", {"icon": SCRIPT}),
        ("Button", {"button_style": "__proto__"}),
        ("ToggleButtons", {"icons": ["x jp-Dialog"]}),
        ("Dropdown", {"_options_labels": [{"toString": SCRIPT}]}),
        ("ColorPicker", {"value": "url(http://evil.example)"}),
        ("ColorsInput", {"value": [SCRIPT]}),
        ("Image", {"format": "url", "value": b"http://evil.example/beacon"}),
        ("Image", {"format": "svg+xml", "value": b"<svg onload=alert(1)>"}),
        ("Image", {"width": f'1" {SCRIPT}'}),
        ("Video", {"format": "url", "value": "http://evil.example"}),
        ("Audio", {"format": "html"}),
        ("FileUpload", {"value": [{"name": SCRIPT}]}),
        ("DatePicker", {"value": {"year": SCRIPT}}),
        ("Text", {"value": {"a": SCRIPT}}),
        ("IntSlider", {"on_some_event": SCRIPT, "constructor": SCRIPT}),
    ],
)
def test_what_does_not_fit_does_not_reach_the_page(sandbox: Sandbox, name: str, state: dict[str, Any]) -> None:
    shown = str(state_of(sandbox.open("mine", name, **state)))
    assert not re.search(r"<img|onerror|evil|onload|jp-Dialog|__proto__|html'|svg", shown)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("margin", "-500px 0 0 0"),
        ("margin", "calc(0px - 500px)"),
        ("top", "0"),
        ("left", "0"),
        ("position", "fixed"),
        ("z_index", "999"),
        ("width", "url(http://evil.example)"),
        ("border", "1px solid; position: fixed"),
        ("height", "expression(alert(1))"),
        ("grid_template_areas", '"a" } body { display: none'),
        ("display", {"a": 1}),
        ("width", "var(--evil)"),
        ("width", "\\75rl(x)"),
    ],
)
def test_a_layout_stays_in_its_place(sandbox: Sandbox, key: str, value: Any) -> None:
    assert key not in state_of(sandbox.open_as("mine", {**LAYOUT, key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("margin", "0 0 0 10px"),
        ("width", "calc(100% - 20px)"),
        ("border", "1px solid var(--jp-border-color1)"),
        ("grid_template_columns", "repeat(3, minmax(10px, 1fr))"),
        ("grid_template_areas", '"top top" "left right"'),
        ("flex", "0 1 auto"),
        ("height", None),
    ],
)
def test_a_layout_lays_out(sandbox: Sandbox, key: str, value: Any) -> None:
    assert state_of(sandbox.open_as("mine", {**LAYOUT, key: value}))[key] == value


def test_a_style_fetches_nothing(sandbox: Sandbox) -> None:
    style = {**CONTROLS, "_model_name": "HTMLStyleModel", "_view_module": "@jupyter-widgets/base"}
    values = {"background": "url(http://evil.example)", "text_color": "#ff0000"}
    state = state_of(sandbox.open_as("mine", {**style, "_view_name": "StyleView", **values}))
    assert state["text_color"] == "#ff0000"
    assert "background" not in state


def test_a_link_carries_numbers_only(sandbox: Sandbox) -> None:
    """The page copies values of a link by itself: text of one widget must not become markup of another."""
    for comm_id, name in (("text", "Text"), ("html", "HTML"), ("one", "IntSlider"), ("two", "IntSlider")):
        sandbox.open(comm_id, name)
    link = {**CONTROLS, "_model_name": "LinkModel", "_view_name": None}
    ends = {"source": ["IPY_MODEL_text", "value"], "target": ["IPY_MODEL_html", "value"]}
    state = state_of(sandbox.open_as("bad", {**link, **ends}))
    assert (state["source"], state["target"]) == (None, None)
    ends = {"source": ["IPY_MODEL_one", "value"], "target": ["IPY_MODEL_two", "max"]}
    state = state_of(sandbox.open_as("good", {**link, **ends}))
    assert state["target"] == [f"IPY_MODEL_{sandbox.page_id('two')}", "max"]
    ends = {"source": ["IPY_MODEL_one", "description"], "target": ["IPY_MODEL_two", "_view_name"]}
    assert state_of(sandbox.tell("good", **ends)) == {"source": None, "target": None}


def test_numbers_that_json_can_not_say_become_none(sandbox: Sandbox) -> None:
    state = state_of(sandbox.open("mine", value=float("nan"), max=float("inf"), min=[1.5, float("-inf")]))
    assert (state["value"], state["max"], state["min"]) == (None, None, [1.5, None])


def test_half_a_character_does_not_pass(sandbox: Sandbox) -> None:
    state = state_of(sandbox.open("mine", "ToggleButtons", _options_labels=["a\ud800"]))
    assert state["_options_labels"] == ["a?"]


# Binary values


def test_buffers_find_their_places_and_stay_what_they_are(sandbox: Sandbox) -> None:
    assert state_of(sandbox.open("mine", "Image", format="png", value=PNG))["value"] == PNG
    told = sandbox.say("mine", {"method": "update", "state": {}, "buffer_paths": [["value"]]}, (PNG + b"2",))
    assert state_of(told) == {"value": PNG + b"2"}


@pytest.mark.parametrize(
    ("paths", "count"),
    [
        ([["value"]], 0),
        ([], 1),
        ([["a", "b"]], 1),
        ([[]], 1),
        ([["value"] * 99], 1),
        ("value", 1),
        ([[0]], 1),
        ([7], 1),
    ],
)
def test_buffers_without_a_place_are_refused(sandbox: Sandbox, paths: Any, count: int) -> None:
    sandbox.open("mine", "Image")
    data = {"method": "update", "state": {}, "buffer_paths": paths}
    assert sandbox.say("mine", data, (b"x",) * count) is None


# Output


def test_an_output_takes_the_message_of_the_page_and_cleans_what_it_holds(sandbox: Sandbox) -> None:
    display = {"output_type": "display_data", "data": {"text/html": SCRIPT}, "metadata": {}}
    told = sandbox.open_as("out", {**OUTPUT, "msg_id": "request", "outputs": [display, "no output"]})
    assert state_of(told)["msg_id"] == "page-message"
    assert sandbox.cleaned == [display]
    assert state_of(told)["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "cleaned"}]
    assert sandbox.models.takes("page-message", "stream")
    assert not sandbox.models.takes("another", "stream")
    assert not state_of(sandbox.tell("out", msg_id="unknown")).get("msg_id")


def test_what_the_page_put_into_an_output_passes_back_as_it_is(sandbox: Sandbox) -> None:
    slider = model_of(sandbox.open("slider"))
    out = model_of(sandbox.open_as("out", {**OUTPUT, "outputs": []}))
    shown = {"output_type": "display_data", "data": {VIEW: {"model_id": slider.page_id}}, "metadata": {}}
    sent = sandbox.models.to_sandbox(out.page_id, {"method": "update", "state": {"outputs": [shown]}}, [])
    assert sent is not None
    (inner,) = sent["data"]["state"]["outputs"]
    assert inner["data"][VIEW]["model_id"] == "slider"
    added = {"output_type": "stream", "name": "stdout", "text": "more"}
    state = state_of(sandbox.tell("out", outputs=[inner, added]))
    assert state["outputs"][0] == shown
    assert sandbox.cleaned == [added]


# What comes from the page


def test_the_page_speaks_to_the_model_of_the_sandbox(sandbox: Sandbox) -> None:
    slider = model_of(sandbox.open("slider"))
    sent = sandbox.models.to_sandbox(slider.page_id, {"method": "update", "state": {"value": 7}}, [])
    assert sent == {"comm_id": "slider", "data": {"method": "update", "state": {"value": 7}}}
    assert slider.state["value"] == 7, "for a page that is loaded anew"
    assert sandbox.models.to_sandbox("unknown", {"method": "update", "state": {}}, []) is None


def test_the_page_can_not_be_made_to_believe_another_identity(sandbox: Sandbox) -> None:
    slider = model_of(sandbox.open("slider"))
    sandbox.models.to_sandbox(slider.page_id, {"method": "update", "state": {"_view_module": "evil"}}, [])
    assert slider.state["_view_module"] == "@jupyter-widgets/controls"


@pytest.mark.parametrize(
    "data",
    [
        *({}, {"method": "request_state"}, {"method": "update"}, {"method": "update", "state": []}, {"method": 7}),
        *(None, [], {"method": "custom", "content": {"do": "evil"}}),
    ],
)
def test_other_messages_do_not_reach_the_page(sandbox: Sandbox, data: Any) -> None:
    sandbox.open("mine")
    assert sandbox.say("mine", data) is None


def test_lists_without_end_are_refused(sandbox: Sandbox) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    sandbox.open_as("out", {**OUTPUT})
    assert sandbox.tell("out", outputs=[{"output_type": "stream", "x": nested}]) is None


# Floods


def test_ten_thousand_widgets_are_bounded_with_a_notice(sandbox: Sandbox) -> None:
    opened = [sandbox.open(f"slider {number}") for number in range(10_000)]
    assert sum(told is not None for told in opened) == MAX_MODELS
    assert f"{10_000 - MAX_MODELS} widget models beyond" in sandbox.models.not_shown.notice()
    sandbox.models.admit(Message("comm_close", {"comm_id": "slider 0", "data": {}}))
    assert sandbox.open("another") is not None


def test_state_is_bounded_by_the_output_limit() -> None:
    sandbox = Sandbox(max_bytes=10_000)
    text = model_of(sandbox.open("text", "Text", value="x" * 6000))
    assert sandbox.tell("text", value="y" * 20_000) is None
    assert "max_output" in sandbox.models.not_shown.notice()
    assert text.state["value"] == "x" * 6000
    assert sandbox.tell("text", value="z" * 6000) is not None, "what is replaced makes room"
    assert "value" not in state_of(sandbox.open("other", "Text", value="x" * 6000))


def test_a_box_is_not_inside_itself(sandbox: Sandbox) -> None:
    assert "children" not in state_of(sandbox.open("own", "HBox", children=["IPY_MODEL_own"]))
    sandbox.open("inner", "HBox")
    sandbox.open("outer", "HBox", children=["IPY_MODEL_inner"])
    assert sandbox.tell("inner", children=["IPY_MODEL_outer"]) is None
    assert sandbox.tell("inner", children=["IPY_MODEL_own"]) is not None


def test_boxes_in_boxes_do_not_multiply_without_end(sandbox: Sandbox) -> None:
    sandbox.open("box 0", "HBox")
    told = None
    for number in range(1, 30):
        told = sandbox.open(f"box {number}", "HBox", children=[f"IPY_MODEL_box {number - 1}"] * 2)
        if "children" not in state_of(told):
            break
    assert "children" not in state_of(told)
    # From the other end: each is empty when it is put into the next.
    sandbox = Sandbox()
    for number in range(30):
        sandbox.open(f"box {number}", "HBox", children=[f"IPY_MODEL_box {number - 1}"] * 2 if number > 1 else [])
    assert sandbox.tell("box 1", children=["IPY_MODEL_box 0"] * 9000) is None


def test_nesting_has_an_end(sandbox: Sandbox) -> None:
    sandbox.open("box 0", "HBox")
    told = [
        sandbox.open(f"box {number}", "HBox", children=[f"IPY_MODEL_box {number - 1}"])
        for number in range(1, MAX_NESTING + 2)
    ]
    assert "children" in state_of(told[0])
    assert any("children" not in state_of(each) for each in told)
    assert "over the limit" in sandbox.models.not_shown.notice()


def test_an_output_is_not_shown_inside_itself(sandbox: Sandbox) -> None:
    sandbox.open_as("out", {**OUTPUT, "msg_id": "request"})
    assert sandbox.models.view({"model_id": "out"}) is None
    sandbox.open("slider")
    for _ in range(3):
        assert sandbox.models.view({"model_id": "slider"}) is not None
    assert sandbox.models.takes("page-message", "clear_output")
    sandbox.tell("out", msg_id="")
    assert sandbox.models.view({"model_id": "out"}) is not None


# Trusted


def test_what_is_trusted_passes_as_it_is_with_the_ids_of_the_page() -> None:
    sandbox = Sandbox()
    sandbox.models.trusting = True
    slider = model_of(sandbox.open("slider"))
    state = {"_model_module": "anywidget", "_model_name": "AnyModel", "_esm": "export default {}"}
    told = sandbox.open_as("mine", {**state, "data": b"\x00\xff", "inside": {"a": ["IPY_MODEL_slider"]}})
    assert state_of(told)["_esm"] == "export default {}"
    assert state_of(told)["data"] == b"\x00\xff"
    assert state_of(told)["inside"] == {"a": [f"IPY_MODEL_{slider.page_id}"]}
    sandbox.models.trusting = False
    assert sandbox.say("mine", {"method": "custom", "content": {"any": "thing"}}, (b"1",)) is not None
    assert sandbox.open_as("another", {**state}) is None, "who was let in stays; nobody else comes in"
