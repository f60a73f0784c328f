"""What is refused outright: each refusal says which rule, and no other spelling gets around it."""

from __future__ import annotations

import re
import shlex
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chorus_nb import cli
from chorus_nb.config import OPTIONS, REFUSED, RULES, RepositoryMount, SandboxConfig
from chorus_nb.config.capabilities import ALLOWED, NAMES, WAYS_OUT, mask_of, names_of
from chorus_nb.config.devices import device_of
from chorus_nb.engines.base import EngineHost
from chorus_nb.errors import ConfigurationError, PolicyRefusedError
from chorus_nb.refusals import refuse_devices, refuse_engine_sockets
from chorus_nb.repository import resolve_repository

HERE = EngineHost(shares_files=True)


def refused(**options: Any) -> PolicyRefusedError:
    with pytest.raises(PolicyRefusedError) as caught:
        SandboxConfig.from_options(**options)
    error = caught.value
    assert f"refused by the rule {error.rule!r}: " in error.message
    assert error.rule in {rule.name for rule in RULES}
    assert error.next_step
    assert (error.category, error.retryable) == ("policy", False)
    return error


# Options


@pytest.mark.parametrize("name", REFUSED)
def test_what_docker_has_and_a_sandbox_never_is_refused_with_any_value(name: str) -> None:
    assert name not in OPTIONS
    for value in (True, False, "host", None, ["/var/run/docker.sock:/var/run/docker.sock"]):
        assert refused(**{name: value}).rule == REFUSED[name].name


@pytest.mark.parametrize("name", ["network", "userns"])
@pytest.mark.parametrize("value", ["host", "HOST", " host "])
def test_the_hosts_namespaces_are_refused(name: str, value: str) -> None:
    assert refused(**{name: value}).rule == "no host namespace"


@pytest.mark.parametrize(
    "words",
    [
        "--privileged",
        "--pid host",
        "--pid=host",
        "--ipc=host",
        "--volume=/:/host",
        "--volume ~/x:/x",
        "--mount=/x:/proc/x",
        "--network host",
    ],
)
def test_the_command_line_says_the_rule_too(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    assert cli.main(["run", str(tmp_path / "n.ipynb"), *shlex.split(words)]) == 2
    assert re.search("is refused by the rule ['\"]no ", capsys.readouterr().err)


def test_no_help_offers_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = capsys.readouterr().out
    assert "--cap-add" in text
    assert not [name for name in REFUSED if f"--{name.replace('_', '-')} " in text or f"--{name}]" in text]


# Capabilities


def test_each_capability_is_to_be_had_or_refused_with_a_reason() -> None:
    assert set(ALLOWED) | set(WAYS_OUT) == set(NAMES)
    assert not set(ALLOWED) & set(WAYS_OUT)
    assert len(NAMES) == len(set(NAMES)) == 41
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert last + 1 >= len(NAMES) or last >= 35


@pytest.mark.parametrize("name", ["ALL", "all", *WAYS_OUT, "cap_sys_admin", " CAP_BPF "])
def test_a_capability_that_leads_out_is_refused(name: str) -> None:
    for names in (name, [name], ["CHOWN", name]):
        error = refused(cap_add=names)
        assert error.rule == "no capability that leads out"
        assert name.strip().upper().removeprefix("CAP_") in str(error)


def test_the_bits_are_the_kernels() -> None:
    # linux/capability.h
    assert mask_of(["CHOWN"]) == 1
    assert mask_of(["NET_RAW", "SYS_ADMIN", "CHECKPOINT_RESTORE"]) == 1 << 13 | 1 << 21 | 1 << 40
    # What Docker gives where nobody drops anything.
    assert names_of(0xA80425FB) == [name for name in NAMES if 0xA80425FB >> NAMES.index(name) & 1]
    assert names_of(1 << 41 | 2) == ["DAC_OVERRIDE", "capability 41"]


def test_what_was_dropped_is_not_added() -> None:
    security = SandboxConfig.from_options(cap_add=["CHOWN", "NET_RAW"], cap_drop=["CAP_CHOWN", "ALL"]).security
    assert security.capabilities == ("NET_RAW",)


# Devices


LEADING_OUT = """
sda sda1 vda xvdb nvme0 nvme0n1 mapper/root dm-0 loop0 loop-control sg0 sr0 md127 disk/by-id/x bsg/0 mem kmem port kmsg
core cpu/0/msr vfio/1 uinput input/event0 hidraw0 tty tty1 console pts/0 ptmx vcs1 vhost-net tpm0 rfkill watchdog ttyS0
fb0 binder
"""


@pytest.mark.parametrize("path", [f"/dev/{name}" for name in LEADING_OUT.split()])
def test_devices_that_lead_out_are_refused_by_name(path: str) -> None:
    for text in (path, f"{path}:/dev/harmless", f"{path}:r"):
        assert refused(devices=text).rule == "no device that leads out"


@pytest.mark.parametrize(
    "path",
    [
        *("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/dri/card0", "/dev/dri/renderD128", "/dev/kfd"),
        *("/dev/snd/pcmC0D0p", "/dev/video0", "/dev/ttyUSB0", "/dev/ttyACM0", "/dev/fuse", "/dev/net/tun", "/dev/kvm"),
    ],
)
def test_devices_that_people_compute_and_measure_with_are_not(path: str) -> None:
    assert SandboxConfig.from_options(devices=path).security.device_list[0].host == path


def test_a_link_to_a_device_is_refused_by_what_it_leads_to(tmp_path: Path) -> None:
    for target in ("/dev/mem", "/dev/tty1"):
        link = tmp_path / "innocent"
        link.symlink_to(target)
        device = device_of("/dev/full")._replace(host=str(link))
        with pytest.raises(PolicyRefusedError, match=r"innocent.*no device that leads out"):
            refuse_devices([device], HERE)
        link.unlink()


def test_a_device_has_to_be_one(tmp_path: Path) -> None:
    refuse_devices([device_of("/dev/full"), device_of("/dev/null:/dev/x")], HERE)
    with pytest.raises(ConfigurationError, match="/dev/chorus-none does not exist"):
        refuse_devices([device_of("/dev/chorus-none")], HERE)
    with pytest.raises(ConfigurationError, match="/dev/shm is no device"):
        refuse_devices([device_of("/dev/shm")], HERE)


def test_a_block_device_is_refused_whatever_it_is_called() -> None:
    blocks = [path for path in Path("/sys/class/block").iterdir() if Path("/dev", path.name).is_block_device()]
    for block in blocks:
        with pytest.raises(PolicyRefusedError, match="no device that leads out"):
            refuse_devices([device_of("/dev/full")._replace(host=f"/dev/{block.name}")], HERE)


def test_of_another_machines_devices_the_names_alone_are_known() -> None:
    refuse_devices([device_of("/dev/chorus-none")], EngineHost())


# Folders


@pytest.mark.parametrize("path", ["/proc/x", "/sys/fs/y", "/dev/shm/z"])
def test_nothing_is_mounted_over_the_kernels_folders(path: str) -> None:
    assert refused(tmpfs=path).rule == "no mount over the kernel's folders"


@pytest.fixture
def engine_socket() -> Iterator[Path]:
    """A socket that an engine might answer on, in a folder that is no system folder."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = Path(folder, "engine.sock")
        listening.bind(str(path))
        yield path


def test_the_engines_own_socket_is_refused(engine_socket: Path, tmp_path: Path) -> None:
    host = EngineHost(socket=str(engine_socket))
    link, folder_link = tmp_path / "socket", tmp_path / "folder"
    link.symlink_to(engine_socket)
    folder_link.symlink_to(engine_socket.parent)
    for path in (engine_socket, engine_socket.parent, link, folder_link):
        with pytest.raises(PolicyRefusedError, match="no engine socket") as caught:
            resolve_repository(RepositoryMount(path=path), tmp_path, host)
        assert caught.value.rule == "no engine socket"
    assert resolve_repository(RepositoryMount(path=tmp_path), tmp_path, host) == tmp_path


def test_an_address_that_is_a_link_is_followed(engine_socket: Path, tmp_path: Path) -> None:
    (tmp_path / "alias.sock").symlink_to(engine_socket)
    host = EngineHost(socket=str(tmp_path / "alias.sock"))
    for path in (tmp_path, engine_socket.parent):
        with pytest.raises(PolicyRefusedError, match="no engine socket"):
            refuse_engine_sockets([path], host)


@pytest.mark.parametrize("place", [".docker/run/docker.sock", ".colima/default/docker.sock"])
def test_sockets_in_the_home_folder_are_known(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    refuse_engine_sockets([path.parent], EngineHost())
    path.touch()
    with pytest.raises(PolicyRefusedError, match="no engine socket"):
        refuse_engine_sockets([path.parent.parent], EngineHost())


def test_the_socket_of_a_rootless_engine_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()
    with pytest.raises(PolicyRefusedError, match=r"podman\.sock"):
        resolve_repository(RepositoryMount(path=tmp_path), tmp_path)


@pytest.mark.parametrize("path", ["/run", "/var/run", "/etc/ssl", "/proc/1", "/usr/lib", "/boot"])
def test_a_system_folder_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        resolve_repository(RepositoryMount(path=Path(path)), tmp_path)
    assert caught.value.rule in ("no system folder", "no engine socket", "no home folder")


# What comes with a repository may tighten


@pytest.mark.parametrize(
    ("option", "tighter", "looser"),
    [
        ("cap_add", "CHOWN", ["CHOWN", "NET_RAW"]),
        ("cap_drop", ["CHOWN", "NET_RAW"], "CHOWN"),
        ("group_add", [], [44]),
        ("no_new_privileges", True, False),
        ("seccomp", "default", "unconfined"),
        ("seccomp", "/a/profile.json", "unconfined"),
        ("apparmor", "default", "unconfined"),
        ("selinux", [], "disable"),
        ("userns", "private", "default"),
        ("tmpfs", "/a", ["/a", "/b"]),
        ("masked_paths", ["/a/b", "/c"], "/c"),
        ("read_only_paths", ["/a/b", "/c"], "/c"),
        ("devices", [], "/dev/full"),
    ],
)
def test_a_lock_may_be_tightened_and_not_loosened(option: str, tighter: Any, looser: Any) -> None:
    tight, loose = (SandboxConfig.from_options(**{option: value}).option(option) for value in (tighter, looser))
    rule = OPTIONS[option].tighter
    assert rule(tight, loose)
    assert not rule(loose, tight)
    assert rule(tight, tight)
    assert rule(loose, loose)


@pytest.mark.parametrize(
    ("option", "one", "other"),
    [
        ("seccomp", "default", "/a/profile.json"),
        ("apparmor", "default", "mine"),
        ("selinux", "type:a_t", "type:b_t"),
        ("runtime", None, "runsc"),
        ("devices", "/dev/full:r", "/dev/full:rw"),
        ("tmpfs", "/a:1m", "/a:2m"),
    ],
)
def test_what_has_no_order_stays_as_it_is(option: str, one: Any, other: Any) -> None:
    values = [SandboxConfig.from_options(**{option: value}).option(option) for value in (one, other)]
    assert not OPTIONS[option].tighter(values[0], values[1])
    assert not OPTIONS[option].tighter(values[1], values[0])
