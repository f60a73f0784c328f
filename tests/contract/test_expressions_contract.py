"""User expressions and the number of a cell: what a kernel asks of a session beyond running code."""

from __future__ import annotations

from typing import Any

import pytest

from chorus_nb import introspection
from chorus_nb.agent.wire import Message
from chorus_nb.config import SandboxConfig
from chorus_nb.sandbox import Sandbox


def result_of(sandbox: Sandbox, code: str, **asked: Any) -> Message:
    """Run a cell; return its ``execute_result``."""
    shown: list[Message] = []
    sandbox._session.execute(code, on_message=shown.append, **asked)
    (result,) = [message for message in shown if message.msg_type == "execute_result"]
    return result


def test_expressions_are_evaluated_in_the_namespace(sandbox: Sandbox) -> None:
    sandbox.run("x = 6")
    values = introspection.evaluate(sandbox._session, {"product": "x * 7", "wrong": "1 / 0", "broken": "x x"})
    assert values["product"]["status"] == "ok"
    assert values["product"]["data"]["text/plain"] == "42"
    assert (values["wrong"]["status"], values["wrong"]["ename"]) == ("error", "ZeroDivisionError")
    assert values["broken"]["ename"] == "SyntaxError"


def test_what_is_too_large_or_hostile_is_not_shown(sandbox: Sandbox) -> None:
    sandbox.run("class Markup:\n    def _repr_html_(self): return '<script>1</script><b>bold</b>'")
    sandbox.run("class Picture:\n    def _repr_png_(self): return b'no picture'")
    assert introspection.evaluate(sandbox._session, {"x": "Picture()"})["x"]["status"] == "ok"
    values = introspection.evaluate(sandbox._session, {"large": "'x' * 10**8", "markup": "Markup()"})
    assert (values["large"]["status"], values["large"]["ename"]) == ("error", "ValueError")
    assert "<script" not in values["markup"]["data"].get("text/html", "")
    assert sandbox.run("1").ok


def test_an_expression_that_does_not_end_is_limited_like_a_cell(sandbox: Sandbox) -> None:
    sandbox.run("def forever():\n    while True: pass")
    session = sandbox._session
    session.config = SandboxConfig.from_options(session.config, timeout=0.5)
    try:
        with pytest.raises(TimeoutError):
            introspection.evaluate(sandbox._session, {"x": "forever()"})
        with pytest.raises(TimeoutError):
            sandbox.run("forever()", timeout=60)
    finally:
        session.config = sandbox.config


def test_a_cell_has_the_number_it_is_given(sandbox: Sandbox) -> None:
    assert result_of(sandbox, "'seven'", execution_count=7).content["execution_count"] == 7
    assert result_of(sandbox, "Out[7]").content["data"]["text/plain"] == "'seven'"
    assert result_of(sandbox, "'again'", execution_count=3).content["execution_count"] == 3
