"""Engines that speak the Docker Engine API: which one is it, what is it asked for, and what does it not heed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sandboxes import REPORT

from chorus_nb.config import NetworkPolicy, ResourceLimits, SecurityPolicy
from chorus_nb.controls import AgentInfo, completed, controls, verify
from chorus_nb.engines.base import ContainerSpec, ResolvedImage
from chorus_nb.engines.dialect import DOCKER, PODMAN, dialect_of
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.engines.host_cgroup import limits_of
from chorus_nb.errors import ConfigurationError, EngineError, PolicyNotEnforcedError

# What engines answered to GET /version and GET /info, cut down to what is read of it.

V1, V2 = {"CgroupVersion": "1"}, {"CgroupVersion": "2"}
DOCKER_VERSION = {"Components": [{"Name": "Engine"}, {"Name": "containerd"}, {"Name": "runc"}], "Arch": "amd64"}
PODMAN_VERSION = {"Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}], "Arch": "amd64"}
ALL = {"MemoryLimit": True, "SwapLimit": True, "CpuCfsQuota": True, "PidsLimit": True}
MACHINE = {"OSType": "linux", "KernelVersion": os.uname().release, "Name": os.uname().nodename, "NCPU": 2}
X86 = {"Architecture": os.uname().machine}
GO = {"Architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)}
SECCOMP = {"SecurityOptions": ["name=seccomp,profile=default"]}
BUILTIN = {"SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"]}
ROOTLESS = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}
RUNC = {"Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}}}

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[str]]] = {
    "Docker 20.10 on cgroup v1": (DOCKER_VERSION, {"CgroupDriver": "cgroupfs", **V1, **ALL, **X86, **SECCOMP}, "", []),
    "Docker 26.1": (DOCKER_VERSION, {"CgroupDriver": "systemd", **V2, **ALL, **X86, **BUILTIN, **RUNC}, "", []),
    "Docker 27 without swap accounting": (
        DOCKER_VERSION,
        {"CgroupDriver": "systemd", **V2, **ALL, "SwapLimit": False, **X86, **BUILTIN, **RUNC},
        "",
        ["swap"],
    ),
    "Docker 28": (DOCKER_VERSION, {"CgroupDriver": "systemd", **V2, **ALL, **X86, **BUILTIN, **RUNC}, "", []),
    "Docker Desktop": (
        DOCKER_VERSION,
        {"CgroupDriver": "cgroupfs", **V2, **ALL, **X86, **BUILTIN, "OperatingSystem": "Docker Desktop"},
        "virtual machine",
        [],
    ),
    "rootless Docker on cgroup v2": (
        DOCKER_VERSION,
        {"CgroupDriver": "systemd", **V2, **ALL, **X86, **ROOTLESS},
        "",
        [],
    ),
    "rootless Docker whose user was given no CPU controller": (
        DOCKER_VERSION,
        {"CgroupDriver": "systemd", **V2, **ALL, "CpuCfsQuota": False, **X86, **ROOTLESS},
        "",
        ["cpus"],
    ),
    "rootless Docker on cgroup v1": (
        DOCKER_VERSION,
        {"CgroupDriver": "none", **V1, **ALL, **X86, **ROOTLESS},
        "",
        ["memory", "swap", "cpus", "pids"],
    ),
    "Podman 4.3 on cgroup v1": (
        PODMAN_VERSION,
        {"CgroupDriver": "cgroupfs", **V1, **ALL, **GO, **SECCOMP, "Rootless": False},
        "",
        [],
    ),
    "rootless Podman 4.3 on cgroup v1": (
        PODMAN_VERSION,
        {"CgroupDriver": "cgroupfs", **V1, **ALL, **GO, **SECCOMP, "Rootless": True},
        "",
        ["memory", "swap", "cpus", "pids"],
    ),
    "rootless Podman 5 on cgroup v2": (
        PODMAN_VERSION,
        {"CgroupDriver": "systemd", **V2, **ALL, **GO, "Rootless": True, "SecurityOptions": ["name=rootless"]},
        "",
        [],
    ),
    "a Podman machine": (
        PODMAN_VERSION,
        {"CgroupDriver": "systemd", **V2, **ALL, **GO, "Rootless": True, "KernelVersion": "6.8.0-300.fc40.aarch64"},
        "another system",
        [],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_of_engine_can_do(kind: str) -> None:
    version, info, no_mirror, missing = KINDS[kind]
    engine = DockerEngine(Endpoint("unix:///recorded.sock", "test"))
    engine._version, engine._info = version, {**MACHINE, **info}
    capabilities = engine.capabilities()
    assert capabilities.name == ("podman" if "Podman" in kind else "docker")
    assert capabilities.mirror is not bool(no_mirror)
    assert no_mirror in capabilities.details.get("mirror", "")
    assert capabilities.limits is not bool(missing)
    assert capabilities.details.get("missing limits", "") == ", ".join(missing)
    assert capabilities.runtimes == tuple(sorted(info.get("Runtimes", ())))
    assert ("runtime" in capabilities.unsupported) is ("Podman" in kind)


@pytest.mark.parametrize("version", [{}, {"Components": None}, {"Components": ["text"]}, {"Components": [{"Name": 3}]}])
def test_what_does_not_say_what_it_is_is_taken_for_docker(version: dict[str, Any]) -> None:
    assert dialect_of(version) is DOCKER


def body(**changes: Any) -> dict[str, Any]:
    host = {
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges:true"],
        "Mounts": [],
        "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}],
        "Tmpfs": {"/tmp": "rw,size=100,mode=1777", "/home/sandbox": "rw,size=100,mode=0755,uid=1000,gid=1001"},
    }
    return {"User": "1000:1001", "HostConfig": host | changes}


def in_podmans_words(**changes: Any) -> dict[str, Any]:
    host: dict[str, Any] = PODMAN.translate(body(**changes), True)["HostConfig"]
    return host


def test_docker_is_asked_in_its_own_words() -> None:
    assert DOCKER.translate(body(Runtime="runsc"), True) == body(Runtime="runsc")


def test_podman_gives_a_folder_to_the_containers_user_and_copies_nothing_into_it() -> None:
    tmpfs = in_podmans_words()["Tmpfs"]
    home, tmp = set(tmpfs["/home/sandbox"].split(",")), set(tmpfs["/tmp"].split(","))
    assert home >= {"size=100", "U", "notmpcopyup"}
    assert not any(word.startswith(("uid", "gid")) for word in home | tmp)
    assert "U" not in tmp


def test_a_folder_for_another_than_podmans_user_is_for_all() -> None:
    host = PODMAN.translate({**body(), "User": "65533:65533"}, True)["HostConfig"]
    assert "mode=1777" in host["Tmpfs"]["/home/sandbox"]


def test_the_folders_that_podman_would_make_writable_are_not() -> None:
    tmpfs = in_podmans_words()["Tmpfs"]
    assert all(tmpfs[path].startswith("ro,") for path in ("/run", "/var/tmp"))
    assert "/run" not in in_podmans_words(ReadonlyRootfs=False)["Tmpfs"]


def test_podman_is_told_how_many_processes_a_user_may_have() -> None:
    assert [each["Name"] for each in in_podmans_words()["Ulimits"]] == ["nofile", "nproc"]
    asked = [{"Name": "nproc", "Soft": 5, "Hard": 5}]
    assert in_podmans_words(Ulimits=asked)["Ulimits"] == asked


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"Runtime": "runsc"}, "runtime"),
        ({"MaskedPaths": ["/proc/keys"]}, "masked_paths"),
        ({"SecurityOpt": ['seccomp={"defaultAction": "SCMP_ACT_ERRNO"}']}, "seccomp"),
        ({"SomethingNew": 1}, "SomethingNew"),
    ],
)
def test_what_podman_would_drop_in_silence_is_an_error_that_names_it(asked: dict[str, Any], option: str) -> None:
    with pytest.raises(PolicyNotEnforcedError, match=f"Podman can't be asked for {option}") as caught:
        in_podmans_words(**asked)
    assert option in caught.value.controls


@pytest.mark.parametrize("path", ["/repo,rw=true", '/repo"', "/repo\nx", "/repo\r"])
def test_a_path_that_podman_would_read_as_options_is_refused(path: str) -> None:
    for mount in ({"Source": path, "Target": "/workspace"}, {"Source": "/", "Target": path}):
        with pytest.raises(ConfigurationError, match="syntax"):
            in_podmans_words(Mounts=[mount])


@pytest.mark.parametrize("path", ["/data:exec", "/data,suid"])
def test_a_volume_that_podman_would_read_as_options_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="syntax"):
        in_podmans_words(Tmpfs={path: "rw"})


def test_podman_is_not_asked_to_mount_what_it_would_make(tmp_path: Path) -> None:
    mounts = [{"Source": str(tmp_path / "missing"), "Target": "/workspace"}]
    with pytest.raises(EngineError, match="missing"):
        in_podmans_words(Mounts=mounts)
    assert PODMAN.translate(body(Mounts=mounts), False)["HostConfig"]["Mounts"] == mounts  # It is elsewhere.


# Limits on the machine's side


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_limits_of_cgroup_v1_from_outside(tmp_path: Path) -> None:
    groups = "9:pids:/docker/ab\n4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n"
    write(tmp_path, {"proc/7/cgroup": groups, "fs/memory/docker/ab/memory.limit_in_bytes": "536870912\n"})
    write(tmp_path, {"fs/pids/docker/ab/pids.max": "128\n", "fs/cpu/docker/ab/cpu.cfs_quota_us": "150000\n"})
    write(tmp_path, {"fs/cpu/docker/ab/cpu.cfs_period_us": "100000\n", "fs/cpu/docker/ab/cpu.shares": "512\n"})
    write(tmp_path, {"fs/memory/docker/ab/memory.memsw.limit_in_bytes": "536870912\n"})
    found = limits_of(7, tmp_path / "proc", tmp_path / "fs")
    assert (found["memory_limit_bytes"], found["pids_limit"], found["cpus"]) == (2**29, 128, 1.5)
    assert found["cgroup_version"] == 1
    assert (found["limits"]["memory_swap_bytes"], found["limits"]["cpu_weight"]) == (2**29, 512)
    # Of the process that asks, and so of no interest:
    assert not {"rlimits", "cpuset", "shm_bytes"} & set(found["limits"])


def test_limits_of_cgroup_v2_from_outside(tmp_path: Path) -> None:
    group = "fs/system.slice/docker-ab.scope"
    write(tmp_path, {"proc/7/cgroup": "0::/system.slice/docker-ab.scope\n", f"{group}/memory.max": "536870912\n"})
    write(tmp_path, {f"{group}/pids.max": "max\n", f"{group}/cpu.max": "50000 100000\n"})
    write(tmp_path, {f"{group}/memory.swap.max": "0\n"})
    found = limits_of(7, tmp_path / "proc", tmp_path / "fs")
    assert (found["memory_limit_bytes"], found["pids_limit"], found["cpus"]) == (2**29, None, 0.5)
    assert (found["cgroup_version"], found["limits"]["memory_swap_bytes"]) == (2, 2**29)


@pytest.mark.parametrize(
    "files",
    [
        {"proc/7/cgroup": "0::/\n", "fs/memory.max": "max", "fs/cpu.max": "max 100000"},
        {"proc/7/cgroup": "4:memory:/x\n", "fs/memory/x/memory.limit_in_bytes": str(2**63 - 4096)},
        {"proc/7/cgroup": "4:memory:/gone\n"},
    ],
)
def test_no_limit_and_none_that_can_be_read_are_the_same(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    found = limits_of(7, tmp_path / "proc", tmp_path / "fs")
    assert {found["memory_limit_bytes"], found["pids_limit"], found["cpus"]} == {None}
    assert found["limits"]["memory_swap_bytes"] is None


@pytest.mark.parametrize("files", [{}, {"proc/7/cgroup": "garbage\n"}])
def test_of_an_unknown_process_nothing_is_said(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    assert limits_of(7, tmp_path / "proc", tmp_path / "fs") == {}


def test_what_the_machine_sees_takes_the_place_of_what_the_agent_can_not() -> None:
    content = {"uid": 1, "memory_limit_bytes": None, "limits": {"memory_swap_bytes": None, "cpuset": "0-1"}}
    outside = {"memory_limit_bytes": 5, "limits": {"memory_swap_bytes": 5}}
    expected = {"uid": 1, "memory_limit_bytes": 5, "limits": {"memory_swap_bytes": 5, "cpuset": "0-1"}}
    assert completed(content, outside) == expected
    assert completed(content, {}) == content
    assert completed({"limits": "text"}, outside)["limits"] == "text"  # Which is then no report.


@pytest.mark.parametrize(("runtime", "accepted"), [("runsc", True), (None, False), ("runc", False)])
def test_what_a_runtime_lacks_is_accepted_where_it_is_asked_for_by_name(runtime: str | None, accepted: bool) -> None:
    spec = ContainerSpec(
        session_name="test",
        image=ResolvedImage("image:1", ("python3",)),
        arguments=(),
        environment={},
        working_dir="/",
        user="1000:1000",
        mounts=(),
        limits=ResourceLimits(),
        network=NetworkPolicy(),
        security=SecurityPolicy(runtime=runtime),
        labels={},
    )
    info = AgentInfo.model_validate({**REPORT, "supervisor_undumpable": False})
    (control,) = [each for each in controls(info, spec) if each.name == "supervisor"]
    assert not control.in_force  # It is listed so in any case.
    assert ("supervisor" in missing(info, spec)) is not accepted


def missing(info: AgentInfo, spec: ContainerSpec) -> tuple[str, ...]:
    try:
        verify(info, spec)
    except PolicyNotEnforcedError as error:
        return error.controls
    return ()
