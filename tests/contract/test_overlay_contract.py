"""``--repo overlay`` is the same whatever is behind it: an overlay, a copy in a volume, a copy in a folder."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ENGINES
from sandboxes import opened, value

from chorus_nb.engines.base import Engine, EngineCapabilities
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.owner import owner_label
from chorus_nb.errors import ApplyError, ChorusError, SandboxDiedError
from chorus_nb.sandbox import Sandbox
from chorus_nb.view.volume_copy import VolumeCopy
from chorus_nb.working_copy import Entry, WorkingCopy


class Elsewhere(DockerEngine):
    """An engine of which nobody knows whether it sees this machine's folders."""

    def capabilities(self) -> EngineCapabilities:
        return dataclasses.replace(super().capabilities(), overlays=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chorus-nb" / "overlays"


COPIES = [pytest.param(f"{name}-copy", marks=pytest.mark.docker, id=f"{name}-copy") for name in ("docker", "podman")]


@pytest.fixture(params=[*ENGINES, *COPIES])
def viewing(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, and those that can mount an overlay also without that."""
    name, _, copy = request.param.partition("-")
    engine = request.getfixturevalue(f"{name}_engine")
    return Elsewhere(engine.endpoint) if copy else engine


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "gone" / "inner").mkdir(parents=True)
    for name in ("changed", "kept", "same length", "touched", "removed", "gone/inner/file", "mode", "to a folder"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to("kept")
    (folder / "dangling").symlink_to("/no/such/file")
    os.mkfifo(folder / "fifo")
    (folder / os.fsdecode(b"no UTF-8 \xff\nin two lines")).write_bytes(b"\0\xff")
    (folder / ("n" * 255)).write_text("long")
    return folder


@pytest.fixture
def sandbox(viewing: Engine, repository: Path, cache: Path) -> Iterator[Sandbox]:
    with opened(viewing, repo="overlay", repo_path=repository) as sandbox:
        yield sandbox
    assert sandbox._session.working_copy is None
    assert not cache.exists() or list(cache.iterdir()) == []
    assert not [name for name, labels in viewing.owned_volumes() if labels["chorus-nb.owner"] == owner_label()]


CHANGES = """
import os, shutil
status = os.stat("same length")
open("same length", "w").write("length same")
os.utime("same length", ns=(status.st_atime_ns, status.st_mtime_ns))
open("changed", "a").write(" more")
os.utime("touched")
os.remove("removed")
shutil.rmtree("gone")
os.chmod("mode", 0o755)
os.remove("to a folder")
os.makedirs("to a folder/in it")
open("to a folder/in it/new", "w").write("new")
os.remove("link")
os.symlink("changed", "link")
os.symlink("../../etc/passwd", "out")
os.mkfifo("pipe")
open(b"new \\xfe\\n", "w").close()
"""
CHANGED = {
    **dict.fromkeys(("changed", "same length", "mode", "to a folder/in it/new", os.fsdecode(b"new \xfe\n")), "file"),
    **dict.fromkeys(("to a folder", "to a folder/in it"), "directory"),
    **dict.fromkeys(("link", "out"), "link"),
    "pipe": "other",
    **dict.fromkeys(("removed", "gone"), None),
}
SEE = "import os; sorted(os.listdir()), open('kept').read(), os.readlink('dangling')"


def test_what_changed_is_known_and_nothing_changed_on_the_host(sandbox: Sandbox, repository: Path) -> None:
    before = content(repository)
    seen = sorted(each.name for each in repository.iterdir() if each.name != "fifo")
    assert value(sandbox, f"import os; sorted(set(os.listdir()) - {{'fifo'}}) == {seen!r}") == "True"
    copy = working_copy(sandbox)
    assert dict(changes(copy)) == {}
    assert not sandbox._session.view.has_changes()
    value(sandbox, CHANGES)
    found = changes(copy)
    # What was touched may come, and is no change: an overlay knows no better.
    assert {path: kind for path, kind in found.items() if path != "touched"} == CHANGED
    assert sandbox._session.view.has_changes()
    entries = {entry.path: entry for entry in copy.entries()}
    assert list(entries) == sorted(entries, key=lambda path: path.split("/"))
    link, mode = entries["link"].state, entries["mode"].state
    assert link is not None
    assert mode is not None
    assert (link.target, mode.mode) == ("changed", 0o755)
    for path, data in (("changed", b"changed more"), ("to a folder/in it/new", b"new")):
        with copy.open(path) as file:
            assert file.read() == data
    for path in ("pipe", "out", "to a folder", "removed"):
        with pytest.raises(ChorusError, match=path):
            copy.open(path)
    (repository / "changed").write_text("the host's")
    assert entries["changed"].base_ns < (repository / "changed").stat().st_ctime_ns
    (repository / "changed").write_text("changed")
    assert content(repository) == before


MEANWHILE = """
open("changed", "a").write(" more")
os.chmod("mode", 0o755)
open("gone/inner/new", "w").write("new")
"""


def test_what_the_host_has_removed_meanwhile_is_not_made_anew(sandbox: Sandbox, repository: Path) -> None:
    value(sandbox, f"import os{MEANWHILE}")
    if isinstance(working_copy(sandbox), VolumeCopy):  # An overlay does not know what it has copied up.
        value(sandbox, "os.utime('touched')")
    for name in ("changed", "mode", "kept", "touched"):
        (repository / name).unlink()
    shutil.rmtree(repository / "gone")
    found = {each.path: each for each in sandbox.changes()}
    new = ["gone", "gone/inner", "gone/inner/new"]
    assert list(found) == ["changed", *new, "mode"]
    assert {path for path, each in found.items() if each.conflict} == {"changed", "mode"}
    with pytest.raises(ApplyError, match="'changed' was removed on the host meanwhile"):
        sandbox.apply()
    assert not (repository / "changed").exists()
    assert [each.name for each in repository.glob("gone/**/*")] == ["inner", "new"]
    sandbox.discard(["changed", "mode"])
    assert value(sandbox, "os.path.exists('changed'), os.path.exists('mode')") == "(False, False)"
    assert sandbox.changes() == []
    # What was taken over and then removed on the host: only what the sandbox writes there afterwards is its own.
    (repository / "gone/inner/new").unlink()
    assert sandbox.changes() == []
    value(sandbox, "open('gone/inner/new', 'a').write('more'); open('changed', 'w').write('anew')")
    found = {each.path: each for each in sandbox.changes()}
    assert {path: each.conflict for path, each in found.items()} == {
        "changed": "",
        "gone/inner/new": "was removed on the host meanwhile",
    }


def test_it_lasts_longer_than_its_container(sandbox: Sandbox) -> None:
    value(sandbox, "open('new', 'w').write('1')")
    sandbox._session.kill()
    with pytest.raises(SandboxDiedError):
        sandbox.run("1")
    assert value(sandbox, "open('new').read()") == "'1'"
    value(sandbox, "import os; os.remove('new')")
    assert [path for path, kind in changes(working_copy(sandbox)).items() if kind] == []


def working_copy(sandbox: Sandbox) -> WorkingCopy:
    copy = sandbox._session.working_copy
    assert copy is not None
    return copy


def changes(copy: WorkingCopy) -> dict[str, str | None]:
    return {entry.path: kind_of(entry) for entry in copy.entries()}


def kind_of(entry: Entry) -> str | None:
    return entry.state.kind if entry.state else None


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of all there is."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }
