"""Reading what the container uses and may use, from its own cgroup: v2 or v1, or else from ``/proc``.

Sources: the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``, ``cgroup-v1/pids.rst``,
``cgroup-v1/cpuacct.rst``, ``cgroup-v1/blkio-controller.rst``, ``proc_pid_stat(5)``. A file costs microseconds to read;
the engine's own statistics take a second.
"""

import os
import time
from typing import Any, Dict, Optional, Tuple

from . import posix

_NO_LIMIT = 2**60
"""cgroup v1 writes "no limit" as the largest page-aligned number."""


class Cgroup:
    """One container's cgroup, mounted at ``root`` inside it. With an empty ``root``, the processes below this one."""

    def __init__(self, root: str = "/sys/fs/cgroup", proc: str = "/proc") -> None:
        self._open: Dict[str, int] = {}
        self.root = root
        self.proc = proc
        self._interfaces = os.path.join(proc, "net/dev")
        if self._text("memory.current"):
            self.version = 2
        elif self._text("memory/memory.usage_in_bytes"):
            self.version = 1
        else:
            self.version = 0

    def sample(self) -> Dict[str, Any]:
        """Return one reading: the fields of ``chorus_nb.telemetry.ResourceSample``."""
        reader = (self._processes, self._v1, self._v2)[self.version]
        received, sent = self._network()
        figures = {"time_s": time.monotonic(), "network_rx_bytes": received, "network_tx_bytes": sent}
        figures.update(reader())
        return figures

    def cpus(self) -> Optional[float]:
        """Return how many CPUs' worth of time the quota allows, or None without one."""
        if self.version == 2:
            quota, _, period = self._text("cpu.max").partition(" ")
        else:
            quota, period = self._text("cpu/cpu.cfs_quota_us"), self._text("cpu/cpu.cfs_period_us")
        if not quota.strip().isdigit() or not period.strip().isdigit() or int(period) == 0:
            return None
        return int(quota) / int(period)

    def _v2(self) -> Dict[str, Any]:
        current = self._number("memory.current")
        read, written = self._io("io.stat", "rbytes=", "wbytes=")
        return {
            "cpu_time_s": self._keyed("cpu.stat", "usage_usec") / 1e6,
            "memory_bytes": max(0, current - self._keyed("memory.stat", "inactive_file")),
            # memory.peak came with Linux 5.19; before that the samples are all there is.
            "memory_peak_bytes": self._number("memory.peak") or current,
            "memory_limit_bytes": self._limit("memory.max"),
            "pids": self._number("pids.current"),
            "pids_limit": self._limit("pids.max"),
            "disk_read_bytes": read,
            "disk_write_bytes": written,
            "oom_kills": self._keyed("memory.events", "oom_kill"),
            "pids_refused": self._keyed("pids.events", "max"),
        }

    def _v1(self) -> Dict[str, Any]:
        current = self._number("memory/memory.usage_in_bytes")
        read, written = self._io("blkio/blkio.throttle.io_service_bytes", "Read ", "Write ")
        return {
            "cpu_time_s": self._number("cpuacct/cpuacct.usage") / 1e9,
            "memory_bytes": max(0, current - self._keyed("memory/memory.stat", "total_inactive_file")),
            "memory_peak_bytes": self._number("memory/memory.max_usage_in_bytes"),
            "memory_limit_bytes": self._limit("memory/memory.limit_in_bytes"),
            "pids": self._number("pids/pids.current"),
            "pids_limit": self._limit("pids/pids.max"),
            "disk_read_bytes": read,
            "disk_write_bytes": written,
            "oom_kills": self._keyed("memory/memory.oom_control", "oom_kill"),
            "pids_refused": self._keyed("pids/pids.events", "max"),
        }

    def _processes(self) -> Dict[str, Any]:
        """Add up the processes themselves, where there is no cgroup of our own to read."""
        ticks = pages = count = 0
        for pid in [os.getpid()] + posix.descendants():
            stat = self._read("%s/%d/stat" % (self.proc, pid)).rpartition(")")[2].split()
            if len(stat) > 21:
                ticks += int(stat[11]) + int(stat[12])
                pages += int(stat[21])
                count += 1
        memory = pages * os.sysconf("SC_PAGE_SIZE")
        return {
            "cpu_time_s": ticks / os.sysconf("SC_CLK_TCK"),
            "memory_bytes": memory,
            "memory_peak_bytes": memory,
            "memory_limit_bytes": None,
            "pids": count,
            "pids_limit": None,
            "disk_read_bytes": 0,
            "disk_write_bytes": 0,
            "oom_kills": 0,
            "pids_refused": 0,
        }

    def _network(self) -> Tuple[int, int]:
        """Add up every interface but loopback (``proc_pid_net(5)``)."""
        received = sent = 0
        for line in self._text(self._interfaces).splitlines()[2:]:
            name, _, figures = line.partition(":")
            columns = figures.split()
            if name.strip() != "lo" and len(columns) > 8:
                received += int(columns[0])
                sent += int(columns[8])
        return received, sent

    def _io(self, name: str, read_key: str, write_key: str) -> Tuple[int, int]:
        totals = [0, 0]
        for line in self._text(name).splitlines():
            for i, key in enumerate((read_key, write_key)):
                digits = line.partition(key)[2].split()
                if digits and digits[0].isdigit():
                    totals[i] += int(digits[0])
        return totals[0], totals[1]

    def _keyed(self, name: str, key: str) -> int:
        # Not line by line: memory.stat has dozens, and this is done twice a cell.
        found = ("\n" + self._text(name)).partition("\n%s " % key)[2]
        return _integer(found.partition("\n")[0]) or 0

    def _limit(self, name: str) -> Optional[int]:
        limit = _integer(self._text(name))
        return None if limit is None or limit >= _NO_LIMIT else limit

    def _number(self, name: str) -> int:
        return _integer(self._text(name)) or 0

    def _text(self, name: str) -> str:
        """Read a file below the root again: opening these costs ten times as much as reading them."""
        try:
            if name not in self._open:
                self._open[name] = os.open(os.path.join(self.root, name), os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._open[name], 2**16, 0).decode("ascii", "replace")
        except OSError:
            return ""

    @staticmethod
    def _read(path: str) -> str:
        try:
            with open(path) as file:
                return file.read()
        except OSError:
            return ""


def _integer(text: str) -> Optional[int]:
    """Return the number in ``text``, or None where there is none, but ``max`` or nothing."""
    digits = text.strip()
    return int(digits) if digits.isdigit() else None


class Meter:
    """What one execution uses: the counters' differences, and the peaks seen meanwhile."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self._first = cgroup.sample()
        self._memory_peak = self._pids_peak = 0
        self._note(self._first)

    def sample(self) -> Dict[str, Any]:
        """Take one more reading, and return it."""
        figures = self._cgroup.sample()
        self._note(figures)
        return figures

    def usage(self) -> Dict[str, Any]:
        """Take the last reading; return the fields of ``chorus_nb.telemetry.ResourceUsage``."""
        last, first = self.sample(), self._first
        # The watermark can't be reset from inside, so it counts only where this execution moved it.
        rose = last["memory_peak_bytes"] > first["memory_peak_bytes"]
        usage = {
            "duration_s": last["time_s"] - first["time_s"],
            "memory_peak_bytes": last["memory_peak_bytes"] if rose else self._memory_peak,
            "memory_limit_bytes": last["memory_limit_bytes"],
            "pids_peak": self._pids_peak,
            "pids_limit": last["pids_limit"],
        }
        for key in (
            "cpu_time_s",
            "network_rx_bytes",
            "network_tx_bytes",
            "disk_read_bytes",
            "disk_write_bytes",
            "oom_kills",
            "pids_refused",
        ):
            usage[key] = max(0, last[key] - first[key])
        return usage

    def _note(self, figures: Dict[str, Any]) -> None:
        self._memory_peak = max(self._memory_peak, figures["memory_bytes"])
        self._pids_peak = max(self._pids_peak, figures["pids"])
