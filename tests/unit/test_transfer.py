"""Variables on their way, when the other end is an attacker's agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hostile import HostileEngine, frame, genuine

from chorus_nb.agent.wire import Message
from chorus_nb.errors import AgentProtocolError, ChorusError, VariableError
from chorus_nb.sandbox import Sandbox

LIMIT = 2**20
TREE = json.dumps({"buffers": [3], "values": {"x": {"bytes": 0}}}).encode()
SIZE = len(TREE)


def message(kind: str, buffers: tuple[bytes, ...] = (), **content: Any) -> dict[str, Any]:
    return {"msg_type": kind, "parent_id": "@", "content": content, "metadata": {}, "buffers": buffers}


def begin(tree_bytes: Any = SIZE, size_bytes: Any = 3) -> dict[str, Any]:
    return message("transfer_begin", tree_bytes=tree_bytes, size_bytes=size_bytes)


def data(*buffers: bytes) -> dict[str, Any]:
    return message("transfer_data", buffers)


def reply(**content: Any) -> dict[str, Any]:
    return message("execute_reply", **{"status": "ok", **content})


def agent(*said: dict[str, Any]) -> Callable[[Message], Iterator[bytes]]:
    """Return an agent that says this when it is asked for variables."""

    def attack(request: Message) -> Iterator[bytes]:
        if request.msg_type in ("pull_request", "push_request"):
            for each in said[:-1]:
                yield frame(each, request.msg_id)
            yield genuine("resource_usage", request.msg_id)
            yield frame(said[-1], request.msg_id)

    return attack


def sandbox(attack: Callable[[Message], Iterator[bytes]]) -> Sandbox:
    return Sandbox(engine=HostileEngine(attack), repo="none", max_transfer=LIMIT)


def test_what_is_honest_arrives() -> None:
    with sandbox(agent(begin(), data(TREE[:5]), data(TREE[5:] + b"ab"), data(b"c"), reply())) as sb:
        assert sb.pull("x") == b"abc"


@pytest.mark.parametrize(
    "said",
    [
        [reply()],
        [begin(), reply()],
        [begin(), data(TREE), reply()],
        [begin(), data(TREE + b"abcd"), reply()],
        [begin(), data(TREE + b"abc"), data(b"d"), reply()],
        [begin(), begin(), data(TREE + b"abc"), reply()],
        [data(TREE + b"abc"), reply()],
        [begin(), data(), reply()],
        [begin(), data(TREE, b"abc"), reply()],
        [begin(size_bytes=2**40), reply()],
        [begin(size_bytes=LIMIT), reply()],
        [begin(tree_bytes=LIMIT), reply()],
        [begin(tree_bytes="1"), reply()],
        [message("transfer_begin"), reply()],
        [begin(), data(b"{" * len(TREE) + b"abc"), reply()],
        [begin(len(TREE) + 1, 3), data(TREE.replace(b"x", b"yy") + b"abc"), reply()],
        [message("transfer_ack"), reply()],
    ],
    ids=range(17),
)
def test_a_forged_transfer_ends_the_sandbox_and_nothing_else(said: list[dict[str, Any]]) -> None:
    with sandbox(agent(*said)) as sb:
        with pytest.raises(AgentProtocolError):
            sb.pull("x")
        sb._session.engine.attack = agent(begin(), data(TREE + b"abc"), reply())  # type: ignore[attr-defined]
        assert sb.pull("x") == b"abc"


def test_acknowledgements_of_what_was_not_sent_end_the_sandbox() -> None:
    with (
        sandbox(agent(*[message("transfer_ack")] * 3, reply())) as sb,
        pytest.raises(AgentProtocolError),
    ):
        sb.push(x=1)


@pytest.mark.parametrize("ename", ["CrossingError", "NameError", "MemoryError", "DecodeError", "x", None, 5])
def test_the_words_of_a_sandbox_are_made_fit_to_show(ename: Any) -> None:
    nasty = "\x1b]0;title\x07\n\u202e" + "x" * 10_000
    words = dict.fromkeys(("evalue", "path", "problem", "hint"), nasty)
    with sandbox(agent(reply(status="error", ename=ename, **words))) as sb, pytest.raises(VariableError) as caught:
        sb.pull("x")
    assert isinstance(caught.value, ChorusError)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 2000
