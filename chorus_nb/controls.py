"""Requested against enforced: what a policy asks for, beside what the agent found in force around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .engines.base import ContainerSpec
from .errors import AgentProtocolError, PolicyNotEnforcedError


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable text")
    return text


Text = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
"""People read it, maybe in a terminal."""


class AgentInfo(BaseModel):
    """What the agent found in force around it, when it started (:mod:`chorus_nb.agent.report`)."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    uid: int
    gid: int
    effective_capabilities: Text
    no_new_privileges: bool
    seccomp_filter: bool
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

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> AgentInfo:
        """Read the agent's report. Raises ``AgentProtocolError`` where it is none."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise AgentProtocolError(
                f"The agent's report can't be read ({error.error_count()} fields).", next_step="The sandbox was ended."
            ) from None


@dataclass(frozen=True, slots=True)
class Control:
    """One control of the policy.

    Attributes
    ----------
    name : str
        As in messages and in ``%sandbox status``.
    requested, enforced : str
        What was asked for, and what the agent found, as people read it.
    in_force : bool
        Whether what it found is at least as tight as what was asked for.
    """

    name: str
    requested: str
    enforced: str
    in_force: bool


def controls(info: AgentInfo, spec: ContainerSpec) -> list[Control]:
    """Compare what is in force with what was asked, control by control."""
    return [*_locks(info, spec), *_limits(info, spec)]


def verify(info: AgentInfo, spec: ContainerSpec) -> None:
    """Refuse a sandbox that is not locked as asked. Raises ``PolicyNotEnforcedError`` naming every missing control."""
    missing = tuple(control.name for control in controls(info, spec) if not control.in_force)
    if missing:
        raise PolicyNotEnforcedError(
            f"The engine did not enforce: {', '.join(missing)}.",
            next_step="None of your code ran. Check the engine's cgroup and security setup with `docker info`.",
            controls=missing,
        )


def _locks(info: AgentInfo, spec: ContainerSpec) -> Iterator[Control]:
    user, held = f"{info.uid}:{info.gid}", info.effective_capabilities
    yield Control("user", spec.user, user, user == spec.user)
    yield Control("capabilities", "none", "none" if set(held) == {"0"} else held, set(held) == {"0"})
    yield _switch("no-new-privileges", info.no_new_privileges)
    yield _switch("seccomp", info.seccomp_filter)
    if spec.security.read_only_root:
        yield _switch("read-only root", info.read_only_root)
    if spec.network.mode != "bridge":  # An allow-list is on the host's side; here it is a lack of interfaces, too.
        found = ", ".join(info.interfaces) or "none"
        yield Control("network", "none", found, info.interfaces in ([], ["lo"]))
    yield _switch("supervisor", info.supervisor_undumpable)


def _limits(info: AgentInfo, spec: ContainerSpec) -> Iterator[Control]:
    limits = spec.limits
    yield _at_most("memory", limits.memory_bytes, info.memory_limit_bytes)
    yield _at_most("pids", limits.pids, info.pids_limit)
    yield _at_most("cpus", limits.cpus, info.cpus, slack=0.01)
    yield _at_most("open files", limits.open_files, info.open_files)


def _switch(name: str, found: bool) -> Control:
    return Control(name, "on", "on" if found else "off", found)


def _at_most(name: str, limit: float, found: float | None, slack: float = 0.0) -> Control:
    in_force = found is not None and found <= limit + slack
    return Control(name, f"{limit:g}", "no limit" if found is None else f"{found:g}", in_force)
