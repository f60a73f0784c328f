"""``%sandbox diff``, ``apply`` and ``discard`` in a shell, on what a real sandbox has changed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.completer import provisionalcompleter

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import (
    ApplyError,
    ConfigurationError,
    NoSuchChangeError,
    UnappliedChangesError,
    UnknownSessionError,
)
from notebooks import Notebook

pytestmark = pytest.mark.docker

FILES = {"a b.txt": "old\n", "src/one.py": "x = 1\n", "src/two.py": "y = 1\n", "gone.txt": "gone\n", "same.txt": "s\n"}

REWRITE = """
from pathlib import Path
import os
Path("a b.txt").write_text("new\\n")
for path in Path("src").glob("*.py"):
    path.write_text(path.read_text().replace("1", "2"))
Path("gone.txt").unlink()
Path("same.txt").write_text("s\\n")
Path("made/deep").mkdir(parents=True)
Path("made/deep/new.txt").write_text("\\x1b[31mred\\n")
Path("*").write_text("a name that is a pattern\\n")
Path("line\\nbreak\\x1b[2J").write_text("x\\n")
os.symlink("/etc/passwd", "outside")
with open(b"\\xff\\xfe", "w") as file:
    file.write("bytes\\n")
"""

DIFF = """\
The sandbox 'default' has made 9 changes: 5 created, 3 modified, 1 deleted.

created: *  (+1 -0)
@@ -0,0 +1 @@
+a name that is a pattern

modified: a b.txt  (+1 -1)
@@ -1 +1 @@
-old
+new

deleted: gone.txt  (+0 -1)
@@ -1 +0,0 @@
-gone

created: line\\nbreak\\x1b[2J  (+1 -0)
@@ -0,0 +1 @@
+x

created: made/deep/new.txt  (+1 -0)
@@ -0,0 +1 @@
+\\x1b[31mred

created: outside  (+1 -0, symbolic link)
not applied: REASON
@@ -0,0 +1 @@
+/etc/passwd

modified: src/one.py  (+1 -1)
@@ -1 +1 @@
-x = 1
+x = 2

modified: src/two.py  (+1 -1)
@@ -1 +1 @@
-y = 1
+y = 2

created: \\udcff\\udcfe  (+1 -0)
@@ -0,0 +1 @@
+bytes
"""


@pytest.fixture(scope="module")
def shell(docker_engine: DockerEngine) -> Iterator[Notebook]:
    notebook = Notebook(docker_engine)
    yield notebook
    notebook.close()


@pytest.fixture
def repository() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            path = Path(folder, "a folder", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        yield Path(folder, "a folder")


@pytest.fixture
def notebook(shell: Notebook, repository: Path) -> Iterator[Notebook]:
    """A shell whose default session has rewritten the repository."""
    shell.run(f"%%sandbox --gauge off --repo overlay --repo-path '{repository}'\n{REWRITE}")
    assert shell.stdout == shell.stderr == ""
    yield shell
    shell.manager.remove_all(shell.manager.sessions())


def test_diff_apply_and_discard(notebook: Notebook, repository: Path) -> None:
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    notebook.run("%sandbox diff")
    assert re.sub(r"(?<=not applied: ).*", "REASON", notebook.stdout) == DIFF
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before

    notebook.run("%sandbox diff 'a b.txt' src/")
    assert re.findall("^[a-z]+: .*", notebook.stdout, re.M) == [
        "modified: a b.txt  (+1 -1)",
        "modified: src/one.py  (+1 -1)",
        "modified: src/two.py  (+1 -1)",
    ]
    notebook.run("%sandbox apply --check src/one.py 'a b.txt'")
    assert notebook.stdout == "2 changes would be taken over:\n  modified: a b.txt\n  modified: src/one.py\n"
    assert (repository / "src/one.py").read_text() == "x = 1\n"

    notebook.run("%sandbox apply src/one.py made")
    assert notebook.stdout == "2 changes taken over:\n  created: made/deep/new.txt\n  modified: src/one.py\n"
    assert (repository / "src/one.py").read_text() == "x = 2\n"
    assert (repository / "made/deep/new.txt").read_text() == "\x1b[31mred\n"

    assert isinstance(notebook.error("%sandbox stop"), UnappliedChangesError)
    notebook.run("%sandbox discard '*.py' gone.txt")
    assert notebook.stdout == "2 changes thrown away:\n  deleted: gone.txt\n  modified: src/two.py\n"
    assert (
        notebook.run("%%sandbox --gauge off\nPath('src/two.py').read_text()").result.data["text/plain"] == "'y = 1\\n'"
    )

    notebook.run("%sandbox apply")
    assert notebook.stdout.startswith("4 changes taken over:\n  created: *\n  modified: a b.txt\n")
    assert "Not taken over:\n  created: outside: " in notebook.stdout
    assert not os.path.lexists(repository / "outside")
    assert (repository / os.fsdecode(b"\xff\xfe")).read_text() == "bytes\n"
    notebook.run("%sandbox discard")
    notebook.run("%sandbox diff")
    assert notebook.stdout == "The sandbox 'default' has changed nothing here.\n"
    notebook.run("%sandbox stop")
    assert "is stopped" in notebook.stdout


def test_a_notebook_gets_text_and_html_that_are_the_same_each_time(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook.shell, "kernel", SimpleNamespace(), raising=False)
    shown = []
    for _ in range(2):
        notebook.run("%sandbox diff")
        (output,) = notebook.outputs
        shown.append(output.data)
    assert shown[0] == shown[1]
    assert set(shown[0]) == {"text/plain", "text/html"}
    assert re.sub(r"(?<=not applied: ).*", "REASON", shown[0]["text/plain"]) + "\n" == DIFF
    assert r"<b>created: line\nbreak\x1b[2J</b>" in shown[0]["text/html"]
    assert notebook.stdout == ""


def test_what_both_have_changed_is_a_conflict_and_the_rest_is_taken_over(notebook: Notebook, repository: Path) -> None:
    (repository / "a b.txt").write_text("mine\n")
    notebook.run("%sandbox diff 'a b.txt'")
    assert "\nconflict: " in notebook.stdout
    assert "-mine\n+new\n" in notebook.stdout
    error = notebook.error("%sandbox apply 'a b.txt' src/one.py")
    assert isinstance(error, ApplyError)
    assert "a b.txt" in str(error)
    assert notebook.stdout.startswith("1 change taken over:\n  modified: src/one.py\n")
    assert (repository / "a b.txt").read_text() == "mine\n"


def test_what_has_changed_since_it_was_shown_is_looked_at_again(notebook: Notebook, repository: Path) -> None:
    notebook.run("%sandbox diff")
    notebook.run("%%sandbox --gauge off\nPath('src/one.py').write_text('evil\\n')")
    assert isinstance(notebook.error("%sandbox apply src/one.py"), ApplyError)
    assert (repository / "src/one.py").read_text() == "x = 1\n"
    notebook.run("%sandbox diff src/one.py")
    notebook.run("%sandbox apply src/one.py")
    assert (repository / "src/one.py").read_text() == "evil\n"


def test_what_is_wrong_with_a_line_is_said(notebook: Notebook) -> None:
    for line, kind, words in (
        ("diff nowhere.txt", NoSuchChangeError, "nowhere.txt"),
        ("diff 'a b", "UsageError", "No closing quotation. Usage: %sandbox diff [--session NAME] [PATH ...]"),
        ("diff --check", "UsageError", "--check"),
        ("apply --chek", "UsageError", "Usage: %sandbox apply [--session NAME] [--check] [PATH ...]"),
        ("discard --session", "UsageError", "expected one argument"),
        ("diff --session nobody", UnknownSessionError, "'nobody'"),
        ("apply default", NoSuchChangeError, "write --session default"),
    ):
        error = notebook.error(f"%sandbox {line}")
        assert type(error).__name__ == (kind if isinstance(kind, str) else kind.__name__)
        assert words in str(error)


def test_a_session_without_a_view_of_its_own_says_how_to_get_one(notebook: Notebook) -> None:
    notebook.run("%%sandbox plain --gauge off --repo none\n1")
    error = notebook.error("%sandbox diff --session plain")
    assert isinstance(error, ConfigurationError)
    assert "--repo none" in str(error)
    assert "%%sandbox plain --fresh --repo overlay" in str(error)


def test_tab_completes_options_sessions_and_paths_that_were_touched(notebook: Notebook) -> None:
    def completed(line: str) -> set[str]:
        with provisionalcompleter():
            return {each.text for each in notebook.shell.Completer.completions(line, len(line))}

    assert {"diff", "discard"} <= completed("%sandbox di")
    assert {"--session", "src/one.py", "'a b.txt'", "gone.txt"} <= completed("%sandbox diff ")
    assert "--check" not in completed("%sandbox diff ")
    assert "--check" in completed("%sandbox apply ")
    assert completed("%sandbox apply src/o") >= {"src/one.py"}
    assert "default" in completed("%sandbox apply --session ")
    assert not [each for each in completed("%sandbox diff ") if not each.isprintable()]
