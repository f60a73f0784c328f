"""Attempts of code in a sandbox to do what it must not: each is a piece of Python that raises where it failed."""

from __future__ import annotations

from typing import Any

import pytest

from chorus_nb.sandbox import Sandbox

REAL_ENGINES = ["docker", "podman"]

TOOLS = """
import ctypes, errno, mmap, os, resource, signal, socket, stat, struct, subprocess, sys
_libc = ctypes.CDLL(None, use_errno=True)

def checked(result, what="call"):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)
    return result

def syscall(number, *arguments):
    return checked(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")

_memory = ctypes.create_string_buffer(64)

def part(size):  # a struct iovec, as process_vm_readv(2) takes it
    return struct.pack("PN", ctypes.addressof(_memory), size)

def write(path, text="1"):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
"""

REFUSALS = {
    *("PermissionError", "OSError", "FileNotFoundError", "NotADirectoryError", "ProcessLookupError"),
    *("ConnectionRefusedError", "TimeoutError", "ValueError", "InterruptedError"),
}


def engine_of(request: pytest.FixtureRequest, name: str) -> Any:
    return request.getfixturevalue(f"{name}_engine")


def assert_refused(sandbox: Sandbox, attempt: str) -> None:
    """Run an attempt that must fail; and fail by the system's refusal, not because it is badly written."""
    result = sandbox.run(TOOLS + attempt, timeout=30)
    assert result.error is not None, f"{attempt} worked: {result.stdout} {result.result}"
    assert result.error.ename in REFUSALS, "\n".join(result.error.traceback)
