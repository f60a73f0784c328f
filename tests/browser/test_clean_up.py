"""However a notebook's kernel ends, its sandboxes end with it."""

from __future__ import annotations

import os
import signal
import time

from .conftest import LOAD, NotebookFactory
from .containers import containers_of_process
from .lab import NotebookPage

GONE_WITHIN_S = 30.0


def run_a_sandboxed_cell(page: NotebookPage) -> int:
    """Run one in a kernel that has just started; return that kernel's process id."""
    page.wait_kernel_ready()
    page.execute_all()
    assert "42" in page.outputs(1).text.split()
    kernel = page.kernel_pid()
    assert len(containers_of_process(kernel)) == 1
    return kernel


def wait_until_gone(kernel: int) -> None:
    """Wait until a process has no containers."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while left := containers_of_process(kernel):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def test_nothing_is_left_after_the_kernel_restarts_is_killed_or_shut_down(notebook: NotebookFactory) -> None:
    page = notebook([LOAD, "%%sandbox\n6 * 7"])

    first = run_a_sandboxed_cell(page)
    page.restart_kernel()
    wait_until_gone(first)

    second = run_a_sandboxed_cell(page)
    assert second != first
    os.kill(second, signal.SIGKILL)
    wait_until_gone(second)
    page.wait_kernel_replaced()

    third = run_a_sandboxed_cell(page)
    page.server.shut_kernel_down(page.path)
    wait_until_gone(third)
