"""From a configuration to a running agent: what to ask of the engine, and whether we got it."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .agent import boot
from .config import SandboxConfig, SecurityPolicy
from .enforced import checked_paths
from .engines.base import (
    AGENT_SOCKET,
    HOME,
    SESSION_LABEL,
    WORKSPACE,
    ByteStream,
    Container,
    ContainerSpec,
    Engine,
    EngineCapabilities,
    Mount,
)
from .errors import ChorusError, ConfigurationError, ImageUnsupportedError
from .git import GitView, git_variables, git_view
from .git import mounted as mounted_for_git
from .mounts import Mounted, mounted
from .refusals import refuse_devices, refuse_engine_sockets
from .repository import groups_needed, resolve_repository, sandbox_user
from .seccomp import seccomp_profile
from .shell_agent import KEEPER, ShellAgent
from .shell_monitor import SHELL

START_TIMEOUT_S = 60.0
"""How long an agent may take from its container's start to its first words."""


def workspace_of(config: SandboxConfig, capabilities: EngineCapabilities, folder: Path) -> tuple[Path | None, str]:
    """Return the host's repository folder, and where the cells of the sandbox work."""
    repository = resolve_repository(config.repository, folder, capabilities.host)
    if capabilities.repository_mounts:
        return repository, WORKSPACE
    return repository, str(repository or folder)


def container_spec(
    name: str, config: SandboxConfig, engine: Engine, capabilities: EngineCapabilities, folder: Path, owner: str
) -> ContainerSpec:
    """Turn a configuration into all that the engine needs to know. Raises ``ChorusError`` for what can't be had."""
    repository, working_dir = workspace_of(config, capabilities, folder)
    image = engine.resolve(config.image)
    found = mounted(config, repository, image, capabilities)
    mounts, view = _with_git(found, config, repository, working_dir, capabilities)
    user = config.security.user or _user(config, repository, capabilities, image.world_readable)
    shared = [repository, view.outside, *_sources(mounts)] if capabilities.host.shares_files else []
    refuse_engine_sockets(_sources(image.mounts), capabilities.host)
    refuse_devices(config.security.device_list, capabilities.host)
    return ContainerSpec(
        session_name=name,
        image=image,
        arguments=boot.SUPERVISOR_ARGUMENTS,
        environment=_environment(
            {**image.environment, **config.network.proxy_environment()},
            {**config.environment, **git_variables(config, view, repository)},
        ),
        working_dir=working_dir,
        user=user,
        mounts=mounts,
        limits=config.limits,
        network=config.network,
        security=_with_groups(config.security, user, shared),
        labels={"chorus-nb.owner": owner, SESSION_LABEL: name},
        seccomp_profile=seccomp_profile(config.security),
        host=capabilities.host,
        git_credentials=config.git.credentials and config.network.mode != "none",
        git_fixed=view.fixed,
        volumes=found.volumes,
        masks=found.masks,
        agent_token=secrets.token_hex(16),
        umask=config.repository.umask,
        git_notes=view.notes,
    )


def _with_git(
    found: Mounted, config: SandboxConfig, repository: Path | None, working_dir: str, capabilities: EngineCapabilities
) -> tuple[tuple[Mount, ...], GitView]:
    """Return what is mounted with what git needs besides, and what there is of git."""
    if repository is None or not capabilities.repository_mounts:
        return found.mounts, GitView(worktrees=(working_dir,))
    mode = config.repository.mode
    view = git_view(repository, mode, found.repositories, config.git.protect)
    view = view.beside([*found.mounts, *found.volumes, *found.masks])
    refuse_engine_sockets(_sources(view.mounts), capabilities.host)
    if mode == "overlay" and not capabilities.host.shares_files:  # There is a copy, which has none of it.
        return found.mounts, view
    return (*found.mounts, *view.mounts, *mounted_for_git(view.generated)), view


def _user(
    config: SandboxConfig, repository: Path | None, capabilities: EngineCapabilities, world_readable: bool
) -> str:
    mode = config.repository.mode
    if mode in ("ro", "none") and config.mounts.writable:
        mode = "rw"
    if mode == "overlay" and not capabilities.overlays:  # A copy belongs to whoever is to work in it.
        repository = None
    rootless = "rootless" in capabilities.host.security_modules
    return sandbox_user(repository, mode, os.getuid(), os.getgid(), world_readable, rootless)


def _sources(mounts: Iterable[Mount]) -> Iterator[Path]:
    return (Path(mount.source) for mount in mounts)


def _with_groups(security: SecurityPolicy, user: str, sources: Iterable[Path | None]) -> SecurityPolicy:
    needed = groups_needed(filter(None, sources), user, os.getuid(), os.getgid(), os.getgroups())
    return security.model_copy(update={"group_add": tuple(sorted({*security.group_add, *needed}))})


def _environment(image: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    standard = {
        "HOME": HOME,
        "USER": "sandbox",
        "TERM": "xterm-color",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**standard, **image, **asked}


def keeper_spec(spec: ContainerSpec) -> ContainerSpec:
    """Return the same container with nothing but a shell in it, for an image without Python.

    Raises
    ------
    ConfigurationError
        With capabilities: its main process is not root's, and what an engine starts beside it gets none. With a
        network by allow-list, which only our agent gives.
    """
    if spec.network.mode == "allowlist":
        raise ConfigurationError(
            "network=allowlist needs an image with Python: the proxy of the sandbox is a part of the agent.",
            next_step="Choose such an image, or another network.",
        )
    if spec.git_credentials:
        raise ConfigurationError(
            "git_credentials needs an image with Python: the agent carries git's requests.",
            next_step="Choose such an image, or leave it out.",
        )
    if added := spec.security.capabilities:
        raise ConfigurationError(
            f"cap_add={', '.join(added)} can't be had in the image {spec.image.reference!r}, which has no Python.",
            next_step="Leave cap_add out, or use an image with CPython 3.8 or later.",
        )
    return replace(spec, image=replace(spec.image, interpreters=(SHELL,)), arguments=("-c", KEEPER), keeper=True)


def only_scripts(unsupported: ImageUnsupportedError) -> ImageUnsupportedError:
    """Return what a Python cell is to raise where only a shell could be started."""
    return ImageUnsupportedError(
        unsupported.message, next_step=f"{unsupported.next_step} In this one `%%sandbox --lang sh` cells run."
    )


def without_shell(unsupported: ImageUnsupportedError, failure: ChorusError) -> ImageUnsupportedError:
    """Return what to raise where not even a shell could be started."""
    return ImageUnsupportedError(
        f"{unsupported.message} Nor is there a shell for scripts: {failure.message}", next_step=unsupported.next_step
    )


def start_agent(container: Container, spec: ContainerSpec, capabilities: EngineCapabilities) -> None:
    """Start a container with our agent in it, or with one that stands in for it where there is no Python."""
    if spec.keeper:
        container.start()
        container.stream = ShellAgent(container, spec, capabilities.isolation)
    else:
        start_with(container, lambda: boot_payload(spec, capabilities))


def boot_payload(spec: ContainerSpec, capabilities: EngineCapabilities) -> bytes:
    """Return the bytes that make the started interpreter our agent."""
    security = spec.security
    config: dict[str, Any] = {
        "working_dir": spec.working_dir,
        "socket": {"path": AGENT_SOCKET, "token": spec.agent_token} if capabilities.isolation else None,
        "own_cgroup": capabilities.isolation,
        "paths": list(checked_paths(spec)),
        "umask": spec.umask,
        # The kernel takes no filter of a process that may gain privileges.
        "filter_syscalls": capabilities.isolation and security.no_new_privileges and security.seccomp != "unconfined",
    }
    has_proxy = spec.network.mode == "allowlist"
    if has_proxy or spec.git_credentials:
        inside = ",".join(spec.network.inside())
        config["egress"] = {"proxy": has_proxy, "no_proxy": inside, "git_credentials": spec.git_credentials}
    return boot.payload(config)


def start_with(container: Container, make_payload: Callable[[], bytes]) -> None:
    """Start a container, with what it is to read first on its way before the engine says that it runs."""
    stream = container.stream
    _send_in_background(stream, make_payload)
    container.start()
    if container.stream is not stream:  # It took another interpreter, and with it another container.
        _send_in_background(container.stream, make_payload)


def _send_in_background(stream: ByteStream, make_payload: Callable[[], bytes]) -> None:
    """Write the payload from a thread: a program that is not ours need not read it, and must not hold us up."""

    def send() -> None:
        try:
            stream.send(make_payload())
        except OSError:
            pass  # It ended; whoever waits for its first words learns of it.

    threading.Thread(target=send, name="chorus-boot", daemon=True).start()
