"""A seccomp profile of the user's own: what is no profile is said before anything is created."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chorus_nb.config import SandboxConfig
from chorus_nb.errors import ConfigurationError
from chorus_nb.seccomp import MAX_PROFILE_BYTES, seccomp_profile

DENIES: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


def profile_of(value: object) -> str:
    return seccomp_profile(SandboxConfig.from_options(seccomp=value).security)


@pytest.mark.parametrize("word", ["default", "unconfined"])
def test_the_words_are_no_files(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(word).write_text(json.dumps(DENIES))
    assert profile_of(word) == ""
    assert json.loads(profile_of(f"./{word}")) == DENIES


def test_the_text_of_a_file_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.json").write_text(json.dumps(DENIES, indent=8))
    config = SandboxConfig.from_options(seccomp="p.json")
    assert config.security.seccomp == str(tmp_path / "p.json")
    monkeypatch.chdir("/")
    assert json.loads(seccomp_profile(config.security)) == DENIES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "can't be read"),
        ("{", "can't be read"),
        (b"\xff\xfe", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ("[]", "no JSON object with a 'defaultAction'"),
        ("{}", "no JSON object with a 'defaultAction'"),
        ('{"defaultAction": 7}', "no JSON object with a 'defaultAction'"),
        ('{"defaultAction": "deny"}', "no JSON object with a 'defaultAction'"),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {}}', "'syscalls' is no list"),
        ('{"defaultAction": "SCMP_ACT_ALLOW"}', "forbids nothing.*seccomp='unconfined'"),
        ('{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}', "forbids nothing"),
        (" " * (MAX_PROFILE_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=words) as caught:
        profile_of(path)
    assert str(path) in str(caught.value)
    assert caught.value.next_step


def test_what_is_there_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="no regular file"):
            profile_of(path)
    with pytest.raises(ConfigurationError, match="There is no seccomp profile"):
        profile_of(tmp_path / "absent")
