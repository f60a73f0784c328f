"""Files as an agent tells of them that is the attacker's: nothing is written but what was asked for, where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hostile import ENTRY, HostileEngine, end_of, forged, frame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chorus_nb import files
from chorus_nb.agent.wire import Message, encode
from chorus_nb.errors import AgentProtocolError, ChorusError, SandboxFileError, TransferError
from chorus_nb.sandbox import Sandbox

Answer = Callable[[Message], tuple[dict[str, Any], list[bytes]]]

FOLDER = {**ENTRY, "kind": "directory"}


class Agent:
    """Answers requests about files: as a folder ``d`` with a file ``x`` of three bytes, unless told otherwise."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "stat": lambda _: ({"entry": FOLDER}, []),
            "scan": lambda request: ({"results": [listed({**ENTRY, "size_bytes": 3})]}, []),
            "read_many": lambda request: ({"results": [{"size_bytes": 3}]}, [b"abc"]),
            "read": lambda request: ({"hole_bytes": 0}, [bytes(request.content["size"])]),
            "digest": lambda _: ({"at_end": True, "offset": 3, "sha256": "0" * 64}, []),
        }

    def __call__(self, request: Message) -> Iterator[bytes]:
        answer = self.answers.get(request.msg_type.removeprefix("file_").removesuffix("_request"))
        if answer is None:
            yield end_of(request)
            return
        content, buffers = answer(request)
        yield encode(Message("file_reply", {"status": "ok", **content}, request.msg_id, buffers=buffers))


def listed(*entries: dict[str, Any], more: bool = False) -> dict[str, Any]:
    return {"entries": list(entries), "more": more}


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def sandbox(agent: Agent) -> Iterator[Sandbox]:
    with Sandbox(engine=HostileEngine(agent), repo="none") as sandbox:
        yield sandbox


def all_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_model_agent_is_believed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Else the attacks below might fail for another reason."""
    sandbox.files.get("d", tmp_path / "back")
    assert all_below(tmp_path) == {"back", "back/x"}
    assert (tmp_path / "back" / "x").read_bytes() == b"abc"


WRONG_ENTRIES: list[dict[str, Any]] = [
    *({"path": path} for path in ("../x", "..", ".", "", "/x", "a/b", "a\0b", "n" * 256, "é" * 128, "\udcc3\udca9")),
    *({"path": path} for path in ("\ud800", 1, None, ["x"])),
    *({"kind": kind} for kind in ("socket", None, "", "FILE")),
    *({"size_bytes": size} for size in (-1, 2**63, "many", 1.5)),
    *({"mode": mode} for mode in (-1, 0o10000, None)),
    *({"modified_ns": time} for time in (2**63, -(2**70), "now")),
    *({"target": target} for target in ("x" * 5000, "\0", 3)),
]


@pytest.mark.parametrize("wrong", WRONG_ENTRIES, ids=repr)
def test_an_entry_that_can_not_be_ends_the_copy(
    sandbox: Sandbox, agent: Agent, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    agent.answers["scan"] = lambda _: ({"results": [listed({**ENTRY, **wrong})]}, [])
    with pytest.raises(AgentProtocolError, match="list of files"):
        sandbox.files.get("d", tmp_path / "back")
    assert all_below(tmp_path) == set()


@pytest.mark.parametrize("names", [["x", "x"], ["b", "a"], ["a", "b", "a"]])
def test_names_that_come_again_are_refused(sandbox: Sandbox, agent: Agent, tmp_path: Path, names: list[str]) -> None:
    agent.answers["scan"] = lambda _: ({"results": [listed(*({**ENTRY, "path": name} for name in names))]}, [])
    with pytest.raises(AgentProtocolError, match="list of files"):
        sandbox.files.get("d", tmp_path / "back")


def test_a_list_that_goes_on_for_ever_ends(sandbox: Sandbox, agent: Agent) -> None:
    count = 0

    def scan(request: Message) -> tuple[dict[str, Any], list[bytes]]:
        nonlocal count
        count += 1000
        names = ({**ENTRY, "path": f"{number:09}"} for number in range(count, count + 1000))
        return {"results": [listed(*names, more=True)]}, []

    agent.answers["scan"] = scan
    with pytest.raises(SandboxFileError, match="more than 5000 entries"):
        sandbox.files.walk("d", max_entries=5000)
    agent.answers["scan"] = lambda _: ({"results": [listed({**ENTRY}, more=True)]}, [])
    with pytest.raises(AgentProtocolError):
        sandbox.files.walk("d")


def test_folders_in_folders_without_end_end(sandbox: Sandbox, agent: Agent) -> None:
    agent.answers["scan"] = lambda _: ({"results": [listed({**FOLDER, "path": "n" * 255})]}, [])
    with pytest.raises(SandboxFileError, match="without end"):
        sandbox.files.walk("d")


def test_all_that_a_walk_names_is_bounded(agent: Agent, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million entries are not many, but each with a path of 64 KiB they are more than the host's memory."""
    monkeypatch.setattr(files, "_MAX_WALKED_CHARS", 2**20)
    many = [{**ENTRY, "path": f"{number:03}"} for number in range(400)]
    agent.answers["scan"] = lambda _: ({"results": [listed(*many, {**FOLDER, "path": "n" * 255})]}, [])
    with pytest.raises(SandboxFileError, match="without end"):
        sandbox.files.walk("d", max_entries=10_000)


@pytest.mark.parametrize("results", [[], None, "x", [1], [{}] * 300, [{"entries": 1}], [{"entries": [1]}]])
def test_results_of_another_shape_are_refused(sandbox: Sandbox, agent: Agent, results: object) -> None:
    agent.answers["scan"] = lambda _: ({"results": results}, [])
    with pytest.raises(ChorusError):
        sandbox.files.walk("d")


CONTENTS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "more than asked for": ({"results": [{"size_bytes": 4}]}, [b"abcd"]),
    "more than said": ({"results": [{"size_bytes": 3}]}, [b"abcd"]),
    "less than said": ({"results": [{"size_bytes": 3}]}, [b"ab"]),
    "less than nothing": ({"results": [{"size_bytes": -1}]}, [b"abc"]),
    "a size that is none": ({"results": [{"size_bytes": "3"}]}, [b"abc"]),
    "no results": ({"results": []}, [b"abc"]),
    "results of others": ({"results": [{"size_bytes": 3}, {"size_bytes": 3}]}, [b"abcabc"]),
    "a flood": ({"results": [{"size_bytes": 3}]}, [bytes(2**23)]),
}


@pytest.mark.parametrize("answer", CONTENTS.values(), ids=CONTENTS)
def test_content_that_was_not_asked_for_is_not_written(
    sandbox: Sandbox, agent: Agent, tmp_path: Path, answer: tuple[dict[str, Any], list[bytes]]
) -> None:
    agent.answers["read_many"] = lambda _: answer
    with pytest.raises(AgentProtocolError):
        sandbox.files.get("d", tmp_path / "back")
    assert all_below(tmp_path) <= {"back"}


def test_why_a_file_is_not_there_is_printable(sandbox: Sandbox, agent: Agent, tmp_path: Path) -> None:
    agent.answers["read_many"] = lambda _: ({"results": [{"evalue": "\x1b]0;title\x07\ngone", "errno": "x"}]}, [b""])
    (skipped,) = sandbox.files.get("d", tmp_path / "back").skipped
    assert skipped.reason.isprintable()
    assert all_below(tmp_path) == {"back"}


def large(agent: Agent, size: int = 9 * 2**20) -> None:
    agent.answers["scan"] = lambda _: ({"results": [listed({**ENTRY, "size_bytes": size})]}, [])


def test_a_large_file_is_as_large_as_it_was_said_to_be(sandbox: Sandbox, agent: Agent, tmp_path: Path) -> None:
    large(agent)
    agent.answers["read"] = lambda request: ({}, [bytes(request.content["size"] + 1)])
    with pytest.raises(AgentProtocolError, match="more of a file"):
        sandbox.files.get("d", tmp_path / "back")
    agent.answers["read"] = lambda request: ({}, [b"crumb"])
    (skipped,) = sandbox.files.get("d/.", tmp_path / "back").skipped
    assert skipped.reason == "it became smaller while it was copied"
    assert all_below(tmp_path) == {"back"}


@pytest.mark.parametrize("hole", [-1, 2**70, "x", 1.5, True, None])
def test_a_hole_that_can_not_be_makes_no_file_larger(
    sandbox: Sandbox, agent: Agent, tmp_path: Path, hole: object
) -> None:
    large(agent)
    agent.answers["read"] = lambda request: ({"hole_bytes": hole}, [b""])
    sandbox.files.get("d", tmp_path / "back")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) in (0, 9 * 2**20)


def test_a_file_without_end_that_says_it_is_empty_is_refused(sandbox: Sandbox, agent: Agent, tmp_path: Path) -> None:
    large(agent, size=0)
    agent.answers["read_many"] = lambda _: ({"results": [{"size_bytes": 2**16}]}, [bytes(2**16)])
    (skipped,) = sandbox.files.get("d", tmp_path / "back").skipped
    assert "no size, and has more than 64 MiB" in skipped.reason
    assert all_below(tmp_path) == {"back"}


def test_files_that_say_they_are_empty_count_with_what_they_have(
    sandbox: Sandbox, agent: Agent, tmp_path: Path
) -> None:
    entries = [{**ENTRY, "path": f"{number:03}", "size_bytes": 0} for number in range(100)]
    agent.answers["scan"] = lambda _: ({"results": [listed(*entries)]}, [])
    agent.answers["read_many"] = lambda request: (
        {"results": [{"size_bytes": 2**15}] * len(request.content["files"])},
        [bytes(2**15 * len(request.content["files"]))],
    )
    with pytest.raises(TransferError, match="more than 1 MiB"):
        sandbox.files.get("d", tmp_path / "back", max_bytes=2**20)
    assert len(all_below(tmp_path)) < 40


def test_what_never_ends_is_given_up(sandbox: Sandbox, agent: Agent) -> None:
    agent.answers["remove"] = lambda _: ({"done": False}, [])
    with pytest.raises(SandboxFileError, match="goes on writing"):
        sandbox.files.remove("d", recursive=True)
    agent.answers["stat"] = lambda _: ({"entry": {**ENTRY, "size_bytes": 2**62}}, [])
    with pytest.raises(SandboxFileError, match="too large"):
        sandbox.files.digest("x")


def test_what_is_too_large_is_not_begun(sandbox: Sandbox, agent: Agent, tmp_path: Path) -> None:
    large(agent, size=2**62)
    with pytest.raises(TransferError, match="more than 16 GiB"):
        sandbox.files.get("d", tmp_path / "back")
    assert all_below(tmp_path) == set()


@pytest.mark.parametrize("sha256", [None, 3, "x", "0" * 64])
def test_a_digest_that_is_none_replaces_nothing(sandbox: Sandbox, agent: Agent, tmp_path: Path, sha256: object) -> None:
    large(agent)
    agent.answers["digest"] = lambda _: ({"at_end": True, "sha256": sha256}, [])
    (tmp_path / "x").write_bytes(bytes(9 * 2**20 - 1) + b"x")
    with pytest.raises(ChorusError):
        sandbox.files.get("d/.", tmp_path)
    assert (tmp_path / "x").read_bytes()[-1:] == b"x"


def test_two_files_that_the_host_takes_for_one_are_told(
    sandbox: Sandbox, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without case; here the host's is made to look so."""
    entries = [{**ENTRY, "path": name, "size_bytes": 3} for name in ("A", "a")]
    agent.answers["scan"] = lambda _: ({"results": [listed(*entries)]}, [])
    agent.answers["read_many"] = lambda _: ({"results": [{"size_bytes": 3}] * 2}, [b"abcdef"])
    without_case(monkeypatch)
    (skipped,) = sandbox.files.get("d", tmp_path / "back").skipped
    assert (skipped.path, skipped.reason) == ("d/a", "the host takes its name for that of another")
    assert (tmp_path / "back" / "a").read_bytes() == b"abc"


def without_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lstat", "rename", "open", "unlink", "mkdir"):
        original = getattr(os, name)

        def call(path: Any, *rest: Any, original: Any = original, **more: Any) -> Any:
            lower = [each.lower() if each == "A" else each for each in (path, *rest)]
            return original(*lower, **more)

        monkeypatch.setattr(os, name, call)


@given(replies=st.lists(forged(("file_reply",)), min_size=1, max_size=5))
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_whatever_it_says_nothing_is_written_elsewhere(
    replies: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, waiting = tmp_path_factory.mktemp("any"), list(replies)

    def attack(request: Message) -> Iterator[bytes]:
        if request.msg_type.startswith("file_") and waiting:
            yield frame({**waiting.pop(), "parent_id": "@", "msg_type": "file_reply"}, request.msg_id)
        else:
            yield end_of(request)

    with Sandbox(engine=HostileEngine(attack), repo="none") as sandbox, suppress(ChorusError):
        sandbox.files.get("d", folder / "back", overwrite=True)
    assert {path.relative_to(folder).parts[0] for path in folder.rglob("*")} <= {"back"}
