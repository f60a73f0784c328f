"""Forged, oversized, truncated and interleaved frames from an agent that is the attacker's.

Whatever it sends: the notebook gets a result or a ``ChorusError``, within the time it allows, of bounded size, which any
front end can be told and no terminal obeys; no thread of the host ends by it; and the session can be used or closed.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hostile import (
    HostileEngine,
    end_of,
    forged,
    frame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chorus_nb import execution, introspection
from chorus_nb.agent.wire import Message
from chorus_nb.errors import ChorusError
from chorus_nb.sandbox import Sandbox

# The same examples each time: a suite that fails by chance is not believed. scripts/fuzz_wire.py looks for new ones.
thorough = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that never answers is given up soon."""
    monkeypatch.setattr(execution, "GRACE_S", 0.05)


@pytest.fixture(autouse=True)
def _no_thread_ends_by_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reading thread that has ended by an exception leaves a session that hangs."""
    ended: list[object] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    yield
    assert ended == []


def genuine_agent(request: Message) -> Iterator[bytes]:
    yield end_of(request)


def saying(*parts: bytes | dict[str, Any], ends: bool = True) -> Callable[[Message], Iterator[bytes]]:
    """Make an agent that says these, then ends the request in good order, or is silent."""

    def attack(request: Message) -> Iterator[bytes]:
        for part in parts:
            yield part if isinstance(part, bytes) else frame(part, request.msg_id)
        if ends:
            yield end_of(request)

    return attack


CONTROLS = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\[[0-9;:]*[mK])")


def assert_harmless(value: object) -> None:
    """Any front end can be told it, and a terminal that prints its texts does nothing but colours."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    for text in texts_in(value):
        assert not CONTROLS.search(text), text


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(key)
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)


def try_all(sandbox: Sandbox, shown: list[Message]) -> None:
    """Ask everything that there is to ask, as the faces do."""
    session = sandbox._session
    on_late: Callable[[Message], None] = shown.append
    for ask in (
        lambda: session.execute(
            "1", timeout_s=2, on_message=shown.append, on_late=on_late, on_input=lambda prompt, _: prompt
        ),
        lambda: sandbox.run("1", timeout=2),
        lambda: sandbox.command(["true"], timeout=2).exit_code,
        lambda: introspection.complete(session, "x", 1),
        lambda: introspection.inspect(session, "x", 1),
        lambda: introspection.evaluate(session, {"a": "1"}),
        lambda: sandbox.files.read("x", max_bytes=2**20),
        lambda: sandbox.files.list("."),
        sandbox.usage,
        sandbox.restart,
    ):
        try:
            ask()
        except ChorusError as error:
            assert_harmless(str(error))
            assert len(str(error)) < 10_000
    for message in shown:
        assert_harmless(message.content)
    assert_harmless(session.logs())


def attack(*parts: bytes | dict[str, Any], ends: bool = True) -> None:
    """Attack every request of a session, then see that the next one can be had."""
    engine = HostileEngine(saying(*parts, ends=ends))
    started_s = time.monotonic()
    with Sandbox(engine=engine, repo="none") as sandbox:
        try_all(sandbox, [])
        engine.attack = genuine_agent
        for _ in range(3):  # What is lost is said once; one that it made wait ends first.
            with suppress(ChorusError):
                sandbox.restart()
            with suppress(ChorusError):
                if sandbox.run("1", timeout=5).ok:
                    break
        else:
            pytest.fail("the session can't be used any more")
    assert time.monotonic() - started_s < 60


# Property by property


@thorough
@given(st.lists(forged(), min_size=1, max_size=4))
def test_forged_messages(messages: list[dict[str, Any]]) -> None:
    attack(*messages)
