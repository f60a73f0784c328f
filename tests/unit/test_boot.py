"""The program that turns an interpreter, which knows nothing of us, into the agent."""

from __future__ import annotations

import ast
import binascii
import json
import marshal
import subprocess
import sys

import pytest

from chorus_nb.agent import boot

# Of what Python 2.7 has no syntax for, the node types this program must therefore not use.
NEWER = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal, ast.Starred, ast.MatMult)


def run(program: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)


def payload(sources: dict[str, str], optional: str = "", version: object = None, **config: object) -> bytes:
    modules = {name: {"source": text, "code": "", "optional": name == optional} for name, text in sources.items()}
    modules["boot"] = boot.modules()["boot"]
    carried = {"modules": modules, "roles": {"main": list(sources)}, "version": version, "config": config}
    return boot.frame("main", carried)


def test_the_program_has_no_syntax_that_python_2_lacks() -> None:
    tree = ast.parse(boot.PROGRAM, feature_version=(3, 4))
    assert not [node for node in ast.walk(tree) if isinstance(node, NEWER)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.func == "print"]
    assert boot.PROGRAM.isascii()


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 7, 17)])
def test_an_old_python_says_its_version_and_ends(version: tuple[int, ...]) -> None:
    older = boot.PROGRAM.replace("import sys\n", f"import sys\nsys.version_info = {version}\n", 1)
    ended = run(older)
    assert ended.returncode == 97
    assert ended.stderr.decode() == f"{boot.UNSUPPORTED}{version[0]}.{version[1]}\n"


def test_modules_are_made_in_their_order_and_the_role_is_run() -> None:
    main = "from .first import value\ndef main(carried): print(value, carried['config'], __name__)"
    ended = run(boot.PROGRAM, payload({"first": "value = 42", "main": main}, given="here"))
    assert ended.stdout.decode() == f"42 {{'given': 'here'}} {boot.PACKAGE}.main\n"
    assert ended.stderr == b""


def test_an_interpreter_of_the_hosts_version_runs_what_is_compiled_and_any_other_the_source() -> None:
    here = [sys.implementation.cache_tag, sys.hexversion]
    parts = json.loads(payload({"main": "def main(carried): print('source')"}).partition(b"\n")[2])
    compiled = compile("def main(carried): print('compiled')", "<main>", "exec")
    parts["modules"]["main"]["code"] = binascii.b2a_base64(marshal.dumps(compiled)).decode()
    for version, printed in (
        (here, b"compiled\n"),
        ([here[0], here[1] + 1], b"source\n"),
        (["x", here[1]], b"source\n"),
    ):
        assert run(boot.PROGRAM, boot.frame("main", dict(parts, version=version))).stdout == printed


def test_an_optional_module_that_fails_is_missing_and_others_are_errors() -> None:
    main = "def main(config):\n    try:\n        from . import broken\n    except ImportError: print('missing')"
    for source in ("import no_such_module", "1 / 0", "def f(:"):
        sources = {"broken": source, "main": main}
        assert run(boot.PROGRAM, payload(sources, optional="broken")).stdout == b"missing\n"
        ended = run(boot.PROGRAM, payload(sources))
        assert ended.returncode == 1
        assert ended.stdout == b""


@pytest.mark.parametrize("data", [b"", b"1", b"100\n{", payload({})[:-1]])
def test_input_that_ends_early_ends_the_program_in_silence(data: bytes) -> None:
    ended = run(boot.PROGRAM, data)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_what_follows_the_payload_is_left_for_the_agent() -> None:
    main = "import os\ndef main(config): os.write(1, os.read(0, 100))"
    assert run(boot.PROGRAM, payload({"main": main}) + b"first frame").stdout == b"first frame"


def test_the_supervisor_gets_the_modules_of_all_and_which_are_whose() -> None:
    size, _, body = boot.payload({"working_dir": "/w"}).partition(b"\n")
    carried = json.loads(body)
    assert int(size) == len(body)
    assert (carried["role"], carried["config"]) == ("supervisor", {"working_dir": "/w"})
    for role, names in carried["roles"].items():
        assert names[-1] == role
        assert set(names) <= carried["modules"].keys()
    assert "ipython_shell" not in carried["roles"]["supervisor"]


def test_the_template_may_do_without_ipython() -> None:
    optional = [name for name, parts in boot.modules().items() if parts["optional"]]
    assert optional == ["ipython_introspection", "ipython_shell"]


def test_the_supervisor_runs_isolated_and_without_site_packages() -> None:
    assert boot.SUPERVISOR_ARGUMENTS[:2] == ("-I", "-S")
