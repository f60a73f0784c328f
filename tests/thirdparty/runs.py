"""Runs the notebooks of the catalogue natively and in the sandbox, and has nbval compare."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from chorus_nb.agent.wire import Message
from chorus_nb.config import OutputPolicy
from chorus_nb.outputs import OutputFilter

from . import archives, cells
from .catalogue import CATALOGUE, ThirdParty
from .plugin import CLEAR, UPDATE

HERE = Path(__file__).parent
NATIVE = "third-party-native"
LOAD = "%load_ext chorus_nb"


def write_notebooks(work: Path, catalogue: list[ThirdParty] = CATALOGUE) -> list[Path]:
    """Write each notebook, without outputs, into a folder of its own, with the files that lie beside it."""
    unpacked = unpack(work / "archives", catalogue)
    paths = []
    for number, source in enumerate(catalogue):
        folder = work / "notebooks" / f"{number:02}-{source.project}"
        paths.append(folder / "notebook.ipynb")
        if source.is_file:
            file = unpacked / source.project / source.path
            ignore = shutil.ignore_patterns("*.ipynb", "*.py", "*.rst", "*.md")
            shutil.copytree(file.parent, folder, ignore=ignore)
            sources = cells.read(file)
        else:
            folder.mkdir(parents=True)
            sources = cells.from_docstrings(source.path)
        nbformat.write(notebook_of(sources, source), paths[-1])
    return paths


def unpack(destination: Path, catalogue: list[ThirdParty]) -> Path:
    """Unpack the folders that the catalogue needs, each archive once."""
    pins = archives.fetch()
    for project in {source.project for source in catalogue if source.is_file}:
        folders = {str(PurePosixPath(source.path).parent) for source in catalogue if source.project == project}
        archives.unpack(pins[project], folders, destination / project)
    return destination


def notebook_of(sources: list[str], source: ThirdParty) -> nbformat.NotebookNode:
    """A notebook of these cells, with nbval's tags on those that are not run or not repeatable.

    Its first cell does nothing: it stands where another notebook of the same cells loads the extension.
    """
    tagged = [new_code_cell(text, metadata={"tags": tags(source, index)}) for index, text in enumerate(sources)]
    before = [new_code_cell("pass"), *([new_code_cell(source.first)] if source.first else [])]
    return new_notebook(cells=[*before, *tagged])


def tags(source: ThirdParty, index: int) -> list[str]:
    """What nbval is told of a cell."""
    left_out = ["nbval-skip"] if index in source.left_out else []
    return left_out + (["nbval-ignore-output"] if index in source.unrepeatable else [])


def run_nbval(paths: list[Path], kernel: str, *options: str) -> dict[str, list[dict[str, Any]]]:
    """Run nbval on notebooks in a process of its own; what became of each cell, by path."""
    verdicts = paths[0].with_name(f"verdicts-{kernel}.json")
    command = [sys.executable, "-m", "pytest", "-p", "thirdparty.plugin", "-p", "no:cacheprovider", "--quiet"]
    command += ["--color=no", "--nbval", f"--nbval-kernel-name={kernel}", "--nbval-cell-timeout=60"]
    command += [f"--nbval-sanitize-with={HERE / 'sanitize.cfg'}", f"--verdicts={verdicts}", f"--rootdir={paths[0].parent}"]
    environment = os.environ | {"JUPYTER_PATH": str(kernels(paths[0].parent)), "PYTHONPATH": python_path()}
    done = subprocess.run([*command, *options, *map(str, paths)], env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"nbval did not run:\n{done.stdout}\n{done.stderr}")
    found: dict[str, list[dict[str, Any]]] = json.loads(verdicts.read_text())
    return found


def python_path() -> str:
    """Where our processes find this package and the one that is tested."""
    return os.pathsep.join([str(HERE.parent), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])


def kernels(folder: Path) -> Path:
    """Write the kernelspec of the stock kernel, as it is outside of a test run.

    With ``PYTEST_CURRENT_TEST`` in its environment ipykernel would not capture what is written to descriptors 1 and 2.
    """
    spec = folder / "jupyter" / "kernels" / NATIVE / "kernel.json"
    argv = ["env", "-u", "PYTEST_CURRENT_TEST", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "Native", "language": "python"}))
    return folder / "jupyter"


def with_magic(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same cells, each below a ``%%sandbox`` line.

    What fails in such a cell raises ``ExecutionError`` in the notebook, with the sandbox's own traceback.
    """
    notebook.cells[0].source = LOAD
    for cell in notebook.cells[1:]:
        if cell.source.strip():
            cell.source = f"%%sandbox --gauge off\n{cell.source}"
        for output in cell.outputs:
            if output.output_type == "error":
                output.evalue = f"{output.ename}: {output.evalue}" if output.evalue else output.ename
                output.ename = "ExecutionError"
    return notebook


def policed(notebook: nbformat.NotebookNode) -> list[Change]:
    """Put every output through the output policy, as a session does; what that changed."""
    changes = []
    for index, cell in enumerate(notebook.cells):
        outputs = OutputFilter(OutputPolicy(), "")
        admitted = [admit(outputs, output) for output in cell.outputs]
        changes += [
            Change(index, change) for old, new in zip(cell.outputs, admitted, strict=True) for change in differences(old, new)
        ]
        cell.outputs = [output for output in admitted if output]
        if notice := outputs.notice():
            cell.outputs.append(new_output("stream", name="stderr", text=notice))
    return changes


def admit(outputs: OutputFilter, output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """What the policy leaves of one output."""
    kind = output.output_type
    if CLEAR in output.get("data", {}):
        return output
    content = {key: value for key, value in output.items() if key != "output_type"}
    prefix = UPDATE if any(mime.startswith(UPDATE) for mime in output.get("data", {})) else ""
    if prefix:
        kind = "update_display_data"
        content["data"] = {mime.removeprefix(UPDATE): value for mime, value in content["data"].items()}
        content["transient"] = {"display_id": "any"}
    message = outputs.admit(Message(kind, content))
    if message is None:
        return None
    shown = dict(message.content)
    shown.pop("transient", None)
    if prefix:
        shown["data"] = {UPDATE + mime: value for mime, value in shown["data"].items()}
    return nbformat.from_dict({"output_type": output.output_type, **shown})


class Change(NamedTuple):
    """What the output policy changed of a cell's output."""

    cell: int
    what: str


def differences(old: nbformat.NotebookNode, new: nbformat.NotebookNode | None) -> list[str]:
    """Name the representations that the policy dropped or changed."""
    if old.output_type == "stream" or old.output_type == "error":
        return [] if new and {k: old[k] for k in new} == dict(new) else [f"{old.output_type}"]
    before, after = old.data, new.data if new else {}
    return [f"{mime} {'changed' if mime in after else 'dropped'}" for mime in before if before[mime] != after.get(mime)]
