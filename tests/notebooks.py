"""A notebook's shell with the magics loaded, on the fake engine."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.utils.capture import capture_output

from chorus_nb._extension import make_strip
from chorus_nb.completion import Completions
from chorus_nb.engines.base import Engine
from chorus_nb.magics import SandboxMagics
from chorus_nb.manager import SessionManager


class Notebook:
    """A shell with the magics loaded, and what its last cell showed."""

    def __init__(self, engine: Engine) -> None:
        self.shell = InteractiveShell.instance()
        self.manager = SessionManager(engine)
        self.panels = 0
        self.magics = SandboxMagics(self.shell, self.manager, make_strip, self._panel)
        self.shell.register_magics(self.magics)
        self.magics.mode.install()
        Completions(self.magics).install(self.shell)
        self.stdout = self.stderr = ""
        self.outputs: list[Any] = []

    def _panel(self) -> None:
        self.panels += 1

    def run(self, cell: str) -> ExecutionResult:
        with capture_output() as captured:
            result = self.shell.run_cell(cell, store_history=True)
        self.stdout, self.stderr, self.outputs = captured.stdout, captured.stderr, captured.outputs
        return result

    def error(self, cell: str) -> BaseException:
        result = self.run(cell)
        error = result.error_in_exec or result.error_before_exec
        assert error is not None
        return error

    def close(self) -> None:
        self.magics.mode.uninstall()
        self.manager.close_all()
        InteractiveShell.clear_instance()


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
