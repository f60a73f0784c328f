"""``%sandbox COMMAND``: looking after the sessions."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError

from .errors import ConfigurationError
from .magic_line import sessions_asked
from .manager import DEFAULT_NAME, SessionManager
from .mode import Mode, is_own
from .review_commands import ReviewCommands
from .session import Session
from .status import describe, list_sessions, settings_table
from .transfer_commands import TransferCommands
from .turns import Turns
from .variables import VariableCommands

HELP = """\
%%sandbox [NAME] [options]     run the cell in a sandbox; %%sandbox? shows the options
%%sandbox a,b                  run it in several at once, side by side
%%sandbox --lang sh            run a shell script, also where the image has no Python
%%sandbox -i x,y -o z          copy x and y in before it runs, and z out after it
%%sandbox --bg                 run it in the background; the cell's value is its handle
%sandbox on [NAME] [options]   run every following cell in the sandbox, until %sandbox off
%sandbox off                   run cells in the notebook's kernel again
%%host                         run this cell in the notebook's kernel, also while %sandbox is on
%sandbox status [NAME]         what a session is, may use, and uses now
%sandbox list                  every session of this notebook
%sandbox start [NAME] [opts]   start a session ahead of its first cell
%sandbox stop [NAME]           end its container
%sandbox restart [NAME]        empty its namespace, in milliseconds
%sandbox interrupt [NAME]      interrupt the cell that runs in it
%sandbox kill [NAME]           kill its container at once
%sandbox logs [NAME]           what it said outside of any cell
%sandbox config [NAME]         the settings it was made with
%sandbox diff [PATHS]          what a session with --repo overlay has changed; --session NAME for each of these three
%sandbox apply [PATHS]         take that over to your files; --check only says what would be
%sandbox discard [PATHS]       throw it away: the sandbox has your files again
%sandbox push VARS             copy variables of the notebook into a session; --session NAME
%sandbox pull VARS             copy variables of a session into the notebook
%sandbox put SRC ... DST       copy files and folders into a session, as cp -r; --session NAME for both
%sandbox get SRC ... DST       copy them out; --force replaces files that differ
%sandbox panel                 every session, live, with buttons"""

_ON = re.compile(r"\s*%sandbox[ \t]+on\b")


class Commands:
    """The words that may follow ``%sandbox``, and what they do.

    Parameters
    ----------
    shell : InteractiveShell
    manager : SessionManager
    mode : Mode
        What ``on`` and ``off`` switch.
    parse : callable
        Reads a line with the options of ``%%sandbox``.
    show_panel : callable
        Shows the panel.
    turns : Turns
        Which cell of a session comes next.
    """

    def __init__(
        self,
        shell: Any,
        manager: SessionManager,
        mode: Mode,
        parse: Callable[[str], Namespace],
        show_panel: Callable[[], object],
        turns: Turns,
    ) -> None:
        self._shell = shell
        self._manager = manager
        self._mode = mode
        self._parse = parse
        self._show_panel = show_panel
        self.review = ReviewCommands(shell, manager)
        self.transfer = TransferCommands(manager)
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
            **self.review.table,
            **VariableCommands(shell, manager, turns).table,
            **self.transfer.table,
            "on": self._on,
            "off": self._off,
            "help": self._help,
        }

    @property
    def names(self) -> list[str]:
        """The commands there are."""
        return list(self._commands)

    def run(self, line: str) -> None:
        """Do what follows ``%sandbox``."""
        command, _, rest = line.strip().partition(" ")
        command = command or "help"
        if command not in self._commands:
            raise UsageError(f"%sandbox {command}: there is no such command. Try: {', '.join(self._commands)}.")
        self._commands[command](rest.strip())

    def _session(self, name: str) -> Session:
        return self._manager.get(name or DEFAULT_NAME)

    def _ensure(self, arguments: Namespace) -> list[Session]:
        asked = sessions_asked(arguments)
        return [self._manager.ensure(name, options, fresh=arguments.fresh) for name, options in asked.items()]

    def _status(self, name: str) -> None:
        print(describe(self._session(name)))

    def _list(self, _: str) -> None:
        print(list_sessions(self._manager.sessions()))

    def _start(self, line: str) -> None:
        arguments = self._parse(line)
        _refuse(arguments, "%sandbox start", "output")
        for session in self._ensure(arguments):
            session.start()
            print(f"The session {session.name!r} is ready.")

    def _stop(self, name: str) -> None:
        session = self._session(name)
        self._manager.stop(session.name)
        print(f"The session {session.name!r} is stopped; its variables are gone.")

    def _restart(self, name: str) -> None:
        session = self._session(name)
        if session.state == "closed":
            self._manager.start(session.name)
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
        known = {session.name for session in self._manager.sessions()}
        made = name or DEFAULT_NAME in known
        manager = self._manager
        print(settings_table(manager.settings_of(self._session(name)) if made else manager.settings_for({})))

    def _on(self, line: str) -> None:
        """Whatever is wrong with the line, from here on no cell runs in the kernel by mistake."""
        if self._mode.arguments is not None and line != self._mode.line:
            raise ConfigurationError(
                f"The mode is on already: `{self._mode.switch}`.", next_step="Run `%sandbox off` first."
            )
        self._mode.turn_on(line)
        self._refuse_code_behind()
        arguments = self._parse(line)
        _refuse(arguments, "%sandbox on")
        sessions = self._ensure(arguments)
        for session in sessions:
            session.start()
        arguments.fresh = False
        self._mode.arguments = arguments
        names = ", ".join(repr(session.name) for session in sessions)
        print(f"Cells run in the sandbox {names} from now on, until %sandbox off; %%host runs one in the kernel.")

    def _refuse_code_behind(self) -> None:
        raw = self._shell.history_manager.input_hist_raw[-1].splitlines()
        here = max((number for number, text in enumerate(raw) if _ON.match(text)), default=len(raw))
        if not is_own(["", *raw[here:]]):
            raise UsageError("%sandbox on has to end its cell: code below it would run in the notebook's kernel.")

    def _off(self, _: str) -> None:
        was_on = self._mode.is_on
        self._mode.turn_off()
        print("Cells run in the notebook's kernel from now on." if was_on else "The mode was not on.")

    def _help(self, _: str) -> None:
        print(HELP)


def _refuse(arguments: Namespace, command: str, *also: str) -> None:
    flags = {
        "bg": "--bg",
        "matrix": "--matrix",
        "inputs": "-i",
        "outputs": "-o",
        **{each: f"--{each}" for each in also},
    }
    for option, typed in flags.items():
        if getattr(arguments, option):
            raise ConfigurationError(
                f"{command} can't take {typed}: it belongs to one cell.",
                next_step="Write %%sandbox above that cell.",
            )
