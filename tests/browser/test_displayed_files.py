"""Files that a sandboxed cell wrote and its output names, as a person sees them in JupyterLab."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, expect

from .conftest import NotebookFactory

SHOWING = """%%sandbox displayed --repo none
from pathlib import Path
from IPython.display import FileLink, HTML, IFrame, Image, Markdown, display
from PIL import Image as Picture
import io, wave
Picture.new("RGB", (60, 40), "steelblue").save("plot.png")
Path("drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='50' height='50' onload='window.ran = 1'>"
    "<circle cx='25' cy='25' r='20' fill='tomato'/></svg>")
Path("table.csv").write_text("a,b\\n1,2\\n")
Path("site").mkdir(exist_ok=True)
Path("site/report.html").write_text("<link rel=stylesheet href='style.css'><h3>Report</h3><img src='../plot.png'>"
    "<p id=p></p><script src='page.js'></script>")
Path("site/style.css").write_text("h3 { color: rgb(0, 128, 0); }")
Path("site/page.js").write_text("p.textContent = origin")
with wave.open("sound.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", "")); sound.writeframes(bytes(1600))
display(Image(url="plot.png"), HTML("<p>A drawing: <img src='drawing.svg'></p>"), Markdown("A *plot*: ![](plot.png)"))
display(IFrame("site/report.html", 400, 200), HTML("<audio src='sound.wav' controls></audio>"), FileLink("table.csv"))
Path("large.bin").write_bytes(bytes(2**20 + 1))
display(FileLink("large.bin"))
"""

IN_WIDGETS = """%%sandbox displayed --repo none
import os
from pathlib import Path
from IPython.display import HTML, Image, Markdown, display
from PIL import Image as Picture
import ipywidgets as widgets
Path("elsewhere").mkdir(exist_ok=True)
os.chdir("elsewhere")
Picture.new("RGB", (30, 20), "tomato").save("here.png")
Picture.effect_noise((320, 300), 90).save("noise.png")
held, taking, button = widgets.Output(), widgets.Output(), widgets.Button(description="Show")
held.append_display_data(Image(url="here.png"))
@button.on_click
def show(_):
    os.chdir("elsewhere")
    held.append_display_data(HTML("<img src='noise.png'>"))
    with taking:
        display(Image(url="here.png"), Image("noise.png"))
        print("shown")
    os.chdir("..")
display(button, held, taking, Image(url="here.png"))
os.chdir("..")
"""


def test_files_of_a_cell_show_and_are_downloaded(cells: NotebookFactory, tmp_path: Path) -> None:
    page = cells([SHOWING])
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    assert page.execute_cell(0).error_names == []
    area = page.output_area(0)
    pictures = area.locator("img:not(.jp-RenderedImage img)")
    assert _widths(pictures, 3) == [60, 50, 60]
    assert page.page.evaluate("window.ran === undefined")

    report = area.frame_locator("iframe").nth(0).frame_locator("iframe").frame_locator("iframe")
    expect(report.get_by_role("heading")).to_have_text("Report")
    expect(report.get_by_role("heading")).to_have_css("color", "rgb(0, 128, 0)")
    expect(report.locator("#p"), "its script runs, and is of nobody's origin").to_have_text("null")
    assert report.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 60
    sound = area.frame_locator("iframe").nth(1).frame_locator("iframe").locator("audio")
    sound.evaluate("audio => new Promise(done => { audio.oncanplay = done; if (audio.readyState > 2) done(); })")

    with page.page.expect_download() as download:
        area.get_by_role("link", name="table.csv").click()
    assert download.value.suggested_filename == "table.csv"
    assert Path(download.value.path()).read_text() == "a,b\n1,2\n"
    expect(area).to_contain_text(
        "(larger than can be shown here; %sandbox get large.bin . --session displayed copies it)"
    )
    assert not [url for url in asked if any(name in url for name in ("plot.png", "report.html", "table.csv", "sound"))]
    try:
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            page.set_theme(theme)
            area.screenshot(path=tmp_path / f"{theme}.png")
    finally:
        page.set_theme("JupyterLab Light")


def test_files_show_in_output_widgets_and_from_callbacks(cells: NotebookFactory, tmp_path: Path) -> None:
    page = cells([IN_WIDGETS])
    assert page.execute_cell(0).error_names == []
    area = page.output_area(0)
    held, taking = area.locator(".widget-output").nth(0), area.locator(".widget-output").nth(1)
    assert _widths(held.locator("img"), 1) == [30]
    assert _widths(area.locator("img:not(.jp-RenderedImage img, .widget-output img)"), 1) == [30]
    area.get_by_role("button", name="Show").click()
    expect(taking).to_contain_text("shown")
    assert _widths(taking.locator("img"), 2) == [30, 320]
    assert _widths(held.locator("img"), 2) == [30, 320]
    area.screenshot(path=tmp_path / "widgets.png")


def _widths(pictures: Locator, count: int) -> list[int]:
    """Return how wide pictures are, once there are so many and they are decoded."""
    expect(pictures).to_have_count(count)
    return [picture.evaluate("image => image.decode().then(() => image.naturalWidth)") for picture in pictures.all()]
