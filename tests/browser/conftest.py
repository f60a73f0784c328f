"""Fixtures of the browser tests: one JupyterLab and one Chromium for the folder, one page for each notebook."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from .lab import CHROMIUM_ARGS, LabServer, NotebookPage, find_chromium, write_notebook

NotebookFactory = Callable[[list[str]], NotebookPage]

HERE = Path(__file__).parent
CALL_REPORT = pytest.StashKey[pytest.TestReport]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; a server start counts against the first test, so all get more time."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the report of the test itself for the fixture that takes the screenshot."""
    report = yield
    if report.when == "call":
        item.stash[CALL_REPORT] = report
    return report


# Package scope and not session: while Playwright runs, this thread has an event loop, and asyncio.run fails in others.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    executable = find_chromium()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab whose root is a new git repository."""
    # A folder in pytest's: that one is closed to other users, and sandboxes may run as another.
    root = tmp_path_factory.mktemp("lab") / "repository"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", root], check=True)
    (root / "README.md").write_text("A repository for the browser tests.\n")
    with LabServer(root) as lab:
        yield lab


@pytest.fixture
def open_notebook(
    request: pytest.FixtureRequest, server: LabServer, browser: Browser
) -> Iterator[Callable[[Path], NotebookPage]]:
    """Open notebooks below the server's root; their kernels end with the test, a failed test leaves screenshots."""
    opened: list[NotebookPage] = []

    def open_path(path: Path) -> NotebookPage:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        opened.append(NotebookPage(server, page))
        opened[-1].open(path)
        return opened[-1]

    yield open_path
    report = request.node.stash.get(CALL_REPORT, None)
    for number, notebook in enumerate(opened):
        if report is None or report.failed:
            name = f"{_file_name(request.node.nodeid)}-{number}.png"
            # A page that crashed has no picture, but its kernel has to end all the same.
            with contextlib.suppress(PlaywrightError):
                notebook.screenshot(request.config.rootpath / ".test-output" / name)
        notebook.page.context.close()
    server.shut_kernels_down()


@pytest.fixture
def notebook(
    request: pytest.FixtureRequest, server: LabServer, open_notebook: Callable[[Path], NotebookPage]
) -> NotebookFactory:
    """Write a notebook of the given cells at the server's root and open it."""
    written = 0

    def write_and_open(sources: list[str]) -> NotebookPage:
        nonlocal written
        written += 1
        path = server.root / f"{_file_name(request.node.name)}-{written}.ipynb"
        write_notebook(path, sources)
        return open_notebook(path)

    return write_and_open


def _file_name(node: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", node).strip("-")
