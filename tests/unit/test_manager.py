"""The sessions of one kernel: found, made, refused, prepared, ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus_nb.engines.base import OWNER_LABEL
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import ConfigurationError, SandboxDiedError, SessionConflictError, UnknownSessionError
from chorus_nb.manager import DEFAULT_NAME, SessionManager
from chorus_nb.session import Session


@pytest.fixture
def manager(fake_engine: FakeEngine) -> Iterator[SessionManager]:
    manager = SessionManager(fake_engine)
    yield manager
    manager.close_all()
    assert fake_engine.owned() == []


def run(session: Session, code: str) -> str:
    said: list[str] = []
    session.execute(code, on_message=lambda m: said.append(str(m.content.get("text") or m.content.get("data"))))
    return "".join(said)


def test_a_session_is_found_again_with_its_variables(manager: SessionManager) -> None:
    run(manager.ensure("a", {}), "x = 5")
    assert run(manager.ensure("a", {}), "print(x)") == "5\n"
    assert [session.name for session in manager.sessions()] == ["a"]


def test_names_are_separate_sessions(manager: SessionManager) -> None:
    run(manager.ensure("a", {}), "x = 5")
    assert "NameError" not in run(manager.ensure("a", {}), "x")
    assert run(manager.ensure("b", {}), "print('x' in globals())") == "False\n"


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "ä", "a" * 65, "../x", "a\n"])
def test_a_name_that_is_none_is_refused(manager: SessionManager, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no name for a session"):
        manager.ensure(name, {})


def test_the_same_options_again_are_no_conflict(manager: SessionManager) -> None:
    session = manager.ensure("a", {"memory": "512m"})
    session.start()
    assert manager.ensure("a", {"memory": 512 * 2**20}) is session
    assert manager.ensure("a", {}) is session


def test_other_options_for_a_running_session_are_refused_by_name_and_value(manager: SessionManager) -> None:
    manager.ensure("a", {"memory": "512m"}).start()
    with pytest.raises(SessionConflictError, match=r"--memory 512m; you asked for --memory 1g.*--fresh"):
        manager.ensure("a", {"memory": "1g", "cpus": 1.0})


def test_fresh_makes_it_anew(manager: SessionManager) -> None:
    old = manager.ensure("a", {"memory": "512m"})
    run(old, "x = 5")
    new = manager.ensure("a", {"memory": "1g"}, fresh=True)
    assert old.state == "closed"
    assert run(new, "print('x' in globals())") == "False\n"
    assert new.config.limits.memory_bytes == 2**30


def test_a_session_that_never_started_takes_other_options(manager: SessionManager) -> None:
    manager.ensure("a", {"image": "nope:1"})
    assert manager.ensure("a", {"image": "fake"}).config.image == "fake"


def test_an_unknown_session_names_the_known_ones(manager: SessionManager) -> None:
    manager.ensure("alpha", {})
    with pytest.raises(UnknownSessionError, match=r"no session 'beta'.*alpha"):
        manager.get("beta")


def test_what_was_prepared_is_the_default_session(manager: SessionManager) -> None:
    manager.prepare().join()
    prepared = manager._prepared
    assert prepared is not None
    assert prepared.state == "idle"
    assert manager.ensure(DEFAULT_NAME, {}) is prepared


@pytest.mark.parametrize(("name", "options"), [("other", {}), (DEFAULT_NAME, {"memory": "512m"})])
def test_what_was_prepared_in_vain_is_ended(
    manager: SessionManager, fake_engine: FakeEngine, name: str, options: dict[str, str]
) -> None:
    manager.prepare().join()
    prepared = manager._prepared
    session = manager.ensure(name, options)
    session.start()
    assert session is not prepared
    manager.close_all()
    assert prepared is not None
    for _ in range(200):
        if prepared.state == "closed" and not fake_engine.owned():
            return
        prepared.close()
    pytest.fail("the prepared session lives on")


def test_preparing_is_silent_without_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    manager = SessionManager()
    manager.prepare().join()
    assert manager.sessions() == []
    manager.close_all()


def test_stop_keeps_the_name_and_start_brings_it_back_empty(manager: SessionManager) -> None:
    run(manager.ensure("a", {"memory": "512m"}), "x = 5")
    manager.stop("a")
    assert manager.get("a").state == "closed"
    manager.start("a")
    assert manager.get("a").config.limits.memory_bytes == 512 * 2**20
    assert run(manager.get("a"), "print('x' in globals())") == "False\n"


def test_remove_forgets_it(manager: SessionManager) -> None:
    manager.ensure("a", {}).start()
    manager.remove("a")
    assert manager.sessions() == []


def test_a_session_that_died_says_so_once_and_then_starts_anew(manager: SessionManager) -> None:
    session = manager.ensure("a", {})
    run(session, "x = 5")
    session.kill()
    while session.state != "dead":
        pass
    assert manager.ensure("a", {}) is session
    with pytest.raises(SandboxDiedError, match="variables are lost"):
        run(session, "x")
    assert run(session, "print('x' in globals())") == "False\n"


class EngineWithStrays(FakeEngine):
    """Claims containers of other owners, and notes which of them are removed."""

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__()
        self.labels = labels
        self.removed: list[str] = []

    def owned(self) -> list[tuple[str, dict[str, str]]]:  # type: ignore[override]
        return [(name, {OWNER_LABEL: label}) for name, label in self.labels.items()]

    def remove_id(self, container_id: str) -> None:
        self.removed.append(container_id)


def test_a_sweep_removes_the_dead_and_never_the_living() -> None:
    from chorus_nb.engines.owner import owner_label

    mine = owner_label()
    machine, boot, namespace, _, start = mine.split("/")
    dead = "/".join([machine, boot, namespace, "4194300", start])
    elsewhere = "/".join(["0" * 16, "other-boot", namespace, "4194300", start])
    engine = EngineWithStrays({"mine": mine, "dead": dead, "elsewhere": elsewhere, "garbage": "??"})
    assert SessionManager(engine).sweep() == 1
    assert engine.removed == ["dead"]


def test_a_fork_of_the_kernel_ends_no_session(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    session = manager.ensure("a", {})
    session.start()
    monkeypatch.setattr("chorus_nb.manager.os.getpid", lambda: -1)
    manager.close_all()
    monkeypatch.undo()
    assert session.state == "idle"


def test_the_end_of_the_interpreter_ends_every_session_without_a_word() -> None:
    program = """if True:
        from chorus_nb.engines.fake import FakeEngine
        from chorus_nb.manager import SessionManager

        engine = FakeEngine()
        import atexit

        atexit.register(lambda: print("left:", engine.owned()))  # Runs last.
        manager = SessionManager(engine)
        manager.ensure("a", {}).start()
        manager.ensure("b", {}).start()
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("left: []\n", "")
