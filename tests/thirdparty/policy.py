"""What a notebook that ran natively looks like behind the output policy, and what that changed."""

from __future__ import annotations

from typing import NamedTuple

import nbformat
from nbformat.v4 import new_output

from chorus_nb.agent.wire import Message
from chorus_nb.config import OutputPolicy
from chorus_nb.outputs import OutputFilter
from chorus_nb.page import OutputPage

from .plugin import CLEAR, UPDATE


class Change(NamedTuple):
    """What the output policy did to one representation of a cell's output."""

    cell: int
    mime: str
    what: str


def apply_policy(notebook: nbformat.NotebookNode) -> list[Change]:
    """Put every output of a notebook through the output policy, as a session does."""
    page = OutputPage("")
    return [change for index, cell in enumerate(notebook.cells) for change in _apply_to_cell(cell, index, page)]


def _apply_to_cell(cell: nbformat.NotebookNode, index: int, page: OutputPage) -> list[Change]:
    # Every widget passes: which may not be shown is said by tests/unit/test_widgets.py.
    outputs = OutputFilter(OutputPolicy(), page, lambda view: view)
    changes, shown = [], []
    for output in cell.outputs:
        admitted = output if CLEAR in output.get("data", {}) else _admit(outputs, output)
        changes += [Change(index, mime, what) for mime, what in _differences(output, admitted)]
        shown += [admitted] if admitted else []
    if notice := outputs.notice():
        shown.append(new_output("stream", name="stderr", text=notice))
    cell.outputs = shown
    return changes


def _admit(outputs: OutputFilter, output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    content = {key: value for key, value in output.items() if key != "output_type"}
    msg_type, prefix = output.output_type, ""
    if any(mime.startswith(UPDATE) for mime in output.get("data", {})):
        msg_type, prefix = "update_display_data", UPDATE
        content["transient"] = {"display_id": "any"}
        content["data"] = {mime.removeprefix(UPDATE): value for mime, value in output.data.items()}
    message = outputs.admit(Message(msg_type, content))
    if message is None:
        return None
    shown = {key: value for key, value in message.content.items() if key != "transient"}
    if "data" in shown:
        shown["data"] = {prefix + mime: value for mime, value in shown["data"].items()}
    return nbformat.from_dict({"output_type": output.output_type, **shown})


def _differences(old: nbformat.NotebookNode, new: nbformat.NotebookNode | None) -> list[tuple[str, str]]:
    if "data" not in old:
        return [] if new and all(new[key] == old[key] for key in new) else [(old.output_type, "cleaned")]
    before, after = old.data, new.data if new else {}
    return [(mime, _change(mime, after)) for mime in before if after.get(mime) != before[mime]]


def _change(mime: str, after: dict[str, str]) -> str:
    if mime in after:
        return "in a frame of its own" if "<iframe" in after[mime] else "cleaned"
    return "as an image" if mime == "image/svg+xml" and "text/html" in after else "not shown"
