"""Changes of a sandbox on the real engine: looked at, taken over, thrown away. What made them is out to do harm."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus_nb import AsyncSandbox, Sandbox
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ApplyError, ConfigurationError, NoSuchChangeError, UnappliedChangesError
from tests.overlay_mount import snapshot

pytestmark = pytest.mark.docker

ATTACK = r"""
import os, pathlib, shutil
pathlib.Path("src/a.py").write_text("a = 2\n")
os.chmod("run.sh", 0o4755)
os.remove("data.bin")
shutil.rmtree("old")
pathlib.Path("old").write_text("a file now")
os.makedirs("new/deep")
pathlib.Path("new/deep/line\nbreak").write_text("1")
open(b"new/\xff\xfe", "w").write("no UTF-8")
os.mkdir("new/closed")
pathlib.Path("new/closed/in").write_text("x")
os.chmod("new/closed", 0o500)
os.mkfifo("new/fifo")
os.symlink("/etc/passwd", "new/absolute")
os.symlink("../../../outside", "new/up")
os.remove("link")
os.symlink("src/a.py", "link")
os.makedirs(".git/hooks")
pathlib.Path(".git/hooks/post-checkout").write_text("evil")
os.rename("src/b.py", "new/b.py")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for name in ("src", "old"):
        (folder / name).mkdir(parents=True)
    for name in ("src/a.py", "src/b.py", "run.sh", "old/x"):
        (folder / name).write_text(f"the host's {name}\n")
    (folder / "data.bin").write_bytes(bytes(range(256)) * 20_000)
    (folder / "link").symlink_to("run.sh")
    (tmp_path / "outside").write_text("canary")
    return folder


@pytest.fixture
def changed(repository: Path, docker_engine: DockerEngine) -> Iterator[Sandbox]:
    with Sandbox(repo="overlay", repo_path=repository, engine=docker_engine) as sandbox:
        assert sandbox.run(ATTACK).ok
        yield sandbox


def test_what_is_taken_over_and_what_is_thrown_away(changed: Sandbox, repository: Path) -> None:
    before = snapshot(repository)
    found = {each.path: each for each in changed.changes()}
    assert {path for path, each in found.items() if each.refusal} == {"new/fifo", "new/absolute", "new/up", ".git"}
    assert not any(each.conflict for each in found.values())
    assert found["new/b.py"].source == "src/b.py"
    checked = changed.apply(["src", "*.sh"], check=True)
    assert snapshot(repository) == before
    # Of a file that was renamed each name is that of the whole change, with its new folder.
    assert [each.path for each in changed.apply(["src", "*.sh"]).done] == [each.path for each in checked.done]
    assert {each.path for each in checked.done} == {"src/a.py", "run.sh", "new", "new/b.py"}
    assert (repository / "run.sh").stat().st_mode & 0o7777 == 0o755
    with pytest.raises(NoSuchChangeError, match=r"nearest is 'new/fifo'"):
        changed.apply(["new/fifa"])
    gone = changed.discard()
    assert {each.path for each in gone} > {"data.bin", "old", "link", ".git", "new/closed"}
    assert changed.changes() == []
    script = "import hashlib; hashlib.sha256(open('data.bin', 'rb').read()).hexdigest() + open('old/x').read()"
    told = str(changed.run(script).result)
    assert "the host's old/x" in told
    assert hashlib.sha256((repository / "data.bin").read_bytes()).hexdigest() in told
    assert snapshot(repository).keys() == {"new", "new/b.py", *before} - {"src/b.py"}
    assert (repository.parent / "outside").read_text() == "canary"


def test_everything_at_once_and_then_again(changed: Sandbox, repository: Path) -> None:
    changed.changes()
    changed.run("open('src/a.py', 'a').write('import os\\n')")
    with pytest.raises(ApplyError, match=r"'src/a\.py' was changed in the sandbox after it was shown: look again"):
        changed.apply()
    assert (repository / "src/a.py").read_text() == "the host's src/a.py\n"
    assert (repository / "new/closed").stat().st_mode & 0o777 == 0o500
    assert (repository / "new/deep/line\nbreak").read_text() == "1"
    assert not (repository / ".git").exists()
    assert not (repository / "new/absolute").is_symlink()
    changed.changes()
    assert [each.path for each in changed.apply().done] == ["src/a.py"]
    (repository / "src/a.py").write_text("the host's once more")
    changed.run("open('src/a.py', 'a').write('more')")
    changed.changes()
    with pytest.raises(ApplyError, match=r"'src/a\.py' was changed on the host meanwhile"):
        changed.apply(["src/a.py"])
    changed.discard(["src/a.py"])
    assert "once more" in str(changed.run("open('src/a.py').read()").result)


def test_it_is_awaited_as_well(repository: Path, docker_engine: DockerEngine) -> None:
    async def work() -> tuple[list[str], list[str]]:
        async with AsyncSandbox(repo="overlay", repo_path=repository, engine=docker_engine) as sandbox:
            await sandbox.run("open('src/a.py', 'w').write('changed'); open('src/c.py', 'w').write('new')")
            await sandbox.changes()
            done = await sandbox.apply(["src/a.py"])
            gone = await sandbox.discard()
            return [each.path for each in done.done], [each.path for each in gone]

    assert asyncio.run(work()) == (["src/a.py"], ["src/c.py"])


def test_a_sandbox_without_a_view_of_its_own_says_so(docker_engine: DockerEngine) -> None:
    with Sandbox(repo="none", engine=docker_engine) as sandbox:
        for call in (sandbox.changes, sandbox.apply, sandbox.discard):
            with pytest.raises(ConfigurationError, match="has no view of its own"):
                call()


def test_what_git_looked_at_is_nothing_to_lose(changed: Sandbox) -> None:
    with pytest.raises(UnappliedChangesError):
        changed._session.view.refuse_to_lose("sandbox")
    changed.discard()
    changed._session.view.refuse_to_lose("sandbox")
