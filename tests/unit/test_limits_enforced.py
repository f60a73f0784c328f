"""Limits as the agent finds them around it, and what the host makes of that."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sandboxes import REPORT

from chorus_nb.agent.limits import limits_report
from chorus_nb.config import SandboxConfig
from chorus_nb.control import Control
from chorus_nb.limits_enforced import LimitsReport, limit_controls

RECORDED = Path(__file__).parent / "recorded"
PROC = {
    "/proc/self/status": "Name:\tpython3\nCpus_allowed:\t5\nCpus_allowed_list:\t0,2\nMems_allowed_list:\t0\n",
    "/proc/self/limits": """\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max file size             1048576              1048576              bytes     
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    0                    bytes     
Max processes             100                  200                  processes 
Max open files            1024                 1024                 files     
Max realtime timeout      unlimited            unlimited            us        
""",  # noqa: W291
    "/proc/self/mountinfo": """\
700 600 0:50 / / ro,relatime - overlay overlay ro,lowerdir=/l,upperdir=/u,workdir=/w
701 700 0:55 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755,inode64
702 701 0:53 / /dev/shm rw,nosuid,nodev,noexec,relatime shared:1 - tmpfs shm rw,size=1024k,inode64
703 700 0:57 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=262144k,inode64
""",
}


def report(version: int) -> dict[str, Any]:
    """Read what was recorded, as the agent does."""
    root = str(RECORDED / f"cgroup_v{version}")

    def read(path: str) -> str:
        file = Path(path)
        return PROC[path] if path in PROC else file.read_text() if file.exists() else ""

    return limits_report(root, version, read)


def test_v1() -> None:
    found = report(1)
    assert (found["memory_swap_bytes"], found["cpu_weight"], found["blkio_weights"]) == (2**29, 512, [300])
    rates = found["rates"]
    assert rates == {"read_bps": [2**20, 2**21], "write_bps": [], "read_iops": [10], "write_iops": []}


def test_v2() -> None:
    found = report(2)
    assert found["memory_swap_bytes"] == 256 * 2**20 + 256 * 2**20
    assert (found["cpu_weight"], found["blkio_weights"]) == (59, [2930])
    assert found["rates"] == {"read_bps": [2**21], "write_bps": [], "read_iops": [50], "write_iops": [120]}


def test_what_every_process_has() -> None:
    found = report(2)
    assert (found["cpuset"], found["shm_bytes"]) == ("0,2", 2**20)
    assert found["rlimits"]["stack"] == [2**23, -1]
    assert found["rlimits"] == {
        "cpu": [-1, -1],
        "fsize": [2**20, 2**20],
        "stack": [2**23, -1],
        "core": [0, 0],
        "nproc": [100, 200],
        "nofile": [1024, 1024],
        "rttime": [-1, -1],
    }


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("text", ["", "max\n", "nonsense\n", "-1\n", "9223372036854771712\n", "8:0 max\n", "\0" * 50])
def test_what_can_not_be_read_is_no_limit(version: int, text: str) -> None:
    found = LimitsReport.model_validate(limits_report("/cgroup", version, lambda path: text))
    assert (found.memory_swap_bytes, found.shm_bytes, found.rlimits) == (None, None, {})
    assert not any(found.rates.values())


def test_here_it_is_what_this_process_has() -> None:
    found = limits_report("/nowhere", 0)
    infinite = {resource.RLIM_INFINITY: -1}
    has = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found["rlimits"]["nofile"] == [infinite.get(each, each) for each in has]
    assert len(found["rlimits"]) == 15


# What the host makes of it

FOUND = REPORT["limits"]


def compared(version: int = 2, found: dict[str, Any] | None = None, **options: Any) -> dict[str, Control]:
    limits = SandboxConfig.from_options(**options).limits
    report = LimitsReport.model_validate({**FOUND, **(found or {})})
    return {control.name: control for control in limit_controls(report, limits, version)}


def test_the_defaults_are_in_force() -> None:
    found = compared()
    assert list(found) == ["memory and swap", "shared memory", "ulimit core"]
    assert all(control.in_force for control in found.values())
    assert found["memory and swap"] == Control("memory and swap", "1g", "1g", True)


GOOD: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({"memory_swap": "2g"}, {"memory_swap_bytes": 2**31}, 1),
    ({"shm": "65537b"}, {"shm_bytes": 65536 + 4096}, 2),
    ({"cpu_shares": 512}, {"cpu_weight": 512}, 1),
    ({"cpu_shares": 512}, {"cpu_weight": 20}, 2),
    ({"cpu_shares": 512}, {"cpu_weight": 59}, 2),
    ({"cpu_shares": 1024}, {"cpu_weight": 39}, 2),
    ({"cpu_shares": 1024}, {"cpu_weight": 100}, 2),
    ({"cpu_shares": 2}, {"cpu_weight": 1}, 2),
    ({"cpu_shares": 262144}, {"cpu_weight": 10000}, 2),
    ({"cpuset": "0-3"}, {"cpuset": "1-2"}, 2),
    ({"cpuset": "1"}, {"cpuset": "1"}, 2),
    ({"file_size": "1m"}, {"rlimits": {"core": [0, 0], "fsize": [2**20, 2**20]}}, 2),
    ({"ulimits": ["nproc=5:9"]}, {"rlimits": {"core": [0, 0], "nproc": [5, 9]}}, 2),
    ({"ulimits": ["core=unlimited"]}, {"rlimits": {"core": [-1, -1]}}, 2),
    ({"blkio_weight": 300}, {"blkio_weights": [300]}, 1),
    ({"blkio_weight": 300}, {"blkio_weights": [2930]}, 2),
    ({"blkio_weight": 300}, {"blkio_weights": [100, 300]}, 2),
    ({"read_bps": ["/dev/a:2k", "/dev/b:1k"]}, {"rates": {"read_bps": [1024, 2048]}}, 2),
]
BAD: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    ({}, {"memory_swap_bytes": None}, 2, "memory and swap"),
    ({}, {"memory_swap_bytes": 2**30 + 1}, 1, "memory and swap"),
    ({}, {"shm_bytes": None}, 2, "shared memory"),
    ({"shm": "64k"}, {"shm_bytes": 2**26}, 2, "shared memory"),
    ({}, {"rlimits": {"core": [0, -1]}}, 2, "ulimit core"),
    ({}, {"rlimits": {}}, 2, "ulimit core"),
    ({"cpu_shares": 512}, {"cpu_weight": 1024}, 1, "cpu shares"),
    ({"cpu_shares": 512}, {"cpu_weight": 100}, 2, "cpu shares"),
    ({"cpu_shares": 512}, {"cpu_weight": None}, 2, "cpu shares"),
    ({"cpuset": "0"}, {"cpuset": "0-1"}, 2, "cpu set"),
    ({"cpuset": "0"}, {"cpuset": ""}, 2, "cpu set"),
    ({"cpuset": "0"}, {"cpuset": "0-\x1b[31m"}, 2, "cpu set"),
    ({"file_size": "1m"}, {"rlimits": {"core": [0, 0], "fsize": [2**20, 2**21]}}, 2, "file size"),
    ({"ulimits": ["nproc=5"]}, {"rlimits": {"core": [0, 0], "nproc": [-1, -1]}}, 2, "ulimit nproc"),
    ({"ulimits": ["nproc=5"]}, {"rlimits": {"core": [0, 0]}}, 2, "ulimit nproc"),
    ({"blkio_weight": 300}, {"blkio_weights": []}, 1, "block I/O weight"),
    ({"blkio_weight": 300}, {"blkio_weights": [2930]}, 1, "block I/O weight"),
    ({"read_bps": ["/dev/a:1k"]}, {"rates": {}}, 2, "read_bps /dev/a"),
    ({"write_iops": ["/dev/a:5"]}, {"rates": {"write_iops": [6]}}, 2, "write_iops /dev/a"),
    ({"read_bps": ["/dev/a:1k", "/dev/b:1k"]}, {"rates": {"read_bps": [1024]}}, 2, "read_bps /dev/b"),
]


@pytest.mark.parametrize(("options", "found", "version"), GOOD)
def test_a_limit_that_is_in_force(options: dict[str, Any], found: dict[str, Any], version: int) -> None:
    controls = compared(version, found, **options)
    assert all(control.in_force for control in controls.values()), controls


@pytest.mark.parametrize(("options", "found", "version", "name"), BAD)
def test_a_limit_that_is_not(options: dict[str, Any], found: dict[str, Any], version: int, name: str) -> None:
    controls = compared(version, found, **options)
    assert [control.name for control in controls.values() if not control.in_force] == [name]


@pytest.mark.parametrize(
    "lie",
    [
        {"memory_swap_bytes": "1"},
        {"memory_swap_bytes": -2},
        {"memory_swap_bytes": 10**30},
        {"cpuset": "0," * 5000},
        {"rates": {"read_bps": [1] * 1000}},
        {"rates": {str(n): [] for n in range(50)}},
        {"rlimits": {"core": [0]}},
        {"rlimits": {"core": [0, True]}},
        {"blkio_weights": [1, 2, 3]},
        {"shm_bytes": 1.5},
    ],
)
def test_a_report_of_another_shape_is_none(lie: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LimitsReport.model_validate({**FOUND, **lie})
