"""``chorus-nb run``: a notebook from top to bottom in a sandbox, on our kernel, whatever kernel it names.

nbclient runs the cells. The kernel is started by its command, so that no kernelspec has to be installed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from .errors import ConfigurationError
from .kernelspec import kernel_json
from .run_report import Report

FAILED = 1
INTERRUPTED = 130
SUFFIX = ".executed.ipynb"


def run(notebook: str, *, out: str | None, inplace: bool, allow_errors: bool, options: Sequence[str]) -> int:
    """Execute a notebook, write it with its outputs, and say on the terminal how each cell went.

    Parameters
    ----------
    notebook : str
        The file.
    out : str, optional
        The file, or the folder, to write; a file beside the notebook when left out.
    inplace : bool
        Write the notebook itself.
    allow_errors : bool
        Go on after a cell that fails.
    options : sequence of str
        Options of the sandbox, as words of a command line.

    Returns
    -------
    int
        The exit status: 0, ``FAILED`` or ``INTERRUPTED``. What ran is written in every case.

    Raises
    ------
    ConfigurationError
        For a file that can't be read, run or written; nothing ran then.
    """
    source = Path(notebook)
    content = _read(source)
    target = source if inplace else _target(source, out)
    _refuse_unwritable(target)
    report = Report(content.cells, sys.stderr)
    try:
        status = _execute(content, source, allow_errors, options, report)
    finally:
        report.close()
        _write(content, target)
    print(report.table())
    print(f"Written to {target}")
    return status


def _execute(content: NotebookNode, source: Path, allow_errors: bool, options: Sequence[str], report: Report) -> int:
    client = _client(content, source, allow_errors, options, report)

    ending: list[asyncio.Future[None]] = []

    def stop() -> None:
        report.asked_to_stop = True
        manager: Any = client.km
        ending.append(asyncio.ensure_future(manager.shutdown_kernel(now=True)))

    def listen(**_: object) -> None:
        # nbclient's own handlers end the kernel, too, and tell nobody why.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    client.on_notebook_start = listen
    try:
        # The kernel learns from this name which notebook it is for, as it does from Jupyter's servers.
        client.execute(env={**os.environ, "JPY_SESSION_NAME": str(source.absolute())})
    except CellExecutionError as error:
        report.failed(str(error))
        return FAILED
    except (KeyboardInterrupt, RuntimeError) as error:  # A kernel that died is a RuntimeError.
        if report.asked_to_stop or isinstance(error, KeyboardInterrupt):
            report.interrupted()
            return INTERRUPTED
        report.failed(f"The kernel died: {error}.")
        return FAILED
    return 0


def _client(
    content: NotebookNode, source: Path, allow_errors: bool, options: Sequence[str], report: Report
) -> NotebookClient:
    class Manager(AsyncKernelManager):
        """Starts our kernel, whatever name it is given."""

        # Older versions know nothing of it; newer ones warn where it is off.
        transport_encryption = "auto" if zmq.has("curve") else "disabled"

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**kernel_json(options))

    return NotebookClient(
        content,
        kernel_manager_class=Manager,
        timeout=None,
        allow_errors=allow_errors,
        record_timing=False,
        resources={"metadata": {"path": str(source.absolute().parent)}},
        on_cell_start=report.cell_starts,
        on_cell_executed=report.cell_ends,
    )


def _read(path: Path) -> NotebookNode:
    try:
        content: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:  # nbformat raises whatever a broken file makes of it.
        reason = error.strerror if isinstance(error, OSError) else "it is no notebook"
        raise ConfigurationError(
            f"{path} can't be read: {reason}.", next_step="Give the path of an .ipynb file."
        ) from None
    language = _language(content.metadata)
    if language != "python":
        raise ConfigurationError(
            f"{path} is written in {language}; the sandbox runs Python.", next_step="Give a notebook in Python."
        )
    return content


def _language(metadata: NotebookNode) -> str:
    kernelspec, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
    return str(kernelspec.get("language") or info.get("name") or "python").lower()


def _target(source: Path, out: str | None) -> Path:
    if out is None:
        return source.with_name(source.stem + SUFFIX)
    target = Path(out)
    target = target / source.name if target.is_dir() else target
    if target.exists() and target.samefile(source):
        raise ConfigurationError(f"{target} is the notebook itself.", next_step="To overwrite it, say --inplace.")
    return target


def _refuse_unwritable(target: Path) -> None:
    """Say now, and not when every cell has run, that there is no place for the result."""
    if not target.parent.is_dir():
        raise ConfigurationError(
            f"There is no folder {target.parent}.", next_step="Make it, or write elsewhere with -o."
        )
    if not all(os.access(each, os.W_OK) for each in (target.parent, target) if each.exists()):
        raise ConfigurationError(f"{target} can't be written by this user.", next_step="Write elsewhere with -o.")


def _write(content: NotebookNode, target: Path) -> None:
    """Write it whole or not at all: a full disk must not cost the notebook that was there before."""
    text: str = nbformat.writes(content)  # type: ignore[no-untyped-call]
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        temporary.write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")
        temporary.chmod(target.stat().st_mode if target.exists() else 0o666 & ~_umask())
        temporary.replace(target.resolve())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
