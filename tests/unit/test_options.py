"""The options of a sandbox on a command line."""

from __future__ import annotations

from argparse import ArgumentParser

import pytest

from chorus_nb.config import OPTIONS, SandboxConfig
from chorus_nb.errors import ConfigurationError
from chorus_nb.options import CELL_OPTIONS, add_policy_arguments, as_arguments, given


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser(allow_abbrev=False)
    add_policy_arguments(parser)
    return parser


def test_they_make_a_configuration(parser: ArgumentParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "a=b c")
    words = ["--memory", "256m", "--read-only-root=false", "--env", "TOKEN", "--env", "X=1=2", "--network=bridge"]
    config = SandboxConfig.from_options(**given(parser.parse_args(words)))
    assert config.limits.memory_bytes == 256 * 2**20
    assert not config.security.read_only_root
    assert config.environment == {"TOKEN": "a=b c", "X": "1=2"}
    assert config.network.mode == "bridge"


def test_what_is_true_or_false_is_turned_on_by_its_name(parser: ArgumentParser) -> None:
    found = given(parser.parse_args(["--git-credentials", "--git-protect", "false", "--read-only-root"]))
    assert found == {"git_credentials": "true", "git_protect": "false", "read_only_root": "true"}


def test_nothing_given_is_nothing(parser: ArgumentParser) -> None:
    assert given(parser.parse_args([])) == {}
    assert as_arguments(parser.parse_args([])) == []


def test_another_program_gets_the_same(parser: ArgumentParser) -> None:
    words = ["--profile", "strict", "--user", "1:1", "--memory", "256m", "--timeout", "5", "--max-output", "1m"]
    words += ["--env", "A=1", "--env", "B=x y"]
    first = parser.parse_args(words)
    assert parser.parse_args(as_arguments(first)) == first


def test_a_variable_that_is_not_there_is_named(parser: ArgumentParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    with pytest.raises(ConfigurationError, match="--env MISSING"):
        given(parser.parse_args(["--env", "MISSING"]))


def test_every_option_is_there(parser: ArgumentParser) -> None:
    names = {action.dest for action in parser._actions}
    assert {*OPTIONS, *CELL_OPTIONS, "profile"} <= names


def test_kernelspecs_have_a_user_of_their_own() -> None:
    parser = ArgumentParser(allow_abbrev=False)
    add_policy_arguments(parser, leave_out=("user",))
    assert "user" not in given(parser.parse_args([]))
    with pytest.raises(SystemExit):
        parser.parse_args(["--user", "1:1"])
