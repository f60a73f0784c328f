"""jupyter_kernel_test, the project's own check of a kernel's messages, on our kernel; and on ipykernel to compare."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupyter_kernel_test
import pytest

from chorus_nb import kernelspec
from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", autouse=True)
def _kernelspec(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Iterator[None]:
    """Install our kernelspec into a folder of its own, with nothing of the user's about."""
    folder = tmp_path_factory.mktemp("jupyter")
    kernelspec.install(prefix=str(folder))
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("notebook"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        yield
    os.chdir(before)


class Samples:
    """Every optional sample that the stock kernel passes."""

    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('wrong')"
    code_execute_result = (
        {"code": "1 + 2 + 3", "result": "6"},
        {"code": "[n * n for n in range(1, 4)]", "result": "[1, 4, 9]"},
        {"code": "import pandas; pandas.DataFrame({'a': [1]})", "mime": "text/html"},
    )
    code_display_data = (
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\\\frac{1}{2}'))", "mime": "text/latex"},
        {
            "code": "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
            "mime": "image/png",
        },
    )
    completion_samples = (
        {"text": "zi", "matches": {"zip"}},
        {"text": "%%ti", "matches": {"%%time", "%%timeit"}},
    )
    complete_code_samples = ("1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n")
    incomplete_code_samples = ("print('''hello", "def f(x):\n  x*2")
    invalid_code_samples = ("import = 7q",)
    code_history_pattern = "1 + 2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class TestOurs(Samples, jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    kernel_name = "chorus-nb"

    def test_a_plain_cell_makes_no_comm(self) -> None:
        _, messages = self.execute_helper("1 + 1")
        assert [message["msg_type"] for message in messages] == ["execute_result"]


class TestStock(Samples, jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    kernel_name = "python3"


def test_no_sample_of_the_suite_is_left_out() -> None:
    """The suite may grow: what it can check is checked, but for the ``range`` of history, which ipykernel fails."""
    names = [name for name in vars(jupyter_kernel_test.KernelTests) if name.endswith(("_samples", "_sample"))]
    names += [name for name in vars(jupyter_kernel_test.KernelTests) if name.startswith("code_")]
    missing: list[Any] = [name for name in names if not getattr(Samples, name, None)]
    assert missing == []
