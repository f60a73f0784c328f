"""The Docker engine for real: what is locked, what is mounted, what goes wrong, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Launcher, has_ended, make_spec, read_all, wait_until

from chorus_nb.config import NetworkPolicy, ResourceLimits, SecurityPolicy
from chorus_nb.engines.base import HOME, OWNER_LABEL, WORKSPACE, Mount
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ConfigurationError, EngineError, ImageNotFoundError, ImageUnsupportedError

pytestmark = pytest.mark.docker

SLEEP = "import time\nprint('ready', flush=True)\ntime.sleep(600)"


def report(launch: Launcher, engine: DockerEngine, program: str, **changes: Any) -> Any:
    """Run a program that prints JSON, and return it."""
    container = launch(engine, program, **changes)
    output = read_all(container)
    assert output, container.stream.diagnostics
    return json.loads(output)


def test_capabilities_of_a_local_engine(docker_engine: DockerEngine) -> None:
    capabilities = docker_engine.capabilities()
    assert capabilities.isolation
    assert capabilities.limits
    assert capabilities.mirror, capabilities.details
    assert capabilities.details["version"]


def test_privileges_are_locked(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = """
import json, os
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
print(json.dumps({"status": status, "ids": [os.getuid(), os.getgid(), os.getgroups()],
                  "interfaces": os.listdir("/sys/class/net"), "host": os.uname().nodename}))
"""
    found = report(launch, docker_engine, program, session_name="my_session.1")
    assert {found["status"][name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {"0" * 16}
    assert found["status"]["NoNewPrivs"] == "1"
    assert found["status"]["Seccomp"] == "2"
    assert found["ids"][:2] == [65534, 65534]
    assert 0 not in found["ids"][2]
    assert found["interfaces"] == ["lo"]
    assert found["host"] == "my-session-1"


def test_only_tmp_home_and_the_empty_workspace_take_writes(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = """
import json, os
def writable(folder):
    try:
        with open(folder + "/probe", "w"):
            return True
    except OSError:
        return False
found = []
for folder, inner, _ in os.walk("/"):
    found += [folder] if writable(folder) else []
    inner[:] = [name for name in inner if name not in ("proc", "sys", "usr", "lib", "site-packages")]
print(json.dumps({"writable": found,
                  "sizes": [os.statvfs(f).f_blocks * os.statvfs(f).f_frsize for f in ("/tmp", "/home/sandbox")]}))
"""
    limits = ResourceLimits(tmp_bytes=8 * 2**20)
    found = report(launch, docker_engine, program, limits=limits)
    assert set(found["writable"]) == {"/tmp", HOME, WORKSPACE, "/dev/shm", "/dev/mqueue"}
    assert found["sizes"] == [8 * 2**20] * 2


def test_programs_can_be_run_from_the_home_folder(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = f"""
import shutil, subprocess, json
shutil.copy("/bin/true", "{HOME}/true")
print(json.dumps(subprocess.run(["{HOME}/true"]).returncode))
"""
    assert report(launch, docker_engine, program) == 0


def test_the_limits_are_in_force(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = """
import json, os, resource
def read(*names):
    for name in names:
        if os.path.exists("/sys/fs/cgroup/" + name):
            return open("/sys/fs/cgroup/" + name).read().split()
cpu = read("cpu.max") or read("cpu/cpu.cfs_quota_us") + read("cpu/cpu.cfs_period_us")
print(json.dumps({"memory": read("memory.max", "memory/memory.limit_in_bytes"), "cpu": cpu,
  "swap": read("memory.swap.max", "memory/memory.memsw.limit_in_bytes"), "pids": read("pids.max", "pids/pids.max"),
  "files": resource.getrlimit(resource.RLIMIT_NOFILE), "core": resource.getrlimit(resource.RLIMIT_CORE)}))
"""
    limits = ResourceLimits(memory_bytes=200 * 2**20, cpus=0.5, pids=40, open_files=200)
    found = report(launch, docker_engine, program, limits=limits)
    assert found["memory"] == [str(200 * 2**20)]
    assert found["swap"] in (["0"], [str(200 * 2**20)])  # cgroup v2 counts swap alone, v1 the sum.
    assert int(found["cpu"][0]) * 2 == int(found["cpu"][1])
    assert found["pids"] == ["40"]
    assert found["files"] == [200, 200]
    assert found["core"] == [0, 0]


def test_too_much_memory_ends_the_program(docker_engine: DockerEngine, launch: Launcher) -> None:
    limits = ResourceLimits(memory_bytes=64 * 2**20)
    container = launch(docker_engine, "x = bytearray(256 << 20)\nprint('survived')", limits=limits)
    assert read_all(container) == ""


def test_scientific_packages_import_in_the_mirror(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = """
import json, os, pwd, sys
import numpy, pandas, matplotlib.pyplot as plt
plt.plot([1, 2]); plt.savefig("/tmp/x.png")
frame = pandas.DataFrame({"a": numpy.arange(3)})
print(json.dumps({"sum": int(frame.a.sum()), "executable": sys.executable, "prefix": sys.prefix,
                  "plot": os.path.getsize("/tmp/x.png"), "user": pwd.getpwuid(os.getuid()).pw_name}))
"""
    found = report(launch, docker_engine, program, environment={"MPLBACKEND": "agg"})
    assert found["sum"] == 3
    assert found["executable"] == sys.executable
    assert found["prefix"] == sys.prefix
    assert found["user"] == "nobody"
    assert found["plot"] > 1000


def test_the_mirror_shows_no_secrets(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = """
import json, os
paths = ["/etc/shadow", "/etc/ssh", "/etc/ssl/private", "/var/run", "/run/docker.sock", "/var/lib", "/root/.ssh"]
print(json.dumps({"seen": [p for p in paths if os.path.exists(p)], "home": os.listdir(os.path.expanduser("~"))}))
"""
    found = report(launch, docker_engine, program, user="0:0")
    assert found == {"seen": [], "home": []}


def test_the_empty_image_is_made_again_when_it_is_gone(docker_engine: DockerEngine, launch: Launcher) -> None:
    reference = docker_engine.resolve("mirror").reference
    docker_engine.client.remove_image(reference, force=True)
    assert docker_engine.resolve("mirror").reference == reference
    assert docker_engine.client.inspect_image(reference)["Size"] < 100_000


def test_a_repository_is_mounted_as_asked(docker_engine: DockerEngine, launch: Launcher, tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("from the host")
    tmp_path.chmod(0o777)
    program = f"""
import json, os
text = open("{WORKSPACE}/given.txt").read()
try:
    open("{WORKSPACE}/made.txt", "w").write("from the sandbox")
except OSError as error:
    text += " " + error.strerror
print(json.dumps(text))
"""
    mirror = docker_engine.resolve("mirror").mounts
    read_only = (*mirror, Mount(str(tmp_path), WORKSPACE))
    assert report(launch, docker_engine, program, mounts=read_only) == "from the host Read-only file system"
    writable = (*mirror, Mount(str(tmp_path), WORKSPACE, read_only=False))
    assert report(launch, docker_engine, program, mounts=writable) == "from the host"
    assert (tmp_path / "made.txt").read_text() == "from the sandbox"


def test_bridge_gives_an_interface(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = "import json, os; print(json.dumps(sorted(os.listdir('/sys/class/net'))))"
    assert report(launch, docker_engine, program, network=NetworkPolicy(mode="bridge")) == ["eth0", "lo"]


def test_a_writable_root_is_had_when_asked(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = "import json; print(json.dumps(open('/x', 'w').write('abc')))"
    policy = SecurityPolicy(read_only_root=False)
    assert report(launch, docker_engine, program, user="0:0", security=policy) == 3


def test_an_image_with_only_the_distributions_python(
    docker_engine: DockerEngine, launch: Launcher, plain_python_image: str
) -> None:
    image = docker_engine.resolve(plain_python_image)
    program = """
import json, os, sys, importlib.util
print(json.dumps([sys.executable, bool(importlib.util.find_spec("IPython")), os.listdir("/workspace")]))
"""
    assert report(launch, docker_engine, program, image=image) == ["/usr/bin/python3", False, []]


def test_the_next_interpreter_is_tried(docker_engine: DockerEngine, plain_python_image: str) -> None:
    image = replace(docker_engine.resolve(plain_python_image), interpreters=("nosuch", "/no/such", "/usr/bin/python3"))
    container = docker_engine.create(make_spec(docker_engine, "print('third')", image=image))
    first_id = container.id
    try:
        container.start()
        assert read_all(container) == "third\n"
        assert container.id != first_id
    finally:
        container.remove()


def test_an_image_without_python_is_named(docker_engine: DockerEngine, image_without_python: str) -> None:
    image = docker_engine.resolve(image_without_python)
    container = docker_engine.create(make_spec(docker_engine, SLEEP, image=image))
    with pytest.raises(ImageUnsupportedError, match="chorus-nb-test/empty") as caught:
        container.start()
    assert "3.8" in caught.value.next_step
    container.remove()
    assert container.inspect().status == "removed"


def test_volumes_of_an_image_are_bounded_and_leave_nothing(
    docker_engine: DockerEngine, launch: Launcher, image_with_volume: str
) -> None:
    before = docker_engine.client.volumes()["Volumes"] or []
    image = docker_engine.resolve(image_with_volume)
    assert image.volumes == ("/data",)
    program = "import json, os; s = os.statvfs('/data'); print(json.dumps(s.f_blocks * s.f_frsize))"
    limits = ResourceLimits(tmp_bytes=4 * 2**20)
    assert report(launch, docker_engine, program, image=image, limits=limits) == 4 * 2**20
    assert (docker_engine.client.volumes()["Volumes"] or []) == before


def test_a_missing_image_is_not_pulled(docker_engine: DockerEngine) -> None:
    with pytest.raises(ImageNotFoundError, match="docker pull nosuch/image:1"):
        docker_engine.resolve("nosuch/image:1")


def test_an_image_that_went_away_is_named(docker_engine: DockerEngine) -> None:
    image = replace(docker_engine.resolve("mirror"), reference="chorus-nb-test/gone:1")
    with pytest.raises(ImageNotFoundError, match="chorus-nb-test/gone:1"):
        docker_engine.create(make_spec(docker_engine, SLEEP, image=image))


def test_a_missing_mount_source_is_named_and_not_made(docker_engine: DockerEngine, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    owned = docker_engine.owned()
    with pytest.raises(EngineError, match=str(missing)):
        docker_engine.create(make_spec(docker_engine, SLEEP, mounts=(Mount(str(missing), WORKSPACE),)))
    assert not missing.exists()
    assert docker_engine.owned() == owned


def test_more_cpus_than_there_are_is_refused_before_anything_is_made(docker_engine: DockerEngine) -> None:
    with pytest.raises(ConfigurationError, match=r"cpus=4096 .* up to \d+"):
        docker_engine.create(make_spec(docker_engine, SLEEP, limits=ResourceLimits(cpus=4096)))


def test_a_container_removed_by_hand_ends_the_stream(docker_engine: DockerEngine, launch: Launcher) -> None:
    container = launch(docker_engine, SLEEP)
    assert container.stream.receive() == b"ready\n"
    docker_engine.client.remove_container(container.id, force=True)
    assert container.stream.receive() == b""
    assert container.inspect().status == "removed"


def test_a_container_outlives_neither_its_killed_owner_nor_its_end(docker_engine: DockerEngine) -> None:
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
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", program, tests], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        container_id = owner.stdout.readline().strip()
        assert docker_engine.inspect_id(container_id).status == "running"
        assert dict(docker_engine.owned())[container_id][OWNER_LABEL].split("/")[3] == str(owner.pid)
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: docker_engine.inspect_id(container_id).status == "removed")


def test_twenty_rounds_leave_nothing(docker_engine: DockerEngine) -> None:
    made = set()
    for _ in range(20):
        container = docker_engine.create(make_spec(docker_engine, SLEEP))
        made.add(container.id)
        container.start()
        assert container.stream.receive() == b"ready\n"
        container.remove()
    assert len(made) == 20
    assert not made & set(dict(docker_engine.owned()))


def test_bulk_output_is_fast(docker_engine: DockerEngine, launch: Launcher) -> None:
    container = launch(docker_engine, "import os\nblock = b'x' * 65536\nfor _ in range(1024): os.write(1, block)")
    size_bytes, began_at = 0, time.monotonic()
    while piece := container.stream.receive():
        size_bytes += len(piece)
    assert size_bytes == 1024 * 65536
    # Over 100 MB/s on an idle machine; a tenth of that would mean reading in crumbs.
    assert size_bytes / (time.monotonic() - began_at) > 10e6
    wait_until(lambda: has_ended(container))
