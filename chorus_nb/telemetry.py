"""What a sandbox costs: one reading of its cgroup, and the exact figures of one execution.

Names follow the kernel's cgroup v2 document (``Documentation/admin-guide/cgroup-v2.rst``): ``memory.current``,
``memory.peak``, ``cpu.stat``, ``pids.current``, ``io.stat``. On cgroup v1 the agent fills the same fields from
``memory.usage_in_bytes``, ``cpuacct.usage`` and their like.

Both are pydantic models because their figures come out of a sandbox: what is not a finite number of the right sign is
refused, never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import AgentProtocolError

Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=0, le=2**63, strict=True)]


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    memory_peak_bytes: Count
    """``memory.peak``. Of an execution: its highest sample, or the watermark where that rose meanwhile."""
    memory_limit_bytes: Count | None
    """``memory.max``; None where there is none."""
    pids_limit: Count | None
    """``pids.max``; None where there is none."""
    cpu_time_s: Seconds
    """CPU time of all processes (``cpu.stat``, ``usage_usec``)."""
    network_rx_bytes: Count
    network_tx_bytes: Count
    disk_read_bytes: Count
    disk_write_bytes: Count
    oom_kills: Count
    """``memory.events``, ``oom_kill``."""
    pids_refused: Count
    """Processes and threads that were not made because of the limit (``pids.events``, ``max``)."""

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Self:
        """Read what a sandbox sent. Raises ``AgentProtocolError`` where it is no such figures."""
        try:
            return cls.model_validate(content)
        except ValidationError:
            raise AgentProtocolError(
                "The sandbox sent figures that are none.", next_step="Restart the session."
            ) from None


class ResourceSample(_Figures):
    """One reading of the sandbox's cgroup; its counters run from the container's start."""

    time_s: Seconds
    """Monotonic clock in the sandbox."""
    memory_bytes: Count
    """``memory.current`` less the page cache the kernel can drop (``inactive_file``), as ``docker stats`` counts."""
    pids: Count
    """``pids.current``."""


class ResourceUsage(_Figures):
    """What one execution used: differences of the counters, and the peaks seen during it."""

    duration_s: Seconds
    pids_peak: Count
