"""What nbval is told besides the notebooks: a plugin for the pytest that runs in a process of its own.

nbval compares what a cell put out with what the notebook has saved. It passes over some of it (pictures, tracebacks,
updates of displays, ``clear_output``); here these are compared too. With ``--record`` it compares nothing and saves.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

COMPARED_TOO = {"image/png", "image/jpeg", "traceback"}
PACKED = re.compile(r"H4sI[A-Za-z0-9+/=]+")
"""Base64 of gzip."""

UPDATE = "update_display_data "
CLEAR = "clear_output"
OUTPUTS = {"stream", "display_data", "update_display_data", "execute_result", "error"}


def execute_as_front_ends_do(kernel: RunningKernel, source: str, allow_stdin: bool) -> str:
    """Have the cell stored in the history: a semicolon at its end counts only then, and its number grows."""
    return kernel.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


RunningKernel.execute_cell_input = execute_as_front_ends_do


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="Save the outputs in the notebooks.")
    parser.addoption("--verdicts", type=Path, help="Where to write what became of each cell.")


def pytest_collectstart(collector: pytest.Collector) -> None:
    if isinstance(collector, IPyNbFile):
        collector.skip_compare = tuple(key for key in collector.skip_compare if key not in COMPARED_TOO)
        collector.get_kernel_message = Messages(collector)


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    for item in items:
        # A cell may fail natively; then it must fail in the sandbox with the same words.
        item.options["check_exception"] = True
        item.options["check"] &= not config.getoption("--record")
        item.sanitize = Sanitizer(item)


class Messages:
    """The kernel's messages, with those that nbval would pass over made into displays.

    Output is cleared when a front end clears it: with ``wait``, at the next output.
    """

    def __init__(self, collector: IPyNbFile) -> None:
        self._next = collector.get_kernel_message
        self._clear_first = False
        self._held: dict[str, Any] | None = None

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        message, self._held = self._held or self._next(*arguments, **options), None
        content, kind = message["content"], message["msg_type"]
        if kind == "clear_output" and content["wait"]:
            self._clear_first = True
            return self(*arguments, **options)
        if kind == "status":
            self._clear_first = False
        elif self._clear_first and kind in OUTPUTS:
            self._clear_first, self._held = False, message
            return _display(message, {CLEAR: "now"})
        if kind == "clear_output":
            return _display(message, {CLEAR: "now"})
        if kind == "update_display_data":
            return _display(message, {UPDATE + mime: value for mime, value in content["data"].items()})
        return message


def _display(message: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    return {**message, "msg_type": "display_data", "content": {"data": data, "metadata": {}}}


class Sanitizer:
    """nbval's own, for the lines of a traceback too, and for what frames carry packed."""

    def __init__(self, cell: IPyNbCell) -> None:
        self._next = cell.sanitize

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            value = "\n".join(value)
        if isinstance(value, str) and "<iframe" in value:
            value = PACKED.sub(lambda match: gzip.decompress(base64.b64decode(match[0])).decode(), value)
        return self._next(value)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call" or report.failed:
        verdicts = item.config.stash.setdefault(VERDICTS, {})
        verdict = {"cell": item.cell_num, "outcome": report.outcome, "why": str(report.longrepr or "")}
        verdicts.setdefault(str(item.path), []).append(verdict)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if item.config.getoption("--record") and item.test_outputs is not None:
        item.cell.outputs = item.test_outputs
        item.cell.execution_count = item.cell_num + 1
        nbformat.write(item.parent.nb, item.path)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--verdicts")
    path.write_text(json.dumps(session.config.stash.get(VERDICTS, {})))


VERDICTS = pytest.StashKey[dict[str, list[dict[str, Any]]]]()
