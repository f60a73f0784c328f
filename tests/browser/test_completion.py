"""Tab and Shift-Tab in a ``%%sandbox`` cell, as a person sees them in JupyterLab."""

from __future__ import annotations

from playwright.sync_api import expect

from .conftest import NotebookFactory
from .lab import NotebookPage

NAMES = """%%sandbox
only_in_sandbox_one = only_in_sandbox_two = 1
def greet(name):
    "Say hello from the sandbox."
"""
HOSTILE = """%%sandbox
class Hostile:
    def __dir__(self):
        return ["plain", "<img src=x onerror='window.pwned = 1'>", "<script>window.pwned = 1</script>"]
hostile = Hostile()
"""


def type_at_end(page: NotebookPage, index: int, text: str, key: str) -> None:
    """Write at the end of a cell, then press a key."""
    page.cell(index).locator(".cm-content").click()
    page.page.keyboard.press("Control+End")
    page.page.keyboard.type(text)
    page.page.keyboard.press(key)


def test_tab_shows_names_that_live_in_the_sandbox_alone(cells: NotebookFactory) -> None:
    page = cells([NAMES, "%%sandbox\n"])
    page.execute_cell(0)
    type_at_end(page, 1, "only_in", "Tab")
    shown = page.page.locator(".jp-Completer:visible")
    expect(shown).to_contain_text("only_in_sandbox_one")
    expect(shown).to_contain_text("only_in_sandbox_two")
    page.page.keyboard.press("Enter")
    expect(page.cell(1).locator(".cm-content")).to_contain_text("only_in_sandbox_one")


def test_shift_tab_shows_what_a_function_of_the_sandbox_says(cells: NotebookFactory) -> None:
    page = cells([NAMES, "%%sandbox\n"])
    page.execute_cell(0)
    type_at_end(page, 1, "greet(", "Shift+Tab")
    expect(page.page.locator(".jp-Tooltip")).to_contain_text("Say hello from the sandbox.")
    page.page.keyboard.press("Escape")


def test_hostile_names_are_shown_as_text(cells: NotebookFactory) -> None:
    page = cells([HOSTILE, "%%sandbox\n"])
    page.execute_cell(0)
    type_at_end(page, 1, "hostile.", "Tab")
    shown = page.page.locator(".jp-Completer:visible")
    expect(shown).to_contain_text("plain")
    expect(shown).to_contain_text("onerror")
    assert shown.locator("img, script").count() == 0
    assert page.page.evaluate("window.pwned === undefined")
    page.page.keyboard.press("Escape")
