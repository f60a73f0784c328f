"""Who goes before whom: built-in defaults, profiles, the user's file, a repository's, a notebook's, what is typed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chorus_nb.config import OPTIONS, SandboxConfig
from chorus_nb.config.option import free
from chorus_nb.errors import ConfigurationError, PolicyLoosenedError
from chorus_nb.sandbox import Sandbox
from chorus_nb.settings import (
    DEFAULTS,
    NAMES,
    PROFILES,
    Settings,
    TrustStore,
    named_profile,
    read_section,
    repository_section,
    resolve,
    user_file,
)
from chorus_nb.settings.trust import trust_file
from chorus_nb.settings.values import no_looser


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / ".git").mkdir(parents=True)
    return folder


def user(text: str) -> Path:
    path = user_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def chorus(repository: Path, text: str) -> Path:
    path = repository / "chorus.toml"
    path.write_text(text)
    return path


def trust(path: Path) -> None:
    TrustStore().add(path, read_section(path))


def sources(settings: Settings, *names: str) -> list[str]:
    return [settings.source(name).label for name in names]


# Who goes before whom


def test_each_layer_goes_before_those_below(repository: Path) -> None:
    user("memory = '900m'\npids = 100\ncpus = 0.9\ntimeout = 60")
    chorus(repository, "memory = '800m'\npids = 90\ntimeout = 50")
    notebook = repository / "n.ipynb"
    notebook.write_text(json.dumps({"metadata": {"chorus": {"memory": "700m", "timeout": 40}}}))
    settings = resolve(repository, {"memory": "3g"}, notebook)
    assert [settings.text(name) for name in ("memory", "pids", "cpus", "timeout", "tmp")] == [
        *("3g", "90", "0.9", "40s", "256m"),
    ]
    assert sources(settings, "memory", "pids", "timeout", "tmp") == ["typed", "chorus.toml", "n.ipynb", "default"]
    assert str(settings.source("cpus")) == str(user_file())


def test_a_typed_profile_is_whole_and_stands_in_place_of_the_users_own_options(repository: Path) -> None:
    user("network = 'bridge'\nrepo = 'rw'\nimage = 'python:3-slim'")
    settings = resolve(repository, {"profile": "strict", "pids": 70})
    assert settings.config == SandboxConfig.from_options(**{**PROFILES["strict"], "pids": 70})
    assert settings.profile == "strict"
    assert sources(settings, "profile", "memory", "network", "pids") == ["typed", "profile strict", "default", "typed"]


def test_a_profile_in_the_users_file_is_what_its_options_build_on(repository: Path) -> None:
    user("profile = 'untrusted'\nmemory = '3g'")
    settings = resolve(repository, {})
    assert (settings.profile, settings.text("memory"), settings.text("repo")) == ("untrusted", "3g", "none")


def test_a_profile_of_the_users_own(repository: Path) -> None:
    user("memory = '3g'\n[profiles.big]\nmemory = '8g'\nimage = 'python:3-slim'\ntimeout = '1h'")
    settings = resolve(repository, {"profile": "big"})
    assert (settings.text("memory"), settings.config.image, settings.text("timeout")) == (
        *("8g", "python:3-slim", "3600s"),
    )
    assert resolve(repository, {}).profile == "default"


def test_variables_add_to_those_of_the_profile(repository: Path) -> None:
    environment = resolve(repository, {"profile": "tutorial", "env": {"A": "1"}}).config.environment
    assert environment == {**PROFILES["tutorial"]["env"], "A": "1"}


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_can_be_had_and_only_the_tutorial_asks_for_more(name: str) -> None:
    profile = named_profile(name)
    looser = {option for option in NAMES if not no_looser(option, profile, DEFAULTS)}
    assert looser == ({"memory", "env"} if name == "tutorial" else set())


@pytest.mark.parametrize("name", ["huge", "", "Strict", 3, ["strict"]])
def test_a_profile_that_is_none_is_refused_with_those_there_are(repository: Path, name: Any) -> None:
    user("[profiles.big]\nmemory = '8g'")
    with pytest.raises(ConfigurationError, match=r"no profile.*default, strict, tutorial, untrusted, big"):
        resolve(repository, {"profile": name})


# From Python: no files but for the name of a profile


def test_a_sandbox_made_in_python_reads_no_file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    user("memory = '900m'\n[profiles.big]\nmemory = '8g'\ntimeout = '1m'")
    chorus(repository, "pids = 20")
    assert Sandbox().config == SandboxConfig()
    assert Sandbox(profile="strict", cpus=1).config == SandboxConfig.from_options(**{**PROFILES["strict"], "cpus": 1})
    assert Sandbox(profile="big").config.limits.memory_bytes == 8 * 2**30
    user_file().write_text("broken")
    assert Sandbox(profile="strict").config.repository.mode == "none"
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        Sandbox(profile="big")


@pytest.mark.parametrize(
    "options",
    [{"config": SandboxConfig(), "profile": "strict"}, {"gauge": "on"}, {"memry": 1}, {"profile": ["strict"]}],
)
def test_a_sandbox_in_python_refuses_what_can_not_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Sandbox(**options)


# What a repository may do


def test_a_repository_may_name_a_profile_that_tightens(repository: Path) -> None:
    user("pids = 40\nmemory = '4g'\nimage = 'python:3-slim'")
    chorus(repository, "profile = 'strict'\ncpus = 0.2")
    settings = resolve(repository, {})
    found = [settings.text(name) for name in ("pids", "memory", "cpus", "repo", "timeout", "image")]
    assert found == ["40", "512m", "0.2", "none", "30s", "python:3-slim"]
    assert sources(settings, "memory", "cpus") == ["chorus.toml, profile 'strict'", "chorus.toml"]


def test_what_stands_beside_a_profile_goes_before_it(repository: Path) -> None:
    path = chorus(repository, "profile = 'strict'\nmemory = '800m'\nrepo = 'ro'")
    settings = resolve(repository, {})
    assert [settings.text(name) for name in ("memory", "repo", "pids")] == ["800m", "ro", "64"]
    path.write_text("profile = 'tutorial'\nmemory = '800m'")
    with pytest.raises(PolicyLoosenedError, match=r"line 1, profile 'tutorial': env"):
        resolve(repository, {})
    path.write_text("profile = 'strict'\nmemory = '2g'")
    with pytest.raises(PolicyLoosenedError, match=r"line 2: memory"):
        resolve(repository, {})


def test_a_repository_may_not_name_a_profile_that_loosens(repository: Path) -> None:
    chorus(repository, "pids = 20\nprofile = 'tutorial'")
    with pytest.raises(PolicyLoosenedError, match=r"chorus\.toml, line 2, profile 'tutorial': memory may be tightened"):
        resolve(repository, {})


def test_a_modest_repository_is_no_mistake_where_the_user_is_stricter_still(repository: Path) -> None:
    user("memory = '256m'")
    chorus(repository, "memory = '800m'")
    assert resolve(repository, {}).text("memory") == "256m"
    chorus(repository, "memory = '2g'")
    with pytest.raises(PolicyLoosenedError):
        resolve(repository, {})


def test_what_is_typed_is_not_looked_at_in_the_repository(repository: Path) -> None:
    chorus(repository, "memory = '2g'")
    assert resolve(repository, {"memory": "3g"}).text("memory") == "3g"


def test_a_typed_profile_is_tightened_by_the_repository_too(repository: Path) -> None:
    chorus(repository, "pids = 20")
    assert resolve(repository, {"profile": "strict"}).text("pids") == "20"


def test_two_files_of_a_repository_are_one_too_many(repository: Path) -> None:
    chorus(repository, "pids = 20")
    (repository / "pyproject.toml").write_text("[project]\nname = 'x'")
    assert resolve(repository, {}).text("pids") == "20"
    (repository / "pyproject.toml").write_text("[tool.chorus-nb]\npids = 30")
    with pytest.raises(ConfigurationError, match=r"chorus\.toml and .*pyproject\.toml"):
        resolve(repository, {})


def test_a_repository_may_hide_more_of_itself(repository: Path) -> None:
    user("exclude = ['*.csv']\nshow_secrets = ['.env', 'a.key']")
    text = "exclude = ['*.csv', 'data/']\ninclude = ['src/']\nrespect_gitignore = true\numask = '077'\n"
    chorus(repository, f"{text}show_secrets = ['a.key']")
    settings = resolve(repository, {})
    names = ("exclude", "include", "respect_gitignore", "umask", "show_secrets")
    assert [settings.text(name) for name in names] == ["*.csv,data/", "src/", "true", "077", "a.key"]


@pytest.mark.parametrize(
    "text",
    [
        "exclude = ['*.csv', '!a.csv']",
        "exclude = ['!x']",
        "show_secrets = ['.env']",
        "umask = '002'",
        "mount = ['data:/data']",
        "volume = ['cache:/cache']",
    ],
)
def test_a_repository_may_neither_show_nor_mount_more(repository: Path, text: str) -> None:
    user("exclude = ['*.csv']\ninclude = ['src/']\nrespect_gitignore = true")
    chorus(repository, text)
    with pytest.raises(PolicyLoosenedError, match=text.partition(" ")[0]):
        resolve(repository, {})


@pytest.mark.parametrize("text", ["exclude = ['data/', '*.csv']", "include = ['docs/']", "respect_gitignore = false"])
def test_what_the_user_hides_stays_hidden_where_a_repository_hides_something_else(repository: Path, text: str) -> None:
    user("exclude = ['*.csv']\ninclude = ['src/']\nrespect_gitignore = true")
    chorus(repository, text)
    settings = resolve(repository, {})
    assert [settings.text(name) for name in ("exclude", "include", "respect_gitignore")] == ["*.csv", "src/", "true"]


def test_a_trusted_file_names_folders_from_where_it_lies(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(chorus(repository, "mount = ['data:/data', '~/x:/x:rw', '/srv:/srv']"))
    monkeypatch.chdir(tmp_path)
    mounts = resolve(repository, {}).config.mounts.mount
    assert mounts == tuple(sorted((f"{repository}/data:/data:ro", f"{Path.home()}/x:/x:rw", "/srv:/srv:ro")))


# Trust


def test_a_trusted_file_loosens(repository: Path) -> None:
    user("memory = '900m'\npids = 64")
    path = chorus(repository, "memory = '4g'\nenv = { A = '1' }\nrepo_path = 'sub'")
    with pytest.raises(PolicyLoosenedError, match=f"chorus-nb config trust {path}"):
        resolve(repository, {})
    trust(path)
    settings = resolve(repository, {})
    assert (settings.text("memory"), settings.text("env"), settings.text("pids")) == ("4g", "A", "64")
    assert settings.config.repository.path == repository / "sub"
    assert resolve(repository, {"memory": "1g"}).text("memory") == "1g"


def test_trust_ends_where_the_file_asks_for_something_else(repository: Path) -> None:
    path = chorus(repository, "memory = '4g'")
    trust(path)
    path.write_text("memory = '5g'")
    with pytest.raises(PolicyLoosenedError, match="has changed since you trusted it"):
        resolve(repository, {})
    path.write_text("# the same\nmemory = '4g'")
    assert resolve(repository, {}).text("memory") == "4g"


def test_trust_is_for_one_place(repository: Path, tmp_path: Path) -> None:
    trust(chorus(repository, "memory = '4g'"))
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    chorus(other, "memory = '4g'")
    with pytest.raises(PolicyLoosenedError):
        resolve(other, {})


def test_trust_is_in_what_was_shown_and_not_in_what_stands_there_by_now(repository: Path) -> None:
    path = chorus(repository, "memory = '4g'")
    shown = read_section(path)
    path.write_text("network = 'bridge'")
    TrustStore().add(path, shown)
    with pytest.raises(PolicyLoosenedError, match="network"):
        resolve(repository, {})


def test_the_rest_of_a_project_file_may_change(repository: Path) -> None:
    path = repository / "pyproject.toml"
    path.write_text("[tool.chorus-nb]\nmemory = '4g'")
    trust(path)
    path.write_text("[project]\nversion = '2'\n[tool.chorus-nb]\nmemory = '4g'")
    assert resolve(repository, {}).text("memory") == "4g"


def test_a_notebook_stays_trusted_when_it_is_saved_with_outputs(repository: Path) -> None:
    path = repository / "n.ipynb"
    document = {"cells": [], "metadata": {"chorus": {"memory": "4g"}}}
    path.write_text(json.dumps(document))
    trust(path)
    path.write_text(json.dumps({**document, "cells": [{"cell_type": "code", "outputs": ["new"]}]}))
    assert resolve(repository, {}, path).text("memory") == "4g"
    path.write_text(json.dumps({"metadata": {"chorus": {"memory": "8g"}}}))
    with pytest.raises(PolicyLoosenedError, match=r"n\.ipynb"):
        resolve(repository, {}, path)


def test_a_trusted_file_does_not_loosen_a_profile_that_is_typed(repository: Path) -> None:
    trust(chorus(repository, "network = 'bridge'\nmemory = '4g'\npids = 20"))
    assert resolve(repository, {}).text("network") == "bridge"
    settings = resolve(repository, {"profile": "strict"})
    assert [settings.text(name) for name in ("network", "memory", "pids")] == ["none", "512m", "20"]


def test_the_list_is_the_users_alone_and_forgets_what_it_is_told_to(repository: Path) -> None:
    path = chorus(repository, "memory = '4g'")
    store = TrustStore()
    store.add(path, read_section(path))
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in store.path.parent.iterdir()] == [store.path.name]
    assert store.knows(path)
    assert store.remove(path)
    assert not store.remove(path)
    assert not store.trusts(read_section(path))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": 1}', "{" * 100_000])
def test_a_broken_list_trusts_nothing(repository: Path, content: str) -> None:
    path = chorus(repository, "memory = '4g'")
    trust(path)
    trust_file().write_text(content)
    with pytest.raises(ConfigurationError, match=r"trusted\.json"):
        resolve(repository, {})


@pytest.mark.parametrize("which", [user_file, trust_file])
def test_what_others_may_write_is_not_the_users(repository: Path, which: Any) -> None:
    trust(chorus(repository, "memory = '4g'"))
    user("pids = 64")
    which().chmod(0o666)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        resolve(repository, {})


def test_a_sandbox_that_could_write_the_users_own_files_is_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        with monkeypatch.context() as patch:
            # A link leads there, and no file of ours is there yet: the sandbox could make it.
            (tmp_path / variable).symlink_to(repository)
            patch.setenv(variable, str(tmp_path / variable))
            assert resolve(repository, {}).text("repo") == "ro"
            with pytest.raises(ConfigurationError, match="your own configuration"):
                resolve(repository, {"repo": "rw"})
            with pytest.raises(ConfigurationError, match="your own configuration"):
                Sandbox(repo="rw", repo_path=repository)
            with pytest.raises(ConfigurationError, match="your own configuration"):
                resolve(repository, {"mount": f"{repository}:/data:rw"})
            resolve(repository, {"mount": f"{repository}:/data"})
    assert resolve(repository, {"repo": "rw"}).text("repo") == "rw"


def test_what_belongs_to_somebody_else_is_not_the_users(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = user("pids = 64")
    if os.getuid():
        monkeypatch.setattr(os, "getuid", lambda: 4242)
    else:
        os.chown(path, 4242, 4242)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        resolve(repository, {})


# Mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pids = 20\nmemry = '1g'", r"line 2: There is no option 'memry'\. Did you mean 'memory'\?"),
        ("pids = 20\n\n'memory' = 'much'", r"line 3: memory='much' is not allowed"),
        ("timeout = 'soon'", r"line 1: timeout='soon'"),
        ("gauge = 1", r"line 1: gauge=1"),
        ("[memory]\nx = 1", r"memory="),
        ("pids = 20\npids = 30\n", r"line 2"),
        ("pids = \ncpus = 1", r"line 1"),
        ("[profiles.big]\nmemory = '8g'", r"a repository has no profiles.*config\.toml"),
        ("profile = 'huge'", r"no profile 'huge'"),
        ("profile = {}", r"no profile \{\}"),
        ("\x00", r"chorus\.toml can't be read"),
    ],
)
def test_a_mistake_of_a_repository_is_told_with_its_place(repository: Path, text: str, message: str) -> None:
    chorus(repository, text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        resolve(repository, {})
    assert "chorus.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memry = '1g'", r"config\.toml, line 1: There is no option 'memry'"),
        ("[profiles.big]\npids = 20\nmemory = 'much'", r"\[profiles\.big\], line 3: memory='much'"),
        ("[profiles.big]\nprofile = 'strict'", r"line 2: a profile does not build on another one"),
        ("[profiles.strict]\nmemory = '8g'", r"a profile 'strict' already"),
        ("profiles = 3", r"a profile is a table"),
        ("profiles = { big = 3 }", r"a profile is a table"),
        ("memory = \n", r"config\.toml can't be read.*line 1"),
    ],
)
def test_a_mistake_of_the_users_own_is_told_with_its_place(repository: Path, text: str, message: str) -> None:
    user(text)
    with pytest.raises(ConfigurationError, match=message):
        resolve(repository, {"profile": "big"} if "big]" in text else {})


def test_a_broken_file_of_the_users_is_no_reason_to_go_without_it(repository: Path) -> None:
    path = user("")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigurationError, match="no regular file"):
        resolve(repository, {})


def test_a_file_by_a_link_is_read_and_trusted_as_what_it_is(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "shared.toml"
    target.write_text("memory = '4g'")
    (repository / "chorus.toml").symlink_to(target)
    with pytest.raises(PolicyLoosenedError):
        resolve(repository, {})
    TrustStore().add(repository / "chorus.toml", repository_section(repository))
    assert resolve(repository, {}).text("memory") == "4g"
    target.write_text("memory = '5g'")
    with pytest.raises(PolicyLoosenedError):
        resolve(repository, {})


def test_every_option_without_an_order_is_kept_from_a_profile_that_a_repository_names() -> None:
    assert {name for name, option in OPTIONS.items() if option.tighter is free} >= {"image", "repo_path"}
