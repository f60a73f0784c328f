"""Why a sandbox is not there: it did not start, it ended, it was stopped, it does not answer, it is busy."""

from __future__ import annotations

from .agent import boot
from .config import SandboxConfig
from .engines.base import SESSION_LABEL, Container, ContainerState
from .errors import (
    AgentSilentError,
    ChorusError,
    EngineError,
    EngineGoneError,
    ImageUnsupportedError,
    OutOfMemoryError,
    SandboxDiedError,
    SandboxStartError,
    SessionBusyError,
    SessionClosedError,
    WorkerDiedError,
)
from .sanitize import clean_text, printable_line


def why_not_started(container: Container, config: SandboxConfig) -> ChorusError:
    """Explain an agent that ended, or was silent, before it was ready."""
    said = clean_text(container.stream.diagnostics).strip()
    if boot.UNSUPPORTED in said or "Unknown option: -I" in said:
        # Python 2 knows nothing of isolation and refuses the option before it reads the program.
        version = (said.partition(boot.UNSUPPORTED)[2].split() or ["2"])[0]
        return ImageUnsupportedError(
            f"The image {config.image!r} has Python {version}; the agent needs CPython 3.8 or later.",
            next_step="Choose an image with a newer Python, such as python:3.12-slim.",
        )
    state = container.inspect()
    if boot.OUT_OF_MEMORY in said or state.oom_killed or state.exit_code == 137:
        limit = config.limits.memory_bytes
        return OutOfMemoryError(
            f"The sandbox did not start within its memory limit of {limit >> 20} MiB.",
            next_step="Raise it, for example with --memory 512m.",
            limit_bytes=limit,
            peak_bytes=limit,
        )
    last = printable_line(said.splitlines()[-1]) if said else _how_it_is(state)
    return SandboxStartError(
        f"The agent in the image {config.image!r} did not start: {last}.",
        next_step="`%sandbox logs` shows all it said; try --image mirror to see whether the image is at fault.",
    )


def _how_it_is(state: ContainerState) -> str:
    if state.status == "exited":
        return f"its container ended (exit code {state.exit_code})"
    return "its container was removed" if state.status == "removed" else "it said nothing, or its stream was cut"


def why_ended(name: str, container: Container | None) -> SandboxDiedError:
    """Say that a container ended by itself, and how as far as its engine still knows. Raises ``EngineError``."""
    state = container.inspect() if container else None
    how = f" (exit code {state.exit_code})" if state and state.exit_code is not None else ""
    return SandboxDiedError(
        f"The sandbox {name!r} ended{how}: it was removed or killed, or its engine stopped. Its variables are lost.",
        next_step="Run the cell again to start a new one.",
        exit_code=state.exit_code if state else None,
    )


def engine_gone(name: str, failure: EngineError) -> EngineGoneError:
    """Say that an engine took a sandbox with it."""
    return EngineGoneError(
        f"The engine of the sandbox {name!r} went away. {failure.message} The variables of the session are lost.",
        next_step="Once the engine is there again, run the cell again to start a new one.",
    )


def why_silent(name: str, timeout_s: float, container: Container | None) -> AgentSilentError:
    """Say that a sandbox did not answer a request in time, and whether that is because it is paused."""
    if is_paused(container):
        return AgentSilentError(
            f"The sandbox {name!r} did not answer within {timeout_s:g} s: its container is paused.",
            next_step=f"To let it go on: {unpause(name)}. To end it: `%sandbox kill`; its variables are lost then.",
            timeout_s=timeout_s,
        )
    return AgentSilentError(
        f"The sandbox {name!r} did not answer within {timeout_s:g} s.",
        next_step="Try once more; then end it with `%sandbox kill`, and its variables are lost.",
        timeout_s=timeout_s,
    )


def gave_no_answer(name: str, waited_s: float, *, paused: bool) -> SandboxDiedError:
    """Say that a container was ended because nothing in it answered an interrupt any more."""
    why = ": it was paused" if paused else ""
    return SandboxDiedError(
        f"The sandbox {name!r} did not answer the interrupt within {waited_s:g} s{why}. "
        "Its container was ended, and its variables are lost.",
        next_step="Run the cell again to start a new one."
        + (f" A paused one can be let go on instead: {unpause(name)}." if paused else ""),
    )


def is_paused(container: Container | None) -> bool:
    """Whether somebody has paused the container; False where the engine does not say."""
    try:
        return container is not None and container.inspect().status == "paused"
    except EngineError:
        return False


def unpause(name: str) -> str:
    """Return the command that has a paused session go on."""
    return f"`docker unpause $(docker ps -q --filter status=paused --filter label={SESSION_LABEL}={name})`"


def process_lost(name: str) -> WorkerDiedError:
    """Say that the process with the variables ended between two cells."""
    return WorkerDiedError(
        f"The process of the session {name!r} ended while no cell was running; its variables are lost.",
        next_step="Run the cells that define them again.",
    )


def stopped(name: str, next_step: str) -> SessionClosedError:
    """Say that a session was stopped on purpose."""
    return SessionClosedError(f"The session {name!r} was stopped.", next_step=next_step)


def not_restarted(name: str) -> WorkerDiedError:
    """Say that no new process came after a restart."""
    return WorkerDiedError(f"The session {name!r} did not restart.", next_step="Start it anew with --fresh.")


def busy(name: str) -> SessionBusyError:
    """Say that a session runs another cell."""
    return SessionBusyError(
        f"The session {name!r} is running another cell.",
        next_step="Wait for it, interrupt it, or use another session name.",
    )
