"""Which limit a cell failed at: the operating system's errors say what happened, and not which option is the limit.

The text of an error comes from the sandbox and is only matched; what is said of it is ours, and the same each time.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import ResourceLimits
from .config.units import size_text
from .errors import (
    DiskFullError,
    ExecutionError,
    FileSizeLimitError,
    OpenFilesLimitError,
    ProcessLimitError,
    ResourceLimitError,
)
from .telemetry import ResourceUsage

_KINDS: Mapping[str, type[ResourceLimitError]] = {
    "pids": ProcessLimitError,
    "open_files": OpenFilesLimitError,
    "file_size": FileSizeLimitError,
    "tmp": DiskFullError,
    "disk": DiskFullError,
}
_TOO_LARGE = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class ReachedLimit:
    """A limit that code in the sandbox ran into. The variables are kept.

    Attributes
    ----------
    option : str
        What sets it.
    limit : int
        Bytes, or a number.
    figure : int
        What was reached of it.
    hint : str
        What to tell people.
    """

    option: str
    limit: int
    figure: int
    hint: str


def reached_limit(limits: ResourceLimits, reply: Mapping[str, Any], usage: ResourceUsage) -> ReachedLimit | None:
    """Return the limit that a cell, or a program, failed at; None where it did not fail, or at something else."""
    code, text = reply.get("exit_code"), reply.get("evalue")
    not_made = _is_about(text, "[Errno 11]", "can't start new thread")
    if (not_made and (usage.pids_refused or code)) or (usage.pids_refused and code):
        return _processes(limits, usage)
    if _is_about(text, "[Errno 24]"):
        return _open_files(limits)
    if limits.file_size_bytes is not None and (_is_about(text, "[Errno 27]") or code in _TOO_LARGE):
        return _file_size(limits.file_size_bytes)
    if limits.disk_bytes is not None and _is_about(text, "[Errno 122]"):
        return _disk(limits.disk_bytes)
    if _is_about(text, "[Errno 28]"):
        return _folders(limits)
    return None


def failure(content: Mapping[str, Any], reached: ReachedLimit | None) -> ExecutionError:
    """Return the error that the content of an ``error`` message makes, by the limit where it was one."""
    told = content["ename"], content["evalue"], content["traceback"]
    if reached is None or reached.option not in _KINDS:
        return ExecutionError(*told)
    return _KINDS[reached.option](
        *told, hint=reached.hint, option=reached.option, limit=reached.limit, figure=reached.figure
    )


def _is_about(text: object, *marks: str) -> bool:
    """Whether the text of an exception begins as these do, or names one further on, as those that wrap another."""
    return isinstance(text, str) and any(mark in text[:2000] for mark in marks)


def _processes(limits: ResourceLimits, usage: ResourceUsage) -> ReachedLimit:
    hint = f"The sandbox may have {limits.pids} processes and threads at one time; raise it with --pids."
    return ReachedLimit("pids", limits.pids, min(limits.pids, max(usage.pids_peak, 0)), hint)


def _open_files(limits: ResourceLimits) -> ReachedLimit:
    limit = limits.open_files
    hint = f"A process in the sandbox may have {limit} files open; raise it with --open-files."
    return ReachedLimit("open_files", limit, limit, hint)


def _file_size(limit_bytes: int) -> ReachedLimit:
    hint = f"A file in the sandbox may have {size_text(limit_bytes)}; raise it with --file-size."
    return ReachedLimit("file_size", limit_bytes, limit_bytes, hint)


def _disk(limit_bytes: int) -> ReachedLimit:
    hint = f"The sandbox may add {size_text(limit_bytes)} on disk; raise it with --disk."
    return ReachedLimit("disk", limit_bytes, limit_bytes, hint)


def _folders(limits: ResourceLimits) -> ReachedLimit:
    tmp, shm = size_text(limits.tmp_bytes), size_text(limits.shm_bytes)
    disk = "" if limits.disk_bytes is None else f", the disk {size_text(limits.disk_bytes)} (--disk)"
    folders = f"/tmp and the home folder have {tmp} each (--tmp), /dev/shm {shm} (--shm){disk}"  # noqa: S108
    hint = f"In the sandbox {folders}; elsewhere it writes to a disk, which may be full."
    return ReachedLimit("tmp", limits.tmp_bytes, limits.tmp_bytes, hint)
