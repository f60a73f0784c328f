"""Variables go into a sandbox and come out of it, on every engine; whatever goes wrong, the session stays usable."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sandboxes import InterruptedCellError, Running, start_cell, value

from chorus_nb import transfer
from chorus_nb.agent import pieces
from chorus_nb.errors import (
    ConfigurationError,
    OutOfMemoryError,
    SessionBusyError,
    VariableError,
    VariableMemoryError,
    VariableNotFoundError,
    WorkerDiedError,
)
from chorus_nb.sandbox import Sandbox


def test_values_go_in_and_come_back(sandbox: Sandbox) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    given: dict[str, Any] = {"f": frame, "i": 2**70, "n": math.nan, "s": "\ud800", "t": (1, {2: [b"3"]})}
    sandbox.push(**given)
    assert (
        value(sandbox, "type(f).__name__, i == 2**70, n != n, s, t")
        == "('DataFrame', True, True, '\\ud800', (1, {2: [b'3']}))"
    )
    copy, number, rest = sandbox.pull("f", "i", "t")
    pd.testing.assert_frame_equal(copy, frame)
    assert (number, rest) == (2**70, given["t"])


def test_types_that_are_taken_apart_cross(sandbox: Sandbox) -> None:
    text = np.array(["a", None], np.dtypes.StringDType(na_object=None))
    months = pd.Series(pd.period_range("2020-01", periods=2, freq="M"))
    views = pa.array(["a", None], pa.string_view())
    enum = pl.Series("e", ["b", "a"], dtype=pl.Enum(["b", "a"]))
    sandbox.push(text=text, months=months, views=views, enum=enum)
    kinds = "StringDType(na_object=None) period[M] string_view Enum(categories=['b', 'a'])"
    assert value(sandbox, f"f'{{text.dtype!r}} {{months.dtype}} {{views.type}} {{enum.dtype}}' == {kinds!r}") == "True"
    copies = sandbox.pull("text", "months", "views", "enum")
    assert copies[0].tolist() == ["a", None]
    pd.testing.assert_series_equal(copies[1], months)
    assert copies[2].equals(views)
    assert copies[3].equals(enum)


def test_a_large_array_crosses_in_pieces(sandbox: Sandbox) -> None:
    array = np.arange(3 * pieces.PIECE_BYTES, dtype="u4")[::2]
    sandbox.push(array=array)
    assert (
        value(sandbox, "array.sum() == 3 * 2**20 * (3 * 2**20 - 2) // 4, array.flags.writeable") == "(np.True_, True)"
    )
    sandbox.run("array[:] = array[::-1].copy()")
    copy = sandbox.pull("array")
    assert np.array_equal(copy, array[::-1])
    copy[0] = 1


def test_names_are_those_of_variables(sandbox: Sandbox) -> None:
    for name in ("a b", "1", "if", "None", "__builtins__", "In", "_", "_i1", "a.b", "", "exit"):
        with pytest.raises(ConfigurationError):
            sandbox.push(**{name: 1})
        with pytest.raises(ConfigurationError):
            sandbox.pull(name)
    with pytest.raises(ConfigurationError):
        sandbox.pull("a", "a")
    with pytest.raises(VariableNotFoundError, match="no variable nowhere in the sandbox"):
        sandbox.pull("nowhere")


def test_what_can_not_cross_is_named_and_nothing_is_changed(sandbox: Sandbox) -> None:
    sandbox.run("x = 1; bad = {'a': [1, 2, 3, (i for i in [])]}")
    with pytest.raises(VariableError) as caught:
        sandbox.pull("x", "bad")
    assert str(caught.value) == "bad['a'][3] is a generator, which can't cross. list(bad['a'][3]) can."
    assert caught.value.path == "bad['a'][3]"
    with pytest.raises(VariableError, match="x is a function"):
        sandbox.push(y=2, x=value)
    assert value(sandbox, "x, 'y' in globals()") == "(1, False)"


def test_code_of_a_value_that_fails_is_told(sandbox: Sandbox) -> None:
    sandbox.run(
        "import numpy as np\nclass E(Exception): pass\n"
        "class Bad:\n"
        "    __module__ = property(lambda self: 1 / 0)\n"
        "bad = Bad()"
    )
    with pytest.raises(VariableError):
        sandbox.pull("bad")
    assert value(sandbox, "1") == "1"


def test_a_cell_that_runs_is_not_disturbed(sandbox: Sandbox) -> None:
    cell = start_cell(sandbox, "import time\ntime.sleep(60)")
    try:
        with pytest.raises(SessionBusyError):
            sandbox.push(x=1)
        with pytest.raises(SessionBusyError):
            sandbox.pull("x")
    finally:
        sandbox.interrupt()
        with pytest.raises(InterruptedCellError):
            cell.join()
    sandbox.push(x=1)
    assert value(sandbox, "x") == "1"


def test_the_figures_of_the_last_cell_stay(sandbox: Sandbox) -> None:
    sandbox.run("x = 1")
    before = sandbox._session.last_usage
    sandbox.pull("x")
    assert sandbox._session.last_usage is before


def test_an_interrupt_ends_a_pull_and_loses_nothing(sandbox: Sandbox) -> None:
    sandbox.run(
        "import time\n"
        "kept = 5\n"
        "import dataclasses\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "slow = Point(1)\n"
        "Point.x = property(lambda self: time.sleep(60))\n"
    )
    pull = Running(lambda: sandbox.pull("slow"))
    while not pull.ended_at_s:
        sandbox.interrupt()
        time.sleep(0.05)
    assert type(pull.error).__name__ == "InterruptedCellError"
    assert sandbox.pull("kept") == 5


def test_an_interrupt_ends_a_push_and_loses_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def cut_slowly(tree: bytes, buffers: Any, send: Any) -> None:
        send(tree[:1])
        begun.set()
        go_on.wait(60)
        send(tree[1:])

    monkeypatch.setattr(transfer, "cut", cut_slowly)
    sandbox.run("kept = 5")
    push = Running(lambda: sandbox.push(x=[1, 2, 3]))
    assert begun.wait(60)
    threading.Timer(0.3, go_on.set).start()
    while not push.ended_at_s:
        sandbox.interrupt()
        time.sleep(0.05)
    assert type(push.error).__name__ == "InterruptedCellError"
    monkeypatch.undo()
    assert value(sandbox, "kept, 'x' in globals()") == "(5, False)"
    sandbox.push(x=1)
    assert sandbox.pull("x") == 1


def test_a_value_that_fails_on_its_way_is_told(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tree: bytes, buffers: Any, send: Any) -> None:
        send(tree[:1])
        raise MemoryError("no room")

    monkeypatch.setattr(transfer, "cut", fail)
    with pytest.raises(VariableError, match="no room"):
        sandbox.push(x=[1])
    monkeypatch.undo()
    sandbox.push(x=[1])
    assert sandbox.pull("x") == [1]


def test_a_value_may_not_end_the_process(sandbox: Sandbox) -> None:
    sandbox.run(
        "import dataclasses\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "leaving = Point(1)\n"
        "Point.x = property(lambda self: exec('raise SystemExit'))\n"
    )
    with pytest.raises(VariableError):
        sandbox.pull("leaving")
    sandbox.push(x=1)
    assert sandbox.pull("x") == 1


def test_a_process_that_ends_meanwhile_is_told(sandbox: Sandbox) -> None:
    sandbox.run(
        "import dataclasses, os\n"
        "@dataclasses.dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "deadly = Point(1)\n"
        "Point.x = property(lambda self: os._exit(3))\n"
    )
    with pytest.raises(WorkerDiedError):
        sandbox.pull("deadly")
    sandbox.push(x=1)
    assert sandbox.pull("x") == 1


def test_variables_are_gone_after_a_restart(sandbox: Sandbox) -> None:
    sandbox.push(x=1)
    sandbox.restart()
    with pytest.raises(VariableNotFoundError):
        sandbox.pull("x")


def test_a_module_beside_the_notebook_takes_no_place_of_ours(sandbox: Sandbox) -> None:
    for name in ("decimal", "uuid", "values", "json"):
        sandbox.files.write(f"{name}.py", b"raise RuntimeError('imported')")
    try:
        sandbox.restart()
        sandbox.push(x={"a": 1})
        assert sandbox.pull("x") == {"a": 1}
    finally:
        sandbox.command(["rm", "-f", "decimal.py", "uuid.py", "values.py", "json.py"])


def test_more_than_the_limit_is_refused_on_both_sides(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    output = sandbox.config.output.model_copy(update={"max_transfer_bytes": 2**20})
    config = sandbox.config.model_copy(update={"output": output})
    monkeypatch.setattr(sandbox._session, "config", config)
    with pytest.raises(VariableError, match=r"x is larger than the 1 MiB"):
        sandbox.push(x=bytes(2**21))
    sandbox.run("big = bytes(2**21); words = [0.5] * 2**17")
    for name in ("big", "words"):
        with pytest.raises(VariableError, match=f"{name} is larger than the 1 MiB"):
            sandbox.pull(name)


def test_more_than_the_memory_is_an_error_by_its_name(sandbox: Sandbox) -> None:
    if not sandbox._session.engine.capabilities().limits:
        return
    array = np.broadcast_to(np.zeros(1, "u1"), (2**29 + 2**20,))
    with pytest.raises(VariableMemoryError, match=r"array needs .*512 MiB"):
        sandbox.push(array=array)
    sandbox.run("full = b'x' * (400 * 2**20)")
    with pytest.raises(OutOfMemoryError):
        sandbox.push(array=array[: 2**27])
    sandbox.push(x=1)
    assert sandbox.pull("x") == 1
