"""The limits of a container as the agent found them, compared with those that were asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .config import ResourceLimits
from .config.device_rate import DeviceRate
from .config.limits import cpus_of
from .config.ulimit import UNLIMITED, Ulimit
from .config.units import size_text
from .control import Control

_PAGE_BYTES = 2**16
"""The largest page there is: sizes are rounded up to whole pages."""

_Number = Annotated[int, Field(ge=-1, le=2**64)]
_Rates = Annotated[list[_Number], Field(max_length=256)]


class LimitsReport(BaseModel):
    """What the agent found of the limits around it (:mod:`chorus_nb.agent.limits`), within bounds: it may lie."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    memory_swap_bytes: _Number | None
    cpu_weight: _Number | None
    """``cpu.shares`` of cgroup v1, ``cpu.weight`` of v2."""
    cpuset: Annotated[str, Field(max_length=4096)]
    blkio_weights: Annotated[list[_Number], Field(max_length=2)]
    rates: Annotated[dict[str, _Rates], Field(max_length=4)]
    rlimits: Annotated[dict[str, Annotated[list[_Number], Field(min_length=2, max_length=2)]], Field(max_length=16)]
    shm_bytes: _Number | None


def limit_controls(found: LimitsReport, limits: ResourceLimits, cgroup_version: int) -> Iterator[Control]:
    """Compare each limit that has a default or was asked for, but those that every agent has always reported."""
    yield _size("memory and swap", limits.with_swap_bytes, found.memory_swap_bytes)
    yield _size("shared memory", limits.shm_bytes, found.shm_bytes, slack=_PAGE_BYTES)
    if limits.cpu_shares is not None:
        yield _one_of("cpu shares", limits.cpu_shares, _weights_of(limits.cpu_shares, cgroup_version), found.cpu_weight)
    if limits.cpuset is not None:
        yield _cpuset(limits.cpuset, found.cpuset)
    if limits.blkio_weight is not None:
        yield _blkio_weight(limits.blkio_weight, found.blkio_weights, cgroup_version)
    for name in ("read_bps", "write_bps", "read_iops", "write_iops"):
        yield from _rates(name, getattr(limits, name), found.rates.get(name, []))
    yield from _ulimits(limits, found)


def _size(name: str, limit: int, found: int | None, slack: int = 0) -> Control:
    in_force = found is not None and found <= limit + slack
    return Control(name, size_text(limit), "no limit" if found is None else size_text(found), in_force)


def _one_of(name: str, asked: int, values: set[int], found: int | None) -> Control:
    in_force = found is not None and any(abs(found - value) <= 1 for value in values)
    return Control(name, str(asked), "unknown" if found is None else str(found), in_force)


def _weights_of(shares: int, cgroup_version: int) -> set[int]:
    """Return what runtimes make of shares: on cgroup v2 the older ones a straight line, the newer a curve.

    Both are in ``runc`` and ``crun``; on the curve the default of 1024 shares is the default weight of 100.
    """
    if cgroup_version == 1:
        return {shares}
    exponent = math.log2(shares)
    curve = 10 ** ((exponent**2 + 125 * exponent) / 612 - 7 / 34)
    return {1 + (shares - 2) * 9999 // 262142, math.ceil(curve)}


def _blkio_weight(weight: int, found: list[int], cgroup_version: int) -> Control:
    """Compare with what the BFQ scheduler has, and with ``io.weight``, whose scale is another."""
    values = {weight} if cgroup_version == 1 else {weight, 1 + (weight - 10) * 9999 // 990}
    shown = next((value for value in found if value in values), found[0] if found else None)
    return _one_of("block I/O weight", weight, values, shown)


def _cpuset(asked: str, found: str) -> Control:
    try:
        return Control("cpu set", asked, found, cpus_of(found) <= cpus_of(asked))
    except ValueError:
        return Control("cpu set", asked, "unknown", False)


def _rates(name: str, asked: tuple[DeviceRate, ...], found: list[int]) -> Iterator[Control]:
    """Compare rates alone: what a disk is called on the engine's machine can't be seen from inside."""
    left = sorted(found)
    for each in sorted(asked, key=lambda rate: rate.rate):
        has = left.pop(0) if left else None
        in_force = has is not None and has <= each.rate
        yield Control(
            f"{name} {each.path}", size_text(each.rate), "no limit" if has is None else size_text(has), in_force
        )


def _ulimits(limits: ResourceLimits, found: LimitsReport) -> Iterator[Control]:
    size = limits.file_size_bytes
    asked = [Ulimit("core", 0, 0), *limits.ulimits]
    named = {f"ulimit {each.name}": (each.name, each.soft, each.hard) for each in asked}
    if size is not None:
        named["file size"] = ("fsize", size, size)
    for name, (rlimit, soft, hard) in named.items():
        has = found.rlimits.get(rlimit)
        in_force = has is not None and _height(has[0]) <= _height(soft) and _height(has[1]) <= _height(hard)
        yield Control(name, _pair(soft, hard), "unknown" if has is None else _pair(*has), in_force)


def _height(value: int) -> float:
    return math.inf if value == UNLIMITED else value


def _pair(soft: int, hard: int) -> str:
    texts = ["unlimited" if value == UNLIMITED else str(value) for value in (soft, hard)]
    return texts[0] if soft == hard else ":".join(texts)
