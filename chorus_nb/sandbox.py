"""The Python face: a sandbox as a context manager."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from .agent.wire import Message
from .asking import InputHandler
from .changes.change import Change
from .changes.path_selection import Paths, path_list
from .changes.review import Applied
from .config import OPTIONS, SandboxConfig, duration_s, unknown_option
from .controls import AgentInfo
from .egress import HostTraffic, denied
from .engines.base import Engine
from .engines.docker import DockerEngine
from .errors import ConfigurationError
from .execution import Outcome
from .files import SandboxFiles
from .limits_reached import ReachedLimit
from .payloads import Page, payloads
from .repository import find_repository, working_folder
from .session import Session
from .settings import Settings, Source, named_profile, refuse_open_configuration
from .telemetry import ResourceSample, ResourceUsage
from .transfer import pull, push


@dataclass(frozen=True, slots=True)
class RichOutput:
    """Something that was displayed: a MIME bundle, after the output policy. Shows itself in a notebook."""

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.data.get("text/plain", ""))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.data, self.metadata


@dataclass(frozen=True, slots=True)
class ErrorOutput:
    """An exception of the code, as in a Jupyter ``error`` message."""

    ename: str
    evalue: str
    traceback: list[str]

    def __str__(self) -> str:
        return f"{self.ename}: {self.evalue}"


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What became of a cell.

    Attributes
    ----------
    ok : bool
        False where the code raised; then ``error`` says what.
    stdout, stderr : str
        What it printed.
    outputs : list of RichOutput
        What it displayed, in order.
    result : RichOutput or None
        The value of its last expression.
    error : ErrorOutput or None
        Its exception; an ``EgressDeniedError`` where connections of it were refused, below its own traceback.
    limit : ReachedLimit or None
        The limit that it failed at, or that of the output.
    usage : ResourceUsage
    egress : tuple of HostTraffic
        With ``network="allowlist"``: what it exchanged with which host, in bytes, and what was refused.
    duration_s : float
        Wall-clock time in the sandbox.
    """

    ok: bool
    stdout: str
    stderr: str
    outputs: list[RichOutput]
    result: RichOutput | None
    error: ErrorOutput | None
    usage: ResourceUsage
    limit: ReachedLimit | None = None
    egress: tuple[HostTraffic, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.usage.duration_s


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a program. ``exit_code`` is negative where a signal ended it, as in ``subprocess``."""

    exit_code: int
    stdout: str
    stderr: str
    usage: ResourceUsage
    limit: ReachedLimit | None = None
    egress: tuple[HostTraffic, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.usage.duration_s


class _Collector:
    """Gathers the messages of one execution."""

    def __init__(self) -> None:
        self.text: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self.outputs: list[RichOutput] = []
        self.result: RichOutput | None = None
        self.error: ErrorOutput | None = None

    def __call__(self, message: Message) -> None:
        content = message.content
        if message.msg_type == "stream":
            self.text[content["name"]].append(content["text"])
        elif message.msg_type == "display_data":
            self.outputs.append(RichOutput(content["data"], content["metadata"]))
        elif message.msg_type == "execute_result":
            self.result = RichOutput(content["data"], content["metadata"])
        elif message.msg_type == "error":
            self.pass_error()
            self.error = ErrorOutput(content["ename"], content["evalue"], content["traceback"])

    def pass_error(self) -> None:
        """Take an error that was not the end of the code for what it has shown."""
        error, self.error = self.error, None
        if error:
            self.text["stderr"].append("\n".join([*error.traceback, ""]))

    def printed(self, name: str, outcome: Outcome) -> str:
        notice = outcome.notice if name == "stderr" else None
        return "".join(self.text[name]) + (notice or "")


class Sandbox:
    """A sandbox with a live namespace, ended when its ``with`` block ends.

    Parameters
    ----------
    config : SandboxConfig, optional
        What to start from; the locked defaults when left out.
    profile : str, optional
        What to start from instead: ``"strict"``, ``"tutorial"``, ``"untrusted"``, or one of the user's configuration.
        That is read for such a name alone: a program does the same wherever it runs, so no file of a repository is
        read, and no other setting of the user's.
    engine : Engine, optional
        Where its container comes from; the Docker Engine of the environment when left out.
    **options
        ``image``, ``memory``, ``cpus``, ``pids``, ``timeout``, ``network``, ``repo``, ``env`` and the other keys of
        :data:`chorus_nb.config.OPTIONS`.

    Examples
    --------
    >>> with Sandbox(memory="512m") as sb:
    ...     sb.run("1 + 1").result.data["text/plain"]
    '2'
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        profile: str | None = None,
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        if profile is not None and config is not None:
            raise ConfigurationError("A sandbox starts from a config or from a profile.", next_step="Give one of them.")
        if unknown := [name for name in options if name not in OPTIONS]:
            raise unknown_option(unknown[0], OPTIONS)
        start = named_profile(profile) if profile is not None else Settings(config or SandboxConfig())
        settings = start.changed(options, Source("given"))
        refuse_open_configuration(settings, find_repository(working_folder()))
        self.config = settings.config
        self._session = Session("sandbox", self.config, engine or DockerEngine())
        self.files = SandboxFiles(self._session)

    def __enter__(self) -> Self:
        self._session.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, code: str, *, timeout: float | str | None = None, on_input: InputHandler | None = None
    ) -> ExecutionResult:
        """Run a cell and wait for it.

        ``on_input`` answers ``input()`` and ``getpass()``: it takes the prompt and whether it is a password, and
        returns the text. Without it they raise ``StdinNotImplementedError`` in the cell. The time it takes does not
        count towards ``timeout``.

        An exception of the code is in the result, not raised. Ctrl-C interrupts the cell and then raises
        ``KeyboardInterrupt`` here.

        Raises
        ------
        OutOfMemoryError, WorkerDiedError, ExecutionTimeoutError, SandboxDiedError
        """
        collector = _Collector()
        timeout_s = _seconds(timeout)
        outcome = self._session.execute(code, timeout_s=timeout_s, on_message=collector, on_input=on_input)
        if outcome.interrupted:
            raise KeyboardInterrupt
        ok = outcome.reply.get("status") == "ok"
        if ok:
            collector.pass_error()
        return ExecutionResult(
            ok=ok,
            stdout=collector.printed("stdout", outcome),
            stderr=collector.printed("stderr", outcome),
            outputs=[*collector.outputs, *_pages(outcome)],
            result=collector.result,
            error=_with_refusals(collector.error, outcome),
            usage=outcome.usage,
            limit=outcome.reached,
            egress=outcome.egress,
        )

    def command(self, argv: list[str], *, timeout: float | str | None = None) -> CommandResult:
        """Run a program in the container, beside the namespace. Raises as :meth:`run` does."""
        collector = _Collector()
        outcome = self._session.command(argv, timeout_s=_seconds(timeout), on_message=collector)
        if outcome.interrupted:
            raise KeyboardInterrupt
        stdout, stderr = collector.printed("stdout", outcome), collector.printed("stderr", outcome)
        return CommandResult(outcome.exit_code, stdout, stderr, outcome.usage, outcome.reached, outcome.egress)

    def push(self, /, **values: Any) -> None:
        """Copy values into variables: ``push(x=array)``. Either all are there in the end, or none.

        docs/data.md says what can cross. Ctrl-C ends it, and nothing is lost.

        Raises
        ------
        VariableError
            A value can't cross: the error names its type and the part that failed.
        SessionBusyError
            A cell is running.
        """
        push(self._session, values)

    def pull(self, name: str, /, *names: str) -> Any:
        """Return a copy of a variable; of several, a tuple of copies. Raises as :meth:`push` does.

        Nothing that the sandbox sends is unpickled, evaluated, imported or called.
        """
        values = pull(self._session, [name, *names])
        return tuple(values.values()) if names else values[name]

    def usage(self) -> ResourceSample:
        """Return what it uses now."""
        self._session.start()
        return self._session.usage()

    def info(self) -> AgentInfo:
        """Return what the agent found in force: user, limits, network, Python."""
        self._session.start()
        assert self._session.info is not None
        return self._session.info

    def changes(self, paths: Paths = ()) -> list[Change]:
        """Return what differs from the host in its own view of the repository (``repo="overlay"``), by path.

        Parameters
        ----------
        paths : str, path or several of them
            Files, folders, or globs as in ``.gitignore``, relative to the repository; all where empty.

        Raises
        ------
        NoSuchChangeError
            One of them matches no change; names the nearest.
        ConfigurationError
            It has no view of its own.
        """
        review = self._session.view.review(self._session.name)
        chosen = path_list(paths)
        changes = review.changes(chosen)
        review.shown(changes, chosen)
        return changes

    def apply(self, paths: Paths = (), *, check: bool = False) -> Applied:
        """Take changes over to the host, each as a whole or not at all; with ``check`` only say what would be.

        Raises
        ------
        NoSuchChangeError, ConfigurationError
            As :meth:`changes`; nothing was done.
        ApplyError
            Some could not be taken over, as the host's file was changed meanwhile, or the sandbox's since
            :meth:`changes`; all others were.
        """
        return self._session.view.review(self._session.name).apply(path_list(paths), check=check)

    def discard(self, paths: Paths = ()) -> list[Change]:
        """Bring the host's version back into its view, and return what was thrown away.

        Raises
        ------
        NoSuchChangeError, ConfigurationError
            As :meth:`changes`; nothing was done.
        SandboxFileError, DiscardError
            Some of it could not be.
        """
        return self._session.view.review(self._session.name).discard(path_list(paths), self.files)

    def interrupt(self) -> None:
        """Interrupt the cell that another thread runs."""
        self._session.interrupt()

    def restart(self) -> None:
        """Empty the namespace, in milliseconds."""
        self._session.restart()

    def close(self) -> None:
        """End it; may be called twice."""
        self._session.close()


def _with_refusals(error: ErrorOutput | None, outcome: Outcome) -> ErrorOutput | None:
    refused = denied(outcome.egress, error.traceback) if error else None
    return ErrorOutput(refused.ename, refused.evalue, refused._render_traceback_()) if refused else error


def _pages(outcome: Outcome) -> list[RichOutput]:
    """Return the help that a notebook would show in its pager."""
    return [RichOutput({"text/plain": each.text}, {}) for each in payloads(outcome.reply) if isinstance(each, Page)]


def _seconds(value: float | str | None) -> float | None:
    return None if value is None else duration_s("timeout", value)
