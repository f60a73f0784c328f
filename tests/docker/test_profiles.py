"""Profiles, files and trust on the real engine: what they are for holds inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import opened, value

from chorus_nb.controls import Control
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ExecutionTimeoutError, PolicyLoosenedError
from chorus_nb.manager import SessionManager
from chorus_nb.sandbox import Sandbox
from chorus_nb.settings import PROFILES, TrustStore, read_section
from chorus_nb.settings.trust import trust_file

pytestmark = pytest.mark.docker


def requested(controls: list[Control]) -> dict[str, str]:
    return {control.name: control.requested for control in controls if control.in_force}


@pytest.mark.parametrize("profile", PROFILES)
def test_plots_and_arrays_work_in_every_profile(docker_engine: DockerEngine, profile: str) -> None:
    with Sandbox(profile=profile, engine=docker_engine) as sandbox:
        code = "import matplotlib.pyplot as plt, numpy as np; plt.plot(np.arange(3) @ np.ones((3, 3))); plt.show()"
        result = sandbox.run(code, timeout=60)
        assert result.error is None
        assert any("image/png" in output.data for output in result.outputs) == (profile != "strict")
        assert requested(sandbox._session.controls)["pids"] == str(PROFILES[profile].get("pids", 128))


def test_a_tutorial_gives_the_same_in_every_run(docker_engine: DockerEngine) -> None:
    code = "import os, time; (hash('chorus'), list({'a', 'b', 'c', 'd'}), time.tzname, os.environ['OMP_NUM_THREADS'])"
    found = set()
    for _ in range(2):
        with opened(docker_engine, profile="tutorial") as sandbox:
            found.add(value(sandbox, code))
    assert len(found) == 1
    assert "('UTC', 'UTC'), '1'" in found.pop()


def test_the_time_limit_of_a_profile_is_in_force(docker_engine: DockerEngine) -> None:
    with opened(docker_engine, profile="strict", timeout=1) as sandbox, pytest.raises(ExecutionTimeoutError):
        sandbox.run("while True: pass")


@pytest.fixture
def manager(docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionManager]:
    """The sessions of a notebook in a repository whose code is not trusted."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository").chmod(0o777)
    monkeypatch.chdir(tmp_path / "repository")
    manager = SessionManager(docker_engine)
    yield manager
    manager.close_all()


def test_code_that_may_write_its_repository_can_not_free_the_next_sandbox(manager: SessionManager) -> None:
    path = Path.cwd() / "chorus.toml"
    path.write_text("memory = '2g'")
    TrustStore().add(path, read_section(path))
    writer = manager.ensure("writer", {"repo": "rw"})
    assert writer.config.option_text("memory") == "2g"
    attempts = {
        "write": "open('chorus.toml', 'w').write('network = \"bridge\"\\nmemory = \"2g\"')",
        "trust": f"open({str(trust_file())!r}, 'w')",
        "read": f"open({str(trust_file())!r})",
    }
    errors = {name: _error_of(writer, code) for name, code in attempts.items()}
    assert errors == {"write": "", "trust": "FileNotFoundError", "read": "FileNotFoundError"}
    with pytest.raises(PolicyLoosenedError, match="network"):
        manager.ensure("next", {})
    writer.execute("open('chorus.toml', 'w').write('pids = 50')", on_message=lambda _: None)
    assert manager.ensure("next", {}).config.limits.pids == 50
    # Back to what was trusted: that is what the user has agreed to.
    writer.execute("open('chorus.toml', 'w').write('memory = \"2g\"')", on_message=lambda _: None)
    assert manager.ensure("third", {}).config.option_text("memory") == "2g"


def _error_of(session: object, code: str) -> str:
    outcome = session.execute(code, on_message=lambda _: None)  # type: ignore[attr-defined]
    return str(outcome.reply.get("ename", ""))
