"""A real overlay over a folder, mounted here: what the code in a sandbox writes to, without a container."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorus_nb.view.overlay_copy import TICK_NS, OverlayCopy


class Overlay:
    """A repository on the host, and the sandbox's view of it.

    Attributes
    ----------
    host, sandbox : Path
    copy : OverlayCopy
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.host = place / "repository"
        self.sandbox = place / "workspace"
        self.upper = place / "upper"
        for each in (self.host, self.sandbox, self.upper, place / "work"):
            each.mkdir(exist_ok=True)
        self.copy = OverlayCopy(self.host, self.upper, 0)

    def settle(self) -> None:
        """Wait until nothing that was done on the host is as late as what is done from now on."""
        latest = max(each.lstat().st_ctime_ns for each in [self.host, *self.host.rglob("*")])
        probe = self.place / "probe"
        while True:
            probe.write_bytes(b"")
            if probe.stat().st_ctime_ns > latest + TICK_NS:
                return

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount it, over the files that the host has now."""
        self.settle()
        options = f"lowerdir={self.host},upperdir={self.upper},workdir={self.place}/work,userxattr,index=off"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.sandbox], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", self.sandbox], check=True)


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, permission bits and content of all that is in a folder, by path."""
    found: dict[str, tuple[object, ...]] = {}
    for each in sorted(folder.rglob("*")):
        path, mode = str(each.relative_to(folder)), each.lstat().st_mode & 0o777
        if each.is_symlink():
            found[path] = ("link", str(each.readlink()))
        elif each.is_dir():
            found[path] = ("directory", mode)
        elif each.is_file():
            found[path] = ("file", mode, each.read_bytes())
        else:
            found[path] = ("other",)
    return found
