"""Run every test and every notebook, then fail if anything of ours is left: a process, a container or a volume.

Tests of the Docker Engine wait for it most of the time. All others, which use none or a Podman of their own, run
meanwhile in what those leave of the processors, and have their say at the end.

Run by ``make test`` with the virtual environment's Python. This process makes itself the one that orphans fall to
(prctl(2), PR_SET_CHILD_SUBREAPER), so that whatever the tests started and left running is its child in the end,
whatever was done to its environment or session. Linux only, as is what it looks for.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import Owner

REPOSITORY = Path(__file__).resolve().parent.parent
BROWSER = REPOSITORY / "tests" / "browser"
NEED_DOCKER = "browser or (docker and not podman)"
"""The marks of tests that share the Docker Engine of this machine, one after the other."""

LABEL_PREFIX = "chorus-nb."
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10.0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def start(*arguments: str, niceness: int = 0, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start pytest, which writes to ``output``, or else where this process does."""
    command = ["nice", f"--adjustment={niceness}", sys.executable, "-m", "pytest", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=REPOSITORY)


def wait_for(*processes: subprocess.Popen[bytes]) -> bool:
    """Wait until all have ended; whether all ended well."""
    running = {process.pid: process for process in processes}
    # Orphans are reaped as they end: a test that looks whether a process is gone must not find a zombie.
    while running:
        pid, status = os.wait()
        if pid in running:
            running.pop(pid).returncode = os.waitstatus_to_exitcode(status)
    return not any(process.returncode for process in processes)


def folders() -> list[str]:
    """Return the folders of tests; last the browser's, which wait least: the others have ended by then."""
    found = {path.parent for path in (REPOSITORY / "tests").rglob("test_*.py")}
    return [str(folder.relative_to(REPOSITORY)) for folder in sorted(found, key=lambda each: (each == BROWSER, each))]


def run_everything(reports: Path) -> bool:
    """Run every test, and the notebooks among them; whether all passed."""
    with tempfile.TemporaryFile() as said:
        rest = [f"--junitxml={reports}/rest.xml", "-m", f"not ({NEED_DOCKER})", *folders()]
        docker = [f"--junitxml={reports}/docker.xml", "-m", NEED_DOCKER, "--nbval", *folders(), "notebooks"]
        # At the lowest priority: what measures the time of an engine is not to wait for these.
        passed = wait_for(start(*rest, niceness=19, output=said), start(*docker))
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
    return passed


def summary(reports: Path) -> str:
    """Say in one line what became of all tests that reports, in JUnit's format, tell of."""
    counts: Counter[str] = Counter()
    for report in reports.glob("*.xml"):
        for suite in ElementTree.parse(report).iter("testsuite"):  # noqa: S314
            counts.update({name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")})
    return "All tests: " + ", ".join(f"{count} {name}" for name, count in counts.items())


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
    # The notebooks once alone and once among the tests: they must pass twice in a row.
    passed = wait_for(start("--nbval", "--quiet", "notebooks"))
    with tempfile.TemporaryDirectory() as reports:
        passed = run_everything(Path(reports)) and passed
        print(summary(Path(reports)), flush=True)
    left = leftovers(DockerEngine())
    if left:
        print("Left behind by the tests:", *left, sep="\n  ", file=sys.stderr)
        for pid in list(descendants(os.getpid())):
            os.kill(pid, signal.SIGKILL)
    return not passed or bool(left)


if __name__ == "__main__":
    sys.exit(main())
