"""Tab and Shift-Tab in a real Jupyter kernel: the replies a front end gets for ``%%sandbox`` cells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from chorus_nb.engines.docker import DockerEngine

pytestmark = pytest.mark.docker

SANDBOX = """%%sandbox
only_in_sandbox = [1]
def greet(name):
    "Say hello from the sandbox."
class Slow:
    def __dir__(self):
        while True: pass
slow = Slow()
"""
HOST = "only_on_host = 1\ndef greet(name):\n    'Say hello from the host.'"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngine) -> Iterator[BlockingKernelClient]:
    """A kernel with names of its own and a sandbox with others."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(tmp_path_factory.mktemp("notebook")))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    for code in ("%load_ext chorus_nb", SANDBOX, HOST):
        reply = client.execute_interactive(code, timeout=90, output_hook=lambda _: None)
        assert reply["content"]["status"] == "ok", reply["content"]
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def complete(client: BlockingKernelClient, code: str, cursor_pos: int | None = None) -> dict[str, Any]:
    content: dict[str, Any] = client.complete(code, cursor_pos, reply=True, timeout=30)["content"]
    assert content["status"] == "ok"
    return content


def inspect(client: BlockingKernelClient, code: str, detail_level: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = client.inspect(code, detail_level=detail_level, reply=True, timeout=30)["content"]
    assert content["status"] == "ok"
    return content


def is_complete(client: BlockingKernelClient, code: str) -> str:
    asked = client.is_complete(code)
    while (reply := client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != asked:
        pass
    status: str = reply["content"]["status"]
    return status


def run(client: BlockingKernelClient, code: str) -> dict[str, Any]:
    content: dict[str, Any] = client.execute_interactive(code, timeout=60, output_hook=lambda _: None)["content"]
    return content


@pytest.mark.parametrize("line", ["%%sandbox", "%%sandbox default", "%%sandbox --timeout 5 ", "\n\n%%sandbox"])
def test_a_cell_is_completed_from_its_sandbox(client: BlockingKernelClient, line: str) -> None:
    code = f"{line}\nx = 'é'\nonly_"
    found = complete(client, code)
    assert found["matches"] == ["only_in_sandbox"]
    assert code[found["cursor_start"] : found["cursor_end"]] == "only_"
    (described,) = found["metadata"]["_jupyter_types_experimental"]
    assert described["text"] == "only_in_sandbox"


@pytest.mark.parametrize("code", ["only_", "print('%%sandbox')\nonly_", "%%sandboxes\nonly_", "%%time\nonly_"])
def test_other_cells_are_completed_by_the_notebook(client: BlockingKernelClient, code: str) -> None:
    assert complete(client, code)["matches"] == ["only_on_host"]


@pytest.mark.parametrize(
    "line", ["%%sandbox never_started", "%%sandbox --no-such-option", "%%sandbox 'open", "%%sandbox a b c"]
)
def test_without_a_session_the_notebook_completes(client: BlockingKernelClient, line: str) -> None:
    assert complete(client, f"{line}\nonly_")["matches"] == ["only_on_host"]
    assert run(client, "get_ipython()._chorus_nb_manager.get('never_started')")["ename"] == "UnknownSessionError"


def test_the_magic_line_is_completed_by_the_notebook(client: BlockingKernelClient) -> None:
    assert "--memory" in complete(client, "%%sandbox --mem\nonly_", len("%%sandbox --mem"))["matches"]


def test_the_cursor_decides_and_not_the_end_of_the_cell(client: BlockingKernelClient) -> None:
    code = "%%sandbox\nonly_ = 1\nother"
    found = complete(client, code, code.index(" = 1"))
    assert found["matches"] == ["only_in_sandbox"]


def test_inspection_comes_from_the_sandbox(client: BlockingKernelClient) -> None:
    found = inspect(client, "%%sandbox\ngreet(")
    assert found["found"]
    assert "Say hello from the sandbox." in found["data"]["text/plain"]
    assert "def" in inspect(client, "%%sandbox\ngreet", detail_level=1)["data"]["text/plain"]
    assert not inspect(client, "%%sandbox\nonly_on_host")["found"]
    assert "from the host" in inspect(client, "greet(")["data"]["text/plain"]


def test_a_completion_that_hangs_falls_back_and_the_next_cell_runs(client: BlockingKernelClient) -> None:
    asked_at_s = time.monotonic()
    complete(client, "%%sandbox\nslow.")
    assert time.monotonic() - asked_at_s < 10
    assert run(client, "%%sandbox\nassert only_in_sandbox == [1]")["status"] == "ok"
    assert complete(client, "%%sandbox\nonly_")["matches"] == ["only_in_sandbox"]


@pytest.mark.parametrize(
    "body", ["x = 1", "match = = 1", "print 'a'", "def f(:", "x = '''", "for x in y:", "type X = 1"]
)
def test_a_sandboxed_cell_is_never_reported_as_wrong(client: BlockingKernelClient, body: str) -> None:
    for code, status in ((f"%%sandbox\n{body}", "incomplete"), (f"%%sandbox\n{body}\n\n", "complete")):
        # A blank line ends the cell of a magic in a console; what is in it is the magic's business.
        assert is_complete(client, code) == status


def test_unloading_leaves_the_kernel_as_it_was(client: BlockingKernelClient) -> None:
    assert run(client, "%unload_ext chorus_nb")["status"] == "ok"
    assert complete(client, "%%sandbox\nonly_")["matches"] == ["only_on_host"]
    assert "from the host" in inspect(client, "%%sandbox\ngreet(")["data"]["text/plain"]
