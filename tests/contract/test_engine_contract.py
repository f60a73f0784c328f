"""What every engine must do, run on each of them: what can't be had of one is declared, and asking for it an error."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Launcher, has_ended, make_spec, read_all, wait_until
from sandboxes import SLEEP

from chorus_nb.engines.attach import TAIL_BYTES
from chorus_nb.engines.base import (
    OWNER_LABEL,
    SESSION_LABEL,
    Container,
    ContainerProcess,
    Engine,
)
from chorus_nb.engines.owner import owner_label
from chorus_nb.errors import (
    EngineError,
    ImageNotFoundError,
)

ECHO = "import os\nwhile data := os.read(0, 65536): os.write(1, data)"


def exchange(container: Container, data: bytes) -> bytes:
    """Send from one thread and read in another until as much came back: neither side may need the other to wait."""
    sender = threading.Thread(target=container.stream.send, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data) and (piece := container.stream.receive()):
        received += piece
    sender.join()
    return bytes(received)


def test_bytes_come_back_as_they_were_sent(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, ECHO)
    every_byte = bytes(range(256))
    assert exchange(container, every_byte) == every_byte


def test_many_bytes_pass_in_both_directions_at_once(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, ECHO)
    data = os.urandom(1 << 20) * 8
    assert exchange(container, data) == data
    assert exchange(container, b"still in step") == b"still in step"


def test_a_memoryview_can_be_sent(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, ECHO)
    container.stream.send(memoryview(b"0123456789")[2:5])
    assert container.stream.receive() == b"234"


def test_receive_does_not_wait_for_more_than_there_is(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, "import os, time; os.write(1, b'x'); time.sleep(600)")
    assert container.stream.receive() == b"x"


def test_bytes_sent_before_the_start_are_kept(engine: Engine) -> None:
    container = engine.create(make_spec(engine, ECHO))
    try:
        container.stream.send(b"early")
        container.start()
        assert container.stream.receive() == b"early"
    finally:
        container.remove()


def test_the_end_of_the_program_is_the_end_of_the_stream(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, "print('last words')")
    assert read_all(container) == "last words\n"
    assert container.stream.receive() == b""
    wait_until(lambda: has_ended(container))


def test_sending_to_an_ended_container_is_a_connection_error(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, "pass")
    read_all(container)
    wait_until(lambda: has_ended(container))

    def refused() -> bool:
        try:
            container.stream.send(b"x" * 65536)
        except ConnectionError:
            return True
        return False

    wait_until(refused)


def test_standard_error_is_kept_for_diagnosis_and_bounded(engine: Engine, launch: Launcher) -> None:
    program = "import sys\nsys.stderr.write('x' * 1_000_000 + 'the reason')\nsys.stderr.flush()\nprint('out')"
    container = launch(engine, program)
    assert read_all(container) == "out\n"
    assert container.stream.diagnostics.endswith("the reason")
    assert len(container.stream.diagnostics) <= TAIL_BYTES


def test_close_wakes_a_blocked_receive(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, SLEEP)
    assert container.stream.receive() == b"ready\n"
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(container.stream.receive()), daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    container.stream.close()
    reader.join(60)
    assert received == [b""]
    container.stream.close()
    with pytest.raises(ConnectionError):
        container.stream.send(b"x")


def test_close_wakes_a_blocked_send(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, SLEEP)
    assert container.stream.receive() == b"ready\n"
    outcome: list[type[Exception]] = []

    def flood() -> None:
        try:
            container.stream.send(bytes(64 << 20))
        except ConnectionError as error:
            outcome.append(type(error))

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    sender.join(0.5)
    assert sender.is_alive()
    container.stream.close()
    sender.join(60)
    assert len(outcome) == 1


def test_closing_the_stream_ends_the_programs_input(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, ECHO)
    assert exchange(container, b"x") == b"x"
    container.stream.close()
    wait_until(lambda: has_ended(container))


def test_states_from_creation_to_removal(engine: Engine) -> None:
    container = engine.create(make_spec(engine, SLEEP))
    try:
        assert container.inspect().status == "created"
        container.start()
        assert container.inspect().status == "running"
    finally:
        container.remove()
    assert container.inspect().status == "removed"
    container.remove()
    container.kill()


def test_a_container_that_never_started_can_be_removed(engine: Engine) -> None:
    container = engine.create(make_spec(engine, SLEEP))
    container.remove()
    assert container.inspect().status == "removed"
    assert container.id not in dict(engine.owned())


def test_kill_ends_processes_that_left_the_session(engine: Engine, launch: Launcher) -> None:
    # The grandchild keeps the standard output open: only when it is dead as well does the stream end.
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.write(1, b'ready')\ntime.sleep(600)"
    container = launch(engine, program)
    assert container.stream.receive() == b"ready"
    container.kill()
    assert read_all(container) == ""
    wait_until(lambda: has_ended(container))


def test_remove_from_several_threads(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, SLEEP)
    errors: list[BaseException] = []

    def remove() -> None:
        try:
            container.remove()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert container.inspect().status == "removed"


def test_many_at_once(engine: Engine, launch: Launcher) -> None:
    def answer(number: int) -> bytes:
        return exchange(launch(engine, ECHO), b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(answer, range(8))) == [b"%d" % number for number in range(8)]


def test_owned_containers_are_listed_with_their_labels(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, SLEEP, session_name="mine", labels={"extra": "1"})
    labels = dict(engine.owned())[container.id]
    assert labels[OWNER_LABEL] == owner_label()
    assert labels[SESSION_LABEL] == "mine"
    assert labels["extra"] == "1"
    engine.remove_id(container.id)
    assert container.id not in dict(engine.owned())
    assert container.inspect().status == "removed"


def test_removing_an_unknown_id_is_fine(engine: Engine) -> None:
    engine.remove_id("0" * 64)


def test_an_unknown_image_is_named_with_the_next_step(engine: Engine) -> None:
    with pytest.raises(ImageNotFoundError, match="nosuch/image:1") as caught:
        engine.resolve("nosuch/image:1")
    assert caught.value.next_step


def test_only_the_given_environment_is_passed_on(
    engine: Engine, launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_THE_NOTEBOOK", "secret")
    container = launch(engine, "import os; print(*os.environ.items(), os.getcwd())", environment={"GIVEN": "here"})
    output = read_all(container)
    assert "('GIVEN', 'here')" in output
    assert "secret" not in output
    assert output.endswith(" /\n")


def test_no_descriptor_of_the_host_is_inherited(engine: Engine, launch: Launcher) -> None:
    program = "import os; print([n for n in range(1024) if os.path.exists(f'/proc/self/fd/{n}')])"
    assert read_all(launch(engine, program)) == "[0, 1, 2]\n"


# Programs beside the main one


def output_of(process: ContainerProcess) -> dict[str, str]:
    output = {"stdout": b"", "stderr": b""}
    while (piece := process.receive()) is not None:
        output[piece[0]] += piece[1]
    return {name: data.decode() for name, data in output.items()}


USER = "65534:65534"


def test_a_program_runs_beside_the_main_one(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, SLEEP)
    process = container.exec(["sh", "-c", "cat; echo out; echo err >&2; exit 3"], user=USER)
    assert output_of(process) == {"stdout": "out\n", "stderr": "err\n"}
    assert process.exit_code() == 3
    assert process.receive() is None


def test_a_program_that_a_signal_ends_has_the_exit_status_of_a_shell(engine: Engine, launch: Launcher) -> None:
    process = launch(engine, SLEEP).exec(["sh", "-c", "kill -9 $$"], user=USER)
    assert output_of(process)["stdout"] == ""
    assert process.exit_code() == 137


def test_a_program_can_be_talked_to(engine: Engine, launch: Launcher) -> None:
    process = launch(engine, SLEEP).exec(["cat"], user=USER, stdin=True)
    for line in (b"one\n", b"two\n"):
        process.send(line)
        assert process.receive() == ("stdout", line)
    process.close()


def test_closing_wakes_who_waits_for_a_program(engine: Engine, launch: Launcher) -> None:
    process = launch(engine, SLEEP).exec(["sleep", "600"], user=USER)
    received: list[object] = []
    reader = threading.Thread(target=lambda: received.append(process.receive()), daemon=True)
    reader.start()
    reader.join(0.3)
    assert reader.is_alive()
    process.close()
    reader.join(60)
    assert received == [None]


def test_the_end_of_the_container_is_the_end_of_its_programs(engine: Engine, launch: Launcher) -> None:
    container = launch(engine, SLEEP)
    process = container.exec(["sh", "-c", "echo begun; sleep 600"], user=USER)
    assert process.receive() == ("stdout", b"begun\n")
    container.kill()
    assert process.receive() is None
    with pytest.raises(EngineError):
        container.exec(["true"], user=USER)
