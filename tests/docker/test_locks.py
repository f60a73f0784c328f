"""Each lock of the security policy: an attempt to break it from inside, and what the engine says of the container."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sandboxes import container_of, opened, own_containers, value
from second_engine import second_engine

from chorus_nb.config import SandboxConfig
from chorus_nb.engines import docker_container
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.docker_body import container_body
from chorus_nb.errors import ChorusError, ConfigurationError, PolicyNotEnforcedError
from chorus_nb.sandbox import Sandbox
from chorus_nb.status import describe

pytestmark = pytest.mark.docker

LIBC = """
import ctypes, errno, os, socket, stat, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""
FORBIDDEN = ("PermissionError", "OSError", "FileNotFoundError")


def spare_device() -> str:
    """Return a device of this machine that may be asked for, and that no container has unasked."""
    likely = [Path("/dev", name) for name in ("fuse", "kvm", "hwrng", "vsock")]
    found = [path for path in (*likely, *sorted(Path("/dev").rglob("*"))) if path.is_char_device()]
    usual = {(1, minor) for minor in (3, 5, 7, 8, 9)} | {(5, 0), (5, 1), (5, 2), (10, 200)}
    for path in found:
        number = path.stat().st_rdev
        if (os.major(number), os.minor(number)) not in usual:
            with suppress(ConfigurationError):
                SandboxConfig.from_options(devices=str(path))
                return str(path)
    raise AssertionError("this machine has no such device")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "private").mkdir()
    (folder / "private" / "key").write_text("the key\n")
    (folder / "token").write_text("the token\n")
    (folder / "fixed").mkdir()
    (folder / "fixed" / "data").write_text("the data\n")
    return folder


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine, repository: Path) -> Iterator[Sandbox]:
    """Root inside, who may write to the repository: only the locks are in the way."""
    with opened(
        docker_engine,
        user="0:0",
        repo="rw",
        repo_path=repository,
        group_add=4321,
        masked_paths=["/workspace/private", "/workspace/token", "/workspace/absent"],
        read_only_paths="/workspace/fixed",
        tmpfs=["/scratch:8m", "/programs:8m,exec"],
        devices=f"{spare_device()}:/dev/fancy:r",
        runtime="runc",
    ) as sandbox:
        sandbox.run(LIBC)
        yield sandbox


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    """The module's sandbox as it is: no test changes its namespace to another's harm."""
    return kept


@pytest.fixture(scope="module")
def loosened(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """What may be loosened, is."""
    profile = tmp_path_factory.mktemp("profile") / "no-folders.json"
    denied = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]}))
    with opened(
        docker_engine,
        user="0:0",
        cap_add=["CAP_NET_RAW", "chown"],
        cap_drop="CHOWN",
        seccomp=profile,
        no_new_privileges=False,
        read_only_root=False,
    ) as sandbox:
        sandbox.run(LIBC)
        yield sandbox


def host_config(engine: DockerEngine) -> dict[str, Any]:
    """Return what the engine says of the module's container."""
    owned: dict[str, Any] = engine.client.inspect_container(container_of(engine))["HostConfig"]
    return owned


def refused(sandbox: Sandbox, attempt: str) -> str:
    """Run an attempt that the kernel must refuse; return its words."""
    result = sandbox.run(attempt)
    assert result.error is not None, attempt
    assert result.error.ename in FORBIDDEN, result.error
    return result.error.evalue


# Nothing that was asked for is silently something else


def test_every_control_is_in_force_and_shown(sandbox: Sandbox) -> None:
    text = describe(sandbox._session)
    head, *lines = text[text.index("CONTROL") :].splitlines()
    rows = {name: columns for name, *columns in (re.split(" {2,}", line) for line in lines)}
    assert {"capabilities", "seccomp", "namespaces", "masked paths", "groups", "user namespace"} <= set(rows)
    assert rows["devices"] == ["the usual, /dev/fancy"] * 2
    assert rows["masked /workspace/private"] == ["masked", "masked"]
    assert rows["masked /workspace/absent"] == ["masked", "absent"]
    assert rows["tmpfs /scratch"] == ["8m, noexec"] * 2
    assert all(control.in_force for control in sandbox._session.controls)
    for name in ("REQUESTED", "ENFORCED"):  # Each column begins where its head does.
        assert {line[head.index(name) - 1] for line in lines} == {" "}


def test_the_engine_says_the_same(docker_engine: DockerEngine, sandbox: Sandbox) -> None:
    host = host_config(docker_engine)
    assert (host["CapAdd"], host["CapDrop"], host["Privileged"]) == (None, ["ALL"], False)
    assert (host["PidMode"], host["IpcMode"], host["UTSMode"], host["UsernsMode"]) == ("", "private", "", "")
    assert (host["CgroupnsMode"], host["NetworkMode"], host["Runtime"]) == ("private", "none", "runc")
    assert (host["SecurityOpt"], host["ReadonlyRootfs"]) == (["no-new-privileges:true"], True)
    assert {"/proc/kcore", "/sys/firmware", "/workspace/private", "/workspace/token"} <= set(host["MaskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger", "/workspace/fixed"} <= set(host["ReadonlyPaths"])
    assert [device["PathInContainer"] for device in host["Devices"]] == ["/dev/fancy"]
    assert (host["GroupAdd"], host["Binds"], host["VolumesFrom"], host["PortBindings"]) == (["4321"], None, None, None)


# Masked and read-only


def test_what_is_masked_can_be_neither_read_nor_unmasked(sandbox: Sandbox, repository: Path) -> None:
    assert value(sandbox, "os.listdir('/workspace/private'), open('/workspace/token').read()") == "([], '')"
    assert (
        value(sandbox, "os.listdir('/proc/self/root/workspace/private'), os.listdir('/proc/self/cwd/private')")
        == "([], [])"
    )
    for path in ("/workspace/private", "/workspace/token", "/proc/kcore", "/sys/firmware"):
        refused(sandbox, f"call('umount2', {path.encode()!r}, 2)")
    refused(sandbox, "call('mount', b'/workspace', b'/scratch', None, 4096, None)")
    refused(sandbox, "open('/workspace/private/new', 'w')")
    refused(sandbox, "os.rename('/workspace/private', '/workspace/public')")
    refused(sandbox, "os.rename('/workspace/token', '/workspace/taken')")
    sandbox.run("open('/workspace/token', 'w').write('overwritten')")
    assert (repository / "token").read_text() == "the token\n"
    assert (repository / "private" / "key").read_text() == "the key\n"


def test_what_is_read_only_takes_no_writes(sandbox: Sandbox, repository: Path) -> None:
    assert value(sandbox, "open('/workspace/fixed/data').read()") == "'the data\\n'"
    for attempt in (
        "open('/workspace/fixed/data', 'a')",
        "open('/workspace/fixed/new', 'w')",
        "os.remove('/workspace/fixed/data')",
        "os.chmod('/workspace/fixed/data', 0o777)",
        "os.link('/workspace/fixed/data', '/workspace/linked')",
        "call('mount', None, b'/workspace/fixed', None, 4096 | 32, None)",
        "call('umount2', b'/workspace/fixed', 2)",
    ):
        refused(sandbox, attempt)
    value(sandbox, "open('/workspace/made', 'w').write('elsewhere')")
    assert [path.name for path in (repository / "fixed").iterdir()] == ["data"]
    assert (repository / "made").read_text() == "elsewhere"


KERNELS = """
/proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/1/mem
/proc/irq/default_smp_affinity /proc/bus/pci/devices /sys/kernel/uevent_helper /sys/power/state
/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory.max
/sys/fs/cgroup/cgroup.procs
"""


@pytest.mark.parametrize("path", KERNELS.split())
def test_nothing_of_the_kernels_can_be_written(sandbox: Sandbox, path: str) -> None:
    refused(sandbox, f"open({path!r}, 'r+').write('1')")


def test_nothing_of_the_hosts_memory_and_keys_can_be_read(sandbox: Sandbox) -> None:
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats"):
        assert value(sandbox, f"os.path.exists({path!r}) and open({path!r}, 'rb').read(1)") in ("False", "b''")
    folders = "[os.listdir(path) for path in ('/sys/firmware', '/proc/acpi', '/proc/scsi') if os.path.exists(path)]"
    assert value(sandbox, folders).strip("[], ") == ""


# Folders in memory


def test_folders_in_memory_are_bounded_and_give_no_rights(sandbox: Sandbox) -> None:
    words = refused(sandbox, "with open('/scratch/big', 'wb') as file: file.write(b'x' * 2**24)")
    assert "No space left" in words
    copy = "import shutil; os.path.exists('/scratch/big') and os.remove('/scratch/big'); shutil.copy('/usr/bin/true', '{}/true'); os.chmod('{}/true', 0o4755)"  # noqa: E501
    value(sandbox, copy.replace("{}", "/scratch"))
    assert "Permission denied" in refused(sandbox, "subprocess.run(['/scratch/true'])")
    value(sandbox, copy.replace("{}", "/programs"))
    assert value(sandbox, "subprocess.run(['/programs/true']).returncode") == "0"
    folders = (
        "[line.split()[5] for line in open('/proc/self/mountinfo') if line.split()[4] in ('/programs', '/scratch')]"
    )
    assert value(sandbox, folders).count("nosuid,nodev") == 2
    refused(sandbox, "call('mount', None, b'/scratch', None, 32, None)")


# Devices


def test_a_device_is_used_as_far_as_was_asked_and_no_other(sandbox: Sandbox) -> None:
    assert value(sandbox, "os.close(os.open('/dev/fancy', os.O_RDONLY))") == ""
    assert "not permitted" in refused(sandbox, "os.open('/dev/fancy', os.O_WRONLY)")
    for folder in ("/dev", "/scratch", "/workspace"):
        refused(sandbox, f"os.mknod('{folder}/disk', stat.S_IFBLK | 0o666, os.makedev(8, 0))")
        refused(sandbox, f"os.mknod('{folder}/memory', stat.S_IFCHR | 0o666, os.makedev(1, 1))")
    found = "sorted(n for n in os.listdir('/dev') if stat.S_ISBLK(os.stat('/dev/' + n).st_mode))"
    assert value(sandbox, found) == "[]"


# Rights


@pytest.mark.parametrize(
    "attempt",
    [
        "os.chown('/scratch', 1000, 1000)",
        "os.setuid(1000)",
        "os.setgroups([27])",
        "os.chroot('/scratch')",
        "call('sethostname', b'other', 5)",
        "call('mount', b'none', b'/scratch', b'tmpfs', 0, None)",
        "call('unshare', 0x10000000)",  # CLONE_NEWUSER: in a user namespace of its own it would have all capabilities.
        "call('unshare', 0x00020000)",
        "call('setns', os.open('/proc/self/ns/ipc', os.O_RDONLY), 0)",
        "call('swapon', b'/scratch', 0)",
        "call('reboot', 0)",
        "call('acct', b'/scratch/acct')",
        "call('syscall', 321, 0, None, 0)",  # bpf(2)
        "call('syscall', 304, -100, None, 0)",  # open_by_handle_at(2)
        "call('syscall', 250, 0, 0)",  # keyctl(2)
        "os.nice(-5)",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "call('setrlimit', 7, (ctypes.c_uint64 * 2)(4096, 4096))",  # RLIMIT_NOFILE
        "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    ],
)
def test_root_without_capabilities_can_do_none_of_it(sandbox: Sandbox, attempt: str) -> None:
    assert value(sandbox, "os.getuid()") == "0"
    refused(sandbox, attempt)


def test_dropped_capabilities_can_not_be_taken_back(sandbox: Sandbox) -> None:
    """capset(2) with all of them permitted, and with all of them inheritable."""
    code = "call('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*{}))"
    for fields in ((1, 1, 0, 0, 0, 0), (0, 0, 2**21, 0, 0, 0), (0xFFFFFFFF,) * 6):
        assert "not permitted" in refused(sandbox, code.format(fields))
    assert "not permitted" in refused(sandbox, "call('prctl', 47, 2, 13, 0, 0)")  # PR_CAP_AMBIENT_RAISE


def test_no_new_privileges_can_not_be_taken_back(sandbox: Sandbox) -> None:
    refused(sandbox, "call('prctl', 38, 0, 0, 0, 0)")  # PR_SET_NO_NEW_PRIVS
    refused(sandbox, "call('prctl', 22, 0, 0, 0, 0)")  # PR_SET_SECCOMP
    assert "NoNewPrivs:\t1" in sandbox.run("print(open('/proc/self/status').read())").stdout


def test_the_groups_are_those_that_were_asked_for(sandbox: Sandbox) -> None:
    assert value(sandbox, "sorted(os.getgroups())") == "[0, 4321]"


def test_the_namespaces_are_its_own(sandbox: Sandbox) -> None:
    assert value(sandbox, "{line.split(':', 2)[2].strip() for line in open('/proc/self/cgroup')}") == "{'/'}"
    for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts"):
        assert value(sandbox, f"os.readlink('/proc/self/ns/{name}')").strip("'") != str(
            Path(f"/proc/self/ns/{name}").readlink()
        )
    assert value(sandbox, "max(int(name) for name in os.listdir('/proc') if name.isdigit()) < 1000") == "True"


# Loosened on purpose


def test_what_was_added_is_there_and_nothing_else(loosened: Sandbox) -> None:
    assert value(loosened, "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()") == ""
    for attempt in ("os.chown('/tmp', 1000, 1000)", "os.setuid(1000)", "call('sethostname', b'other', 5)"):
        refused(loosened, attempt)
    controls = {control.name: control for control in loosened._session.controls}
    assert controls["capabilities"].requested == controls["capabilities"].enforced == "NET_RAW"
    assert controls["no-new-privileges"].requested == controls["no-new-privileges"].enforced == "off"


def test_a_profile_of_ones_own_is_in_force(docker_engine: DockerEngine, loosened: Sandbox) -> None:
    assert "not permitted" in refused(loosened, "os.mkdir('/tmp/folder')")
    owned = docker_engine.client.inspect_container(loosened._session._container.id)  # type: ignore[union-attr]
    (option,) = owned["HostConfig"]["SecurityOpt"]
    assert json.loads(option.removeprefix("seccomp="))["syscalls"][0]["names"] == ["mkdir", "mkdirat"]


def test_unconfined_is_what_it_says(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, seccomp="unconfined") as sandbox:
        controls = {control.name: control for control in sandbox._session.controls}
        assert (controls["seccomp"].requested, controls["seccomp"].enforced) == ("unconfined", "none")
        assert "Seccomp:\t0" in sandbox.run("print(open('/proc/self/status').read())").stdout


# What the engine does not enforce ends the start

OTHER_DEVICE = {"PathOnHost": "/dev/full", "PathInContainer": "/dev/other", "CgroupPermissions": "rw"}
FOLDERS = ("/home/sandbox", "/tmp", "/workspace")


@pytest.mark.parametrize(
    ("forgotten", "named"),
    [
        ({"CapDrop": [], "CapAdd": ["CHOWN"]}, {"capabilities"}),
        ({"CapAdd": ["NET_RAW"]}, {"capabilities"}),
        ({"SecurityOpt": []}, {"no-new-privileges"}),
        ({"SecurityOpt": ["no-new-privileges:true", "seccomp=unconfined"]}, {"seccomp"}),
        ({"ReadonlyRootfs": False}, {"read-only root"}),
        ({"MaskedPaths": []}, {"masked paths"}),
        ({"ReadonlyPaths": ["/proc/bus"]}, {"read-only paths"}),
        ({"MaskedPaths": ["/proc/kcore"]}, {"masked paths"}),
        ({"GroupAdd": ["27"]}, {"groups"}),
        ({"Devices": [OTHER_DEVICE]}, {"devices"}),
        ({"PidMode": "host"}, {"namespaces"}),
        ({"IpcMode": "host"}, {"namespaces", "shared memory"}),
        ({"UTSMode": "host"}, {"namespaces"}),
        ({"Tmpfs": {"/tmp": "rw,nosuid,nodev,size=1g"}}, {f"tmpfs {path}" for path in FOLDERS}),
        ({"Tmpfs": dict.fromkeys(FOLDERS, "rw,nosuid,nodev,size=0")}, {f"tmpfs {path}" for path in FOLDERS}),
        ({"Tmpfs": dict.fromkeys(FOLDERS, "rw,suid,nodev,size=64m")}, {f"tmpfs {path}" for path in FOLDERS}),
        ({"Privileged": True}, {"devices", "masked paths", "read-only paths", "seccomp", "capabilities"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_lock_that_the_engine_forgets_ends_the_start_by_its_name(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, forgotten: dict[str, Any], named: set[str]
) -> None:
    def forgetful(*arguments: Any) -> dict[str, Any]:
        body = container_body(*arguments)
        host = "UTSMode" in forgotten and {"Hostname": ""}
        return {**body, **(host or {}), "HostConfig": {**body["HostConfig"], **forgotten}}

    monkeypatch.setattr(docker_container, "container_body", forgetful)
    before = own_containers(docker_engine)
    options = {"user": "0:0"} if "CapDrop" in forgotten or "CapAdd" in forgotten else {}
    with pytest.raises(PolicyNotEnforcedError) as caught, opened(docker_engine, **options):
        pass
    assert set(caught.value.controls) == named
    assert own_containers(docker_engine) <= before


# What can't be had


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cap_add": "NET_RAW", "user": "1000:1000"}, r"cap_add=NET_RAW would have no effect.*user='0:0'"),
        ({"runtime": "chorus-none"}, r"runtime='chorus-none' can't be had.*It has .*runc"),
        ({"seccomp": "/chorus/none.json"}, r"no seccomp profile /chorus/none\.json"),
        ({"devices": "/dev/chorus-none"}, r"/dev/chorus-none does not exist"),
    ],
)
def test_what_can_not_be_had_is_said_before_anything_is_created(
    docker_engine: DockerEngine, options: dict[str, Any], words: str
) -> None:
    before = own_containers(docker_engine)
    with pytest.raises(ConfigurationError, match=words), opened(docker_engine, **options):
        pass
    assert own_containers(docker_engine) <= before


def test_modules_that_the_host_lacks_are_named(docker_engine: DockerEngine) -> None:
    modules = docker_engine.host().security_modules
    asked = {"apparmor": "chorus-none", "selinux": "type:chorus_none_t", "userns": "private"}
    lacking = {option: text for option, text in asked.items() if option not in modules}
    for option, text in lacking.items():
        said = pytest.raises(ConfigurationError, match=f"{option}='{text}' can't be had")
        with said, opened(docker_engine, **{option: text}):
            pass
    with opened(docker_engine, apparmor="unconfined", selinux="disable") as sandbox:
        assert value(sandbox, "6 * 7") == "42"


def test_in_an_image_without_python_capabilities_are_refused(
    docker_engine: DockerEngine, image_with_shell: str
) -> None:
    before = own_containers(docker_engine)
    with (
        pytest.raises(ConfigurationError, match=r"cap_add=CHOWN can't be had.*no Python"),
        opened(docker_engine, image=image_with_shell, user="0:0", cap_add="CHOWN"),
    ):
        pass
    assert own_containers(docker_engine) <= before


def test_the_locks_hold_in_an_image_without_python_too(docker_engine: DockerEngine, image_with_shell: str) -> None:
    locks = {
        "masked_paths": ["/bin/yes"],
        "tmpfs": "/scratch:4m",
        "group_add": 7,
        "devices": f"{spare_device()}:/dev/a/b:r",
    }
    with opened(docker_engine, image=image_with_shell, user="0:0", **locks) as shell:
        assert all(control.in_force for control in shell._session.controls)
        names = {control.name for control in shell._session.controls}
        assert {"masked /bin/yes", "tmpfs /scratch", "devices", "capabilities"} <= names
        assert shell.command(["sh", "-c", "cat /bin/yes"]).stdout == ""
        assert shell.command(["sh", "-c", ": >/dev/a/b"]).exit_code != 0


# A user namespace of its own


@pytest.fixture
def remapping_engine() -> Iterator[DockerEngine]:
    """An engine whose root is a user without rights, from a range that this machine's own files know nothing of."""
    folder = Path(tempfile.mkdtemp(prefix="chorus-nb-"))
    folder.chmod(0o755)  # Whoever root is there has to pass.
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    ranges = folder / "ranges"
    ranges.write_text("".join(f"{name}:{FIRST_USER}:65536\n" for name in {"nobody", group}))
    prepare = " && ".join(f"mount --bind {ranges} {path}" for path in ("/etc/subuid", "/etc/subgid"))
    with second_engine(folder, f"--userns-remap=nobody:{group}", prepare=prepare) as engine:
        yield engine.client()


FIRST_USER = 100_000


def test_in_a_user_namespace_of_its_own_root_is_nobody_outside(remapping_engine: DockerEngine) -> None:
    options = {"userns": "private", "user": "0:0", "cap_add": "CHOWN", "masked_paths": "/etc/ssl"}
    with opened(remapping_engine, **options) as sandbox:
        controls = {control.name: control for control in sandbox._session.controls}
        assert all(control.in_force for control in controls.values())
        assert (controls["user namespace"].requested, controls["user namespace"].enforced) == ("private", "private")
        state = remapping_engine.client.inspect_container(container_of(remapping_engine))["State"]
        fields = Path(f"/proc/{state['Pid']}/status").read_text().partition("Uid:")[2].split()
        assert fields[:4] == [str(FIRST_USER)] * 4
        value(sandbox, LIBC + "open('/tmp/mine', 'w').close(); os.chown('/tmp/mine', 5, 5)")
        for attempt in ("call('sethostname', b'other', 5)", "os.chown('/usr/bin/env', 0, 0)", "os.setuid(1000)"):
            refused(sandbox, attempt)


# Podman


def test_the_locks_hold_on_podman_too(podman_engine: DockerEngine) -> None:
    """There a capability is also for who is not root."""
    locks = {"tmpfs": "/scratch:8m", "group_add": 7, "devices": f"{spare_device()}:/dev/fancy:r"}
    with opened(podman_engine, user="1000:1000", cap_add="NET_RAW", **locks) as sandbox:
        assert all(control.in_force for control in sandbox._session.controls)
        value(sandbox, LIBC + "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()")
        for attempt in ("os.chown('/tmp', 0, 0)", "call('sethostname', b'other', 5)", "os.setgroups([0])"):
            refused(sandbox, attempt)
        for path in ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/power/state"):
            refused(sandbox, f"open({path!r}, 'r+').write('1')")


@pytest.mark.parametrize(
    "options", [{"runtime": "runc"}, {"masked_paths": "/etc/ssl"}, {"read_only_paths": "/tmp"}], ids=str
)
def test_what_podman_would_drop_is_refused(podman_engine: DockerEngine, options: dict[str, Any]) -> None:
    before = own_containers(podman_engine)
    said = pytest.raises(ChorusError, match=f"Podman can't be asked for {next(iter(options))}")
    with said, opened(podman_engine, **options):
        pass
    assert own_containers(podman_engine) <= before
