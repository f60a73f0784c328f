"""Folders that are closed to the notebook's user, who is not root: what is there is refused in words, never a crash."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import nbformat
import pytest
from unprivileged import as_nobody

from chorus_nb import cli
from chorus_nb.config import RepositoryMount, SandboxConfig
from chorus_nb.engines.base import EngineCapabilities, ResolvedImage
from chorus_nb.errors import ChorusError
from chorus_nb.mounts import mounted
from chorus_nb.repository import resolve_repository
from chorus_nb.selection import select

MOUNTING = EngineCapabilities(name="test", isolation=True, limits=True, mirror=True, repository_mounts=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of everybody's with one in it that is closed to all but root."""
    folder = Path(tempfile.mkdtemp(prefix="chorus-nb-"))
    folder.chmod(0o777)
    (folder / "closed" / "in").mkdir(parents=True)
    (folder / "closed" / "in" / "file").write_text("x")
    (folder / "closed").chmod(0)
    yield folder
    for each in (folder, folder / "closed"):
        each.chmod(0o700)
    shutil.rmtree(folder)


def said_of(act: Callable[[], object]) -> str:
    """Return what the user reads: what is returned, or an error of ours."""

    def say() -> str:
        try:
            return str(act())
        except ChorusError as error:
            return f"{type(error).__name__}: {error.message}"

    return as_nobody(say)


def test_a_repository_in_one(place: Path) -> None:
    folder = place / "closed" / "in"
    said = said_of(lambda: resolve_repository(RepositoryMount(path=folder), place))
    assert said == f"RepositoryNotFoundError: The repository '{folder}' can't be looked at: Permission denied."


def test_a_repository_that_is_one(place: Path) -> None:
    said = said_of(lambda: select(place / "closed", RepositoryMount(), whole_tree=True))
    assert said.endswith("closed' can't be looked through for secrets: Permission denied.")


def test_one_in_the_repository_is_masked_and_so_is_what_a_secret_link_leads_to(place: Path) -> None:
    (place / ".env").symlink_to("closed/in/file")
    (place / ".netrc").symlink_to("closed/missing")
    said = said_of(
        lambda: [(each.path, each.kind) for each in select(place, RepositoryMount(), whole_tree=True).masked]
    )
    assert said == "[('.env', 'link'), ('.netrc', 'link'), ('closed', 'directory')]"
    # Names can be seen there by now, and nothing more; its owner could open it.
    (place / "closed").chmod(0o444)
    said = said_of(
        lambda: [(each.path, each.kind) for each in select(place, RepositoryMount(), whole_tree=True).masked]
    )
    assert said == "[('.env', 'link'), ('.netrc', 'link'), ('closed', 'directory')]"


def test_nothing_is_mounted_over_what_is_in_one(place: Path) -> None:
    config = SandboxConfig.from_options(repo_path=str(place), mount=["/usr/share:/workspace/closed/in"])
    said = said_of(lambda: mounted(config, place, ResolvedImage("x", ("python3",)), MOUNTING))
    assert said.startswith(
        "ConfigurationError: Nothing can be mounted at '/workspace/closed/in': the repository has no"
    )


@pytest.mark.parametrize(
    "words",
    [["run", "n.ipynb", "-o", "closed/in/out.ipynb"], ["config", "trust", "closed/in/x"], ["run", "closed/in/x"]],
)
def test_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(place)
    nbformat.write(nbformat.v4.new_notebook(), place / "n.ipynb")
    said = said_of(lambda: _status_and_words(words))
    assert said.startswith("2 chorus-nb: ")
    assert "closed/in/" in said
    assert "Permission denied" in said
    assert said.count("\n") == 1


def test_a_notebook_in_a_folder_that_takes_no_file_is_not_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    nbformat.write(nbformat.v4.new_notebook(), place / "n.ipynb")
    (place / "n.ipynb").chmod(0o666)
    place.chmod(0o555)
    said = said_of(lambda: _status_and_words(["run", "n.ipynb", "--inplace"]))
    assert said == "2 chorus-nb: n.ipynb can't be written by this user. Write elsewhere with -o.\n"


def _status_and_words(words: list[str]) -> str:
    with redirect_stderr(StringIO()) as said:
        status = cli.main(words)
    return f"{status} {said.getvalue()}"
