"""Binary parts of an output, on the host's side."""

from __future__ import annotations

from typing import Any

import pytest

from chorus_nb.agent.wire import Message
from chorus_nb.buffers import with_buffers
from chorus_nb.errors import AgentProtocolError


def message(paths: Any, data: Any, buffers: list[bytes]) -> Message:
    return Message("display_data", {"data": data, "metadata": {}}, metadata={"buffer_paths": paths}, buffers=buffers)


def test_a_buffer_becomes_base64_in_its_place() -> None:
    found = with_buffers(message([["data", "image/png"]], {"text/plain": "p"}, [b"\0\1\2"]))
    assert found.content["data"] == {"text/plain": "p", "image/png": "AAEC"}
    assert found.buffers == []


def test_a_message_without_buffers_stays_as_it_is() -> None:
    plain = message([["data", "image/png"]], {}, [])
    assert with_buffers(plain) is plain


@pytest.mark.parametrize(
    ("paths", "data"),
    [
        (None, {}),
        ([], {}),
        ([["data", "a/b"], ["data", "c/d"]], {}),
        ([["metadata", "a/b"]], {}),
        ([["data"]], {}),
        ([["data", 5]], {}),
        (["data"], {}),
        ([["data", "a/b"]], None),
        ([["data", "a/b"]], {"a/b": "taken"}),
    ],
)
def test_a_buffer_without_a_place_ends_the_sandbox(paths: Any, data: Any) -> None:
    with pytest.raises(AgentProtocolError, match="buffers"):
        with_buffers(message(paths, data, [b"x"]))
