"""``chorus-nb doctor`` on the real engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sandboxes import own_containers

from chorus_nb import cli
from chorus_nb.doctor import examine, print_report
from chorus_nb.engines.base import Container, ContainerSpec
from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def _leaves_nothing(docker_engine: DockerEngine) -> Iterator[None]:
    before = own_containers(docker_engine)
    yield
    assert own_containers(docker_engine) <= before


def test_it_finds_an_engine_that_works(docker_engine: DockerEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    statuses = {check["name"]: check["status"] for check in document["checks"]}
    assert statuses["engine"] == statuses["limits"] == statuses["image"] == statuses["start"] == "ok"
    assert document["ok"]
    assert 0 < document["start_s"] < 60
    controls = {control["name"]: control for control in document["controls"]}
    assert {"memory", "pids", "seccomp", "network", "capabilities"} <= controls.keys()
    assert all(control["in_force"] for control in controls.values())
    version = docker_engine.info()["ServerVersion"]
    assert any(version in check["found"] for check in document["checks"])


def test_it_finds_a_podman_that_works(podman_engine: DockerEngine) -> None:
    examination = examine(podman_engine)
    found = {check.name: check.found for check in examination.checks}
    assert examination.ok, [check for check in examination.checks if check.status == "fail"]
    assert found["engine"].startswith("Podman engine at unix://")
    assert examination.controls


class Unlocked(DockerEngine):
    """Leaves one lock open that was asked for."""

    def create(self, spec: ContainerSpec) -> Container:
        return super().create(replace(spec, security=spec.security.model_copy(update={"read_only_root": False})))


@pytest.mark.usefixtures("docker_engine")
def test_a_control_that_is_not_in_force_is_shown_beside_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    examination = examine(Unlocked())
    assert not examination.ok
    assert [check.name for check in examination.checks if check.status == "fail"] == ["start"]
    assert [control.name for control in examination.controls if not control.in_force] == ["read-only root"]
    print_report(examination, as_json=False)
    out = capsys.readouterr().out
    assert re.search(r"^read-only root +on +off +NOT IN FORCE$", out, re.MULTILINE)
    assert re.search(r"^FAIL +start +PolicyNotEnforcedError: .*read-only root", out, re.MULTILINE)
    assert re.search(r"^pids +128 +128$", out, re.MULTILINE)
