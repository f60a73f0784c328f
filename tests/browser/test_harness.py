"""The harness itself: what these tests see is what the kernel did, so a failure elsewhere is the product's."""

from __future__ import annotations

import os
import sys

from .conftest import NotebookFactory


def test_native_cells_run_show_and_are_saved(notebook: NotebookFactory) -> None:
    page = notebook(["print(42)", "6 * 7", "1 / 0", "print('never')"])
    page.execute_all()

    assert page.outputs(0).text.strip() == "42"
    assert page.prompt(0) == "[1]:"
    assert page.outputs(1).mime_types == [{"text/plain"}]
    assert page.outputs(2).error_names == ["ZeroDivisionError"]
    assert "division by zero" in page.outputs(2).text
    assert page.prompt(3) == "[ ]:"

    saved = page.save()
    assert saved.cells[0].outputs[0].text == "42\n"
    page.reload()
    assert page.outputs(0).text.strip() == "42"


def test_toolbar_stop_button_interrupts_a_busy_cell(cells: NotebookFactory) -> None:
    page = cells(["import time\nprint('started')\ntime.sleep(60)"])
    page.run_cell(0)
    page.output_area(0).get_by_text("started").wait_for()
    assert page.is_busy(0)

    page.interrupt()
    page.wait_finished(timeout_s=30)
    assert page.outputs(0).error_names == ["KeyboardInterrupt"]
    assert not page.is_busy(0)


def test_kernel_is_of_the_running_interpreter_with_nothing_of_the_users_home(notebook: NotebookFactory) -> None:
    page = notebook(["pass"])
    assert page.kernel_value("__import__('sys').executable") == repr(sys.executable)
    assert page.kernel_value("__import__('os').environ['HOME']") != repr(os.environ.get("HOME"))
    assert page.kernel_value("__import__('os').getcwd()") == repr(str(page.server.root))

    first = page.kernel_pid()
    os.kill(first, 0)
    page.restart_kernel()
    assert page.kernel_pid() != first


def test_theme_changes(cells: NotebookFactory) -> None:
    page = cells(["pass"])
    page.set_theme("JupyterLab Dark")
    assert page.page.locator("body").get_attribute("data-jp-theme-light") == "false"
    page.set_theme("JupyterLab Light")
    assert page.page.locator("body").get_attribute("data-jp-theme-light") == "true"
