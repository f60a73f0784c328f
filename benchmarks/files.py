"""Files in and out against ``docker cp``: one large, and many small ones. Run it as ``python -m benchmarks.files``.

Ours go to a repository that is mounted with ``rw``, theirs into the container's own layer: both are on the host's disk.
The sandbox has memory for the page cache, which counts towards its limit. Each round starts from nothing. Needs a
Docker Engine, the ``docker`` command, and three times the bytes of the large file on disk.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chorus_nb import Sandbox
from chorus_nb.engines.docker import DockerEngine

from .__main__ import Row, print_head, print_row
from .subjects import seconds

LARGE_BYTES = 2**30
FILES = 10_000
_ROUNDS = 2
_PIECE = bytes(range(256)) * 2**12


class _Ours:
    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._files = sandbox.files
        self._folder = folder

    def put(self, source: Path) -> float:
        self._files.remove("/workspace/in", recursive=True, missing_ok=True)
        return seconds(lambda: self._files.put(source, "/workspace/in", progress=False))

    def get(self) -> float:
        _remove(self._folder / "out")
        return seconds(lambda: self._files.get("/workspace/in", self._folder / "out", progress=False))


class _Theirs:
    def __init__(self, container_id: str, folder: Path) -> None:
        self._id = container_id
        self._folder = folder

    def put(self, source: Path) -> float:
        return seconds(lambda: _docker("cp", "--quiet", str(source), f"{self._id}:/in-{source.name}"))

    def get(self, source: Path) -> float:
        _remove(self._folder / "theirs")
        return seconds(lambda: _docker("cp", "--quiet", f"{self._id}:/in-{source.name}", str(self._folder / "theirs")))


def _docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, stdout=subprocess.DEVNULL)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


@contextmanager
def _container() -> Iterator[str]:
    """A container that never runs: ``docker cp`` needs no more."""
    engine = DockerEngine()
    container_id = engine.client.create_container(engine.resolve("mirror").reference, command=["none"])["Id"]
    try:
        yield container_id
    finally:
        engine.remove_id(container_id)


def _make_sources(folder: Path) -> tuple[Path, Path]:
    large, many = folder / "large", folder / "many"
    with large.open("wb") as file:
        for _ in range(LARGE_BYTES // len(_PIECE)):
            file.write(_PIECE)
    many.mkdir()
    for number in range(FILES):
        (many / f"{number}").write_bytes(_PIECE[: number % 4000])
    return large, many


def _rows(ours: _Ours, theirs: _Theirs, source: Path, what: str) -> Iterator[Row]:
    def row(direction: str, our: Callable[[], float], their: Callable[[], float]) -> Row:
        return Row(f"{direction} {what}", "docker cp", _ROUNDS, our, their)

    yield row("put", lambda: ours.put(source), lambda: theirs.put(source))
    yield row("get", ours.get, lambda: theirs.get(source))


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, _container() as container_id:
        folder = Path(name)
        (folder / "repository").mkdir()
        sources = zip(_make_sources(folder), ("1 GiB", f"{FILES} files"), strict=True)
        print_head()
        with Sandbox(repo="rw", repo_path=folder / "repository", memory="3g") as sandbox:
            for source, what in sources:
                for row in _rows(_Ours(sandbox, folder), _Theirs(container_id, folder), source, what):
                    print_row(row)


if __name__ == "__main__":
    run()
