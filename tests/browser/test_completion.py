"""Tab and Shift-Tab in a ``%%sandbox`` cell, as a person sees them in JupyterLab."""

from __future__ import annotations

from .conftest import NotebookFactory

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


def test_tab_shows_names_that_live_in_the_sandbox_alone(cells: NotebookFactory) -> None:
    page = cells([NAMES, "%%sandbox\n"])
    page.execute_cell(0)
    page.complete(1, "only_in", "only_in_sandbox_one", "only_in_sandbox_two")
    page.choose(1, "only_in_sandbox_one")


def test_shift_tab_shows_what_a_function_of_the_sandbox_says(cells: NotebookFactory) -> None:
    page = cells([NAMES, "%%sandbox\n"])
    page.execute_cell(0)
    page.type_at_end(1, "greet(")
    page.inspect(1, "Say hello from the sandbox.")


def test_hostile_names_are_shown_as_text(cells: NotebookFactory) -> None:
    page = cells([HOSTILE, "%%sandbox\n"])
    page.execute_cell(0)
    shown = page.complete(1, "hostile.", "plain", "onerror")
    assert shown.locator("img, script").count() == 0
    assert page.page.evaluate("window.pwned === undefined")
    page.page.keyboard.press("Escape")
