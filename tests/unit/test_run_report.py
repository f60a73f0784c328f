"""What ``chorus-nb run`` says about the cells."""

from __future__ import annotations

import io

import nbformat
from figures import USAGE as FIGURES

from chorus_nb.run_report import LABEL_CHARS, Report, label

USAGE = {**FIGURES, "memory_peak_bytes": 50 * 2**20, "cpu_time_s": 0.25, "duration_s": 1.5}


def reply(status: str = "ok", usage: object = USAGE) -> dict[str, object]:
    return {"content": {"status": status}, "metadata": {"chorus_nb": {"usage": usage}}}


def report(*sources: str) -> tuple[Report, io.StringIO]:
    stream = io.StringIO()
    cells = [nbformat.v4.new_markdown_cell("# x"), *map(nbformat.v4.new_code_cell, sources)]
    return Report(cells, stream), stream


def test_a_line_for_each_cell_and_a_table() -> None:
    made, stream = report("x = 1", "1/0", "x")
    for index, status in ((1, "ok"), (2, "error")):
        made.cell_starts(None, index)
        made.cell_ends(None, index, reply(status))
    made.failed("\x1b[31mZeroDivisionError\x1b[0m: division by zero")
    assert "cell 1 of 3: done" in stream.getvalue()
    assert "ZeroDivisionError: division by zero\n\nCell 2 of 3 failed." in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    lines = made.table().splitlines()
    assert lines[1].split()[:2] == ["1", "done"]
    assert "0.25 s" in lines[1]
    assert "50 MiB" in lines[1]
    assert "failed" in lines[2]
    assert "not run" in lines[3]


def test_figures_that_are_none_are_not_shown() -> None:
    made, _ = report("x")
    made.cell_starts(None, 1)
    made.cell_ends(None, 1, reply(usage={"cpu_time_s": float("nan")}))
    assert "nan" not in made.table()


def test_an_interrupt_names_the_cell() -> None:
    made, stream = report("x", "y")
    made.cell_starts(None, 0)
    made.cell_starts(None, 1)
    made.interrupted()
    assert "Interrupted in cell 1 of 2." in stream.getvalue()
    assert "interrupted" in made.table()


def test_a_notebook_without_code_says_so() -> None:
    made, _ = report()
    assert made.table() == "The notebook has no code cells."


def test_a_label_is_fit_for_a_terminal() -> None:
    assert label("# comment\n\n%%time\nx = 1") == "x = 1"
    assert label("# only a comment") == "# only a comment"
    assert label("") == ""
    assert label("x = '\x1b]0;pwned\x07\u202e'") == "x = '?]0;pwned??'"
    assert len(label("x" * 500)) == LABEL_CHARS
