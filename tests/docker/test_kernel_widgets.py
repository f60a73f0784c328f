"""Widgets across the wall in a real kernel on a real engine: told, heard, taken by Output, closed."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from test_kernel import Kernel

from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker

VIEW = "application/vnd.jupyter.widget-view+json"
Message = dict[str, Any]


class WidgetKernel(Kernel):
    """A kernel, and what a front end does with widgets: told of them at any time, it answers on a subshell."""

    def begin(self) -> None:
        self.run("%load_ext chorus_nb")
        self.everything: list[Message] = []
        reply = self.ask("create_subshell_request", {})
        self.subshell = reply["content"]["subshell_id"]

    def ask(self, msg_type: str, content: dict[str, Any]) -> Message:
        message = self.client.session.msg(msg_type, content)
        self.client.control_channel.send(message)
        return self.client.get_control_msg(timeout=60)

    def start(self, code: str) -> str:
        """Send a cell and do not wait."""
        return self.client.execute(code, allow_stdin=False)

    def see(self, fits: Callable[[Message], object], timeout_s: float = 30.0) -> Message:
        """Return the next message that fits."""
        give_up_at = time.monotonic() + timeout_s
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=give_up_at - time.monotonic())
            except (queue.Empty, ValueError):
                raise AssertionError("it did not come in time") from None
            self.everything.append(message)
            if fits(message):
                return message

    def see_end(self, msg_id: str) -> None:
        def is_end(message: Message) -> bool:
            ends = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
            return ends and message["parent_header"].get("msg_id") == msg_id

        self.see(is_end)

    def tell(self, model_id: str, data: dict[str, Any], buffers: tuple[bytes, ...] = ()) -> str:
        """Say something to a widget, as the page does."""
        message = self.client.session.msg("comm_msg", {"comm_id": model_id, "data": data})
        message["header"]["subshell_id"] = self.subshell
        stream = self.client.shell_channel.socket
        self.client.session.send(stream, message, buffers=list(buffers))
        return str(message["header"]["msg_id"])

    def move(self, model_id: str, value: object) -> str:
        return self.tell(model_id, {"method": "update", "state": {"value": value}, "buffer_paths": []})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Iterator[WidgetKernel]:
    kernel = WidgetKernel(tmp_path_factory.mktemp("widgets"))
    kernel.begin()
    yield kernel
    kernel.end()


@pytest.fixture
def kernel(shared: WidgetKernel) -> WidgetKernel:
    """The module's kernel with an empty sandbox."""
    shared.run("%%sandbox --gauge off\nimport ipywidgets as widgets")
    shared.run("%sandbox restart")
    shared.everything.clear()
    return shared


def widget(kernel: Kernel, number: int = 0) -> str:
    """Return the id in the page of a widget that the last cell has shown."""
    bundles = [m["content"]["data"] for m in kernel.messages if "data" in m["content"] and m["msg_type"] != "comm_open"]
    return str([bundle[VIEW]["model_id"] for bundle in bundles if VIEW in bundle][number])


def cell(code: str) -> str:
    return f"%%sandbox --gauge off\nimport ipywidgets as widgets\n{code}"


def is_text(text: str) -> Callable[[Message], object]:
    return lambda message: message["msg_type"] == "stream" and text in message["content"]["text"]


def says(model_id: str, **state: Any) -> Callable[[Message], object]:
    def fits(message: Message) -> bool:
        if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != model_id:
            return False
        told = message["content"]["data"].get("state", {})
        return all(told.get(key) == value for key, value in state.items())

    return fits


def test_a_slider_moves_a_value_and_a_value_moves_the_slider(kernel: WidgetKernel) -> None:
    code = "slider = widgets.IntSlider()\nslider.observe(lambda change: print('moved to', change.new), 'value')\nslider"
    assert kernel.run(cell(code))["status"] == "ok"
    model_id = widget(kernel)
    moved = kernel.move(model_id, 42)
    shown = kernel.see(is_text("moved to 42"))
    assert shown["parent_header"]["msg_id"] == moved, "as a callback's output has it under ipykernel"
    kernel.run(cell("print(slider.value)\nslider.value = 7"))
    assert kernel.text == "42\nmoved to 7\n"
    assert any(says(model_id, value=7)(message) for message in kernel.messages)


def test_a_widget_works_while_a_cell_is_busy(kernel: WidgetKernel) -> None:
    code = "import time\ngo = widgets.Checkbox()\ndisplay(go)\nprint('waits', flush=True)\n"
    running = kernel.start(cell(code + "while not go.value:\n    time.sleep(0.01)\nprint('went on')"))
    display = kernel.see(lambda message: message["msg_type"] == "display_data")
    kernel.see(is_text("waits"))
    kernel.move(display["content"]["data"][VIEW]["model_id"], True)
    kernel.see(is_text("went on"))
    kernel.see_end(running)


def test_binary_values_arrive_as_they_were_sent(kernel: WidgetKernel) -> None:
    every_byte = bytes(range(256)) * 40
    picture = "b'\\x89PNG\\r\\n\\x1a\\n' + bytes(range(256)) * 40"
    kernel.run(cell(f"display(widgets.Image(value={picture}, format='png'))\nupload = widgets.FileUpload()\nupload"))
    opened = [m for m in kernel.messages if m["msg_type"] == "comm_open" and m["buffers"]]
    assert [bytes(m["buffers"][0]) for m in opened] == [b"\x89PNG\r\n\x1a\n" + every_byte]
    assert opened[0]["content"]["data"]["buffer_paths"] == [["value"]]

    file = {"name": "a.bin", "type": "", "size": len(every_byte), "last_modified": 1000}
    data = {"method": "update", "state": {"value": [file]}, "buffer_paths": [["value", 0, "content"]]}
    kernel.see_end(kernel.tell(widget(kernel, 1), data, (every_byte,)))  # A cell has another way, and may overtake it.
    kernel.run(cell("value = upload.value[0]\nprint(value.name, bytes(value.content) == bytes(range(256)) * 40)"))
    assert kernel.text == "a.bin True\n"


def test_what_is_too_large_for_the_way_is_said(kernel: WidgetKernel) -> None:
    kernel.run(cell("upload = widgets.FileUpload()\nupload"))
    data = {"method": "update", "state": {"value": [{"name": "a"}]}, "buffer_paths": [["value", 0, "content"]]}
    kernel.tell(widget(kernel), data, (bytes(65 * 2**20),))
    kernel.see(is_text("over the limit"))
    assert kernel.run(cell("upload.value"))["status"] == "ok"


def test_output_takes_what_is_put_out_in_it(kernel: WidgetKernel) -> None:
    code = """
out = widgets.Output()
display(out)
print('before')
with out:
    print('inside')
    1 / 0
out.clear_output(wait=True)
print('after')"""
    reply = kernel.run(cell(code))
    assert reply["status"] == "ok", "the error is shown in the widget and the cell goes on"
    out = widget(kernel)
    mine = kernel.messages[0]["parent_header"]["msg_id"]
    taken: list[str] = []
    inside = False
    for message in kernel.messages:
        if says(out)(message):
            inside = message["content"]["data"]["state"].get("msg_id") == mine
        elif inside:
            taken.append(message["msg_type"])
    assert taken == ["stream", "error", "clear_output"]
    assert kernel.text == "before\ninside\nafter\n"


def test_output_takes_what_a_callback_puts_out(kernel: WidgetKernel) -> None:
    code = "def f(n):\n    print('n is', n)\nui = widgets.interactive(f, n=(0, 10))\n"
    kernel.run(cell(code + "display(ui.children[0], ui.children[-1])"))
    slider, out = widget(kernel, 0), widget(kernel, 1)
    moved = kernel.move(slider, 9)
    kernel.see(says(out, msg_id=moved))
    assert kernel.see(is_text("n is 9"))["parent_header"]["msg_id"] == moved
    kernel.see(says(out, msg_id=""))


def test_a_progress_bar_shows_its_progress(kernel: WidgetKernel) -> None:
    kernel.run(cell("from tqdm.notebook import tqdm\nfor _ in tqdm(range(5), desc='steps', mininterval=0): pass"))
    (shown,) = (m["content"]["data"] for m in kernel.messages if m["msg_type"] == "display_data")
    assert shown["text/plain"].startswith("steps:   0%")
    values = [
        m["content"]["data"]["state"]["value"]
        for m in kernel.messages
        if m["msg_type"] == "comm_msg" and "value" in m["content"]["data"]["state"]
    ]
    assert 5.0 in values


def test_widgets_close_with_the_process_that_had_them(kernel: WidgetKernel) -> None:
    kernel.run(cell("widgets.IntSlider()"))
    slider = widget(kernel)
    kernel.start("%sandbox restart")
    kernel.see(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == slider)
    kernel.move(slider, 3)
    kernel.run(cell("import os\ndisplay(widgets.IntSlider())\nos._exit(3)"))
    closed = [m["content"]["comm_id"] for m in kernel.messages if m["msg_type"] == "comm_close"]
    assert widget(kernel) in closed


def test_a_page_that_is_loaded_anew_gets_the_state(kernel: WidgetKernel) -> None:
    kernel.run(cell("slider = widgets.IntSlider(description='speed')\nslider"))
    slider = widget(kernel)
    kernel.move(slider, 5)
    kernel.see(says(slider, value=5))
    session = kernel.client.session
    control = {"comm_id": "control", "target_name": "jupyter.widget.control", "data": {}}
    opening = session.msg("comm_open", control, metadata={"version": "1.0.0"})
    kernel.client.shell_channel.send(opening)
    kernel.see_end(opening["header"]["msg_id"])
    kernel.tell("control", {"method": "request_states"})
    states = kernel.see(says("control"))["content"]["data"]["states"]
    assert states[slider]["model_name"] == "IntSliderModel"
    assert states[slider]["state"]["value"] == 5
    assert states[slider]["state"]["description"] == "speed"
    kernel.tell(slider, {"method": "request_state"})
    kernel.see(says(slider, value=5, description="speed"))


def test_code_of_its_own_is_refused_with_the_option_that_allows_it(kernel: WidgetKernel) -> None:
    kernel.run(cell("import anywidget\nclass Own(anywidget.AnyWidget):\n    _esm = 'alert(1)'\nOwn()"))
    assert "AnyModel" in kernel.text
    assert "--output trusted" in kernel.text
    assert not any(
        "alert" in str(message["content"]) for message in kernel.messages if message["msg_type"] == "comm_open"
    )


def test_a_sandbox_reaches_no_widget_but_its_own(kernel: WidgetKernel) -> None:
    kernel.run("import ipywidgets\nmine = ipywidgets.IntSlider(value=1)\nmine")
    mine = widget(kernel)
    attack = f"""
import comm
print(comm.get_comm_manager().comms)
fake = comm.create_comm(target_name='jupyter.widget', comm_id={mine!r}, data={{'state': {{}}}})
fake.send({{'method': 'update', 'state': {{'value': 99}}}})
fake.close()
display({{{VIEW!r}: {{'model_id': {mine!r}}}, 'text/plain': 'fake'}}, raw=True)
widgets.HBox([]).comm.send({{'method': 'update', 'state': {{'children': ['IPY_MODEL_{mine}']}}}})"""
    assert kernel.run(cell(attack))["status"] == "ok"
    assert not [m for m in kernel.messages if mine in str(m["content"].get("comm_id"))]
    assert not [
        m for m in kernel.messages if m["msg_type"] in ("comm_msg", "display_data") and mine in str(m["content"])
    ]
    kernel.run("print(mine.value)")
    assert kernel.text == "1\n"


def test_a_flood_is_told_in_its_last_state_and_yields_to_an_interrupt(kernel: WidgetKernel) -> None:
    code = "bar = widgets.IntProgress(max=5_000)\ndisplay(bar)\nfor n in range(5_000):\n    bar.value = n + 1"
    kernel.run(cell(code))
    told = [message for message in kernel.messages if says(widget(kernel))(message)]
    assert len(told) < 5_000
    assert told[-1]["content"]["data"]["state"]["value"] == 5_000

    endless = "slider = widgets.FloatText()\nprint('runs', flush=True)\nwhile True:\n    slider.value += 1"
    running = kernel.start(cell(endless))
    kernel.see(is_text("runs"))
    time.sleep(1)
    kernel.manager.interrupt_kernel()
    kernel.see_end(running)
    assert kernel.run(cell("assert slider.value > 1"))["status"] == "ok"


def test_ten_thousand_widgets_end_in_a_notice(kernel: WidgetKernel) -> None:
    kernel.run(cell("boxes = [widgets.Layout() for _ in range(10_000)]\nprint('made', len(boxes))"))
    assert "made 10000" in kernel.text
    assert "widget models beyond the first 5000" in kernel.text
    assert sum(message["msg_type"] == "comm_open" for message in kernel.messages) <= 5000


def test_widgets_execute_alike_twice_under_nbclient(tmp_path: Path) -> None:
    code = cell(
        "with (out := widgets.Output()):\n    print('inside')\ndisplay(out)\nwidgets.IntSlider(description='x')"
    )
    texts = []
    for _ in range(2):
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext chorus_nb", code)]
        NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
        outputs = notebook.cells[1].outputs
        texts.append([output.get("text") or output["data"]["text/plain"] for output in outputs])
        assert VIEW in outputs[-1]["data"]
        state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
        assert outputs[-1]["data"][VIEW]["model_id"] in state
    assert texts[0] == texts[1]
