"""A large array each way: push and pull, `docker cp` of the same bytes, pickle over the same pipe.

Run with ``python -m benchmarks.arrays``; exit status 1 where a target is missed.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from chorus_nb import Sandbox
from chorus_nb.engines.docker import DockerEngine

from .__main__ import Row, print_head, print_row
from .subjects import seconds

SIZE_BYTES = 2**30


class ArraySubject:
    """One array, a sandbox with room for it, and a container with a writable layer to copy its file to and from."""

    def __init__(self, sandbox: Sandbox, container: str, file: Path, array: np.ndarray) -> None:
        self._sandbox = sandbox
        self._container = container
        self._file = file
        self._array = array

    def push(self) -> float:
        """Copy the array into a variable."""
        self._sandbox.run("array = None")
        return seconds(lambda: self._sandbox.push(array=self._array))

    def pull(self) -> float:
        """Copy it out again."""
        return seconds(lambda: self._sandbox.pull("array"))

    def copy_in(self) -> float:
        """Have ``docker cp`` bring a file of the same bytes into a container."""
        return seconds(lambda: self._copy(str(self._file), f"{self._container}:/array"))

    def copy_out(self) -> float:
        """Have ``docker cp`` bring it out again."""
        return seconds(lambda: self._copy(f"{self._container}:/array", f"{self._file}.out"))

    def pickle_in(self) -> float:
        """Pickle the array, bring the bytes in by the same pipe, and unpickle them there."""
        self._sandbox.run("array = data = None")

        def bring() -> None:
            self._sandbox.push(data=pickle.dumps(self._array, protocol=5))
            self._sandbox.run("import pickle; array = pickle.loads(data); del data")

        return seconds(bring)

    def pickle_out(self) -> float:
        """Pickle it there, bring the bytes out by the same pipe, and unpickle them here: what nobody should do."""

        def bring() -> None:
            self._sandbox.run("import pickle; data = pickle.dumps(array, protocol=5)")
            pickle.loads(self._sandbox.pull("data"))
            self._sandbox.run("del data")

        return seconds(bring)

    def _copy(self, source: str, destination: str) -> None:
        subprocess.run(["docker", "cp", source, destination], check=True, capture_output=True)


@contextmanager
def arrays(size_bytes: int = SIZE_BYTES) -> Iterator[ArraySubject]:
    """An array of random bytes, and where it is to go."""
    array = np.random.default_rng(0).integers(0, 255, size_bytes, dtype="u1")
    memory = f"{4 * size_bytes + 2**29}"
    engine = DockerEngine()
    image = engine.resolve("mirror").reference
    with TemporaryDirectory() as folder, Sandbox(repo="none", memory=memory, max_transfer=2 * size_bytes) as sandbox:
        file = Path(folder) / "array"
        array.tofile(file)
        container = engine.client.create_container(image, command=["none"])["Id"]
        try:
            yield ArraySubject(sandbox, container, file, array)
        finally:
            engine.remove_id(container)


def main() -> bool:
    """Measure and print; return whether both targets are reached."""
    print_head()
    with arrays() as array:
        rows = [
            Row("1 GiB array in", "docker cp", 5, array.push, array.copy_in, 1.0),
            Row("1 GiB array out", "docker cp", 5, array.pull, array.copy_out, 1.0),
            Row("1 GiB array in", "pickle over the same pipe", 3, array.push, array.pickle_in),
            Row("1 GiB array out", "pickle over the same pipe", 3, array.pull, array.pickle_out),
        ]
        reached = [print_row(row) for row in rows]
    return all(reached)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
