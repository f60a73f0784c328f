"""Execute the tour notebook for real, a line per cell, and leave it and its HTML in .demo/.

Run by ``make demo`` with the virtual environment's Python. Exit status 1 if a cell fails that no
``raises-exception`` tag lets fail; what ran up to there is written all the same.
"""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbconvert import HTMLExporter
from traitlets import default

REPOSITORY = Path(__file__).resolve().parent.parent
CELL_TIMEOUT_S = 300
LABEL_WIDTH = 72


class OwnKernelManager(AsyncKernelManager):
    """Starts ipykernel with this very Python, whatever kernels the user has registered under the same name."""

    @default("kernel_spec_manager")
    def _only_the_native_kernel(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def labels(notebook: nbformat.NotebookNode) -> list[str]:
    """One label per cell: the heading just above a code cell, else its first line that is not a magic."""
    result, heading = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            plain = [line for line in lines if not line.startswith("%")]
            result.append((heading or next(iter(plain or lines), ""))[: LABEL_WIDTH - 8])
            heading = ""
        else:
            found = re.search(r"^#+\s+(.+)$", cell.source, re.MULTILINE)
            heading = found.group(1) if found else heading
            result.append(heading)
    return result


class Progress:
    """Prints a line per code cell: number, label, outcome, duration in seconds."""

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        self._labels = labels(notebook)
        self._numbers = {
            index: number
            for number, index in enumerate(
                (i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()), 1
            )
        }
        self._started_s = 0.0
        self.current = ""

    def start(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell_index in self._numbers:
            self.current = f"[{self._numbers[cell_index]:2}/{len(self._numbers)}] {self._labels[cell_index]}"
            print(f"{self.current:{LABEL_WIDTH}} ", end="", flush=True)
            self._started_s = time.monotonic()

    def executed(self, cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        content = execute_reply["content"]
        outcome = "ok"
        if content["status"] != "ok":
            expected = "raises-exception" in cell.metadata.get("tags", [])
            outcome = f"ok, raised {content['ename']} as it should" if expected else "FAILED"
        print(f"{time.monotonic() - self._started_s:6.2f} s  {outcome}", flush=True)


def execute(notebook: nbformat.NotebookNode, working_directory: Path) -> str | None:
    """Execute ``notebook`` in place; the report of what failed, or None."""
    progress = Progress(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=OwnKernelManager,
        timeout=CELL_TIMEOUT_S,
        # The strips end as pictures; the state of their widgets would make the HTML fetch scripts from a CDN.
        store_widget_state=False,
        # ipykernel warns that its TCP ports are not encrypted; they are on loopback and end with this run.
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(working_directory)}},
        on_cell_start=progress.start,
        on_cell_executed=progress.executed,
    )
    try:
        client.execute()
    except (CellControlSignal, DeadKernelError) as error:  # A cell that raised or timed out, or a kernel that died.
        return f"{progress.current} failed:\n{error}"
    return None


def write(notebook: nbformat.NotebookNode, name: str) -> tuple[Path, Path]:
    """Write the executed notebook and its HTML; their paths."""
    folder = REPOSITORY / ".demo"
    folder.mkdir(exist_ok=True)
    executed, html = folder / f"{name}.ipynb", folder / f"{name}.html"
    nbformat.write(notebook, executed)
    body, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    html.write_text(body, encoding="utf-8")
    return executed, html


def main(source: Path) -> int:
    """Exit status."""
    notebook = nbformat.read(source, as_version=4)
    print(f"Executing {source.relative_to(REPOSITORY)}", flush=True)
    failure = execute(notebook, source.parent)
    executed, html = (path.relative_to(REPOSITORY) for path in write(notebook, source.stem))
    if failure:
        print(f"\n{failure}\n\nThe notebook stopped there; as far as it ran: {executed}", file=sys.stderr)
        return 1
    as_root = " --allow-root" if os.geteuid() == 0 else ""
    print(f"\nExecuted notebook: {executed}\nThe same as HTML:  {html}")
    print(f"Open it:           .venv/bin/jupyter lab{as_root} {executed}")
    return 0


if __name__ == "__main__":
    sys.exit(main(REPOSITORY / "notebooks" / "01_tour.ipynb"))
