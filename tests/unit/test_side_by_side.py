"""One cell in several sessions, in a real IPython shell on the fake engine; and which sessions a line asks for."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from chorus_nb.errors import (
    ConfigurationError,
    ExecutionError,
    ExecutionInterruptedError,
    SessionConflictError,
    SessionsFailedError,
)
from chorus_nb.magic_line import sessions_asked
from chorus_nb.sandbox import RichOutput
from chorus_nb.side_by_side import Branch
from notebooks import Notebook, without_colours


def shown(notebook: Notebook) -> list[str]:
    return [output.data["text/plain"] for output in notebook.outputs]


def test_values_come_by_name_and_outputs_in_the_order_of_the_line(notebook: Notebook) -> None:
    result = notebook.run("%%sandbox b,a,c\nprint('printed')\n6 * 7").result
    assert list(result) == ["b", "a", "c"]
    assert isinstance(result["a"], RichOutput)
    assert repr(result) == "{'b': 42, 'a': 42, 'c': 42}"
    assert shown(notebook)[0] == "[b]\nprinted\n42\n\n[a]\nprinted\n42\n\n[c]\nprinted\n42"
    assert [session.name for session in notebook.manager.sessions()] == ["b", "a", "c"]


def test_they_run_at_the_same_time(notebook: Notebook) -> None:
    notebook.run("%sandbox start a,b,c --repo none")
    notebook.run("%%sandbox a,b,c\nimport time; began = time.time(); time.sleep(1); ended = time.time()")
    times = [notebook.run(f"%%sandbox {name}\nprint(began, ended)") and notebook.stdout.split() for name in "abc"]
    assert max(float(began) for began, _ in times) < min(float(ended) for _, ended in times)


def test_without_a_value_there_is_none(notebook: Notebook) -> None:
    assert notebook.run("%%sandbox a,b\nx = 1").result is None


def test_an_error_in_one_stops_none_of_the_others(notebook: Notebook) -> None:
    notebook.run("%%sandbox a\nx = 0")
    notebook.run("%%sandbox b\nx = 2")
    error = notebook.error("%%sandbox a,b\nprint('before')\ny = 1 / x\ny")
    assert isinstance(error, SessionsFailedError)
    assert list(error.errors) == ["a"]
    assert isinstance(error.errors["a"], ExecutionError)
    assert str(error.results["b"]) == "0.5"
    assert error.message == "The cell failed in 1 of 2 sessions. a: ZeroDivisionError: division by zero."
    columns = without_colours(shown(notebook)[0])
    assert columns.startswith("[a]\nbefore\n")
    assert "----> 2 y = 1 / x" in columns
    assert columns.endswith("[b]\nbefore\n0.5")
    assert "chorus_nb" not in columns


def test_an_interrupt_stops_all(notebook: Notebook) -> None:
    notebook.run("%sandbox start a,b")
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    error = notebook.error("%%sandbox a,b\nx = 1\nimport time; time.sleep(600)")
    assert isinstance(error, SessionsFailedError)
    assert [type(each) for each in error.errors.values()] == [ExecutionInterruptedError] * 2
    assert str(notebook.run("%%sandbox a,b\nx").result) == "{'a': 1, 'b': 1}"


def test_an_interrupt_while_they_start_gives_the_starts_up(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(branch: Branch, timeout_s: float) -> bool:
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGINT)
        return branch.wait(timeout_s)

    monkeypatch.setattr(Branch, "wait", interrupted)  # It is called as soon as all threads have begun.
    error = notebook.error("%%sandbox a,b\nimport time; time.sleep(600)")
    assert isinstance(error, SessionsFailedError)
    assert len(error.errors) == 2
    assert str(notebook.run("%%sandbox a,b\n1").result) == "{'a': 1, 'b': 1}"


def test_options_are_for_all_and_questions_for_none(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox a,b --timeout 0.5 --memory 512m\nwhile True: pass")
    assert isinstance(error, SessionsFailedError)
    assert "timeout" in notebook.stderr
    assert {session.config.option_text("memory") for session in notebook.manager.sessions()} == {"512m"}
    assert isinstance(notebook.error("%%sandbox a,b --memory 1g\n1"), SessionConflictError)
    assert "several sessions can't ask" in str(notebook.error("%%sandbox a,b\ninput()"))


def test_a_background_cell_in_one_comes_first(notebook: Notebook) -> None:
    job = notebook.run("%%sandbox a --bg\nimport time; time.sleep(1); x = 1").result
    notebook.run("%%sandbox b\nx = 2")
    assert str(notebook.run("%%sandbox a,b\nx").result) == "{'a': 1, 'b': 2}"
    assert job.done()


def test_what_was_cleared_and_updated_is_as_it_would_be_alone(notebook: Notebook) -> None:
    code = (
        "from IPython.display import clear_output, display, HTML\n"
        "print('gone'); clear_output()\n"
        "handle = display('first', display_id=True); handle.update(HTML('<b>last</b>'))\n"
        "print('10%\\r20%')"
    )
    notebook.run(f"%%sandbox a,b\n{code}")
    columns = notebook.outputs[0].data
    assert "gone" not in columns["text/plain"]
    assert "first" not in columns["text/plain"]
    assert columns["text/html"].count("<b>last</b>") == 2
    assert columns["text/plain"].endswith("20%")


def test_a_matrix_makes_sessions_and_ends_them(notebook: Notebook) -> None:
    result = notebook.run("%%sandbox --matrix memory=256m,512m --matrix cpus=1,2 --repo none\n1").result
    assert list(result) == ["memory=256m cpus=1", "memory=256m cpus=2", "memory=512m cpus=1", "memory=512m cpus=2"]
    assert notebook.manager.sessions() == []


def test_a_missing_image_fails_in_its_column_alone(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox --matrix image=mirror,nope:1\n6 * 7")
    assert isinstance(error, SessionsFailedError)
    assert list(error.errors) == ["image=nope:1"]
    assert str(error.results["image=mirror"]) == "42"
    assert notebook.manager.sessions() == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,a", "once"),
        ("a,,b", "once"),
        (",a", "once"),
        ("a,b/c", "'b/c'"),
        (",".join(f"s{n}" for n in range(17)), "17 sessions"),
        ("--matrix memory", "OPTION=A,B"),
        ("--matrix colour=red,blue", "colour"),
        ("--matrix memory=", "once"),
        ("--matrix memory=1g,1g", "once"),
        ("--matrix memory=1g,1k", "memory='1k'"),
        ("--matrix memory=1g --memory 2g", "memory more than once"),
        ("--matrix memory=1g --matrix memory=2g", "memory more than once"),
        ("--matrix image=a --matrix python=3.13", "image more than once"),
        ("--matrix python=3", "python=3 "),
        ("--matrix python=latest", "python=latest"),
        ("work --matrix memory=1g,2g", "'work'"),
        ("--fresh --matrix memory=1g,2g", "--fresh"),
        ("--matrix cpus=1,2,3,4,5 --matrix pids=20,30,40,50", "20 sessions"),
    ],
)
def test_what_a_line_can_not_ask_for(notebook: Notebook, line: str, message: str) -> None:
    error = notebook.error(f"%%sandbox {line}\n1")
    assert isinstance(error, ConfigurationError)
    assert message in str(error)
    assert [session for session in notebook.manager.sessions() if session.state != "new"] == []


def test_blanks_between_names_are_pointed_out(notebook: Notebook) -> None:
    assert "commas alone" in str(notebook.error("%%sandbox a, b\n1"))


def test_a_python_version_stands_for_the_official_image(notebook: Notebook) -> None:
    asked = sessions_asked(notebook.magics.parse("--matrix python=3.9,3.13 --memory 1g"))
    assert asked == {
        "python=3.9": {"memory": "1g", "image": "python:3.9-slim"},
        "python=3.13": {"memory": "1g", "image": "python:3.13-slim"},
    }
