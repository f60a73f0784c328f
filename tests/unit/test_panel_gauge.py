"""The life of a gauge in a real IPython shell, seen through what it publishes."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm
from figures import MIB, make_sample, make_usage
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets.widgets.widget import _instances
from traitlets.config import Config

from chorus_nb.panel import gauge as gauge_module
from chorus_nb.panel.gauge import Gauge
from chorus_nb.panel.strip import StripWidget

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class RecordingComm(BaseComm):
    """A comm whose messages are kept instead of sent."""

    sent: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012

    def publish_msg(self, msg_type: str, data: Any = None, **_rest: Any) -> None:
        self.sent.append((msg_type, data or {}))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.display_pub = CapturingDisplayPublisher()
    RecordingComm.sent = []
    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def outputs(shell: InteractiveShell) -> list[dict[str, Any]]:
    """What a notebook's shell publishes."""
    shell.kernel = object()
    return shell.display_pub.outputs


USAGE = make_usage(cpu_time_s=0.8)


def make_gauge(name: str = "default", on_stop: Callable[[], None] = lambda: None, mode: Any = "on") -> Gauge:
    return Gauge(name, 1.0, 512 * MIB, on_stop, mode)


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never became true"
        time.sleep(0.01)


def live_widget(gauge: Gauge) -> StripWidget:
    wait_until(lambda: gauge._widget is not None)
    assert gauge._widget is not None
    return gauge._widget


def press_stop(widget: StripWidget, run_id: str, message_id: str = "1") -> None:
    content = {"type": "stop", "run_id": run_id, "id": message_id}
    widget._handle_custom_msg(content, [])


def test_a_quick_cell_has_one_picture_and_never_a_widget(outputs: list[dict[str, Any]]) -> None:
    gauge = make_gauge()
    gauge.begin()
    gauge.state("running")
    gauge.end("done", USAGE)
    assert [output["update"] for output in outputs] == [False, True]
    assert [set(output["data"]) for output in outputs] == [{"text/plain", "image/png"}] * 2
    assert RecordingComm.sent == []


def test_a_long_cell_gets_the_widget_then_the_picture(outputs: list[dict[str, Any]]) -> None:
    gauge = make_gauge()
    gauge.begin()
    gauge.state("running")
    widget = live_widget(gauge)
    for tick in range(3):
        gauge.sample(make_sample(time_s=float(tick), cpu_time_s=tick / 2))
    wait_until(lambda: widget.figures["state"] == "running" and len(widget.figures["history"]) == 2)
    gauge.end("done", USAGE)

    placeholder, live, final = outputs
    assert WIDGET_VIEW in live["data"]
    assert set(final["data"]) == set(placeholder["data"]) == {"text/plain", "image/png"}
    assert placeholder["update"] is False
    assert live["update"] is final["update"] is True


def test_text_and_display_id_never_change(outputs: list[dict[str, Any]]) -> None:
    gauge = make_gauge("training")
    gauge.begin()
    live_widget(gauge)
    gauge.end("error", USAGE)
    assert {output["data"]["text/plain"] for output in outputs} == {"sandbox training"}
    assert len({output["transient"]["display_id"] for output in outputs}) == 1


def test_figures_are_in_the_metadata_of_the_picture(outputs: list[dict[str, Any]]) -> None:
    gauge = make_gauge()
    gauge.begin()
    gauge.end("out of memory", USAGE)
    metadata = outputs[-1]["metadata"]
    assert metadata["chorus_nb"]["session"] == "default"
    assert metadata["chorus_nb"]["state"] == "out of memory"
    assert metadata["chorus_nb"]["usage"] == USAGE.model_dump()
    assert metadata["image/png"]["width"] == outputs[0]["metadata"]["image/png"]["width"]
    assert "out of memory" in metadata["image/png"]["alt"]
    assert base64.b64decode(outputs[-1]["data"]["image/png"]).startswith(b"\x89PNG")


def test_nothing_is_left_when_the_cell_has_ended(outputs: list[dict[str, Any]]) -> None:
    widgets_before = set(_instances)
    gauge = make_gauge()
    gauge.begin()
    live_widget(gauge)
    gauge.end("done", USAGE)
    assert set(_instances) == widgets_before
    opened = sum(kind == "comm_open" for kind, _data in RecordingComm.sent)
    closed = sum(kind == "comm_close" for kind, _data in RecordingComm.sent)
    assert opened == closed == 2  # the strip and its layout
    assert not [thread for thread in threading.enumerate() if thread.name == "chorus-gauge"]


def test_a_second_end_changes_nothing(outputs: list[dict[str, Any]]) -> None:
    gauge = make_gauge()
    gauge.begin()
    gauge.end("done", USAGE)
    published = len(outputs)
    gauge.end("error", None)
    assert len(outputs) == published


def test_stop_calls_back_once_and_only_for_its_own_run(outputs: list[dict[str, Any]]) -> None:
    stops: list[str] = []
    gauge = make_gauge(on_stop=lambda: stops.append("stop"))
    gauge.begin()
    gauge.state("running")
    widget = live_widget(gauge)
    press_stop(widget, "another-run", "0")
    wait_until(lambda: widget.heard == "0")
    press_stop(widget, widget.run_id, "1")
    press_stop(widget, widget.run_id, "2")
    wait_until(lambda: widget.heard == "2" and stops)
    wait_until(lambda: widget.figures["state"] == "stopping")
    gauge.end("interrupted", USAGE)
    assert stops == ["stop"]


def test_stop_is_heard_in_passing_and_keeps_the_front_ends_subshell(outputs: list[dict[str, Any]]) -> None:
    stopped = threading.Event()
    gauge = make_gauge(on_stop=stopped.set)
    gauge.begin()
    widget = live_widget(gauge)
    data = {"method": "custom", "content": {"type": "stop", "run_id": widget.run_id, "id": "1"}}
    assert widget.comm._reply_subshell_for(data, "subshell-1") == "subshell-1"
    assert stopped.wait(60)
    gauge.end("interrupted", USAGE)


@pytest.mark.parametrize("data", [None, [], {"method": "custom"}, {"method": "custom", "content": {"id": 5}}])
def test_garbage_from_the_page_is_passed_on_untouched(outputs: list[dict[str, Any]], data: Any) -> None:
    gauge = make_gauge(on_stop=lambda: pytest.fail("garbage stopped the cell"))
    gauge.begin()
    assert live_widget(gauge).comm._reply_subshell_for(data, None) is None
    gauge.end("done", USAGE)


def test_a_stop_after_the_end_is_ignored(outputs: list[dict[str, Any]]) -> None:
    stops: list[str] = []
    gauge = make_gauge(on_stop=lambda: stops.append("stop"))
    gauge.begin()
    widget = live_widget(gauge)
    gauge.end("done", USAGE)
    widget.handle({"type": "stop", "run_id": widget.run_id})
    assert stops == []


def test_a_broken_widget_does_not_disturb_the_cell(
    outputs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_arguments: Any) -> None:
        raise OSError("no comm for you")

    monkeypatch.setattr(comm, "create_comm", refuse)
    gauge = make_gauge()
    gauge.begin()
    wait_until(lambda: "no comm for you" in caplog.text)
    gauge.end("done", USAGE)
    assert set(outputs[-1]["data"]) == {"text/plain", "image/png"}


def test_a_hostile_name_stays_one_line_of_text(outputs: list[dict[str, Any]]) -> None:
    gauge = make_gauge("<b>x</b>\n\x1b[2J")
    gauge.begin()
    gauge.end("done", USAGE)
    assert outputs[0]["data"]["text/plain"] == "sandbox <b>x</b>\ufffd\ufffd[2J"


def test_a_terminal_gets_one_plain_line(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    gauge = make_gauge()
    gauge.begin()
    gauge.sample(make_sample())
    assert capsys.readouterr().err == ""
    gauge.end("done", USAGE)
    printed = capsys.readouterr()
    assert printed.err == "[sandbox default] done in 1.2 s, CPU 0.8 s, memory peak 34 MiB of 512 MiB\n"
    assert printed.out == ""
    assert shell.display_pub.outputs == []


def test_off_shows_nothing_anywhere(outputs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    gauge = make_gauge(mode="off")
    gauge.begin()
    gauge.sample(make_sample())
    gauge.end("done", USAGE)
    assert outputs == []
    assert capsys.readouterr() == ("", "")


def test_importing_the_gauge_does_not_import_widgets() -> None:
    code = f"import sys, {gauge_module.__name__}; print([m for m in ('ipywidgets', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
