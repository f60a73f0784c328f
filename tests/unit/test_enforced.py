"""The locks as the kernel accounts for them, beside what was asked for: each that is not in force is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from sandboxes import LOCKS, MOUNTINFO

from chorus_nb.config import NetworkPolicy, ResourceLimits, SandboxConfig
from chorus_nb.control import Control
from chorus_nb.enforced import LocksReport, checked_paths, locks
from chorus_nb.engines.base import ContainerSpec, EngineHost, Mask, Mount, ResolvedImage, Volume
from chorus_nb.mountinfo import mount_at, mounts_of

HOST = EngineHost(security_modules=frozenset({"seccomp"}), kernel_release="6.1.0")
OF_TMPFS = "rw,nosuid,nodev - tmpfs tmpfs rw,size=262144k"
LARGER = "/home/sandbox rw,nosuid,nodev - tmpfs tmpfs rw,size=262152k"
UNLIMITED = "/tmp rw,nosuid,nodev - tmpfs tmpfs rw"
WRITABLE = "/sys/firmware rw,relatime - tmpfs tmpfs rw"
ROOT_MOUNT = "1 0 0:1 / / ro,relatime - overlay overlay rw\n"


def spec_of(host: EngineHost = HOST, user: str = "1000:1000", **options: Any) -> ContainerSpec:
    return ContainerSpec(
        session_name="test",
        image=ResolvedImage("image:1", ("python3",)),
        arguments=(),
        environment={},
        working_dir="/",
        user=user,
        mounts=(),
        limits=ResourceLimits(),
        network=NetworkPolicy(),
        security=SandboxConfig.from_options(**options).security,
        labels={},
        host=host,
    )


def found(**changes: Any) -> LocksReport:
    return LocksReport.model_validate(LOCKS | changes)


def missing(report: LocksReport, spec: ContainerSpec) -> list[str]:
    return [control.name for control in locks(report, spec) if not control.in_force]


def control(name: str, report: LocksReport, spec: ContainerSpec) -> Control:
    (one,) = [each for each in locks(report, spec) if each.name == name]
    return one


def sets(**changes: str) -> dict[str, str]:
    return LOCKS["capabilities"] | changes


def mounts(part: str, instead: str) -> str:
    """Return the list of mounts with another text for a part of it, which starts with a mount's number or path."""
    assert MOUNTINFO.count(part) == 1
    return MOUNTINFO.replace(part, instead)


def test_everything_in_force_is_missed_by_nothing() -> None:
    assert missing(found(), spec_of()) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *(("capabilities", {"capabilities": sets(**{name: "0000000000000400"})}) for name in LOCKS["capabilities"]),
        ("capabilities", {"capabilities": sets(CapEff="")}),
        ("capabilities", {"capabilities": sets(CapBnd="all")}),
        ("capabilities", {"capabilities": {}}),
        ("seccomp", {"seccomp_mode": 0}),
        ("seccomp", {"seccomp_mode": 1}),
        ("groups", {"groups": [1000, 0]}),
        ("groups", {"groups": [999]}),
        ("namespaces", {"pid": 2}),
        ("namespaces", {"namespaces": {}}),
        ("namespaces", {"namespaces": LOCKS["namespaces"] | {"ipc": "ipc:[4026531839]"}}),
        ("namespaces", {"namespaces": LOCKS["namespaces"] | {"uts": "uts:[4026531838]"}}),
        ("namespaces", {"namespaces": LOCKS["namespaces"] | {"pid": "pid:[4026531836]"}}),
        ("namespaces", {"namespaces": LOCKS["namespaces"] | {"pid": "nonsense"}}),
        ("devices", {"devices": [*LOCKS["devices"], "/dev/sda"]}),
        ("devices", {"devices": [*LOCKS["devices"], "/dev/mapper/root"]}),
        ("masked paths", {"mountinfo": mounts("/null /proc/kcore", "/zero /proc/kcore")}),
        ("masked paths", {"mountinfo": mounts("6 3 0:5 / /sys/firmware ro,relatime - tmpfs tmpfs ro\n", "")}),
        ("masked paths", {"mountinfo": mounts("/sys/firmware ro,relatime - tmpfs tmpfs ro", WRITABLE)}),
        ("masked paths", {"places": {**LOCKS["places"], "/proc/keys": "/proc/keys"}}),
        ("masked paths", {"places": {k: v for k, v in LOCKS["places"].items() if k != "/proc/acpi"}}),
        ("read-only paths", {"mountinfo": mounts("4 2 0:2 /sys /proc/sys ro,nosuid", "4 2 0:2 /sys /proc/sys rw")}),
        ("read-only paths", {"places": {**LOCKS["places"], "/proc/sysrq-trigger": "/proc/sysrq-trigger"}}),
        ("tmpfs /tmp", {"mountinfo": mounts("/tmp rw,nosuid,nodev", "/tmp rw,nodev")}),
        ("tmpfs /tmp", {"mountinfo": mounts("/tmp rw,nosuid,nodev", "/tmp rw,nosuid")}),
        ("tmpfs /tmp", {"mountinfo": mounts("/tmp rw,nosuid,nodev - tmpfs", "/tmp rw,nosuid,nodev - ext4")}),
        ("tmpfs /tmp", {"mountinfo": mounts(f"/tmp {OF_TMPFS}", UNLIMITED)}),
        ("tmpfs /tmp", {"mountinfo": mounts(f"/tmp {OF_TMPFS}", f"{UNLIMITED},size=0k")}),
        ("tmpfs /home/sandbox", {"mountinfo": mounts(f"/home/sandbox {OF_TMPFS}", LARGER)}),
    ],
)
def test_a_lock_that_is_not_in_force_is_named(name: str, changes: dict[str, Any]) -> None:
    assert missing(found(**changes), spec_of()) == [name]


# Loosened on purpose: what was asked for, and no more


def test_capabilities_are_those_that_were_asked_for() -> None:
    spec = spec_of(user="0:0", cap_add=["NET_RAW", "CHOWN"], cap_drop="CHOWN")
    held = dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), "0000000000002000")
    assert missing(found(groups=[0], capabilities=sets(**held)), spec) == []
    for wrong in ({"CapEff": "0"}, {"CapPrm": "0000000000002001"}, {"CapAmb": "0000000000000001"}):
        assert missing(found(groups=[0], capabilities=sets(**held | wrong)), spec) == ["capabilities"]
    assert missing(found(groups=[0]), spec) == ["capabilities"]


def test_the_names_of_capabilities_are_shown() -> None:
    held = dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), "0000000000202000")
    shown = control("capabilities", found(capabilities=sets(**held)), spec_of(cap_add="NET_RAW"))
    assert (shown.requested, shown.enforced) == ("NET_RAW", "NET_RAW, SYS_ADMIN")
    shown = control("capabilities", found(capabilities=sets(CapBnd="20000000000")), spec_of())
    assert shown.enforced == "capability 41"


def test_a_filter_that_nobody_asked_for_is_no_lack() -> None:
    for mode in (0, 2):
        assert missing(found(seccomp_mode=mode), spec_of(seccomp="unconfined")) == []
    assert missing(found(seccomp_mode=0), spec_of(seccomp="/a/profile.json")) == ["seccomp"]


def test_groups_that_were_added_are_there_and_no_others() -> None:
    spec = spec_of(group_add=[44, 100])
    assert missing(found(groups=[1000, 44, 100]), spec) == []
    assert missing(found(groups=[44, 100]), spec) == []
    for groups in ([1000], [1000, 44], [1000, 44, 100, 0]):
        assert missing(found(groups=groups), spec) == ["groups"]


def test_a_device_that_was_asked_for_is_there() -> None:
    spec = spec_of(devices="/dev/full:/dev/fancy")
    assert missing(found(devices=[*LOCKS["devices"], "/dev/fancy"]), spec) == []
    assert missing(found(), spec) == ["devices"]
    assert missing(found(devices=[*LOCKS["devices"], "/dev/fancy", "/dev/vda"]), spec) == ["devices"]


SCRATCH = "20 1 0:20 / /scratch rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=8192k,mode=755\n"


def test_a_folder_in_memory_is_as_it_was_asked_for() -> None:
    report = found(mountinfo=MOUNTINFO + SCRATCH)
    assert missing(report, spec_of(tmpfs="/scratch:8m")) == []
    assert missing(report, spec_of(tmpfs="/scratch:8m,exec")) == []
    assert missing(report, spec_of(tmpfs="/scratch")) == []
    assert missing(report, spec_of(tmpfs="/scratch:4m")) == ["tmpfs /scratch"]
    assert missing(report, spec_of(tmpfs="/scratch/deeper")) == ["tmpfs /scratch/deeper"]
    executable = found(mountinfo=MOUNTINFO + SCRATCH.replace("noexec,", ""))
    assert missing(executable, spec_of(tmpfs="/scratch:8m")) == ["tmpfs /scratch"]
    assert control("tmpfs /scratch", report, spec_of(tmpfs="/scratch:8m")).enforced == "8m, noexec"


def test_paths_that_were_asked_for_are_masked_and_read_only() -> None:
    spec = spec_of(masked_paths="/data/secret", read_only_paths="/data/fixed")
    places = LOCKS["places"] | {"/data/secret": "/real/secret", "/data/fixed": "/data/fixed"}
    masked = "21 1 0:4 /null /real/secret rw,nosuid - tmpfs tmpfs rw\n"
    fixed = "22 1 0:22 / /data/fixed ro - ext4 /dev/x rw\n"
    assert missing(found(places=places, mountinfo=MOUNTINFO + masked + fixed), spec) == []
    writable = MOUNTINFO.replace("/ / ro", "/ / rw")
    assert missing(found(places=places, mountinfo=writable), spec) == ["masked /data/secret", "read-only /data/fixed"]
    assert missing(found(), spec) == ["masked /data/secret", "read-only /data/fixed"]
    absent = found(places=LOCKS["places"] | dict.fromkeys(("/data/secret", "/data/fixed"), ""))
    assert missing(absent, spec) == []
    assert control("masked /data/secret", absent, spec).enforced == "absent"


def test_the_agent_is_told_of_each_path() -> None:
    paths = checked_paths(spec_of(masked_paths="/a/b", read_only_paths="/c"))
    assert {"/proc/kcore", "/sys/firmware", "/proc/sys", "/a/b", "/c"} <= set(paths)


@pytest.mark.parametrize(
    ("uid_map", "private"),
    [
        ("         0          0 4294967295", False),
        ("         0     100000      65536", True),
        ("0 1000 1\n1 100000 65536", True),
        ("", False),
    ],
)
def test_a_user_namespace_is_told_by_its_map(uid_map: str, private: bool) -> None:
    report = found(uid_map=uid_map)
    assert missing(report, spec_of(userns="private")) == ([] if private else ["user namespace"])
    assert control("user namespace", report, spec_of()).enforced == ("private" if private else "the host's")
    assert missing(report, spec_of()) == []


APPARMOR = EngineHost(security_modules=frozenset({"apparmor"}), kernel_release="6.1.0")
SELINUX = EngineHost(security_modules=frozenset({"selinux"}), kernel_release="6.1.0")
CONTAINER_T = "system_u:system_r:container_t:s0:c1,c2"


@pytest.mark.parametrize(
    ("host", "label", "options", "in_force"),
    [
        (APPARMOR, "docker-default (enforce)", {}, True),
        (APPARMOR, "docker-default (complain)", {}, False),
        (APPARMOR, "unconfined", {}, False),
        (APPARMOR, "", {}, False),
        (APPARMOR, "mine (enforce)", {"apparmor": "mine"}, True),
        (APPARMOR, "docker-default (enforce)", {"apparmor": "mine"}, False),
        (APPARMOR, "unconfined", {"apparmor": "unconfined"}, True),
        (SELINUX, CONTAINER_T, {}, True),
        (SELINUX, "system_u:system_r:spc_t:s0", {}, False),
        (SELINUX, "", {}, False),
        (SELINUX, CONTAINER_T, {"selinux": ["type:container_t", "level:s0:c1,c2"]}, True),
        (SELINUX, CONTAINER_T, {"selinux": "type:other_t"}, False),
        (SELINUX, CONTAINER_T, {"selinux": "level:s0:c1,c3"}, False),
        (SELINUX, "system_u:system_r:spc_t:s0", {"selinux": "disable"}, True),
        (SELINUX, "system_u:system_r:spc_t:s0", {"selinux": "level:s0"}, False),
    ],
)
def test_a_label_is_compared_where_the_engine_uses_them(
    host: EngineHost, label: str, options: dict[str, Any], in_force: bool
) -> None:
    name = "AppArmor" if host is APPARMOR else "SELinux"
    assert missing(found(label=label), spec_of(host, **options)) == ([] if in_force else [name])


def test_without_such_a_module_no_label_is_compared() -> None:
    assert not {"AppArmor", "SELinux"} & {each.name for each in locks(found(label="unconfined"), spec_of())}


def test_a_runtime_with_a_kernel_of_its_own_is_told_by_that() -> None:
    assert missing(found(), spec_of(runtime="runsc")) == ["runtime"]
    assert missing(found(), spec_of(runtime="kata-runtime")) == ["runtime"]
    assert missing(found(), spec_of(runtime="crun")) == []
    assert missing(found(kernel_release="4.4.0"), spec_of(runtime="runsc")) == []
    assert (
        control("runtime", found(kernel_release="4.4.0"), spec_of(runtime="runsc")).enforced == "kernel 4.4.0, its own"
    )


GVISOR = """\
8 8 0:8 / / ro  - 9p none ro,trans=fd
9 8 0:6 / /dev rw  - tmpfs none rw,mode=0755
10 8 0:9 / /sys ro,noexec  - sysfs none ro,dentry_cache_limit=1000
11 8 0:10 / /tmp rw  - tmpfs none rw,size=268435456,mode=1777
12 8 0:11 / /home/sandbox rw  - tmpfs none rw,size=256m,mode=755
13 8 0:12 / /workspace rw  - tmpfs none rw,size=262144k,mode=755
14 8 0:13 / /proc rw  - proc none rw,dentry_cache_limit=1000
"""
"""As runsc 20221219 writes it."""


def test_gvisor_is_a_kernel_of_its_own() -> None:
    held = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd"), "0000000000000000")
    there = {"kernel_release": "4.4.0", "mountinfo": GVISOR, "capabilities": held, "groups": [], "namespaces": {}}
    assert missing(found(**there), spec_of(runtime="runsc")) == []
    assert missing(found(**there), spec_of(runtime="runsc", masked_paths="/proc/sys")) == ["masked /proc/sys"]
    larger = GVISOR.replace("size=256m", "size=257m")
    assert missing(found(**there | {"mountinfo": larger}), spec_of(runtime="runsc")) == ["tmpfs /home/sandbox"]


def test_where_nothing_could_read_the_namespaces_nothing_is_said_of_them() -> None:
    assert "namespaces" not in {each.name for each in locks(found(namespaces=None, pid=None), spec_of())}


# The report is the sandbox's, and hostile


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "x" * 5000},
        {"label": "a\x1b[31mb"},
        {"devices": ["/dev/\n"]},
        {"devices": ["/dev/x"] * 1001},
        {"mountinfo": "x" * (2**20 + 1)},
        {"groups": [0] * 70_001},
        {"groups": ["0"]},
        {"seccomp_mode": "2"},
        {"pid": "1"},
        {"places": {"/a": 1}},
        {"namespaces": {"pid": None}},
    ],
)
def test_a_report_of_another_shape_or_size_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        found(**changes)


# Mounts


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/", 1),
        ("/etc", 1),
        ("/proc", 2),
        ("/procedures", 1),
        ("/proc/sys/kernel", 4),
        ("/proc/sy", 2),
        ("/tmp/a/b", 7),
    ],
)
def test_a_path_leads_into_the_mount_that_is_seen_there(path: str, number: int) -> None:
    mount = mount_at(mounts_of(MOUNTINFO), path)
    assert mount is not None
    assert mount.id == number


def test_a_mount_hides_what_was_mounted_there_and_below_before() -> None:
    listed = mounts_of(
        ROOT_MOUNT
        + "2 1 0:2 / /a rw - tmpfs tmpfs rw\n3 2 0:3 / /a/b rw - tmpfs tmpfs rw\n4 2 0:4 / /a rw - tmpfs tmpfs rw\n"
    )
    assert [mount.id for path in ("/a/b/c", "/a") if (mount := mount_at(listed, path))] == [4, 4]


def test_a_root_that_was_mounted_over_is_the_one_on_top() -> None:
    mount = mount_at(mounts_of(ROOT_MOUNT + "2 1 0:2 / / rw - tmpfs tmpfs rw\n"), "/x")
    assert mount is not None
    assert (mount.id, mount.read_only) == (2, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "1 0 0:1 / /",
        "1 0 0:1 / / ro - overlay",
        "x y 0:1 / / ro - overlay overlay rw",
        "1 2 0:1 / / ro - a a rw\n2 1 0:1 / / ro - a a rw",
    ],
)
def test_a_list_that_makes_no_sense_ends_nowhere_or_somewhere(text: str) -> None:
    mount = mount_at(mounts_of(text), "/proc/kcore")
    assert mount is None or mount.path == "/"


def test_names_with_spaces_are_read() -> None:
    (mount,) = mounts_of("1 0 0:1 / /a\\040b ro shared:1 - ext4 /dev/x rw,size=12k")
    assert (mount.path, mount.kind, mount.size_bytes) == ("/a b", "ext4", 12 * 1024)


MASKED_MOUNTS = """\
20 1 8:1 /home/x /data ro,relatime - ext4 /dev/sda rw
21 20 0:4 /null /data/.env rw,nosuid - devtmpfs udev rw
22 20 0:9 / /data/.ssh ro,nosuid - tmpfs tmpfs ro,size=4k
23 20 0:4 /null /data/a\\040b\\012.key rw,nosuid - tmpfs tmpfs rw
"""
MASKS = (Mask("/data/.env", False), Mask("/data/.ssh", True), Mask("/data/a b\n.key", False))


def with_masks() -> ContainerSpec:
    return replace(spec_of(), mounts=(Mount("/home/x", "/data"),), masks=MASKS)


def masks_control(text: str) -> Control:
    return control("masked files", found(mountinfo=MOUNTINFO + text), with_masks())


def test_masks_that_are_all_in_force() -> None:
    assert masks_control(MASKED_MOUNTS) == Control("masked files", "2 files, 1 folder", "2 files, 1 folder", True)
    assert missing(found(mountinfo=MOUNTINFO + MASKED_MOUNTS), with_masks()) == []


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("/null /data/.env", "/zero /data/.env"),
        ("/null /data/.env", "/null /data/.envs"),
        ("21 20 0:4 /null", "21 1 0:4 /null"),
        ("/data/.env rw,nosuid - devtmpfs", "/data/.env rw,nosuid - ext4"),
        ("/data/.ssh ro,nosuid - tmpfs tmpfs ro", "/data/.ssh rw,nosuid - tmpfs tmpfs rw"),
        ("/data/.ssh ro,nosuid - tmpfs", "/data/.ssh ro,nosuid - ext4"),
        ("/data/a\\040b\\012.key", "/data/a\\040b.key"),
        ("20 1 8:1 /home/x /data", "20 1 8:1 /home/x /other"),
        (MASKED_MOUNTS, MASKED_MOUNTS + "24 20 8:1 /y /data ro - ext4 /dev/sda rw\n"),
        (MASKED_MOUNTS, MASKED_MOUNTS + "24 21 8:1 /y /data/.env ro - ext4 /dev/sda rw\n"),
        (MASKED_MOUNTS, ""),
    ],
)
def test_a_mask_that_is_not_in_force_is_named(part: str, instead: str) -> None:
    assert MASKED_MOUNTS.count(part) == 1
    lacking = masks_control(MASKED_MOUNTS.replace(part, instead))
    assert not lacking.in_force
    assert lacking.enforced.startswith("all but ")
    assert "such as '/data/" in lacking.enforced


def test_a_kernel_of_its_own_shows_no_more_than_that_a_mount_is_there() -> None:
    lines = MASKED_MOUNTS.replace("0:4 /null", "0:4 /").replace("- devtmpfs udev", "- 9p none")
    for release, in_force in (("4.4.0", True), ("6.1.0", False)):
        report = found(mountinfo=MOUNTINFO + lines, kernel_release=release)
        assert control("masked files", report, with_masks()).in_force is in_force
    report = found(mountinfo=MOUNTINFO + lines.replace("/data/.env", "/data/x"), kernel_release="4.4.0")
    assert not control("masked files", report, with_masks()).in_force


@pytest.mark.parametrize(
    ("line", "read_only", "text", "in_force"),
    [
        ("20 1 8:1 /x /data ro - ext4 /dev/sda rw", True, "read-only", True),
        ("20 1 8:1 /x /data rw - ext4 /dev/sda rw", True, "writable", False),
        ("20 1 8:1 /x /data rw - ext4 /dev/sda rw", False, "writable", True),
        ("20 1 8:1 /x /data/y rw - ext4 /dev/sda rw", False, "none", False),
    ],
)
def test_what_is_mounted_besides_is_compared(line: str, read_only: bool, text: str, in_force: bool) -> None:
    report = found(mountinfo=f"{MOUNTINFO}{line}\n")
    words = "read-only" if read_only else "writable"
    expected = Control("mount /data", words, text, in_force)
    assert control("mount /data", report, replace(spec_of(), mounts=(Mount("/x", "/data", read_only),))) == expected
    named = Volume("/data", "chorus-nb-x", read_only)
    assert control("mount /data", report, replace(spec_of(), volumes=(named,))) == expected
