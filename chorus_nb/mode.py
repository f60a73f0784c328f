"""``%sandbox on``: every following cell runs in the sandbox, until ``%sandbox off``.

An input transformer of IPython's puts the text of a cell into a call that runs it in the sandbox, before any of it is
taken for Python or for a magic of the notebook. What it gets wrong must never run here, so it lets through what it
knows, line by line, and nothing else: ``%%sandbox`` cells, cells of nothing but our own line magics, and ``%%host``.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import cell_magic

from .errors import ConfigurationError

_RUN = "_chorus_nb_run"
_LEFT_ON = "_chorus_nb_left_on"
_CALL = f"get_ipython().{_RUN}("
_HOST = re.compile(r"%%host(?P<rest>\?{1,2}|[ \t].*)?\s*")
_SANDBOX = re.compile(r"%%sandbox(?=\s|$)")
_OWN_LINE = re.compile(
    r"\s*(?:#.*"
    r"|%sandbox(?:[ \t].*)?"
    r"|%{1,2}(?:sandbox|host)\?{1,2}"
    r"|%(?:re|un)?load_ext[ \t]+chorus_nb"
    r")?\s*"
)


class Mode:
    """Whether cells run in the sandbox, and in which.

    Parameters
    ----------
    shell : InteractiveShell
    run : callable
        Runs a cell: takes what :meth:`turn_on` was given, and the text.

    Attributes
    ----------
    line : str or None
        What followed ``%sandbox on``; None while it is off.
    arguments : Namespace or None
        The same, parsed; None where it could not be. Then no cell runs at all.
    """

    def __init__(self, shell: Any, run: Callable[[Namespace, str], object]) -> None:
        self.line: str | None = None
        self.arguments: Namespace | None = None
        self._shell = shell
        self._run = run
        self._host_cell: object = None
        self._cells_ended = 0
        self._prompts: Any = None

    @property
    def is_on(self) -> bool:
        return self.line is not None

    @property
    def switch(self) -> str:
        """The line that turned it on."""
        return f"%sandbox on {self.line}".strip()

    def install(self) -> None:
        """Look at every cell from now on."""
        transformers = self._shell.input_transformers_cleanup
        # Behind what takes blank lines, indents and prompts away, before the magics of the notebook.
        here = transformers.index(cell_magic) if cell_magic in transformers else len(transformers)
        self._transform_lines = _WithSideEffects(self.transform)
        transformers.insert(here, self._transform_lines)
        self._shell.events.register("post_run_cell", self._cell_ended)
        setattr(self._shell, _RUN, self.run)
        left_on = self._shell.__dict__.get(_LEFT_ON)
        if left_on is not None:
            # Now, so that no cell runs here where the rest of the load fails.
            self.turn_on(left_on)

    def uninstall(self) -> None:
        """Leave the shell as it was."""
        self._leave_a_note()
        self.turn_off()
        self._shell.input_transformers_cleanup.remove(self._transform_lines)
        self._shell.events.unregister("post_run_cell", self._cell_ended)
        self._shell.__dict__.pop(_RUN, None)

    def resume(self) -> None:
        """Turn it on where the cell that runs now has unloaded the extension while it was on."""
        line = self._shell.__dict__.pop(_LEFT_ON, None)
        if line is not None:
            self._shell.run_line_magic("sandbox", f"on {line}")

    def _leave_a_note(self) -> None:
        """Have a load in the same cell find that it was on: ``%reload_ext`` must take nobody out of the sandbox."""
        events = self._shell.events
        setattr(self._shell, _LEFT_ON, self.line)

        def forget(_: object) -> None:
            self._shell.__dict__.pop(_LEFT_ON, None)
            events.unregister("post_run_cell", forget)

        events.register("post_run_cell", forget)

    def turn_on(self, line: str) -> None:
        """Have every following cell run in the sandbox; none does before :attr:`arguments` is set."""
        self.line, self.arguments = line, None

        self._mark_prompt(f"sandbox {line}".strip())

    def turn_off(self) -> None:
        """Have cells run in the notebook's kernel again."""
        self.line = self.arguments = None
        self._mark_prompt("")

    def transform(self, lines: list[str]) -> list[str]:
        """Return the lines that run here in place of a cell's."""
        if not lines:
            return lines
        if host := _HOST.fullmatch(lines[0]):
            return self._on_host((host["rest"] or "").strip(), lines[1:])
        if not self.is_on or self._runs_on_host() or is_own(lines):
            return lines
        if is_own([next(line for line in lines if line.strip() and not line.lstrip().startswith("#"))]):
            raise UsageError("While %sandbox is on, its lines have a cell of their own: the rest would not run here.")
        return [f"{_CALL}{''.join(lines)!r})\n"]

    def takes(self, cell: str) -> bool:
        """Whether a cell is one that the mode runs in the sandbox."""
        lines = cell.lstrip("\n").splitlines(keepends=True)
        return self.is_on and bool(lines) and not _HOST.fullmatch(lines[0]) and not is_own(lines)

    def run(self, cell: str) -> object:
        """Run a cell in the sandbox. Raises where the mode has none to run it in: it does not run then."""
        if self.arguments is None:
            state = f"`{self.switch}` has failed" if self.is_on else "the mode is off"
            raise ConfigurationError(
                f"The cell did not run: {state}.",
                next_step="Correct that line and run it again, or run `%sandbox off`.",
            )
        return self._run(self.arguments, cell)

    def _on_host(self, rest: str, lines: list[str]) -> list[str]:
        if rest and rest not in ("?", "??"):
            raise UsageError(f"%%host takes nothing, and not {rest!r}.")
        if rest:
            return [f"%%host{rest}\n"]
        self._host_cell = self._cell()
        return lines

    def _runs_on_host(self) -> bool:
        """Whether this is code that a ``%%host`` cell has IPython run, as ``%%time`` does with its body."""
        return self._host_cell is not None and self._cell() == self._host_cell

    def _cell(self) -> object:
        """Return what tells the cell that runs now from every other one."""
        kernel = getattr(self._shell, "kernel", None)
        return kernel.get_parent("shell").get("header", {}).get("msg_id") if kernel else self._cells_ended

    def _mark_prompt(self, label: str) -> None:
        """Say in a terminal's prompt where the next cell runs; a notebook has the strip for it."""
        if not hasattr(self._shell, "prompts"):
            return
        self._prompts = self._prompts or self._shell.prompts
        self._shell.prompts = _marked(self._prompts, label) if label else self._prompts

    def _cell_ended(self, _: object) -> None:
        """Have ``In`` hold what the person wrote."""
        self._cells_ended += 1
        history = self._shell.history_manager
        parsed, raw = history.input_hist_parsed, history.input_hist_raw
        if parsed and parsed[-1].startswith(_CALL):
            parsed[-1] = raw[-1]


def _marked(prompts: Any, label: str) -> Any:
    from IPython.terminal.prompts import Token  # Only a terminal has them.

    kind = type(prompts)

    def in_prompt_tokens(self: Any) -> list[tuple[Any, str]]:
        return [(Token.Prompt, f"[{label}] "), *kind.in_prompt_tokens(self)]

    return type(kind.__name__, (kind,), {"in_prompt_tokens": in_prompt_tokens})(prompts.shell)


class _WithSideEffects:
    """A transformer that IPython leaves out where it only asks whether a cell is complete."""

    has_side_effects = True

    def __init__(self, transform: Callable[[list[str]], list[str]]) -> None:
        self._transform = transform

    def __call__(self, lines: list[str]) -> list[str]:
        return self._transform(lines)


def is_own(lines: list[str]) -> bool:
    """Whether a cell is one for our own magics alone, so that nothing else of it could run on the host."""
    return bool(_SANDBOX.match(lines[0])) or all(_OWN_LINE.fullmatch(line) for line in lines)
