"""This machine's side: Python, packages, the kernel in Jupyter, configuration, room on disk."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from packaging.requirements import InvalidRequirement, Requirement

from .._version import __version__
from ..errors import ChorusError
from ..kernelspec import KERNEL_NAME
from ..settings import resolve
from .check import Check, fail, ok, warn

_PACKAGES = ("docker", "ipykernel", "ipython", "ipywidgets", "anywidget", "jupyter-client", "nbclient", "pydantic")
_OLDEST_PYTHON = (3, 11)
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 2**30, 50 * 2**20


def engine_room(info: Mapping[str, Any], local: bool) -> Check:
    """Return how much room the engine has, where that can be seen from here."""
    folder = Path(str(info.get("DockerRootDir") or "/"))
    if not local:
        return ok("engine disk", f"{folder} is on another machine, and not looked at")
    return room("engine disk", folder)


def room(name: str, folder: Path) -> Check:
    """Return how much room there is in the file system of a folder."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return warn(name, f"{folder} can't be looked at: {error.strerror}", f"See `df -h {folder}`.")
    found = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < _TOO_LITTLE_BYTES:
        return fail(name, found, "Make room: `docker system df` says what takes it.")
    if free < _LITTLE_BYTES:
        return warn(name, found, "Make room before it runs out: `docker system df` says what takes it.")
    return ok(name, found)


def _python() -> Check:
    found = f"{platform.python_version()}, {sys.executable}, {platform.system()} {platform.machine()}"
    if sys.version_info < _OLDEST_PYTHON or sys.implementation.name != "cpython":
        return fail("python", found, "Use CPython 3.11 or later.")
    if sys.platform == "win32":
        return fail("python", found, "Use Linux or macOS; on Windows, its Subsystem for Linux.")
    return ok("python", found)


def _packages() -> Check:
    found = f"chorus-nb {__version__}, " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    wrong = [str(each) for each in _required() if not each.specifier.contains(_version(each.name), prereleases=True)]
    if wrong:
        return fail("packages", f"{found}; needed: {', '.join(wrong)}", "Run `pip install --upgrade chorus-nb`.")
    return ok("packages", found)


def _required() -> Iterator[Requirement]:
    """Yield what the installed package asks for; nothing where it runs from a clone that is not installed."""
    try:
        texts = metadata.requires("chorus-nb") or []
    except metadata.PackageNotFoundError:
        return
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "0"


def _kernelspec() -> Check:
    manager = KernelSpecManager()
    folder = manager.find_kernel_specs().get(KERNEL_NAME)
    install = "`chorus-nb kernel install --user`"
    if folder is None:
        return ok("kernel", f"not in Jupyter; {install} adds it")
    program = Path(manager.get_kernel_spec(KERNEL_NAME).argv[0])
    if not program.exists():
        return warn("kernel", f"{folder} starts {program}, which is not there", f"Run {install} again.")
    return ok("kernel", f"{folder}, on {program}")


def _configuration() -> Check:
    try:
        settings = resolve(Path.cwd(), {})
    except ChorusError as error:
        return fail("configuration", error.message, error.next_step or "Run `chorus-nb config`.")
    sources = {str(source) for source in settings.sources.values()}
    return ok("configuration", ", ".join(sorted(sources)) or "the built-in defaults")


HERE_CHECKS: Mapping[str, Callable[[], Check]] = {
    "python": _python,
    "packages": _packages,
    "kernel": _kernelspec,
    "configuration": _configuration,
    "temporary folder": lambda: room("temporary folder", Path(tempfile.gettempdir())),
}
"""What can be told without an engine, by the name of the check."""
