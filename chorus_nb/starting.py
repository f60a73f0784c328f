"""The start of a session: its container is made, the agent in it reports, and what it reports is compared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from .agent.wire import Message
from .config import SandboxConfig
from .controls import AgentInfo, Control, completed, controls, verify
from .conversation import Conversation
from .endings import engine_gone, why_ended, why_not_started
from .engines.base import Container, ContainerSpec, Engine, EngineCapabilities
from .engines.owner import owner_label
from .errors import (
    AgentProtocolError,
    ChorusError,
    EngineError,
    ImageUnsupportedError,
    SandboxStartError,
    VolumeMountError,
)
from .git import GitGuard
from .launch import START_TIMEOUT_S, container_spec, keeper_spec, start_agent, without_shell
from .notices import Notices
from .view.writable_view import WritableView


class Starter:
    """Starts a session's sandbox, as often as it has to be, and holds what was started until it is removed.

    Parameters
    ----------
    name, config, engine, folder
        As of :class:`~chorus_nb.session.Session`.
    notices : Notices
        Where the agent's reports arrive.
    view : WritableView
        What the sandbox writes to in place of the repository; outlasts the container.
    refuse : callable
        Raises where nobody wants the sandbox any more.
    on_unasked, on_end : callable
        As of :class:`~chorus_nb.conversation.Conversation`.

    Attributes
    ----------
    container : Container or None
        What was made, from its creation to its removal.
    conversation : Conversation or None
        With the agent in it; stays when the container is removed.
    info : AgentInfo or None
        What the agent found in force.
    controls : list of Control
        What was asked for, beside that; empty on an engine without isolation, which has none.
    git_guard : GitGuard
        Knows whether what the host's git takes settings from is as it was.
    git_notes : tuple of str
        What of git does not work in it, as of :class:`~chorus_nb.git.GitView`.
    no_python : ImageUnsupportedError or None
        Why only shell scripts can run here, once that is known.
    given_up : bool
        Set from another thread to have a start that is under way fail.
    """

    def __init__(
        self,
        name: str,
        config: SandboxConfig,
        engine: Engine,
        folder: Path,
        notices: Notices,
        view: WritableView,
        *,
        refuse: Callable[[], None],
        on_unasked: Callable[[Message], None],
        on_end: Callable[[AgentProtocolError | None], None],
    ) -> None:
        self.container: Container | None = None
        self.conversation: Conversation | None = None
        self.info: AgentInfo | None = None
        self.controls: list[Control] = []
        self.git_guard = GitGuard()
        self.git_notes: tuple[str, ...] = ()
        self.no_python: ImageUnsupportedError | None = None
        self.given_up = False
        self._view = view
        self._failure: EngineError | None = None
        self._removing = threading.RLock()
        self._name = name
        self._config = config
        self._engine = engine
        self._folder = folder
        self._notices = notices
        self._refuse = refuse
        self._on_unasked = on_unasked
        self._on_end = on_end

    def launch(self) -> None:
        """Make the container and wait until its agent is ready. Where that raises, :meth:`remove` is the caller's."""
        self.given_up = False
        self._failure = None
        capabilities = self._engine.capabilities()
        try:
            self._launch(capabilities)
        except VolumeMountError as refusal:
            self.remove()
            self._view.use_copy(refusal)
            self._launch(capabilities)

    def _launch(self, capabilities: EngineCapabilities) -> None:
        spec = container_spec(self._name, self._config, self._engine, capabilities, self._folder, owner_label())
        self.git_guard.begin(spec.git_fixed)
        self.git_notes = spec.git_notes
        spec = self._view.put_into(spec, capabilities)
        try:
            self._boot(keeper_spec(spec) if self.no_python else spec, capabilities)
        except ImageUnsupportedError as unsupported:
            self.remove()
            try:
                self._boot(keeper_spec(spec), capabilities)
            except (SandboxStartError, ImageUnsupportedError) as failure:
                raise without_shell(unsupported, failure) from None
            self.no_python = unsupported

    def refuse_if_lost(self) -> None:
        """Raise where the start was given up, or the container ended as it became ready."""
        if self.given_up or self._notices.ended:
            how = "was given up" if self.given_up else "failed: its container ended as it became ready"
            raise SandboxStartError(f"The start of {self._name!r} {how}.", next_step="Start it again.")

    def remove(self) -> None:
        """Remove the container; its last words go to the log.

        Where its engine is away or hangs, the engine makes up for it later, or whoever starts next (``sweep``).
        """
        with self._removing:  # Whoever comes second waits: it may be gone from here and still be there.
            container, self.container = self.container, None
            if container:
                self._notices.add_to_log(container.stream.diagnostics)
                try:
                    container.remove()
                except EngineError as failure:
                    self._notices.add_to_log(f"{failure}\n")
                    if not failure.retryable:
                        raise

    def kill(self) -> None:
        """End the container at once; one whose engine does not do it is let go of, which ends it as well."""
        if self.conversation:
            self.conversation.drain()
        if self.container:
            try:
                self.container.kill()
            except EngineError as failure:
                self._abandon(failure)

    def why_ended(self) -> ChorusError:
        """Return why there is no sandbox any more. Does not fail, also where its engine does."""
        if self._failure is None:
            try:
                return why_ended(self._name, self.container)
            except EngineError as failure:
                self._abandon(failure)
        assert self._failure is not None
        return engine_gone(self._name, self._failure)

    def _abandon(self, failure: EngineError) -> None:
        self._failure = failure
        container, self.container = self.container, None
        if container:
            container.abandon()

    def _boot(self, spec: ContainerSpec, capabilities: EngineCapabilities) -> None:
        notices = self._notices
        self.info, self.controls = None, []
        container = self.container = self._engine.create(spec)
        notices.begin()
        # Whoever closed the session meanwhile saw no container to remove.
        self._refuse()
        start_agent(container, spec, capabilities)
        self.conversation = self._converse(container)
        self._await(container, lambda: notices.agent_info is not None)
        assert notices.agent_info is not None
        content = notices.agent_info.content
        if capabilities.isolation and content.get("cgroup_version") == 0:
            content = completed(content, container.limits_outside())
        self.info = AgentInfo.from_content(content)
        self.controls = controls(self.info, spec) if capabilities.isolation else []
        if capabilities.isolation:
            verify(self.info, spec)
        self._await(container, lambda: notices.worker_ready)

    def _converse(self, container: Container) -> Conversation:
        """Talk to the agent, and hear nothing more of it once another container is there: not even of its end."""

        def unasked(message: Message) -> None:
            if self.container is container:
                self._on_unasked(message)

        def end(error: AgentProtocolError | None) -> None:
            if self.container in (container, None):
                self._on_end(error)

        return Conversation(container.stream, unasked, end)

    def _await(self, container: Container, ready: Callable[[], bool]) -> None:
        self._notices.wait(lambda: ready() or self._notices.ended, START_TIMEOUT_S)
        if not ready():
            self._refuse()
            if self.given_up:
                self.refuse_if_lost()  # It says so; a container that was killed for it looks like one out of memory.
            raise why_not_started(container, self._config)
