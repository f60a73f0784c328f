"""What is measured: a sandbox, an ipykernel, and the bare engine, each behind a few calls that return seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from chorus_nb import Sandbox, SandboxConfig
from chorus_nb.engines.base import ContainerSpec
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.docker_body import container_body
from chorus_nb.engines.owner import owner_label
from chorus_nb.launch import container_spec

_ANSWER_TIMEOUT_S = 60.0
_WAIT_FOR_EVER = ("-I", "-S", "-c", "import sys; sys.stdin.read()")


def seconds(task: Callable[[], object]) -> float:
    """Return how long ``task`` took."""
    start_s = time.perf_counter()
    task()
    return time.perf_counter() - start_s


class SandboxSubject:
    """A sandbox with the default configuration, through the Python face."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def cell(self, code: str) -> float:
        """Run one more cell in the live namespace."""
        return seconds(lambda: self._sandbox.run(code))

    def restart(self) -> float:
        """Empty the namespace and get the first answer from the new one."""

        def restart() -> None:
            self._sandbox.restart()
            self._sandbox.run("x = 1")

        return seconds(restart)


@contextmanager
def sandbox() -> Iterator[SandboxSubject]:
    """A running sandbox."""
    with Sandbox() as running:
        yield SandboxSubject(running)


_connected = DockerEngine()


def sandbox_cold_start() -> float:
    """From a configuration to the first result, over an open connection like the bare engine's; its end not counted."""
    started: list[Sandbox] = []

    def first_result() -> None:
        started.append(Sandbox(engine=_connected))
        started[0].run("1 + 1")

    try:
        return seconds(first_result)
    finally:
        for each in started:
            each.close()


class KernelSubject:
    """An ipykernel on this machine, without any isolation, as a notebook front end talks to it."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def cell(self, code: str) -> float:
        """Run one more cell: until its reply and the ``idle`` that says all its output is there."""
        return seconds(lambda: self._run(code))

    def restart(self) -> float:
        """Restart at once, without the time that a kernel gets to end by itself, to the first answer."""

        def restart() -> None:
            self._manager.restart_kernel(now=True)
            self._client.wait_for_ready(timeout=_ANSWER_TIMEOUT_S)
            self._run("x = 1")

        return seconds(restart)

    def _run(self, code: str) -> None:
        msg_id = self._client.execute(code)
        self._wait(self._client.get_iopub_msg, msg_id, lambda answer: _state(answer) == "idle")
        self._wait(self._client.get_shell_msg, msg_id, lambda answer: answer["msg_type"] == "execute_reply")

    def _wait(self, get: Callable[..., Any], msg_id: str, wanted: Callable[[Any], bool]) -> None:
        while True:
            answer = get(timeout=_ANSWER_TIMEOUT_S)
            if answer["parent_header"].get("msg_id") == msg_id and wanted(answer):
                return


def _state(answer: Any) -> str | None:
    state: str | None = answer["content"].get("execution_state")
    return state


@contextmanager
def kernel() -> Iterator[KernelSubject]:
    """A running ipykernel."""
    # Without folders to look in there is only ipykernel with this very Python, whatever else is registered.
    manager = KernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    # ipykernel warns that its TCP ports are not encrypted; they are on loopback and end with this run.
    manager.start_kernel(extra_arguments=["--log-level=ERROR"])
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=_ANSWER_TIMEOUT_S)
        yield KernelSubject(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


class EngineSubject:
    """The Docker Engine through its SDK, with the mirror image, mounts and limits of a default sandbox."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._container_id = ""
        config = SandboxConfig()
        self.spec: ContainerSpec = container_spec(
            "benchmark", config, engine, engine.capabilities(), Path.cwd(), owner_label()
        )

    def exec_cell(self, code: str) -> float:
        """Run code as ``docker exec python3 -c`` does, in a container that runs already; no state is kept."""
        client, command = self._engine.client, [*self.spec.image.interpreters[:1], "-c", code]
        return seconds(lambda: client.exec_start(client.exec_create(self._container_id, command)["Id"]))

    def bare_start(self) -> float:
        """Create, start and wait for a container that runs ``true``. Its removal is not counted."""
        container_id, elapsed_s = self._run_true()
        self._engine.remove_id(container_id)
        return elapsed_s

    def bare_life(self) -> float:
        """As :meth:`bare_start`, with the removal."""
        container_id, elapsed_s = self._run_true()
        return elapsed_s + seconds(lambda: self._engine.remove_id(container_id))

    def _run_true(self) -> tuple[str, float]:
        client = self._engine.client
        body = container_body(self.spec, "/bin/true")
        body["Cmd"] = []
        body["HostConfig"]["AutoRemove"] = False  # It might be gone before it is waited for.
        start_s = time.perf_counter()
        container_id: str = client.create_container_from_config(body)["Id"]
        try:
            client.start(container_id)
            client.wait(container_id)
        except BaseException:
            self._engine.remove_id(container_id)
            raise
        return container_id, time.perf_counter() - start_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep a container running to execute in."""
        container = self._engine.create(replace(self.spec, arguments=_WAIT_FOR_EVER))
        try:
            container.start()
            self._container_id = container.id
            yield
        finally:
            container.remove()


@contextmanager
def engine() -> Iterator[EngineSubject]:
    """The Docker Engine of the environment, with a running container."""
    subject = EngineSubject(DockerEngine())
    with subject.running():
        yield subject
