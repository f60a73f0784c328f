"""``chorus-nb config``: what holds here and why, and trust in files that loosen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from chorus_nb import cli
from chorus_nb.settings import NAMES, user_file


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    (folder / ".git").mkdir(parents=True)
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    return folder


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}


def test_each_value_is_shown_with_its_source(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "pyproject.toml").write_text("[tool.chorus-nb]\npids = 64")
    user_file().parent.mkdir(parents=True)
    user_file().write_text("cpus = 0.5")
    assert cli.main(["config", "--memory", "2g"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["memory"] == ["2g", "typed"]
    assert found["pids"] == ["64", "pyproject.toml"]
    assert found["cpus"] == ["0.5", str(user_file())]
    assert found["repo"] == ["ro", "default"]
    assert {"profile", *NAMES} <= found.keys()
    assert found[f"{repository}/pyproject.toml,"] == ["[tool.chorus-nb]", "may", "tighten"]
    assert found[str(user_file())] == ["is", "yours"]


def test_the_same_for_machines_without_the_values_of_variables(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = repository / "n.ipynb"
    notebook.write_text(json.dumps({"metadata": {"chorus": {"memory": "512m"}}}))
    assert cli.main(["config", "--json", "--notebook", str(notebook), "--env", "TOKEN=hunter2"]) == 0
    out = capsys.readouterr().out
    document = json.loads(out)
    assert document["options"]["memory"] == {"value": "512m", "from": f"{notebook}, metadata 'chorus'"}
    assert document["options"]["env"]["value"] == "TOKEN"
    assert "hunter2" not in out
    assert [each["state"] for each in document["files"]] == ["has no options", "has no options", "may tighten"]


def test_trust_shows_what_it_is_about_and_lets_it(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = repository / "chorus.toml"
    path.write_text('memory = "4g"\npids = 64\nenv = { A = "x\\u001b[2K\\u202ey" }')
    assert cli.main(["config"]) == 2
    assert f"chorus-nb config trust {path}" in capsys.readouterr().err
    assert cli.main(["config", "trust", "--yes"]) == 0
    out = capsys.readouterr().out
    assert rows(out)["memory"] == ["1g", "4g"]
    assert "A='x\\x1b[2K\\u202ey'" in out
    assert out.isascii()
    assert "pids" not in rows(out)
    assert cli.main(["config"]) == 0
    out = capsys.readouterr().out
    assert rows(out)["memory"] == ["4g", "chorus.toml"]
    assert "is trusted" in out
    assert cli.main(["config", "untrust", str(path)]) == 0
    assert "no longer trusted" in capsys.readouterr().out
    assert cli.main(["config"]) == 2


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("yes", 0), ("", 1), ("n", 1)])
def test_trust_asks(repository: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int) -> None:
    (repository / "chorus.toml").write_text("memory = '4g'")
    monkeypatch.setattr("builtins.input", lambda _: answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert cli.main(["config", "trust"]) == status
    assert cli.main(["config"]) == (2 if status else 0)


def test_trust_where_nobody_can_be_asked_is_no_yes(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "chorus.toml").write_text("memory = '4g'")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert cli.main(["config", "trust"]) == 2
    assert "--yes" in capsys.readouterr().err


def test_a_profile_that_loosens_is_shown_as_what_it_does(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "chorus.toml").write_text("profile = 'tutorial'")
    assert cli.main(["config", "trust", "--yes"]) == 0
    assert rows(capsys.readouterr().out)["memory"] == ["1g", "2g"]
    assert cli.main(["config"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["profile"] == ["tutorial", "chorus.toml"]
    assert found["timeout"] == ["600s", "profile", "tutorial"]


def test_a_notebook_is_trusted_by_its_name(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = repository / "n.ipynb"
    notebook.write_text(json.dumps({"metadata": {"chorus": {"memory": "4g"}}}))
    words = ["config", "--notebook", str(notebook)]
    assert cli.main(words) == 2
    assert f"chorus-nb config trust {notebook}" in capsys.readouterr().err
    assert cli.main(["config", "trust", str(notebook), "--yes"]) == 0
    capsys.readouterr()
    assert cli.main(words) == 0
    assert rows(capsys.readouterr().out)["memory"] == ["4g", "n.ipynb"]


@pytest.mark.parametrize("text", ["", "memory = '512m'"])
def test_what_only_tightens_needs_no_trust(repository: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (repository / "chorus.toml").write_text(text)
    assert cli.main(["config", "trust"]) == 0
    assert "nothing to trust" in capsys.readouterr().out
    assert cli.main(["config", "untrust"]) == 0
    assert "was not trusted" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.toml", "other.toml", "below/chorus.toml"])
def test_a_file_that_is_not_read_can_not_be_trusted(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if name != "missing.toml":
        (repository / name).write_text("memory = '4g'")
    assert cli.main(["config", "trust", str(repository / name), "--yes"]) == 2
    assert name in capsys.readouterr().err


def test_the_help_says_who_goes_before_whom(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["config", "--help"])
    out = capsys.readouterr().out
    assert "from the lowest to the highest" in out
    assert str(user_file().name) in out
