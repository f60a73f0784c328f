"""A bar for what takes longer than a second; what is shorter prints nothing, so that a notebook stays the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol, Self

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


class Bar(Protocol):
    """What shows how much of a transfer is done."""

    def update(self, size_bytes: int, /) -> object:
        """Say that so much more is done."""

    def close(self) -> object:
        """Leave nothing of it."""


def _text_bar(title: str, total_bytes: int) -> Bar:
    from tqdm.std import tqdm  # Here: what nobody waits for needs no bar.

    class TextBar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # No thread that stays when the transfer is done.

    units = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    bar: Bar = TextBar(desc=title, total=total_bytes, delay=_DELAY_S, leave=False, **units)
    return bar


_make_bar: Callable[[str, int], Bar] = _text_bar


def use_bars(make: Callable[[str, int], Bar] | None) -> None:
    """Have bars made by ``make`` from here on, or as text on standard error again."""
    global _make_bar
    _make_bar = make or _text_bar


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
        self._bar = _make_bar(title, total_bytes) if shown else None
        self._stop = _stop.get()

    def add(self, size_bytes: int) -> None:
        """Say that so much more is done. Raises :class:`TransferStopped` where the transfer is to end."""
        if self._stop is not None and self._stop.is_set():
            raise TransferStopped
        if self._bar is not None:
            self._bar.update(size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
