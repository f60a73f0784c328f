"""The panel of ``%sandbox panel``: it shows every session of the kernel, follows them, and its buttons act on them."""

# mypy: disable-error-code="attr-defined"
# (The Docker SDK has no types.)

from __future__ import annotations

import re
import time

import docker
from playwright.sync_api import Locator, expect

from chorus_nb.engines.base import SESSION_LABEL

from .conftest import NotebookFactory
from .lab import NotebookPage

LOAD = "%load_ext chorus_nb"
PANEL = "%sandbox panel"
APPEARS_MS = 15_000
"""How long the panel may take to follow a session; a container's start on a loaded machine is the longest."""

BUSY = """%%sandbox worker
import time
kept = 41
print("started", flush=True)
until = time.monotonic() + 30
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
    expect(session.locator(".chorus-state")).to_have_text(re.compile(rf"^({state})$"), timeout=APPEARS_MS)


def containers_of(session: str) -> list[str]:
    """Return the ids of the containers, in any state, that the engine has for sessions of that name."""
    listing = docker.from_env().containers.list(all=True, filters={"label": f"{SESSION_LABEL}={session}"})
    return [container.id for container in listing]


def test_panel_shows_sessions_with_image_limits_uptime_and_a_live_strip(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox worker --memory 300m --pids 77\n1", PANEL])
    page.execute_all()

    session = row(page, 2, "worker")
    expect_state(session, "idle|ready")
    facts = session.locator(".chorus-facts").inner_text()
    assert "mirror" in facts
    assert "300 MiB" in facts
    assert "77 processes" in facts
    uptime = session.locator(".chorus-value").first
    expect(uptime).to_have_text(re.compile(r"\d s$"))
    expect(uptime, "it moves on though no cell runs").not_to_have_text(uptime.inner_text(), timeout=APPEARS_MS)


def test_panel_follows_sessions_that_come_and_go(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, PANEL, "%%sandbox late\n1", "%sandbox kill late"])
    page.execute_cell(0)
    page.execute_cell(1)
    page.output_area(1).locator(".chorus-nb").wait_for()
    expect(row(page, 1, "late")).to_have_count(0)

    page.execute_cell(2)
    expect_state(row(page, 1, "late"), "idle|ready")
    page.execute_cell(3)
    expect(row(page, 1, "late").get_by_text("idle|ready")).to_have_count(0, timeout=APPEARS_MS)


def test_panel_shows_a_container_that_was_removed_by_hand(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox doomed\n1", PANEL, "%%sandbox doomed\n1"])
    for index in range(3):
        page.execute_cell(index)
    expect_state(row(page, 2, "doomed"), "idle|ready")

    (container,) = containers_of("doomed")
    docker.from_env().containers.get(container).remove(force=True)
    expect_state(row(page, 2, "doomed"), "dead|died")
    assert "SandboxDiedError" in page.execute_cell(3).text
    assert page.kernel_value("6 * 7") == "42", "the notebook's kernel lives"

    press(row(page, 2, "doomed"), "Start")
    expect_state(row(page, 2, "doomed"), "idle|ready")
    assert "1" in page.execute_cell(3).text.split()


def test_panel_interrupts_while_the_cell_blocks(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, PANEL, BUSY, "%%sandbox worker\nkept + 1"])
    page.execute_cell(0)
    page.execute_cell(1)
    page.run_cell(2)
    page.output_area(2).get_by_text("started", exact=True).wait_for()
    expect_state(row(page, 1, "worker"), "busy|running")

    press(row(page, 1, "worker"), "Interrupt")
    page.wait_finished(timeout_s=15)
    assert "KeyboardInterrupt" in page.outputs(2).text
    assert "42" in page.execute_cell(3).text.split()


def test_panel_restarts_stops_starts_and_removes(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox worker\nx = 1", PANEL, "%%sandbox worker\n'x' in globals()"])
    page.execute_all()
    session = row(page, 2, "worker")
    expect_state(session, "idle|ready")
    assert "True" in page.outputs(3).text

    press(session, "Restart")
    deadline = time.monotonic() + APPEARS_MS / 1000
    while "False" not in (shown := page.execute_cell(3).text):
        assert time.monotonic() < deadline, shown

    press(session, "Stop")
    expect_state(session, "closed|stopped")
    press(session, "Start")
    expect_state(session, "idle|ready")
    assert "False" in page.execute_cell(3).text

    press(session, "Remove")
    expect(row(page, 2, "worker")).to_have_count(0, timeout=APPEARS_MS)


def test_panel_in_a_saved_notebook_is_not_blank(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, PANEL])
    page.execute_all()
    page.output_area(1).locator(".chorus-nb").wait_for()

    saved = page.save()
    assert "text/plain" in saved.cells[1].outputs[0].data
    assert "widgets" not in saved.metadata


def test_nothing_is_left_after_the_kernel_is_shut_down(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox leftover\n1"])
    page.execute_all()
    assert len(containers_of("leftover")) == 1

    page.server.shut_kernels_down()
    deadline = time.monotonic() + 10
    while left := containers_of("leftover"):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
