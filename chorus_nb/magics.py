"""``%%sandbox`` and ``%sandbox``: declare, parse, act."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from .cell import ask, can_ask, run_cell
from .config import SandboxConfig, duration_s
from .errors import ChorusError, ConfigurationError
from .manager import DEFAULT_NAME, SessionManager
from .replay import Strip
from .sandbox import RichOutput
from .session import Session
from .status import describe, list_sessions, settings

CONFIGURING = ("image", "memory", "cpus", "pids", "repo")
"""Options that make a session, and are refused where they differ from the ones it was made with."""

StripFactory = Callable[[Session, str], Strip]


@magics_class
class SandboxMagics(Magics):
    """The magics of one shell.

    Parameters
    ----------
    shell : InteractiveShell
    manager : SessionManager
    make_strip : callable
        Makes the gauge of a cell from its session and ``"on"`` or ``"off"``.
    show_panel : callable
        Shows the panel.
    """

    def __init__(
        self, shell: Any, manager: SessionManager, make_strip: StripFactory, show_panel: Callable[[], object]
    ) -> None:
        super().__init__(shell)
        self.manager = manager
        self._make_strip = make_strip
        self._show_panel = show_panel
        self._commands: dict[str, Callable[[str], object]] = {
            "status": self._status,
            "list": self._list,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "interrupt": self._interrupt,
            "kill": self._kill,
            "logs": self._logs,
            "panel": self._panel,
            "config": self._config,
            "help": self._help,
        }

    @property
    def commands(self) -> list[str]:
        """The words that may follow ``%sandbox``."""
        return list(self._commands)

    @magic_arguments("%sandbox")
    @argument(
        "name", nargs="?", default=DEFAULT_NAME, help="The session: made at its first use, kept from cell to cell."
    )
    @argument("--image", help="`mirror` (this notebook's own Python and packages) or a local image with CPython 3.8+.")
    @argument("--memory", help="Memory with swap, such as 512m or 2g.")
    @argument("--cpus", help="CPU time per time, such as 1.5.")
    @argument("--pids", help="Processes and threads at one time.")
    @argument("--timeout", help="Seconds this cell may run, or 30s, 5m, 1h.")
    @argument("--repo", help="The repository at /workspace: ro (read-only), rw (writable) or none.")
    @argument(
        "--env", action="append", metavar="NAME[=VALUE]", help="Pass an environment variable in; may be repeated."
    )
    @argument("--fresh", action="store_true", help="End the session first and make it anew with these options.")
    @argument("--gauge", choices=("on", "off"), default="on", help="The strip above the output.")
    @cell_magic("sandbox")
    def cell(self, line: str, cell: str) -> RichOutput | None:
        """Run the cell in a sandbox: a locked container with its own live namespace."""
        arguments = self._parse(line)
        session = self.manager.ensure(arguments.name, _options(arguments), fresh=arguments.fresh)
        timeout_s = None if arguments.timeout is None else duration_s("--timeout", arguments.timeout)
        strip = self._make_strip(session, arguments.gauge)
        return run_cell(session, cell, timeout_s, strip, ask if can_ask(self.shell) else None)

    @line_magic("sandbox")
    def line(self, line: str) -> None:
        """Look after the sessions: %sandbox status | list | start | stop | restart | ..., and %sandbox help."""
        command, _, rest = line.strip().partition(" ")
        if not command:
            command = "help"
        if command not in self._commands:
            raise UsageError(f"%sandbox {command}: there is no such command. Try: {', '.join(self._commands)}.")
        self._commands[command](rest.strip())

    def session_of(self, line: str) -> Session | None:
        """Return the session that the line of a ``%%sandbox`` cell names, where there is one; none is made."""
        try:
            return self.manager.get(self._parse(line).name)
        except (UsageError, ChorusError, ValueError):
            return None  # The line is wrong, or not complete yet.

    def _parse(self, line: str) -> Namespace:
        return parse_argstring(self.cell, line)  # type: ignore[no-any-return]

    def _session(self, name: str) -> Session:
        return self.manager.get(name or DEFAULT_NAME)

    def _status(self, name: str) -> None:
        print(describe(self._session(name)))

    def _list(self, _: str) -> None:
        print(list_sessions(self.manager.sessions()))

    def _start(self, line: str) -> None:
        arguments = self._parse(line)
        session = self.manager.ensure(arguments.name, _options(arguments), fresh=arguments.fresh)
        session.start()
        print(f"The session {session.name!r} is ready.")

    def _stop(self, name: str) -> None:
        session = self._session(name)
        session.close()
        print(f"The session {session.name!r} is stopped; its variables are gone.")

    def _restart(self, name: str) -> None:
        session = self._session(name)
        if session.state == "closed":
            self.manager.start(session.name)
        else:
            session.restart()
        print(f"The session {session.name!r} is restarted; its variables are gone.")

    def _interrupt(self, name: str) -> None:
        self._session(name).interrupt()

    def _kill(self, name: str) -> None:
        session = self._session(name)
        session.kill()
        print(f"The container of the session {session.name!r} is killed; the next cell starts a new one.")

    def _logs(self, name: str) -> None:
        print(self._session(name).logs(), end="")

    def _panel(self, _: str) -> None:
        self._show_panel()

    def _config(self, name: str) -> None:
        known = {session.name for session in self.manager.sessions()}
        config = self._session(name).config if name or DEFAULT_NAME in known else SandboxConfig()
        print(settings(config))

    def _help(self, _: str) -> None:
        print(HELP)


HELP = """\
%%sandbox [NAME] [options]     run the cell in a sandbox; %%sandbox? shows the options
%sandbox status [NAME]         what a session is, may use, and uses now
%sandbox list                  every session of this notebook
%sandbox start [NAME] [opts]   start a session ahead of its first cell
%sandbox stop [NAME]           end its container
%sandbox restart [NAME]        empty its namespace, in milliseconds
%sandbox interrupt [NAME]      interrupt the cell that runs in it
%sandbox kill [NAME]           kill its container at once
%sandbox logs [NAME]           what it said outside of any cell
%sandbox config [NAME]         the settings it was made with
%sandbox panel                 every session, live, with buttons"""


def _options(arguments: Namespace) -> dict[str, Any]:
    given = {name: getattr(arguments, name) for name in CONFIGURING if getattr(arguments, name) is not None}
    if arguments.env:
        given["env"] = dict(_variable(each) for each in arguments.env)
    return given


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = shlex.split(text)[0].partition("=") if text else ("", "", "")
    if not equals and name not in os.environ:
        raise ConfigurationError(
            f"--env {name}: there is no such variable here.", next_step=f"Give it a value: --env {name}=VALUE."
        )
    return name, value if equals else os.environ[name]
