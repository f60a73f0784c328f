"""Which cells of a notebook on the sandbox kernel are for the host."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from chorus_nb.host_cells import sandbox_cell, sandbox_commands


@pytest.mark.parametrize(
    ("code", "commands"),
    [
        ("%sandbox status", ["status"]),
        ("%sandbox", ["help"]),
        ("  %sandbox  list  ", ["list"]),
        ("\n# look\n%sandbox restart\n\n%sandbox\tstatus default\n", ["restart", "status default"]),
        ("%sandbox status $HOME {1/0} `id`", ["status $HOME {1/0} `id`"]),
    ],
)
def test_lines_of_our_own_are_taken_as_they_stand(code: str, commands: list[str]) -> None:
    assert sandbox_commands(code) == commands


@pytest.mark.parametrize(
    "code",
    ["", "1 + 1", "%sandboxes", "%time 1", "x = %sandbox status", "print('''\n%sandbox stop\n''')", "!ls", "# x"],
)
def test_all_other_cells_are_for_the_sandbox(code: str) -> None:
    assert sandbox_commands(code) is None
    assert sandbox_cell(code) is None


@pytest.mark.parametrize(
    "code",
    [
        "%sandbox status\nimport os",
        "%sandbox status; import os",
        "%sandbox put a b",
        "%sandbox apply",
        "%sandbox off",
        "%sandbox on",
        "%sandbox exec x",
        "%sandbox status\n!ls",
    ],
)
def test_nothing_else_comes_along(code: str) -> None:
    with pytest.raises(UsageError):
        assert sandbox_commands(code) == []


def test_a_cell_for_another_session() -> None:
    assert sandbox_cell("%%sandbox other --memory 1g\nx = 1\n%sandbox status") == (
        "other --memory 1g",
        "x = 1\n%sandbox status",
    )
    assert sandbox_cell("\n%%sandbox\n1") == ("", "1")
    assert sandbox_cell("1\n%%sandbox\n1") is None


@pytest.mark.parametrize("code", ["%%sandbox", "%%sandbox other", "%%sandbox\n  \n"])
def test_a_cell_without_a_body_is_a_mistake(code: str) -> None:
    with pytest.raises(UsageError, match="no code"):
        sandbox_cell(code)
