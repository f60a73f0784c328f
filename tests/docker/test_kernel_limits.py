"""Limits as somebody meets them in a notebook: the cell's own traceback, the option that helps, the strip."""

from __future__ import annotations

import time

import pytest
from test_kernel import Kernel, kernel

pytestmark = pytest.mark.docker

__all__ = ["kernel"]


def strip_state(kernel: Kernel) -> str:
    shown = [m["content"]["metadata"] for m in kernel.messages if m["msg_type"] == "update_display_data"]
    return str(shown[-1]["chorus_nb"]["state"])


def test_a_notebook_is_told_of_limits_and_of_sessions_that_were_stopped(kernel: Kernel) -> None:
    line = "%%sandbox small --open-files 64 --idle 4s --repo none\n"
    assert kernel.run(f"{line}x = 7")["status"] == "ok"
    reply = kernel.run("%%sandbox small\nfiles = [open('/dev/null') for _ in range(100)]")
    assert (reply["ename"], reply["evalue"]) == (
        "OpenFilesLimitError",
        "OSError: [Errno 24] Too many open files: '/dev/null'. A process in the sandbox may have 64 files open; "
        "raise it with --open-files.",
    )
    assert kernel.text.endswith(
        "[sandbox] A process in the sandbox may have 64 files open; raise it with --open-files.\n"
    )
    traceback = "\n".join(reply["traceback"])
    assert "OSError" in traceback
    assert "chorus_nb" not in traceback
    assert strip_state(kernel) == "error"
    assert kernel.run("%%sandbox small\nprint(x)")["status"] == "ok"
    assert "7\n" in kernel.text

    time.sleep(6)
    reply = kernel.run("%%sandbox small\nprint(x)")
    assert reply["ename"] == "SessionIdleError"
    assert "Nothing ran in the session 'small' for 4 s" in reply["evalue"]
    assert kernel.run("%%sandbox small\nprint('x' in globals())")["status"] == "ok"
    assert "False\n" in kernel.text


def test_what_contradicts_itself_or_the_machine_is_said_before_anything_starts(kernel: Kernel) -> None:
    for options, told in (
        ("--memory 512m --memory-swap 256m", "memory_swap=256m is below memory=512m"),
        ("--memory 500t", "memory=512000g is more than the engine's machine has"),
        ("--ulimits nofile=10", "ulimits=['nofile=10'] is not allowed"),
        ("--idle soon", "idle='soon' is not allowed"),
    ):
        reply = kernel.run(f"%%sandbox {options}\n1")
        assert reply["ename"] == "ConfigurationError"
        assert told in reply["evalue"]
