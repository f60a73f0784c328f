"""What the engine has of ours: to see that nothing is left, and to take a container away behind the product's back."""

# mypy: disable-error-code="attr-defined"
# (The Docker SDK has no types.)

from __future__ import annotations

import docker

from chorus_nb.engines.base import OWNER_LABEL, SESSION_LABEL
from chorus_nb.engines.owner import Owner


def containers_of(session: str) -> list[str]:
    """Return the ids of the containers, in any state, that the engine has for sessions of that name."""
    found = docker.from_env().containers.list(
        all=True, filters={"label": f"{SESSION_LABEL}={session}"}, ignore_removed=True
    )
    return [container.id for container in found]


def containers_of_process(pid: int) -> list[str]:
    """Return the ids of the containers, in any state, that the engine has for the process `pid` of this machine."""
    found = docker.from_env().containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True)
    return [container.id for container in found if Owner(*container.labels[OWNER_LABEL].split("/")).pid == str(pid)]


def make_file(session: str, path: str) -> None:
    """Make an empty file in the sandbox of a session, for a cell that waits until it has been seen."""
    (container,) = containers_of(session)
    exit_code, output = docker.from_env().containers.get(container).exec_run(["/bin/touch", path])
    assert exit_code == 0, output


def remove_by_hand(session: str) -> None:
    """Remove the container of a session, as ``docker rm --force`` does."""
    (container,) = containers_of(session)
    docker.from_env().containers.get(container).remove(force=True)
