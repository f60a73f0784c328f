"""A Docker Engine of a test's own, which may be stopped, killed and started again without touching anybody's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import wait_until

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint

_AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class SecondEngine:
    """A ``dockerd`` with a network namespace, a folder and a containerd of its own.

    Its network namespace keeps it from the first one's bridge and firewall rules, its mount namespace from leaving
    mounts behind; a process that only sleeps holds both while it is stopped. Images are stored as plain folders
    (``vfs``), so that any file system will do.

    Parameters
    ----------
    folder : Path
        For all of its files. The path of its socket must be shorter than 100 characters.
    options : str
        Further options of ``dockerd``, such as ``--live-restore``.
    data_bytes : int, optional
        Size of a disk of its own, in memory, for its images and containers.
    prepare : str, optional
        What a shell is to do in its mount namespace first, as root.
    """

    def __init__(self, folder: Path, *options: str, data_bytes: int | None = None, prepare: str = "true") -> None:
        self.folder = folder
        self.address = f"unix://{folder}/s"
        self._pid_file = folder / "pid"
        self._data = folder / "data"
        self._command = [
            *("dockerd", "--bridge=none", "--iptables=false", "--storage-driver=vfs"),
            *("--data-root", str(self._data), "--exec-root", str(folder / "exec")),
            *("--pidfile", str(self._pid_file), "--host", self.address, "--group", str(os.getgid())),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        mount = f"mkdir {self._data} && mount -t tmpfs -o size={data_bytes} none {self._data}" if data_bytes else "true"
        self._holder = subprocess.Popen(
            [
                *_AS_ROOT,
                "unshare",
                "--net",
                "--mount",
                "sh",
                "-c",
                f"{mount} && {prepare} && echo $$ && exec sleep infinity",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        self._namespaces = self._holder.stdout.readline().strip()

    def client(self) -> DockerEngine:
        """Return a new client of it."""
        return DockerEngine(Endpoint(self.address, "test"))

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_AS_ROOT, "nsenter", "--target", self._namespaces, "--net", "--mount", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": _PATH},
                start_new_session=True,
            )
        wait_until(self._answers, timeout_s=60)

    def stop(self) -> None:
        """Have it end in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def fill_disk(self) -> None:
        """Leave no room on the disk of its own. It is seen in the engine's mount namespace alone."""
        disk = f"/proc/{self._pid_file.read_text()}/root{self._data}"
        subprocess.run([*_AS_ROOT, "dd", "if=/dev/zero", f"of={disk}/fill", "bs=4k"], capture_output=True, check=False)

    def _end(self, number: int) -> None:
        assert self._process is not None
        subprocess.run([*_AS_ROOT, "kill", f"-{number}", self._pid_file.read_text()], check=True)
        self._process.wait(60)
        self._process = None
        # The next one takes over a containerd that it finds, also one that is just ending with the last one.
        wait_until(lambda: not self._containerd_runs())

    def _containerd_runs(self) -> bool:
        try:
            pid = int((self.folder / "exec/containerd/containerd.pid").read_text())
        except FileNotFoundError:
            return False
        return Path(f"/proc/{pid}").exists()

    def _answers(self) -> bool:
        assert self._process is not None
        log = self.folder / "log"
        assert self._process.poll() is None, f"the second dockerd ended:\n{log.read_text()[-3000:]}"
        command = ["docker", "--host", self.address, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def remove(self) -> None:
        """Remove all that it left, its containerd among it where it was killed."""
        if self._process is None:
            self.start()  # It takes over the containerd of one that was killed, and ends it with itself.
        self.stop()
        subprocess.run([*_AS_ROOT, "kill", self._namespaces], check=True)
        self._holder.communicate()
        wait_until(self._is_removed)  # The shims of its last containers may still be clearing up.

    def _is_removed(self) -> bool:
        return subprocess.run([*_AS_ROOT, "rm", "-rf", str(self.folder)], check=False).returncode == 0


@contextmanager
def second_engine(
    folder: Path, *options: str, data_bytes: int | None = None, prepare: str = "true"
) -> Iterator[SecondEngine]:
    """Start a Docker Engine in ``folder``, which is removed with all that it holds at the end."""
    assert shutil.which("dockerd", path=_PATH), "these tests need dockerd: run `scripts/ensure_engine.sh`"
    engine = SecondEngine(folder, *options, data_bytes=data_bytes, prepare=prepare)
    try:
        engine.start()
        yield engine
    finally:
        with suppress(AssertionError):
            for container, _ in engine.client().owned():
                engine.client().remove_id(container)
        engine.remove()
