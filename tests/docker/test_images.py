"""Sandboxes from images that are not the mirror of the notebook's own Python."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from sandboxes import InterruptedCellError, opened, own_containers, start_cell, text_of, value

from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ImageNotFoundError, ImageUnsupportedError, VariableError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def kept(docker_engine: DockerEngine, plain_python_image: str) -> Iterator[Sandbox]:
    """A sandbox whose image has Python and its standard library, no IPython."""
    with opened(docker_engine, image=plain_python_image, memory="64m") as sandbox:
        yield sandbox


@pytest.fixture
def plain(kept: Sandbox) -> Sandbox:
    """The same with an empty namespace."""
    kept.restart()
    return kept


def test_without_ipython_cells_run_with_state_and_results(plain: Sandbox) -> None:
    assert value(plain, "import sys; 'IPython' in sys.modules") == "False"
    value(plain, "x = 20")
    result = plain.run("print('out'); print('err', file=sys.stderr)\nx + 1")
    assert (result.stdout, result.stderr, str(result.result)) == ("out\n", "err\n", "21")
    assert value(plain, "_ * 2") == "42"
    assert value(plain, "x;") == ""


def test_without_numpy_values_cross_and_an_array_says_what_is_missing(plain: Sandbox) -> None:
    plain.push(x={"a": [1, 2.5, b"3"]})
    value(plain, "y = (x, 2**100)")
    assert plain.pull("y") == ({"a": [1, 2.5, b"3"]}, 2**100)
    for part, package, missing in (
        (np.arange(3), "numpy", "an array"),
        (Image.new("L", (2, 2)), "Pillow", "a picture"),
    ):
        with pytest.raises(VariableError, match=f"x: {missing} needs the package {package}, which is missing in the s"):
            plain.push(x=part)
    assert value(plain, "x") == "{'a': [1, 2.5, b'3']}"


def test_without_ipython_rich_values_are_shown(plain: Sandbox) -> None:
    code = "class Rich:\n    def _repr_html_(self): return '<b>rich</b>'\n    def _repr_png_(self): return 1 / 0\n"
    result = plain.run(code + "display(Rich())\nRich()")
    assert result.result is not None
    assert result.result.data["text/html"] == "<b>rich</b>"
    assert [output.data["text/html"] for output in result.outputs] == ["<b>rich</b>"]


def test_without_ipython_errors_show_the_lines_of_the_cell_alone(plain: Sandbox) -> None:
    result = plain.run("def inner():\n    return 1 / 0\ninner()")
    text = text_of(result)
    assert "return 1 / 0" in text
    assert "inner()" in text
    assert "_chorus_agent" not in text
    assert "SyntaxError" in text_of(plain.run("def f(:"))
    assert "SystemExit" in text_of(plain.run("raise SystemExit(3)"))


def test_without_ipython_top_level_await_and_interrupts_work(plain: Sandbox) -> None:
    assert value(plain, "import asyncio\nawait asyncio.sleep(0.01)\n'awaited'") == "'awaited'"
    running = start_cell(plain, "import time; kept = 7; time.sleep(600)")
    plain.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join()
    assert value(plain, "kept") == "7"


def test_without_ipython_commands_and_files_work(plain: Sandbox) -> None:
    plain.files.write("/tmp/file", b"data")
    program = "print(open('/tmp/file').read())"
    assert plain.command(["python3", "-c", program]).stdout == "data\n"
    assert plain.command(["no-such-program"]).exit_code == 127


def test_nothing_is_written_into_the_image(plain: Sandbox) -> None:
    assert plain.info().read_only_root
    assert value(plain, "import os; os.access('/usr', os.W_OK)") == "False"


def test_an_image_without_python_is_unsupported(docker_engine: DockerEngine, image_without_python: str) -> None:
    before = own_containers(docker_engine)
    with (
        pytest.raises(ImageUnsupportedError, match="no Python") as caught,
        opened(docker_engine, image=image_without_python),
    ):
        pass
    assert "CPython 3.8" in caught.value.next_step
    assert own_containers(docker_engine) <= before


def test_a_missing_image_is_named_and_not_pulled(docker_engine: DockerEngine) -> None:
    with (
        pytest.raises(ImageNotFoundError, match="no/such-image:1") as caught,
        opened(docker_engine, image="no/such-image:1"),
    ):
        pass
    assert "docker pull no/such-image:1" in caught.value.next_step
