"""A sandbox's own limits, raised from inside; the kernel's interfaces that it must not reach; `/proc` and `/sys`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attempts import REAL_ENGINES, assert_refused, engine_of
from conftest import wait_until
from sandboxes import opened, value

from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", params=REAL_ENGINES)
def kept(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with opened(engine_of(request, request.param), pids=64, open_files=512, cpus=0.5) as sandbox:
        yield sandbox


HIGHER = {
    "descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (513, 513))",
    "a core dump": "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
    "locked memory": "resource.setrlimit(resource.RLIMIT_MEMLOCK, (-1, -1))",
    "priority": "os.nice(-1)",
    "priority by its process": "os.setpriority(os.PRIO_PROCESS, 0, -1)",
    "real time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "the last to be killed": "write('/proc/self/oom_score_adj', '-1')",
    "another user": "os.setuid(0)",
    "another user by the whole set": "os.setresuid(0, 0, 0)",
    "another group": "os.setgroups([0])",
    "capabilities": "checked(_libc.prctl(47, 2, 0, 0, 0))",  # PR_CAP_AMBIENT_RAISE
    "privileges by a program": "checked(_libc.prctl(38, 0, 0, 0, 0))",  # PR_SET_NO_NEW_PRIVS
    "no system call filter": "checked(_libc.prctl(22, 0, 0, 0, 0))",  # PR_SET_SECCOMP
    "a map of users": "write('/proc/self/uid_map', '0 0 1')",
    "a user namespace": "checked(_libc.unshare(0x10000000))",
    "a child in one": "syscall(56, 0x10000000 | 17, None, None, None, None)",
    "a cgroup namespace": "checked(_libc.unshare(0x02000000))",
    "a namespace of somebody else": "checked(_libc.setns(os.open('/proc/self/ns/net', os.O_RDONLY), 0))",
}


@pytest.mark.parametrize("attempt", HIGHER.values(), ids=HIGHER)
def test_no_limit_is_raised(sandbox: Sandbox, attempt: str) -> None:
    assert_refused(sandbox, attempt)


def test_no_file_of_the_cgroup_takes_writes(sandbox: Sandbox) -> None:
    """Limits, who is in it, and what is told when it is empty."""
    walk = """
import os
opened = []
for folder, _, files in os.walk('/sys/fs/cgroup'):
    for path in (os.path.join(folder, name) for name in files):
        try:
            opened.append((path, os.close(os.open(path, os.O_WRONLY))))
        except OSError:
            pass
    try:
        opened.append((folder, os.mkdir(folder + '/own')))
    except OSError:
        pass
opened"""
    assert value(sandbox, walk) == "[]"


def test_more_cpus_by_affinity_are_not_more_time(sandbox: Sandbox) -> None:
    spin = "import os, time\nos.sched_setaffinity(0, range(64))\nchildren = [os.fork() for _ in range(1)]\n"
    spin += "end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nif 0 in children: os._exit(0)\nos.wait();"
    assert sandbox.run(spin, timeout=30).usage.cpu_time_s < 1.6


def test_processes_that_hide_in_sessions_count(sandbox: Sandbox) -> None:
    fork = "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            os.setsid()\n"
    fork += "            time.sleep(60)\n        n += 1\nexcept BlockingIOError: pass\nn"
    assert int(value(sandbox, fork)) < 64
    sandbox.restart()
    wait_until(lambda: sandbox.usage().pids < 16)  # They are killed at once, and reaped one by one.


# The kernel's interfaces

CALLS = {
    "mount": "checked(_libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "a new file system": "syscall(430, b'tmpfs', 0)",
    "pivot_root": "syscall(155, b'/tmp', b'/tmp')",
    "a module": "syscall(175, b'', 0, b'')",
    "a module by its file": "syscall(313, 0, b'', 0)",
    "another kernel": "syscall(246, 0, 0, None, 0)",
    "bpf": "syscall(321, 0, ctypes.create_string_buffer(72), 72)",
    "perf events": "syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    "userfaultfd": "syscall(323, 0)",
    "a key": "syscall(248, b'user', b'name', b'x', 1, -3)",
    "a socket of virtual machines": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "io_uring": "syscall(425, 8, ctypes.create_string_buffer(256))",
    "a call of another kind of machine": "syscall(0x40000000 | 39)",
    "a key of its user on the host": "syscall(250, 11, -4, ctypes.create_string_buffer(64), 64)",
    "the keys": "syscall(250, 0, -3, 0)",
    "the kernel's log": "syscall(103, 3, ctypes.create_string_buffer(64), 64)",
    "swap": "syscall(167, b'/tmp', 0)",
    "reboot": "syscall(169, 0xFEE1DEAD, 672274793, 0, 0)",
    "the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "its name": "socket.sethostname('other')",
    "ports of the machine": "syscall(172, 3)",
    "a device of the machine": "os.mknod('/tmp/disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))",
    "process accounting": "syscall(163, None)",
    "quotas": "syscall(179, 0, None, 0, None)",
    "handles": "syscall(304, -100, ctypes.create_string_buffer(64), 0)",
    "a terminal that types": "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSTI, b'x')",
}


@pytest.mark.parametrize("attempt", CALLS.values(), ids=CALLS)
def test_the_kernel_refuses(sandbox: Sandbox, attempt: str) -> None:
    assert_refused(sandbox, attempt)


def test_no_device_is_there_but_the_harmless(sandbox: Sandbox) -> None:
    walk = """
import os, stat
found = []
for folder, _, files in os.walk('/dev'):
    for name in files:
        status = os.lstat(os.path.join(folder, name))
        if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
            found.append((stat.S_ISBLK(status.st_mode), os.major(status.st_rdev)))
sorted(set(found))"""
    memory, terminal, pseudo = 1, 5, 136
    assert {kind for kind, _ in eval(value(sandbox, walk))} == {False}
    assert {major for _, major in eval(value(sandbox, walk))} <= {memory, terminal, pseudo}


PROC = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/fs/file-max",
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/irq/default_smp_affinity",
    "/proc/mtrr",
    "/proc/bus/pci/00/00.0",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/power/state",
    "/sys/firmware/acpi",
    "/sys/kernel/debug/x",
    "/sys/kernel/security/x",
    "/sys/module/kernel/parameters/panic",
    "/sys/class/net/lo/mtu",
    "/sys/fs/cgroup/release_agent",
    "/sys/block/vda/queue/scheduler",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/devices/devices.allow",
)


@pytest.mark.parametrize("path", PROC)
def test_proc_and_sys_take_no_writes(sandbox: Sandbox, path: str) -> None:
    assert_refused(sandbox, f"write({path!r})")


def test_nothing_of_proc_and_sys_can_be_opened_for_writing_but_of_its_own_processes(sandbox: Sandbox) -> None:
    """All of them, not only the known ones. A trigger for the pressure of the system is what anybody may ask for."""
    walk = """
import os
opened = []
for top in ('/proc', '/sys'):
    for folder, folders, files in os.walk(top):
        folders[:] = [each for each in folders if not (each.isdigit() or each in ('self', 'thread-self'))]
        for path in (os.path.join(folder, name) for name in files):
            try:
                opened.append((path, os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))))
            except OSError:
                pass
[path for path, _ in opened if os.stat(path).st_rdev != os.makedev(1, 3) and '/pressure/' not in path]"""
    assert value(sandbox, walk) == "[]"


@pytest.mark.parametrize(
    "path", ["/proc/keys", "/proc/timer_list", "/proc/kcore", "/sys/firmware", "/proc/acpi", "/proc/scsi"]
)
def test_what_tells_of_the_machine_is_masked(sandbox: Sandbox, path: str) -> None:
    code = (
        f"import os\nos.path.exists(p := {path!r}) and (os.listdir(p) if os.path.isdir(p) else open(p, 'rb').read(100))"
    )
    assert value(sandbox, code) in ("False", "[]", "b''")
