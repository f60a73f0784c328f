"""Calls to a Docker Engine: what goes wrong in this package's words, and which are made again.

An engine that restarts is away for a second or two. A call that never reached it can be made again whatever it is; one
that may have reached it only where twice is the same as once: looking, listing, killing, removing. Nothing that runs
code is ever made again.
"""

from __future__ import annotations

import errno
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ..errors import ChorusError, EngineError, EngineNotFoundError, EnginePermissionError, EngineTimeoutError
from .dialect import DOCKER
from .endpoint import Endpoint

_PAUSES_S = (0.1, 0.3, 0.9)
"""Before the second call, and so on; each up to a half longer or shorter, so that kernels do not call all at once."""

_JITTER = random.SystemRandom()
_Result = TypeVar("_Result")


def again_if_away(call: Callable[[], _Result]) -> _Result:
    """Make a call, and again where it never reached the engine: safe whatever the call does."""
    return _again(call, _is_away)


def again_if_it_fails(call: Callable[[], _Result]) -> _Result:
    """Make a call that may be made twice, and again where the engine was away, or failed for reasons of its own."""
    return _again(call, lambda error: _is_away(error) or _is_passing(error))


def _again(call: Callable[[], _Result], is_worth_it: Callable[[Exception], bool]) -> _Result:
    for pause_s in _PAUSES_S:
        try:
            return call()
        except Exception as error:
            if not is_worth_it(error):
                raise
        time.sleep(pause_s * _JITTER.uniform(0.5, 1.5))
    return call()


def _is_away(error: Exception) -> bool:
    """Whether nobody took the call: no socket, or nobody behind it."""
    return has_cause(error, (ConnectionRefusedError, FileNotFoundError))


def _is_passing(error: Exception) -> bool:
    import docker

    if isinstance(error, docker.errors.APIError):
        return bool(error.is_server_error())
    return has_cause(error, ConnectionError)  # Cut off before the answer.


@contextmanager
def translated(endpoint: Endpoint, task: str, title: str = DOCKER.title) -> Iterator[None]:
    """Raise this package's errors in place of the SDK's, with the engine's own words in them."""
    import docker
    import requests

    try:
        yield
    except ChorusError:
        raise
    except docker.errors.APIError as error:
        if has_cause(error, PermissionError) or error.status_code == 403:
            raise _no_permission(endpoint) from error
        raise _refused(title, task, str(error.explanation or error)) from error
    except requests.ReadTimeout as error:
        raise EngineTimeoutError(
            f"The {title} at {endpoint.address} did not {task} in time.",
            next_step="Try `docker version`; if that hangs as well, restart the engine.",
        ) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise _no_answer(endpoint, title, task, error) from error


def _refused(title: str, task: str, words: str) -> EngineError:
    if "no space left on device" in words:
        next_step = "Free space on the disk of the engine: `docker system df` shows what it holds there."
    else:
        next_step = "`docker info` and the engine's log may say more."
    return EngineError(f"The {title} did not {task}: {words}.", next_step=next_step)


def _no_answer(endpoint: Endpoint, title: str, task: str, error: Exception) -> EngineError:
    if has_cause(error, PermissionError):
        return _no_permission(endpoint)
    where = f"{endpoint.address} (from {endpoint.origin})"
    if _out_of_descriptors(error):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return EngineError(
            f"The {title} could not {task}: this process has all the {limit} files open that it may.",
            next_step="Stop sessions that are not needed, or raise the limit with `ulimit -n` before Jupyter starts.",
        )
    if has_cause(error, (FileNotFoundError, ConnectionError, TimeoutError)):
        return EngineNotFoundError(
            f"No Docker Engine answers at {where}.",
            next_step="Start Docker (Docker Desktop, or `sudo systemctl start docker`); where there is none, "
            "`sudo apt install docker.io` installs it. Another address: DOCKER_HOST or `docker context use NAME`.",
        )
    return EngineError(f"The {title} at {where} did not {task}: {error}.", next_step="Try `docker version`.")


def _no_permission(endpoint: Endpoint) -> EnginePermissionError:
    return EnginePermissionError(
        f"This user may not talk to the Docker Engine at {endpoint.address}.",
        next_step="Run `sudo usermod -aG docker $USER` and log in again, or use a rootless engine.",
    )


def _out_of_descriptors(error: BaseException) -> bool:
    return any(isinstance(each, OSError) and each.errno in (errno.EMFILE, errno.ENFILE) for each in _causes(error))


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """Take no exception at a container that is not there, does not run, or is being removed."""
    import docker

    try:
        yield
    except docker.errors.APIError as error:
        # 404: no such container. 409: not running, or its removal is under way. In Podman's words: it ended meanwhile.
        ending = "container state improper" in (error.explanation or "")
        if error.status_code not in (404, 409) and not ending:
            raise


def has_cause(error: BaseException, kind: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Whether an error of ``kind`` is at the bottom of ``error``: the SDK and its HTTP client wrap several times."""
    return any(isinstance(each, kind) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
