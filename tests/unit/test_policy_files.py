"""What comes with a notebook may tighten its sandbox and never loosen it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chorus_nb.config import OPTIONS, SandboxConfig
from chorus_nb.config.device_rate import DeviceRate
from chorus_nb.config.ulimit import Ulimit
from chorus_nb.errors import ConfigurationError, PolicyLoosenedError
from chorus_nb.settings import DEFAULTS, resolve

TIGHTER = [
    ("memory", 2**20, 2**30),
    ("cpus", 0.5, 1.0),
    ("pids", 16, 128),
    ("open_files", 64, 1024),
    ("tmp", 2**20, 2**28),
    ("shm", 2**20, 2**28),
    ("memory_swap", 2**30, 2**31),
    ("memory_swap", None, 2**31),
    ("cpu_shares", 512, None),
    ("cpu_shares", None, 2048),
    ("cpuset", "1-2", "0-3"),
    ("cpuset", "1", None),
    ("file_size", 2**20, None),
    ("file_size", 2**20, 2**21),
    ("disk", 2**30, None),
    ("ulimits", (Ulimit("nproc", 5, 10),), (Ulimit("nproc", 10, 10),)),
    ("ulimits", (Ulimit("nproc", 10, 10),), (Ulimit("nproc", -1, -1),)),
    ("blkio_weight", 300, None),
    ("blkio_weight", None, 600),
    ("read_bps", (DeviceRate("/dev/a", 10),), ()),
    ("write_bps", (DeviceRate("/dev/a", 10),), (DeviceRate("/dev/a", 20),)),
    ("read_iops", (DeviceRate("/dev/a", 10), DeviceRate("/dev/b", 1)), (DeviceRate("/dev/a", 10),)),
    ("write_iops", (DeviceRate("/dev/a", 10),), ()),
    ("timeout", 10.0, None),
    ("idle", 10.0, 20.0),
    ("lifetime", 10.0, None),
    ("max_output", 1024, 2**20),
    ("network", "none", "bridge"),
    ("network", "allowlist", "bridge"),
    ("allow", ("www.example.org:443",), ("*.example.org", "other.test")),
    ("allow", (), ("example.org",)),
    ("repo", "none", "ro"),
    ("repo", "ro", "rw"),
    ("read_only_root", True, False),
    ("user", "65534:65534", None),
    ("user", "65534:65534", "0:0"),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def pyproject(repository: Path, *lines: str) -> None:
    (repository / "pyproject.toml").write_text("\n".join(["[tool.chorus-nb]", *lines]))


def notebook(repository: Path, chorus: Any) -> Path:
    path = repository / "n.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": {"chorus": chorus}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.mark.parametrize(("name", "tight", "loose"), TIGHTER)
def test_each_option_knows_what_is_tighter(name: str, tight: Any, loose: Any) -> None:
    assert OPTIONS[name].tighter(tight, loose)
    assert OPTIONS[name].tighter(loose, loose)
    assert not OPTIONS[name].tighter(loose, tight)


def test_a_limit_that_the_engine_would_set_otherwise_is_not_the_repositorys_to_set() -> None:
    tighter = OPTIONS["ulimits"].tighter
    assert not tighter((Ulimit("memlock", 2**20, 2**20),), ())
    assert not tighter((), (Ulimit("nproc", 10, 10),))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_value_is_no_looser(name: str) -> None:
    value = SandboxConfig().option(name)
    assert OPTIONS[name].tighter(value, value)


@pytest.mark.parametrize("value", ["0:0", "1000:1000", "0:65534"])
def test_another_user_is_never_tighter(value: str) -> None:
    assert not OPTIONS["user"].tighter(value, None)


def test_an_option_without_a_rule_has_to_stay_as_it_is() -> None:
    assert not OPTIONS["env"].tighter({"LD_PRELOAD": "/workspace/x.so"}, {})


def test_the_repository_tightens(repository: Path) -> None:
    pyproject(repository, "memory = '256m'", "pids = 64", "repo = 'none'", "timeout = '30s'", "gauge = 'on'")
    policy = resolve(repository, {})
    assert policy.config == SandboxConfig.from_options(memory="256m", pids=64, repo="none", timeout=30)
    assert policy.gauge == "on"


def test_it_is_found_from_a_folder_below(repository: Path) -> None:
    pyproject(repository, "memory = '256m'")
    below = repository / "a" / "b"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[tool.chorus-nb]\nmemory = '128m'")
    assert resolve(below, {}).config.option_text("memory") == "256m"


def test_without_any_file_the_defaults_hold(tmp_path: Path) -> None:
    assert resolve(tmp_path, {}, tmp_path / "missing.ipynb") == DEFAULTS


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("memory = '8g'", "memory"),
        ("cpus = 4", "cpus"),
        ("network = 'bridge'", "network"),
        ("repo = 'rw'", "repo"),
        ("user = '0:0'", "user"),
        ("read_only_root = false", "read_only_root"),
        ("max_output = '1g'", "max_output"),
        ("env = { LD_PRELOAD = '/workspace/x.so' }", "env"),
        ("git_credentials = true", "git_credentials"),
        ("git_config = ['init.defaultBranch']", "git_config"),
        ("git_protect = false", "git_protect"),
        ("repo_path = '..'", "repo_path"),
        ("repo_path = '/etc'", "repo_path"),
    ],
)
def test_what_would_loosen_is_refused_and_named(repository: Path, line: str, option: str) -> None:
    pyproject(repository, line)
    with pytest.raises(PolicyLoosenedError, match=r"pyproject\.toml") as caught:
        resolve(repository, {})
    assert caught.value.option == option
    assert option in str(caught.value)


def test_a_link_in_the_repository_does_not_lead_out_of_it(repository: Path, tmp_path_factory: Any) -> None:
    (repository / "link").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    (repository / "inside").mkdir()
    pyproject(repository, "repo_path = 'link'")
    with pytest.raises(PolicyLoosenedError):
        resolve(repository, {})
    pyproject(repository, "repo_path = 'inside'")
    assert resolve(repository, {}).config.repository.path == repository / "inside"


def test_the_notebook_may_tighten_further_and_not_loosen_again(repository: Path) -> None:
    pyproject(repository, "memory = '256m'", "timeout = 30")
    assert resolve(repository, {}, notebook(repository, {"memory": "128m"})).config.option_text("memory") == ("128m")
    for looser in ({"memory": "512m"}, {"timeout": 60}):
        with pytest.raises(PolicyLoosenedError, match=r"n\.ipynb"):
            resolve(repository, {}, notebook(repository, looser))


def test_what_the_user_asks_for_goes_before_files(repository: Path) -> None:
    pyproject(repository, "memory = '256m'", "pids = 64")
    policy = resolve(repository, {"memory": "4g", "timeout": "1m"})
    assert (policy.config.option_text("memory"), policy.config.limits.pids, policy.config.limits.timeout_s) == (
        "4g",
        64,
        60.0,
    )


@pytest.mark.parametrize(
    "line", ["memry = '1g'", "memory = 'much'", "timeout = 'soon'", "gauge = 'pretty'", "pids = []"]
)
def test_a_mistake_is_told_with_its_place(repository: Path, line: str) -> None:
    pyproject(repository, line)
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        resolve(repository, {})


@pytest.mark.parametrize(
    "text", ["[tool.chorus-nb", "tool = 1", "[tool]\nchorus-nb = 'x'", "\x00", "[tool.chorus-nb]\nx = 1" + "\n" * 2**21]
)
def test_a_broken_file_is_refused(repository: Path, text: str) -> None:
    (repository / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        resolve(repository, {})


@pytest.mark.parametrize("chorus", [1, "x", [], None])
def test_a_broken_notebook_is_refused(repository: Path, chorus: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"n\.ipynb"):
        resolve(repository, {}, notebook(repository, chorus))


def test_deeply_nested_metadata_is_refused(repository: Path) -> None:
    path = repository / "n.ipynb"
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigurationError, match="can't be read"):
        resolve(repository, {}, path)


def test_a_pipe_is_not_waited_for(repository: Path) -> None:
    os.mkfifo(repository / "pyproject.toml")
    with pytest.raises(ConfigurationError, match="no regular file"):
        resolve(repository, {})
