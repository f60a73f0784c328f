"""A Podman service of the tests' own, in a folder of its own: whoever else uses Podman here sees none of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CURE = "These tests need Podman: run `scripts/ensure_podman.sh`."
START_TIMEOUT_S = 30.0

# By default all Podman of a system share one piece of memory with locks, and one folder of networks.
CONFIGURATION = """
[engine]
lock_type = "file"
events_logger = "file"
[network]
network_config_dir = "{folder}/networks"
"""

_SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_AS_ROOT = [] if os.getuid() == 0 else ["sudo", "-n"]


@contextmanager
def podman_service() -> Iterator[str]:
    """Start a service as root; yield its address. In the end nothing is left of it.

    Raises
    ------
    RuntimeError
        If there is no Podman, or its service does not answer; with its own words.
    """
    if shutil.which("podman", path=_SEARCH_PATH) is None:
        raise RuntimeError(CURE)
    folder = Path(tempfile.mkdtemp(prefix="chorus-nb-podman-"))  # Short: the path of a socket has 107 bytes at most.
    (folder / "containers.conf").write_text(CONFIGURATION.format(folder=folder))
    with (folder / "log").open("wb") as log:
        # Who watches a container notes its end by lack of memory in a file of the folder that the service is in.
        service = subprocess.Popen(_command(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(service, folder)
        yield f"unix://{folder}/socket"
    finally:
        _stop(service, folder)
        _clean(folder)


def _command(folder: Path) -> list[str]:
    """Podman prefers crun, which on some of the older systems with both versions of cgroups does not start."""
    runc = shutil.which("runc", path=_SEARCH_PATH)
    return [
        *(*_AS_ROOT, "env", f"PATH={_SEARCH_PATH}", f"CONTAINERS_CONF={folder}/containers.conf", "podman"),
        *(f"--root={folder}/root", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp", "--cgroup-manager=cgroupfs"),
        *([f"--runtime={runc}"] if runc else []),
        *("system", "service", "--time=0", f"unix://{folder}/socket"),
    ]


def _wait(service: subprocess.Popen[bytes], folder: Path) -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while not _answers(folder / "socket"):
        if service.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"Podman's service did not start: {(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.05)


def _answers(path: Path) -> bool:
    if _AS_ROOT and path.exists():
        subprocess.run([*_AS_ROOT, "chown", str(os.getuid()), str(path)], check=True)
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _stop(service: subprocess.Popen[bytes], folder: Path) -> None:
    """End the service, and who watches the programs that ran in its containers: for five minutes after their end."""
    if service.poll() is None:
        service.send_signal(signal.SIGTERM)
    service.wait(30)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                subprocess.run([*_AS_ROOT, "kill", "-KILL", path.parent.name], check=False)


def _clean(folder: Path) -> None:
    """Remove the folder, and what Podman leaves mounted in it."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted((each for each in mounted if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run([*_AS_ROOT, "umount", path], check=True)
    subprocess.run([*_AS_ROOT, "rm", "-rf", "--one-file-system", str(folder)], check=True)
