"""Files of git's configuration, read as git reads them, and with nothing secret left in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus_nb.git.config_file import (
    MASK,
    GitConfigError,
    Setting,
    clear_url,
    format_config,
    parse_config,
    value_of,
    without_secrets,
)

SAMPLE = """\ufeff# a comment
[core]
\tbare = false ; another
\tFileMode
[remote "origin"] url = "https://x/a;b" # after
\tfetch = +refs/heads/*:refs/remotes/origin/*
[Branch "a\\"b\\\\c"]
\tmerge = one \\
two   three  \x20
[alias.Sub]
\tl = "a\\tb" c
"""


def by_git(text: str, folder: Path) -> list[tuple[str, str | None]] | None:
    """Return names and values as git reads a file, or None where it does not."""
    file = folder / "config"
    file.write_bytes(os.fsencode(text))
    command = ["git", "config", "--file", str(file), "-z", "--list"]
    done = subprocess.run(command, capture_output=True, check=False, cwd="/")
    if done.returncode:
        return None
    records = [os.fsdecode(each).partition("\n") for each in done.stdout.split(b"\0")[:-1]]
    return [(name, value if newline else None) for name, newline, value in records]


def by_us(text: str) -> list[tuple[str, str | None]] | None:
    try:
        found = parse_config(text)
    except GitConfigError:
        return None
    return [(_full_name(each), each.value) for each in found]


def _full_name(each: Setting) -> str:
    return ".".join(part for part in (each.section, each.subsection, each.name) if part is not None)


def test_a_file_is_read_as_git_reads_it(tmp_path: Path) -> None:
    found = by_us(SAMPLE)
    assert found == by_git(SAMPLE, tmp_path)
    assert dict(found or ())['branch.a"b\\c.merge'] == "one two   three"
    assert by_git(format_config(parse_config(SAMPLE)), tmp_path) == found


SECTIONS = ("[a]", '[a "b"]', '[A "x\\"y"]', "[a.B]", "[", "]")
NAMES = ("k", "key=", "k = v\n", 'k = "v"\n', "url = https://u:p@h/\n", "=")
TEXTS = ("v", "a b", "1", "é", '"', "\\", "\\n", "\\\n", "#", ";", "\n", "\r\n", " ", "\t")
PIECES = st.sampled_from((*SECTIONS, *NAMES, *TEXTS))


@settings(max_examples=50, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_git_takes_for_a_setting_so_do_we(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Of what git reads nothing is missed, nor refused; what it refuses does not matter."""
    text = f"[s]\n{text}"
    theirs = by_git(text, tmp_path_factory.getbasetemp())
    ours = by_us(text)
    assert theirs is None or ours is not None
    if ours is not None and theirs is not None:
        assert _blank(ours) == _blank(theirs)
        assert by_git(format_config(parse_config(text)), tmp_path_factory.getbasetemp()) is not None


def _blank(found: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Blanks within a value are kept by newer gits and made spaces by older ones."""
    return [(name, value and "".join(value.split())) for name, value in found]


@pytest.mark.parametrize("text", ["[a", "a = b", '[a]\nk = "b', "[a]\nk = \\q", "[a]\n1k = 2", "[a]\nk v", '[a "b\n"]'])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(GitConfigError):
        parse_config(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:token@example.org/x.git", "https://example.org/x.git"),
        ("https://ghp_token@example.org/x.git", "https://example.org/x.git"),
        ("https://u:p@ss@example.org/", "https://example.org/"),
        ("HTTP://u:p@h:8080/a@b", "HTTP://h:8080/a@b"),
        ("ssh://git@example.org/x.git", "ssh://git@example.org/x.git"),
        ("ssh://git:word@example.org/x.git", "ssh://git@example.org/x.git"),
        ("ftp://u@h/", "ftp://h/"),
        ("git@example.org:team/x.git", "git@example.org:team/x.git"),
        ("https://example.org/~a/b@c", "https://example.org/~a/b@c"),
        ("https://h/x?private_token=abc&v=1", f"https://h/x?private_token={MASK}&v=1"),
        ("!x https://u:p@h/ y https://t@i/", "!x https://h/ y https://i/"),
        ("/srv/git/x.git", "/srv/git/x.git"),
    ],
)
def test_a_url_keeps_what_is_no_secret(url: str, shown: str) -> None:
    assert clear_url(url) == shown


SECRETS = """
[core]
\tbare = false
[remote "origin"]
\turl = https://bob:SECRET@example.org/x.git
\tpushurl = "https://SECRET@example.org/x.git"
[http "https://example.org/"]
\textraheader = AUTHORIZATION: basic SECRET
[http]
\tproxy = http://me:SECRET@proxy.test:3128
[url "https://oauth2:SECRET@example.org/"]
\tinsteadOf = https://example.org/
[submodule "lib"]
\turl = https://SECRET:x@example.org/lib.git
[credential]
\thelper = "!f() { echo password=SECRET; }; f"
[sendemail]
\tsmtpPass = SECRET
[github]
\ttoken = SECRET
[user]
\tname = Ann
"""


def test_no_secret_of_a_usual_kind_is_left() -> None:
    shown = without_secrets(parse_config(SECRETS))
    assert "SECRET" not in format_config(shown)
    assert value_of(shown, "user.name") == "Ann"
    assert value_of(shown, "core.bare") == "false"
    assert len(shown) == len(parse_config(SECRETS))


def test_the_last_value_holds() -> None:
    found = parse_config('[a]\nk = 1\nk\n[a "s"]\nk = 3\n')
    assert value_of(found, "a.k") == "true"
    assert value_of(found, "a.other") is None
