"""Resource limits as the code inside meets them: each by an attempt to get past it, and by what the engine says."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandboxes import container_of, opened, own_containers, value

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ChorusError, ConfigurationError, DiskQuotaExceededError, PolicyNotEnforcedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

CPUS = sorted(os.sched_getaffinity(0))
OPTIONS: dict[str, Any] = {
    "memory": "256m",
    "memory_swap": "320m",
    "cpu_shares": 256,
    "cpuset": str(CPUS[-1]),
    "pids": 32,
    "open_files": 64,
    "file_size": "1m",
    "ulimits": ["stack=4m:8m", "cpu=500:600", "sigpending=100", "locks=50", "msgqueue=64k", "core=0"],
    "tmp": "4m",
    "shm": "1m",
    "max_output": "64k",
}


def disk_of(path: Path) -> str:
    """Return the device of the disk that a file is on."""
    device = path.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    assert block.exists(), f"{path} is on no disk of this machine"
    return f"/dev/{(block.parent if (block / 'partition').exists() else block).name}"


LIBRARY = max(
    (*Path(sys.base_prefix, "lib").glob("*.so*"), Path(sys.executable).resolve()), key=lambda path: path.stat().st_size
)
"""A file that the mirror shows, of a few MiB."""


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine) -> Iterator[Sandbox]:
    """One sandbox with every limit that any machine can keep to."""
    disk = disk_of(LIBRARY)
    rates = {"read_bps": [f"{disk}:4m"], "write_bps": [f"{disk}:2m"], "read_iops": [f"{disk}:500"]}
    with opened(docker_engine, **OPTIONS, **rates) as sandbox:
        yield sandbox


def test_all_is_in_force_and_the_engine_says_the_same(sandbox: Sandbox, docker_engine: DockerEngine) -> None:
    host = docker_engine.client.inspect_container(container_of(docker_engine))["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (256 * 2**20, 320 * 2**20)
    assert (host["CpuShares"], host["CpusetCpus"], host["PidsLimit"]) == (256, str(CPUS[-1]), 32)
    assert {each["Name"]: (each["Soft"], each["Hard"]) for each in host["Ulimits"]} == {
        "nofile": (64, 64),
        "fsize": (2**20, 2**20),
        "core": (0, 0),
        "stack": (2**22, 2**23),
        "cpu": (500, 600),
        "sigpending": (100, 100),
        "locks": (50, 50),
        "msgqueue": (2**16, 2**16),
    }
    assert [each["Rate"] for each in host["BlkioDeviceReadBps"]] == [2**22]
    found = sandbox.info().limits
    assert found.memory_swap_bytes == 320 * 2**20
    assert (found.rates["read_bps"], found.rates["write_bps"], found.rates["read_iops"]) == ([2**22], [2**21], [500])
    assert found.rlimits["cpu"] == [500, 600]


def test_it_runs_on_its_cpu_alone(sandbox: Sandbox) -> None:
    others = set(range((os.cpu_count() or 1) + 1)) - {CPUS[-1]}
    assert value(sandbox, "import os; os.sched_getaffinity(0)") == f"{{{CPUS[-1]}}}"
    attempt = sandbox.run(f"os.sched_setaffinity(0, {others})")
    assert attempt.error is not None
    assert attempt.error.ename in ("OSError", "PermissionError")


@pytest.mark.parametrize("name", ["NOFILE", "FSIZE", "CORE", "STACK", "CPU", "SIGPENDING", "MSGQUEUE"])
def test_no_process_raises_its_own_limits(sandbox: Sandbox, name: str) -> None:
    sandbox.run(f"import resource as r\nsoft, hard = r.getrlimit(r.RLIMIT_{name})")
    attempt = sandbox.run(f"r.setrlimit(r.RLIMIT_{name}, (hard + 1, hard + 1))")
    assert attempt.error is not None
    assert attempt.error.ename in ("ValueError", "PermissionError")


LIMITS = [
    ("open_files", "files = [open('/dev/null') for _ in range(100)]", 64, "64 files open; raise it with --open-files"),
    ("file_size", "open('/tmp/large', 'wb').write(bytes(2**21))", 2**20, "may have 1m; raise it with --file-size"),
    ("tmp", "for i in range(9): open(f'/tmp/{i}', 'wb').write(bytes(10**6))", 2**22, r"4m each \(--tmp\)"),
    ("tmp", "for i in range(3): open(f'/dev/shm/{i}', 'wb').write(bytes(10**6))", 2**22, r"/dev/shm 1m \(--shm\)"),
    ("pids", "import threading, time\nfor _ in range(40): threading.Thread(target=time.sleep, args=(60,)).start()", 32,
     "32 processes and threads at one time; raise it with --pids"),
    ("pids", "import os, time\nfor _ in range(40):\n    if not os.fork(): time.sleep(60)", 32, "--pids"),
    ("pids", "import subprocess\nrun = [subprocess.Popen(['sleep', '60']) for _ in range(40)]", 32, "--pids"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "code", "limit", "hint"), LIMITS)
def test_a_cell_that_fails_at_a_limit_is_told_which(
    sandbox: Sandbox, option: str, code: str, limit: int, hint: str
) -> None:
    result = sandbox.run(f"kept = 7\n{code}")
    sandbox.run("import glob, os\nfor path in glob.glob('/tmp/[0-9l]*') + glob.glob('/dev/shm/*'): os.unlink(path)")
    assert result.error is not None
    assert result.limit is not None
    assert (result.limit.option, result.limit.limit) == (option, limit)
    assert 0 < result.limit.figure <= limit
    assert re.search(hint, result.stderr)
    assert result.stderr.startswith("[sandbox] ")
    sandbox.restart()


def test_the_variables_are_kept_at_a_limit(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    assert sandbox.run("files = [open('/dev/null') for _ in range(100)]").limit is not None
    assert value(sandbox, "files = None; kept") == "7"


@pytest.mark.parametrize(
    ("script", "option"),
    [
        ("head -c 3000000 /dev/zero > /tmp/large", "file_size"),
        ("for i in $(seq 60); do sleep 60 & done", "pids"),
    ],
)
def test_a_program_that_fails_at_a_limit_is_told_which(sandbox: Sandbox, script: str, option: str) -> None:
    result = sandbox.command(["sh", "-c", script])
    sandbox.run("import os; os.path.exists('/tmp/large') and os.unlink('/tmp/large')")
    assert result.exit_code != 0
    assert result.limit is not None
    assert result.limit.option == option
    assert "[sandbox] " in result.stderr


def test_an_error_that_has_nothing_to_do_with_a_limit_is_told_as_it_is(sandbox: Sandbox) -> None:
    for code in ("open('/nowhere')", "raise OSError('28')", "1 / 0", "open('/usr/x', 'w')"):
        result = sandbox.run(code)
        assert (result.ok, result.limit, result.stderr) == (False, None, "")


def test_more_output_than_allowed_is_a_limit_too(sandbox: Sandbox) -> None:
    result = sandbox.run("print('x' * 100_000)")
    assert result.ok
    assert result.limit is not None
    assert (result.limit.option, result.limit.limit) == ("max_output", 2**16)
    assert result.limit.figure > 2**16


def test_a_disk_is_read_no_faster_than_allowed(sandbox: Sandbox) -> None:
    """8 MiB past the page cache, at 4 MiB/s; half of it may be had at once."""
    code = f"""
import mmap, os, time
file = os.open({str(LIBRARY.resolve())!r}, os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 2**18)
begin = time.monotonic()
read = sum(os.preadv(file, [page], 0) for _ in range(32))
read, time.monotonic() - begin
"""
    read, seconds = eval(value(sandbox, code))
    assert seconds > read / 2**22 / 2


# More than there is


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"memory": "500t", "memory_swap": "500t"}, "memory=512000g is more than the engine's machine has"),
        ({"cpus": 4000}, "cpus=4000 is more than the engine has"),
        ({"cpuset": "0,4095"}, "cpuset=0,4095 names CPUs that the engine's machine lacks"),
        ({"read_bps": ["/dev/nothing-there:1m"]}, "read_bps: there is no device /dev/nothing-there"),
        ({"write_iops": ["/dev/null:1"]}, "write_iops: /dev/null is no disk"),
    ],
)
def test_what_the_machine_lacks_is_refused_and_nothing_is_left(
    docker_engine: DockerEngine, options: dict[str, Any], told: str
) -> None:
    before = own_containers(docker_engine)
    with pytest.raises(ConfigurationError, match=told), opened(docker_engine, **options):
        pass
    assert own_containers(docker_engine) <= before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"blkio_weight": 300}, "weight"),
        ({"open_files": 2**20}, "open_files=1048576 is more than the engine may give"),
        ({"ulimits": ["msgqueue=1g"]}, "ulimits=msgqueue=1g:1g is more than the engine may give .* LimitMSGQUEUE="),
    ],
)
def test_what_depends_on_the_machine_is_in_force_or_refused_by_name(
    docker_engine: DockerEngine, options: dict[str, Any], told: str
) -> None:
    before = own_containers(docker_engine)
    refusal: ChorusError | None = None
    try:
        with opened(docker_engine, **options):
            pass  # It would not have started with a control that is not in force.
    except (ConfigurationError, PolicyNotEnforcedError) as error:
        refusal = error
    assert refusal is None or re.search(told, str(refusal))
    assert own_containers(docker_engine) <= before


# The disk


def test_a_writable_image_takes_no_more_than_its_limit(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, read_only_root=False, user="0:0", disk="8m") as sandbox:
        sandbox.run("import os, time; kept = 7; os.mkdir('/data')")
        with pytest.raises(DiskQuotaExceededError, match="limit of 8m; its variables are kept") as caught:
            sandbox.run("for i in range(1000): open(f'/data/{i}', 'wb').write(bytes(2**18)); time.sleep(0.01)")
        assert caught.value.used_bytes > caught.value.limit_bytes == 2**23
        assert value(sandbox, "kept") == "7"


# Podman tells of what it can't do in other words, and later


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cpuset": "0,4095"}, "cpuset=0,4095 names CPUs that the engine's machine lacks"),
        ({"ulimits": ["msgqueue=1g"]}, "ulimits=msgqueue=1g:1g is more than the engine may give"),
        ({"blkio_weight": 300}, "weight"),
    ],
)
def test_podman_refuses_by_the_same_names(podman_engine: DockerEngine, options: dict[str, Any], told: str) -> None:
    try:
        with opened(podman_engine, **options) as sandbox:
            assert sandbox.info().limits.rlimits["msgqueue"][1] <= 2**30
            assert "cpuset" not in options
    except (ConfigurationError, PolicyNotEnforcedError) as error:
        assert re.search(told, str(error))  # noqa: PT017
    assert own_containers(podman_engine) == set()


def test_podman_keeps_to_limits(podman_engine: DockerEngine) -> None:
    with opened(podman_engine, **OPTIONS) as sandbox:
        found = sandbox.info().limits
        assert (found.memory_swap_bytes, found.shm_bytes, found.cpuset) == (320 * 2**20, 2**20, str(CPUS[-1]))
        assert (found.rlimits["fsize"], found.rlimits["stack"]) == ([2**20, 2**20], [2**22, 2**23])
        result = sandbox.run("files = [open('/dev/null') for _ in range(100)]")
        assert result.limit is not None
        assert result.limit.option == "open_files"
