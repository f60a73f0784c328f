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


TOOLTIPS = """
import pandas as pd
frame = pd.DataFrame({"a": [1, 2], "b": [pd.NA, 4]})
style = frame.style.set_uuid("tips").set_tooltips(pd.DataFrame({"a": ["first", None], "b": [None, "last"]}))
style.set_sticky(axis="index")"""

DATASET = """
import xarray
days = [1.5, 2.5, 4.0]
xarray.Dataset({"t": (("x",), days, {"units": "K <b>"})}, {"x": [10, 20, 30]}, {"title": "Warm days"})"""

DIAGRAM = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
columns = ColumnTransformer([("n", StandardScaler(), [0]), ("c", OneHotEncoder(), [1])])
make_pipeline(columns, LogisticRegression(C=0.5))"""

SWATCHES = """
from IPython.display import HTML
colours = ["#4c72b0", "#dd8452", "#55a868"]
shapes = [f'<rect x="{55 * i}" y="0" width="55" height="55" style="fill:{c}"/>' for i, c in enumerate(colours)]
HTML(f'<svg width="165" height="55">{"".join(shapes)}<!-- Rows --><text x="5" y="20">a</text></svg>')"""


def frame_of(page: NotebookPage, index: int, number: int = 0) -> Frame:
    """Return the document inside of a cell's frame."""
    outer = page.output_area(index).locator("iframe").nth(number).element_handle().content_frame()
    assert outer is not None
    outer.wait_for_selector("iframe")
    inner = outer.query_selector("iframe").content_frame()  # type: ignore[union-attr]
    assert inner is not None
    return inner


def picture(element: Locator) -> Image.Image:
    """Return what an element looks like when it begins at a whole pixel, as edges between two are smoothed, and with
    the mouse elsewhere, as a row below it is marked."""
    element.page.mouse.move(5, 5)
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


def shown(page: NotebookPage, index: int) -> Locator:
    """Return the element that a cell's last output is in."""
    return page.output_area(index).locator(".jp-OutputArea-output").last


def assert_equal_but_for_antialiasing(page: NotebookPage, when: str) -> None:
    """Compare the outputs of the first two cells, with the mouse on neither."""
    page.page.mouse.move(5, 5)
    page.page.wait_for_timeout(100)
    native, sandboxed = (picture(shown(page, index)) for index in (0, 1))
    assert native.size == sandboxed.size, when
    assert len(native.getcolors(2**24) or ()) > 2, "there is something to see"
    # A row at an edge may be there in part.
    inner = (1, 1, native.width - 1, native.height - 1)
    difference = ImageChops.difference(native, sandboxed).convert("L").crop(inner)
    apart = sum(difference.histogram()[32:])
    assert apart <= native.width * native.height / 10_000, f"{when}: {apart} pixels"


CLOSED = "part => !(part.control ?? {}).disabled && !(part.control ?? {}).checked && !(part.parentElement ?? {}).open"


def open_all(area: Locator) -> int:
    """Press everything of an output that is closed; return how much there was."""
    opened = 0
    # What one opens has others in it.
    while closed := [part for part in area.locator("label:visible, summary:visible").all() if part.evaluate(CLOSED)]:
        closed[0].click(position={"x": 3, "y": 3})
        opened += 1
    return opened


@pytest.mark.parametrize(
    ("source", "parts"),
    [(TOOLTIPS, 0), (DATASET, 3), (DIAGRAM, 6), (SWATCHES, 0)],
    ids=["tooltips", "xarray", "scikit-learn", "svg"],
)
def test_what_a_library_draws_looks_and_opens_as_it_does_natively(
    cells: NotebookFactory, source: str, parts: int
) -> None:
    page = cells([source.strip(), f"%%sandbox{source}"])
    page.page.set_viewport_size({"width": 1280, "height": 2200})
    try:
        for theme in ("JupyterLab Light", "JupyterLab Dark"):
            page.set_theme(theme)
            # The script of a diagram looks at the theme once.
            page.execute_all()
            assert page.output_area(1).locator("iframe, script").count() == 0
            assert_equal_but_for_antialiasing(page, theme)
            opened = [open_all(shown(page, index)) for index in (0, 1)]
            assert opened[0] == opened[1] >= parts
            assert_equal_but_for_antialiasing(page, f"{theme}, opened")
    finally:
        page.page.set_viewport_size({"width": 1280, "height": 1000})
        page.set_theme("JupyterLab Light")


def test_a_tooltip_of_a_table_shows_under_the_mouse(cells: NotebookFactory) -> None:
    page = cells([f"%%sandbox{TOOLTIPS}"])
    page.execute_all()
    tip = page.output_area(0).locator("td.col0 span").first
    expect(tip).to_be_hidden()
    page.output_area(0).locator("td.col0").first.hover()
    expect(tip).to_be_visible()


def test_a_diagram_follows_the_theme(cells: NotebookFactory) -> None:
    page = cells([f"%%sandbox{DIAGRAM}"])
    page.execute_all()
    # Under the mouse it has another colour.
    page.page.mouse.move(5, 5)
    label = page.output_area(0).locator("label").first
    try:
        for theme, colour in (("JupyterLab Dark", "rgb(255, 255, 255)"), ("JupyterLab Light", "rgb(0, 0, 0)")):
            page.set_theme(theme)
            expect(label).to_have_css("color", colour)
    finally:
        page.set_theme("JupyterLab Light")


def test_check_boxes_of_two_sessions_are_each_its_own(cells: NotebookFactory) -> None:
    html = "<input type=checkbox id=a><label for=a>press</label>"
    source = f"from IPython.display import HTML\nHTML({html!r})"
    page = cells([f"%%sandbox first\n{source}", f"%%sandbox second\n{source}"])
    page.execute_all()
    page.output_area(1).get_by_text("press").click()
    assert not page.output_area(0).get_by_role("checkbox").is_checked()
    assert page.output_area(1).get_by_role("checkbox").is_checked()


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
