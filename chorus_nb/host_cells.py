"""Which cells of a notebook on the sandbox kernel are for the host: our own magics, alone, and nothing else.

The host takes them apart itself. No line of them is handed to IPython, which would expand ``$name`` and
``{expression}`` in it, so nothing that stands in a cell is evaluated here.
"""

from __future__ import annotations

import re

from IPython.core.error import UsageError

COMMANDS = ("status", "list", "start", "stop", "restart", "interrupt", "kill", "logs", "panel", "config", "help")
"""Those of ``%sandbox`` that a notebook may give whose cells are not trusted: none runs or moves anything here."""

_CELL = re.compile(r"\s*%%sandbox(?:[ \t]+(?P<line>[^\n]*))?(?:\n(?P<body>.*))?", re.DOTALL)
_LINE = re.compile(r"%sandbox(?:[ \t]+(?P<line>.*))?")


def sandbox_cell(code: str) -> tuple[str, str] | None:
    """Return the options and the body of a ``%%sandbox`` cell; None where it is another cell.

    Raises
    ------
    UsageError
        Where it has no body.
    """
    match = _CELL.fullmatch(code)
    if match is None:
        return None
    if not (match["body"] or "").strip():
        raise UsageError("%%sandbox: there is no code below this line. %sandbox help says what else there is.")
    return match["line"] or "", match["body"]


def sandbox_commands(code: str) -> list[str] | None:
    """Return what follows ``%sandbox`` on each line; None where the cell does not begin with such a line.

    Raises
    ------
    UsageError
        Where other code follows, or for a command that a notebook may not give here.
    """
    lines = [line.strip() for line in code.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or not _LINE.fullmatch(lines[0]):
        return None
    return [_command(line) for line in lines]


def _command(line: str) -> str:
    match = _LINE.fullmatch(line)
    if match is None:
        raise UsageError("%sandbox lines are for the notebook, other code for the sandbox: put it into its own cell.")
    command = (match["line"] or "help").strip()
    name = command.split()[0] if command else "help"
    if name not in COMMANDS:
        raise UsageError(
            f"%sandbox {name}: in a notebook that runs wholly in a sandbox there is no such command. "
            f"Try: {', '.join(COMMANDS)}."
        )
    return command
