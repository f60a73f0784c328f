"""What a sandbox may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .option import Option, Policy, smaller
from .units import SizeBytes

SMALLEST_MEMORY_BYTES = 48 * 2**20
"""Below this the agent and IPython do not start: they need about 30 MiB, and the kernel some room to reclaim."""


class ResourceLimits(Policy):
    """What a sandbox may use. The engine enforces each of these through the container's cgroup or its ulimits."""

    memory_bytes: Annotated[
        SizeBytes,
        Field(ge=SMALLEST_MEMORY_BYTES),
        Option("memory", f"a size of at least {SMALLEST_MEMORY_BYTES >> 20}m, such as 512m or 1.5g", smaller),
    ] = 2**30
    """Memory with swap included, in bytes: the container gets no swap on top (``memory.max``)."""
    cpus: Annotated[
        float,
        Field(ge=0.01, le=4096, allow_inf_nan=False),
        Option("cpus", "a number from 0.01 to 4096, such as 1.5", smaller),
    ] = 1.0
    """CPU time per wall-clock time; 1.5 is one and a half cores (``cpu.max``)."""
    pids: Annotated[int, Field(ge=16, le=2**22), Option("pids", "a whole number from 16 to 4194304", smaller)] = 128
    """Processes and threads at one time (``pids.max``)."""
    open_files: Annotated[
        int, Field(ge=64, le=2**20), Option("open_files", "a whole number from 64 to 1048576", smaller)
    ] = 1024
    """Open file descriptors of one process (``RLIMIT_NOFILE``)."""
    tmp_bytes: Annotated[SizeBytes, Field(ge=2**20), Option("tmp", "a size of at least 1m, such as 256m", smaller)] = (
        256 * 2**20
    )
    """Size of ``/tmp`` and of the home folder, in bytes each; both live in memory and count against its limit."""
