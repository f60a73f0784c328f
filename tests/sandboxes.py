"""What the tests of running sandboxes share."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chorus_nb.agent.wire import Message
from chorus_nb.enforced import MASKED, READ_ONLY
from chorus_nb.engines.base import SESSION_LABEL, ContainerSpec, Engine, ResolvedImage
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.engines.owner import owner_label
from chorus_nb.sandbox import ExecutionResult, Sandbox

SLEEP = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
"""A program of a container that has nothing to do."""


@contextmanager
def opened(engine: Engine, **options: Any) -> Iterator[Sandbox]:
    """Open a sandbox; when it is closed nothing of this process's may be left in the engine."""
    before = own_containers(engine)
    with Sandbox(engine=engine, **{"repo": "none", **options}) as sandbox:
        yield sandbox
    assert own_containers(engine) <= before


class OtherPython(FakeEngine):
    """Runs an interpreter of the test's choice."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def resolve(self, image: str) -> ResolvedImage:
        return ResolvedImage(reference="fake", interpreters=(self._program,))


def python_whose_template(folder: Path, *, starts: str) -> str:
    """Make a program that is this interpreter, but whose template starts as ``starts`` says.

    The supervisor is the one that is started isolated. A variable that Python might read at its start keeps it from
    making the template by a fork.
    """
    program = folder / "python"
    # The supervisor must start its template by this program, not by the interpreter itself.
    code = f"import sys; sys.executable = {str(program)!r}; exec(sys.argv[1])"
    supervisor = f'PYTHON_STARTED_BY=test exec {sys.executable} -I -S -c "{code}" "$4"'
    program.write_text(f'#!/bin/sh\ncase "$1" in -I) {supervisor} ;; esac\n{starts}\n')
    program.chmod(0o755)
    return str(program)


def start_and_remove(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    try:
        container.start()
    finally:
        container.remove()


def left_by_killed(program: str, engine: DockerEngine) -> str:
    """Run a program that prints the id of its container, kill it, and return the id."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            container = owner.stdout.readline().strip()
            assert engine.inspect_id(container).status == "running"
        finally:
            owner.kill()
    return container


def own_containers(engine: Engine) -> set[str]:
    """Return this process's containers. An engine may list one for a moment after it is gone."""
    listed = {each for each, labels in engine.owned() if labels["chorus-nb.owner"] == owner_label()}
    return {
        each for each in listed if not isinstance(engine, DockerEngine) or engine.inspect_id(each).status != "removed"
    }


def container_of(engine: Engine, session_name: str = "sandbox") -> str:
    """Return the id of this process's only container of a session."""
    owned = engine.owned()
    (found,) = [
        each
        for each, labels in owned
        if labels[SESSION_LABEL] == session_name and labels["chorus-nb.owner"] == owner_label()
    ]
    return found


def value(sandbox: Sandbox, code: str) -> str:
    """Run a cell that must succeed; return the text of its last expression."""
    result = sandbox.run(code, timeout=60)
    assert result.error is None, "\n".join(result.error.traceback)
    return "" if result.result is None else str(result.result)


class InterruptedCellError(Exception):
    """The cell ended by an interrupt. Not ``KeyboardInterrupt``: where none is expected that would end the tests."""


class Running:
    """A cell in another thread, so that this one can do something meanwhile."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.error: BaseException | None = None
        self.result: Any = None
        self.ended_at_s = 0.0
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except KeyboardInterrupt:
            self.error = InterruptedCellError()
        except BaseException as error:
            self.error = error
        self.ended_at_s = time.monotonic()

    def join(self, timeout_s: float = 60.0) -> Any:
        """Wait for its end; return its result or raise its error."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"the cell did not end within {timeout_s} s"
        if self.error is not None:
            raise self.error
        return self.result


BEGIN = "print('begun', flush=True)\n"


def start_cell(sandbox: Sandbox, code: str, *, begin: str = BEGIN) -> Running:
    """Run a cell in another thread; return once ``begin`` has printed. The result is the list of its messages."""
    begun = threading.Event()
    messages: list[Message] = []

    def note(message: Message) -> None:
        messages.append(message)
        begun.set()

    def run() -> list[Message]:
        outcome = sandbox._session.execute(begin + code, on_message=note)
        if outcome.interrupted:
            raise InterruptedCellError
        return messages[1:]

    running = Running(run)
    assert begun.wait(60), running.error
    return running


def text_of(result: ExecutionResult) -> str:
    """Return an error's traceback as one text."""
    assert result.error is not None
    return "\n".join(result.error.traceback)


MOUNTINFO = """\
1 0 0:1 / / ro,relatime - overlay overlay rw
2 1 0:2 / /proc rw,nosuid,nodev,noexec - proc proc rw
3 1 0:3 / /sys ro,nosuid,nodev,noexec - sysfs sysfs ro
4 2 0:2 /sys /proc/sys ro,nosuid - proc proc rw
5 2 0:4 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k
6 3 0:5 / /sys/firmware ro,relatime - tmpfs tmpfs ro
7 1 0:6 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw,size=262144k
8 1 0:7 / /home/sandbox rw,nosuid,nodev - tmpfs tmpfs rw,size=262144k
9 1 0:8 / /workspace rw,nosuid,nodev - tmpfs tmpfs rw,size=262144k
"""
"""The mounts of a container, as far as they are compared."""

LOCKS: dict[str, Any] = {
    "capabilities": dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0000000000000000"),
    "groups": [1000],
    "seccomp_mode": 2,
    "label": "",
    "uid_map": "         0          0 4294967295",
    "mountinfo": MOUNTINFO,
    "kernel_release": "6.1.0",
    "pid": 1,
    "namespaces": {"ipc": "ipc:[4026532180]", "pid": "pid:[4026532181]", "uts": "uts:[4026532179]"},
    "devices": [f"/dev/{name}" for name in ("full", "null", "ptmx", "random", "tty", "urandom", "zero")],
    "places": {
        **dict.fromkeys((*MASKED, *READ_ONLY), ""),
        **{path: path for path in ("/proc/kcore", "/proc/sys", "/sys", "/sys/firmware")},
    },
}
"""What an agent reports of the locks of the default policy."""

REPORT: dict[str, Any] = {
    "uid": 1000,
    "gid": 1000,
    "no_new_privileges": True,
    "read_only_root": True,
    "interfaces": ["lo"],
    "memory_limit_bytes": 2**30,
    "pids_limit": 128,
    "cpus": 1.0,
    "open_files": 1024,
    "cgroup_version": 2,
    "supervisor_undumpable": True,
    "python_version": "3.12.1",
    "python_executable": "/usr/bin/python3",
    "limits": {
        "memory_swap_bytes": 2**30,
        "cpu_weight": 39,
        "cpuset": "0-3",
        "blkio_weights": [100],
        "rates": {"read_bps": [], "write_bps": [], "read_iops": [], "write_iops": []},
        "rlimits": {"core": [0, 0], "nofile": [1024, 1024], "nproc": [-1, -1]},
        "shm_bytes": 64 * 2**20,
    },
    "locks": LOCKS,
}
"""What an agent reports where every control of the default policy is in force, for the user 1000."""
