"""Reading cgroups: v1 as recorded in a container, v2 in the formats of the kernel's ``cgroup-v2.rst``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chorus_nb.agent.cgroup import Cgroup, Meter
from chorus_nb.telemetry import ResourceSample, ResourceUsage

RECORDED = Path(__file__).parent / "recorded"
PROC = str(RECORDED / "proc")
V1 = str(RECORDED / "cgroup_v1")


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """A copy of the v2 files, to change."""
    return Path(shutil.copytree(RECORDED / "cgroup_v2", tmp_path / "cgroup"))


def sample(root: Path | str) -> dict[str, Any]:
    figures = Cgroup(str(root), PROC).sample()
    ResourceSample.model_validate(figures)
    return figures


def test_v1() -> None:
    cgroup = Cgroup(V1, PROC)
    assert (cgroup.version, cgroup.cpus()) == (1, 1.5)
    figures = cgroup.sample()
    del figures["time_s"]
    assert figures == {
        "cpu_time_s": 0.342529656,
        "memory_bytes": 85815296,
        "memory_peak_bytes": 85815296,
        "memory_limit_bytes": 256 * 2**20,
        "pids": 3,
        "pids_limit": 64,
        "disk_read_bytes": 20480 + 1024,
        "disk_write_bytes": 4096,
        "oom_kills": 0,
        "pids_refused": 2,
        "network_rx_bytes": 1500500,
        "network_tx_bytes": 300700,
    }


def test_v2(v2: Path) -> None:
    cgroup = Cgroup(str(v2), PROC)
    assert (cgroup.version, cgroup.cpus()) == (2, 1.5)
    figures = sample(v2)
    del figures["time_s"]
    assert figures == {
        "cpu_time_s": 1.234567,
        "memory_bytes": 134217728 - 16777216,
        "memory_peak_bytes": 201326592,
        "memory_limit_bytes": 256 * 2**20,
        "pids": 5,
        "pids_limit": 64,
        "disk_read_bytes": 1459200 + 90430464,
        "disk_write_bytes": 314773504 + 299008000,
        "oom_kills": 1,
        "pids_refused": 3,
        "network_rx_bytes": 1500500,
        "network_tx_bytes": 300700,
    }


def test_a_kernel_without_the_watermark_gives_what_is_used_now(v2: Path) -> None:
    (v2 / "memory.peak").unlink()
    assert sample(v2)["memory_peak_bytes"] == 134217728


def test_no_limits_are_none(v2: Path) -> None:
    for name in ("memory.max", "pids.max"):
        (v2 / name).write_text("max\n")
    (v2 / "cpu.max").write_text("max 100000\n")
    figures = sample(v2)
    assert (figures["memory_limit_bytes"], figures["pids_limit"]) == (None, None)
    assert Cgroup(str(v2), PROC).cpus() is None


def test_no_limits_of_v1_are_none(tmp_path: Path) -> None:
    root = Path(shutil.copytree(V1, tmp_path / "cgroup"))
    # PAGE_COUNTER_MAX in bytes, as memory.limit_in_bytes shows it where none is set.
    (root / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (root / "pids/pids.max").write_text("max\n")
    (root / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    figures = sample(root)
    assert (figures["memory_limit_bytes"], figures["pids_limit"], Cgroup(str(root)).cpus()) == (None, None, None)


def test_more_cache_than_use_is_not_negative(v2: Path) -> None:
    (v2 / "memory.current").write_text("1000\n")
    assert sample(v2)["memory_bytes"] == 0


@pytest.mark.parametrize("text", ["", "\n", "none\n", "-5\n", "1e9\n", "0x10\n", "a b c\nd=e\n", "²\n"])
def test_what_can_not_be_read_counts_as_nothing(v2: Path, text: str) -> None:
    for file in v2.iterdir():
        file.write_text(text)
    figures = sample(v2)
    del figures["time_s"]
    counted = {key: value for key, value in figures.items() if not key.startswith("network")}
    assert not any(counted.values())
    assert Cgroup(str(v2), PROC).cpus() is None


def test_missing_files_count_as_nothing(v2: Path) -> None:
    for file in v2.iterdir():
        if file.name != "memory.current":
            file.unlink()
    assert sample(v2)["cpu_time_s"] == 0


def test_bytes_that_are_no_text_count_as_nothing(v2: Path) -> None:
    (v2 / "io.stat").write_bytes(b"\xff\xfe rbytes=5\n")
    assert sample(v2)["pids"] == 5


def test_a_quota_without_a_period_is_none(v2: Path) -> None:
    (v2 / "cpu.max").write_text("150000 0\n")
    assert Cgroup(str(v2), PROC).cpus() is None


def test_without_a_cgroup_the_processes_are_added_up() -> None:
    cgroup = Cgroup(root="")
    assert cgroup.version == 0
    before = cgroup.sample()
    ResourceSample.model_validate(before)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        after = cgroup.sample()
        assert after["pids"] >= before["pids"] + 1
        assert after["memory_bytes"] > os.sysconf("SC_PAGE_SIZE")
    finally:
        child.communicate(b"\n")


# What an execution used


def test_a_meter_takes_differences_and_the_highest_samples(v2: Path) -> None:
    meter = Meter(Cgroup(str(v2), PROC))
    (v2 / "memory.current").write_text("150000000\n")
    (v2 / "pids.current").write_text("9\n")
    meter.sample()
    (v2 / "memory.current").write_text("50000000\n")
    (v2 / "pids.current").write_text("2\n")
    (v2 / "cpu.stat").write_text("usage_usec 3234567\n")
    (v2 / "io.stat").write_text("8:0 rbytes=91889765 wbytes=613781604\n")
    (v2 / "memory.events").write_text("oom_kill 3\n")
    usage = meter.usage()
    ResourceUsage.model_validate(usage)
    assert usage["memory_peak_bytes"] == 150000000 - 16777216
    assert usage["pids_peak"] == 9
    assert usage["cpu_time_s"] == pytest.approx(2.0)
    assert (usage["disk_read_bytes"], usage["disk_write_bytes"], usage["oom_kills"]) == (101, 100, 2)
    assert usage["memory_limit_bytes"] == 256 * 2**20


def test_a_watermark_that_rose_between_samples_counts(v2: Path) -> None:
    meter = Meter(Cgroup(str(v2), PROC))
    (v2 / "memory.peak").write_text("250000000\n")
    assert meter.usage()["memory_peak_bytes"] == 250000000


def test_counters_that_go_back_are_not_negative(v2: Path) -> None:
    meter = Meter(Cgroup(str(v2), PROC))
    (v2 / "cpu.stat").write_text("usage_usec 0\n")
    (v2 / "io.stat").unlink()
    usage = meter.usage()
    assert (usage["cpu_time_s"], usage["disk_read_bytes"]) == (0, 0)
