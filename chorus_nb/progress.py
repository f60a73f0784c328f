"""A bar for what takes longer than a second; what is shorter prints nothing, so that a notebook stays the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self

_DELAY_S = 1.0

_stop: ContextVar[threading.Event | None] = ContextVar("_stop", default=None)


class TransferStopped(BaseException):
    """Somebody else has had a transfer of this thread's stopped. As ``KeyboardInterrupt`` it is no ``Exception``."""


@contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Have the transfers of this thread stop, by :class:`TransferStopped`, once the event is set."""
    token = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(token)


class Progress:
    """How much of a transfer is done.

    Parameters
    ----------
    title : str
    total_bytes : int
        What it may come to; more is no error.
    shown : bool
        Whether there is a bar, once it has taken a second.
    """

    def __init__(self, title: str, total_bytes: int, shown: bool = True) -> None:
        from tqdm.auto import tqdm  # Here: what nobody waits for needs no bar.

        class Bar(tqdm):  # type: ignore[misc]
            monitor_interval = 0  # No thread that stays when the copy is done.

        self._bar = Bar(
            desc=title,
            total=total_bytes,
            disable=not shown,
            delay=_DELAY_S,
            leave=False,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
        )
        self._stop = _stop.get()

    def add(self, size_bytes: int) -> None:
        """Say that so much more is done. Raises :class:`TransferStopped` where the transfer is to end."""
        if self._stop is not None and self._stop.is_set():
            raise TransferStopped
        self._bar.update(size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
