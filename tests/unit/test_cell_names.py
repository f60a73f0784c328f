"""Cells are compiled under the names that ipykernel gives them."""

from __future__ import annotations

import os

import pytest
from ipykernel.compiler import get_file_name

from chorus_nb.agent.cell_names import cell_number
from chorus_nb.sandbox import Sandbox


@pytest.mark.parametrize("code", ["", "1", "12", "123", "1234", "12345", "print('größer')\n", "x = 1\n" * 1000])
def test_a_cell_has_the_name_that_ipykernel_gives_it(code: str) -> None:
    assert f"{cell_number(code)}.py" == os.path.basename(get_file_name(code))


def test_text_that_is_no_text_has_a_name_too() -> None:
    assert cell_number("'\ud800'") >= 0


def test_errors_and_warnings_show_the_name(sandbox: Sandbox) -> None:
    name = os.path.basename(get_file_name("x = = 2"))
    assert sandbox.run("x = = 2").error.evalue == f"invalid syntax ({name}, line 1)"
    assert f"{os.path.basename(get_file_name(WARN))}:2: UserWarning: careful" in sandbox.run(WARN).stderr


WARN = "import warnings\nwarnings.warn('careful')"
