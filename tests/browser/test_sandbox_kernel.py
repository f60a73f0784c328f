"""A notebook on the sandbox kernel in JupyterLab: what a person does with any kernel."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from chorus_nb import kernelspec

from .conftest import NotebookOpener
from .lab import write_notebook
from .server import LabServer

CELLS = [
    "import os\nonly_in_sandbox = only_in_there = os.getcwd()\n"
    "print(only_in_there, os.path.exists(os.path.expanduser('~/.ssh')))",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.show()",
    "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
    "1 / 0",
    "print('Hello, ' + input('Your name? '))",
    "import time\nprint('begun', flush=True)\ntime.sleep(60)",
    "",
    "%sandbox status",
]
PLOT, TABLE, ERROR, INPUT, LONG, TAB, STATUS = range(1, 8)


@pytest.fixture
def path(server: LabServer, tmp_path: Path) -> Path:
    """A notebook on the sandbox kernel, below the server's root."""
    kernelspec.install(prefix=str(tmp_path))
    # Where the server looks, which has nothing of this process's paths.
    kernels = server.root.with_name("home") / "data" / "kernels"
    shutil.copytree(tmp_path / "share" / "jupyter" / "kernels", kernels, dirs_exist_ok=True)
    path = server.root / "sandbox-kernel.ipynb"
    write_notebook(path, CELLS, kernel="chorus-nb")
    return path


def test_a_notebook_on_the_sandbox_kernel_is_used_as_any_other(
    path: Path, open_notebook: NotebookOpener, tmp_path: Path
) -> None:
    page = open_notebook(path)
    expect(page.page.locator(".jp-KernelName, .jp-Toolbar-kernelName").first).to_contain_text("Python 3 (sandbox)")
    assert page.execute_cell(0).text.strip() == "/workspace False"
    assert {"image/png", "text/plain"} in page.execute_cell(PLOT).mime_types
    expect(page.output_area(PLOT).locator("img")).to_be_visible()
    assert "<table" in page.execute_cell(TABLE).html
    assert page.execute_cell(ERROR).error_names == ["ZeroDivisionError"]

    page.run_cell(INPUT)
    box = page.output_area(INPUT).locator(".jp-Stdin-input")
    box.fill("Ada")
    box.press("Enter")
    page.wait_finished()
    assert "Hello, Ada" in page.outputs(INPUT).text

    page.complete(TAB, "only_in", "only_in_there")
    page.choose(TAB, "only_in_sandbox")
    page.inspect(TAB, "/workspace")

    page.run_cell(LONG)
    expect(page.output_area(LONG)).to_contain_text("begun")
    page.interrupt()
    page.wait_finished()
    assert page.outputs(LONG).error_names == ["KeyboardInterrupt"]
    assert "'/workspace'" in page.execute_cell(TAB).text

    assert "default" in page.execute_cell(STATUS).text
    page.screenshot(tmp_path / "notebook.png")
    page.restart_kernel()
    assert page.execute_cell(TAB).error_names == ["NameError"]


def test_in_notebook_7_too(path: Path, server: LabServer, browser: Browser, tmp_path: Path) -> None:
    page = browser.new_context().new_page()
    try:
        page.goto(f"{server.url}/notebooks/{path.name}?token={server.token}")
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")).to_be_attached(timeout=60_000)
        cells = page.locator(".jp-Notebook .jp-Cell")
        run_by_key(cells.nth(0))
        expect(cells.nth(0).locator(".jp-Cell-outputArea")).to_contain_text("/workspace False", timeout=60_000)
        run_by_key(cells.nth(PLOT))
        expect(cells.nth(PLOT).locator(".jp-Cell-outputArea img")).to_be_visible(timeout=60_000)
        page.screenshot(path=tmp_path / "notebook7.png")
    finally:
        page.context.close()
        server.shut_kernel_down(path)


def run_by_key(cell: Locator) -> None:
    """Run a cell as a person does, who presses the keys again where a page that still loads has not heard them."""
    for _ in range(20):
        cell.locator(".cm-content").press("Control+Enter")
        with suppress(AssertionError):
            expect(cell.locator(".jp-InputPrompt")).not_to_have_text("[ ]:", timeout=3000)
            return
    raise AssertionError("The page takes no keys.")
