"""The locks in the words of the Docker Engine API, and what an engine without them is not asked for."""

from __future__ import annotations

from typing import Any

import pytest
from test_enforced import APPARMOR, SELINUX, spec_of

from chorus_nb.engines.base import EngineHost
from chorus_nb.engines.docker_body import container_body
from chorus_nb.engines.docker_locks import (
    host_of,
    locks_of,
    refuse_idle_capabilities,
    refuse_missing_locks,
    wider_paths,
)
from chorus_nb.errors import ConfigurationError


def test_the_defaults_loosen_nothing() -> None:
    assert locks_of(spec_of()) == {
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges:true"],
    }


def test_what_is_asked_for_is_asked_of_the_engine() -> None:
    asked = locks_of(
        spec_of(
            cap_add=["NET_RAW", "CHOWN"],
            cap_drop="CHOWN",
            group_add=[44],
            devices="/dev/full:/dev/fancy:r",
            runtime="crun",
            no_new_privileges=False,
            seccomp="unconfined",
            read_only_root=False,
        )
    )
    assert asked == {
        "CapDrop": ["ALL"],
        "CapAdd": ["NET_RAW"],
        "CgroupnsMode": "private",
        "ReadonlyRootfs": False,
        "SecurityOpt": ["seccomp=unconfined"],
        "GroupAdd": ["44"],
        "Runtime": "crun",
        "Devices": [{"PathOnHost": "/dev/full", "PathInContainer": "/dev/fancy", "CgroupPermissions": "r"}],
    }


@pytest.mark.parametrize(
    ("host", "options", "asked"),
    [
        (APPARMOR, {"apparmor": "mine"}, ["apparmor=mine"]),
        (APPARMOR, {"apparmor": "unconfined"}, ["apparmor=unconfined"]),
        (APPARMOR, {"selinux": "disable"}, []),
        (EngineHost(), {"apparmor": "unconfined"}, []),
        (SELINUX, {"selinux": ["type:a_t", "level:s0"]}, ["label=level:s0", "label=type:a_t"]),
        (SELINUX, {"selinux": "disable"}, ["label=disable"]),
    ],
)
def test_labels_are_asked_for_where_the_engine_uses_them(
    host: EngineHost, options: dict[str, Any], asked: list[str]
) -> None:
    assert locks_of(spec_of(host, **options))["SecurityOpt"] == ["no-new-privileges:true", *asked]


def test_folders_in_memory_never_hold_rights_or_devices() -> None:
    body = container_body(spec_of(tmpfs=["/a:8m", "/b,exec"]), "python3")
    tmpfs = {path: options.split(",") for path, options in body["HostConfig"]["Tmpfs"].items()}
    for path in ("/a", "/b"):
        assert {"nosuid", "nodev", "uid=1000", "gid=1000"} <= set(tmpfs[path])
    assert {"noexec", f"size={8 * 2**20}"} <= set(tmpfs["/a"])
    assert {"exec", f"size={256 * 2**20}"} <= set(tmpfs["/b"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"apparmor": "mine"}, "apparmor='mine' can't be had.*no AppArmor"),
        ({"selinux": "type:a_t"}, "selinux='type:a_t' can't be had.*no SELinux"),
        ({"userns": "private"}, "userns='private' can't be had.*userns-remap"),
        ({"runtime": "runsc"}, "runtime='runsc' can't be had.*It has crun, runc"),
    ],
)
def test_what_the_engine_has_not_is_refused_before(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        refuse_missing_locks(spec_of(EngineHost(), **options), ("runc", "crun"))
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("modules", "options"),
    [
        ({"apparmor"}, {"apparmor": "mine"}),
        ({"selinux"}, {"selinux": "type:a_t"}),
        ({"userns"}, {"userns": "private"}),
        ({"rootless"}, {"userns": "private"}),
        (set(), {"apparmor": "unconfined", "selinux": "disable", "runtime": "runc"}),
    ],
)
def test_what_it_has_is_not(modules: set[str], options: dict[str, Any]) -> None:
    refuse_missing_locks(spec_of(EngineHost(security_modules=frozenset(modules)), **options), ("runc",))


def test_capabilities_that_only_root_could_use_are_refused_to_others() -> None:
    refuse_idle_capabilities(spec_of(user="0:0", cap_add="NET_RAW"))
    refuse_idle_capabilities(spec_of(cap_add="NET_RAW", cap_drop="NET_RAW"))
    with pytest.raises(ConfigurationError, match=r"cap_add=NET_RAW would have no effect.*1000:1000.*user='0:0'"):
        refuse_idle_capabilities(spec_of(cap_add="NET_RAW"))


def test_paths_are_added_to_the_engines_own() -> None:
    defaults = {"MaskedPaths": ["/proc/kcore", "/a"], "ReadonlyPaths": None}
    asked = wider_paths(spec_of(masked_paths=["/a", "/b"], read_only_paths="/c"), defaults)
    assert asked == {"MaskedPaths": ["/proc/kcore", "/a", "/b"], "ReadonlyPaths": ["/c"]}
    assert wider_paths(spec_of(masked_paths="/b"), defaults).keys() == {"MaskedPaths"}
    assert wider_paths(spec_of(), defaults) == {}


def test_the_engine_tells_of_its_machine() -> None:
    options = ["name=apparmor", "name=seccomp,profile=default", "name=userns", "selinux"]
    host = host_of({"SecurityOptions": options, "KernelVersion": "6.1.0"}, "unix:///run/docker.sock", True)
    assert host.security_modules == {"apparmor", "seccomp", "userns", "selinux"}
    assert (host.kernel_release, host.socket, host.shares_files) == ("6.1.0", "/run/docker.sock", True)
    assert host_of({}, "tcp://127.0.0.1:2375", False) == EngineHost()
