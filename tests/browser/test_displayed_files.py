"""Files that a sandboxed cell wrote and its output names, as a person sees them in JupyterLab."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, expect

from .conftest import NotebookFactory

SHOWING = """%%sandbox displayed --repo none
from pathlib import Path
from IPython.display import FileLink, HTML, IFrame, Image, Markdown, Video, display
from PIL import Image as Picture
import io, wave
Picture.new("RGB", (60, 40), "steelblue").save("plot.png")
Path("drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='50' height='50' onload='window.ran = 1'>"
    "<circle cx='25' cy='25' r='20' fill='tomato'/></svg>")
Path("table.csv").write_text("a,b\\n1,2\\n")
Path("site").mkdir(exist_ok=True)
Path("site/report.html").write_text("<link rel=stylesheet href='style.css'><h3>Report</h3><img src='../plot.png'>"
    "<p id=p></p><script src='page.js'></script>")
Path("site/style.css").write_text("h3 { color: rgb(0, 128, 0); background: url('../plot.png') }")
Path("site/page.js").write_text("p.textContent = origin")
with wave.open("sound.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", "")); sound.writeframes(bytes(1600))
display(Image(url="plot.png"), HTML("<p>A drawing: <img src='drawing.svg'></p>"), Markdown("A *plot*: ![](plot.png)"))
display(IFrame("site/report.html", 400, 200), HTML("<audio src='sound.wav' controls></audio>"), FileLink("table.csv"))
Path("large.bin").write_bytes(bytes(2**20 + 1))
display(FileLink("large.bin"))
import base64
Path("film.webm").write_bytes(base64.b64decode("FILM"))
display(Video("film.webm"), IFrame("missing.html", 400, 200), Image(url="missing.png"), Markdown("![](missing.gif)"))
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


def _film() -> str:
    """Return a film of one picture in base64: a frame of VP8, which lossy WebP is (RFC 9649), in WebM (RFC 9559)."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "tomato").save(file, "WEBP")
    frame = file.getvalue()[file.getvalue().index(b"VP8 ") + 8 :]
    track = _element("d7", b"\1") + _element("73c5", b"\1") + _element("83", b"\1") + _element("86", b"V_VP8")
    track += _element("e0", _element("b0", b"\0\x40") + _element("ba", b"\0\x30"))
    information = _element("2ad7b1", (10**6).to_bytes(3, "big"))
    cluster = _element("e7", b"\0") + _element("a3", b"\x81\0\0\x80" + frame)
    segment = _element("1549a966", information) + _element("1654ae6b", _element("ae", track))
    head = _element("4282", b"webm") + _element("4287", b"\2") + _element("4285", b"\2")
    film = _element("1a45dfa3", head) + _element("18538067", segment + _element("1f43b675", cluster))
    return base64.b64encode(film).decode()


def _element(ident: str, content: bytes) -> bytes:
    return bytes.fromhex(ident) + (2**56 | len(content)).to_bytes(8, "big") + content


def test_files_of_a_cell_show_and_are_downloaded(cells: NotebookFactory, tmp_path: Path) -> None:
    page = cells([SHOWING.replace("FILM", _film())])
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
    assert report.get_by_role("heading").evaluate("h => getComputedStyle(h).backgroundImage").startswith('url("data:im')
    expect(report.locator("#p"), "its script runs, and is of nobody's origin").to_have_text("null")
    assert report.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 60
    sound = area.frame_locator("iframe").nth(1).frame_locator("iframe").locator("audio")
    sound.evaluate("audio => new Promise(done => { audio.oncanplay = done; if (audio.readyState > 2) done(); })")

    film = area.frame_locator("iframe").nth(2).frame_locator("iframe").locator("video")
    film.evaluate("film => new Promise(done => { film.onloadeddata = done; if (film.readyState > 1) done(); })")
    assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [64, 48]
    for missing in ("missing.html (", "missing.png (", "(missing.gif: "):
        expect(area).to_contain_text(f"{missing}no file of the sandbox that can be read)")
    assert area.locator("iframe").count() == 3, "what is missing needs no frame, which would speak of a network"

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
