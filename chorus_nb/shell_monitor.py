"""What is in force and in use in a container without Python, read by a shell in it.

The programs here need the builtins of a POSIX shell and nothing else: no other process is started, so they answer at
the limit of processes as well, and a reading costs a millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .agent.cgroup import Cgroup
from .agent.limits import CGROUP_V1, CGROUP_V2, limits_report
from .enforced import checked_paths
from .engines.base import Container, ContainerProcess, ContainerSpec
from .errors import AgentProtocolError

SHELL = "/bin/sh"
"""All that a container without Python needs to have."""

_SHOW = 'show() { while IFS= read -r line; do printf "%s %s\\n" "$1" "$line"; done <"$1"; } 2>/dev/null\n'
_V1 = (
    *("memory/memory.usage_in_bytes", "memory/memory.stat", "memory/memory.max_usage_in_bytes"),
    *("memory/memory.limit_in_bytes", "memory/memory.oom_control", "pids/pids.current", "pids/pids.max"),
    "pids/pids.events",
    *("cpuacct/cpuacct.usage", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    "blkio/blkio.throttle.io_service_bytes",
)
_V2 = (
    *("memory.current", "memory.stat", "memory.peak", "memory.max", "memory.events", "pids.current", "pids.max"),
    *("cpu.stat", "cpu.max", "io.stat", "pids.events"),
)
_ROOT = "/sys/fs/cgroup"
_FIGURES = " ".join(["/proc/net/dev", *(f"{_ROOT}/{name}" for name in (*_V1, *_V2))])
_MONITOR = f"{_SHOW}while read -r _; do for f in {_FIGURES}; do show $f; done; echo .; done"
_CONTROLS = (
    "/proc/self/status /proc/self/limits /proc/self/mountinfo /proc/self/uid_map /proc/self/attr/current "
    "/proc/1/status /proc/net/dev /proc/sys/kernel/osrelease /sys/class/net/*/flags"
)
_LIMITS = " ".join(f"{_ROOT}/{name}" for name in (*CGROUP_V1, *CGROUP_V2))
# Then the devices, and those of the given paths that are there: each as a line of a file that does not exist.
_REPORT = f"""{_SHOW}for f in {_CONTROLS} {_LIMITS}; do show $f; done
for d in /dev/* /dev/*/* /dev/*/*/*; do
  case $d in /dev/fd/*|/dev/pts/*|/dev/shm/*|/dev/mqueue/*) continue ;; esac
  if [ ! -h "$d" ]; then if [ -c "$d" ] || [ -b "$d" ]; then echo "devices $d"; fi; fi
done
for p; do if [ -e "$p" ]; then echo "there $p"; fi; done
"""

_MAX_BYTES = 2**20
_UNLIMITED = 2**62
_IFF_UP = 1


class MonitoredCgroup(Cgroup):
    """The cgroup of a container, read by a shell in it that waits for the next question.

    Parameters
    ----------
    execute : callable
        Starts a program in the container with a standard input.

    Raises
    ------
    AgentProtocolError, ConnectionError
        It is not to be had, here and from :meth:`sample`.
    """

    def __init__(self, execute: Callable[[list[str]], ContainerProcess]) -> None:
        self._process = execute([SHELL, "-c", _MONITOR])
        self._lock = threading.Lock()
        self._texts: Mapping[str, str] = {}
        self._ask()
        super().__init__(_ROOT)
        if self.version == 0:
            raise AgentProtocolError(
                "The container's cgroup can't be read.", next_step="Use an image that does not hide /sys/fs/cgroup."
            )

    def sample(self) -> dict[str, Any]:
        with self._lock:
            self._ask()
            try:
                return super().sample()
            except ValueError as error:
                raise AgentProtocolError(
                    f"The container's cgroup has no figures ({error}).", next_step="Restart the session."
                ) from None

    def close(self) -> None:
        """End it, and wake who waits for an answer."""
        self._process.close()

    def _ask(self) -> None:
        self._process.send(b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n.\n"):
            piece = self._process.receive()
            if piece is None:
                raise ConnectionError("the monitor has ended")
            if piece[0] == "stdout":
                answer += piece[1]
            if len(answer) > _MAX_BYTES:
                raise AgentProtocolError(
                    "The container's cgroup has more to say than can be.", next_step="Restart the session."
                )
        self._texts = _files(bytes(answer))

    def _text(self, name: str) -> str:
        return self._texts.get(name if name.startswith("/") else f"{self.root}/{name}", "")


def policy_report(container: Container, spec: ContainerSpec, cgroup: Cgroup) -> dict[str, Any]:
    """Return what is in force for the scripts, as :mod:`chorus_nb.agent.report` does; of Python, nothing."""
    paths = checked_paths(spec)
    report = [SHELL, "-c", _REPORT, SHELL, *paths]
    files = _files(read_all(container.exec(report, user=spec.user, working_dir=spec.working_dir)))
    status, keeper = _fields(files.get("/proc/self/status", "")), _fields(files.get("/proc/1/status", ""))
    sample = cgroup.sample()
    uid = _first_number(status.get("Uid", ""))
    return {
        "uid": uid,
        "gid": _first_number(status.get("Gid", "")),
        "no_new_privileges": status.get("NoNewPrivs") == "1",
        "read_only_root": _is_read_only(files.get("/proc/self/mountinfo", "")),
        "interfaces": _interfaces(files),
        "memory_limit_bytes": sample["memory_limit_bytes"],
        "pids_limit": sample["pids_limit"],
        "cpus": cgroup.cpus(),
        "open_files": _open_files(files.get("/proc/self/limits", "")),
        "cgroup_version": cgroup.version,
        # A process of another user without capabilities can neither trace the keeper nor signal it.
        "supervisor_undumpable": _first_number(keeper.get("Uid", "")) not in (-1, 0, uid),
        "python_version": "",
        "python_executable": "",
        "limits": limits_report(_ROOT, cgroup.version, lambda path: files.get(path, "")),
        "locks": _locks(files, paths),
    }


def _locks(files: Mapping[str, str], paths: Sequence[str]) -> dict[str, Any]:
    """Return what :mod:`chorus_nb.agent.locks` does, but for what a shell can't read: the namespaces, where links lead.

    A path that is a link stands for itself: what it leads to may be masked, and is then taken for visible.
    """
    status = _fields(files.get("/proc/self/status", ""))
    there = files.get("there", "").splitlines()
    return {
        "capabilities": {name: text for name, text in status.items() if name.startswith("Cap")},
        "groups": [int(each) for each in status.get("Groups", "").split() if _first_number(each) >= 0],
        "seccomp_mode": max(_first_number(status.get("Seccomp", "")), 0),
        "label": files.get("/proc/self/attr/current", ""),
        "uid_map": files.get("/proc/self/uid_map", ""),
        "mountinfo": files.get("/proc/self/mountinfo", ""),
        "kernel_release": files.get("/proc/sys/kernel/osrelease", ""),
        "pid": None,
        "namespaces": None,
        "devices": files.get("devices", "").splitlines(),
        "places": {path: path if path in there else "" for path in paths},
    }


def read_all(process: ContainerProcess) -> bytes:
    """Return what a program prints until its end, within bounds; standard error is left out."""
    output = bytearray()
    while (piece := process.receive()) is not None and len(output) <= _MAX_BYTES:
        output += piece[1] if piece[0] == "stdout" else b""
    process.close()
    return bytes(output)


def _files(output: bytes) -> dict[str, str]:
    """Sort what ``show`` printed, ``PATH LINE``, into the files it comes from."""
    lines: dict[str, list[str]] = {}
    for line in output.decode(errors="replace").removesuffix("\n").split("\n"):
        path, _, text = line.partition(" ")
        lines.setdefault(path, []).append(text)
    return {path: "\n".join(texts) for path, texts in lines.items()}


def _fields(text: str) -> dict[str, str]:
    """Return the fields of ``/proc/PID/status`` (proc_pid_status(5))."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _first_number(text: str) -> int:
    """Return -1 where there is none."""
    first = (text.split() or [""])[0]
    return int(first) if first.isdigit() and len(first) < 20 else -1


def _is_read_only(mountinfo: str) -> bool:
    """Whether the mount that is seen at ``/``, the last one there, takes no writes (proc_pid_mountinfo(5))."""
    roots = [fields for line in mountinfo.splitlines() if (fields := line.split())[4:5] == ["/"]]
    return bool(roots) and "ro" in "".join(roots[-1][5:6]).split(",")


def _interfaces(files: Mapping[str, str]) -> list[str]:
    """Name the interfaces that are up, or whose state is not known."""
    names = [line.partition(":")[0].strip() for line in files.get("/proc/net/dev", "").splitlines() if ":" in line]
    return sorted(name for name in names if _is_up(files.get(f"/sys/class/net/{name}/flags", ""))) or ["unknown"]


def _is_up(flags: str) -> bool:
    try:
        return bool(int(flags, 16) & _IFF_UP)
    except ValueError:
        return True


def _open_files(limits: str) -> int:
    line = next((line for line in limits.splitlines() if line.startswith("Max open files")), "")
    number = _first_number(line.removeprefix("Max open files"))
    return _UNLIMITED if number < 0 else number
