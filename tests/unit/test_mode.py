"""``%sandbox on`` in a real IPython shell, on the fake engine: nothing runs here by mistake."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from chorus_nb.errors import ConfigurationError, ImageNotFoundError
from notebooks import Notebook


def runs_here(notebook: Notebook, cell: str) -> bool:
    """Whether a cell sets a variable in the notebook's own namespace."""
    notebook.shell.user_ns.pop("mark", None)
    notebook.run(cell)
    return "mark" in notebook.shell.user_ns


SANDBOXED = [
    "mark = 1",
    "# a comment\nmark = 1",
    "\n\n  \nmark = 1",
    "    mark = 1",
    ">>> mark = 1",
    "%%time\nmark = 1",
    "%%capture\nmark = 1",
    "%time mark = 1",
    "import asyncio\nawait asyncio.sleep(0)\nmark = 1",
    "# %%host\nmark = 1",
    "mark = 1\n%%host",
    "%%hosts\nmark = 1",
    "%%host_\nmark = 1",
    "%sandbox status\nmark = 1",
    "%sandbox off; mark = 1",
    "%sandbox list\n\n# and then\nmark = 1",
    "%load_ext chorus_nb\nmark = 1",
    "%%sandbox?\nmark = 1",
    "%%sandboxes\nmark = 1",
    "%sandbox? \nmark = 1",
    "get_ipython().run_line_magic('sandbox', 'off')\nmark = 1",
    "%sandbox status\x0cmark = 1",
    "# x\rmark = 1",
    "%%sandbox other\nmark = 1",
]
HOSTED = [
    "%%host\nmark = 1",
    "\n%%host\nmark = 1",
    "%%host   \n%%time\nmark = 1",
    "%%host\n%time mark = 1",
    "%%host\nimport asyncio\nawait asyncio.sleep(0)\nmark = 1",
    "%%host\nget_ipython().run_cell('mark = 1')",
    "%%host\nget_ipython().run_cell('0')\nmark = 1",
]


def test_nothing_else_runs_in_the_kernel(notebook: Notebook) -> None:
    for cell in SANDBOXED:
        notebook.run("%sandbox on")
        assert not runs_here(notebook, cell), cell
        assert runs_here(notebook, "%%host\nmark = 1"), "the mode itself lets it through"


@pytest.mark.parametrize("mode", ["on", "off"])
def test_a_host_cell_is_what_it_is_without_that_line(notebook: Notebook, mode: str) -> None:
    notebook.run(f"%sandbox {mode}")
    for cell in HOSTED:
        assert runs_here(notebook, cell), cell
        assert runs_here(notebook, "mark = 1") == (mode == "off"), f"{cell!r} is for that cell alone"


def test_values_errors_and_history_are_those_of_the_cell(notebook: Notebook) -> None:
    notebook.run("%sandbox on work")
    assert "'work'" in notebook.stdout
    assert str(notebook.run("x = 41\nx + 1").result) == "42"
    assert notebook.run("x;").result is None
    count = notebook.run("x").execution_count
    assert str(notebook.shell.user_ns["Out"][count]) == "41"
    assert notebook.shell.user_ns["In"][-3:] == ["x = 41\nx + 1", "x;", "x"]
    assert not notebook.run("def f():\n    return 1 / 0\n\nf()").success
    assert "line 4" in notebook.stdout
    notebook.run("!echo it\\'s")
    assert notebook.stdout == "it's\n"


def test_questions_are_asked(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: f"typed at {prompt}")
    notebook.run("%sandbox on")
    assert str(notebook.run("input('a')").result) == "'typed at a'"


def test_options_hold_for_every_cell(notebook: Notebook) -> None:
    notebook.run("%sandbox on work --memory 512m --timeout 0.5 --gauge off")
    notebook.run("1")
    assert notebook.stderr == ""
    assert isinstance(notebook.error("while True: pass"), TimeoutError)
    assert notebook.manager.get("work").config.option_text("memory") == "512m"


def test_it_may_be_several_sessions(notebook: Notebook) -> None:
    notebook.run("%sandbox on a,b")
    assert "'a', 'b'" in notebook.stdout
    assert repr(notebook.run("6 * 7").result) == "{'a': 42, 'b': 42}"


def test_fresh_is_for_the_line_and_not_for_every_cell(notebook: Notebook) -> None:
    notebook.run("%%sandbox\nx = 1")
    notebook.run("%sandbox on --fresh")
    assert str(notebook.run("'x' in globals()").result) == "False"
    notebook.run("x = 2")
    assert str(notebook.run("x").result) == "2"


def test_on_twice_and_off(notebook: Notebook) -> None:
    notebook.run("%sandbox off")
    assert "was not on" in notebook.stdout
    assert notebook.run("%sandbox on").success
    assert notebook.run("%sandbox on").success, "a notebook may be run from the top again"
    error = notebook.error("%sandbox on other")
    assert isinstance(error, ConfigurationError)
    assert "`%sandbox off`" in error.next_step
    assert not runs_here(notebook, "mark = 1")
    notebook.run("%sandbox off")
    assert runs_here(notebook, "mark = 1")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("bad/name", ConfigurationError),
        ("--memory lots", ConfigurationError),
        ("--nope", UsageError),
        ("--image nope:1", ImageNotFoundError),
        ("--bg", ConfigurationError),
        ("--matrix memory=1g,2g", ConfigurationError),
    ],
)
def test_where_it_can_not_be_on_no_cell_runs(notebook: Notebook, line: str, kind: type[Exception]) -> None:
    assert type(notebook.error(f"%sandbox on {line}")) is kind
    assert not runs_here(notebook, "mark = 1")
    error = notebook.error("mark = 1")
    assert isinstance(error, ConfigurationError)
    assert f"`%sandbox on {line}` has failed" in str(error)
    notebook.run("%sandbox on other")
    assert str(notebook.run("1").result) == "1"


@pytest.mark.parametrize("cell", ["%sandbox on\nmark = 1", "%sandbox on\n%time mark = 1"])
def test_code_below_the_line_does_not_run_here(notebook: Notebook, cell: str) -> None:
    assert not runs_here(notebook, cell)
    assert not runs_here(notebook, "mark = 1")
    assert notebook.run("%sandbox on\n# a comment\n%sandbox status").success


def test_its_own_lines_go_on_working(notebook: Notebook) -> None:
    notebook.run("%sandbox on")
    notebook.run("# what is it doing?\n%sandbox status\n%sandbox list")
    assert "session:" in notebook.stdout
    assert "NAME" in notebook.stdout
    assert str(notebook.run("%%sandbox other\n6 * 7").result) == "42"
    assert "a cell of their own" in str(notebook.error("# first\n%sandbox stop\n1"))
    assert isinstance(notebook.error("%%host now\n1"), UsageError)


def test_a_session_that_was_stopped_starts_anew(notebook: Notebook) -> None:
    notebook.run("%sandbox on")
    notebook.run("x = 1")
    notebook.run("%sandbox stop")
    assert str(notebook.run("'x' in globals()").result) == "False"


def test_reloading_keeps_it_on_and_unloading_ends_it(notebook: Notebook) -> None:
    notebook.run("%sandbox on")
    mode = notebook.magics.mode
    notebook.shell.user_ns["unload"] = mode.uninstall
    notebook.shell.user_ns["load"] = lambda: (mode.install(), mode.resume())
    notebook.run("%%host\nunload()\nload()")  # As %reload_ext does: both within one cell.
    assert not runs_here(notebook, "mark = 1")
    notebook.run("%%host\nunload()")
    notebook.run("load()")
    assert runs_here(notebook, "mark = 1")


def test_a_terminal_says_it_in_the_prompt() -> None:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

    from chorus_nb.mode import Mode

    shell = TerminalInteractiveShell()
    before = shell.prompts
    mode = Mode(shell, lambda arguments, cell: None)
    mode.turn_on("work")
    tokens = shell.prompts.in_prompt_tokens()
    assert "".join(text for _, text in tokens).startswith("[sandbox work] In [")
    mode.turn_off()
    assert shell.prompts is before


def test_whether_a_cell_is_complete_stays_as_it_is(notebook: Notebook) -> None:
    check = notebook.shell.check_complete
    cells = ["x = 1", "for x in y:", "x = (", "%%host\nx", "%%time\nx"]
    before = [check(cell) for cell in cells]
    notebook.run("%sandbox on")
    assert [check(cell) for cell in cells] == before
