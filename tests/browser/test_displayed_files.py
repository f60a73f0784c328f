"""Files that a sandboxed cell wrote and its output names, as a person sees them in JupyterLab."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

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
Path("report.html").write_text("<h3>Report</h3><img src='plot.png'><p id=p></p><script>p.textContent = origin</script>")
with wave.open("sound.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", "")); sound.writeframes(bytes(1600))
display(Image(url="plot.png"), HTML("<p>A drawing: <img src='drawing.svg'></p>"), Markdown("A *plot*: ![](plot.png)"))
display(IFrame("report.html", 400, 200), HTML("<audio src='sound.wav' controls></audio>"), FileLink("table.csv"))
Path("large.bin").write_bytes(bytes(2**20 + 1))
display(FileLink("large.bin"))
"""


def test_files_of_a_cell_show_and_are_downloaded(cells: NotebookFactory, tmp_path: Path) -> None:
    page = cells([SHOWING])
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    assert page.execute_cell(0).error_names == []
    area = page.output_area(0)
    pictures = area.locator("img:not(.jp-RenderedImage img)")
    expect(pictures).to_have_count(3)
    widths = [picture.evaluate("image => image.decode().then(() => image.naturalWidth)") for picture in pictures.all()]
    assert widths == [60, 50, 60]
    assert page.page.evaluate("window.ran === undefined")

    report = area.frame_locator("iframe").nth(0).frame_locator("iframe").frame_locator("iframe")
    expect(report.get_by_role("heading")).to_have_text("Report")
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
