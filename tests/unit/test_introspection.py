"""What a session's namespace knows of a name, and what is made of answers that are wrong, hostile or late."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from sandboxes import OtherPython, Running, python_whose_template, start_cell, value

from chorus_nb import introspection
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import ExecutionTimeoutError, WorkerDiedError
from chorus_nb.introspection import Completion, Inspection
from chorus_nb.sandbox import Sandbox

NAMESPACE = """
only_here = [1]
def greet(name, times=2):
    "Say hello."
    return name * times
class Slow:
    def __dir__(self):
        import time
        while True: time.sleep(0.01)
slow = Slow()
class Broken:
    def __dir__(self): raise SystemExit
    def __repr__(self): raise ValueError
broken = Broken()
"""
LONG_S = 20.0
"""Enough for any answer that comes at all."""


def plain(folder: Path) -> FakeEngine:
    return OtherPython(python_whose_template(folder, starts=f'exec {sys.executable} -S "$@"'))


@pytest.fixture(scope="module", params=["ipython", "plain"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with each of the shells."""
    engine = FakeEngine() if request.param == "ipython" else plain(tmp_path_factory.mktemp("python"))
    with Sandbox(engine=engine, repo="none") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    kept.restart()
    assert kept.run(NAMESPACE).ok
    return kept


def complete(sandbox: Sandbox, code: str, cursor_pos: int | None = None) -> Completion | None:
    at = len(code) if cursor_pos is None else cursor_pos
    return introspection.complete(sandbox._session, code, at, LONG_S)


def completed(sandbox: Sandbox, code: str) -> set[str]:
    """Return the last words of ``code`` as a front end would complete them."""
    found = complete(sandbox, code)
    assert found is not None
    return {(code[: found.start] + match + code[found.end :]).split()[-1] for match in found.matches}


def described(sandbox: Sandbox, code: str, cursor_pos: int | None = None, detail_level: int = 0) -> str:
    at = len(code) if cursor_pos is None else cursor_pos
    found = introspection.inspect(sandbox._session, code, at, detail_level, LONG_S)
    assert found is not None
    return str(found.data.get("text/plain", ""))


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("only_", "only_here"),
        ("x = 1\nprint( only_h", "only_here"),
        ("only_here.app", "only_here.append"),
        ("import os\nimport sys\ngre", "greet"),
        ("isinst", "isinstance"),
        ("é = only_h", "only_here"),
    ],
)
def test_names_of_the_live_namespace_are_completed(sandbox: Sandbox, code: str, word: str) -> None:
    assert word in {each.rstrip("(") for each in completed(sandbox, code)}


def test_the_cursor_may_be_in_the_middle(sandbox: Sandbox) -> None:
    found = complete(sandbox, "only_h = 1\ny = 2", 6)
    assert found is not None
    assert (found.matches, found.start, found.end) == (["only_here"], 0, 6)


@pytest.mark.parametrize("code", ["no_such_name_", "no_such.thing", "'text'.no_such", "broken.", "", "only_here."])
def test_what_is_not_known_is_no_error(sandbox: Sandbox, code: str) -> None:
    found = complete(sandbox, code)
    assert found is None or not any(match.startswith("no_such") for match in found.matches)
    assert introspection.inspect(sandbox._session, code + "no_such", 100, timeout_s=LONG_S) == Inspection({}, {})
    assert value(sandbox, "only_here") == "[1]"


def test_a_function_is_described_with_its_signature(sandbox: Sandbox) -> None:
    for code, cursor_pos in (("greet", 3), ("greet(", 6), ("greet(only_here, times=(1, 2)[", 16)):
        text = described(sandbox, code, cursor_pos)
        assert "Say hello." in text
        assert "times" in text
    assert "return" not in described(sandbox, "greet")
    assert "return" in described(sandbox, "greet", detail_level=1)


def test_a_value_is_described(sandbox: Sandbox) -> None:
    text = described(sandbox, "only_here")
    assert "list" in text
    assert "[1]" in text


def test_what_looking_prints_is_no_output_of_a_cell(sandbox: Sandbox) -> None:
    sandbox.run("class Loud:\n    def __dir__(self): print('printed by dir'); return ['a']\nloud = Loud()")
    complete(sandbox, "loud.")
    wait_until(lambda: "printed by dir" in sandbox._session.logs())
    assert sandbox.run("1").stdout == ""


# Not now


def test_a_busy_session_does_not_answer_and_its_cell_goes_on(sandbox: Sandbox) -> None:
    waits = "import os, time\nwhile not os.path.exists('seen'): time.sleep(0.01)\nos.remove('seen')\nprint('end')"
    running = start_cell(sandbox, waits)
    assert complete(sandbox, "only_") is None
    assert introspection.inspect(sandbox._session, "only_here", 4, timeout_s=LONG_S) is None
    assert sandbox._session.state == "busy"
    sandbox.files.write("seen", b"")
    assert running.join()[-1].content["text"] == "end\n"


def test_a_session_that_does_not_run_is_not_started() -> None:
    sandbox = Sandbox(engine=FakeEngine(), repo="none")
    sandbox._session.close()
    assert complete(sandbox, "pri") is None
    assert sandbox._session.state == "closed"


@pytest.mark.parametrize("ask", ["complete", "inspect"])
def test_a_lookup_that_hangs_is_given_up_and_the_next_cell_runs(sandbox: Sandbox, ask: str) -> None:
    sandbox.run(
        "class Hanging:\n    def __repr__(self): slow.__dir__()\n    __dir__ = Slow.__dir__\nhanging = Hanging()"
    )
    sandbox.run("import subprocess; child = subprocess.Popen(['sleep', '60'])")
    function: Callable[..., Any] = getattr(introspection, ask)
    code = "hanging." if ask == "complete" else "hanging"
    assert function(sandbox._session, code, len(code), timeout_s=0.5) is None
    assert value(sandbox, "only_here") == "[1]"
    assert value(sandbox, "child.poll() is None") == "True", "what a cell has started runs on"
    assert completed(sandbox, "only_h") == {"only_here"}
    sandbox.run("child.kill(); child.wait()")


def test_a_description_may_take_longer_than_completions(sandbox: Sandbox) -> None:
    sandbox.run(
        "class Late:\n    def __repr__(self):\n        import time; time.sleep(1.2); return 'at last'\nlate = Late()"
    )
    found = introspection.inspect(sandbox._session, "late", 4)
    assert found is not None
    assert "at last" in found.data["text/plain"]


def test_a_cell_right_after_a_lookup_is_not_hit_by_its_interrupt(sandbox: Sandbox) -> None:
    for _ in range(3):
        assert introspection.complete(sandbox._session, "slow.", 5, timeout_s=0.3) is None
        # Before the worker can have answered.
        assert value(sandbox, "import time\nfor _ in range(20): time.sleep(0.01)\nonly_here") == "[1]"


def test_a_cell_that_comes_during_a_lookup_waits_for_its_end(sandbox: Sandbox) -> None:
    lookup = Running(lambda: introspection.complete(sandbox._session, "slow.", 5, timeout_s=1.5))
    time.sleep(0.5)
    assert value(sandbox, "import time\nfor _ in range(20): time.sleep(0.01)\nonly_here") == "[1]"
    assert lookup.join() is None


def test_a_cell_that_is_interrupted_while_it_waits_does_not_run(sandbox: Sandbox) -> None:
    session = sandbox._session
    lookup = Running(lambda: introspection.complete(session, "slow.", 5, timeout_s=5))
    time.sleep(0.5)
    cell = Running(lambda: session.execute("only_here.append(2)", on_message=lambda _: None))
    wait_until(lambda: session.state == "busy")
    session.interrupt()
    assert cell.join().interrupted
    lookup.join()
    assert value(sandbox, "only_here") == "[1]"


def test_a_lookup_that_goes_on_after_an_interrupt_is_interrupted_again(sandbox: Sandbox) -> None:
    sandbox.run("""
class Stubborn:
    def __dir__(self):
        for _ in range(3):
            try: Slow.__dir__(self)
            except KeyboardInterrupt: pass
        return ["a"]
stubborn = Stubborn()
""")
    assert introspection.complete(sandbox._session, "stubborn.", 9, timeout_s=0.3) is None
    assert value(sandbox, "only_here") == "[1]"


def test_a_lookup_that_never_yields_is_ended_like_a_cell(sandbox: Sandbox) -> None:
    sandbox.run(
        "class Wedged:\n    def __dir__(self):\n        import signal\n"
        "        signal.signal(signal.SIGINT, signal.SIG_IGN)\n        while True: pass\nwedged = Wedged()"
    )
    assert introspection.complete(sandbox._session, "wedged.", 7, timeout_s=0.3) is None
    with pytest.raises(ExecutionTimeoutError) as caught:
        sandbox.run("1", timeout=0.5)
    assert not caught.value.state_kept
    assert value(sandbox, "1") == "1"


def test_a_lookup_that_ends_the_process_is_told_by_the_next_cell(sandbox: Sandbox) -> None:
    sandbox.run("import os\nclass Fatal:\n    def __dir__(self): os._exit(3)\nfatal = Fatal()")
    assert introspection.complete(sandbox._session, "fatal.", 6, timeout_s=0.5) is None
    wait_until(lambda: sandbox._session._loss is not None)
    with pytest.raises(WorkerDiedError):
        sandbox.run("1")
    assert value(sandbox, "1") == "1"


# Hostile answers


def answering(sandbox: Sandbox, reply: object) -> None:
    """Have the worker answer every lookup with ``reply``."""
    code = f"""
import gc, sys
streams = sys.modules["_chorus_agent.streams"]
(outbox,) = [each for each in gc.get_objects() if isinstance(each, streams.Outbox)]
true_answer = type(outbox).answer
outbox.answer = lambda request_id, msg_type, content: true_answer(outbox, request_id, msg_type, {reply!r})
"""
    assert sandbox.run(code).ok


def good(**changes: object) -> dict[str, object]:
    return {"status": "ok", "matches": ["a"], "cursor_start": 0, "cursor_end": 1, "metadata": {}, **changes}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"status": "ok"},
        good(matches="abc"),
        good(matches={"a": 1}),
        good(cursor_start=-5),
        good(cursor_start=True),
        good(cursor_start="0"),
        good(cursor_start=2**70),
        good(cursor_end=99),
        good(cursor_end=None),
        good(cursor_start=1, cursor_end=0),
        good(cursor_end=3),
    ],
)
def test_a_malformed_completion_is_none(sandbox: Sandbox, reply: object) -> None:
    answering(sandbox, reply)
    assert introspection.complete(sandbox._session, "a\nb", 1, LONG_S) is None


def test_only_printable_matches_of_bounded_length_and_number_pass(sandbox: Sandbox) -> None:
    hostile = ["fine", "\x1b[2J", "a\nb", "\u202egnp", "\ud800", "x" * 10_000, 5, None, ["a"], *map(str, range(2000))]
    types = [{"text": "fine", "type": "function"}, {"text": "0", "type": "<b>"}, 5, {"text": [], "type": {}}]
    answering(sandbox, good(matches=hostile, metadata={"_jupyter_types_experimental": types, "other": 1}))
    found = complete(sandbox, "a")
    assert found is not None
    assert found.matches[:3] == ["fine", "0", "1"]
    assert len(found.matches) <= introspection.MAX_MATCHES
    assert found.types == {"fine": "function"}


@pytest.mark.parametrize("metadata", [5, None, {"_jupyter_types_experimental": 5}, {"_jupyter_types_experimental": {}}])
def test_malformed_types_are_left_out(sandbox: Sandbox, metadata: object) -> None:
    answering(sandbox, good(metadata=metadata))
    assert complete(sandbox, "a") == Completion(["a"], {}, 0, 1)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"status": "ok", "found": "yes", "data": {"text/plain": "x"}}, Inspection({}, {})),
        ({"status": "ok", "found": True, "data": 5}, None),
        ({"status": "ok", "found": True, "data": {"text/plain": 5}}, None),
        ({"status": "ok", "found": True, "data": {}}, Inspection({}, {})),
        ({"status": "ok", "found": True, "data": {"text/javascript": "alert(1)"}}, Inspection({}, {})),
        (
            {"status": "ok", "found": True, "data": {"text/plain": "\x1b]0;t\x07a\x1b[31mb", "text/html": "<p>c</p>"}},
            Inspection({"text/plain": "a\x1b[31mb", "text/html": "<p>c</p>"}, {}),
        ),
        ({"status": "ok", "found": True, "data": {"text/html": "<script>alert(1)</script>"}}, Inspection({}, {})),
        ({"status": "ok", "found": True, "data": {"text/plain": "x" * 2**20}}, Inspection({}, {})),
    ],
)
def test_a_description_goes_through_the_output_policy(
    sandbox: Sandbox, reply: object, expected: Inspection | None
) -> None:
    answering(sandbox, reply)
    assert introspection.inspect(sandbox._session, "a", 1, timeout_s=LONG_S) == expected


def test_an_answer_too_large_for_a_message_is_none(sandbox: Sandbox) -> None:
    sandbox.run("class Wide:\n    def __dir__(self): return ['x' * 2**24 + str(n) for n in range(3)]\nwide = Wide()")
    found = complete(sandbox, "wide.")
    assert found is None or found.matches == []
    assert value(sandbox, "only_here") == "[1]"


def test_a_reply_that_nobody_asked_for_is_dropped(sandbox: Sandbox) -> None:
    answering(sandbox, good())
    forged = "for _ in range(100): true_answer(outbox, '1-1', 'complete_reply', {'status': 'ok'})"
    assert sandbox.run(forged).ok
    assert complete(sandbox, "a") == Completion(["a"], {}, 0, 1)


def test_a_cell_larger_than_a_message_is_not_looked_at(sandbox: Sandbox) -> None:
    assert complete(sandbox, "x" * 2**25) is None
    assert value(sandbox, "only_here") == "[1]"
