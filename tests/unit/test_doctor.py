"""What the doctor says of engines, by what they say of themselves, and of a machine where something is missing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unprivileged import as_nobody

from chorus_nb import cli
from chorus_nb.controls import Control
from chorus_nb.doctor import Examination, examine, print_report
from chorus_nb.doctor.check import Check
from chorus_nb.doctor.engine import ENGINE_CHECKS
from chorus_nb.doctor.here import HERE_CHECKS, engine_room, room
from chorus_nb.engines import docker_calls
from chorus_nb.engines.dialect import DOCKER, PODMAN
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint

RECORDED = Path(__file__).parent / "recorded" / "engines"


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return document


def checks_of(info: Mapping[str, Any], dialect: Any = DOCKER) -> dict[str, Check]:
    return {name: look(info, dialect) for name, look in ENGINE_CHECKS.items()}


def bad(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: check.status for name, check in checks.items() if check.status != "ok"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("docker_v1", {}),
        ("docker_v2", {}),
        ("docker_v2_userns", {}),
        ("docker_v2_rootless", {"other limits": "warn"}),
        ("docker_v1_rootless", {"cgroup": "fail", "limits": "fail", "other limits": "warn"}),
        ("docker_desktop", {"seccomp": "fail"}),
        ("podman", {}),
        ("windows", {"engine system": "fail", "limits": "fail", "seccomp": "fail"}),
    ],
)
def test_engines_by_what_they_say_of_themselves(name: str, expected: dict[str, str]) -> None:
    checks = checks_of(recorded(name), PODMAN if name == "podman" else DOCKER)
    assert bad(checks) == expected
    assert [check.name for check in checks.values()] == list(checks)
    assert all(bool(check.cure) == (check.status != "ok") for check in checks.values())


def test_what_is_found_is_said() -> None:
    found = {name: check.found for name, check in checks_of(recorded("docker_v2_userns")).items()}
    assert found["engine version"] == "Docker Engine 27.5.1"
    assert found["cgroup"] == "v2, driver systemd"
    assert found["storage"] == "overlay2 on xfs, disk limits by quota"
    assert found["security modules"] == "apparmor"
    assert found["engine user"] == "root, containers in a user namespace"
    assert "rootless" in checks_of(recorded("docker_v2_rootless"))["engine user"].found
    podman = checks_of(recorded("podman"), PODMAN)
    assert podman["engine version"].found == "Podman engine 4.3.1"
    assert podman["runtimes"].found == "/usr/sbin/runc, for every container"


@pytest.mark.parametrize(
    ("change", "name", "status", "cure"),
    [
        ({"ServerVersion": "19.03.1"}, "engine version", "warn", "update"),
        ({"ServerVersion": "dev"}, "engine version", "warn", "update"),
        ({"SwapLimit": False}, "limits", "fail", "swapaccount=1"),
        ({"MemoryLimit": False, "SwapLimit": False}, "limits", "fail", "cgroup_enable=memory"),
        ({"Driver": "vfs"}, "storage", "warn", "overlay2"),
        ({"SecurityOptions": None}, "seccomp", "fail", "builtin"),
        ({"Warnings": ["WARNING: No blkio weight support"]}, "other limits", "warn", "Leave"),
    ],
)
def test_each_fault_has_its_cure(change: dict[str, Any], name: str, status: str, cure: str) -> None:
    checks = checks_of({**recorded("docker_v1"), **change})
    assert bad(checks) == {name: status}
    assert cure in checks[name].cure


@pytest.mark.parametrize(("name", "cure"), [("docker_v2_rootless", "Delegate="), ("docker_v1_rootless", "unified")])
def test_a_rootless_engine_without_limits_gets_the_cure_of_its_cgroup_version(name: str, cure: str) -> None:
    checks = checks_of({**recorded(name), "MemoryLimit": False})
    assert cure in checks["limits"].cure


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from(sorted(recorded("docker_v1"))),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text() | st.lists(st.text())),
    )
)
def test_no_document_keeps_the_doctor_from_its_work(change: dict[str, Any]) -> None:
    examination = examine(_Recorded({**recorded("docker_v1"), **change}))
    names = [check.name for check in examination.checks]
    assert names == [*HERE_CHECKS, "engine", *ENGINE_CHECKS, "engine disk", "image", "left over", "start"]


@pytest.fixture(autouse=True, scope="module")
def _without_patience() -> Iterator[None]:
    """The recorded engines answer nothing more: to ask again takes time alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docker_calls, "_PAUSES_S", ())
        yield


class _Recorded(DockerEngine):
    """An engine that has said something, and answers nothing more."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        super().__init__(Endpoint("unix:///nonexistent.sock", "test"))
        self._info, self._version = info, {}


# This machine


def test_this_machine_can_run_sandboxes() -> None:
    checks = {name: look() for name, look in HERE_CHECKS.items()}
    assert not [check for check in checks.values() if check.status == "fail"]
    assert [check.name for check in checks.values()] == list(checks)


def test_a_broken_configuration_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chorus.toml").write_text("memory = '4g'")
    check = HERE_CHECKS["configuration"]()
    assert check.status == "fail"
    assert "chorus.toml, line 1" in check.found
    assert "chorus-nb config trust" in check.cure


def test_a_kernelspec_of_a_python_that_is_gone_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    assert cli.main(["kernel", "install", "--prefix", str(tmp_path)]) == 0
    path = tmp_path / "share" / "jupyter" / "kernels" / "chorus-nb" / "kernel.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "argv": ["/gone/python"]}))
    check = HERE_CHECKS["kernel"]()
    assert (check.status, "/gone/python" in check.found) == ("warn", True)
    assert "kernel install" in check.cure


def test_room_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert room("disk", tmp_path / "missing").status == "warn"
    assert engine_room({"DockerRootDir": "/far/away"}, local=False).status == "ok"
    for free, status in ((2**40, "ok"), (2**29, "warn"), (2**20, "fail")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert room("disk", tmp_path).status == status


# No engine


def test_without_an_engine_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  engine" in out
    assert "none.sock (from DOCKER_HOST)" in out
    assert "cure: Start Docker" in out
    assert "ok    python" in out
    assert out.rstrip().endswith("Sandboxes do not work here. Problems: 1, warnings: 0.")


def test_a_context_that_is_not_there_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert cli.main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"ok", "checks", "controls", "start_s"}
    assert (document["ok"], document["controls"], document["start_s"]) == (False, [], None)
    (engine,) = [check for check in document["checks"] if check["status"] == "fail"]
    assert engine.keys() == {"name", "status", "found", "cure"}
    assert "'gone'" in engine["found"]
    assert "docker context" in engine["cure"]


def test_without_permission_the_cure_is_the_group(tmp_path: Path) -> None:
    path = tmp_path / "locked.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        found = _finding(path) if os.getuid() else as_nobody(lambda: _finding(path))
    assert found.startswith("fail EnginePermissionError")
    assert "usermod -aG docker" in found


def _finding(path: Path) -> str:
    engine = DockerEngine(Endpoint(f"unix://{path}", "test"))
    (check,) = [check for check in examine(engine).checks if check.name == "engine"]
    return f"{check.status} {check.found} {check.cure}"


# What is printed


def test_what_is_not_in_force_is_marked_and_nothing_moves_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    examination = Examination(
        checks=[Check("a", "ok", "fine"), Check("b", "warn", "so\x1b[2Jso", "do it")],
        controls=[Control("memory", "1g", "no limit", False), Control("pids", "128", "128", True)],
    )
    print_report(examination, as_json=False)
    out = capsys.readouterr().out
    assert "memory   1g         no limit  NOT IN FORCE\n" in out
    assert "\\x1b[2J" in out
    assert "\x1b" not in out
    assert out.endswith("Sandboxes work here. Problems: 0, warnings: 1.\n")
    print_report(Examination(checks=[Check("a", "ok", "fine")]), as_json=False)
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")
