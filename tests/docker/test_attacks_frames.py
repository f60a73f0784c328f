"""An agent that is the attacker's in a container of a real engine: the notebook's kernel goes on, in time.

tests/unit/test_hostile_agent.py has the forged messages by the thousand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from attempts import REAL_ENGINES, engine_of
from hostile import hostile_program
from jupyter_client.manager import start_new_kernel
from sandboxes import own_containers

from chorus_nb.agent import boot
from chorus_nb.engines.base import Engine
from chorus_nb.errors import AgentProtocolError, ChorusError, ExecutionTimeoutError, SandboxDiedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

ANSWER = "for request in requests():\n    i = request['msg_id']\n    "
ATTACKS = {
    "garbage": (ANSWER + "say(b'Traceback (most recent call last)' * 100)", AgentProtocolError),
    "a frame too large": (ANSWER + "say(struct.pack('>4sIH', b'CNB\\x01', 2**32 - 1, 0))", AgentProtocolError),
    "too many buffers": (ANSWER + "say(struct.pack('>4sIH', b'CNB\\x01', 2, 65535))", AgentProtocolError),
    "frames in frames": (ANSWER + "f = frame('stream', {}, i); say(f[:30] + f + f[30:])", AgentProtocolError),
    "a stream that is none": (ANSWER + "say(frame('stream', {'name': 'x', 'text': 1}, i))", AgentProtocolError),
    "an empty reply": (ANSWER + "say(frame('execute_reply', {}, i))", AgentProtocolError),
    "figures that are none": (ANSWER + "say(frame('resource_usage', {'cpu_time_s': -1}, i))", AgentProtocolError),
    "a question unasked": (
        ANSWER + "say(frame('input_request', {'prompt': '', 'password': 1}, i))",
        AgentProtocolError,
    ),
    "depth": (ANSWER + "say(frame('x', {}, i).replace(b'{}', b'[' * 9))", AgentProtocolError),
    "half a frame and an end": (ANSWER + "say(frame('stream', {}, i)[:20]); os._exit(0)", SandboxDiedError),
    "half a frame, then nothing": (ANSWER + "say(frame('stream', {}, i)[:20])", SandboxDiedError),
    "nothing": (ANSWER + "pass", SandboxDiedError),
    "no reading": ("time.sleep(600)", SandboxDiedError),
    "a flood": (
        ANSWER + "while True: say(frame('stream', {'name': 'stdout', 'text': 'x' * 9999}, i))",
        SandboxDiedError,
    ),
    "a flood of nobody's": ("while True: say(frame('resource_sample', GENUINE['resource_sample']))", SandboxDiedError),
    "a flood of errors": ("while True: os.write(2, b'\\x1b]0;x\\x07' * 9999)", SandboxDiedError),
    "replies nobody asked for": ("while True: say(frame('execute_reply', {}, '1-1'))", SandboxDiedError),
}


@pytest.fixture(params=REAL_ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = engine_of(request, request.param)
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=ATTACKS)
def test_a_cell_of_an_agent_that_is_the_attackers_ends_in_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    program, expected = ATTACKS[attack]
    # Seen once on Podman, on a slow machine: such a flood came with a part missing, and what is left is no protocol.
    garbled = (AgentProtocolError,) if engine.capabilities().name == "podman" and "nobody asked" in attack else ()
    before = own_containers(engine)
    monkeypatch.setattr(boot, "SUPERVISOR_ARGUMENTS", ("-I", "-S", "-c", hostile_program(program)))
    monkeypatch.setattr("chorus_nb.execution.GRACE_S", 0.3)
    monkeypatch.setattr("chorus_nb.starting.verify", lambda *_: None)  # It lies as well as it likes, see below.
    started_s = time.monotonic()
    with Sandbox(engine=engine, repo="none", timeout=1) as sandbox:
        with pytest.raises(ChorusError) as caught:
            sandbox.run("x" * 2**20)
        assert isinstance(caught.value, (expected, ExecutionTimeoutError, *garbled)), caught.value
    assert time.monotonic() - started_s < 30
    assert own_containers(engine) <= before


def test_what_an_agent_says_of_its_locks_is_all_that_is_known_of_them(
    docker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that is not ours may lie: so what was asked of the engine is what protects, and this check only finds
    engines that forget. A lie that does not fit the policy ends the start."""
    monkeypatch.setattr(boot, "SUPERVISOR_ARGUMENTS", ("-I", "-S", "-c", hostile_program("time.sleep(600)", uid=0)))
    with pytest.raises(ChorusError, match="did not enforce: user"), Sandbox(engine=docker_engine, repo="none"):
        pass


KERNEL = """
from chorus_nb.agent import boot
import chorus_nb.starting
chorus_nb.starting.verify = lambda *_: None
boot.SUPERVISOR_ARGUMENTS = ("-I", "-S", "-c", {program!r})
%load_ext chorus_nb
"""


@pytest.fixture
def ask(request: pytest.FixtureRequest) -> Iterator[object]:
    manager, client = start_new_kernel(kernel_name="python3")

    def run(code: str) -> str:
        reply = client.execute_interactive(code, timeout=60, output_hook=lambda _: None)["content"]
        return str(reply.get("ename", reply["status"]))

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=False)


def test_the_kernel_goes_on_through_all_of_them(docker_engine: Engine, ask) -> None:  # type: ignore[no-untyped-def]
    attacks = ("garbage", "a stream that is none", "half a frame and an end", "a flood of nobody's")
    for number, attack in enumerate(attacks):
        assert ask(KERNEL.format(program=hostile_program(ATTACKS[attack][0]))) == "ok"
        ended = ask(f"%%sandbox s{number} --repo none --timeout 1\n1")
        assert ended in ("AgentProtocolError", "SandboxDiedError", "ExecutionTimeoutError"), ended
        assert ask("1 + 1") == "ok"
