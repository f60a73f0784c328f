"""The same cell in a plain ipykernel and under ``%%sandbox``: what comes out must be the same."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker

# Each kernel runs these in turn, in one namespace.
CELLS = {
    "displays and text in order": "print('a'); display(1); display({'text/plain': 'p'}, raw=True); print('b'); 3",
    "both streams": "import sys\nprint(1, flush=True); print(2, file=sys.stderr, flush=True); print(3)",
    "the last results": "_, len(Out), In[-1]",
    "the one before": "__",
    "hidden by a semicolon": "7;",
    "an update of a display": "h = display('x', display_id='one')\nh.update('y')",
    "an update by a later cell": "from IPython.display import update_display\nupdate_display('z', display_id='one')",
    "clear_output": "from IPython.display import clear_output\nfor i in range(3): clear_output(); print(i)",
    "metadata": """
class P:
    def _repr_png_(self): return b"\\x89PNG\\r\\n\\x1a\\n" + b"0" * 20, {"width": 10, "height": 20}
P()""",
    "a display with metadata": "display(P())",
    "rich representations": "from IPython.display import *\ndisplay(Markdown('# hi'), Latex('$x$'), HTML('<b>x</b>'))",
    "mathematics": "Math('x')",
    "carriage returns and colour": "print('10%\\r20%'); print('\\x1b[31mred\\x1b[0m \\x1b[1mbold')",
    "no line end": "print('x', end='')",
    "a shell's output": "import os\nos.system('echo sys');",
    "%run": "open('/tmp/run.py', 'w').write('print(\"run\", __name__)');\n%run /tmp/run.py",
    "%%capture": "%%capture cap\nprint('captured'); display(3)",
    "what was captured": "cap.show()",
    "%%bash": "%%bash\necho bash",
    "%env": "%env FOO=bar",
    "x = !command": "q = !echo one; echo two\nq",
    "%cd": "%cd /tmp",
    "%pwd": "%pwd",
    "%sx": "%sx echo hi",
    "?": "len?",
    "??": "len??",
    "%pinfo": "%pinfo os.getpid",
    "await": "import asyncio\nawait asyncio.sleep(0, 'awaited')",
    "no other loop in the loop": "try: asyncio.new_event_loop().run_forever()\nexcept RuntimeError as e: print(e)",
    "a figure": "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);",
    "numpy": "import numpy as np\nnp.arange(5)",
    "the shell's name": "get_ipython().__class__.__name__",
    "an error": "1/0",
    "in a function": "def f():\n    x = 1\n    raise ValueError(x)\nf()",
    "a chained error": "try: 1/0\nexcept Exception as e: raise ValueError('x') from e",
    "a syntax error": "def f(: pass",
    "an indentation error": "if True:\npass",
    "an assertion": "assert False, 'no'",
    "many lines": "raise RuntimeError('multi\\nline')",
    "no class of Exception": "raise KeyboardInterrupt",
    "its own traceback": "class E(Exception):\n    def _render_traceback_(self): return ['mine']\nraise E",
    "compiled code": "eval('1+')",
    "an error in a coroutine": "async def a(): raise KeyError('k')\nawait a()",
    "a warning": "import warnings\nwarnings.warn('careful'); warnings.warn('careful')",
    "%tb's mode": "%xmode Verbose",
    "an error in that mode": "1/0",
}


class Kernel:
    """A kernel that runs cells and gives back what of their messages does not change from run to run."""

    def __init__(self, folder: Path, *before: str, prefix: str = "") -> None:
        self._manager = KernelManager()
        # Where it finds this variable, ipykernel leaves the descriptors alone.
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        self._manager.start_kernel(cwd=str(folder), env=environment)
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self._prefix = prefix
        for cell in before:
            self._client.execute_interactive(cell, timeout=60, output_hook=lambda _: None)

    def run(self, code: str) -> dict[str, Any]:
        messages: list[dict[str, Any]] = []
        reply = self._client.execute_interactive(
            self._prefix + code, timeout=60, output_hook=messages.append, allow_stdin=False
        )["content"]
        return {
            "outputs": list(_outputs(messages)),
            "status": reply["status"],
            "payload": _constant(reply.get("payload")),
        }

    def end(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def _outputs(messages: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the outputs, with the parts of one stream together."""
    last: dict[str, Any] | None = None
    for message in messages:
        kind, content = message["msg_type"], dict(message["content"])
        if kind in ("status", "execute_input"):
            continue
        if kind == "stream" and last is not None and last["name"] == content["name"]:
            last["text"] += content["text"]
            continue
        last = content if kind == "stream" else None
        yield kind, content


def _constant(value: Any) -> Any:
    """Replace what differs from one run to the next, or is the sandbox's to choose."""
    if isinstance(value, str):
        value = re.sub(r"(/tmp/ipykernel_\d+/)?\d{5,}\.py", "CELL.py", value)
        value = re.sub(r"In\s?\[\d+\]", "In[n]", value)
        return re.sub(r"0x[0-9a-f]{6,}|[0-9a-f]{32}-", "", value)
    if isinstance(value, dict):
        # The host's own error is named for what it is, and tells of the cell's.
        if value.get("ename") == "ExecutionError":
            name, _, text = value["evalue"].partition(": ")
            value = {**value, "ename": name, "evalue": text}
        return {key: _constant(each) for key, each in value.items() if key not in ("execution_count", "transient")} | (
            {"display_id": _constant(value["transient"].get("display_id"))} if "transient" in value else {}
        )
    return [_constant(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def ran(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Every cell by its name: what came out natively, and in the sandbox."""
    folder = tmp_path_factory.mktemp("notebook")
    native = Kernel(folder)
    sandboxed = Kernel(folder, "%load_ext chorus_nb", "%sandbox start", prefix="%%sandbox --gauge off\n")
    try:
        yield {name: (_constant(native.run(code)), _constant(sandboxed.run(code))) for name, code in CELLS.items()}
    finally:
        native.end()
        sandboxed.end()


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_puts_out_what_it_does_natively(ran: dict[str, Any], name: str) -> None:
    native, sandboxed = ran[name]
    for result in (native, sandboxed):
        for _, content in result["outputs"]:
            content.setdefault("display_id", None)
    assert sandboxed == native


def test_what_only_prints_its_error_fails_all_the_same(docker_engine: DockerEngine, tmp_path: Path) -> None:
    """Natively nothing but the reply says so, and a magic has no reply of its own: it has to raise."""
    kernel = Kernel(tmp_path, "%load_ext chorus_nb", prefix="%%sandbox --gauge off\n")
    try:
        unshowable = "class Unshowable:\n    def __repr__(self): 1 / 0\nUnshowable()"
        for code in (unshowable, "%nosuchmagic", "raise ExceptionGroup('g', [ValueError(1)])"):
            assert kernel.run(code)["status"] == "error"
        assert kernel.run("%nosuchmagic")["outputs"][-1][0] == "error", "it is said once"
        shown = kernel.run("try: 1 / 0\nexcept ZeroDivisionError: get_ipython().showtraceback()\n'went on'")
        assert shown["status"] == "ok"
        assert [kind for kind, _ in shown["outputs"]] == ["error", "execute_result"]
        below = kernel.run("get_ipython().set_next_input('1 + 1')")["payload"]
        assert below == [{"source": "set_next_input", "text": "%%sandbox default\n1 + 1", "replace": False}]
    finally:
        kernel.end()
