"""Sandboxed cells as a person meets them in JupyterLab: the output, the strip above it, and what is left of both."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from .conftest import NotebookFactory
from .lab import LabServer, NotebookPage

LOAD = "%load_ext chorus_nb"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

BUSY = """%%sandbox
import time
kept = 41
print("started", flush=True)
until = time.monotonic() + 30
while time.monotonic() < until:
    sum(range(20_000))
"""

# Collects each different text the strip shows during three seconds.
WATCH_TEXT = """strip => new Promise(resolve => {
    const seen = new Set([strip.innerText]);
    const observer = new MutationObserver(() => seen.add(strip.innerText));
    observer.observe(strip, {subtree: true, childList: true, characterData: true});
    setTimeout(() => { observer.disconnect(); resolve([...seen]); }, 3000);
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

# The lowest contrast (WCAG 2.2, 1.4.3) of any text in the element with what is painted behind it.
LOWEST_CONTRAST = """root => {
    const parse = colour => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
    const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const luminance = colour => {
        const [r, g, b] = colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        const layers = [];
        for (let e = element; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
        return layers.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const texts = [...root.querySelectorAll('*'), root].filter(
        e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim()));
    return Math.min(...texts.map(e => {
        const back = behind(e);
        const [low, high] = [back, over(parse(getComputedStyle(e).color), back)].map(luminance).sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    }));
}"""


def strip(page: NotebookPage, index: int) -> Locator:
    """Return the live strip of a cell."""
    return page.output_area(index).locator(".chorus-strip")


def start_busy_cell(page: NotebookPage, index: int = 1) -> Locator:
    """Start a long sandboxed cell and return its strip, once it shows figures beside the cell's output."""
    page.execute_cell(0)
    page.run_cell(index)
    page.output_area(index).get_by_text("started", exact=True).wait_for()
    strip(page, index).get_by_text("MiB").first.wait_for()
    return strip(page, index)


def test_a_cell_shows_streams_a_value_and_a_picture_and_keeps_state(notebook: NotebookFactory) -> None:
    page = notebook(
        [
            LOAD,
            "%%sandbox\nimport os\nx = 6\nprint('at', os.getcwd())\nos.listdir()",
            "%%sandbox\nx * 7",
            "Out[3] + 1",
            "%%sandbox\n%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);",
        ]
    )
    page.execute_all()

    assert "at /workspace" in page.outputs(1).text
    assert "README.md" in page.outputs(1).text
    assert "42" in page.outputs(2).text.split()
    assert page.outputs(3).text.strip() == "43"
    pictures = page.output_area(4).locator("img")
    assert max(picture.bounding_box()["height"] for picture in pictures.all()) > 100  # type: ignore[index]


def test_streams_appear_while_the_cell_runs(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox\nimport time\nprint('first', flush=True)\ntime.sleep(5)\nprint('last')"])
    page.execute_cell(0)
    page.run_cell(1)

    page.output_area(1).get_by_text("first").wait_for()
    assert page.is_busy(1)
    assert "last" not in page.outputs(1).text
    page.wait_finished()
    assert "last" in page.outputs(1).text


def test_an_error_keeps_what_was_printed_and_stops_run_all(notebook: NotebookFactory) -> None:
    failing = "%%sandbox\nprint('before')\ndef divide(a, b):\n    return a / b\n\ndivide(1, 0)"
    page = notebook([LOAD, failing, "print('never')"])
    page.execute_all()

    shown = page.outputs(1)
    assert "before" in shown.text
    assert "ZeroDivisionError" in shown.text
    assert "return a / b" in shown.text
    assert "chorus_nb" not in shown.text
    assert page.prompt(2) == "[ ]:"


def test_strip_moves_while_the_cell_is_busy(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, BUSY])
    live = start_busy_cell(page)

    texts = live.evaluate(WATCH_TEXT)
    assert page.is_busy(1)
    # 4 Hz would be twelve; a loaded machine draws less often.
    assert len(texts) >= 5
    assert any("default" in text and "MiB" in text and "%" in text for text in texts)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_strip_is_readable_in_both_themes(notebook: NotebookFactory, theme: str) -> None:
    page = notebook([LOAD, BUSY])
    page.set_theme(theme)
    live = start_busy_cell(page)

    assert live.evaluate(LOWEST_CONTRAST) >= 4.0
    live.get_by_role("button", name="Stop").hover()
    assert live.evaluate(LOWEST_CONTRAST) >= 4.0, "with the pointer on the button"
    box = live.bounding_box()
    assert box is not None
    assert box["height"] < 60, "a strip is slim"


@pytest.mark.parametrize("how", ["strip", "toolbar"])
def test_stop_interrupts_a_busy_cell_and_keeps_its_state(notebook: NotebookFactory, how: str) -> None:
    page = notebook([LOAD, BUSY, "%%sandbox\nkept + 1"])
    live = start_busy_cell(page)

    stopped = time.monotonic()
    if how == "strip":
        live.get_by_role("button", name="Stop").click()
    else:
        page.interrupt()
    page.wait_finished(timeout_s=15)

    # The cell yields within half a second; a kill after the grace time would take three and lose `kept`.
    assert time.monotonic() - stopped < 3
    assert "KeyboardInterrupt" in page.outputs(1).text
    assert "started" in page.outputs(1).text
    assert "42" in page.execute_cell(2).text.split()


def test_a_click_on_stop_never_reaches_the_next_cell(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, BUSY, "%%sandbox\nimport time\ntime.sleep(4)\n'undisturbed'"])
    live = start_busy_cell(page)
    live.get_by_role("button", name="Stop").click(click_count=3)
    page.wait_finished(timeout_s=15)
    assert "undisturbed" in page.execute_cell(2).text


def test_picture_remains_after_save_and_reload(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox\nimport time\ntime.sleep(1.5)\nprint('hello')"])
    page.execute_all()

    saved = page.save()
    strips = [output for output in saved.cells[1].outputs if "image/png" in output.get("data", {})]
    assert len(strips) == 1
    assert set(strips[0].data) == {"text/plain", "image/png"}, "no widget view, no figures in the text"
    assert base64.b64decode(strips[0].data["image/png"]).startswith(PNG_SIGNATURE)
    assert strips[0].metadata.chorus_nb.usage.duration_s > 1, "the figures are in the metadata"
    assert "default" in strips[0].metadata["image/png"].alt
    assert WIDGET_VIEW not in page.path.read_text()
    assert "widgets" not in saved.metadata

    page.reload()
    assert "hello" in page.outputs(1).text
    picture = page.output_area(1).locator("img")
    assert picture.count() == 1
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_a_page_reloaded_while_a_cell_runs_still_gets_its_end(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox\nimport time\ntime.sleep(8)\nprint('done')\nvalue = 5", "%%sandbox\nvalue"])
    page.execute_cell(0)
    page.run_cell(1)
    strip(page, 1).wait_for()
    page.save()
    page.reload()
    assert "5" in page.execute_cell(2).text.split()


def test_quick_cells_do_not_flicker(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox\n0", *(f"%%sandbox\n{number}" for number in range(6))])
    page.execute_cell(0)
    page.execute_cell(1)
    page.page.evaluate(COUNT_LIVE_STRIPS)
    page.execute_all()

    # None is the aim; on a loaded machine one or the other cell of this run is not quick.
    assert page.page.evaluate("window.liveStrips") <= 2
    for number in range(6):
        assert page.outputs(2 + number).mime_types[0] == {"text/plain", "image/png"}


def test_magic_help_and_completion_know_the_options(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox --mem"])
    page.execute_cell(0)
    complete = """async () => {
        const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        const reply = await kernel.requestComplete({code: '%%sandbox --mem', cursor_pos: 15});
        return reply.content.matches;
    }"""
    assert "--memory" in page.page.evaluate(complete)


def test_the_tour_runs(
    server: LabServer, open_notebook: Callable[[Path], NotebookPage], request: pytest.FixtureRequest
) -> None:
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
