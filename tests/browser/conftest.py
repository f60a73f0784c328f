"""Fixtures of the browser tests: one JupyterLab and one Chromium for the folder, and notebooks open in it.

Most tests use `cells`: a page and a kernel that they share, as opening one takes longer than most of them. Those that
end the kernel, or want a notebook of their own, use `notebook`.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from .lab import CHROMIUM_ARGS, NotebookPage, find_chromium, write_notebook
from .server import LabServer

NotebookFactory = Callable[[list[str]], NotebookPage]
NotebookOpener = Callable[[Path], NotebookPage]

HERE = Path(__file__).parent
CALL_REPORT = pytest.StashKey[pytest.TestReport]()
LOAD = "%load_ext chorus_nb"

# For everything that is waited for: what takes a tenth of a second here may take many on a machine that stalls.
expect.set_options(timeout=30_000)


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
    with LabServer(root, root.with_name("home")) as lab:
        yield lab


@pytest.fixture
def open_notebook(request: pytest.FixtureRequest, server: LabServer, browser: Browser) -> Iterator[NotebookOpener]:
    """Open notebooks below the server's root; their kernels end with the test, a failed test leaves screenshots."""
    opened: list[NotebookPage] = []

    def open_path(path: Path) -> NotebookPage:
        opened.append(_new_page(server, browser))
        opened[-1].open(path)
        return opened[-1]

    yield open_path
    for page in opened:
        if _failed(request):
            _take_screenshot(page, request)
        _close(page)


@pytest.fixture
def notebook(request: pytest.FixtureRequest, server: LabServer, open_notebook: NotebookOpener) -> NotebookFactory:
    """Write a notebook of the given cells at the server's root and open it."""

    def write_and_open(sources: list[str]) -> NotebookPage:
        path = server.root / f"{_file_name(request.node.name)}.ipynb"
        write_notebook(path, sources)
        return open_notebook(path)

    return write_and_open


@pytest.fixture(scope="package")
def shared_pages(server: LabServer) -> Iterator[list[NotebookPage]]:
    """The page that tests share, once one has opened it."""
    pages: list[NotebookPage] = []
    yield pages
    for page in pages:
        _close(page)


@pytest.fixture
def cells(
    request: pytest.FixtureRequest, server: LabServer, browser: Browser, shared_pages: list[NotebookPage]
) -> Iterator[NotebookFactory]:
    """Fill the shared notebook, whose kernel has the extension loaded, with the given cells.

    A test has to leave the kernel idle; one that fails leaves a screenshot, and the next gets a new page and kernel.
    """

    def write(sources: list[str]) -> NotebookPage:
        if not shared_pages:
            path = server.root / f"shared-from-{_file_name(request.node.name)}.ipynb"
            write_notebook(path, [LOAD])
            shared_pages.append(_new_page(server, browser))
            shared_pages[0].open(path)
            shared_pages[0].execute_all()
        shared_pages[0].replace_cells(sources)
        return shared_pages[0]

    yield write
    if shared_pages and _failed(request):
        _take_screenshot(shared_pages[0], request)
        _close(shared_pages.pop())


def _new_page(server: LabServer, browser: Browser) -> NotebookPage:
    return NotebookPage(server, browser.new_context(viewport={"width": 1280, "height": 1000}).new_page())


def _close(page: NotebookPage) -> None:
    page.page.context.close()
    page.server.shut_kernel_down(page.path)


def _failed(request: pytest.FixtureRequest) -> bool:
    report = request.node.stash.get(CALL_REPORT, None)
    return report is None or report.failed


def _take_screenshot(page: NotebookPage, request: pytest.FixtureRequest) -> None:
    path = request.config.rootpath / ".test-output" / f"{_file_name(request.node.nodeid)}.png"
    # A page that crashed has no picture, but its kernel has to end all the same.
    with contextlib.suppress(PlaywrightError):
        page.screenshot(path)


def _file_name(node: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", node).strip("-")
