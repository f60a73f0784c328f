"""``%%sandbox`` and ``%sandbox``: declare, parse, act."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, argument_group, kwds, magic_arguments, parse_argstring

from .background import BackgroundCell
from .cell import ask, can_ask, run_in_turn
from .commands import Commands
from .config import OutputMode, choices, duration_s
from .errors import ChorusError, ConfigurationError
from .magic_line import OF_THE_CELL, sessions_asked
from .manager import DEFAULT_NAME, SessionManager
from .mode import Mode
from .options import PROFILE, policy_arguments
from .replay import Strip
from .sanitize import printable_line
from .script import Script
from .session import Session
from .side_by_side import Branch, run_side_by_side
from .turns import Turn, Turns
from .variables import CellVariables

StripFactory = Callable[[Session, str, Callable[[], None], OutputMode | None], Strip]


def _session_options(method: Callable[..., object]) -> Callable[..., object]:
    """Declare the options that make a session, as :mod:`chorus_nb.options` has them for the command line."""
    # IPython takes what decorates a method from the bottom up.
    for title, arguments in reversed([*policy_arguments(leave_out=OF_THE_CELL)]):
        for name, keywords in reversed(arguments):
            method = argument(name, **keywords)(method)
        method = argument_group(title)(method)
    return method


def _unquoted(value: Any) -> Any:
    """Return a word of a magic line as a shell would have it: IPython leaves its quotes on."""
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    if isinstance(value, str) and ("'" in value or '"' in value):
        with suppress(ValueError):
            return shlex.split(value)[0]
    return value


@magics_class
class SandboxMagics(Magics):
    """The magics of one shell.

    Parameters
    ----------
    shell : InteractiveShell
    manager : SessionManager
    make_strip : callable
        Makes the gauge of a cell from its session, ``"on"`` or ``"off"``, what its button does, and
        the form of its output, where the cell asks for one.
    show_panel : callable
        Shows the panel.

    Attributes
    ----------
    turns : Turns
        Which cell of a session comes next.
    namespace : dict or None
        The variables that ``-i`` and ``-o`` are about; None where the notebook has none outside of its sandboxes.
    """

    def __init__(
        self, shell: Any, manager: SessionManager, make_strip: StripFactory, show_panel: Callable[[], object]
    ) -> None:
        super().__init__(shell)
        self.manager = manager
        self.mode = Mode(shell, self.run)
        self.turns = Turns()
        self.namespace: dict[str, Any] | None = shell.user_ns
        self.commands = Commands(shell, manager, self.mode, self.parse, show_panel, self.turns)
        self._make_strip = make_strip

    @magic_arguments("%sandbox")
    @kwds(usage="%%sandbox [NAME] [options]")
    @argument(
        "name",
        nargs="?",
        default=DEFAULT_NAME,
        help="The session: made at its first use, kept from cell to cell. In a,b,c it runs side by side.",
    )
    @argument("--fresh", action="store_true", help="End the session first and make it anew with these options.")
    @argument("--profile", help=f"What its options start from: {PROFILE}.")
    @argument("--timeout", help="Seconds this cell may run, or 30s, 5m, 1h.")
    @argument(
        "--output",
        choices=choices("output"),
        help="What this cell shows: safe (the default), trusted (may act in this page) or text.",
    )
    @argument("--gauge", choices=("on", "off"), help="The strip above the output.")
    @argument("--bg", action="store_true", help="Return at once, with a handle; the output appears as it comes.")
    @argument("-i", dest="inputs", action="append", metavar="VARS", help="Copy these variables in first: x,y.")
    @argument("-o", dest="outputs", action="append", metavar="VARS", help="Copy these out after it: z.")
    @argument(
        "--matrix",
        action="append",
        metavar="OPTION=A,B",
        help="Run side by side in one new session for each value of an option, all ended after the cell; given twice, "
        "in every combination. python=3.13 is the image python:3.13-slim.",
    )
    @argument(
        "--lang",
        choices=("python", "sh"),
        default="python",
        help="sh: the cell is a shell script; its variables are not kept.",
    )
    @_session_options
    @cell_magic("sandbox")
    def cell(self, line: str, cell: str) -> object:
        """Run the cell in a sandbox: a locked container with its own live namespace."""
        return self.run(self.parse(line), cell)

    @line_magic("sandbox")
    def line(self, line: str) -> None:
        """Look after the sessions: %sandbox status | list | start | stop | on | off | ..., and %sandbox help."""
        self.commands.run(line)

    @cell_magic("host")
    def host(self, line: str, cell: str) -> None:
        """Run the cell in the notebook's kernel, as if it stood there without this line; also while %sandbox is on."""
        # The mode takes the line away before IPython looks for magics.
        raise UsageError("%%host has to be the first line of a cell.")

    def parse(self, line: str) -> Namespace:
        """Read a line with the options of ``%%sandbox``. Raises ``UsageError``."""
        try:
            arguments = parse_argstring(self.cell, line)
        except UsageError as error:
            # It repeats the line, which came with a notebook, maybe: to a terminal that may be more than text.
            what = printable_line(str(error))
            if re.search(r",\s", line):
                raise UsageError(f"{what}: names and values are separated by commas alone, as in a,b,c") from None
            raise UsageError(what) from None
        return Namespace(**{name: _unquoted(value) for name, value in vars(arguments).items()})

    def run(self, arguments: Namespace, cell: str) -> object:
        """Run a cell as its line says; return its value, or what stands for it."""
        typed_s = None if arguments.timeout is None else duration_s("--timeout", arguments.timeout)
        # The magic's cell ends with a line break that the notebook's has not.
        cell = cell.removesuffix("\n")
        cell = Script(cell) if arguments.lang == "sh" else cell
        if arguments.output:
            self.manager.permit({"output": arguments.output})  # It is the cell's own, and may be refused, too.
        variables = CellVariables.of(self.namespace, arguments, len(sessions_asked(arguments)))
        sessions = self._sessions(arguments)
        timeout_s = typed_s or self.manager.settings_of(sessions[0]).config.limits.timeout_s
        if arguments.matrix:
            try:
                return self._run_many(arguments, sessions, cell, timeout_s, variables)
            finally:
                self.manager.remove_all(sessions)
        if len(sessions) > 1:
            return self._run_many(arguments, sessions, cell, timeout_s, variables)
        turn, strip = self._turn_and_strip(arguments, sessions[0])
        if arguments.bg:
            return BackgroundCell(self.shell, turn, sessions[0], cell, timeout_s, strip, variables)
        on_input = ask if can_ask(self.shell) else None
        # In is the notebook's: so are the numbers in tracebacks, and of Out.
        number = self.shell.displayhook.prompt_count
        return run_in_turn(turn, sessions[0], cell, timeout_s, strip, on_input, variables, execution_count=number)

    def _sessions(self, arguments: Namespace) -> list[Session]:
        asked = sessions_asked(arguments)
        if arguments.bg and (arguments.matrix or len(asked) > 1):
            raise ConfigurationError(
                "--bg runs a cell in one session.", next_step="Write a %%sandbox --bg cell for each session."
            )
        if arguments.matrix:
            return self.manager.make(asked)
        return [self.manager.ensure(name, options, fresh=arguments.fresh) for name, options in asked.items()]

    def _run_many(
        self,
        arguments: Namespace,
        sessions: list[Session],
        cell: str,
        timeout_s: float | None,
        variables: CellVariables | None,
    ) -> object:
        branches = [Branch(session, *self._turn_and_strip(arguments, session)) for session in sessions]
        return run_side_by_side(branches, cell, timeout_s, variables)

    def _turn_and_strip(self, arguments: Namespace, session: Session) -> tuple[Turn, Strip]:
        turn = self.turns.enter(session)
        gauge = arguments.gauge or self.manager.settings_of(session).gauge
        return turn, self._make_strip(session, gauge, turn.stop, arguments.output)

    def session_of(self, line: str) -> Session | None:
        """Return the session that the line of a ``%%sandbox`` cell names, where there is one; none is made."""
        try:
            return self._first(self.parse(line))
        except (UsageError, ChorusError, ValueError):
            return None  # The line is wrong, or not complete yet.

    def session_of_mode(self, code: str) -> Session | None:
        """Return the session that a cell would run in because ``%sandbox`` is on."""
        arguments = self.mode.arguments
        if arguments is None or not self.mode.takes(code):
            return None
        try:
            return self._first(arguments)
        except ChorusError:
            return None

    def is_script(self, line: str | None, code: str) -> bool:
        """Whether a cell below this line of ``%%sandbox``, or one without it while the mode is on, is no Python."""
        try:
            arguments = self.mode.arguments if line is None else self.parse(line)
        except (UsageError, ValueError):
            return False  # The line is not complete yet.
        taken = line is not None or self.mode.takes(code)
        return taken and arguments is not None and arguments.lang == "sh"

    def _first(self, arguments: Namespace) -> Session:
        return self.manager.get(arguments.name.split(",")[0])
