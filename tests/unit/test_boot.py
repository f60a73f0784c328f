"""The program that turns an interpreter, which knows nothing of us, into the agent."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from chorus_nb.agent import boot

# Of what Python 2.7 has no syntax for, the node types this program must therefore not use.
NEWER = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal, ast.Starred, ast.MatMult)


def run(program: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)


def payload(modules: list[list[object]], **config: object) -> bytes:
    body = json.dumps({"modules": modules, "role": "main", **config}).encode()
    return b"%d\n" % len(body) + body


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
    package = boot.PACKAGE
    ended = run(
        boot.PROGRAM,
        payload(
            [
                [package, "", False],
                [f"{package}.first", "value = 42", False],
                [
                    f"{package}.main",
                    "from .first import value\ndef main(config): print(value, config, __name__)",
                    False,
                ],
            ],
            given="here",
        ),
    )
    assert ended.stdout.decode() == f"42 {{'given': 'here'}} {package}.main\n"
    assert ended.stderr == b""


def test_an_optional_module_that_fails_is_missing_and_others_are_errors() -> None:
    package = boot.PACKAGE
    main = "def main(config):\n    try:\n        from . import broken\n    except ImportError: print('missing')"
    for source in ("import no_such_module", "1 / 0", "def f(:"):
        modules = [[package, "", False], [f"{package}.broken", source, True], [f"{package}.main", main, False]]
        assert run(boot.PROGRAM, payload(modules)).stdout == b"missing\n"
        modules[1][2] = False
        ended = run(boot.PROGRAM, payload(modules))
        assert ended.returncode == 1
        assert ended.stdout == b""


@pytest.mark.parametrize("data", [b"", b"1", b"100\n{", payload([])[:-1]])
def test_input_that_ends_early_ends_the_program_in_silence(data: bytes) -> None:
    ended = run(boot.PROGRAM, data)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_what_follows_the_payload_is_left_for_the_agent() -> None:
    main = "import os\ndef main(config): os.write(1, os.read(0, 100))"
    modules: list[list[object]] = [[boot.PACKAGE, "", False], [f"{boot.PACKAGE}.main", main, False]]
    assert run(boot.PROGRAM, payload(modules) + b"first frame").stdout == b"first frame"


def test_the_supervisor_gets_its_modules_and_the_sources_of_all() -> None:
    texts = boot.sources()
    size, _, body = boot.payload("supervisor", texts, {"working_dir": "/w"}).partition(b"\n")
    carried = json.loads(body)
    assert int(size) == len(body)
    assert carried["texts"] == texts
    assert (carried["role"], carried["working_dir"]) == ("supervisor", "/w")
    names = [name for name, _, _ in carried["modules"]]
    assert names[0] == boot.PACKAGE
    assert names[-1] == f"{boot.PACKAGE}.supervisor"
    assert f"{boot.PACKAGE}.ipython_shell" not in names


def test_the_template_may_do_without_ipython() -> None:
    body = boot.payload("template", boot.sources(), {}).partition(b"\n")[2]
    optional = [name for name, _, is_optional in json.loads(body)["modules"] if is_optional]
    assert optional == [f"{boot.PACKAGE}.{name}" for name in ("ipython_introspection", "ipython_shell")]
    assert "texts" not in json.loads(body)


def test_the_supervisor_runs_isolated_and_without_site_packages() -> None:
    assert boot.SUPERVISOR_ARGUMENTS[:2] == ("-I", "-S")
