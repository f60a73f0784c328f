"""What a sandbox has changed, as a person meets it in JupyterLab: the difference in the notebook, the panel's list."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .conftest import NotebookFactory
from .lab import LOWEST_CONTRAST, NotebookPage

APPEARS_MS = 30_000
THEMES = ("JupyterLab Dark", "JupyterLab Light")
HOSTILE = "<img src=x onerror='window.pwned=1'>\\n\\x1b[31m\\u202e"
"""A file's name, as it stands in a cell."""

REWRITE = f"""
from pathlib import Path
from PIL import Image

source = Path("src/app.py")
source.write_text(source.read_text().replace("hello", "good day <script>window.pwned=1</script> $x$"))
Path("gone.txt").unlink()
Path("both.txt").write_text("theirs\\n")
Image.new("RGB", (80, 50), "green").save("picture.png")
Path("{HOSTILE}").write_text("x\\n")
"""
CHANGED = [
    r"created: <img src=x onerror='window.pwned=1'>\n\x1b[31m\u202e",
    "modified: both.txt",
    "deleted: gone.txt",
    "modified: picture.png",
    "modified: src/app.py",
]
OVERLAY = "%%sandbox {session} --gauge off --repo overlay --repo-path {folder}\n"


@pytest.fixture
def project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "src").mkdir()
        (Path(folder) / "src" / "app.py").write_text("def main():\n    print('hello')\n")
        (Path(folder) / "gone.txt").write_text("gone\n")
        (Path(folder) / "both.txt").write_text("first\n")
        yield Path(folder)


def rewritten(cells: NotebookFactory, session: str, project: Path, *more: str) -> NotebookPage:
    """Open a notebook whose first cell has rewritten the project, in which both sides have changed one file."""
    picture = "from PIL import Image; Image.new('RGB', (60, 40), 'red').save('{}/picture.png')"
    page = cells(
        [
            picture.format(project),
            OVERLAY.format(session=session, folder=project) + REWRITE,
            f"open('{project}/both.txt', 'w').write('ours\\n');",
            *more,
            f"%sandbox discard --session {session}\n%sandbox stop {session}",
        ]
    )
    for index in range(3):
        assert page.execute_cell(index).error_names == [], page.outputs(index).text
    return page


def end(page: NotebookPage, index: int) -> None:
    """Throw the changes away and end the session."""
    assert page.execute_cell(index).error_names == [], page.outputs(index).text


def assert_nothing_ran(page: NotebookPage) -> None:
    assert page.page.evaluate("window.pwned === undefined")
    assert page.page.locator("img[onerror]").count() == 0


def test_a_difference_is_shown_read_in_both_themes_and_saved(cells: NotebookFactory, project: Path) -> None:
    page = rewritten(cells, "edited", project, "%sandbox diff --session edited")
    assert page.execute_cell(3).mime_types == [{"text/plain", "text/html"}]
    area = page.output_area(3)
    expect(area.locator("summary b")).to_have_text(CHANGED)
    expect(area).to_contain_text("+    print('good day <script>window.pwned=1</script> $x$')")
    expect(area).to_contain_text("conflict: ")
    assert area.locator("mjx-container, .MathJax").count() == 0
    assert_nothing_ran(page)

    size = "async e => { await e.decode(); return [e.naturalWidth, e.naturalHeight]; }"
    before, after = (image.evaluate(size) for image in area.locator("img").all())
    assert (before, after) == ([60, 40], [80, 50])
    boxes = [image.bounding_box() for image in area.locator("img").all()]
    assert boxes[0]["x"] < boxes[1]["x"]  # type: ignore[index]
    assert boxes[0]["y"] == boxes[1]["y"]  # type: ignore[index]

    backgrounds = set()
    try:
        for theme in THEMES:
            page.set_theme(theme)
            assert area.locator(".chorus-diff").evaluate(LOWEST_CONTRAST) >= 4.5, theme
            backgrounds.add(area.locator("pre").first.evaluate("e => getComputedStyle(e).color"))
    finally:
        page.set_theme("JupyterLab Light")
    assert len(backgrounds) == 2, "the theme's own colours"

    fits = "e => { e.textContent = 'n'.repeat(900); return e.parentNode.scrollWidth <= e.parentNode.clientWidth; }"
    assert area.locator("summary b").first.evaluate(fits), "the end of a long name can be read"

    added = area.get_by_text("+theirs")
    area.locator("summary").nth(1).click()
    expect(added).to_be_hidden()
    saved = page.save().cells[3].outputs[0].data
    assert "<details open" in saved["text/html"]
    assert "<script" not in saved["text/html"]
    assert saved["text/plain"].startswith("The sandbox 'edited' has made 5 changes:")
    end(page, 4)


def changes_of(page: NotebookPage, index: int, session: str) -> Locator:
    """Open the list of a session's changes in the panel that a cell shows."""
    area = page.output_area(index)
    area.get_by_role("button", name=f"Changes of {session}").click(timeout=APPEARS_MS)
    return area.get_by_role("list", name=f"Changes of {session}")


def press(files: Locator, action: str, name: str) -> None:
    """Press a button beside a file."""
    files.get_by_role("button", name=f"{action} {name}", exact=True).click()


def names(files: Locator) -> Locator:
    return files.locator(".chorus-file-name")


def test_the_panel_shows_applies_and_discards_file_by_file(cells: NotebookFactory, project: Path) -> None:
    page = rewritten(cells, "listed", project, "%sandbox panel")
    page.execute_cell(3)
    files = changes_of(page, 3, "listed")
    expect(names(files)).to_have_text(CHANGED, timeout=APPEARS_MS)
    expect(files.get_by_text("conflict: ")).to_have_count(1)
    expect(files.get_by_role("button", name="Apply modified: both.txt")).to_be_disabled()
    assert_nothing_ran(page)

    press(files, "Show", "modified: picture.png")
    expect(files.locator("img")).to_have_count(2)
    press(files, "Show", "modified: src/app.py")
    expect(files.locator('[data-kind="added"]')).to_contain_text("<script>window.pwned=1</script> $x$")
    expect(files.locator("img")).to_have_count(0)
    try:
        for theme in THEMES:
            page.set_theme(theme)
            assert page.output_area(3).locator(".chorus-changes").last.evaluate(LOWEST_CONTRAST) >= 4.5, theme
    finally:
        page.set_theme("JupyterLab Light")

    press(files, "Apply", "modified: src/app.py")
    expect(names(files)).to_have_text(CHANGED[:-1], timeout=APPEARS_MS)
    assert "good day" in (project / "src" / "app.py").read_text()

    press(files, "Discard", "deleted: gone.txt")
    expect(names(files)).to_have_count(4)
    files.get_by_role("button", name="Discard deleted: gone.txt").get_by_text("Really?").click()
    expect(names(files)).to_have_text([CHANGED[0], CHANGED[1], CHANGED[3]], timeout=APPEARS_MS)
    assert (project / "gone.txt").exists()

    page.output_area(3).get_by_role("button", name="Apply all changes of listed").click()
    expect(names(files)).to_have_text(["modified: both.txt"], timeout=APPEARS_MS)
    assert (project / "both.txt").read_text() == "ours\n"
    assert sorted(path.name for path in project.iterdir() if "onerror" in path.name)
    assert_nothing_ran(page)
    end(page, 4)


BUSY = """
import time
from pathlib import Path
Path("while-running.txt").write_text("1\\n")
print("written", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    Path("at-the-end.txt").write_text("2\\n")
"""


def test_the_panel_works_while_a_cell_runs_and_follows_its_end(cells: NotebookFactory, project: Path) -> None:
    page = cells(
        [
            OVERLAY.format(session="busy", folder=project) + "1",
            "%sandbox panel",
            f"%%sandbox busy --gauge off\n{BUSY}",
            "%sandbox discard --session busy\n%sandbox stop busy",
        ]
    )
    page.execute_cell(0)
    page.execute_cell(1)
    page.run_cell(2)
    page.output_area(2).get_by_text("written").wait_for(timeout=APPEARS_MS)
    files = changes_of(page, 1, "busy")
    expect(names(files)).to_have_text(["created: while-running.txt"], timeout=APPEARS_MS)
    press(files, "Show", "created: while-running.txt")
    expect(files.locator('[data-kind="added"]')).to_have_text("+1", timeout=APPEARS_MS)
    press(files, "Apply", "created: while-running.txt")
    expect(names(files)).to_have_count(0, timeout=APPEARS_MS)
    assert (project / "while-running.txt").read_text() == "1\n"
    assert page.is_busy(2)

    page.interrupt()
    page.wait_finished()
    expect(names(files)).to_have_text(["created: at-the-end.txt"], timeout=APPEARS_MS)
    end(page, 3)


def test_a_session_without_a_view_of_its_own_has_no_list(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox plain\n1", "%sandbox panel", "%sandbox stop plain"])
    page.execute_cell(0)
    page.execute_cell(1)
    page.output_area(1).get_by_role("button", name="Restart plain").wait_for(timeout=APPEARS_MS)
    expect(page.output_area(1).get_by_role("button", name="Changes of plain")).to_be_hidden()
    end(page, 2)
