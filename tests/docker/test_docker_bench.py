"""The container-runtime section of the CIS Docker Benchmark, as docker-bench-security 1.6 checks it, on a session.

Each test is one of its checks, by its number there, on what the engine says of the container. The two that a default
session does not hold everywhere are explained in docs/security.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sandboxes import container_of, opened

from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
SYSTEM_FOLDERS = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/root", "/home", "/var/run", "/run")
MIRRORED = ("/usr", "/lib")
"""Mounted by the mirror, read-only; the benchmark looks for those that may be written to."""

Found = dict[str, Any]


@pytest.fixture(scope="module")
def found(docker_engine: DockerEngine) -> Iterator[Found]:
    """What the engine says of the container of a default session."""
    with opened(docker_engine, repo="ro", repo_path=Path(__file__).parents[1]):
        yield docker_engine.client.inspect_container(container_of(docker_engine))


def host(found: Found, name: str) -> Any:
    return found["HostConfig"].get(name)


CHECKS: dict[str, Callable[[Found], bool]] = {
    "5.3 SELinux options are set where there is SELinux": lambda f: (
        not Path("/sys/fs/selinux/enforce").exists() or f["ProcessLabel"] != ""
    ),
    "5.4 capabilities are dropped": lambda f: host(f, "CapDrop") == ["ALL"] and not host(f, "CapAdd"),
    "5.5 not privileged": lambda f: host(f, "Privileged") is False,
    "5.6 no sensitive folder of the host": lambda f: (
        not any(
            mount["Source"] in SYSTEM_FOLDERS and (mount["RW"] or mount["Source"] not in MIRRORED)
            for mount in f["Mounts"]
        )
    ),
    "5.7 no sshd": lambda f: "sshd" not in str(f["Config"]["Cmd"]) + str(f["Config"]["Entrypoint"]),
    "5.8 no privileged ports": lambda f: not f["NetworkSettings"]["Ports"],
    "5.9 no open ports": lambda f: not host(f, "PortBindings") and not host(f, "PublishAllPorts"),
    "5.10 not the host's network": lambda f: host(f, "NetworkMode") == "none",
    "5.11 memory is limited": lambda f: 0 < host(f, "Memory") == host(f, "MemorySwap"),
    "5.12 CPU is limited": lambda f: host(f, "NanoCpus") > 0 or host(f, "CpuQuota") > 0,
    "5.13 the root is read-only": lambda f: host(f, "ReadonlyRootfs") is True,
    "5.14 nothing comes in": lambda f: not f["NetworkSettings"]["Ports"],
    "5.15 it does not start again": lambda f: host(f, "RestartPolicy")["Name"] in ("", "no"),
    "5.16 not the host's processes": lambda f: host(f, "PidMode") == "",
    "5.17 not the host's IPC": lambda f: host(f, "IpcMode") == "private",
    "5.18 no devices": lambda f: not host(f, "Devices") and not host(f, "DeviceRequests"),
    "5.19 ulimits are set": lambda f: {each["Name"] for each in host(f, "Ulimits")} >= {"nofile", "core"},
    "5.20 no shared mounts": lambda f: all(mount["Propagation"] in ("", "rprivate") for mount in f["Mounts"]),
    "5.21 not the host's name": lambda f: host(f, "UTSMode") == "",
    "5.22 seccomp is not off": lambda f: "seccomp=unconfined" not in str(host(f, "SecurityOpt")),
    "5.25 no cgroup of somebody else": lambda f: host(f, "CgroupParent") in ("", None),
    "5.26 no new privileges": lambda f: "no-new-privileges" in str(host(f, "SecurityOpt")),
    "5.29 processes are limited": lambda f: host(f, "PidsLimit") > 0,
    "5.30 not on docker0": lambda f: set(f["NetworkSettings"]["Networks"]) <= {"none"},
    "5.31 not the host's user namespace": lambda f: host(f, "UsernsMode") == "",
    "5.32 no engine's socket": lambda f: "docker.sock" not in str(f["Mounts"]),
}

EXPLAINED = ("5.1", "5.2", "5.23", "5.24", "5.27", "5.28")
"""Of the machine, of other commands, or not for this kind of container: each has its line in docs/security.md."""


@pytest.mark.parametrize("check", CHECKS)
def test_a_default_session_holds(found: Found, check: str) -> None:
    assert CHECKS[check](found), check


@pytest.mark.parametrize("number", EXPLAINED)
def test_what_it_need_not_hold_is_explained(number: str) -> None:
    assert re.search(rf"^\| {re.escape(number)} \|.{{20,}}\|$", SECURITY.read_text(), re.MULTILINE)


def test_every_check_of_the_section_is_held_or_explained() -> None:
    held = {check.split()[0] for check in CHECKS}
    assert held.isdisjoint(EXPLAINED)
    assert held | set(EXPLAINED) == {f"5.{number}" for number in range(1, 33)}


def test_apparmor_confines_it_where_the_machine_has_it(found: Found) -> None:
    enabled = os.path.exists("/sys/kernel/security/apparmor/profiles")
    assert bool(found["AppArmorProfile"]) == enabled
