"""What only real isolation can give: the policy as the code inside meets it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import REPORT, container_of, left_by_killed, opened, own_containers, start_cell, value

from chorus_nb.controls import AgentInfo
from chorus_nb.engines.base import WORKSPACE
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import OutOfMemoryError, PolicyNotEnforcedError, SandboxDiedError, WorkerDiedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

SECRET = "a-secret-of-the-notebook"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that anybody may read, as most are."""
    folder = tmp_path_factory.mktemp("repository")
    folder.chmod(0o755)
    (folder / "here.txt").write_text("in the repository\n")
    return folder


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine, repository: Path) -> Iterator[Sandbox]:
    """One sandbox with every default but the repository's folder and tighter limits."""
    os.environ["CHORUS_TEST_SECRET"] = SECRET
    options = {"memory": "256m", "pids": 64, "env": {"GIVEN": "to the sandbox"}}
    with opened(docker_engine, repo="ro", repo_path=repository, **options) as sandbox:
        yield sandbox
    del os.environ["CHORUS_TEST_SECRET"]


# The policy


def test_the_agent_reports_the_policy_in_force(sandbox: Sandbox) -> None:
    info = sandbox.info()
    assert info.uid != 0
    assert int(info.effective_capabilities, 16) == 0
    assert (info.no_new_privileges, info.seccomp_filter, info.read_only_root) == (True, True, True)
    assert info.interfaces in ([], ["lo"])
    assert info.memory_limit_bytes == 256 * 2**20
    assert info.pids_limit == 64
    assert info.cpus == pytest.approx(1.0)
    assert info.open_files == 1024
    assert info.supervisor_undumpable


def test_the_code_is_under_the_same_policy_as_the_agent(sandbox: Sandbox) -> None:
    status = sandbox.run("print(open('/proc/self/status').read())").stdout
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert fields["Uid"].split() == [str(sandbox.info().uid)] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"


@pytest.mark.parametrize("path", ["/x", "/etc/x", "/usr/x", "/workspace/x", f"{sys.prefix}/x", "/proc/sys/kernel/x"])
def test_nothing_but_the_own_folders_takes_writes(sandbox: Sandbox, path: str) -> None:
    result = sandbox.run(f"open({path!r}, 'w')")
    assert result.error is not None
    assert result.error.ename in ("OSError", "PermissionError", "FileNotFoundError")


def test_the_home_and_tmp_take_writes_up_to_their_size(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, tmp="8m") as sandbox:
        for path in ("~/file", "/tmp/file"):
            code = f"import os\nwith open(os.path.expanduser({path!r}), 'wb') as f: f.write(b'x' * 2**20)"
            assert sandbox.run(code).ok
            result = sandbox.run(code.replace("2**20", "2**24"))
            assert result.error is not None
            assert "No space left" in result.error.evalue


def test_there_is_no_way_out(sandbox: Sandbox) -> None:
    result = sandbox.run("import socket; socket.create_connection(('1.1.1.1', 53), timeout=3)")
    assert result.error is not None
    assert "Network is unreachable" in result.error.evalue
    assert "lo" in value(sandbox, "[name for _, name in socket.if_nameindex()]")


def test_nothing_of_the_hosts_environment_or_files_is_seen(sandbox: Sandbox) -> None:
    assert SECRET not in value(sandbox, "import os; dict(os.environ)")
    assert (
        SECRET
        not in sandbox.run(
            "import glob\nfor path in glob.glob('/proc/[0-9]*/environ'):\n"
            "    try: print(open(path, errors='replace').read())\n    except OSError: pass"
        ).stdout
    )
    home = Path.home()
    hidden = [path for path in home.iterdir() if not Path(sys.prefix).is_relative_to(path)]
    hidden = [path for path in hidden if not Path(sys.base_prefix).is_relative_to(path)]
    for path in (
        *map(str, hidden),
        "/etc/shadow",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/etc/ssh",
        "/root/.ssh",
    ):
        assert value(sandbox, f"os.path.exists({path!r})") == "False"


def test_the_given_environment_is_there(sandbox: Sandbox) -> None:
    assert value(sandbox, "import os; os.environ['GIVEN']") == "'to the sandbox'"
    assert sandbox.command(["sh", "-c", "echo $GIVEN"]).stdout == "to the sandbox\n"


@pytest.mark.parametrize(
    "attempt",
    [
        "os.listdir('/proc/1/fd')",
        "open('/proc/1/mem', 'rb+')",
        "open('/proc/1/environ').read()",
        "os.open('/proc/1/root', os.O_RDONLY)",
        "attach(1)",
        "attach(int(open('/proc/self/stat').read().split()[3]))",
    ],
)
def test_the_supervisor_can_not_be_opened_or_traced(sandbox: Sandbox, attempt: str) -> None:
    code = f"""
import ctypes, os
def attach(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) != 0:  # PTRACE_ATTACH
        raise PermissionError(ctypes.get_errno(), "ptrace")
{attempt}
"""
    result = sandbox.run(code)
    assert result.error is not None
    assert result.error.ename in ("PermissionError", "OSError")


def test_signals_to_the_supervisor_do_nothing(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    sandbox.run("import os, signal\nfor number in range(1, 65):\n    try: os.kill(1, number)\n    except OSError: pass")
    assert value(sandbox, "kept") == "7"


def test_killing_everything_costs_the_process_only(sandbox: Sandbox) -> None:
    container = container_of(sandbox._session.engine)
    with pytest.raises(WorkerDiedError):
        sandbox.run("import os\nos.kill(-1, 9)\nos.kill(os.getpid(), 9)")
    assert value(sandbox, "'usable'") == "'usable'"
    assert container_of(sandbox._session.engine) == container


def test_killing_the_template_is_survived(sandbox: Sandbox) -> None:
    sandbox.run("import os\nfor pid in os.listdir('/proc'):\n    if pid.isdigit() and int(pid) not in (1, os.getpid()):"
                "\n        os.kill(int(pid), 9)")  # fmt: skip
    sandbox.restart()
    assert value(sandbox, "6 * 7") == "42"
    sandbox.files.write("/tmp/after", b"x")


def make_info(**changes: object) -> AgentInfo:
    """Return a report in which everything is in force, but for ``changes``."""
    return AgentInfo.model_validate({**REPORT, "uid": 65534, "gid": 65534, **changes})


def test_a_control_that_is_not_in_force_ends_the_session(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = own_containers(docker_engine)
    monkeypatch.setattr(AgentInfo, "from_content", lambda content: make_info(no_new_privileges=False, pids_limit=None))
    with pytest.raises(PolicyNotEnforcedError) as caught, opened(docker_engine):
        pass
    assert set(caught.value.controls) >= {"no-new-privileges", "pids"}
    assert own_containers(docker_engine) <= before


# Limits


def test_out_of_memory_tells_limit_and_peak_and_is_survived(sandbox: Sandbox) -> None:
    with pytest.raises(OutOfMemoryError, match=r"256 MiB.*--memory 512m") as caught:
        sandbox.run("blocks = []\nwhile True: blocks.append(b'x' * 2**22)")
    assert isinstance(caught.value, MemoryError)
    assert caught.value.limit_bytes == 256 * 2**20
    assert 200 * 2**20 < caught.value.peak_bytes <= 256 * 2**20
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_child_that_runs_out_of_memory_leaves_the_state(sandbox: Sandbox) -> None:
    sandbox.run("kept = 7")
    result = sandbox.run(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'x = [b\"x\" * 2**22 for _ in range(1000)]']).returncode"
    )
    assert str(result.result) in ("-9", "1")
    assert result.usage.oom_kills >= 0
    assert value(sandbox, "kept") == "7"


def test_a_fork_bomb_is_stopped_and_restart_clears_it(sandbox: Sandbox) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    running = start_cell(sandbox, bomb)
    assert sandbox.usage().pids <= 64
    sandbox.restart()
    with pytest.raises(WorkerDiedError):
        running.join()
    assert value(sandbox, "'usable'") == "'usable'"
    assert sandbox.usage().pids < 16


def test_a_cell_gets_no_more_processor_time_than_its_share(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, cpus=0.5) as sandbox:
        usage = sandbox.run("import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass").usage
        assert usage.cpu_time_s < 1.5


def test_usage_of_disk_and_network_is_counted_from_the_containers_own_cgroup(sandbox: Sandbox) -> None:
    sample = sandbox.usage()
    assert sample.memory_limit_bytes == 256 * 2**20
    assert sample.pids_limit == 64
    assert 0 < sample.memory_bytes < 256 * 2**20
    assert (sample.network_rx_bytes, sample.network_tx_bytes) == (0, 0)


# The repository


def test_the_repository_is_the_working_directory_and_read_only(sandbox: Sandbox, repository: Path) -> None:
    assert value(sandbox, "import os; os.getcwd()") == repr(WORKSPACE)
    assert sandbox.run("print(open('here.txt').read(), end='')").stdout == "in the repository\n"
    result = sandbox.run("open('here.txt', 'a')")
    assert result.error is not None
    assert (repository / "here.txt").read_text() == "in the repository\n"


def test_modules_beside_the_notebook_can_be_imported(sandbox: Sandbox, repository: Path) -> None:
    (repository / "beside.py").write_text("answer = 42\n")
    assert value(sandbox, "import beside; beside.answer") == "42"


def test_writes_of_rw_reach_the_host_with_the_users_ownership(docker_engine: DockerEngine, tmp_path: Path) -> None:
    with opened(docker_engine, repo="rw", repo_path=tmp_path) as sandbox:
        value(sandbox, "import os; os.makedirs('made'); open('made/file', 'w').write('by the cell')")
    file = tmp_path / "made" / "file"
    assert file.read_text() == "by the cell"
    assert (file.stat().st_uid, file.stat().st_gid) == (os.getuid(), os.getgid())


def test_repo_none_is_an_empty_folder(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, repo="none") as sandbox:
        assert value(sandbox, "import os; (os.getcwd(), os.listdir())") == f"({WORKSPACE!r}, [])"


# The ends of a container


def test_a_container_removed_by_hand_during_a_cell(docker_engine: DockerEngine) -> None:
    with opened(docker_engine) as sandbox:
        running = start_cell(sandbox, "import time; time.sleep(600)")
        docker_engine.remove_id(sandbox._session._container.id)  # type: ignore[union-attr]
        with pytest.raises(SandboxDiedError, match="removed or killed"):
            running.join()
        assert value(sandbox, "'a new one'") == "'a new one'"


def test_a_paused_container_can_still_be_closed(docker_engine: DockerEngine) -> None:
    with opened(docker_engine) as sandbox:
        docker_engine.client.pause(sandbox._session._container.id)  # type: ignore[union-attr]


def test_nothing_outlives_the_kill_of_its_owner(docker_engine: DockerEngine) -> None:
    program = "from chorus_nb.sandbox import Sandbox\nsb = Sandbox(repo='none').__enter__()\nprint(sb._session._container.id, flush=True)\nsb.run('import time; time.sleep(600)')"  # noqa: E501
    container = left_by_killed(program, docker_engine)
    wait_until(lambda: docker_engine.inspect_id(container).status == "removed")
    assert container not in dict(docker_engine.owned())
