"""Code in a sandbox against the supervisor, its template, and the figures and messages that only they may send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from attempts import REAL_ENGINES, TOOLS, assert_refused, engine_of
from hostile import GENUINE
from sandboxes import opened, value

from chorus_nb.errors import ChorusError, WorkerDiedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", params=REAL_ENGINES)
def kept(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with opened(engine_of(request, request.param), pids=64) as sandbox:
        yield sandbox


TEMPLATE = "int(open('/proc/self/stat').read().rpartition(')')[2].split()[1])"
INTRUSIONS = {
    "trace": "checked(_libc.ptrace(16, {pid}, None, None))",
    "seize": "checked(_libc.ptrace(0x4206, {pid}, None, None))",
    "read its memory": "os.open('/proc/{pid}/mem', os.O_RDONLY)",
    "write its memory": "os.open('/proc/{pid}/mem', os.O_RDWR)",
    "read it at once": "syscall(310, {pid}, part(8), 1, part(8), 1, 0)",
    "write it at once": "syscall(311, {pid}, part(8), 1, part(8), 1, 0)",
    "its environment": "os.open('/proc/{pid}/environ', os.O_RDONLY)",
    "its descriptors": "os.listdir('/proc/{pid}/fd')",
    "those of its thread": "os.listdir('/proc/{pid}/task/{pid}/fd')",
    "one of them": "os.open('/proc/{pid}/fd/1', os.O_WRONLY)",
    "a copy of one": "syscall(438, os.pidfd_open({pid}), 1, 0)",
    "compare them": "syscall(312, {pid}, os.getpid(), 0, 1, 1)",
    "its map": "os.open('/proc/{pid}/maps', os.O_RDONLY); raise PermissionError",
    "what it does": "os.open('/proc/{pid}/syscall', os.O_RDONLY)",
    "its stack": "open('/proc/{pid}/stack').read()",
    "its root": "os.open('/proc/{pid}/root', os.O_RDONLY)",
    "its program": "os.readlink('/proc/{pid}/exe')",
    "its namespaces": "os.open('/proc/{pid}/ns/user', os.O_RDONLY)",
    "its score": "write('/proc/{pid}/oom_score_adj', '1000')",
    "its name": "write('/proc/{pid}/comm', 'other')",
    "its group": "os.setpgid({pid}, {pid})",
}


@pytest.mark.parametrize("pid", ["1", TEMPLATE], ids=["supervisor", "template"])
@pytest.mark.parametrize("intrusion", INTRUSIONS.values(), ids=INTRUSIONS)
def test_neither_supervisor_nor_template_can_be_looked_into(sandbox: Sandbox, pid: str, intrusion: str) -> None:
    if "/maps" in intrusion:  # It opens, and then has nothing to read.
        intrusion = "\nassert not open('/proc/{pid}/maps').read()\nraise PermissionError"
    assert_refused(sandbox, f"pid = {pid}\n" + intrusion.replace("'/proc/{pid}", "f'/proc/{pid}").replace(
        "({pid}", "(pid").replace(" {pid}", " pid"))  # fmt: skip
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_cell_has_no_descriptor_that_is_not_its_own(sandbox: Sandbox) -> None:
    """Its sockets and pipes to the supervisor, and what its event loop has; no file but of its own listing."""
    links = "import os\nsorted({os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in os.listdir('/proc/self/fd')"
    found = set(eval(value(sandbox, links + " if os.path.lexists(f'/proc/self/fd/{n}')})")))
    assert {each for each in found if not each.startswith("/proc/")} <= {"pipe", "socket", "/dev/null", "anon_inode"}


def test_a_program_of_a_cell_has_none_of_the_cells_descriptors(sandbox: Sandbox) -> None:
    listed = value(
        sandbox, "import subprocess\nsubprocess.run(['ls', '-l', '/proc/self/fd'], capture_output=True).stdout"
    )
    assert "socket" not in listed
    assert "socket" not in sandbox.command(["ls", "-l", "/proc/self/fd"]).stdout


# What it sends by its own socket, past our code in it

SENDER = """
import json, os, socket, stat, struct
def frame(kind, content, parent):
    body = {"msg_id": "f", "msg_type": kind, "parent_id": parent, "content": content, "metadata": {}}
    data = json.dumps(body).encode()
    return struct.pack(">4sIH", b"CNB\\x01", len(data), 0) + data
def send(data):
    for fd in [int(each) for each in os.listdir("/proc/self/fd")]:
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            pass
def request_id():
    import gc
    for each in gc.get_objects():
        if type(each).__name__ == "Outbox":
            return next(value for value in vars(each).values() if isinstance(value, str) and "-" in value)
"""


@pytest.mark.parametrize("kind", ["agent_info", "worker_exit", "resource_usage", "resource_sample", "usage_reply",
                                  "shutdown_reply", "command_reply", "file_reply"])  # fmt: skip
def test_a_cell_can_not_speak_for_the_supervisor(sandbox: Sandbox, kind: str) -> None:
    """Figures of nothing, another report, an end that was none: dropped, in the cell's own name and in nobody's."""
    info = sandbox.info()
    lies = {key: 0 if type(each) in (int, float) else each for key, each in GENUINE[kind].items()}
    code = f"for parent in ('', request_id()): send(frame({kind!r}, {lies!r}, parent))\nx = bytearray(50 * 2**20)\n1"
    result = sandbox.run(SENDER + code, timeout=30)
    assert str(result.result) == "1"
    assert result.usage.memory_peak_bytes > 2**20
    assert result.usage.cpu_time_s > 0
    assert sandbox.info() == info
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_cell_can_not_answer_for_a_later_one(sandbox: Sandbox) -> None:
    early = "for n in range(100): send(frame('execute_reply', {'status': 'ok'}, request_id().split('-')[0] + f'-{n}'))"
    with suppress(WorkerDiedError):
        sandbox.run(SENDER + early, timeout=30)
    assert sandbox.run("print('of this one')\n2 * 21", timeout=30).stdout == "of this one\n"


GARBAGE = {
    "no frame": "b'Traceback (most recent call last):'",
    "too large": "struct.pack('>4sIH', b'CNB\\x01', 2**32 - 1, 0)",
    "too many buffers": "struct.pack('>4sIH', b'CNB\\x01', 2, 65535)",
    "no JSON": "struct.pack('>4sIH', b'CNB\\x01', 4, 0) + b'\\xff\\xfe{{'",
    "cut, then another": "frame('stream', {}, '')[:20] + frame('stream', {}, '')",
    "wrong types": "frame('stream', {}, '').replace(b'\"\"', b'[]')",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_ends_the_process_that_sent_it(sandbox: Sandbox, garbage: str) -> None:
    with pytest.raises(WorkerDiedError):
        sandbox.run(SENDER + f"import time\nsend({garbage})\ntime.sleep(60)", timeout=30)
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_frame_that_never_ends_ends_nothing_else(sandbox: Sandbox) -> None:
    """Sixteen mebibytes that are promised and never come; interrupts and figures still pass."""
    with pytest.raises(ChorusError):
        sandbox.run(SENDER + "send(struct.pack('>4sIH', b'CNB\\x01', 2**24, 0))", timeout=1)
    assert sandbox.usage().pids > 0
    assert value(sandbox, "'usable'") == "'usable'"


# What the kernel allows it against its own supervisor harms its own sandbox only

SELF_HARM = {
    "its descriptors": "resource.prlimit(1, resource.RLIMIT_NOFILE, (4, 4))",
    "its time": "os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)); os.setpriority(os.PRIO_PROCESS, 1, 19)",
    "its CPU time": "resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))",
    "its memory": "resource.prlimit(1, resource.RLIMIT_AS, (2**20, 2**20))",
    "its template stopped": f"os.kill({TEMPLATE}, signal.SIGSTOP)",
}


@pytest.mark.parametrize("harm", SELF_HARM.values(), ids=SELF_HARM)
def test_harm_to_its_supervisor_ends_its_own_sandbox_at_most(request: pytest.FixtureRequest, harm: str) -> None:
    with opened(engine_of(request, "docker"), timeout=10) as sandbox:
        for code in (TOOLS + harm, "1", "import subprocess; subprocess.run(['true'])"):
            with suppress(ChorusError):
                sandbox.run(code)
        for _ in range(3):
            with suppress(ChorusError):
                if sandbox.run("1").ok:
                    break
        else:
            pytest.fail("no usable sandbox can be had any more")
