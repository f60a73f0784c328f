"""Looks at everything, and starts one sandbox."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..config import SandboxConfig
from ..controls import Control
from ..engines.base import OWNER_LABEL
from ..engines.dialect import Dialect
from ..engines.docker import DockerEngine
from ..engines.owner import owner_alive
from ..errors import ChorusError, ImageError
from ..session import Session
from ..settings import DEFAULTS, Settings, resolve
from .check import Check, fail, ok, warn
from .engine import ENGINE_CHECKS
from .here import HERE_CHECKS, engine_room


@dataclass(slots=True)
class Examination:
    """What was found.

    Attributes
    ----------
    checks : list of Check
        In the order in which things were looked at.
    controls : list of Control
        Requested against enforced, of the sandbox that was started; empty where none came that far.
    start_s : float or None
        Seconds that its start took, where it succeeded.
    """

    checks: list[Check] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    start_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether sandboxes work."""
        return all(check.status != "fail" for check in self.checks)


def examine(engine: DockerEngine) -> Examination:
    """Look at everything; what goes wrong on the way is a finding, too."""
    examination = Examination()
    for name, look in HERE_CHECKS.items():
        examination.checks.append(_safely(name, look))
    examination.checks.append(_safely("engine", lambda: _answers(engine)))
    if examination.checks[-1].status == "fail":
        return examination
    for name, look in _of_engine(examination, engine).items():
        examination.checks.append(_safely(name, look))
    return examination


def _of_engine(examination: Examination, engine: DockerEngine) -> Mapping[str, Callable[[], Check]]:
    """Return what to look at where an engine answers, by the name of the check."""
    return {
        **{name: partial(_told, engine, check) for name, check in ENGINE_CHECKS.items()},
        "engine disk": lambda: engine_room(engine.info(), engine.capabilities().mirror),
        "image": lambda: _image(engine),
        "left over": lambda: _left_over(engine),
        "start": lambda: _start(examination, engine),
    }


def _told(engine: DockerEngine, check: Callable[[Mapping[str, Any], Dialect], Check]) -> Check:
    return check(engine.info(), engine.dialect)


def _safely(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except ChorusError as error:
        return _of_error(name, error)
    except Exception as error:
        # Whatever it is, the rest is to be looked at all the same.
        return fail(name, f"{type(error).__name__}: {error}", "Report this as a bug of chorus-nb.")


def _of_error(name: str, error: ChorusError) -> Check:
    return fail(name, f"{type(error).__name__}: {error.message}", error.next_step)


def _answers(engine: DockerEngine) -> Check:
    endpoint = engine.endpoint
    engine.info()
    return ok("engine", f"{engine.dialect.title} at {endpoint.address} (from {endpoint.origin})")


def _image(engine: DockerEngine) -> Check:
    """Return whether the image is there that sandboxes have by default."""
    why_not = engine.capabilities().details.get("mirror", "")
    try:
        image = engine.resolve(SandboxConfig().image)
    except ImageError as error:
        return _of_error("image", error)
    if why_not:
        python = ".".join(platform.python_version_tuple())
        return ok("image", f"{image.reference}: {why_not}, so the packages of this Python {python} are not in it")
    return ok("image", f"mirror: this Python in {image.reference}, {len(image.mounts)} mounts")


def _left_over(engine: DockerEngine) -> Check:
    dead = [each for each, labels in engine.owned() if not owner_alive(labels.get(OWNER_LABEL, ""))]
    if dead:
        names = ", ".join(each[:12] for each in dead)
        return warn("left over", f"containers of processes that are gone: {names}", "Run `chorus-nb prune`.")
    return ok("left over", "no container of a process that is gone")


def _start(examination: Examination, engine: DockerEngine) -> Check:
    """Start a sandbox as the configuration here has it, and run a cell. It sees no repository."""
    session = Session("doctor", SandboxConfig.from_options(_settings().config, repo="none"), engine)
    began_s = time.monotonic()
    try:
        session.start()
        examination.start_s = time.monotonic() - began_s
        outcome = session.execute("6 * 7", timeout_s=60, on_message=lambda _: None)
    finally:
        examination.controls = session.controls
        session.close()
    if outcome.reply.get("status") != "ok":
        return fail("start", "a sandbox started, and a cell in it failed", "Run it with `%%sandbox` to see the error.")
    return ok("start", f"a sandbox started in {examination.start_s:.2f} s and ran a cell")


def _settings() -> Settings:
    try:
        return resolve(Path.cwd(), {})
    except ChorusError:
        return DEFAULTS  # That is another check's finding.
