"""What of a cell's output is shown, in which form and how much of it."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_html import PNG, Inspector, admit, framed_content, show

from chorus_nb.agent.wire import Message
from chorus_nb.config import OutputPolicy
from chorus_nb.errors import AgentProtocolError
from chorus_nb.frame import frame
from chorus_nb.outputs import MAX_ERROR_LINES, OutputFilter
from chorus_nb.page import OutputPage
from chorus_nb.sanitize import clean_text


@pytest.mark.parametrize(
    "mime",
    [
        "application/vnd.jupyter.widget-view+json",
        "application/vnd.jupyter.widget-state+json",
        "application/vnd.plotly.v1+json",
        "application/vnd.vega.v5+json",
        "application/pdf",
        "application/geo+json",
        "text/vnd.mermaid",
        "video/mp4",
        "image/tiff",
        "TEXT/HTML",
        "text/html; charset=utf-8",
        "<script>alert(1)</script>",
    ],
)
def test_other_types_are_dropped_and_named_while_their_text_stays(mime: str) -> None:
    outputs = OutputFilter(OutputPolicy(), OutputPage("s1-"))
    content = {"data": {mime: "alert(1)", "text/plain": "Figure"}, "metadata": {mime: {"isolated": True}}}
    message = outputs.admit(Message(msg_type="display_data", content=content))
    assert message is not None
    assert message.content == {"data": {"text/plain": "Figure"}, "metadata": {}}
    notice = outputs.notice() or ""
    assert "<" not in notice
    assert mime in notice or "an unknown type" in notice


def test_nothing_is_said_of_a_type_that_a_picture_stands_in_for() -> None:
    outputs = OutputFilter(OutputPolicy(), OutputPage("s1-"))
    data = {"application/vnd.plotly.v1+json": {}, "image/png": PNG, "text/plain": "Figure"}
    outputs.admit(Message(msg_type="display_data", content={"data": data, "metadata": {}}))
    assert outputs.notice() is None


@pytest.mark.parametrize("mime", ["application/javascript", "text/javascript"])
def test_javascript_runs_in_a_frame_with_its_element(mime: str) -> None:
    code = "element.textContent = '</script><b>'"
    shown = show(**{mime.replace("/", "__"): code, "text__plain": "<$x$ & \\href>"})
    content = framed_content(shown["text/html"]) or ""
    assert json.dumps(code).replace("<", "\\u003c") in content
    assert "<pre>&lt;&#36;x&#36; &amp; &#92;href&gt;</pre>" in shown["text/html"]


def test_what_a_frame_carries_is_the_same_from_any_version_of_python() -> None:
    assert frame.library("<p>hello</p>") == "H4sIAAAAAAAAA7MpsMtIzcnJt9EvsAMARPuu0gwAAAA="


def test_html_that_would_lose_something_goes_whole_into_a_frame() -> None:
    source = "<div id=chart></div><script>draw('chart')</script>"
    shown = show(text__html=source, text__plain="Chart")
    assert framed_content(shown["text/html"]) == source
    assert shown["text/plain"] == "Chart"
    assert show(text__html=source, text__plain="Chart") == shown, "the same output is the same again, for nbval"


def test_a_library_is_put_into_every_later_frame_of_the_session_and_no_other() -> None:
    page = OutputPage("s1-")
    library = f"<script>window.Library = {{}}; /* {'x' * 2**15} */</script>"
    figure = "<div id=f></div><script>Library.draw('f')</script>"

    def display(page: OutputPage, **data: str) -> str | None:
        bundle = {mime.replace("__", "/"): value for mime, value in data.items()}
        message = Message(msg_type="display_data", content={"data": bundle, "metadata": {}})
        shown = OutputFilter(OutputPolicy(), page).admit(message)
        return framed_content(shown.content["data"]["text/html"]) if shown else None

    assert display(page, text__html=library) is None
    assert display(page, text__html=library) is None, "once is enough"
    assert display(page, text__html=figure) == library + figure
    assert display(page, application__javascript="Library.draw()", text__plain="x").startswith(library)  # type: ignore[union-attr]
    assert display(page, text__html="<marquee>no script</marquee>") == "<marquee>no script</marquee>"
    assert display(OutputPage("s2-"), text__html=figure) == figure


def test_libraries_of_a_session_are_bounded() -> None:
    page = OutputPage("")
    outputs = OutputFilter(OutputPolicy(max_bytes=2**30), page)
    for number in range(40):
        noise = base64.b64encode(random.Random(number).randbytes(2**20)).decode()
        outputs.admit(Message("display_data", {"data": {"text/html": f"<script>'{noise}'</script>"}, "metadata": {}}))
    outputs = OutputFilter(OutputPolicy(), page)
    shown = outputs.admit(Message("display_data", {"data": {"text/html": "<script>x</script>"}, "metadata": {}}))
    assert shown is not None
    assert 2**23 < len(shown.content["data"]["text/html"]) < 2**25


def test_an_empty_element_waits_for_the_script_that_fills_it() -> None:
    outputs = OutputFilter(OutputPolicy(), OutputPage(""))
    place = {"text/html": '<div id="p1" data-root-id="7"></div>'}
    assert outputs.admit(Message("display_data", {"data": place, "metadata": {}})) is None
    code = {"application/javascript": "draw('p1')"}
    shown = outputs.admit(Message("display_data", {"data": code, "metadata": {}}))
    assert shown is not None
    assert (framed_content(shown.content["data"]["text/html"]) or "").startswith(place["text/html"])


@pytest.mark.parametrize("html", ["<svg><image href='x'/></svg>", "<canvas></canvas>"])
def test_a_drawing_without_a_word_is_seen(html: str) -> None:
    assert framed_content(show(text__html=html)["text/html"]) == html


def test_trusted_passes_every_type_as_it_is_and_text_only_text() -> None:
    data = {"text/html": "<script>run()</script>", "application/vnd.x+json": {"a": [1]}, "text/plain": "x"}
    message = Message("display_data", {"data": data, "metadata": {}})
    trusted = OutputFilter(OutputPolicy(mode="trusted"), OutputPage("")).admit(message)
    assert trusted is not None
    assert trusted.content["data"] == data
    text = OutputFilter(OutputPolicy(mode="text"), OutputPage("")).admit(message)
    assert text is not None
    assert text.content["data"] == {"text/plain": "x"}
    bounded = OutputFilter(OutputPolicy(mode="trusted", max_bytes=1024), OutputPage(""))
    assert bounded.admit(Message("display_data", {"data": {"text/html": "x" * 5000}, "metadata": {}})) is None
    assert "dropped" in (bounded.notice() or "")


def test_html_with_nothing_to_see_falls_back_to_text() -> None:
    assert show(text__html="<div><p></p></div>", text__plain="Plot") == {"text/plain": "Plot"}
    assert admit("display_data", data={"text/html": "<div></div>"}, metadata={}) is None


def test_svg_becomes_a_picture() -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"
    shown = show(**{"image__svg+xml": svg, "text__plain": "Graph"})
    assert shown.keys() == {"text/html", "text/plain"}
    assert not Inspector(shown["text/html"]).faults
    data = shown["text/html"].partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(data).decode() == svg


def test_a_picture_is_passed_in_canonical_base64() -> None:
    assert show(image__png=f"{PNG[:8]}\n{PNG[8:]}\n", text__plain="x")["image/png"] == PNG


@pytest.mark.parametrize("data", ["", "!", '"><script>', base64.b64encode(b"<svg/>").decode(), PNG[:-1], "é"])
def test_what_is_no_picture_is_dropped(data: str) -> None:
    assert show(image__png=data, text__plain="x") == {"text/plain": "x"}
    assert show(image__jpeg=PNG, text__plain="x") == {"text/plain": "x"}


def test_json_passes_in_bounds() -> None:
    assert show(application__json={"a": [1, None]}, text__plain="x")["application/json"] == {"a": [1, None]}
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert show(application__json=deep, text__plain="x") == {"text/plain": "x"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[31mred\x1b[0m \x1b[1;38:2::1:2:3mbold", None),
        ("a\tb\r\nc\b", None),
        ("50%\r\x1b[K60%", None),
        ("\x1b[2J\x1b[Hx", "x"),
        ("\x1b]0;title\x07x\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "xlink"),
        ("\x1b]52;c;cm0gLXJm\x07x", "x"),
        ("\x1bP+q544e\x1b\\x\x1b_apc\x1b\\y\x1bcz", "xyc" + "z"),
        ("\x9b2Jx\x00\x07\x7f\x85", "2Jx"),
        ("\x1b[?1049hx", "x"),
        ("\ud800x", "\ufffdx"),
    ],
)
def test_text_keeps_colours_and_loses_terminal_controls(text: str, clean: str | None) -> None:
    assert clean_text(text) == (text if clean is None else clean)
    assert admit("stream", name="stdout", text=text) == {"name": "stdout", "text": text if clean is None else clean}


@given(st.text(alphabet=st.sampled_from("\x1b[]m;0P\\K\x07\x9b?H\x00é\ud800x\n")))
def test_no_control_survives_cleaning(text: str) -> None:
    rest = re.sub(r"\x1b\[[0-9;:]*[mK]", "", clean_text(text))
    assert not re.search(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", rest)


def test_output_beyond_the_limit_is_counted_and_explained() -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=10 * 2**20), OutputPage("s1-"))
    messages = [Message(msg_type="stream", content={"name": "stdout", "text": "é" * 2**19}) for _ in range(100)]
    admitted = [message for message in map(outputs.admit, messages) if message]
    shown = sum(len(message.content["text"].encode()) for message in admitted)
    assert 10 * 2**20 - 2**16 < shown <= 10 * 2**20
    assert shown + outputs.dropped_bytes == pytest.approx(100 * 2**20, abs=1)
    notice = outputs.notice() or ""
    assert notice.startswith("[sandbox] 90 MiB of output dropped after the first 10 MiB")
    assert 'Sandbox(max_output="100m")' in notice


def test_a_display_beyond_the_limit_is_dropped_whole_and_named() -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=2**20), OutputPage("s1-"))
    data = {"image/png": PNG + "A" * 3 * 2**20, "text/plain": "<Figure>"}
    message = outputs.admit(Message(msg_type="display_data", content={"data": data, "metadata": {}}))
    assert message is not None
    assert message.content["data"] == {"text/plain": "<Figure>"}
    assert "image/png of 3 MiB" in (outputs.notice() or "")


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("clear_output", {"wait": True}),
        ("stream", {"name": "stdout", "text": ""}),
        ("display_data", {"data": {"text/plain": ""}}),
    ],
)
def test_a_flood_of_empty_messages_ends(msg_type: str, content: dict[str, Any]) -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=1024), OutputPage("s1-"))
    # An empty stream message costs the notebook as much as any other.
    admitted = [outputs.admit(Message(msg_type=msg_type, content=content)) for _ in range(1000)]
    assert sum(message is not None for message in admitted) < 100


def test_the_first_error_is_shown_after_the_limit() -> None:
    outputs = OutputFilter(OutputPolicy(max_bytes=1024), OutputPage("s1-"))
    outputs.admit(Message(msg_type="stream", content={"name": "stdout", "text": "x" * 5000}))
    error = Message(msg_type="error", content={"ename": "E", "evalue": "v", "traceback": ["E: v"]})
    assert outputs.admit(error) is not None
    assert outputs.admit(error) is None


def test_an_error_is_cleaned_and_bounded() -> None:
    lines = ["\x1b[31mE\x1b[0m\x1b[2J\x1b[K\r\x1b]0;x\x07"] + ["y" * 10**6] * 5000
    error = admit("error", ename="E\x1b[2J", evalue="v" * 10**6, traceback=lines)
    assert error is not None
    assert error["ename"] == "E"
    assert error["traceback"][0] == "\x1b[31mE\x1b[0m"
    assert len(error["traceback"]) <= MAX_ERROR_LINES + 1
    assert any("4501 parts left out" in line for line in error["traceback"])
    assert sum(map(len, error["traceback"])) + len(error["evalue"]) < 2**19


def test_displays_are_named_within_their_session() -> None:
    content = {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "gauge"}}
    shown = admit("display_data", **content)
    assert shown is not None
    assert shown["transient"] == {"display_id": "s1-gauge"}
    assert admit("update_display_data", **content) == shown


@pytest.mark.parametrize("display_id", ["", "a b", "x" * 200, "<script>", "a\n"])
def test_a_strange_display_id_is_dropped(display_id: str) -> None:
    content = {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": display_id}}
    assert admit("display_data", **content) == {"data": {"text/plain": "x"}, "metadata": {}}
    assert admit("update_display_data", **content) is None


def test_metadata_keeps_known_keys_of_known_types() -> None:
    metadata = {
        "image/png": {"width": 100, "height": "9px", "needs_background": "light", "alt": "plot", "onload": "x"},
        "text/html": {"isolated": True},
        "isolated": True,
        "width": True,
        "expanded": False,
    }
    shown = admit("display_data", data={"image/png": PNG}, metadata=metadata)
    assert shown is not None
    assert shown["metadata"] == {
        "image/png": {"width": 100, "needs_background": "light", "alt": "plot"},
        "expanded": False,
    }


def test_a_message_is_rebuilt_without_its_extras() -> None:
    message = Message(
        msg_type="execute_result",
        content={"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3, "evil": 1},
        metadata={"evil": 1},
        buffers=[b"evil"],
        parent_id="p",
    )
    shown = OutputFilter(OutputPolicy(), OutputPage("s1-")).admit(message)
    assert shown is not None
    assert shown.content == {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3}
    assert (shown.metadata, shown.buffers, shown.parent_id) == ({}, [], "p")


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("comm_open", {}),
        ("stream", {}),
        ("stream", {"name": "stdin", "text": "x"}),
        ("stream", {"name": "stdout", "text": ["x"]}),
        ("display_data", {"data": []}),
        ("display_data", {"data": {"text/html": ["<p>"]}}),
        ("display_data", {"data": {"image/png": 1}}),
        ("display_data", {"data": {"text/plain": None}}),
        ("display_data", {"data": {"application/json": float("nan")}}),
        ("display_data", {"data": {"text/plain": "x"}, "metadata": []}),
        ("display_data", {"data": {"text/plain": "x"}, "transient": None}),
        ("display_data", {"data": {"text/plain": "x"}, "transient": {"display_id": 1}}),
        ("execute_result", {"data": {"text/plain": "x"}, "execution_count": True}),
        ("execute_result", {"data": {"text/plain": "x"}, "execution_count": -1}),
        ("execute_result", {"data": {"text/plain": "x"}}),
        ("clear_output", {"wait": 1}),
        ("error", {"ename": "E", "evalue": "v", "traceback": "x"}),
        ("error", {"ename": "E", "evalue": "v", "traceback": [1]}),
        ("error", {"ename": None, "evalue": "v", "traceback": []}),
    ],
)
def test_a_malformed_message_is_a_breach_of_the_protocol(msg_type: str, content: dict[str, Any]) -> None:
    with pytest.raises(AgentProtocolError, match="malformed"):
        admit(msg_type, **content)


JSON = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, "", "x", "\ud800", "text/html", "image/png", "stdout"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "text", "data", "metadata", "transient", "ename", "evalue", "traceback", "wait"])


@given(
    st.sampled_from(["stream", "display_data", "update_display_data", "execute_result", "clear_output", "error"]),
    st.dictionaries(KEYS, JSON),
)
def test_any_content_is_admitted_dropped_or_refused(msg_type: str, content: dict[str, Any]) -> None:
    try:
        admit(msg_type, **content)
    except AgentProtocolError:
        pass
