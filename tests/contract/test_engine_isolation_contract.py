"""What only an engine with isolation can give, run on each of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ISOLATED, Launcher, imported, make_spec, python_archive, read_all, wait_until
from sandboxes import SLEEP, own_containers, start_and_remove

from chorus_nb.config import ResourceLimits, SecurityPolicy
from chorus_nb.engines.base import (
    HOME,
    OWNER_LABEL,
    WORKSPACE,
    Engine,
    Mount,
)
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import (
    ConfigurationError,
    EngineError,
    ImageNotFoundError,
    ImageUnsupportedError,
    PolicyNotEnforcedError,
)

INSIDE = """
import json, os, resource
def text(*names):
    for name in names:
        if os.path.exists("/sys/fs/cgroup/" + name):
            return open("/sys/fs/cgroup/" + name).read().split()
def takes_writes(folder):
    try:
        os.remove(open(folder + "/probe", "w").name)
        return True
    except OSError:
        return False
writable = []
for folder, inner, _ in os.walk("/"):
    writable += [folder] if takes_writes(folder) else []
    inner[:] = [name for name in inner if name not in ("proc", "sys", "usr", "lib", "site-packages", "host-dev")]
print(json.dumps({
    "status": dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines()),
    "ids": [os.getuid(), os.getgid(), os.getgroups()], "interfaces": os.listdir("/sys/class/net"),
    "hostname": os.uname().nodename, "writable": writable,
    "sizes": [os.statvfs(name).f_blocks * os.statvfs(name).f_frsize for name in ("/tmp", "/home/sandbox", "/dev/shm")],
    "given": open("/workspace/given").read(), "devices": os.stat("/host-dev/pts").st_dev == os.stat("/host-dev").st_dev,
    "memory": text("memory.max", "memory/memory.limit_in_bytes"), "pids": text("pids.max", "pids/pids.max"),
    "swap": text("memory.swap.max", "memory/memory.memsw.limit_in_bytes"),
    "cpus": text("cpu.max") or text("cpu/cpu.cfs_quota_us") + text("cpu/cpu.cfs_period_us"),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE), "core": resource.getrlimit(resource.RLIMIT_CORE)}))
"""
TIGHT = ResourceLimits(memory_bytes=200 * 2**20, cpus=0.5, pids=40, open_files=200, tmp_bytes=8 * 2**20)


@pytest.fixture(scope="module", params=ISOLATED)
def isolated(request: pytest.FixtureRequest) -> DockerEngine:
    """Each engine that isolates, in turn."""
    engine: DockerEngine = request.getfixturevalue(f"{request.param}_engine")
    assert engine.capabilities().isolation
    assert engine.capabilities().name == request.param
    return engine


@pytest.fixture(scope="module")
def inside(isolated: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a program sees of its container, with limits of its own and a repository that is read-only."""
    folder = tmp_path_factory.mktemp("given")
    folder.chmod(0o777)
    (folder / "given").write_text("from the host")
    mounts = (*isolated.resolve("mirror").mounts, Mount(str(folder), WORKSPACE), Mount("/dev", "/host-dev"))
    container = isolated.create(make_spec(isolated, INSIDE, session_name="my_one.1", mounts=mounts, limits=TIGHT))
    try:
        container.start()
        output = read_all(container)
        assert output, container.stream.diagnostics
        return json.loads(output)
    finally:
        container.remove()


def test_it_runs_without_privileges_as_the_user_asked_for(inside: Any) -> None:
    assert {inside["status"][name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {"0" * 16}
    assert (inside["status"]["NoNewPrivs"], inside["status"]["Seccomp"]) == ("1", "2")
    assert inside["ids"][:2] == [65534, 65534]
    assert 0 not in inside["ids"][2]


def test_it_has_a_name_and_no_network(inside: Any) -> None:
    assert inside["hostname"] == "my-one-1"
    assert inside["interfaces"] == ["lo"]


def test_only_folders_of_limited_size_take_writes(inside: Any) -> None:
    assert set(inside["writable"]) == {"/tmp", HOME, "/dev/shm", "/dev/mqueue"}
    assert inside["sizes"] == [8 * 2**20, 8 * 2**20, 64 * 2**20]


def test_a_read_only_mount_is_that_folder_and_nothing_mounted_below_it(inside: Any) -> None:
    assert inside["given"] == "from the host"
    assert inside["devices"]


def test_the_limits_are_in_force(inside: Any) -> None:
    assert inside["memory"] == [str(TIGHT.memory_bytes)]
    assert inside["swap"] in (["0"], [str(TIGHT.memory_bytes)])  # cgroup v2 counts swap alone, v1 the sum.
    assert int(inside["cpus"][0]) * 2 == int(inside["cpus"][1])
    assert inside["pids"] == ["40"]
    assert (inside["files"], inside["core"]) == ([200, 200], [0, 0])


@pytest.mark.parametrize(
    "attempt",
    [
        "x = bytearray(256 << 20); print('survived')",
        "import os\nfor n in range(100):\n    if os.fork() == 0: os.read(0, 1)\nprint('survived')",
        "import os\nfor n in range(300): os.dup(0)\nprint('survived')",
    ],
)
def test_more_than_the_limit_is_not_to_be_had(isolated: DockerEngine, launch: Launcher, attempt: str) -> None:
    limits = TIGHT.model_copy(update={"memory_bytes": 64 * 2**20})
    assert read_all(launch(isolated, attempt, limits=limits)) == ""


def test_a_writable_mount_takes_writes(isolated: DockerEngine, launch: Launcher, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    mounts = (*isolated.resolve("mirror").mounts, Mount(str(tmp_path), WORKSPACE, read_only=False))
    assert read_all(launch(isolated, f"open('{WORKSPACE}/made', 'w').write('inside')", mounts=mounts)) == ""
    assert (tmp_path / "made").read_text() == "inside"


def test_a_missing_mount_source_is_named_and_not_made(isolated: DockerEngine, tmp_path: Path) -> None:
    missing, owned = tmp_path / "missing", own_containers(isolated)
    with pytest.raises(EngineError, match=str(missing)):
        isolated.create(make_spec(isolated, SLEEP, mounts=(Mount(str(missing), WORKSPACE),)))
    assert not missing.exists()
    assert own_containers(isolated) == owned


@pytest.mark.parametrize("name", ["a,rw=true", 'a"b', "a:b", "a b", "ä\nb"])
def test_no_name_of_a_folder_changes_how_it_is_mounted(
    isolated: DockerEngine, launch: Launcher, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir(mode=0o777)
    (folder / "given").write_text("x")
    mounts = (*isolated.resolve("mirror").mounts, Mount(str(folder), WORKSPACE))
    program = f"import os; print(os.listdir('{WORKSPACE}'), os.statvfs('{WORKSPACE}').f_flag & os.ST_RDONLY)"
    if isolated.capabilities().name == "podman" and set(',"\n') & set(name):
        with pytest.raises(ConfigurationError, match="can't mount"):
            launch(isolated, program, mounts=mounts)
    else:
        assert read_all(launch(isolated, program, mounts=mounts)) == "['given'] 1\n"


ASKED: dict[str, Any] = {
    "runtime": {"security": SecurityPolicy(runtime="runc")},
    "masked_paths": {"security": SecurityPolicy(masked_paths=("/proc/keys",))},
    "read_only_paths": {"security": SecurityPolicy(read_only_paths=("/proc/bus",))},
    "seccomp": {"security": SecurityPolicy(seccomp="/profile.json"), "seccomp_profile": '{"defaultAction": "x"}'},
}


def test_what_it_can_not_do_is_refused_by_name_before_anything_is_made(engine: Engine) -> None:
    owned = own_containers(engine)
    for option, reason in engine.capabilities().unsupported.items():
        assert reason
        with pytest.raises((ConfigurationError, PolicyNotEnforcedError), match=option):
            engine.create(make_spec(engine, SLEEP, **ASKED[option]))
    assert own_containers(engine) == owned


def test_a_runtime_that_is_not_there_is_refused(isolated: DockerEngine) -> None:
    assert "no-such-runtime" not in isolated.capabilities().runtimes
    with pytest.raises((ConfigurationError, PolicyNotEnforcedError), match="runtime"):
        isolated.create(make_spec(isolated, SLEEP, security=SecurityPolicy(runtime="no-such-runtime")))


@pytest.fixture(scope="module")
def image_with_volume(isolated: DockerEngine) -> Iterator[str]:
    """The distribution's Python in an image that declares a volume."""
    yield from imported(isolated, "chorus-nb-test/contract:latest", python_archive(), ["VOLUME /data"])


def test_the_next_interpreter_is_tried(isolated: DockerEngine, launch: Launcher, image_with_volume: str) -> None:
    image = replace(isolated.resolve(image_with_volume), interpreters=("nosuch", "/no/such", "/usr/bin/python3"))
    running = launch(isolated, "import time; print('third', flush=True); time.sleep(600)", image=image)
    assert running.stream.receive() == b"third\n"
    assert len(own_containers(isolated)) == 1


def test_an_image_without_python_is_named(isolated: DockerEngine, image_with_volume: str) -> None:
    image, owned = replace(isolated.resolve(image_with_volume), interpreters=("nosuch",)), own_containers(isolated)
    with pytest.raises(ImageUnsupportedError, match="chorus-nb-test/contract"):
        start_and_remove(isolated, make_spec(isolated, SLEEP, image=image))
    assert own_containers(isolated) == owned


def test_an_image_that_went_away_is_named(isolated: DockerEngine) -> None:
    image = replace(isolated.resolve("mirror"), reference="chorus-nb-test/gone:1")
    with pytest.raises(ImageNotFoundError, match="chorus-nb-test/gone:1"):
        isolated.create(make_spec(isolated, SLEEP, image=image))


def test_volumes_of_an_image_are_bounded_and_leave_nothing(
    isolated: DockerEngine, launch: Launcher, image_with_volume: str
) -> None:
    before, image = isolated.client.volumes()["Volumes"] or [], isolated.resolve(image_with_volume)
    assert image.volumes == ("/data",)
    program = "import os; s = os.statvfs('/data'); print(s.f_blocks * s.f_frsize); open('/data/x', 'w')"
    assert read_all(launch(isolated, program, image=image, limits=TIGHT)) == f"{TIGHT.tmp_bytes}\n"
    assert (isolated.client.volumes()["Volumes"] or []) == before


def test_a_container_outlives_neither_its_killed_owner_nor_its_end(isolated: DockerEngine) -> None:
    program = """
import sys, time
sys.path.insert(0, sys.argv[1])
from conftest import make_spec
from chorus_nb.engines.docker import DockerEngine
engine = DockerEngine()
container = engine.create(make_spec(engine, "import os\\nwhile os.read(0, 1): pass"))
container.start()
print(container.id, flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", program, str(Path(__file__).parents[1])]
    environment = {**os.environ, "DOCKER_HOST": isolated.endpoint.address}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        container_id = owner.stdout.readline().strip()
        assert isolated.inspect_id(container_id).status == "running"
        assert dict(isolated.owned())[container_id][OWNER_LABEL].split("/")[3] == str(owner.pid)
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: isolated.inspect_id(container_id).status == "removed")
