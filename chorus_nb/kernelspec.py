"""The kernelspec ``chorus-nb``: how Jupyter starts the sandbox kernel."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager

KERNEL_NAME = "chorus-nb"
DISPLAY_NAME = "Python 3 (sandbox)"
RESOURCES = Path(__file__).parent / "resources"


def kernel_json(options: Sequence[str] = (), display_name: str = DISPLAY_NAME) -> dict[str, Any]:
    """Return the content of ``kernel.json``.

    Parameters
    ----------
    options : sequence of str
        Options of a sandbox, as words of a command line (:mod:`chorus_nb.options`): what the user allows every notebook
        on this kernel.
    display_name : str
        What front ends show.
    """
    # -P: a module in the notebook's folder must not stand in for one that the kernel imports.
    argv = [sys.executable, "-P", "-m", "chorus_nb.kernel_launcher", "-f", "{connection_file}", *options]
    return {
        "argv": argv,
        "display_name": display_name,
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": False, "supported_encryption": ["curve"]},
        "kernel_protocol_version": "5.5",
    }


def install(
    name: str = KERNEL_NAME,
    display_name: str = DISPLAY_NAME,
    options: Sequence[str] = (),
    *,
    user: bool = False,
    prefix: str | None = None,
) -> Path:
    """Write the kernelspec where Jupyter finds it, in place of one of the same name; return its folder.

    Parameters
    ----------
    user : bool
        For this user alone.
    prefix : str, optional
        Below this folder, such as that of a virtual environment. For the whole system where neither is given.

    Raises
    ------
    OSError
        Where this user may not write there.
    ValueError
        For a name that Jupyter does not take.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernelspec"
        shutil.copytree(RESOURCES, source)
        (source / "kernel.json").write_text(json.dumps(kernel_json(options, display_name), indent=1) + "\n")
        return Path(KernelSpecManager().install_kernel_spec(str(source), name, user=user, prefix=prefix))
