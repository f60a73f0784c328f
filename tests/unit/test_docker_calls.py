"""Which calls to an engine are made again, and how its failures read."""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import requests

from chorus_nb.engines import docker_calls
from chorus_nb.engines.docker_calls import again_if_away, again_if_it_fails, gone_is_fine, translated
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.errors import (
    EngineError,
    EngineNotFoundError,
    EnginePermissionError,
    EngineTimeoutError,
)

Repeater = Callable[[Callable[[], Any]], Any]


def wrapped(cause: Exception) -> requests.ConnectionError:
    """Return what the HTTP client makes of a socket's error."""
    try:
        try:
            raise cause
        except Exception as error:
            raise requests.ConnectionError("Connection aborted.") from error
    except requests.ConnectionError as error:
        return error


def answered(status: int, words: str = "") -> docker.errors.APIError:
    return docker.errors.APIError("it failed", response=SimpleNamespace(status_code=status), explanation=words)


REFUSED = wrapped(ConnectionRefusedError())
NO_SOCKET = wrapped(FileNotFoundError())
CUT = wrapped(ConnectionResetError())
NO_PERMISSION = wrapped(PermissionError())
BUSY, CONFLICT = answered(503), answered(409)


class Engine:
    """Fails with each of ``failures`` in turn, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no time pass; return how much would have."""
    slept: list[float] = []
    monkeypatch.setattr(docker_calls, "time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.mark.parametrize("repeat", [again_if_away, again_if_it_fails])
@pytest.mark.parametrize("failure", [REFUSED, NO_SOCKET])
def test_a_call_that_never_arrived_is_made_again(repeat: Repeater, failure: Exception) -> None:
    engine = Engine(failure, failure)
    assert repeat(engine) == "answer"
    assert engine.calls == 3


@pytest.mark.parametrize("failure", [CUT, BUSY])
def test_a_call_that_may_have_arrived_is_made_again_only_where_twice_is_once(failure: Exception) -> None:
    assert again_if_it_fails(Engine(failure)) == "answer"
    engine = Engine(failure)
    with pytest.raises(type(failure)):
        again_if_away(engine)
    assert engine.calls == 1


@pytest.mark.parametrize("repeat", [again_if_away, again_if_it_fails])
@pytest.mark.parametrize("failure", [NO_PERMISSION, CONFLICT, requests.ReadTimeout(), ZeroDivisionError()])
def test_what_would_fail_again_is_not_made_again(repeat: Repeater, failure: Exception) -> None:
    engine = Engine(failure)
    with pytest.raises(type(failure)):
        repeat(engine)
    assert engine.calls == 1


def test_the_calls_are_bounded_and_the_pauses_grow_and_differ(pauses: list[float]) -> None:
    engine = Engine(*[REFUSED] * 10)
    with pytest.raises(requests.ConnectionError):
        again_if_it_fails(engine)
    assert engine.calls == 4
    assert pauses == sorted(pauses)
    assert sum(pauses) < 2
    again = list(pauses)
    with pytest.raises(requests.ConnectionError):
        again_if_it_fails(engine)
    assert pauses[3:] != again


@pytest.mark.parametrize(
    "failure", [answered(404), CONFLICT, answered(500, "can only kill running containers: container state improper")]
)
def test_a_container_that_has_ended_is_no_failure_and_not_asked_again(failure: Exception) -> None:
    with gone_is_fine():
        Engine(failure)()
    with pytest.raises(docker.errors.APIError), gone_is_fine():
        Engine(answered(500, "no space left on device"))()


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (REFUSED, EngineNotFoundError, "No Docker Engine answers at unix:///s"),
        (NO_PERMISSION, EnginePermissionError, "may not talk"),
        (requests.ReadTimeout(), EngineTimeoutError, "did not create it in time"),
        (answered(500, "write /x: no space left on device"), EngineError, "Free space on the disk of the engine"),
        (wrapped(OSError(errno.EMFILE, "Too many open files")), EngineError, r"all the \d+ files open .*`ulimit -n`"),
        (answered(500, "strange"), EngineError, r"did not create it: strange\. `docker info`"),
    ],
)
def test_a_failure_says_what_to_do(failure: Exception, kind: type[EngineError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught, translated(Endpoint("unix:///s", "test"), "create it"):
        raise failure
    assert type(caught.value) is kind
    assert caught.value.next_step
