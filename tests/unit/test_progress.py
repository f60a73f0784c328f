"""The bar of a transfer: none for a short one, and nothing left of one in a notebook."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chorus_nb import progress, progress_bar
from chorus_nb.progress import Progress, TransferStopped, stopped_by, use_bars
from chorus_nb.progress_bar import NotebookBar


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    use_bars(None)


def test_what_is_short_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("put", 100) as bar:
        bar.add(60)
        bar.add(60)
    assert capsys.readouterr() == ("", "")


def test_what_takes_longer_has_a_bar_unless_none_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    threads = threading.active_count()
    with Progress("put", 2**20) as bar:
        bar.add(2**19)
    out, err = capsys.readouterr()
    assert (out, "put" in err, "1.00M" in err) == ("", True, True)
    assert threading.active_count() == threads
    with Progress("put", 2**20, shown=False) as bar:
        bar.add(2**19)
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_the_output_is_empty_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[tuple[dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], metadata: object, *, transient: object, update: bool) -> None:
        published.append((data, update))

    monkeypatch.setattr(progress_bar, "publish_display_data", publish)
    use_bars(NotebookBar)
    with Progress("To <b>", 2**20) as bar:
        bar.add(1)
    assert published == []
    monkeypatch.setattr(progress_bar, "_DELAY_S", 0.0)
    with Progress("To <b>", 2 * 2**20) as bar:
        bar.add(2**20)
        bar.add(2**20)
    assert [update for _, update in published] == [False, True, True]
    assert (published[0][0], published[-1][0]) == ({}, {})
    assert "&lt;b&gt;: 1 of 2 MiB" in published[1][0]["text/html"]


def test_another_thread_may_stop_it() -> None:
    stop = threading.Event()
    with stopped_by(stop), Progress("put", 10) as bar:
        bar.add(1)
        stop.set()
        with pytest.raises(TransferStopped):
            bar.add(1)
    with Progress("put", 10) as bar:
        bar.add(1)
