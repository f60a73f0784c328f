"""What the README says is so: its Python examples run for real, and its tables name every option and command."""

from __future__ import annotations

import argparse
import builtins
import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chorus_nb.commands import HELP
from chorus_nb.config import OPTIONS, REFUSED
from chorus_nb.magics import SandboxMagics
from chorus_nb.options import flag

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    section = README.partition(f"\n## {title}")[2].partition("\n## ")[0]
    assert section, f"the README has no section {title!r}"
    return section


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_python_examples_give_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    # doctest leaves the last value here, and an IPython of a later test would then not set its own.
    monkeypatch.setattr(builtins, "_", None, raising=False)
    examples = "".join(re.findall(r"```pycon\n(.*?)```", _section("From Python"), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 5
    report: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=report.append).failed == 0, "".join(report)


def test_options_of_the_magic_are_in_its_table_or_on_the_page_of_all_options() -> None:
    # Those without help are there to be refused by name.
    actions = [action for action in SandboxMagics.cell.parser._actions if action.help != argparse.SUPPRESS]
    options = {(action.option_strings or [action.dest.upper()])[0] for action in actions}
    listed = set(re.findall(r"^\| `([-\w]+)", _section("`%%sandbox"), re.MULTILINE))
    assert listed <= options
    assert options - listed <= {flag(name) for name in (*OPTIONS, *REFUSED)}


def test_the_page_of_all_options_says_what_the_code_says() -> None:
    script = Path(__file__).parents[2] / "scripts" / "option_tables.py"
    # A failure here: run the script, and look at what it changed in docs/configuration.md.
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0


def test_every_command_is_in_its_table() -> None:
    commands = set(re.findall(r"^%sandbox (\w+)", HELP, re.MULTILINE)) | {"help"}
    assert set(re.findall(r"^\| `(\w+)`", _section("`%sandbox"), re.MULTILINE)) == commands
