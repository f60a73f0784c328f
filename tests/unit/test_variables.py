"""``-i``, ``-o``, ``%sandbox push`` and ``%sandbox pull`` in a real IPython shell, on the fake engine."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import wait_until
from IPython.core.error import UsageError

from chorus_nb import AsyncSandbox
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import (
    ConfigurationError,
    ExecutionError,
    UnknownSessionError,
    VariableError,
    VariableNotFoundError,
)
from chorus_nb.variables import CellVariables
from notebooks import Notebook


@pytest.fixture(scope="module")
def kept() -> Iterator[Notebook]:
    notebook = Notebook(FakeEngine())
    yield notebook
    notebook.close()


@pytest.fixture
def notebook(kept: Notebook) -> Notebook:
    for name in ("x", "y", "z"):
        kept.shell.user_ns.pop(name, None)
    kept.run("%%sandbox --repo none\nfor name in ('x', 'y', 'z'): globals().pop(name, None)")
    return kept


def test_a_cell_takes_variables_in_and_brings_others_out(notebook: Notebook) -> None:
    notebook.run("import numpy as np\nx = np.arange(3); y = {'a': [1]}")
    notebook.run("%%sandbox -i x,y -o z\ny['a'].append(int(x.sum())); z = (x * 2, y); print('ran')")
    assert notebook.stdout.startswith("ran\n")
    array, given = notebook.shell.user_ns["z"]
    assert array.tolist() == [0, 2, 4]
    assert given == {"a": [1, 3]}
    assert notebook.shell.user_ns["y"] == {"a": [1]}


def test_what_comes_out_replaces_nothing_but_what_was_asked_for(notebook: Notebook) -> None:
    notebook.run("x = 'mine'; y = 'mine'")
    notebook.run("%%sandbox -o y -o z\nx, y, z = 1, 2, 3")
    names = notebook.shell.user_ns
    assert (names["x"], names["y"], names["z"]) == ("mine", 2, 3)


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("-i x", VariableNotFoundError, "There is no variable x in the notebook."),
        ("-i 1x", ConfigurationError, "'1x' is not the name of a variable"),
        ("-o In", ConfigurationError, "The name In belongs to"),
        ("-o x,x", ConfigurationError, "names each variable once"),
        ("-o __builtins__", ConfigurationError, "belongs to"),
        ("--lang sh -o x", ConfigurationError, "A shell script has no variables"),
        ("a,b -o x", ConfigurationError, "brings variables out of one session"),
        ("--matrix memory=1g,2g -o x", ConfigurationError, "brings variables out of one session"),
        ("-i x, y", ConfigurationError, "Separate several names by commas alone"),
    ],
)
def test_what_can_not_be_is_said_before_anything_runs(
    notebook: Notebook, line: str, kind: type[Exception], said: str
) -> None:
    error = notebook.error(f"%%sandbox {line}\nprint('ran')")
    assert isinstance(error, kind)
    assert said in str(error)
    assert "ran\n" not in notebook.stdout
    assert {session.name for session in notebook.manager.sessions()} == {"default"}


def test_a_value_that_can_not_go_in_keeps_the_cell_from_running(notebook: Notebook) -> None:
    notebook.run("x = [1, (i for i in [])]")
    error = notebook.error("%%sandbox -i x\nprint('ran')")
    assert isinstance(error, VariableError)
    assert str(error) == "x[1] is a generator, which can't cross. list(x[1]) can."
    assert "ran\n" not in notebook.stdout


def test_a_cell_that_fails_brings_nothing_out(notebook: Notebook) -> None:
    notebook.run("z = 'mine'")
    error = notebook.error("%%sandbox -o z\nz = 1\n1 / 0")
    assert isinstance(error, ExecutionError)
    assert error.ename == "ZeroDivisionError"
    assert notebook.shell.user_ns["z"] == "mine"


def test_all_come_out_or_none(notebook: Notebook) -> None:
    notebook.run("z = 'mine'")
    assert isinstance(notebook.error("%%sandbox -o z,y\nz = 1; y = print"), VariableError)
    assert isinstance(notebook.error("%%sandbox -o z,x\nz = 1"), VariableNotFoundError)
    assert notebook.shell.user_ns["z"] == "mine"


def test_a_background_cell_takes_what_was_there_when_it_was_started(notebook: Notebook) -> None:
    notebook.run("x = 1")
    notebook.run("%%sandbox --bg -i x -o z\nz = x + 1")
    notebook.run("x = 10")
    wait_until(lambda: "z" in notebook.shell.user_ns)
    assert notebook.shell.user_ns["z"] == 2


def test_several_sessions_take_the_same_in(notebook: Notebook) -> None:
    notebook.run("x = 20")
    results = notebook.run("%%sandbox a,b --repo none -i x\nx + 1").result
    assert [str(results[name]) for name in ("a", "b")] == ["21", "21"]
    notebook.run("%sandbox stop a")
    notebook.run("%sandbox stop b")
    notebook.manager.remove_all([notebook.manager.get("a"), notebook.manager.get("b")])


def test_push_and_pull_say_what_they_did(notebook: Notebook) -> None:
    notebook.run("x, y = 1, [2]")
    notebook.run("%sandbox push x,y")
    assert notebook.stdout == "Copied to the sandbox 'default': x, y.\n"
    notebook.run("%%sandbox\nz = [x, y]")
    notebook.run("%sandbox pull z --session default")
    assert notebook.stdout == "Copied from the sandbox 'default': z.\n"
    assert notebook.stderr == ""
    assert notebook.shell.user_ns["z"] == [1, [2]]


def test_push_and_pull_wait_for_background_cells(notebook: Notebook) -> None:
    notebook.run("%%sandbox --bg\nimport time; time.sleep(0.3); z = 7")
    notebook.run("%sandbox pull z")
    assert notebook.shell.user_ns["z"] == 7


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("push", UsageError),
        ("pull", UsageError),
        ("push --session", UsageError),
        ("pull 'x", UsageError),
        ("pull x --force", UsageError),
        ("push nowhere", VariableNotFoundError),
        ("pull nowhere", VariableNotFoundError),
        ("pull x --session nowhere", UnknownSessionError),
        ("pull if", ConfigurationError),
    ],
)
def test_mistakes_are_told(notebook: Notebook, line: str, kind: type[Exception]) -> None:
    notebook.run("x = 1")
    assert isinstance(notebook.error(f"%sandbox {line}"), kind)


def test_the_mode_takes_no_variables_with_each_cell(notebook: Notebook) -> None:
    assert "can't take -i" in str(notebook.error("%sandbox on -i x"))
    notebook.run("%sandbox off")


def test_a_notebook_in_a_sandbox_has_no_variables_to_copy() -> None:
    arguments = Namespace(inputs=["x"], outputs=None, lang="python", matrix=None)
    with pytest.raises(ConfigurationError, match="All variables of this notebook are in sandboxes"):
        CellVariables.of(None, arguments, 1)


def test_the_face_for_asyncio_waits_for_the_cells_before() -> None:
    async def main() -> None:
        async with AsyncSandbox(engine=FakeEngine(), repo="none") as sandbox:
            await sandbox.push(x=np.arange(3))
            cell = asyncio.create_task(sandbox.run("import time; time.sleep(0.2); y = x + 1"))
            await asyncio.sleep(0)
            assert (await sandbox.pull("y")).tolist() == [1, 2, 3]
            assert (await cell).ok
            one, two = await sandbox.pull("x", "y")
            assert (one + 1 == two).all()

    asyncio.run(main())
