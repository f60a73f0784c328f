"""Drive a notebook that is open in a real JupyterLab in a real Chromium.

What the tests read comes from three places, and each says something the others do not: the page (what a person sees),
the notebook model in the page (which MIME types an output carries) and the saved file (what remains).
"""

# mypy: allow-untyped-calls
# (nbformat is typed in part.)

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from .server import LabServer

CELL_TIMEOUT_S = 150.0

# Root cannot use Chromium's own sandbox; the rest keeps it from talking to anything but the test server.
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

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


def find_chromium() -> str:
    """Return the path of a Chromium, from ``CHROMIUM`` or the search path.

    Raises
    ------
    RuntimeError
        If there is none. The message says how to get one.
    """
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    for name in filter(None, names):
        if path := shutil.which(name):
            return path
    raise RuntimeError(
        "The browser tests need Chromium and found none. Install it (Debian, Ubuntu: `apt-get install chromium`) "
        "or set CHROMIUM to the path of a Chromium or Chrome executable."
    )


def write_notebook(path: Path, sources: list[str], kernel: str = "python3") -> None:
    """Write a notebook of code cells, one for each source, for a kernel in Python."""
    kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernelspec})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, path)


@dataclass(frozen=True)
class CellOutputs:
    """What a code cell shows.

    Parameters
    ----------
    text
        The rendered text, as a person could copy it.
    html
        The rendered markup.
    items
        The outputs as the notebook format has them, in order.
    """

    text: str
    html: str
    items: list[dict[str, Any]]

    @property
    def mime_types(self) -> list[set[str]]:
        """The MIME types of each output; empty for streams and errors."""
        return [set(item.get("data", {})) for item in self.items]

    @property
    def error_names(self) -> list[str]:
        """The exception names (``ename``) of the error outputs."""
        return [item["ename"] for item in self.items if item["output_type"] == "error"]


# The notebook panel in front, and the parts of it that the scripts below use.
_PANEL = "const panel = window.jupyterapp.shell.currentWidget; const notebook = panel.content;"


class NotebookPage:
    """A notebook open in JupyterLab.

    Cells are numbered from 0, Markdown cells included.

    Parameters
    ----------
    server
        The server that has the notebook.
    page
        An empty page of a browser.
    """

    def __init__(self, server: LabServer, page: Page) -> None:
        self.server = server
        self.page = page
        self.path = Path()
        page.set_default_timeout(CELL_TIMEOUT_S * 1000)

    def open(self, path: Path) -> None:
        """Open the notebook at `path` (below the server's root) and wait until its kernel answers."""
        self.path = path
        relative = path.relative_to(self.server.root).as_posix()
        # A workspace of its own: in a shared one, a page that is loaded again may get what another page had open.
        workspace = f"{self.server.url}/lab/workspaces/{path.stem}"
        self.page.goto(f"{workspace}/tree/{relative}?token={self.server.token}&reset")
        self.wait_kernel_ready()

    def reload(self) -> None:
        """Load the page again, as a person does who presses F5, and wait until the kernel answers."""
        self.page.reload()
        self.wait_kernel_ready()

    def replace_cells(self, sources: list[str]) -> None:
        """Put new code cells in the place of all there are; the kernel keeps its state."""
        script = """
            const cells = panel.model.sharedModel;
            const former = cells.cells.length;
            const empty = {cell_type: 'code', metadata: {}, outputs: [], execution_count: null};
            cells.insertCells(0, argument.map(source => ({...empty, source})));
            cells.deleteCellRange(argument.length, argument.length + former);
        """
        self._script(script, sources)

    def wait_kernel_ready(self) -> None:
        """Wait until the kernel has answered; the status line says idle before there is a kernel."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self._script("await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info;")

    def run_all(self) -> None:
        """Start "Run All Cells" and return at once; `wait_finished` waits for it."""
        self._start("notebook:run-all-cells")

    def run_cell(self, index: int) -> None:
        """Start one cell and return at once; `wait_finished` waits for it."""
        self._script("notebook.deselectAll(); notebook.activeCellIndex = argument;", index)
        self._start("notebook:run-cell")

    def wait_finished(self, timeout_s: float = CELL_TIMEOUT_S) -> None:
        """Wait until what was started last has ended, well or badly, with all its output in the page."""
        self.page.wait_for_function("() => window.lastRun.ended", timeout=timeout_s * 1000)

    def execute_all(self, timeout_s: float = CELL_TIMEOUT_S) -> None:
        """Run all cells and wait for their end."""
        self.run_all()
        self.wait_finished(timeout_s)

    def execute_cell(self, index: int, timeout_s: float = CELL_TIMEOUT_S) -> CellOutputs:
        """Run one cell, wait for its end and return what it shows."""
        self.run_cell(index)
        self.wait_finished(timeout_s)
        return self.outputs(index)

    def cell(self, index: int) -> Locator:
        """Return the element of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output_area(self, index: int) -> Locator:
        """Return the element below a code cell that holds its outputs."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def outputs(self, index: int) -> CellOutputs:
        """Return what a code cell shows now."""
        area = self.output_area(index)
        items = self._script("return notebook.widgets[argument].model.outputs.toJSON();", index)
        return CellOutputs(text=area.inner_text(), html=area.inner_html(), items=items)

    def prompt(self, index: int) -> str:
        """Return the text left of a code cell: ``[ ]:`` not run, ``[*]:`` running or queued, ``[3]:`` done."""
        return self.cell(index).locator(".jp-InputPrompt").inner_text().strip()

    def is_busy(self, index: int) -> bool:
        """Whether a code cell is running or waits its turn."""
        return "*" in self.prompt(index)

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook and return what is in the file now."""
        self._script("await window.jupyterapp.commands.execute('docmanager:save');")
        saved: nbformat.NotebookNode = nbformat.read(self.path, as_version=4)
        return saved

    def interrupt(self) -> None:
        """Click the stop button of the notebook's toolbar."""
        self.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="interrupt"]').click()

    def restart_kernel(self) -> None:
        """Restart the kernel and wait until it answers."""
        self._script("await panel.sessionContext.session.kernel.restart();")
        self.wait_kernel_ready()

    def wait_kernel_replaced(self) -> None:
        """Wait until JupyterLab has said that the kernel died and has started another, and answer its dialog."""
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.wait_for_function(f"() => {{ {_PANEL} return panel.sessionContext.kernelDisplayStatus === 'idle'; }}")

    def kernel_value(self, expression: str) -> str:
        """Return the ``repr`` of an expression in the idle kernel; neither history nor notebook shows a trace."""
        script = """
            const kernel = panel.sessionContext.session.kernel;
            const content = {code: '', silent: true, store_history: false, user_expressions: {value: argument}};
            const reply = await kernel.requestExecute(content).done;
            return reply.content.user_expressions.value;
        """
        value = self._script(script, expression)
        if value["status"] != "ok":
            raise RuntimeError(f"{expression!r} in the kernel: {value['ename']}: {value['evalue']}")
        text: str = value["data"]["text/plain"]
        return text

    def kernel_pid(self) -> int:
        """Return the process id of the idle kernel."""
        return int(self.kernel_value("__import__('os').getpid()"))

    def set_theme(self, name: str) -> None:
        """Change JupyterLab's theme, to ``"JupyterLab Light"`` or ``"JupyterLab Dark"``."""
        self._script("await window.jupyterapp.commands.execute('apputils:change-theme', {theme: argument});", name)
        self.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")  # It lies over the page, and fades.

    def type_at_end(self, index: int, text: str) -> None:
        """Write at the end of a cell, and wait until it is there."""
        self._go_to_end(index)
        self.page.keyboard.type(text)
        expect(self.cell(index).locator(".cm-content")).to_contain_text(text)

    def press_until_shown(self, index: int, key: str, shown: Locator, text: str) -> None:
        """Press a key at the end of a cell until the page shows what the kernel says of the name there.

        A person presses it again, too: an answer that comes too late for the front end is not shown.
        """
        give_up_at_s = time.monotonic() + CELL_TIMEOUT_S
        while True:
            self.page.keyboard.press(key)
            try:
                expect(shown).to_contain_text(text, timeout=10_000)
                return
            except AssertionError:
                if time.monotonic() > give_up_at_s:
                    raise
            self.page.keyboard.press("Escape")
            self._go_to_end(index)

    def complete(self, index: int, text: str, *matches: str) -> Locator:
        """Write at the end of a cell, press Tab, and return the list once all of the matches are in it."""
        self.type_at_end(index, text)
        shown = self.page.locator(".jp-Completer:visible")
        for match in matches:
            if shown.count() == 0 or match not in shown.inner_text():
                self.press_until_shown(index, "Tab", shown, match)
        return shown

    def choose(self, index: int, match: str) -> None:
        """Click a completion until it is in the cell: JupyterLab may be about to write or to close its list."""
        item = self.page.locator(".jp-Completer:visible .jp-Completer-item", has_text=match).first
        content = self.cell(index).locator(".cm-content")
        give_up_at_s = time.monotonic() + CELL_TIMEOUT_S
        while True:
            try:
                item.click(timeout=10_000)
                expect(content).to_contain_text(match, timeout=10_000)
                return
            except (AssertionError, PlaywrightTimeoutError):
                if time.monotonic() > give_up_at_s:
                    raise
            self._go_to_end(index)
            self.page.keyboard.press("Tab")

    def inspect(self, index: int, text: str) -> None:
        """Press Shift-Tab at the end of a cell until the description there has a text, and close it again."""
        tooltip = self.page.locator(".jp-Tooltip")
        self.press_until_shown(index, "Shift+Tab", tooltip, text)
        self.page.keyboard.press("Escape")
        expect(tooltip).to_have_count(0)

    def _go_to_end(self, index: int) -> None:
        editor = self.cell(index).locator(".cm-content")
        editor.click()
        expect(editor).to_be_focused()
        self.page.keyboard.press("Control+End")

    def click_menu(self, menu: str, entry: str) -> None:
        """Open a menu of the menu bar and click the first entry whose label contains `entry`."""
        self.page.locator(".lm-MenuBar-item").filter(has_text=menu).click()
        self.page.locator(".lm-Menu-item").filter(has_text=entry).first.click()

    def screenshot(self, path: Path) -> None:
        """Write a picture (PNG) of what the page shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)

    def _start(self, command: str) -> None:
        # The command ends with the first error, even where the rest runs on (a cell tagged raises-exception), and takes
        # the prompts back to [ ]. The kernel answers a last request when it is done with all that it has.
        script = """
            const run = {ended: false};
            window.lastRun = run;
            const kernel = panel.sessionContext.session.kernel;
            const atEnd = () => kernel.requestExecute({code: '', silent: true, store_history: false}).done;
            const command = window.jupyterapp.commands.execute(argument);
            command.catch(() => {}).then(atEnd).finally(() => { run.ended = true; });
        """
        self._script(script, command)

    def _script(self, body: str, argument: object = None) -> Any:
        return self.page.evaluate(f"async argument => {{ {_PANEL} {body} }}", argument)
