"""Bad input ends in a clear error, with nothing left behind and this process unharmed."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import opened, own_containers, start_cell, value

from chorus_nb.config import SMALLEST_MEMORY_BYTES, SandboxConfig
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.errors import (
    ConfigurationError,
    EngineNotFoundError,
    OutOfMemoryError,
    RepositoryNotFoundError,
    WorkerDiedError,
)
from chorus_nb.sandbox import Sandbox
from chorus_nb.session import Session

pytestmark = pytest.mark.docker

GIGABYTE = 2**30


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine) -> Iterator[Sandbox]:
    """One sandbox with the defaults."""
    with opened(docker_engine) as sandbox:
        yield sandbox


def host_memory_peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "code",
    [
        "line = 'x' * (2**16 - 1)\nfor _ in range(2**14): print(line)",
        "import subprocess; subprocess.run('yes | head -c 1G', shell=True)",
    ],
    ids=["printed", "by a program"],
)
def test_one_gigabyte_of_output_is_bounded_with_a_notice(sandbox: Sandbox, code: str) -> None:
    before = host_memory_peak_bytes()
    result = sandbox.run(code)
    assert result.ok
    assert 2**20 < len(result.stdout) <= 10 * 2**20
    assert "dropped" in result.stderr
    assert "raise it with" in result.stderr
    assert host_memory_peak_bytes() - before < 200 * 2**20
    assert result.usage.memory_peak_bytes < 300 * 2**20
    assert value(sandbox, "'usable'") == "'usable'"


def test_garbage_on_every_descriptor_the_cell_can_open(sandbox: Sandbox) -> None:
    code = """
import glob, os
targets = set(range(256))
for path in glob.glob("/proc/*/fd/*") + glob.glob("/dev/*") + glob.glob("/dev/pts/*"):
    try:
        targets.add(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass
for _ in range(50):
    for fd in targets:
        try:
            os.write(fd, os.urandom(500))
        except OSError:
            pass
"""
    with pytest.raises(WorkerDiedError):
        sandbox.run(code)
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_fork_bomb_of_programs(sandbox: Sandbox) -> None:
    running = start_cell(sandbox, "import subprocess\nsubprocess.run(['sh', '-c', 'b() { b | b & }; b; sleep 600'])")
    sandbox.restart()
    with pytest.raises(WorkerDiedError):
        running.join()
    assert value(sandbox, "'usable'") == "'usable'"


def test_the_smallest_memory_starts_and_runs_a_cell(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, memory=SMALLEST_MEMORY_BYTES) as sandbox:
        assert value(sandbox, "1 + 1") == "2"


def test_less_memory_than_starts_is_refused_with_the_bound() -> None:
    with pytest.raises(ConfigurationError, match=r"memory=.*48m"):
        Sandbox(memory=SMALLEST_MEMORY_BYTES - 1)


@pytest.mark.parametrize("mebibytes", [8, 20])
def test_memory_that_the_start_outgrows_is_said_to_be_too_little(docker_engine: DockerEngine, mebibytes: int) -> None:
    """The bound of the configuration stands before this; an image may need more than the mirror does."""
    config = SandboxConfig.from_options(repo="none")
    limits = config.limits.model_copy(update={"memory_bytes": mebibytes * 2**20})
    session = Session("small", config.model_copy(update={"limits": limits}), docker_engine)
    before = own_containers(docker_engine)
    with pytest.raises(OutOfMemoryError, match=f"memory limit of {mebibytes} MiB"):
        session.start()
    assert own_containers(docker_engine) <= before


def test_an_unknown_repository_folder(docker_engine: DockerEngine, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(RepositoryNotFoundError, match="missing"), opened(docker_engine, repo="ro", repo_path=missing):
        pass
    assert not missing.exists()


def test_no_engine_at_the_address(tmp_path: Path) -> None:
    engine = DockerEngine(Endpoint(address=f"unix://{tmp_path}/no.sock", origin="this test"))
    with pytest.raises(EngineNotFoundError, match="No Docker Engine answers"):
        Sandbox(engine=engine).run("1")


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "lots"},
        {"memory": -1},
        {"cpus": 0},
        {"cpus": "inf"},
        {"pids": 1},
        {"network": "all"},
        {"repo": "write"},
        {"user": "root"},
        {"image": "-v /:/host"},
        {"image": ""},
        {"env": {"A=B": "c"}},
        {"colour": "red"},
    ],
)
def test_bad_options_name_the_option_and_what_is_allowed(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Sandbox(**options)  # type: ignore[arg-type]
    (name,) = options
    assert name in str(caught.value)
    assert caught.value.next_step


def test_more_processors_than_there_are(docker_engine: DockerEngine) -> None:
    with pytest.raises(ConfigurationError, match="cpus=1000"), opened(docker_engine, cpus=1000):
        pass


@pytest.mark.parametrize("code", ["exit()", "quit", "import sys; sys.exit()", "import os; os._exit(9)"])
def test_attempts_to_leave(sandbox: Sandbox, code: str) -> None:
    with contextlib.suppress(WorkerDiedError):
        sandbox.run(code)
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_cell_that_stops_every_process_it_can_is_restarted(sandbox: Sandbox) -> None:
    """Among them the template, which has the same user; without it there is nobody to fork a worker."""
    stop = "import os, signal\nfor p in os.listdir('/proc'):\n    if p.isdigit() and int(p) != os.getpid():\n"
    stop += "        try: os.kill(int(p), signal.SIGSTOP)\n        except OSError: pass"
    assert sandbox.run(stop).ok
    sandbox.restart()
    assert value(sandbox, "6 * 7") == "42"
