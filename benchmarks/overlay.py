"""The start of a sandbox that writes to a view of a repository: does it depend on how much that holds?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorus_nb import Sandbox
from chorus_nb.engines.docker import DockerEngine

from .subjects import seconds

_FILES_PER_FOLDER = 100


class OverlaySubject:
    """Sandboxes over one repository."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._engine = DockerEngine()
        self._engine.capabilities()

    def cold_start(self) -> float:
        """From a configuration to the first result; its end is not counted."""
        started = Sandbox(engine=self._engine, repo="overlay", repo_path=self._repository)
        try:
            return seconds(lambda: started.run("1 + 1"))
        finally:
            started.close()


@contextmanager
def overlay_of(files: int) -> Iterator[OverlaySubject]:
    """A repository of so many small files, in folders of a hundred, as source code is."""
    with tempfile.TemporaryDirectory(prefix="chorus-nb-benchmark-") as name:
        for first in range(0, files, _FILES_PER_FOLDER):
            folder = Path(name) / f"part{first // 10_000}" / f"folder{first // _FILES_PER_FOLDER}"
            folder.mkdir(parents=True)
            for number in range(first, min(first + _FILES_PER_FOLDER, files)):
                (folder / f"module{number}.py").write_text(f"VALUE = {number}\n")
        yield OverlaySubject(Path(name))
