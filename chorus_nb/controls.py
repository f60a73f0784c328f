"""Requested against enforced: what a policy asks for, beside what the agent found in force around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .config.units import size_text
from .control import Control, Text, switch
from .enforced import LocksReport, locks
from .engines.base import ContainerSpec
from .errors import AgentProtocolError, PolicyNotEnforcedError
from .limits_enforced import LimitsReport, limit_controls

__all__ = ["AgentInfo", "Control", "Text", "controls", "verify"]


class AgentInfo(BaseModel):
    """What the agent found in force around it, when it started (:mod:`chorus_nb.agent.report`)."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    uid: int
    gid: int
    no_new_privileges: bool
    read_only_root: bool
    interfaces: Annotated[list[Text], Field(max_length=1000)]
    memory_limit_bytes: int | None
    pids_limit: int | None
    cpus: float | None
    open_files: int
    cgroup_version: int
    supervisor_undumpable: bool
    python_version: Text
    python_executable: Text
    limits: LimitsReport
    locks: LocksReport

    @property
    def effective_capabilities(self) -> str:
        """The capabilities that the agent has, as the kernel writes them (``CapEff``, proc_pid_status(5))."""
        return self.locks.capabilities.get("CapEff", "")

    @property
    def seccomp_filter(self) -> bool:
        """Whether system calls are filtered."""
        return self.locks.seccomp_mode == 2

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> AgentInfo:
        """Read the agent's report. Raises ``AgentProtocolError`` where it is none."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise AgentProtocolError(
                f"The agent's report can't be read ({error.error_count()} fields).", next_step="The sandbox was ended."
            ) from None


RUNTIMES_LACK: Mapping[str, Mapping[str, str]] = {
    "runsc": {"supervisor": "gVisor opens what is in /proc/PID/fd to every process of the same user"},
}
"""What is known not to be had of a runtime, and why; whoever asks for the runtime by its name has accepted it.

It stays listed as not in force. The same runtime as an engine's default, unasked for, ends the session.
"""


def completed(content: Mapping[str, Any], outside: Mapping[str, Any]) -> dict[str, Any]:
    """Put what only the machine can see of the limits into an agent's report (``Container.limits_outside``)."""
    limits = content.get("limits")
    if isinstance(limits, Mapping):
        limits = {**limits, **outside.get("limits", {})}
    return {**content, **outside, "limits": limits}


def controls(info: AgentInfo, spec: ContainerSpec) -> list[Control]:
    """Compare what is in force with what was asked, control by control."""
    return [*_locks(info, spec), *_limits(info, spec)]


def verify(info: AgentInfo, spec: ContainerSpec) -> None:
    """Refuse a sandbox that is not locked as asked. Raises ``PolicyNotEnforcedError`` naming every missing control."""
    accepted = RUNTIMES_LACK.get(spec.security.runtime or "", {})
    missing = tuple(
        control.name for control in controls(info, spec) if not control.in_force and control.name not in accepted
    )
    if missing:
        raise PolicyNotEnforcedError(
            f"The engine did not enforce: {', '.join(missing)}.",
            next_step="None of your code ran. Check the engine's cgroup and security setup with `docker info`.",
            controls=missing,
        )


def _locks(info: AgentInfo, spec: ContainerSpec) -> Iterator[Control]:
    user = f"{info.uid}:{info.gid}"
    yield Control("user", spec.user, user, user == spec.user)
    yield switch("no-new-privileges", info.no_new_privileges, spec.security.no_new_privileges)
    yield switch("read-only root", info.read_only_root, spec.security.read_only_root)
    yield from locks(info.locks, spec)
    if spec.network.mode != "bridge":  # An allow-list is on the host's side; here it is a lack of interfaces, too.
        found = ", ".join(info.interfaces) or "none"
        yield Control("network", "none", found, info.interfaces in ([], ["lo"]))
    yield switch("supervisor", info.supervisor_undumpable)


def _limits(info: AgentInfo, spec: ContainerSpec) -> Iterator[Control]:
    limits = spec.limits
    yield _at_most("memory", limits.memory_bytes, info.memory_limit_bytes, write=size_text)
    yield _at_most("pids", limits.pids, info.pids_limit)
    yield _at_most("cpus", limits.cpus, info.cpus, slack=0.01)
    yield _at_most("open files", limits.open_files, info.open_files)
    yield from limit_controls(info.limits, limits, info.cgroup_version)


def _at_most(
    name: str, limit: float, found: float | None, slack: float = 0.0, write: Callable[[Any], str] = "{:g}".format
) -> Control:
    in_force = found is not None and found <= limit + slack
    return Control(name, write(limit), "no limit" if found is None else write(found), in_force)
