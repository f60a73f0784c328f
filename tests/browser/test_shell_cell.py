"""Shell cells in JupyterLab, in an image without Python: live output and figures, the strip's Stop, the error."""

from __future__ import annotations

from playwright.sync_api import expect

from .conftest import NotebookFactory

PROGRESS = "i=0; while :; do i=$((i + 1)); printf '\\r\\033[32mstep\\033[0m %s' $i; sleep 0.2; done"


def test_a_script_shows_what_it_does_and_stops(cells: NotebookFactory, image_with_shell: str) -> None:
    options = f"bare --image {image_with_shell} --memory 64m --lang sh"
    page = cells([f"%%sandbox {options}\n{PROGRESS}", f"%%sandbox {options}\necho some words\nls /no/such; exit 3"])
    page.run_cell(0)
    area = page.output_area(0)
    expect(area).to_contain_text("step 5")
    expect(area.locator(".chorus-strip")).to_contain_text("64")
    area.locator(".chorus-strip").get_by_role("button").click()
    page.wait_finished()
    assert page.outputs(0).error_names == ["ExecutionInterruptedError"]
    outputs = page.execute_cell(1)
    assert outputs.error_names == ["CommandError"]
    assert "exit status 3" in outputs.text
    assert "Traceback" not in outputs.text
