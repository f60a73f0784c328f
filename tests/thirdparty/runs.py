"""Runs the notebooks of the catalogue natively and in the sandbox, and has nbval compare.

The native run, behind the output policy, is the reference: what the policy changes is listed, and anything else that
differs is a defect.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from chorus_nb import kernelspec

from . import archives, cells
from .catalogue import CATALOGUE, ThirdParty
from .policy import Change, apply_policy

HERE = Path(__file__).parent
NATIVE = "third-party-native"
LANES = 2
LIMIT_S = 600.0


class Face(NamedTuple):
    """One of the ways to run a notebook in a sandbox: which kernel, and how the cells are changed for it."""

    name: str
    kernel: str
    adapt: Callable[[nbformat.NotebookNode], None]


@dataclass(frozen=True)
class Result:
    """What nbval found of one notebook.

    Attributes
    ----------
    source : ThirdParty
    version : str
        Of the project.
    face : str
        How it ran in the sandbox.
    cells : int
        How many were run.
    changes : list of Change
        What the output policy changed; cells are counted as in ``source``.
    failures : dict of int to str
        nbval's words on each cell whose output is not the native one behind the output policy.
    """

    source: ThirdParty
    version: str
    face: str
    cells: int
    changes: list[Change]
    failures: dict[int, str]


def run_catalogue(work: Path, catalogue: list[ThirdParty] = CATALOGUE) -> list[Result]:
    """Run notebooks natively, then in the sandbox, in as many lanes as there are processors for."""
    unpacked = unpack(work / "archives", catalogue)
    jobs = [(source, write_notebook(work, unpacked, number, source)) for number, source in enumerate(catalogue)]
    with ThreadPoolExecutor(LANES) as lanes:
        done = lanes.map(run_lane, [jobs[lane::LANES] for lane in range(LANES)])
    return sorted(chain.from_iterable(done), key=lambda result: catalogue.index(result.source))


def run_lane(jobs: list[tuple[ThirdParty, Path]]) -> list[Result]:
    """Run some notebooks, one after the other."""
    run_nbval([path for _, path in jobs], NATIVE, "--record")
    changes = {path: make_reference(path) for _, path in jobs}
    return [result for face in FACES for result in run_face(face, jobs, changes)]


def make_reference(path: Path) -> list[Change]:
    """Put the outputs of the native run behind the output policy: nbval checks the sandbox by them."""
    notebook = nbformat.read(path, as_version=4)
    changes = apply_policy(notebook)
    nbformat.write(notebook, path)
    return changes


def run_face(face: Face, jobs: list[tuple[ThirdParty, Path]], changes: dict[Path, list[Change]]) -> list[Result]:
    """Run the notebooks that are for this face."""
    jobs = [(source, path) for source, path in jobs if face.name in source.faces]
    if not jobs:
        return []
    for _, path in jobs:
        notebook = nbformat.read(path, as_version=4)
        face.adapt(notebook)
        nbformat.write(notebook, path)
    verdicts = run_nbval([path for _, path in jobs], face.kernel)
    return [result_of(source, face, changes[path], verdicts[str(path)]) for source, path in jobs]


def result_of(source: ThirdParty, face: Face, changes: list[Change], verdicts: list[dict[str, Any]]) -> Result:
    """Put together what became of a notebook."""
    before = len(cells_before(source))
    ran = [verdict for verdict in verdicts if verdict["outcome"] != "skipped" and verdict["cell"] >= before]
    failures = {verdict["cell"] - before: verdict["why"] for verdict in ran if verdict["outcome"] == "failed"}
    changes = [change._replace(cell=change.cell - before) for change in changes]
    return Result(source, version_of(source), face.name, len(ran), changes, failures)


def version_of(source: ThirdParty) -> str:
    """Of the archive that the notebook is from, or of what is installed."""
    if source.is_file:
        return archives.read_pins()[source.project].version
    return platform.python_version() if source.project == "python" else metadata.version(source.project)


def write_notebook(work: Path, unpacked: Path, number: int, source: ThirdParty) -> Path:
    """Write a notebook, without outputs, into a folder of its own, with the files that lie beside it."""
    folder = work / "notebooks" / f"{number:02}-{source.project}"
    if source.is_file:
        file = unpacked / source.project / source.path
        shutil.copytree(file.parent, folder, ignore=shutil.ignore_patterns("*.ipynb", "*.py", "*.rst", "*.md"))
        sources = cells.read(file)
    else:
        folder.mkdir(parents=True)
        sources = cells.from_docstrings(source.path)
    nbformat.write(notebook_of(sources, source), folder / "notebook.ipynb")
    return folder / "notebook.ipynb"


def unpack(destination: Path, catalogue: list[ThirdParty]) -> Path:
    """Unpack the folders that the catalogue needs, each archive once."""
    pins = archives.fetch()
    for project in {source.project for source in catalogue if source.is_file}:
        folders = {str(PurePosixPath(source.path).parent) for source in catalogue if source.project == project}
        archives.unpack(pins[project], folders, destination / project)
    return destination


def notebook_of(sources: list[str], source: ThirdParty) -> nbformat.NotebookNode:
    """A notebook of these cells, with nbval's tags on those that are not run or not repeatable."""
    tagged = [new_code_cell(text, metadata={"tags": tags(source, index)}) for index, text in enumerate(sources)]
    return new_notebook(cells=[*cells_before(source), *tagged])


def cells_before(source: ThirdParty) -> list[nbformat.NotebookNode]:
    """Return what comes before the cells: one that does nothing, to load the extension in its place later."""
    return [new_code_cell(text) for text in ("pass", source.first) if text]


def tags(source: ThirdParty, index: int) -> list[str]:
    """What nbval is told of a cell."""
    left_out = ["nbval-skip"] if index in source.left_out else []
    return left_out + (["nbval-ignore-output"] if index in source.unrepeatable else [])


def run_nbval(paths: list[Path], kernel: str, *options: str) -> dict[str, list[dict[str, Any]]]:
    """Run nbval on notebooks in a process of its own; what became of each cell, by path."""
    folder = paths[0].parent
    verdicts = folder / "verdicts.json"
    command = [sys.executable, "-m", "pytest", "-p", "thirdparty.plugin", "-p", "no:cacheprovider", "--color=no", "-vv"]
    command += ["--nbval", f"--nbval-kernel-name={kernel}", "--nbval-cell-timeout=30"]
    command += [f"--nbval-sanitize-with={HERE / 'sanitize.cfg'}", f"--verdicts={verdicts}", f"--rootdir={folder}"]
    environment = os.environ | {"JUPYTER_PATH": str(kernels(folder)), "PYTHONPATH": python_path()}
    done = subprocess.run(
        [*command, *options, *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"nbval did not run:\n{done.stdout}\n{done.stderr}")
    found: dict[str, list[dict[str, Any]]] = json.loads(verdicts.read_text())
    return found


def python_path() -> str:
    """Where our processes find this package and the one that is tested."""
    return os.pathsep.join([str(HERE.parent), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])


def kernels(folder: Path) -> Path:
    """Write the kernelspecs: the sandbox kernel's, and the stock kernel's as it is outside of a test run.

    With ``PYTEST_CURRENT_TEST`` in its environment ipykernel would not capture what is written to descriptors 1 and 2.
    """
    kernelspec.install(prefix=str(folder))
    jupyter = folder / "share" / "jupyter"
    spec = jupyter / "kernels" / NATIVE / "kernel.json"
    argv = ["env", "-u", "PYTEST_CURRENT_TEST", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "Native", "language": "python"}))
    return jupyter


def leave_as_it_is(notebook: nbformat.NotebookNode) -> None:
    """On the sandbox kernel the cells are the same."""


def put_below_magic(notebook: nbformat.NotebookNode) -> None:
    """Put each cell below a ``%%sandbox`` line, where what fails raises ``ExecutionError``."""
    notebook.cells[0].source = "%load_ext chorus_nb"
    for cell in notebook.cells[1:]:
        if cell.source.strip():
            cell.source = f"%%sandbox --gauge off\n{cell.source}"
        for output in cell.outputs:
            if output.output_type == "error":
                output.evalue = f"{output.ename}: {output.evalue}" if output.evalue else output.ename
                output.ename = "ExecutionError"


# In this order: the second changes the notebook.
FACES = (Face("kernel", kernelspec.KERNEL_NAME, leave_as_it_is), Face("magic", NATIVE, put_below_magic))
