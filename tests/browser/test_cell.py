"""Sandboxed cells as a person meets them in JupyterLab: the output, the strip above it, and what is left of both."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from .conftest import NotebookFactory, NotebookOpener
from .containers import make_file, remove_by_hand
from .lab import LOWEST_CONTRAST, NotebookPage
from .server import LabServer

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

BUSY = """%%sandbox
import time
kept = 41
print("started", flush=True)
until = time.monotonic() + 60
while time.monotonic() < until:
    sum(range(20_000))
"""

# Resolves once the strip has shown four different texts within one second.
SEE_FOUR_UPDATES_IN_A_SECOND = """strip => new Promise(resolve => {
    const seen = [];
    const observer = new MutationObserver(() => {
        if (strip.innerText === seen.at(-1)?.text) return;
        seen.push({text: strip.innerText, time: performance.now()});
        if (seen.length > 4 && seen.at(-1).time - seen.at(-5).time <= 1000) { observer.disconnect(); resolve(); }
    });
    observer.observe(strip, {subtree: true, childList: true, characterData: true});
})"""

# Counts the live strips that appear anywhere in the page from now on.
COUNT_LIVE_STRIPS = """() => {
    const seen = new WeakSet();
    window.liveStrips = 0;
    new MutationObserver(() => {
        for (const strip of document.querySelectorAll('.chorus-strip')) {
            if (!seen.has(strip)) { seen.add(strip); window.liveStrips += 1; }
        }
    }).observe(document.body, {subtree: true, childList: true});
}"""


# Whether a cell that clears its output shows the live strip and some of what it prints.
BOTH_SHOW = "area => area.querySelector('.chorus-strip') && /step \\d*[5-9]/.test(area.innerText)"


def strip(page: NotebookPage, index: int) -> Locator:
    """Return the live strip of a cell."""
    return page.output_area(index).locator(".chorus-strip")


def start_busy_cell(page: NotebookPage, index: int = 0) -> Locator:
    """Start a long sandboxed cell and return its strip, once it shows figures beside what the cell has printed."""
    page.run_cell(index)
    page.output_area(index).get_by_text("started", exact=True).wait_for()
    strip(page, index).get_by_text("MiB").first.wait_for()
    assert page.is_busy(index)
    return strip(page, index)


def press_stop(live: Locator) -> None:
    """Click the button of a strip."""
    live.get_by_role("button", name="Stop").click()


def test_a_cell_shows_streams_a_value_and_a_picture_and_keeps_state(cells: NotebookFactory) -> None:
    page = cells(
        [
            "%%sandbox\nimport os\nx = 6\nprint('at', os.getcwd())\nos.listdir()",
            "%%sandbox\nx * 7",
            "type(_).__name__, str(_), 'x' in globals()",
            "%%sandbox\n%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);",
        ]
    )
    page.execute_all()

    assert "at /workspace" in page.outputs(0).text
    assert "README.md" in page.outputs(0).text
    assert page.outputs(1).items[-1]["output_type"] == "execute_result"
    assert page.outputs(1).items[-1]["data"] == {"text/plain": "42"}
    # What a sandbox says is shown, and never becomes a value here.
    assert page.outputs(2).text.split("\n")[-1] == "('RichOutput', '42', False)"
    pictures = page.output_area(3).locator("img")
    assert max(picture.bounding_box()["height"] for picture in pictures.all()) > 100  # type: ignore[index]


def test_an_error_keeps_what_was_printed_and_stops_run_all(cells: NotebookFactory) -> None:
    failing = "%%sandbox\nprint('before')\ndef divide(a, b):\n    return a / b\n\ndivide(1, 0)"
    page = cells([failing, "print('never')"])
    page.execute_all()

    shown = page.outputs(0)
    assert "before" in shown.text
    assert shown.error_names == ["ExecutionError"]
    assert shown.items[-1]["evalue"] == "ZeroDivisionError: division by zero"
    assert "ZeroDivisionError" in shown.text
    assert "return a / b" in shown.text
    assert "chorus_nb" not in shown.text, "frames of the sandbox only"
    assert page.prompt(1) == "[ ]:"


def test_streams_appear_and_the_strip_moves_while_the_cell_runs(cells: NotebookFactory) -> None:
    page = cells([BUSY])
    live = start_busy_cell(page)
    live.evaluate(SEE_FOUR_UPDATES_IN_A_SECOND)
    assert page.is_busy(0)
    assert page.output_area(0).inner_text().count("started") == 1
    text = live.inner_text()
    assert all(part in text for part in ("default", "running", "MiB / 1 GiB", "%"))
    press_stop(live)
    page.wait_finished()


def test_strip_is_slim_and_readable_in_both_themes(cells: NotebookFactory) -> None:
    page = cells([BUSY])
    try:
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            page.set_theme(theme)
            live = start_busy_cell(page)
            assert live.evaluate(LOWEST_CONTRAST) >= 4.5, theme
            live.get_by_role("button", name="Stop").hover()
            assert live.evaluate(LOWEST_CONTRAST) >= 4.5, f"{theme}, with the pointer on the button"
            box = live.bounding_box()
            assert box is not None
            assert box["height"] < 60
            press_stop(live)
            page.wait_finished()
    finally:
        page.set_theme("JupyterLab Light")


@pytest.mark.parametrize("how", ["strip", "toolbar", "menu"])
def test_stop_interrupts_a_busy_cell_and_keeps_its_state(cells: NotebookFactory, how: str) -> None:
    page = cells([BUSY, "%%sandbox\nkept + 1"])
    live = start_busy_cell(page)

    if how == "strip":
        press_stop(live)
    elif how == "toolbar":
        page.interrupt()
    else:
        page.click_menu("Kernel", "Interrupt Kernel")
    page.wait_finished()

    # It would have gone on for a minute. That it was not killed after the grace time, `kept` tells.
    assert page.outputs(0).error_names == ["ExecutionInterruptedError"]
    assert "KeyboardInterrupt" in page.outputs(0).text
    assert "started" in page.outputs(0).text
    assert "interrupted" in page.outputs(0).items[0]["metadata"]["chorus_nb"]["state"]
    assert "42" in page.execute_cell(1).text.split()


def test_a_click_on_stop_never_reaches_the_next_cell(cells: NotebookFactory) -> None:
    page = cells([BUSY, "%%sandbox\nimport time\ntime.sleep(3)\n'undisturbed'"])
    live = start_busy_cell(page)
    live.get_by_role("button", name="Stop").click(click_count=3)
    page.wait_finished()
    assert "undisturbed" in page.execute_cell(1).text


def test_picture_remains_after_save_and_reload(cells: NotebookFactory) -> None:
    waits = "import os, time\nwhile not os.path.exists('/tmp/seen'): time.sleep(0.02)"
    page = cells([f"%%sandbox pictured\n{waits}\ntime.sleep(0.5)\nprint('hello')"])
    page.run_all()
    strip(page, 0).wait_for()
    make_file("pictured", "/tmp/seen")
    page.wait_finished()
    assert strip(page, 0).count() == 0, "the picture took its place"

    saved = page.save()
    strips = [output for output in saved.cells[0].outputs if "image/png" in output.get("data", {})]
    assert len(strips) == 1
    assert set(strips[0].data) == {"text/plain", "image/png"}, "no widget view, no figures in the text"
    assert base64.b64decode(strips[0].data["image/png"]).startswith(PNG_SIGNATURE)
    assert strips[0].metadata.chorus_nb.usage.duration_s > 0.5, "the figures are in the metadata"
    assert "pictured" in strips[0].metadata["image/png"].alt
    assert WIDGET_VIEW not in page.path.read_text()
    assert "widgets" not in saved.metadata

    page.reload()
    assert "hello" in page.outputs(0).text
    picture = page.output_area(0).locator("img")
    assert picture.count() == 1
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_a_page_reloaded_while_a_cell_runs_still_gets_its_end_and_the_panel(cells: NotebookFactory) -> None:
    page = cells(["%sandbox panel", "%%sandbox\nimport time\ntime.sleep(6)\nvalue = 5", "%%sandbox\nvalue"])
    page.execute_cell(0)
    page.run_cell(1)
    strip(page, 1).wait_for()
    page.save()
    page.reload()
    assert "5" in page.execute_cell(2).text.split()
    page.output_area(0).get_by_role("list", name="Sandbox sessions").wait_for()


def test_quick_cells_do_not_flicker(cells: NotebookFactory) -> None:
    page = cells([f"%%sandbox\n{number}" for number in range(6)])
    page.execute_cell(0)
    page.page.evaluate(COUNT_LIVE_STRIPS)
    live = []
    # On a loaded machine one or the other cell is not quick: where all are, as in one of these runs, none has a strip.
    while not live or (live[-1] > 0 and len(live) < 10):
        page.page.evaluate("window.liveStrips = 0")
        page.execute_all()
        live.append(page.page.evaluate("window.liveStrips"))

    assert min(live) == 0, live
    for number in range(6):
        assert page.outputs(number).mime_types == [{"text/plain", "image/png"}, {"text/plain"}]


def test_clear_output_keeps_the_strip_and_the_last_output(cells: NotebookFactory) -> None:
    loop = """%%sandbox cleared
import itertools, os, time
from IPython.display import clear_output
for step in itertools.count():
    clear_output(wait=step % 2 == 0)
    print(f"step {step}")
    time.sleep(0.2)
    if step % 2 and os.path.exists("/tmp/seen"):
        break
clear_output(wait=True)
print("the last step")
"""
    page = cells([loop])
    page.run_cell(0)
    page.page.wait_for_function(BOTH_SHOW, arg=page.output_area(0).element_handle())
    make_file("cleared", "/tmp/seen")
    page.wait_finished()

    shown = page.outputs(0)
    assert shown.mime_types == [{"text/plain", "image/png"}, set()]
    assert shown.items[1]["text"] == "the last step\n"


def test_completion_knows_the_options(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox --mem"])
    complete = """async () => {
        const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        const reply = await kernel.requestComplete({code: '%%sandbox --mem', cursor_pos: 15});
        return reply.content.matches;
    }"""
    assert "--memory" in page.page.evaluate(complete)


def test_losing_the_sandbox_is_said_and_the_kernel_lives(cells: NotebookFactory) -> None:
    page = cells(
        [
            "%%sandbox small --memory 128m\nimport time\nprint('before')\ntime.sleep(1)\nmuch = bytearray(10**9)",
            BUSY.replace("%%sandbox", "%%sandbox doomed"),
            "%%sandbox small\n6 * 7",
            "%%sandbox doomed\n6 * 7",
        ]
    )
    shown = page.execute_cell(0)
    assert "before" in shown.text
    assert "OutOfMemoryError" in shown.error_names
    assert "128 MiB" in shown.text
    assert shown.items[0]["metadata"]["chorus_nb"]["state"] == "out of memory"

    start_busy_cell(page, 1)
    remove_by_hand("doomed")
    page.wait_finished()
    assert "SandboxDiedError" in page.outputs(1).error_names

    for index in (2, 3):
        assert "42" in page.execute_cell(index).text.split(), "the next cell gets a new one"


HOSTILE = """%%sandbox
from IPython.display import HTML, SVG, Javascript, Latex, Markdown, display
run = "window.ran = (window.ran || 0) + 1"
display(HTML(f"<b>bold</b><script>{run}</script>"))
display(HTML(f"<img src=nowhere.png onerror='{run}'><svg onload='{run}'></svg><details open ontoggle='{run}'>d"))
display(HTML(f"<a href='javascript:{run}'>link in html</a><iframe srcdoc='<script>parent.{run}</script>'></iframe>"))
display(HTML(f"<form action='javascript:{run}'><button>send</button></form><style onload='{run}'></style>"))
display(Markdown(f"[link in markdown](javascript:{run.replace(' ', '%20')}) <img src=x onerror='{run}'>"))
display(SVG(data=f"<svg xmlns='http://www.w3.org/2000/svg' onload='{run}'><script>{run}</script></svg>"))
display(Latex(rf"$\\href{{javascript:{run}}}{{link}}$"))
display(Javascript(run))
display({"text/html": f"<script>{run}</script>", "application/vnd.jupyter.widget-view+json": {"model_id": "0"},
         "text/plain": "plain"}, raw=True, metadata={"isolated": False})
print(f"\\x1b]8;;javascript:{run}\\x07link in stream\\x1b]8;;\\x07 <img src=x onerror='{run}'>")
raise ValueError(f"<img src=x onerror='{run}'>")
"""


def test_input_asks_below_the_cell_and_takes_what_is_typed(cells: NotebookFactory) -> None:
    asking = "%%sandbox\nimport getpass\nname = input('Name? ')\nprint('Hello', name, len(getpass.getpass('Key? ')))"
    page = cells([asking])
    page.run_cell(0)
    box = page.output_area(0).locator("input.jp-Stdin-input")
    box.wait_for()
    assert "Name?" in page.output_area(0).inner_text()
    box.fill("Ada")
    box.press("Enter")
    secret = page.output_area(0).locator("input.jp-Stdin-input[type=password]")
    secret.wait_for()
    secret.fill("12345")
    secret.press("Enter")
    page.wait_finished()
    # JupyterLab takes the boxes away in a moment of its own, one after the other.
    page.output_area(0).locator("input.jp-Stdin-input").first.wait_for(state="detached")
    secret.wait_for(state="detached")
    shown = page.outputs(0)
    assert "Hello Ada 5" in shown.text
    assert "12345" not in page.save().cells[0].outputs.__repr__()


def test_the_stop_button_of_the_strip_ends_a_question(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox\ninput('Name? ')", "%%sandbox\n6 * 7"])
    page.run_cell(0)
    page.output_area(0).locator("input.jp-Stdin-input").wait_for()
    press_stop(strip(page, 0))
    page.wait_finished()
    assert "KeyboardInterrupt" in page.outputs(0).text
    assert "42" in page.execute_cell(1).text, "JupyterLab must not think that the question is still open"


def test_hostile_output_runs_nothing_in_the_page(cells: NotebookFactory) -> None:
    page = cells([HOSTILE, "from IPython.display import HTML\nHTML('<script>window.native = 1</script>')"])
    shown = page.execute_cell(0)
    assert shown.error_names == ["ExecutionError"]
    for target in page.output_area(0).locator("a, button, summary").all():
        target.click(no_wait_after=True)
    page.page.wait_for_timeout(1000)
    assert page.page.evaluate("window.ran") is None
    area = page.output_area(0)
    assert area.locator("[onerror], [onload], [href^=javascript], iframe:not([sandbox=allow-scripts])").count() == 0
    assert area.locator("script").count() == area.locator("iframe").count(), "ours, one beside each frame"

    page.execute_cell(1)
    assert page.page.evaluate("window.native") == 1, "this page does run what the notebook's own cells show"


def test_the_tour_runs(server: LabServer, open_notebook: NotebookOpener, request: pytest.FixtureRequest) -> None:
    project = request.config.rootpath
    tour = _copy_of_tracked_files(project, server.root / "tour") / "notebooks" / "01_tour.ipynb"
    page = open_notebook(tour)
    page.execute_all(timeout_s=180)

    saved = page.save()
    assert [
        (index, output.evalue)
        for index, cell in enumerate(saved.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", [])
    ] == []
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert WIDGET_VIEW not in tour.read_text()


def _copy_of_tracked_files(project: Path, target: Path) -> Path:
    """Copy what git tracks (and would) of the project to a repository of its own, so that the tour finds its files."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (project / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, target / name)
    subprocess.run(["git", "init", "--quiet", target], check=True)
    return target
