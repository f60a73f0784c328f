"""What a sandbox may use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from . import device_rate, ulimit
from .device_rate import DeviceRate, parse_rates
from .option import Option, Policy, smaller
from .ulimit import Ulimit, parse_ulimits
from .units import DurationS, SizeBytes, size_text

SMALLEST_MEMORY_BYTES = 48 * 2**20
"""Below this the agent and IPython do not start: they need about 30 MiB, and the kernel some room to reclaim."""

_CPU_SHARES = 1024
_BLKIO_WEIGHT = 500
"""What a container has that asks for neither."""

_ULIMITS = (
    f"NAME=SOFT[:HARD], such as stack=8m:16m, each of {', '.join(sorted(ulimit.NAMES))} once; "
    "for nofile there is open_files, for fsize file_size"
)
_BYTES_PER_S = "DEVICE:BYTES in a second, such as /dev/sda:10m, each device once"
_OPERATIONS_PER_S = "DEVICE:OPERATIONS in a second, such as /dev/sda:100, each device once"

_Ulimits = Annotated[tuple[Ulimit, ...], BeforeValidator(parse_ulimits)]
_Rates = Annotated[tuple[DeviceRate, ...], BeforeValidator(parse_rates)]


def cpus_of(cpuset: str) -> frozenset[int]:
    """Read ``0,2-3`` as 0, 2 and 3 (``cpuset(7)``, list format). Raises ``ValueError``."""
    found: set[int] = set()
    for part in cpuset.split(","):
        if not (match := re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part, re.ASCII)):
            raise ValueError("CPUs as in 0,2-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError("ranges from the first CPU to the last one")
        found.update(range(first, last + 1))
    return frozenset(found)


def _is_cpuset(cpuset: str) -> str:
    cpus_of(cpuset)
    return cpuset


def _fewer_cpus(new: str | None, old: str | None) -> bool:
    return old is None or (new is not None and cpus_of(new) <= cpus_of(old))


def _less_swap(new: int | None, old: int | None) -> bool:
    return new is None or (old is not None and new <= old)


def _smaller_than(default: int) -> Any:
    """Make the rule for a number that counts against those of other containers, which have the default."""
    return lambda new, old: (new or default) <= (old or default)


class ResourceLimits(Policy):
    """What a sandbox may use.

    The engine enforces most of these, through the container's cgroup, its mounts and the limits of its processes.
    ``disk_bytes``, where the engine's storage driver knows no quota, and all that has to do with time is the session's
    to watch.
    """

    memory_bytes: Annotated[
        SizeBytes,
        Field(ge=SMALLEST_MEMORY_BYTES),
        Option("memory", f"a size of at least {SMALLEST_MEMORY_BYTES >> 20}m, such as 512m or 1.5g", smaller),
    ] = 2**30
    """Memory, in bytes (``memory.max``)."""
    memory_swap_bytes: Annotated[
        Annotated[SizeBytes, Field(ge=SMALLEST_MEMORY_BYTES)] | None,
        Option("memory_swap", "the sum of memory and swap, such as 1g, and not below memory", _less_swap),
    ] = None
    """Memory and swap together, in bytes; None is as much as memory: no swap (``memory.swap.max``)."""
    cpus: Annotated[
        float,
        Field(ge=0.01, le=4096, allow_inf_nan=False),
        Option("cpus", "a number from 0.01 to 4096, such as 1.5", smaller),
    ] = 1.0
    """CPU time per wall-clock time; 1.5 is one and a half cores (``cpu.max``)."""
    cpu_shares: Annotated[
        Annotated[int, Field(ge=2, le=2**18)] | None,
        Option("cpu_shares", "a whole number from 2 to 262144; others have 1024", _smaller_than(_CPU_SHARES)),
    ] = None
    """Its part of the CPUs while others want them too; other containers have 1024 (``cpu.weight``, ``cpu.shares``)."""
    cpuset: Annotated[
        Annotated[str, Field(max_length=256), AfterValidator(_is_cpuset)] | None,
        Option("cpuset", "numbers of CPUs, such as 0,2-3", _fewer_cpus),
    ] = None
    """The CPUs it may run on, as ``cpuset(7)`` lists them; None is all of them."""
    pids: Annotated[int, Field(ge=16, le=2**22), Option("pids", "a whole number from 16 to 4194304", smaller)] = 128
    """Processes and threads at one time (``pids.max``)."""
    open_files: Annotated[
        int, Field(ge=64, le=2**20), Option("open_files", "a whole number from 64 to 1048576", smaller)
    ] = 1024
    """Open file descriptors of one process (``RLIMIT_NOFILE``)."""
    file_size_bytes: Annotated[
        Annotated[SizeBytes, Field(ge=4096)] | None,
        Option("file_size", "a size of at least 4k, such as 100m", smaller),
    ] = None
    """Size of each file that is written, in bytes (``RLIMIT_FSIZE``)."""
    ulimits: Annotated[_Ulimits, Option("ulimits", _ULIMITS, ulimit.lower, many=True)] = ()
    """The other limits of each process (``getrlimit(2)``), in its units; a list of ``NAME=SOFT[:HARD]``. Without an
    entry ``core`` is 0, and the others are the engine's."""
    tmp_bytes: Annotated[SizeBytes, Field(ge=2**20), Option("tmp", "a size of at least 1m, such as 256m", smaller)] = (
        256 * 2**20
    )
    """Size of ``/tmp`` and of the home folder, in bytes each; both live in memory and count against its limit."""
    shm_bytes: Annotated[SizeBytes, Field(ge=2**16), Option("shm", "a size of at least 64k, such as 64m", smaller)] = (
        64 * 2**20
    )
    """Size of ``/dev/shm``, in bytes; it lives in memory and counts against its limit."""
    disk_bytes: Annotated[
        Annotated[SizeBytes, Field(ge=2**20)] | None, Option("disk", "a size of at least 1m, such as 10g", smaller)
    ] = None
    """What the sandbox may add on disk, in bytes: in the image's file system where that takes writes, and in a
    repository that is mounted writable. None is no limit."""
    blkio_weight: Annotated[
        Annotated[int, Field(ge=10, le=1000)] | None,
        Option("blkio_weight", "a whole number from 10 to 1000; others have 500", _smaller_than(_BLKIO_WEIGHT)),
    ] = None
    """Its part of a disk's time while others want it too; other containers have 500 (``io.weight``)."""
    read_bps: Annotated[_Rates, Option("read_bps", _BYTES_PER_S, device_rate.lower, many=True)] = ()
    """Bytes that may be read in a second from each disk of the engine's machine (``io.max``)."""
    write_bps: Annotated[_Rates, Option("write_bps", _BYTES_PER_S, device_rate.lower, many=True)] = ()
    """Bytes that may be written in a second. On cgroup v1 this holds for direct writes only."""
    read_iops: Annotated[_Rates, Option("read_iops", _OPERATIONS_PER_S, device_rate.lower, many=True)] = ()
    """Reads in a second."""
    write_iops: Annotated[_Rates, Option("write_iops", _OPERATIONS_PER_S, device_rate.lower, many=True)] = ()
    """Writes in a second. On cgroup v1 this holds for direct writes only."""
    timeout_s: Annotated[DurationS | None, Option("timeout", "seconds, or 30s, 5m, 1h", smaller)] = None
    """Seconds of wall-clock time that a cell may run; a cell's own time limit counts where it is shorter."""
    idle_s: Annotated[DurationS | None, Option("idle", "seconds, or 30s, 5m, 1h", smaller)] = None
    """Seconds without a cell, or the use of a widget, after which the session is stopped."""
    lifetime_s: Annotated[DurationS | None, Option("lifetime", "seconds, or 30s, 5m, 1h", smaller)] = None
    """Seconds from its start after which the session is stopped, whatever it does."""

    @model_validator(mode="after")
    def _swap_is_not_below_memory(self) -> Self:
        swap, memory = self.memory_swap_bytes, self.memory_bytes
        if swap is not None and swap < memory:
            raise ValueError(
                f"memory_swap={size_text(swap)} is below memory={size_text(memory)}: it is the sum of memory and swap. "
                f"Give it {size_text(memory)} or more, or leave it out for no swap."
            )
        return self

    @model_validator(mode="after")
    def _cpus_are_in_the_set(self) -> Self:
        if self.cpuset is not None and self.cpus > (found := len(cpus_of(self.cpuset))):
            raise ValueError(
                f"cpus={self.cpus:g} is more than there are in cpuset={self.cpuset}. "
                f"Allowed: up to {found}, or a larger set."
            )
        return self

    @property
    def with_swap_bytes(self) -> int:
        """Memory and swap together, in bytes."""
        return self.memory_bytes if self.memory_swap_bytes is None else self.memory_swap_bytes
