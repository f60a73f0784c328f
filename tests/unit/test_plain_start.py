"""A fork of the supervisor, isolated and without site-packages, becomes an interpreter like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chorus_nb.agent import plain_start

SHOW = """
import json, site, subprocess, sys
names = [name for name in dir(sys.flags) if not name.startswith(("_", "n_")) and name not in ("count", "index")]
print(json.dumps({
    "flags": {name: getattr(sys.flags, name) for name in names},
    "tuple": isinstance(sys.flags, tuple),
    "passed on": subprocess._args_from_interpreter_flags(),
    "bytecode": sys.dont_write_bytecode,
    "path": [entry for entry in sys.path if entry],
    "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable],
    "site": [site.ENABLE_USER_SITE, site.getusersitepackages(), site.getuserbase()],
    "builtins": [name in dir(__builtins__) for name in ("quit", "exit", "copyright", "help")],
    "hook": hasattr(sys, "__interactivehook__"),
    "warnings": sys.warnoptions,
    "encoding": [sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.stdout.encoding],
    "ran": "usercustomize" in sys.modules,
}))
"""
CATCH_UP = Path(plain_start.__file__).read_text() + "\ncatch_up()\n"


def shown(*command: str, environment: dict[str, str]) -> object:
    variables = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environment}
    output = subprocess.run([sys.executable, *command], env=variables, capture_output=True, timeout=30, check=True)
    return json.loads(output.stdout)


@pytest.mark.parametrize("bytecode", ["1", ""])
def test_what_is_caught_up_on_is_what_a_plain_start_does(tmp_path: Path, bytecode: str) -> None:
    packages = tmp_path / f"base/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    packages.mkdir(parents=True)
    (packages / "usercustomize.py").touch()
    environment = {"HOME": str(tmp_path), "PYTHONUSERBASE": str(tmp_path / "base"), "PYTHONDONTWRITEBYTECODE": bytecode}
    late = shown("-I", "-S", "-c", CATCH_UP + SHOW, environment=environment)
    assert late == shown("-c", SHOW, environment=environment)


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHASHSEED", "PYTHONWARNINGS", "PYTHON_GIL", "PYTHONNEW"])
def test_what_an_interpreter_reads_before_its_first_line_needs_one_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in [each for each in os.environ if each.startswith("PYTHON")]:
        monkeypatch.delenv(each)
    monkeypatch.setenv("PYTHONUSERBASE", "/base")
    monkeypatch.setenv("PYTHON_VERSION", "3.12.1")
    assert not plain_start.is_needed()
    monkeypatch.setenv(name, "1")
    assert plain_start.is_needed()
