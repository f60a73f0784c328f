"""Changes to many files by few requests, answered by the agent's own code; what is refused of one stops no other."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from chorus_nb import file_batches
from chorus_nb.agent import files as agent_files
from chorus_nb.agent import trees
from chorus_nb.agent.wire import Message
from chorus_nb.changes.review import Review
from chorus_nb.conversation import Request
from chorus_nb.errors import AgentProtocolError, SandboxFileError
from chorus_nb.file_batches import KnownFile, NewFile
from chorus_nb.files import SandboxFiles
from chorus_nb.view.overlay_copy import TICK_NS
from chorus_nb.view.repository_archive import RepositoryArchive
from chorus_nb.view.volume_copy import VolumeCopy
from tests.overlay_mount import Overlay, snapshot


class Sandbox:
    """The agent's code for files, in this process: without a container, and with a count of its requests."""

    name = "here"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self) -> None:
        """It needs none."""

    def request(self, request: Request, _: str) -> Message:
        """Have the agent answer."""
        self.asked.append(request.msg_type)
        return agent_files._answer(Message(request.msg_type, dict(request.content), "1", buffers=list(request.buffers)))


LAST = 1200
"""Of files, by their numbers: more than one request is about."""


def is_later_than(path: Path) -> bool:
    """Whether what is written now is known to be later than a file."""
    probe = path.absolute().parent.parent / "probe"
    probe.write_text("")
    return probe.stat().st_ctime_ns > path.stat().st_ctime_ns + TICK_NS


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def files(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SandboxFiles:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    return SandboxFiles(sandbox)  # type: ignore[arg-type]


def test_thousands_of_files_are_discarded_by_a_few_requests(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay, looks = Overlay(tmp_path), []
    entries = overlay.copy.entries
    monkeypatch.setattr(overlay.copy, "entries", lambda: looks.append("one") or entries())
    for number in range(LAST + 1):
        (overlay.host / f"{number}").write_text("the host's")
    with overlay.mounted():
        for number in range(LAST + 1):
            (overlay.sandbox / f"{number}").write_text("the sandbox's")
            (overlay.sandbox / f"new {number}").write_text("new")
        (overlay.sandbox / "0").unlink()
        (overlay.sandbox / "1").write_text("the host's")
        (overlay.sandbox / "1").chmod(0o711)
        with chdir(overlay.sandbox):
            gone = Review(overlay.copy).discard((), SandboxFiles(sandbox))  # type: ignore[arg-type]
        assert len(gone) == 2 * (LAST + 1)
        assert snapshot(overlay.sandbox) == snapshot(overlay.host)
    assert len(sandbox.asked) <= 8
    assert len(looks) == 2, "before and after"


def test_files_are_read_here_while_others_are_written_there(
    files: SandboxFiles, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, read_on = sandbox.request, threading.Event()

    def slow(request: Request, reply_type: str) -> Message:
        assert read_on.wait(30)
        return answer(request, reply_type)

    def wanted() -> Iterator[NewFile]:
        for number in range(LAST + 1):
            if number == LAST:
                read_on.set()
            yield NewFile(f"{number}", b"%d" % number, 0o640, 0)

    monkeypatch.setattr(sandbox, "request", slow)
    files.many.write(wanted())
    assert {each: Path(each).read_text() for each in os.listdir()} == {f"{n}": f"{n}" for n in range(LAST + 1)}


def test_what_is_refused_of_one_keeps_nothing_from_the_others(files: SandboxFiles) -> None:
    wanted = [NewFile(path, path.encode(), 0o640, 10**18) for path in ("a", "missing/b", "c", "no/d")]
    with pytest.raises(SandboxFileError, match="'missing/b' in the sandbox 'here': No such file"):
        files.many.write(wanted)
    assert sorted(os.listdir()) == ["a", "c"]
    assert (os.stat("c").st_mode & 0o777, os.stat("c").st_mtime_ns) == (0o640, 10**18)
    with pytest.raises(SandboxFileError, match="'x'"):
        files.many.chmod([("x", 0o600), ("c", 0o600)])
    assert os.stat("c").st_mode & 0o777 == 0o600
    with pytest.raises(SandboxFileError, match="'a'"):
        files.many.make_folders(["a", "folder"])
    with pytest.raises(SandboxFileError, match="'folder'"):
        files.many.make_links([("folder", "a"), ("link", "nowhere"), ("link", "c")])
    assert os.readlink("link") == "c"
    files.many.remove(["missing", "a/inside", "c", "link", "folder"])
    assert os.listdir() == ["a"]


def test_trees_of_any_size_are_removed_and_no_link_is_followed(
    files: SandboxFiles, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_batches, "REMOVED_AT_ONCE", 10)
    (tmp_path / "canary").write_text("canary")
    for tree in "abc":
        Path(tree, "deep", "closed").mkdir(parents=True)
        Path(tree, "out").symlink_to(tmp_path)
        for number in range(25):
            Path(tree, "deep", "closed", str(number)).touch()
        Path(tree, "deep", "closed").chmod(0)
    Path("out").symlink_to(tmp_path)
    Path("kept").touch()
    files.many.remove(["a", "out", "b", "missing", "c"])
    assert os.listdir() == ["kept"]
    assert (tmp_path / "canary").read_text() == "canary"
    assert 3 < len(sandbox.asked) < 30
    files.many.remove([])
    assert len(sandbox.asked) < 30


def test_requests_are_bounded_by_names_and_by_content(files: SandboxFiles, sandbox: Sandbox) -> None:
    data = bytes(3 * 2**20)
    files.many.write(NewFile(f"{number}", data, 0o600, 0) for number in range(3))
    assert len(sandbox.asked) == 3
    long = ["/".join(["n" * 250] * 12) + f"/{number}" for number in range(400)]
    files.many.remove(long)
    assert len(sandbox.asked) == 6


def test_a_copy_is_compared_and_taken_over_by_a_few_requests(
    tmp_path: Path, files: SandboxFiles, sandbox: Sandbox
) -> None:
    host = tmp_path / "host"
    host.mkdir()
    for number in range(LAST + 1):
        (host / f"{number}").write_text("the host's")
    wait_until(lambda: is_later_than(host / f"{LAST}"))
    archive = RepositoryArchive(host, "0:0", lambda path: False)
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive.pieces()))) as tar:
        tar.extractall(".")
    copy = VolumeCopy(host, archive, files)
    copy.note_settled()
    wait_until(lambda: is_later_than(Path(f"{LAST}")))
    review = Review(copy)
    sandbox.asked.clear()
    assert review.changes() == []
    assert len(sandbox.asked) <= 2, "what nobody touched is not read"
    for number in range(LAST):
        Path(f"{number}").write_text("a sandbox'")
        Path(f"new {number}").write_text(f"{number}")
    os.utime(f"{LAST}")
    with open("large", "wb") as file:
        file.truncate(2**26 + 1)
    sandbox.asked.clear()
    assert len(review.changes()) == 2 * LAST + 1
    assert len(sandbox.asked) <= 15
    sandbox.asked.clear()
    review.apply()
    # Those that are written together are read together; what is larger than a piece, in pieces.
    assert len(sandbox.asked) <= 15 + 2 * LAST // 128 + 1 + 30
    assert snapshot(host) == snapshot(Path())
    assert review.changes() == []


def test_digests_are_those_of_regular_files_alone(
    files: SandboxFiles, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "empty"):
        Path(name).write_text(name * (name != "empty"))
    Path("link").symlink_to("a")
    os.mkfifo("fifo")
    Path("folder").mkdir()
    known = [KnownFile(name, 1) for name in ("a", "link", "fifo", "missing", "folder", "b")]
    wanted = {name: hashlib.sha256(name.encode()).digest() for name in "ab"}
    assert files.many.digests(known) == wanted
    assert files.many.digests([KnownFile("empty", 0), KnownFile("a", 100)]) == {
        "empty": hashlib.sha256().digest(),
        "a": wanted["a"],
    }
    monkeypatch.setattr(trees, "_MAX_DIGESTED_BYTES", 1)
    sandbox.asked.clear()
    assert files.many.digests(known) == wanted
    assert len(sandbox.asked) == len(known)
    monkeypatch.setattr(file_batches, "MAX_DIGESTED_BYTES", 0)
    assert files.many.digests(known) == {**wanted, "link": wanted["a"]}
    assert (files.many.read_small("a"), files.many.read_small("empty")) == (b"a", b"")
    for name in ("link", "fifo", "missing", "folder"):
        with pytest.raises(SandboxFileError, match=name):
            files.many.read_small(name)


@pytest.mark.parametrize("sha256", [None, 1, "", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n", ["0" * 64]])
def test_a_digest_that_is_none_is_not_believed(
    files: SandboxFiles, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, sha256: Any
) -> None:
    answer = Message("file_reply", {"status": "ok", "results": [{"sha256": sha256}]}, "1")
    monkeypatch.setattr(sandbox, "request", lambda *_: answer)
    with pytest.raises(AgentProtocolError, match="list of files"):
        files.many.digests([KnownFile("a", 1)])


@pytest.mark.parametrize(
    ("results", "error", "said"),
    [
        ([{}], AgentProtocolError, "list of files"),
        ([{}, {}, {}], AgentProtocolError, "list of files"),
        ([], AgentProtocolError, "list of files"),
        ([1, 2], AgentProtocolError, "list of files"),
        ([{"evalue": "\x1b[31m no", "errno": "x"}, {}], SandboxFileError, r"'a' in the sandbox 'here': .* no\."),
    ],
)
def test_an_answer_that_is_none_is_not_believed(
    files: SandboxFiles, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, results: Any, error: Any, said: str
) -> None:
    answer = Message("file_reply", {"status": "ok", "results": results}, "1")
    monkeypatch.setattr(sandbox, "request", lambda *_: answer)
    with pytest.raises(error, match=said):
        files.many.chmod([("a", 0o600), ("b", 0o600)])


def test_a_tree_that_is_never_gone_is_given_up(
    files: SandboxFiles, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Message("file_reply", {"status": "ok", "results": [{"done": False}]}, "1")
    monkeypatch.setattr(sandbox, "request", lambda *_: answer)
    with pytest.raises(SandboxFileError, match="'a' in the sandbox 'here': something goes on writing there"):
        files.many.remove(["a", "b"])
