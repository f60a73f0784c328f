"""Programs started in a running container of a Docker Engine: its ``exec``, over a hijacked connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .attach import AttachedStream, hijacked
from .base import ContainerProcess


class DockerProcess(ContainerProcess):
    """One ``exec`` of the engine. The engine can neither signal it nor end it; that is for another one to do."""

    def __init__(self, client: Any, exec_id: str, stream: AttachedStream) -> None:
        self._client = client
        self._id = exec_id
        self._stream = stream
        self._pieces: deque[tuple[str, bytes]] = deque()

    def send(self, data: bytes) -> None:
        self._stream.send(data)

    def receive(self) -> tuple[str, bytes] | None:
        if not self._pieces:
            self._pieces.extend(self._stream.receive_pieces())
        return self._pieces.popleft() if self._pieces else None

    def exit_code(self) -> int | None:
        import docker
        import requests

        with suppress(docker.errors.DockerException, requests.RequestException):
            code = self._client.exec_inspect(self._id)["ExitCode"]
            return code if isinstance(code, int) else None
        return None

    def close(self) -> None:
        self._stream.close()


def start_process(
    client: Any, container_id: str, argv: Sequence[str], user: str, working_dir: str, stdin: bool
) -> DockerProcess:
    """Start a program by the SDK's low-level client; raises what that raises."""
    made = client.exec_create(container_id, list(argv), stdin=stdin, user=user, workdir=working_dir)
    return DockerProcess(client, made["Id"], hijacked(client.exec_start(made["Id"], socket=True)))
