"""The shell of images without IPython, as the agent runs it in a real worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import OtherPython, wrapper

from chorus_nb.errors import SandboxStartError
from chorus_nb.sandbox import Sandbox

BROKEN = "raise RuntimeError('this installation is broken')\n"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose template sees no installed package."""
    program = wrapper(tmp_path_factory.mktemp("python"), template=f'exec {sys.executable} -S "$@"')
    with Sandbox(engine=OtherPython(program), repo="none") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    """The same with an empty namespace."""
    kept.restart()
    return kept


def test_it_has_no_ipython(sandbox: Sandbox) -> None:
    assert str(sandbox.run("import sys; 'IPython' in sys.modules").result) == "False"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("1 + 1", "2"),
        ("x = 1\nx", "1"),
        ("x = 1", None),
        ("None", None),
        ("1;", None),
        ("", None),
        ("# only a remark", None),
        ("import asyncio\nawait asyncio.sleep(0, 'awaited')", "'awaited'"),
        ("from __future__ import annotations\n1", "1"),
        ("x: int = 3\nx", "3"),
        ("if True:\n    5", None),
        ("def f():\n    return 6\nf()", "6"),
        ("__name__", "'__main__'"),
    ],
)
def test_the_last_expression_is_shown(sandbox: Sandbox, code: str, shown: str | None) -> None:
    result = sandbox.run(code)
    assert result.error is None
    assert (None if result.result is None else str(result.result)) == shown


def test_results_are_kept(sandbox: Sandbox) -> None:
    sandbox.run("41")
    assert str(sandbox.run("_ + 1").result) == "42"
    assert str(sandbox.run("Out[1]").result) == "41"


def test_rich_values(sandbox: Sandbox) -> None:
    code = """
class Rich:
    def __repr__(self): return "rich"
    def _repr_html_(self): return "<b>rich</b>"
    def _repr_latex_(self): return None
    def _repr_svg_(self): raise ValueError
"""
    result = sandbox.run(code + "display(Rich(), 1)\nRich()")
    assert result.result is not None
    assert result.result.data == {"text/plain": "rich", "text/html": "<b>rich</b>"}
    assert [str(output) for output in result.outputs] == ["rich", "1"]
    assert sandbox.run("Rich").result.data.keys() == {"text/plain"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("code", "name", "line"),
    [
        ("def inner():\n    return 1 / 0\ninner()", "ZeroDivisionError", "return 1 / 0"),
        ("def f(:", "SyntaxError", "def f(:"),
        ("raise SystemExit(3)", "SystemExit", "raise SystemExit(3)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "raise KeyboardInterrupt"),
        ("import asyncio\nasync def f(): raise ValueError\nawait f()", "ValueError", "await f()"),
        ("class Loud:\n    def __repr__(self): raise ValueError('loud')\nLoud()", "ValueError", "loud"),
    ],
)
def test_errors_show_the_cell_and_nothing_of_ours(sandbox: Sandbox, code: str, name: str, line: str) -> None:
    error = sandbox.run(code).error
    assert error is not None
    text = "\n".join(error.traceback)
    assert error.ename == name
    assert line in text
    assert "_chorus_agent" not in text
    assert str(sandbox.run("'usable'").result) == "'usable'"


def test_what_a_cell_defines_can_be_pickled(sandbox: Sandbox) -> None:
    code = "import pickle\nclass Point: x = 5\npickle.loads(pickle.dumps(Point())).x"
    assert str(sandbox.run(code).result) == "5"


# Broken images


def test_a_broken_ipython_does_not_cost_the_sandbox(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "IPython"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(BROKEN)
    template = f'export PYTHONPATH={package.parent}\nexec {sys.executable} "$@"'
    with Sandbox(engine=OtherPython(wrapper(tmp_path, template=template)), repo="none") as sandbox:
        assert str(sandbox.run("1 + 1").result) == "2"


def test_a_template_that_always_ends_is_given_up(tmp_path: Path) -> None:
    engine = OtherPython(wrapper(tmp_path, template="exit 1"))
    with pytest.raises(SandboxStartError, match="ends by itself"), Sandbox(engine=engine, repo="none"):
        pass
    assert engine.owned() == []


def test_a_program_that_is_not_python_is_named(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'I am no Python' >&2\nexit 3\n")
    program.chmod(0o755)
    with (
        pytest.raises(SandboxStartError, match="I am no Python"),
        Sandbox(engine=OtherPython(str(program)), repo="none"),
    ):
        pass
