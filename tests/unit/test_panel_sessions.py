"""The sessions panel: what it shows, which actions pass, when its thread ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm
from figures import MIB, make_sample
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from chorus_nb.panel.panel import SAVED_TEXT, SessionRow, SessionsPanel

SAMPLE = make_sample(time_s=10.0, cpu_time_s=2.5, memory_peak_bytes=40 * MIB)


class SilentComm(BaseComm):
    """A comm that goes nowhere."""

    def publish_msg(self, *_arguments: Any, **_rest: Any) -> None:
        pass


class Host:
    """Sessions by name, and the actions that were asked for."""

    def __init__(self) -> None:
        self.states = {"default": "idle", "training": "busy", "old": "closed"}
        self.actions: list[tuple[str, str]] = []
        self.polls = 0
        self.gate = threading.Event()
        self.gate.set()

    def rows(self) -> list[SessionRow]:
        self.polls += 1
        return [make_row(name, state) for name, state in self.states.items()]

    def act(self, action: str, name: str) -> None:
        self.actions.append((action, name))
        assert self.gate.wait(60)
        if action == "restart":
            raise RuntimeError("the engine\nis away")


def make_row(name: str, state: str) -> SessionRow:
    runs = state != "closed"
    return SessionRow(
        name, state, "mirror", 512 * MIB, 1.5, 128, "none", "ro", 65.0 if runs else None, SAMPLE if runs else None
    )


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never became true"
        time.sleep(0.01)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    monkeypatch.setattr(comm, "create_comm", SilentComm)
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


@pytest.fixture
def panel(shell: InteractiveShell, host: Host) -> Iterator[SessionsPanel]:
    """A panel in a notebook's shell."""
    shell.kernel = object()
    panel = SessionsPanel(host.rows, host.act)
    yield panel
    host.gate.set()
    panel.close()
    wait_until(lambda: not panel_threads())


def panel_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in ("chorus-panel", "chorus-button")]


def press(panel: SessionsPanel, action: Any, name: Any, message_id: str = "1") -> None:
    panel._handle_custom_msg({"type": "action", "action": action, "name": name, "id": message_id}, [])


def row(panel: SessionsPanel, name: str) -> dict[str, Any]:
    return next(row for row in panel.rows if row["name"] == name)


def test_each_session_has_its_figures_facts_and_actions(panel: SessionsPanel) -> None:
    assert [row["name"] for row in panel.rows] == ["default", "training", "old"]
    shown = {column["label"]: column["value"] for column in row(panel, "default")["figures"]["columns"]}
    assert shown["memory"] == "34 / 512 MiB"
    assert shown["up"] == "1 min 05 s"
    assert row(panel, "default")["facts"] == (
        "mirror · 512 MiB · 1.5 CPUs · 128 processes · network none · repository ro"
    )
    assert row(panel, "default")["actions"] == ["interrupt", "restart", "stop", "remove"]
    assert row(panel, "old")["actions"] == ["start", "remove"]


def test_sessions_come_die_and_go(panel: SessionsPanel, host: Host) -> None:
    host.states["new one"] = "starting"
    host.states["default"] = "dead"
    del host.states["training"]
    wait_until(lambda: [row["name"] for row in panel.rows] == ["default", "old", "new one"])
    assert row(panel, "default")["figures"]["state"] == "dead"
    assert row(panel, "default")["figures"]["tone"] == "bad"


def test_a_button_acts_once_however_often_its_message_arrives(panel: SessionsPanel, host: Host) -> None:
    content = {"type": "action", "action": "interrupt", "name": "training", "id": "7"}
    panel.comm._reply_subshell_for({"method": "custom", "content": content}, None)
    panel._handle_custom_msg(content, [])
    wait_until(lambda: host.actions)
    press(panel, "stop", "default", "8")
    wait_until(lambda: len(host.actions) > 1)
    assert host.actions == [("interrupt", "training"), ("stop", "default")]


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("eval", "default"),
        ("__class__", "default"),
        ("stop", "unknown"),
        ("start", "default"),  # it runs already
        ("stop", "old"),  # it has stopped
        (["stop"], "default"),
        ("stop", {"name": "default"}),
        (None, None),
    ],
)
def test_only_known_actions_on_known_sessions_pass(panel: SessionsPanel, host: Host, action: Any, name: Any) -> None:
    press(panel, action, name, "1")
    press(panel, "interrupt", "training", "2")
    wait_until(lambda: host.actions)
    wait_until(lambda: [thread for thread in panel_threads() if thread.name == "chorus-button"] == [])
    assert host.actions == [("interrupt", "training")]


def test_an_error_is_shown_in_its_row_until_the_next_action(panel: SessionsPanel, host: Host) -> None:
    press(panel, "restart", "default", "1")
    wait_until(lambda: row(panel, "default")["error"])
    assert row(panel, "default")["error"] == "restart failed: the engine\ufffdis away"
    assert row(panel, "training")["error"] == ""
    press(panel, "interrupt", "default", "2")
    wait_until(lambda: not row(panel, "default")["error"])


def test_a_busy_session_takes_no_second_action(panel: SessionsPanel, host: Host) -> None:
    host.gate.clear()
    press(panel, "stop", "default", "1")
    wait_until(lambda: host.actions)
    wait_until(lambda: row(panel, "default")["figures"]["state"] == "stop …")
    assert row(panel, "default")["actions"] == []
    press(panel, "remove", "default", "2")
    press(panel, "interrupt", "training", "3")
    wait_until(lambda: len(host.actions) > 1)
    assert host.actions == [("stop", "default"), ("interrupt", "training")]


def test_a_source_that_fails_is_shown_and_asked_again(panel: SessionsPanel, host: Host) -> None:
    states, host.states = host.states, None  # type: ignore[assignment]
    wait_until(lambda: panel.problem)
    assert panel.problem.startswith("Sessions can't be listed:")
    host.states = states
    wait_until(lambda: not panel.problem)


@pytest.mark.parametrize("end", ["close", "comm_close"])
def test_its_thread_ends_with_it(panel: SessionsPanel, host: Host, end: str) -> None:
    wait_until(lambda: host.polls > 1)
    if end == "close":
        panel.close()
    else:
        panel.comm.handle_close({})
    wait_until(lambda: not panel_threads())


def test_saved_text_is_constant(panel: SessionsPanel) -> None:
    data, _metadata = panel.mimebundle(SAVED_TEXT)
    assert panel._repr_mimebundle_()[0] == data
    assert data["text/plain"] == "sandbox panel (live in a running notebook)"
    assert "application/vnd.jupyter.widget-view+json" in data


def test_a_terminal_gets_a_table_and_no_thread(shell: InteractiveShell, host: Host) -> None:
    panel = SessionsPanel(host.rows, host.act)
    assert not panel_threads()
    data, _metadata = panel._repr_mimebundle_()
    assert set(data) == {"text/plain"}
    lines = data["text/plain"].splitlines()
    assert lines[0].split()[:3] == ["NAME", "STATE", "UP"]
    assert lines[1].startswith("default   idle    1 min 05 s  2.5 s  34 MiB  3")
    assert lines[3].split()[:5] == ["old", "closed", "-", "-", "-"]
    panel.close()


def test_a_table_of_no_sessions_says_how_to_get_one(shell: InteractiveShell) -> None:
    panel = SessionsPanel(list, lambda action, name: None)
    assert panel.render_text() == "No sandbox sessions yet. A %%sandbox cell starts one."
    panel.close()
