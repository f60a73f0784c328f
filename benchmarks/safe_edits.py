"""Looking at what a sandbox has changed of a large repository, and taking it over, against git on the same files."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorus_nb import Sandbox
from chorus_nb.engines.docker import DockerEngine

from .subjects import seconds

_FILES_PER_FOLDER = 100
_EDIT = """
import itertools, pathlib
text = {text!r}
for path in itertools.islice(pathlib.Path().glob("part*/folder*/module*.py"), {changed}):
    path.write_text(text)
"""


class EditsSubject:
    """A sandbox with a view of a repository that git knows, too."""

    def __init__(self, sandbox: Sandbox, repository: Path, changed: int) -> None:
        self._sandbox = sandbox
        self._repository = repository
        self._changed = changed
        self._round = 0

    def diff(self) -> float:
        """Find what the sandbox has changed: as many files as :meth:`apply` has taken over on the host."""
        self._edit()
        return seconds(self._sandbox.changes)

    def apply(self) -> float:
        """Take it over; that includes finding it."""
        self._edit()
        return seconds(self._sandbox.apply)

    def git_status(self) -> float:
        """Have git find what of the host's files is not as it was committed."""
        command = ["git", "-C", self._repository, "status", "--porcelain"]
        return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))

    def _edit(self) -> None:
        self._round += 1
        edit = _EDIT.format(text=f"VALUE = 'edit {self._round:04}'\n", changed=self._changed)
        assert self._sandbox.run(edit).ok
        self._sandbox.changes()  # What was shown before has changed.


@contextmanager
def edits_of(files: int, changed: int) -> Iterator[EditsSubject]:
    """A repository of so many small files, in folders of a hundred, of which a sandbox changes some."""
    with tempfile.TemporaryDirectory(prefix="chorus-nb-benchmark-") as name:
        repository = Path(name)
        for first in range(0, files, _FILES_PER_FOLDER):
            folder = repository / f"part{first // 10_000}" / f"folder{first // _FILES_PER_FOLDER}"
            folder.mkdir(parents=True)
            for number in range(first, first + _FILES_PER_FOLDER):
                (folder / f"module{number}.py").write_text(f"VALUE = {number}\n")
        identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.com"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "All"]):
            subprocess.run(["git", "-C", repository, *command], check=True)
        with Sandbox(engine=DockerEngine(), repo="overlay", repo_path=repository) as sandbox:
            yield EditsSubject(sandbox, repository, changed)
