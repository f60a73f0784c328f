"""What a sandboxed cell displays looks and works as it does natively: plots, tables, and what remains when saved."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Frame, Locator, expect

from .conftest import NotebookFactory, NotebookOpener
from .lab import NotebookPage, write_notebook
from .server import LabServer

PLOTLY = """%%sandbox
import plotly.graph_objects as go
go.Figure(go.Bar(x=["a", "b"], y=[12.5, 7])).update_layout(height=300)"""

STYLED = """
import pandas as pd
frame = pd.DataFrame({"name": ["Ada", "Bob"], "score": [1.5, -2.25], "more": [10, 30]})
style = frame.style.set_uuid("same").set_caption("Scores").background_gradient(subset=["score"], cmap="viridis")
style = style.bar(subset=["more"], color="#5fba7d").highlight_max(subset=["score"], props="font-weight: bold")
style.set_table_styles([{"selector": "th", "props": "text-align: left; padding: 2px 12px"}]).format(precision=3)"""

PLAIN = """
import pandas as pd
pd.DataFrame({("a", "x"): [1, 2], ("a", "y"): ["p", "q"], ("b", "z"): [0.5, None]})"""

POLARS = """
import polars as pl
pl.DataFrame({"a": [1, 2], "b": ["x", "a < b"]})"""


def frame_of(page: NotebookPage, index: int, number: int = 0) -> Frame:
    """Return the document inside of a cell's frame."""
    outer = page.output_area(index).locator("iframe").nth(number).element_handle().content_frame()
    assert outer is not None
    outer.wait_for_selector("iframe")
    inner = outer.query_selector("iframe").content_frame()  # type: ignore[union-attr]
    assert inner is not None
    return inner


def picture(element: Locator) -> Image.Image:
    """Return what an element looks like when it begins at a whole pixel: between two, edges are smoothed."""
    element.scroll_into_view_if_needed()
    element.evaluate(
        "element => { const area = element.closest('.jp-Cell-outputArea'); area.style.paddingTop = '';"
        " const top = element.getBoundingClientRect().top; area.style.paddingTop = `${Math.ceil(top) - top}px`; }"
    )
    return Image.open(io.BytesIO(element.screenshot(animations="disabled"))).convert("RGB")


def test_a_plotly_figure_is_interactive_and_as_high_as_it_asks_to_be(cells: NotebookFactory) -> None:
    page = cells([PLOTLY, PLOTLY.replace("height=300", "height=420"), "%%sandbox\n6 * 7"])
    page.execute_all()
    for index, height in ((0, 300), (1, 420)):
        inside = frame_of(page, index)
        inside.wait_for_selector(".bars .point")
        expect(page.output_area(index).locator("iframe")).to_have_css("height", f"{height}px")
        assert inside.locator(".hovertext").count() == 0
        # Plotly has its own layer above the bars that takes the mouse.
        inside.locator(".bars .point").first.hover(force=True)
        expect(inside.locator(".hovertext").first).to_contain_text("12.5")
    assert "42" in page.outputs(2).text


@pytest.mark.parametrize("source", [STYLED, PLAIN, POLARS], ids=["styler", "pandas", "polars"])
def test_a_table_looks_as_it_does_natively_to_the_pixel(cells: NotebookFactory, source: str) -> None:
    page = cells([source.strip(), f"%%sandbox{source}"])
    page.execute_all()
    try:
        for theme in ("JupyterLab Light", "JupyterLab Dark"):
            page.set_theme(theme)
            native, sandboxed = (picture(page.output_area(index).locator("table").first) for index in (0, 1))
            assert native.size == sandboxed.size, theme
            assert len(native.getcolors(2**24) or ()) > 2, "there is something to see"
            difference = ImageChops.difference(native, sandboxed)
            assert max(high for _, high in difference.getextrema()) < 16, theme
    finally:
        page.set_theme("JupyterLab Light")
    assert page.output_area(1).locator("iframe").count() == 0


def test_a_frame_has_the_colours_of_the_theme_and_follows_it(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox\nfrom IPython.display import HTML\nHTML('<p id=p>x</p><script>1</script>')"])
    page.execute_all()
    inside = frame_of(page, 0)
    colour = "getComputedStyle(document.getElementById('p')).color"
    try:
        for theme, lightness in (("JupyterLab Dark", "255, 255, 255"), ("JupyterLab Light", "0, 0, 0")):
            page.set_theme(theme)
            inside.wait_for_function(f"{colour}.includes('{lightness}')")
            frame = picture(page.output_area(0).locator("iframe"))
            assert frame.getpixel((frame.width - 5, 5)) == picture(page.output_area(0)).getpixel((1, 1)), theme
    finally:
        page.set_theme("JupyterLab Light")


def test_a_frame_follows_its_content_and_says_what_it_may_not_load(cells: NotebookFactory) -> None:
    html = (
        "<button onclick=\"this.style.height = '500px'\">grow</button>"
        "<script src=https://cdn.example/library.js></script>"
    )
    page = cells([f"%%sandbox\nfrom IPython.display import HTML\nHTML({html!r})"])
    page.execute_all()
    inside = frame_of(page, 0)
    frame = page.output_area(0).locator("iframe")
    expect(inside.get_by_text("Not loaded: https://cdn.example/library.js")).to_be_visible()
    page.page.wait_for_function("frame => frame.offsetHeight < 150", arg=frame.element_handle())
    inside.get_by_role("button").click()
    page.page.wait_for_function("frame => frame.offsetHeight > 500", arg=frame.element_handle())


def test_javascript_gets_its_element_and_bokeh_finds_its_own(cells: NotebookFactory) -> None:
    parts = (
        "from IPython.display import HTML, Javascript, display",
        "display(Javascript('element.textContent = 6 * 7'))",
        "display(HTML('<div id=place></div>'))",
        'display(Javascript(\'document.getElementById("place").textContent = "found"\'))',
    )
    page = cells(["%%sandbox\n" + "\n".join(parts)])
    page.execute_all()
    expect(frame_of(page, 0, 0).get_by_text("42")).to_be_visible()
    expect(frame_of(page, 0, 1).get_by_text("found")).to_be_visible()


def test_an_untrusted_notebook_shows_the_text_of_a_frame(
    cells: NotebookFactory, open_notebook: NotebookOpener, server: LabServer
) -> None:
    html = "<b>bold</b><script>1</script>"
    page = cells([f"%%sandbox\ndisplay({{'text/html': {html!r}, 'text/plain': 'as $text$ <b>'}}, raw=True)"])
    page.execute_all()
    outputs = page.outputs(0).items
    assert outputs[-1]["data"]["text/plain"] == "as $text$ <b>"

    path: Path = server.root / "untrusted.ipynb"
    write_notebook(path, ["pass"])
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["outputs"] = outputs
    path.write_text(json.dumps(notebook))
    other = open_notebook(path)
    assert "as $text$ <b>" in other.outputs(0).text
    assert other.output_area(0).locator("iframe, script").count() == 0


def test_the_strip_says_that_output_is_trusted(cells: NotebookFactory) -> None:
    page = cells(
        ["%%sandbox --output trusted\nfrom IPython.display import HTML\nHTML('<script>window.ran = 1</script>')"]
    )
    shown = page.execute_cell(0)
    assert shown.items[0]["data"]["text/plain"] == "sandbox default, trusted output"
    assert "trusted" in shown.items[0]["metadata"]["image/png"]["alt"]
    assert page.page.evaluate("window.ran") == 1
