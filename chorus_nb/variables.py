"""Variables of the notebook and of its sandboxes, as people ask for them: ``-i``, ``-o``, ``%sandbox push | pull``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .command_words import CommandParser
from .errors import ConfigurationError, ExecutionInterruptedError, VariableNotFoundError
from .manager import DEFAULT_NAME, SessionManager
from .session import Session
from .transfer import checked_names, pull, push
from .turns import Turns


def names_in(words: Iterable[str]) -> list[str]:
    """Return the names in words such as ``x,y``. Raises ``ConfigurationError``."""
    return checked_names(name for word in words for name in word.split(","))


def _values(namespace: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return variables of the notebook, before anything runs without them."""
    names = list(names)
    if missing := [name for name in names if name not in namespace]:
        raise VariableNotFoundError(
            f"There is no variable {missing[0]} in the notebook.",
            next_step="Run the cell that defines it first.",
            path=missing[0],
        )
    return {name: namespace[name] for name in names}


class CellVariables:
    """What one cell takes in with it, and what it brings out.

    Parameters
    ----------
    namespace : dict
        The notebook's variables. Those that go in are looked up now, those that come out are put there.
    inputs, outputs : list of str
        As typed after ``-i`` and ``-o``.
    """

    def __init__(self, namespace: dict[str, Any], inputs: list[str], outputs: list[str]) -> None:
        self._namespace = namespace
        self._inputs = _values(namespace, names_in(inputs)) if inputs else {}
        self._outputs = names_in(outputs) if outputs else []

    @classmethod
    def of(cls, namespace: dict[str, Any] | None, arguments: Namespace, sessions: int) -> CellVariables | None:
        """Return what the line of a cell asks for, or None. Raises where that can't be, before anything has run."""
        inputs, outputs = arguments.inputs or [], arguments.outputs or []
        if not inputs and not outputs:
            return None
        if namespace is None:
            raise ConfigurationError(
                "All variables of this notebook are in sandboxes: there is nothing for -i and -o to copy from or to.",
                next_step="Leave them out, or move data by files.",
            )
        if arguments.lang == "sh":
            raise ConfigurationError(
                "A shell script has no variables to take in or bring out.",
                next_step="Use --env NAME, or files; leave out -i and -o.",
            )
        if outputs and (sessions > 1 or arguments.matrix):
            raise ConfigurationError(
                "-o brings variables out of one session, and the cell runs in several.",
                next_step="Name one session, or use %sandbox pull afterwards, for each.",
            )
        return cls(namespace, inputs, outputs)

    def bring_in(self, session: Session) -> None:
        """Copy the inputs into the session."""
        if self._inputs:
            _interruptible(lambda: push(session, self._inputs, shown=True), "the cell did not run")

    def bring_out(self, session: Session) -> None:
        """Copy the outputs into the notebook's variables: all of them, or none."""
        if self._outputs:
            copied = _interruptible(lambda: pull(session, self._outputs, shown=True), "its variables were not copied")
            self._namespace.update(copied)


def _interruptible(copy: Callable[[], Any], what: str) -> Any:
    try:
        return copy()
    except KeyboardInterrupt:
        raise ExecutionInterruptedError("KeyboardInterrupt", what, []) from None


class VariableCommands:
    """``%sandbox push`` and ``%sandbox pull``.

    Parameters
    ----------
    shell : InteractiveShell
    manager : SessionManager
    turns : Turns
        Where they wait for the cells of the session that were asked for before.
    """

    def __init__(self, shell: Any, manager: SessionManager, turns: Turns) -> None:
        self._shell = shell
        self._manager = manager
        self._turns = turns
        self.table: dict[str, Callable[[str], None]] = {"push": self.push, "pull": self.pull}

    def push(self, text: str) -> None:
        """Copy variables of the notebook into a session."""
        asked = _parsed("push", text)
        values = _values(self._shell.user_ns, names_in(asked.names))
        session = self._session(asked)
        self._in_turn(session, lambda: push(session, values, shown=True))
        print(f"Copied to the sandbox {session.name!r}: {', '.join(values)}.")

    def pull(self, text: str) -> None:
        """Copy variables of a session into the notebook."""
        asked = _parsed("pull", text)
        names, session = names_in(asked.names), self._session(asked)
        self._shell.user_ns.update(self._in_turn(session, lambda: pull(session, names, shown=True)))
        print(f"Copied from the sandbox {session.name!r}: {', '.join(names)}.")

    def _session(self, asked: Namespace) -> Session:
        if asked.session == DEFAULT_NAME:
            return self._manager.ensure(DEFAULT_NAME, {})
        return self._manager.get(asked.session)

    def _in_turn(self, session: Session, copy: Callable[[], Any]) -> Any:
        with self._turns.enter(session) as turn:
            return _interruptible(lambda: (turn.wait(), copy())[1], "nothing was copied")


def _parsed(command: str, text: str) -> Namespace:
    parser = CommandParser(f"%sandbox {command} x,y [--session NAME]")
    parser.add_argument("names", nargs="+")
    return parser.read(text)
