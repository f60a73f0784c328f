"""Limits as the Docker Engine is asked for them, and what is said of those it can't give."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chorus_nb.config import ResourceLimits, SandboxConfig
from chorus_nb.engines.docker_limits import explain, limits_body, refuse_limits, ulimits
from chorus_nb.errors import ConfigurationError, PolicyNotEnforcedError

INFO = {
    "CgroupDriver": "systemd",
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "CPUShares": True,
    "CPUSet": True,
    "NCPU": 4,
    "MemTotal": 8 * 2**30,
    "Warnings": None,
}
RUNC = "OCI runtime create failed: runc create failed: unable to start container process: error during container init: "


def limits(**options: Any) -> ResourceLimits:
    return SandboxConfig.from_options(**options).limits


def test_what_is_not_asked_for_is_left_to_the_engine() -> None:
    assert limits_body(limits()) == {
        "Memory": 2**30,
        "MemorySwap": 2**30,
        "NanoCpus": 10**9,
        "PidsLimit": 128,
        "ShmSize": 64 * 2**20,
        "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}, {"Name": "core", "Soft": 0, "Hard": 0}],
    }


def test_all_that_can_be_asked_for() -> None:
    asked = limits(
        memory="512m",
        memory_swap="1g",
        cpu_shares=512,
        cpuset="0,2-3",
        file_size="10m",
        ulimits=["core=1m:unlimited", "nproc=10:20"],
        shm="1m",
        blkio_weight=300,
        read_bps=["/dev/a:1m", "/dev/b:2m"],
        write_bps=["/dev/a:3m"],
        read_iops=["/dev/a:4"],
        write_iops=["/dev/a:5"],
    )
    body = limits_body(asked)
    assert (body["Memory"], body["MemorySwap"], body["ShmSize"]) == (2**29, 2**30, 2**20)
    assert (body["CpuShares"], body["CpusetCpus"], body["BlkioWeight"]) == (512, "0,2-3", 300)
    assert body["BlkioDeviceReadBps"] == [{"Path": "/dev/a", "Rate": 2**20}, {"Path": "/dev/b", "Rate": 2**21}]
    assert body["BlkioDeviceWriteBps"] == [{"Path": "/dev/a", "Rate": 3 * 2**20}]
    assert (body["BlkioDeviceReadIOps"][0]["Rate"], body["BlkioDeviceWriteIOps"][0]["Rate"]) == (4, 5)
    assert ulimits(asked) == {
        "nofile": (1024, 1024),
        "core": (2**20, -1),
        "fsize": (10 * 2**20, 10 * 2**20),
        "nproc": (10, 20),
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"memory": "9g"}, r"^memory=9g is more than the engine's machine has\. Allowed: up to 8192m"),
        ({"cpus": 5}, r"^cpus=5 is more than the engine has\. Allowed: up to 4"),
        ({"read_bps": ["/dev/nothing-there:1m"]}, r"^read_bps: there is no device /dev/nothing-there .*lsblk"),
        ({"write_iops": ["/dev/null:1"]}, r"^write_iops: /dev/null is no disk .*whole disk"),
    ],
)
def test_more_than_the_machine_has(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        refuse_limits(limits(**options), INFO, "unix:///x", local=True)


def test_devices_of_another_machine_are_its_own_to_know() -> None:
    refuse_limits(limits(read_bps=["/dev/nothing-there:1m"]), INFO, "tcp://x", local=False)


@pytest.mark.parametrize(
    ("options", "difference", "missing"),
    [
        ({"cpu_shares": 512}, {"CPUShares": False}, "cpu_shares"),
        ({"cpuset": "0"}, {"CPUSet": False}, "cpuset"),
        ({"cpuset": "0"}, {"CPUSet": False, "SwapLimit": False}, "swap, cpuset"),
        ({"blkio_weight": 100}, {"Warnings": ["WARNING: No io.weight support"]}, "blkio_weight"),
        ({"blkio_weight": 100}, {"Warnings": ["WARNING: No blkio weight support"]}, "blkio_weight"),
        ({"read_bps": ["/dev/a:1"]}, {"Warnings": ["WARNING: No io.max (rbps) support"]}, "read_bps"),
        ({"write_bps": ["/dev/a:1"]}, {"Warnings": ["WARNING: No io.max (wbps) support"]}, "write_bps"),
        (
            {"read_iops": ["/dev/a:1"]},
            {"Warnings": ["WARNING: No blkio.throttle.read_iops_device support"]},
            "read_iops",
        ),
        ({"write_iops": ["/dev/a:1"]}, {"Warnings": ["WARNING: No io.max (wiops) support"]}, "write_iops"),
    ],
)
def test_what_the_kernel_lacks_is_refused_where_it_is_asked_for(
    options: dict[str, Any], difference: dict[str, Any], missing: str
) -> None:
    info = {**INFO, **difference}
    with pytest.raises(PolicyNotEnforcedError, match=f"does not enforce limits on {missing}\\.") as caught:
        refuse_limits(limits(**options), info, "unix:///x", local=False)
    assert ", ".join(caught.value.controls) == missing
    if "SwapLimit" not in difference:
        refuse_limits(limits(), info, "unix:///x", local=False)


@pytest.mark.parametrize(
    ("options", "words", "told"),
    [
        (
            {"ulimits": ["memlock=1g"]},
            RUNC + "error setting rlimits for ready process: error setting rlimit type 8: operation not permitted",
            r"^ulimits=memlock=1g:1g is more than the engine may give .* LimitMEMLOCK=",
        ),
        ({}, "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted", r"^open_files=1024 is more"),
        (
            {"file_size": "1t"},
            RUNC + "error setting rlimit type 1: operation not permitted",
            r"^file_size=1024g is more",
        ),
        (
            {"read_bps": ["/dev/sdx:1"]},
            "stat /dev/sdx: no such file or directory",
            r"^read_bps: there is no device /dev/sdx",
        ),
        (
            {"read_iops": ["/dev/sda1:1"]},
            RUNC
            + 'failed to write "8:1 1": write /sys/fs/cgroup/blkio/docker/1/blkio.throttle.read_iops_device: no such '
            "device: unknown",
            r"^read_iops: /dev/sda1 is no disk",
        ),
        (
            {"write_bps": ["/dev/sda1:1"]},
            RUNC
            + 'failed to write "8:1 wbps=1": write /sys/fs/cgroup/system.slice/docker-1.scope/io.max: no such device',
            r"^write_bps: /dev/sda1 is no disk",
        ),
    ],
)
def test_what_the_engine_says_of_a_limit_is_said_of_its_option(options: dict[str, Any], words: str, told: str) -> None:
    reason = explain(words, limits(**options))
    assert isinstance(reason, ConfigurationError)
    assert re.search(told, str(reason)), str(reason)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "no space left on device",
        "stat /dev/other: no such file or directory",
        "setting rlimit type 99: no",
        "setting rlimit type 6: no",
        "write /sys/fs/cgroup/blkio/docker/1/blkio.throttle.read_bps_device: no such device",
    ],
)
def test_other_words_are_not_about_a_limit(words: str) -> None:
    assert explain(words, limits()) is None
