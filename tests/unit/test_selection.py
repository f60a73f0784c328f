"""What of a folder is masked: by secrets' names, by patterns, by what can't be looked at."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chorus_nb import selection
from chorus_nb.config import RepositoryMount
from chorus_nb.engines.base import Mask
from chorus_nb.errors import ConfigurationError
from chorus_nb.likely_secrets import FILES, FOLDERS, PLACES
from chorus_nb.selection import Selection, secret_on_the_way, select


def make(folder: Path, *paths: str) -> None:
    """Make empty files, and folders for what ends with a slash."""
    for path in paths:
        place = folder / path
        (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            place.touch()


def masked(folder: Path, whole_tree: bool = False, **wanted: Any) -> dict[str, str]:
    """Return the paths that are masked, a folder's with a slash behind it, each with the reason."""
    found = select(folder, RepositoryMount(**wanted), whole_tree=whole_tree)
    assert all(found.hides(each.path) for each in found.masked)
    return {each.path + "/" * (each.kind == "directory"): each.why for each in found.masked}


def seen(folder: Path, **wanted: Any) -> set[str]:
    """Return the files that are left to be seen."""
    found = select(folder, RepositoryMount(**wanted), whole_tree=False)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return {path for path in files if not found.hides(path)}


def test_secrets_are_masked_without_being_asked_for(tmp_path: Path) -> None:
    make(tmp_path, ".env", ".env.example", "a/b/id_rsa", "a/.ssh/config", "a/main.py", ".docker/config.json", "x.PEM")
    assert masked(tmp_path) == dict.fromkeys(
        [".docker/config.json", ".env", "a/.ssh/", "a/b/id_rsa", "x.PEM"], "secret"
    )


def test_patterns_that_fit_nothing_change_nothing(tmp_path: Path) -> None:
    """With patterns each name is looked at, without them those alone that may matter."""
    names = [pattern.replace("*", "x") for pattern in (*FILES, *FOLDERS)]
    make(tmp_path, *names, *(f"a/{each}" for each in PLACES), *(f"b/{name}/" for name in names), "c/main.py", "d/.git")
    os.mkfifo(tmp_path / "c" / "fifo")
    (tmp_path / "c" / "plain").symlink_to("main.py")
    (tmp_path / "c" / "x.key").symlink_to("main.py")
    one, other = (select(tmp_path, RepositoryMount(exclude=each), whole_tree=True) for each in ((), ("nothing-of-it",)))
    assert one == other
    assert len(one.masked) > len(names)


def test_the_user_may_show_some(tmp_path: Path) -> None:
    make(tmp_path, ".env", "tests/certs/a.key", "tests/b.key", "certs/.ssh/x", "live/c.key")
    assert masked(tmp_path, show_secrets=["tests/", ".ssh"]) == {".env": "secret", "live/c.key": "secret"}


def test_names_that_mask_each_have_masks_where_the_folder_is_mounted(tmp_path: Path) -> None:
    make(tmp_path, "a/.env", ".ssh/key")
    found = select(tmp_path, RepositoryMount(), whole_tree=False)
    assert found.masks("/workspace") == (Mask("/workspace/.ssh", True), Mask("/workspace/a/.env", False))
    assert found.hides(".ssh/key")
    assert not found.hides("a")
    assert not found.hides(".sshx")


EXCLUDED: list[tuple[list[str], set[str]]] = [
    (["*.csv"], {"keep.txt", "data/b.txt", "data/deep/c.txt", "src/data/e.txt"}),
    (["data/"], {"a.csv", "keep.txt"}),
    (["/data"], {"a.csv", "keep.txt", "src/data/e.txt"}),
    (["data/*", "!data/b.txt"], {"a.csv", "keep.txt", "data/b.txt", "src/data/e.txt"}),
    (["/data/**", "!/data/deep/c.txt"], {"a.csv", "keep.txt", "src/data/e.txt"}),
    (["**/deep/*.txt"], {"a.csv", "keep.txt", "data/a.csv", "data/b.txt", "src/data/e.txt"}),
    (["data"], {"a.csv", "keep.txt"}),
    (["*.csv", "!*.csv"], {"a.csv", "keep.txt", "data/a.csv", "data/b.txt", "data/deep/c.txt", "src/data/e.txt"}),
    (["[ab].???", "KEEP.TXT"], {"keep.txt", "data/deep/c.txt", "src/data/e.txt"}),
]


@pytest.mark.parametrize(("patterns", "left"), EXCLUDED, ids=str)
def test_what_is_excluded_is_what_git_would_ignore(tmp_path: Path, patterns: list[str], left: set[str]) -> None:
    make(tmp_path, "a.csv", "keep.txt", "data/a.csv", "data/b.txt", "data/deep/c.txt", "src/data/e.txt")
    assert seen(tmp_path, exclude=patterns) == left
    # And by Git itself, as the patterns of a .gitignore.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("\n".join(patterns))
    words = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard", "-z"]
    assert set(subprocess.check_output(words, text=True).split("\0")) - {""} == left


def test_only_what_is_included_is_seen(tmp_path: Path) -> None:
    make(tmp_path, "src/a.py", "src/b.txt", "src/.env", "docs/x/y.md", "top.py", "empty/", ".git/config")
    assert masked(tmp_path, include=["src/"]) == {
        "src/.env": "secret",
        "docs/": "not included",
        "empty/": "not included",
        "top.py": "not included",
    }
    assert seen(tmp_path, include=["*.py", "*.md"], exclude=["docs/x"]) == {"src/a.py", "top.py", ".git/config"}
    assert seen(tmp_path, include=["src/**", "!*.txt"]) == {"src/a.py", ".git/config"}


def test_git_ignores(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "keep.log", "sub/b.log", "sub/c.tmp", "sub/deep/c.tmp", "build/x", "x.local", ".git/a.log")
    (tmp_path / ".gitignore").write_text("# comment\n*.log\r\n!keep.log\nbuild/\n")
    (tmp_path / "sub" / ".gitignore").write_text("\ufeff/c.tmp\n!b.log\n")
    make(tmp_path, ".git/info/")
    (tmp_path / ".git" / "info" / "exclude").write_text("*.local\n")
    assert masked(tmp_path, respect_gitignore=True) == dict.fromkeys(
        ["a.log", "build/", "sub/c.tmp", "x.local"], "ignored by git"
    )
    assert masked(tmp_path) == {}


def test_a_gitignore_that_is_no_file_says_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "real")
    (tmp_path / "real").write_text("*.log\n")
    (tmp_path / ".gitignore").symlink_to("real")
    assert masked(tmp_path, respect_gitignore=True) == {}
    (tmp_path / ".gitignore").unlink()
    os.mkfifo(tmp_path / ".gitignore")
    assert masked(tmp_path, respect_gitignore=True) == {".gitignore": "no file"}


@pytest.mark.parametrize(
    "text", ["a*b*c*d*e*f\n", "x\n" * 1001, "x" * (2**20 + 1), "!\n", "**/a/**/b/**/c/**/d", "[y-[a]\n"]
)
def test_a_gitignore_that_cannot_be_kept_to_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / ".gitignore").write_text(text)
    with pytest.raises(ConfigurationError, match=r"\.gitignore' can't be kept to: .*respect_gitignore"):
        masked(tmp_path, respect_gitignore=True)


def test_gits_own_folder_is_seen_but_for_its_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, ".git/refs/heads/id_rsa", ".git/refs/heads/.env", "sub/.git/config", "tree/.git")
    monkeypatch.chdir(tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(".git/fsmonitor--daemon.ipc")
    listener.close()
    assert masked(tmp_path) == {".git/fsmonitor--daemon.ipc": "no file"}
    assert masked(tmp_path, exclude=[".git/"]) == {".git/": "excluded", "sub/.git/": "excluded"}


def repositories_in(folder: Path, **wanted: Any) -> tuple[str, ...]:
    """Return where git repositories may be."""
    return select(folder, RepositoryMount(**wanted), whole_tree=False).repositories


def test_git_repositories_are_met_on_the_way(tmp_path: Path) -> None:
    deep = "d/" * 200
    make(
        tmp_path,
        ".git/",
        "a/.git/x/.git",
        "b/.git",
        "c/.git/",
        f"{deep}.git",
        "plain/refs/",
        "plain/HEAD",
        "Git/.GIT/x",
    )
    make(tmp_path, "bare/HEAD", "bare/objects/", "bare/refs/", "outside/.git")
    (tmp_path / "link").mkdir()
    (tmp_path / "link/.git").symlink_to("../a/.git")
    (tmp_path / "led").symlink_to("a")
    (tmp_path / "loop").symlink_to(".")
    places = ("a", "b", "bare", "c", deep[:-1], "link", "outside")
    assert repositories_in(tmp_path) == repositories_in(tmp_path, respect_gitignore=True) == places
    assert repositories_in(tmp_path, include=["*.py"]) == ("a", "b", "c", deep[:-1], "link", "outside")
    assert repositories_in(tmp_path, exclude=["d/", "/c", "bare/refs"]) == ("a", "b", "bare", "link", "outside")


def test_git_repositories_are_met_however_many_folders_there_are(tmp_path: Path) -> None:
    for number in range(20_500):
        os.mkdir(f"{tmp_path}/{number}")
    some = [str(number) for number in range(0, 20_500, 500)]
    make(tmp_path, *(f"{each}/.git" for each in some))
    assert repositories_in(tmp_path) == tuple(sorted(some))


def test_sockets_and_pipes_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/")
    os.mkfifo(tmp_path / "a" / "fifo")
    monkeypatch.chdir(tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.close()
    assert masked(tmp_path) == {"a/fifo": "no file", "socket": "no file"}


def test_a_link_with_the_name_of_a_secret_leads_to_one(tmp_path: Path) -> None:
    make(tmp_path, "config/production", "config/dir/x", "plain", "outside")
    (tmp_path / ".env").symlink_to("config/production")
    (tmp_path / "config" / "id_rsa").symlink_to(tmp_path / "config" / "dir")
    (tmp_path / "x.key").symlink_to("/etc/hostname")
    (tmp_path / "y.key").symlink_to("nowhere")
    (tmp_path / "z.key").symlink_to(".")
    (tmp_path / "harmless").symlink_to("plain")
    found = select(tmp_path, RepositoryMount(), whole_tree=False)
    assert {mask.path: mask.is_folder for mask in found.masks("/w")} == {
        "/w/config/production": False,
        "/w/config/dir": True,
    }
    # A copy leaves out the links, too.
    assert all(found.hides(name) for name in (".env", "config/id_rsa", "x.key", "y.key", "z.key"))
    assert not found.hides("harmless")


@pytest.mark.parametrize("name", ["new\nline.key", "tab\t.key", "ünïcode.key", "a, b:c.key", '"quoted".key', " .key"])
def test_odd_names_are_masked_as_they_are(tmp_path: Path, name: str) -> None:
    make(tmp_path, name)
    assert list(masked(tmp_path)) == [name]


def test_where_a_name_is_no_text_the_folder_around_it_is_masked(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "a" / "b")
    os.makedirs(folder + b"/\xff")
    for name in (b"/\xff/.env", b"/\xfe.key", b"/id_rsa", b"/plain"):
        with open(folder + name, "w"):
            pass
    assert masked(tmp_path) == {"a/b/": "secret"}


def test_at_the_top_such_a_name_is_an_error(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.key", "w"):
        pass
    with pytest.raises(ConfigurationError, match=r"is no UTF-8.* Rename it"):
        masked(tmp_path)


def test_cases_that_clash_are_masked_alike(tmp_path: Path) -> None:
    make(tmp_path, ".env", ".ENV", ".Env", "A/ID_RSA", "a/id_rsa")
    assert len(masked(tmp_path)) == 5


def test_a_tree_too_deep_to_be_looked_at_is_masked_where_it_begins_to_be(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(100):
        folder = folder / "d"
    make(folder, ".env")
    assert list(masked(tmp_path)) == ["d/" * 100 + ".env"]
    name, here = "n" * 250, os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # Deeper than a path can say.
        os.mkdir(name, dir_fd=here)
        deeper = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open(".env", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    deep = [path for path, why in masked(tmp_path).items() if why == "out of reach"]
    assert len(deep) == 1
    assert 2500 < len(deep[0]) < 3300


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    make(tmp_path, "a/b/.env")
    (tmp_path / "a" / "b" / "up").symlink_to("..")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop.key").symlink_to("loop.key")
    assert masked(tmp_path) == {"a/b/.env": "secret", "loop.key": "secret"}


# Bounds


def test_too_many_masks_name_the_folder_with_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_MASKS", 10)
    make(tmp_path, *(f"certs/{number}.key" for number in range(9)), "a.key", "b/c.key")
    found = select(tmp_path, RepositoryMount(), whole_tree=False)
    with pytest.raises(
        ConfigurationError, match=r"more than 10 files to mask, most of them in 'certs' \(9\)"
    ) as caught:
        found.masks("/workspace")
    assert "--exclude" in caught.value.next_step
    assert len(select(tmp_path, RepositoryMount(exclude=["certs/"]), whole_tree=False).masks("/workspace")) == 3


def test_a_repository_that_is_too_large_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"big/{number}" for number in range(50)), "small/x")
    monkeypatch.setattr(selection, "MAX_ENTRIES", 20)
    with pytest.raises(ConfigurationError, match=r"too large to be looked through.* Most were in 'big'"):
        masked(tmp_path)
    assert masked(tmp_path, exclude=["big/"]) == {"big/": "excluded"}
    monkeypatch.setattr(selection, "MAX_SCAN_S", -1.0)
    with pytest.raises(ConfigurationError, match="too large to be looked through"):
        masked(tmp_path, exclude=["big/"])


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        masked(tmp_path / "gone")


# Where somebody asks for a path himself


def test_the_name_on_the_way_that_is_a_secrets(tmp_path: Path) -> None:
    make(tmp_path, ".ssh/known_hosts", "data/x.csv", "data/key.pem", ".aws/")
    assert secret_on_the_way(tmp_path / ".ssh" / "known_hosts", ()) == ".ssh"
    assert secret_on_the_way(tmp_path / "data" / "key.pem", ()) == "key.pem"
    assert secret_on_the_way(tmp_path / ".aws", ()) == ".aws"
    assert secret_on_the_way(tmp_path / ".aws", (".aws",)) is None
    assert secret_on_the_way(tmp_path / "data" / "x.csv", ()) is None


def test_nothing_is_hidden_of_a_selection_without_masks(tmp_path: Path) -> None:
    assert not Selection(tmp_path).hides("a/b")
    assert Selection(tmp_path).masks("/workspace") == ()
