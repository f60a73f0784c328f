"""``chorus-nb ps`` and ``chorus-nb prune`` on the real engine."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator

import pytest
from sandboxes import container_of, opened

from chorus_nb import cli
from chorus_nb.engines.base import OWNER_LABEL, SESSION_LABEL
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.named_volumes import volumes_in_use
from chorus_nb.engines.owner import owner_label

pytestmark = pytest.mark.docker


@pytest.fixture
def orphan(docker_engine: DockerEngine, image_without_python: str) -> Iterator[str]:
    """A container whose process was killed, and that its engine did not remove."""
    machine, boot, namespace, _, start = owner_label().split("/")
    labels = {OWNER_LABEL: f"{machine}/{boot}/{namespace}/4194300/{start}", SESSION_LABEL: "lost\x1b[2J"}
    made = docker_engine.client.create_container(image_without_python, ["x"], labels=labels)
    yield str(made["Id"])
    docker_engine.remove_id(made["Id"])


def test_they_tell_the_living_from_the_dead(
    docker_engine: DockerEngine, orphan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(docker_engine) as sandbox:
        own = container_of(docker_engine)
        assert cli.main(["ps"]) == 0
        out = capsys.readouterr().out
        assert re.search(rf"^{own[:12]} +sandbox +running +process {os.getpid()}$", out, re.MULTILINE)
        assert re.search(rf"^{orphan[:12]} +lost\\x1b\[2J +created +gone$", out, re.MULTILINE)
        assert cli.main(["prune"]) == 0
        assert orphan[:12] in capsys.readouterr().out
        assert docker_engine.inspect_id(orphan).status == "removed"
        assert str(sandbox.run("6 * 7").result) == "42"
    # The image of the sandbox that runs stayed; now it goes, unless others of this machine use it.
    assert cli.main(["prune"]) == 0
    for image in docker_engine.own_images():
        assert docker_engine.client.containers(all=True, filters={"ancestor": image}), image
    with opened(docker_engine) as sandbox:
        assert str(sandbox.run("6 * 7").result) == "42", "an engine that knew the image makes it again"


def test_volumes_are_listed_and_go_only_where_that_is_asked_for(
    docker_engine: DockerEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"test-{secrets.token_hex(4)}"
    with opened(docker_engine, volume=f"{name}:/cache"):
        assert cli.main(["ps"]) == 0
        assert re.search(rf"^VOLUME .*\n(.*\n)*chorus-nb-{name} +in use$", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["prune"]) == 0
    assert name not in capsys.readouterr().out
    assert cli.main(["ps"]) == 0
    assert re.search(rf"^chorus-nb-{name} +free$", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["prune", "--volumes"]) == 0
    assert f"Removed the volume chorus-nb-{name}." in capsys.readouterr().out
    assert f"chorus-nb-{name}" not in volumes_in_use(docker_engine)


def test_without_an_engine_they_say_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    for command in ("ps", "prune"):
        assert cli.main([command]) == 1
        assert "No Docker Engine answers" in capsys.readouterr().err
