"""Where the faces meet: the magics, their gauge and their panel, put into a shell by ``%load_ext chorus_nb``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal, cast

from IPython.display import display

from .completion import Completions
from .config import OutputMode
from .errors import ChorusError
from .kernel_requests import KernelRequests
from .magics import SandboxMagics
from .manager import SessionManager
from .panel.gauge import Gauge, warm_up
from .progress import use_bars
from .progress_bar import NotebookBar
from .reports import review_of
from .review_commands import discard
from .session import Session
from .telemetry import ResourceSample

_LOADED = "_chorus_nb_manager"
_REQUESTS = "_chorus_nb_requests"
_MODE = "_chorus_nb_mode"


def load(shell: Any) -> None:
    """Register the magics and prepare the first sandbox in the background. A second load does nothing."""
    if hasattr(shell, _LOADED):
        return
    manager = SessionManager()
    magics = attach(shell, manager)
    manager.prepare()
    threading.Thread(target=warm_up, name="chorus-warm-up", daemon=True).start()
    magics.mode.resume()


def attach(shell: Any, manager: SessionManager) -> SandboxMagics:
    """Put the magics of these sessions, and all that belongs to them, into a shell."""
    if getattr(shell, "kernel", None) is not None:
        use_bars(NotebookBar)
    magics = SandboxMagics(shell, manager, make_strip, lambda: show_panel(manager))
    shell.register_magics(magics)
    magics.mode.install()
    Completions(magics).install(shell)
    requests = KernelRequests(magics)
    requests.install(shell)
    setattr(shell, _REQUESTS, requests)
    setattr(shell, _MODE, magics.mode)
    setattr(shell, _LOADED, manager)
    return magics


def unload(shell: Any) -> None:
    """End every session and take the magics out again."""
    manager: SessionManager | None = shell.__dict__.pop(_LOADED, None)
    if manager:
        use_bars(None)
        shell.__dict__.pop(_MODE).uninstall()
        shell.__dict__.pop(_REQUESTS).uninstall()
        manager.close_all()
        for kind, name in (("line", "sandbox"), ("cell", "sandbox"), ("cell", "host")):
            shell.magics_manager.magics[kind].pop(name, None)


def make_strip(
    session: Session, mode: str, on_stop: Callable[[], None] | None = None, output: OutputMode | None = None
) -> Gauge:
    """Return the gauge of one cell; its button interrupts the session, or does what ``on_stop`` says."""
    limits = session.config.limits
    stop = on_stop or session.interrupt
    shown = cast(Literal["on", "off"], mode)
    return Gauge(session.name, limits.cpus, limits.memory_bytes, stop, shown, output or session.config.output.mode)


def show_panel(manager: SessionManager) -> None:
    """Show the panel of all sessions, and what those have changed that have a view of their own."""
    # ipywidgets takes its time to import, and few notebooks show a panel.
    from .panel.panel import SessionRow, SessionsPanel

    def rows() -> list[SessionRow]:
        return [_row(SessionRow, session) for session in manager.sessions()]

    display(
        SessionsPanel(
            rows,
            lambda action, name: act(manager, action, name),
            lambda name: review_of(manager.get(name)),
            lambda name, paths: discard(manager.get(name), paths, globs=False),
        )
    )


def act(manager: SessionManager, action: str, name: str) -> None:
    """Do what a button of the panel says."""
    actions: dict[str, Callable[[], object]] = {
        "start": lambda: manager.start(name),
        "stop": lambda: manager.stop(name),
        "restart": lambda: manager.get(name).restart(),
        "interrupt": lambda: manager.get(name).interrupt(),
        "remove": lambda: manager.remove(name),
    }
    actions[action]()


def _row(make: Callable[..., Any], session: Session) -> Any:
    config = session.config
    return make(
        name=session.name,
        state=session.state,
        image=config.image,
        memory_limit_bytes=config.limits.memory_bytes,
        cpus=config.limits.cpus,
        pids_limit=config.limits.pids,
        network=config.network.mode,
        repository_mode=config.repository.mode,
        uptime_s=session.uptime_s,
        sample=_sample(session),
        has_view=session.working_copy is not None,
    )


def _sample(session: Session) -> ResourceSample | None:
    """Return a reading of now: a busy session sends them by itself, an idle one is asked."""
    if session.state == "busy":
        return session.notices.last_sample
    if session.state != "idle":
        return None
    try:
        return session.usage()
    except ChorusError:
        return None
