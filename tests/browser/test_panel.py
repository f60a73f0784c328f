"""The panel of ``%sandbox panel``: it shows every session of the kernel, follows them, and its buttons act on them."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Locator, expect

from .conftest import NotebookFactory
from .containers import containers_of, remove_by_hand
from .lab import LOWEST_CONTRAST, NotebookPage

PANEL = "%sandbox panel"
FOLLOWS_S = 30
"""How long the panel may take to follow a session; a container's start on a loaded machine is the longest."""

BUSY = """%%sandbox worker
import time
kept = 41
print("started", flush=True)
until = time.monotonic() + 60
while time.monotonic() < until:
    sum(range(20_000))
"""


def panel(page: NotebookPage, index: int) -> Locator:
    """Return the list of sessions that a cell shows."""
    return page.output_area(index).get_by_role("list", name="Sandbox sessions")


def row(page: NotebookPage, index: int, session: str) -> Locator:
    """Return a session's part of the panel."""
    name = page.page.locator(".chorus-name").get_by_text(session, exact=True)
    return panel(page, index).get_by_role("listitem").filter(has=name)


def press(session: Locator, action: str) -> None:
    """Click a button in a session's part of the panel, as soon as it can be clicked."""
    session.get_by_role("button", name=re.compile(rf"^{action}\b")).click()


def expect_state(session: Locator, state: str) -> None:
    """Wait until a session's part of the panel shows a state that matches."""
    expect(session.locator(".chorus-state")).to_have_text(re.compile(rf"^({state})$"))


def test_panel_shows_sessions_with_image_limits_uptime_and_a_live_strip(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox shown --memory 300m --pids 77\n1", PANEL])
    page.execute_all()

    session = row(page, 1, "shown")
    expect_state(session, "idle")
    facts = session.locator(".chorus-facts").inner_text()
    assert all(part in facts for part in ("mirror", "300 MiB", "77 processes", "network none", "repository ro"))
    uptime = session.locator(".chorus-value").first
    expect(uptime).to_have_text(re.compile(r"\d s$"))
    expect(uptime, "it moves on though no cell runs").not_to_have_text(uptime.inner_text())

    # What a saved notebook keeps of it is not blank.
    saved = page.save()
    assert "text/plain" in saved.cells[1].outputs[0].data
    assert "widgets" not in saved.metadata


def test_panel_follows_a_session_that_comes_works_dies_and_goes(cells: NotebookFactory) -> None:
    page = cells([PANEL, BUSY, "%%sandbox worker\nkept + 1", "%sandbox kill worker"])
    page.execute_cell(0)
    panel(page, 0).wait_for()
    session = row(page, 0, "worker")
    expect(session).to_have_count(0)

    page.run_cell(1)
    page.output_area(1).get_by_text("started", exact=True).wait_for()
    expect_state(session, "busy")
    press(session, "Interrupt")
    page.wait_finished()
    assert page.outputs(1).error_names == ["ExecutionInterruptedError"]
    expect_state(session, "idle")
    assert "42" in page.execute_cell(2).text.split()

    page.execute_cell(3)
    expect_state(session, "dead")
    press(session, "Remove")
    expect(session).to_have_count(0)


def test_panel_shows_a_container_that_was_removed_by_hand(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox removed\n1", PANEL])
    page.execute_all()
    session = row(page, 1, "removed")
    expect_state(session, "idle")

    remove_by_hand("removed")
    expect_state(session, "dead")
    # The lost variables must not go unsaid because the panel looked first.
    assert "SandboxDiedError" in page.execute_cell(0).error_names
    assert page.kernel_value("6 * 7") == "42", "the notebook's kernel lives"

    press(session, "Start")
    expect_state(session, "idle")
    assert "1" in page.execute_cell(0).text.split()


def test_panel_restarts_stops_starts_and_removes(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox pressed\nx = 1", PANEL, "%%sandbox pressed\n'x' in globals()"])
    page.execute_all()
    session = row(page, 1, "pressed")
    expect_state(session, "idle")
    assert "True" in page.outputs(2).text

    press(session, "Restart")
    deadline = time.monotonic() + FOLLOWS_S
    while "False" not in (shown := page.execute_cell(2).text):
        assert time.monotonic() < deadline, shown

    press(session, "Stop")
    expect_state(session, "closed")
    assert containers_of("pressed") == []
    press(session, "Start")
    expect_state(session, "idle")
    assert "False" in page.execute_cell(2).text

    press(session, "Remove")
    expect(session).to_have_count(0)
    assert containers_of("pressed") == []


def test_panel_is_readable_in_both_themes(cells: NotebookFactory) -> None:
    page = cells(["%%sandbox seen\n1", PANEL])
    page.execute_all()
    expect_state(row(page, 1, "seen"), "idle")
    try:
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            page.set_theme(theme)
            assert panel(page, 1).evaluate(LOWEST_CONTRAST) >= 4.5, theme
            row(page, 1, "seen").get_by_role("button", name="Remove seen").hover()
            assert panel(page, 1).evaluate(LOWEST_CONTRAST) >= 4.5, f"{theme}, with the pointer on a button"
    finally:
        page.set_theme("JupyterLab Light")
