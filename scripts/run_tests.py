"""Run every test and every notebook, then fail if anything of ours is left: a process, a container or a volume.

Run by ``make test`` with the virtual environment's Python. This process makes itself the one that orphans fall to
(prctl(2), PR_SET_CHILD_SUBREAPER), so that whatever the tests started and left running is its child in the end,
whatever was done to its environment or session. Linux only, as is what it looks for.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import Owner

REPOSITORY = Path(__file__).resolve().parent.parent
LABEL_PREFIX = "chorus-nb."
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10.0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def pytest(*arguments: str) -> int:
    """Run pytest on ``arguments`` and the notebooks; its exit status."""
    command = [sys.executable, "-m", "pytest", "--nbval", *arguments, "notebooks"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=REPOSITORY)
    # Orphans are reaped as they end: a test that looks whether a process is gone must not find a zombie.
    pid = 0
    while pid != process.pid:
        pid, status = os.wait()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


def reap() -> None:
    """Collect children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def descendants(pid: int) -> Iterator[int]:
    """Every process below ``pid``."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from descendants(child)


def describe(pid: int) -> str:
    """Pid and command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    return f"process {pid}: {b' '.join(words).decode(errors='replace')[:200]}"


def has_live_owner(label: str) -> bool:
    """Whether the process that an owner label names runs here: a person with a notebook open, not one of our tests."""
    fields = label.split("/")
    if len(fields) != len(Owner._fields):
        return False
    owner = Owner(*fields)
    try:
        return owner.start_time in Path("/proc", owner.pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False


def is_left(labels: Mapping[str, str] | None) -> bool:
    """Whether labels are this package's, on something that nobody else uses."""
    ours = any(label.startswith(LABEL_PREFIX) for label in labels or {})
    return ours and not has_live_owner((labels or {}).get(OWNER_LABEL, ""))


def left_in_engine(engine: DockerEngine) -> list[str]:
    """Containers, in any state, and volumes."""
    containers = engine.client.containers(all=True)
    volumes = engine.client.volumes()["Volumes"] or []
    return [
        *(f"container {c['Id'][:12]} {c['Status']} {c['Labels']}" for c in containers if is_left(c["Labels"])),
        *(f"volume {v['Name']} {v['Labels']}" for v in volumes if is_left(v["Labels"])),
    ]


def leftovers(engine: DockerEngine) -> list[str]:
    """What is still there after a time in which things that are ending may end."""
    deadline_s = time.monotonic() + GRACE_S
    while True:
        reap()
        left = [describe(pid) for pid in descendants(os.getpid())] + left_in_engine(engine)
        if not left or time.monotonic() > deadline_s:
            return left
        time.sleep(0.2)


def main() -> int:
    """Exit status."""
    # Ctrl-C reaches pytest as well; it reports, and we still look for what is left.
    signal.signal(signal.SIGINT, lambda *_: None)
    adopt_orphans()
    # The notebooks once alone and once among the tests: they must pass twice in a row. Everything runs last, so that
    # the last line is the summary of everything.
    alone, everything = pytest("--quiet"), pytest("tests")
    left = leftovers(DockerEngine())
    if left:
        print("Left behind by the tests:", *left, sep="\n  ", file=sys.stderr)
        for pid in list(descendants(os.getpid())):
            os.kill(pid, signal.SIGKILL)
    return alone or everything or bool(left)


if __name__ == "__main__":
    sys.exit(main())
