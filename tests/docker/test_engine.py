"""The Docker engine for real: what is locked, what is mounted, what goes wrong, and that nothing is left."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from conftest import Launcher, has_ended, make_spec, read_all, wait_until
from sandboxes import SLEEP

from chorus_nb.config import NetworkPolicy, ResourceLimits, SecurityPolicy
from chorus_nb.engines.base import HOME
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ConfigurationError, ImageNotFoundError

pytestmark = pytest.mark.docker


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


def test_programs_can_be_run_from_the_home_folder(docker_engine: DockerEngine, launch: Launcher) -> None:
    program = f"""
import shutil, subprocess, json
shutil.copy("/bin/true", "{HOME}/true")
print(json.dumps(subprocess.run(["{HOME}/true"]).returncode))
"""
    assert report(launch, docker_engine, program) == 0


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


def test_a_missing_image_is_not_pulled(docker_engine: DockerEngine) -> None:
    with pytest.raises(ImageNotFoundError, match="docker pull nosuch/image:1"):
        docker_engine.resolve("nosuch/image:1")


def test_more_cpus_than_there_are_is_refused_before_anything_is_made(docker_engine: DockerEngine) -> None:
    with pytest.raises(ConfigurationError, match=r"cpus=4096 .* up to \d+"):
        docker_engine.create(make_spec(docker_engine, SLEEP, limits=ResourceLimits(cpus=4096)))


def test_a_container_removed_by_hand_ends_the_stream(docker_engine: DockerEngine, launch: Launcher) -> None:
    container = launch(docker_engine, SLEEP)
    assert container.stream.receive() == b"ready\n"
    docker_engine.client.remove_container(container.id, force=True)
    assert container.stream.receive() == b""
    assert container.inspect().status == "removed"


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
