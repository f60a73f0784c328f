"""The folder on the host behind an overlay: made for one session, removed with it, swept after a process was killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from unprivileged import NOBODY, said_by

from chorus_nb.engines.base import Volume
from chorus_nb.errors import EngineError, WorkingCopyError
from chorus_nb.view.overlay_folder import OverlayFolder, sweep_overlays, why_unfit
from chorus_nb.view.remove_tree import remove_tree


class NoEngine:
    """None of these folders was ever mounted, so no engine is to be asked."""

    def empty_work(self, volume: Volume) -> None:
        raise EngineError(f"was asked to mount {volume}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chorus-nb" / "overlays"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "a,b:c\\d e"
    folder.mkdir()
    return folder


def test_nobody_else_sees_into_it_and_its_root_looks_like_the_repositorys(cache: Path, repository: Path) -> None:
    repository.chmod(0o2775)
    folder = OverlayFolder.made_for(repository)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700 == stat.S_IMODE(cache.stat().st_mode)
    assert stat.S_IMODE(folder.upper.stat().st_mode) == 0o2775
    assert (folder.upper.stat().st_uid, folder.upper.stat().st_gid) == (repository.stat().st_uid, os.getgid())
    folder.remove(NoEngine())
    assert list(cache.iterdir()) == []


def test_the_root_of_anothers_repository_is_that_others(cache: Path, repository: Path) -> None:
    owner = (1234, 4321) if os.geteuid() == 0 else (os.getuid(), os.getgid())  # Only root may give folders away.
    os.chown(repository, *owner)
    folder = OverlayFolder.made_for(repository)
    assert (folder.upper.stat().st_uid, folder.upper.stat().st_gid) == owner
    folder.remove(NoEngine())


def test_no_name_of_a_repository_gets_into_the_options_of_the_mount(cache: Path, repository: Path) -> None:
    folder = OverlayFolder.made_for(repository)
    options = dict(each.split("=") for each in folder.volume.driver_options["o"].split(",") if "=" in each)
    assert options["upperdir"] == str(folder.upper)
    assert Path(options["lowerdir"]).resolve() == repository
    assert folder.copy.folder == repository
    folder.remove(NoEngine())


@pytest.mark.parametrize("name", ["a,b", "a:b", "a\\b", "a\nb", "n" * 200 + "/" + "n" * 200 + "/" + "n" * 700])
def test_a_cache_whose_name_a_mount_cant_hold_is_unfit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", f"/{name}")
    assert "can't hold" in why_unfit(Path("/repository"))
    monkeypatch.setenv("XDG_CACHE_HOME", "/a b/ä")
    assert why_unfit(Path("/repository")) == ""


def test_a_cache_in_the_repository_itself_is_unfit(cache: Path, repository: Path, tmp_path: Path) -> None:
    assert "lies in the repository" in why_unfit(tmp_path.resolve())
    assert why_unfit(repository) == ""


def test_no_place_for_it_is_said_with_the_next_step(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WorkingCopyError, match=r"can't be made: Not a directory. .*XDG_CACHE_HOME"):
        OverlayFolder.made_for(repository)


def test_a_repository_that_is_gone_leaves_nothing_behind(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkingCopyError, match="No such file"):
        OverlayFolder.made_for(tmp_path / "missing")
    assert list(cache.iterdir()) == []


PROGRAM = """
import os, sys
from pathlib import Path
from chorus_nb.view.overlay_folder import OverlayFolder
folder = OverlayFolder.made_for(Path(sys.argv[1]))
(folder.upper / "a").mkdir()
print(folder.path, flush=True)
if input() == "fork":
    child = os.fork()
    if not child:
        sys.exit()
    os.waitpid(child, 0)
    print(folder.path.exists(), flush=True)
    input()
"""


def owner(repository: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that makes such a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(repository)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_swept_and_what_lives_is_not(cache: Path, repository: Path) -> None:
    process, left = owner(repository)
    mine = OverlayFolder.made_for(repository)
    (cache / "unknown.owner").symlink_to("nobody knows")
    sweep_overlays(NoEngine())
    assert left.exists()
    process.kill()
    process.communicate()
    sweep_overlays(NoEngine())
    assert not left.exists()
    assert {each.name for each in cache.iterdir()} == {mine.path.name, f"{mine.path.name}.owner", "unknown.owner"}
    mine.remove(NoEngine())


def test_a_process_that_ends_takes_its_own_along_and_its_fork_does_not(cache: Path, repository: Path) -> None:
    process, left = owner(repository)
    said, _ = process.communicate("fork\n\n")
    assert said == "True\n"
    assert not left.exists()
    assert list(cache.iterdir()) == []


def test_nothing_to_sweep(cache: Path) -> None:
    sweep_overlays(NoEngine())
    assert not cache.exists()


# Removal


def test_a_tree_is_removed_however_closed_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").symlink_to("kept")
    outside.chmod(0o500)
    inner = tmp_path / "root" / "a" / "b"
    inner.mkdir(parents=True)
    for folder in (tmp_path / "root", tmp_path / "root" / "a", inner):
        (folder / "link").symlink_to(outside)
        (folder / "file").write_text("x")
        os.mkfifo(folder / "fifo")
    for folder in (inner, inner.parent):
        folder.chmod(0)
    remove_tree(tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert [each.name for each in outside.iterdir()] == ["kept"]
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500


def test_what_a_group_shares_is_removed_by_who_is_in_it() -> None:
    """The kernel copies a folder with its owner and mode, which only the owner may change."""
    team = 4399
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        top = Path(name, "upper")
        (top / "theirs" / "inner").mkdir(parents=True)
        (top / "theirs" / "inner" / "file").write_text("x")
        for each in (top, *top.rglob("*")):
            if os.geteuid() == 0:
                os.chown(each, NOBODY if each == top else 0, team)
            each.chmod(0o770)
        said_by(NOBODY, lambda: str(remove_tree(top)), groups=[team])
        assert not top.exists()


def test_a_tree_is_removed_however_deep(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    folder = os.open(tmp_path / "root", os.O_RDONLY)
    for _ in range(1100):  # More than a path may have, than descriptors are there, and than calls can be nested.
        os.mkdir("folder", dir_fd=folder)
        inner = os.open("folder", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    remove_tree(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_tree_that_is_gone_is_fine_and_a_link_to_one_is_not_followed(tmp_path: Path) -> None:
    remove_tree(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "link")
    assert (tmp_path / "folder").is_dir()
