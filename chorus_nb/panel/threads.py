"""Background threads of the display: they belong to the cell that started them, and never disturb it."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


def start_thread(name: str, target: Callable[..., object], *args: object) -> threading.Thread:
    """Start a daemon thread in a copy of this context; what it raises is logged.

    ipykernel keeps the running cell in a context variable: what a plain thread sends would belong to no cell, or to
    whichever runs next.
    """
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_logged, target, *args), name=name, daemon=True)
    thread.start()
    return thread


def _logged(target: Callable[..., object], *args: object) -> None:
    try:
        target(*args)
    except Exception:
        logger.warning("The sandbox display stopped; the cell is not affected.", exc_info=True)
