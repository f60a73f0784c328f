"""Several sandboxes at once, cells in the background and the mode, as a person meets them in JupyterLab."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from .conftest import NotebookFactory
from .containers import containers_of, make_file
from .lab import LOWEST_CONTRAST, NotebookPage

COLOURS = """%%sandbox left,right
import os, sys, time
import pandas as pd
import matplotlib.pyplot as plt
colours = " ".join(f"\\x1b[3{n}mcolour {n}\\x1b[0m" for n in (1, 4))
print(colours, "<img src=x onerror='window.pwned = 1'>", flush=True)
print("to stderr", file=sys.stderr, flush=True)
while not os.path.exists("/tmp/seen"): time.sleep(0.02)
plt.figure(figsize=(3, 2)); plt.plot([1, 3, 2]); plt.show()
pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
"""


def test_columns_are_live_labelled_and_readable_in_both_themes(cells: NotebookFactory) -> None:
    page = cells([COLOURS, "_['left'].data['text/plain'].count('x'), list(_)"])
    page.run_cell(0)
    area = page.output_area(0)
    expect(area.locator("th")).to_have_text(["left", "right"])
    expect(area.get_by_text("colour 4").first).to_be_visible()
    assert page.is_busy(0), "shown while it runs"
    for session in ("left", "right"):
        make_file(session, "/tmp/seen")
    page.wait_finished()

    expect(area.locator("td img")).to_have_count(2)
    expect(area.locator("td .dataframe")).to_have_count(2)
    assert area.locator("img[onerror]").count() == 0
    assert page.page.evaluate("window.pwned === undefined")
    assert page.execute_cell(1).text.endswith("(1, ['left', 'right'])")
    boxes = [column.bounding_box() for column in area.locator("td .jp-RenderedText").all()]
    assert boxes[0]["x"] < boxes[2]["x"]  # type: ignore[index]
    try:
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            page.set_theme(theme)
            assert area.locator("thead").first.evaluate(LOWEST_CONTRAST) >= 4.5, theme
            # JupyterLab's own terminal colours, which these are, have no more.
            assert area.locator("table").first.evaluate(LOWEST_CONTRAST) >= 3, theme
    finally:
        page.set_theme("JupyterLab Light")


def test_columns_stay_in_the_saved_notebook(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox left,right\nprint('kept')\n1 / 0"])
    page.execute_cell(0)
    assert page.outputs(0).error_names == ["SessionsFailedError"]
    saved = page.save().cells[0].outputs
    shown = [output.data.get("text/plain") for output in saved if output.output_type == "display_data"]
    assert shown[:3] == ["sandbox left", "sandbox right", "side by side: left, right"]
    assert "ZeroDivisionError" in saved[3].data["text/html"]
    assert shown[3].startswith("[left]\nkept\n")


def test_the_stop_button_stops_every_column(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox left,right\nimport time\nprint('begun', flush=True)\ntime.sleep(600)"])
    page.run_cell(0)
    expect(page.output_area(0).get_by_text("begun")).to_have_count(2)
    page.interrupt()
    page.wait_finished()
    assert page.outputs(0).items[-1]["evalue"].count("KeyboardInterrupt") == 2


BACKGROUND = """%%sandbox behind --bg
import os, time
for n in range(30):
    print("step", n, flush=True)
    while n == 5 and not os.path.exists("/tmp/seen"): time.sleep(0.02)
"done at last"
"""


def test_a_background_cell_goes_on_in_its_own_output(cells: NotebookFactory) -> None:
    page = cells([BACKGROUND, "job = _\n'elsewhere'", "str(job.result()), job.status"])
    page.execute_cell(0)
    expect(page.output_area(0).get_by_text("step 3")).to_be_visible()
    assert "elsewhere" in page.execute_cell(1).text
    assert not re.search("step", page.outputs(1).text)
    expect(page.output_area(0).locator(".chorus-strip")).to_be_visible()
    make_file("behind", "/tmp/seen")
    assert page.execute_cell(2).text.endswith("""("'done at last'", 'done')""")
    expect(page.output_area(0)).to_contain_text("step 29")
    expect(page.output_area(0)).to_contain_text("'done at last'")
    saved = page.save().cells[0].outputs[0]
    assert saved.metadata["chorus_nb"]["state"] == "done"
    assert "application/vnd.jupyter.widget-view+json" not in saved.data


def test_the_button_of_a_background_strip_stops_it_after_its_cell(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox behind --bg\nimport time; time.sleep(600)", "_.exception().ename"])
    page.execute_cell(0)
    page.output_area(0).get_by_role("button", name="Stop").click()
    assert "KeyboardInterrupt" in page.execute_cell(1).text
    expect(page.output_area(0)).to_contain_text("KeyboardInterrupt")


def test_the_button_of_a_queued_cell_takes_it_out_of_the_queue_alone(cells: NotebookFactory) -> None:
    first = "%%sandbox behind --bg\nimport time\nprint('begun', flush=True)\ntime.sleep(600)"
    page = cells([first, "job = _", "%%sandbox behind\n1", "job.status, job.cancel()", "job.wait(30)"])
    page.execute_cell(0)
    page.execute_cell(1)
    expect(page.output_area(0).get_by_text("begun")).to_be_visible()
    page.run_cell(2)
    page.output_area(2).get_by_role("button", name="Stop").click()
    page.wait_finished()
    assert page.outputs(2).error_names == ["ExecutionInterruptedError"]
    assert "('running', True)" in page.execute_cell(3).text
    page.execute_cell(4)


def names(page: NotebookPage, index: int) -> list[str]:
    """Return where the strips of a cell say that it ran."""
    return [item["metadata"]["chorus_nb"]["session"] for item in page.outputs(index).items if "chorus_nb" in str(item)]


def test_the_mode_runs_every_cell_in_the_sandbox(cells: NotebookFactory) -> None:
    page = cells(
        [
            "%sandbox on mode",
            "import os\nonly_in_sandbox = os.getcwd()",
            "%%host\nimport os\nonly_on_host = os.getcwd()\nonly_on_host",
            "only",
            "only_in_sandbox, 'only_on_host' in globals()",
            "%sandbox off",
            "'only_in_sandbox' in globals(), only_on_host == os.getcwd()",
        ]
    )
    for index in range(3):
        page.execute_cell(index)
    assert names(page, 1) == ["mode"]
    assert "/workspace" not in page.outputs(2).text
    assert names(page, 2) == []

    page.complete(3, "_in_s", "only_in_sandbox")
    page.choose(3, "only_in_sandbox")

    assert page.execute_cell(4).text.strip().endswith("('/workspace', False)")
    page.execute_cell(5)
    assert page.execute_cell(6).text.endswith("(False, True)")
    assert containers_of("mode")
