"""Figures of a sandbox as its agent sends them: a reading, and the cost of an execution."""

from __future__ import annotations

from typing import Any

from chorus_nb.telemetry import ResourceSample, ResourceUsage

MIB = 2**20
_SHARED: dict[str, Any] = {
    "memory_peak_bytes": 34 * MIB,
    "memory_limit_bytes": 512 * MIB,
    "pids_limit": 128,
    "cpu_time_s": 0.5,
    "network_rx_bytes": 0,
    "network_tx_bytes": 0,
    "disk_read_bytes": 0,
    "disk_write_bytes": 0,
    "oom_kills": 0,
    "pids_refused": 0,
}
SAMPLE: dict[str, Any] = {**_SHARED, "time_s": 1.0, "memory_bytes": 34 * MIB, "pids": 3}
USAGE: dict[str, Any] = {**_SHARED, "duration_s": 1.2, "pids_peak": 3}


def make_sample(**changes: Any) -> ResourceSample:
    return ResourceSample(**{**SAMPLE, **changes})


def make_usage(**changes: Any) -> ResourceUsage:
    return ResourceUsage(**{**USAGE, **changes})
