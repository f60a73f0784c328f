"""The agent's connection past a real engine: taken once, out of reach of the code, and done without where need be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attempts import REAL_ENGINES, assert_refused, engine_of
from sandboxes import opened, value

from chorus_nb.engines import docker_container
from chorus_nb.engines.base import AGENT_SOCKET
from chorus_nb.engines.direct_stream import Rendezvous
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

CONNECT = f"import socket; socket.socket(socket.AF_UNIX).connect({AGENT_SOCKET!r})"


class Noted(Rendezvous):
    """Notes where it is."""

    def __init__(self, made: list[Path]) -> None:
        super().__init__()
        made.append(Path(self.mount.source))


@pytest.mark.parametrize("name", REAL_ENGINES)
def test_the_agent_connects_and_code_can_not(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(docker_container, "Rendezvous", lambda: Noted(made))
    with opened(engine_of(request, name)) as sandbox:
        assert value(sandbox, "6 * 7") == "42"
        assert is_direct(sandbox)
        assert not made[0].exists()
        assert_refused(sandbox, CONNECT)
        assert_refused(sandbox, "os.open('/proc/1/fd/0', os.O_RDONLY)")
    assert len(made) == 1


def is_direct(sandbox: Sandbox) -> bool:
    container = sandbox._session._container
    assert container is not None
    return getattr(container.stream, "_direct", None) is not None


class Forbidden(Rendezvous):
    """What no container may connect to, as under SELinux."""

    def __init__(self) -> None:
        super().__init__()
        os.chmod(self.mount.source, 0)


class Unseen(Rendezvous):
    """What the engine does not see, as one that keeps root out of the user's folders."""

    def __init__(self) -> None:
        super().__init__()
        Path(self.mount.source).unlink()


def none() -> Rendezvous:
    raise OSError("AF_UNIX path too long")


@pytest.mark.parametrize("rendezvous", [Forbidden, Unseen, none])
def test_where_it_can_not_connect_everything_goes_by_the_standard_streams(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, rendezvous: type[Rendezvous]
) -> None:
    monkeypatch.setattr(docker_container, "Rendezvous", rendezvous)
    with opened(docker_engine) as sandbox:
        assert len(value(sandbox, "'x' * 2**20")) > 2**20
        assert not is_direct(sandbox)
        sandbox.restart()
        assert value(sandbox, "1") == "1"
