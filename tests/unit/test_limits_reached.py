"""Which limit a failure is told to be, and which error it is then."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from figures import USAGE as FIGURES

from chorus_nb.config import OutputPolicy, ResourceLimits, SandboxConfig
from chorus_nb.errors import (
    DiskFullError,
    ExecutionError,
    FileSizeLimitError,
    OpenFilesLimitError,
    ProcessLimitError,
    ResourceLimitError,
)
from chorus_nb.limits_reached import failure, reached_limit
from chorus_nb.telemetry import ResourceUsage

LIMITS = SandboxConfig.from_options(pids=64, open_files=256, tmp="8m", shm="1536k").limits

USAGE = {**FIGURES, "memory_limit_bytes": None, "pids_limit": 64, "pids_peak": 9}


def reached(reply: dict[str, Any], *, refused: int = 0, limits: ResourceLimits = LIMITS) -> str | None:
    usage = ResourceUsage.model_validate({**USAGE, "pids_refused": refused})
    found = reached_limit(limits, reply, usage)
    return found.option if found else None


def raised(evalue: str) -> dict[str, Any]:
    return {"status": "error", "ename": "OSError", "evalue": evalue}


@pytest.mark.parametrize(
    ("evalue", "refused", "option"),
    [
        ("[Errno 11] Resource temporarily unavailable", 3, "pids"),
        ("can't start new thread", 1, "pids"),
        ("[Errno 24] Too many open files: 'x'", 0, "open_files"),
        ("[Errno 28] No space left on device", 0, "tmp"),
        ("('Connection aborted.', OSError(24)): [Errno 24] Too many open files", 0, "open_files"),
    ],
)
def test_the_limit_is_told_by_the_error(evalue: str, refused: int, option: str) -> None:
    assert reached(raised(evalue), refused=refused) == option


@pytest.mark.parametrize(
    "reply",
    [
        raised("[Errno 11] Resource temporarily unavailable"),  # A socket says so too, where nothing was refused.
        raised("[Errno 122] Disk quota exceeded"),  # Nobody set one: it is the host's.
        raised("[Errno 27] File too large"),  # Nobody set a limit: it is the file system's.
        raised("[Errno 2] No such file or directory: '[Errno 240]'"),
        raised(""),
        {"status": "error"},
        {"status": "error", "evalue": ["[Errno 28]"]},
        {"status": "ok", "exit_code": 1},
        {"status": "ok", "exit_code": -signal.SIGXFSZ},
        {"status": "ok", "exit_code": "1"},
    ],
)
def test_what_is_not_about_a_limit(reply: dict[str, Any]) -> None:
    assert reached(reply) is None


def test_a_mark_far_inside_a_long_text_is_not_looked_for() -> None:
    assert reached(raised("x" * 10**6 + "[Errno 28]")) is None


def test_the_quota_of_the_storage_driver() -> None:
    limits = SandboxConfig.from_options(disk="1g").limits
    assert reached(raised("[Errno 122] Disk quota exceeded: 'x'"), limits=limits) == "disk"


@pytest.mark.parametrize("code", [-signal.SIGXFSZ, 128 + signal.SIGXFSZ])
def test_a_program_that_a_signal_ended_for_the_size_of_a_file(code: int) -> None:
    limits = SandboxConfig.from_options(file_size="1m").limits
    assert reached({"status": "ok", "exit_code": code}, limits=limits) == "file_size"


def test_programs_that_could_not_be_started() -> None:
    assert reached({"status": "ok", "exit_code": 2}, refused=1) == "pids"
    assert (
        reached({"status": "ok", "exit_code": 126, "evalue": "[Errno 11] Resource temporarily unavailable"}) == "pids"
    )


def test_what_is_told_names_each_option_and_its_value_and_nothing_that_varies() -> None:
    limits = SandboxConfig.from_options(LIMITS_BASE, disk="10g").limits
    usage = ResourceUsage.model_validate({**USAGE, "pids_refused": 5, "pids_peak": 63})
    hints = [
        found.hint
        for evalue in ("can't start new thread", "[Errno 24] x", "[Errno 27] x", "[Errno 28] x")
        if (found := reached_limit(limits, raised(evalue), usage))
    ]
    assert hints == [
        "The sandbox may have 64 processes and threads at one time; raise it with --pids.",
        "A process in the sandbox may have 256 files open; raise it with --open-files.",
        "A file in the sandbox may have 512k; raise it with --file-size.",
        "In the sandbox /tmp and the home folder have 8m each (--tmp), /dev/shm 1536k (--shm), the disk 10g (--disk); "
        "elsewhere it writes to a disk, which may be full.",
    ]


LIMITS_BASE = SandboxConfig.from_options(pids=64, open_files=256, tmp="8m", shm="1536k", file_size="512k")

KINDS = {
    "can't start new thread": ProcessLimitError,
    "[Errno 24] Too many open files": OpenFilesLimitError,
    "[Errno 27] File too large": FileSizeLimitError,
    "[Errno 28] No space left on device": DiskFullError,
}


@pytest.mark.parametrize(("evalue", "kind"), KINDS.items())
def test_the_error_has_the_cells_own_traceback_and_the_figures(evalue: str, kind: type[ResourceLimitError]) -> None:
    content = {"ename": "OSError", "evalue": evalue, "traceback": ["its own"]}
    usage = ResourceUsage.model_validate({**USAGE, "pids_refused": 5, "pids_peak": 63})
    error = failure(content, reached_limit(LIMITS_BASE.limits, raised(evalue), usage))
    assert type(error) is kind
    assert isinstance(error, ResourceLimitError)
    assert isinstance(error, ExecutionError)
    assert (error.ename, error.evalue, error.traceback) == ("OSError", evalue, ["its own"])
    assert error._render_traceback_() == ["its own"]
    assert str(error) == f"OSError: {evalue}. {error.next_step}"
    assert error.category == "resource"
    assert error.state_kept
    assert 0 < error.figure <= error.limit
    assert error.next_step


def test_any_other_error_is_what_it_was() -> None:
    error = failure({"ename": "KeyError", "evalue": "'x'", "traceback": []}, None)
    assert type(error) is ExecutionError


def test_the_limit_of_the_output_is_no_failure() -> None:
    from chorus_nb.outputs import OutputFilter
    from chorus_nb.page import OutputPage

    outputs = OutputFilter(OutputPolicy(max_bytes=2048), OutputPage(display_prefix="x"))
    assert outputs.reached() is None
    outputs.dropped_bytes = 5
    found = outputs.reached()
    assert found is not None
    assert (found.option, found.limit, found.figure) == ("max_output", 2048, 2053)
    assert type(failure({"ename": "E", "evalue": "", "traceback": []}, found)) is ExecutionError
