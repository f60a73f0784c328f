"""The command line: what it refuses before anything runs, and the kernelspec it installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from chorus_nb import cli
from chorus_nb._version import __version__


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)
    return path


def with_metadata(path: Path, metadata: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "metadata": metadata}))


@pytest.mark.parametrize("words", [[], ["kernel"], ["run"], ["dance"], ["run", "n.ipynb", "--no-such-option"]])
def test_words_that_make_no_command_are_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: chorus-nb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--memory", "1k"], "memory='1k'"),
        (["--memory", "much"], "memory='much'"),
        (["--network", "internet"], "network='internet'"),
        (["--timeout", "soon"], "timeout='soon'"),
        (["--gauge", "big"], "gauge='big'"),
        (["--env", "NO_SUCH_VARIABLE_HERE"], "NO_SUCH_VARIABLE_HERE"),
        (["-o", "nowhere/out.ipynb"], "nowhere"),
        (["-o", "n.ipynb"], "--inplace"),
        (["-o", "."], "--inplace"),
    ],
)
def test_options_that_can_not_be_had_are_refused(
    notebook: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    monkeypatch.chdir(notebook.parent)
    before = notebook.read_bytes()
    assert cli.main(["run", "n.ipynb", *words]) == 2
    assert text in capsys.readouterr().err
    assert notebook.read_bytes() == before
    assert list(notebook.parent.iterdir()) == [notebook]


@pytest.mark.parametrize("content", [None, "", "not json", "[]", "{}", '{"cells": 1, "nbformat": 4}'])
def test_a_file_that_is_no_notebook_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "n.ipynb"
    if content is not None:
        path.write_text(content)
    assert cli.main(["run", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "metadata",
    [{"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}, {"language_info": {"name": "julia"}}],
)
def test_another_language_is_refused(
    notebook: Path, capsys: pytest.CaptureFixture[str], metadata: dict[str, object]
) -> None:
    with_metadata(notebook, metadata)
    assert cli.main(["run", str(notebook)]) == 2
    assert "the sandbox runs Python" in capsys.readouterr().err


def test_the_kernelspec_starts_our_kernel_with_the_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernel", "install", "--prefix", str(tmp_path), "--memory", "4g"]) == 0
    folder = tmp_path / "share" / "jupyter" / "kernels" / "chorus-nb"
    assert str(folder) in capsys.readouterr().out
    spec = json.loads((folder / "kernel.json").read_text())
    assert spec["display_name"] == "Python 3 (sandbox)"
    assert spec["argv"][:4] == [sys.executable, "-P", "-m", "chorus_nb.kernel_launcher"]
    assert "--memory=4g" in spec["argv"]
    assert (folder / "logo-svg.svg").exists()


def test_another_name_is_another_kernelspec(tmp_path: Path) -> None:
    for words in (["--name", "big", "--memory", "8g"], ["--name", "net", "--display-name", "With network"]):
        assert cli.main(["kernel", "install", "--prefix", str(tmp_path), *words]) == 0
    kernels = tmp_path / "share" / "jupyter" / "kernels"
    names = [json.loads((kernels / name / "kernel.json").read_text())["display_name"] for name in ("big", "net")]
    assert names == ["big", "With network"]


@pytest.mark.parametrize("words", [["--name", "a b"], ["--memory", "1k"], ["--prefix", "/proc/nowhere"]])
def test_what_can_not_be_installed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert cli.main(["kernel", "install", "--prefix", str(tmp_path), *words]) == 2
    assert "chorus-nb: " in capsys.readouterr().err


def test_the_module_is_the_command_and_imports_nothing_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit('imported')")
    command = [sys.executable, "-m", "chorus_nb", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"chorus-nb {__version__}\n")
