"""Formatters, the meter and the still picture."""

from __future__ import annotations

import io
import os

import pytest
from figures import MIB, SAMPLE, USAGE
from PIL import Image

from chorus_nb.panel.figures import Meter, StripFigures, summary_line
from chorus_nb.panel.format import format_bytes, format_bytes_pair, format_duration, printable
from chorus_nb.panel.picture import (
    PIXEL_RATIO,
    STRIP_HEIGHT_PX,
    STRIP_WIDTH_PX,
    picture_metadata,
    render_png,
)
from chorus_nb.telemetry import ResourceSample, ResourceUsage


def make_sample(time_s: float, cpu_time_s: float, memory_bytes: int = 34 * MIB, network: int = 0) -> ResourceSample:
    memory = {"memory_bytes": memory_bytes, "memory_peak_bytes": memory_bytes}
    return ResourceSample(
        **{**SAMPLE, **memory, "time_s": time_s, "cpu_time_s": cpu_time_s, "network_rx_bytes": network}
    )


def make_usage(memory_peak_bytes: int = 34 * MIB) -> ResourceUsage:
    moved = {"network_rx_bytes": 2048, "network_tx_bytes": 10, "disk_write_bytes": MIB}
    return ResourceUsage(
        **{**USAGE, **moved, "cpu_time_s": 0.8, "memory_peak_bytes": memory_peak_bytes, "pids_peak": 5}
    )


def values(figures: StripFigures) -> dict[str, str]:
    return {column.label: column.value for column in figures.columns}


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (-5, "0 B"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10189, "10 KiB"),
        (1024 * 1024 - 1, "1 MiB"),
        (34 * MIB, "34 MiB"),
        (2**63, "8388608 TiB"),
    ],
)
def test_bytes_have_binary_units_and_few_digits(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


def test_a_pair_names_a_shared_unit_once() -> None:
    assert format_bytes_pair(34 * MIB, 512 * MIB) == "34 / 512 MiB"
    assert format_bytes_pair(34 * MIB, 2048 * MIB) == "34 MiB / 2 GiB"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (-1, "0 ms"),
        (0.0304, "30 ms"),
        (0.0996, "0.1 s"),
        (1.24, "1.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7500, "2 h 05 min"),
        (86400 * 3 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_durations_change_unit_without_a_gap(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text


def test_hostile_text_becomes_one_short_harmless_line() -> None:
    shown = printable("a\x1b[31m\n\u202eb" + "x" * 100, max_chars=20)
    assert shown.isprintable()
    assert len(shown) == 20
    assert shown.endswith("…")


def test_meter_counts_a_cell_from_its_first_sample() -> None:
    meter = Meter(cpus=2.0, memory_limit_bytes=None)
    meter.add(make_sample(100.0, 7.0, network=5000))
    meter.add(make_sample(101.0, 8.0, network=5000 + 2048))
    shown = values(meter.live("default", "running", 1.0))
    assert shown["CPU"] == "1.0 s · 50%"
    assert shown["memory"] == "34 / 512 MiB"
    assert shown["net in / out"] == "2 KiB / 0 B"


def test_meter_counts_a_session_from_its_start() -> None:
    meter = Meter(cpus=2.0, memory_limit_bytes=None, span="session")
    meter.add(make_sample(100.0, 7.0, network=2048))
    shown = values(meter.live("default", "idle", 60.0))
    assert shown["CPU"] == "7.0 s · 0%"
    assert shown["up"] == "1 min 00 s"
    assert shown["net in / out"] == "2 KiB / 0 B"


def test_meter_without_samples_shows_dashes_and_no_bars() -> None:
    figures = Meter(cpus=1.0, memory_limit_bytes=MIB).live("default", "starting", None)
    assert set(values(figures).values()) == {"-"}
    assert all(column.fraction is None for column in figures.columns)


def test_meter_survives_a_container_that_was_restarted() -> None:
    meter = Meter(cpus=1.0, memory_limit_bytes=None)
    meter.add(make_sample(50.0, 9.0))
    meter.add(make_sample(1.0, 0.5))
    assert values(meter.live("default", "running", 1.0))["CPU"] == "0 ms · 0%"


def test_history_of_a_cell_stays_bounded_and_spans_all_of_it() -> None:
    meter = Meter(cpus=1.0, memory_limit_bytes=None)
    cpu_time_s = 0.0
    for tick in range(2000):
        cpu_time_s += 0.125 if tick < 1000 else 0.0
        meter.add(make_sample(tick * 0.125, cpu_time_s))
    history = meter.live("default", "running", 250.0).history
    assert 20 <= len(history) <= 64
    assert history[1] == 1.0
    assert history[-1] == 0.0
    assert sum(history) / len(history) == pytest.approx(0.5, abs=0.05)


def test_history_of_a_session_rolls() -> None:
    meter = Meter(cpus=1.0, memory_limit_bytes=None, span="session")
    for tick in range(500):
        meter.add(make_sample(float(tick), 0.0 if tick < 250 else float(tick - 250)))
    assert set(meter.live("default", "busy", 500.0).history) == {1.0}


def test_extreme_readings_stay_within_the_strip() -> None:
    meter = Meter(cpus=1.0, memory_limit_bytes=None)
    meter.add(make_sample(0.0, 0.0))
    meter.add(make_sample(5e-324, 1e10, memory_bytes=2**63))
    figures = meter.live("default", "running", 1.0)
    assert all(0 <= share <= 1 for share in figures.history)
    assert all(len(column.value) < 40 for column in figures.columns)
    render_png(figures)


def test_final_figures_are_the_exact_ones() -> None:
    meter = Meter(cpus=1.0, memory_limit_bytes=None)
    meter.add(make_sample(0.0, 0.0, memory_bytes=400 * MIB))
    figures = meter.final("default", "done", make_usage(), elapsed_s=9.0)
    shown = values(figures)
    assert shown["time"] == "1.2 s"
    assert shown["CPU"] == "0.8 s · 67%"
    assert shown["memory peak"] == "34 / 512 MiB"
    assert shown["processes"] == "5 / 128"
    assert len(figures.history) == 2


@pytest.mark.parametrize(("peak_mib", "level"), [(100, "normal"), (420, "high"), (511, "full")])
def test_memory_near_its_limit_changes_colour(peak_mib: int, level: str) -> None:
    figures = Meter(None, None).final("default", "done", make_usage(peak_mib * MIB), 1.0)
    assert next(column.level for column in figures.columns if column.label == "memory peak") == level


def test_share_of_an_unlimited_sandbox_is_of_the_whole_machine() -> None:
    meter = Meter(cpus=None, memory_limit_bytes=None)
    for tick in range(3):
        meter.add(make_sample(float(tick), tick * float(os.cpu_count() or 1)))
    assert meter.live("default", "running", 2.0).history == (1.0, 1.0)


def test_plain_line() -> None:
    assert summary_line("default", "done", make_usage(), 3.0) == (
        "[sandbox default] done in 1.2 s, CPU 0.8 s, memory peak 34 MiB of 512 MiB"
    )
    assert summary_line("default", "died", None, 3.0) == "[sandbox default] died in 3.0 s"


def test_picture_has_the_strips_size_and_equal_figures_give_equal_bytes() -> None:
    def draw() -> bytes:
        render_png.cache_clear()
        return render_png(Meter(1.0, None).final("default", "done", make_usage(), 1.0))

    first = draw()
    assert first == draw()
    with Image.open(io.BytesIO(first)) as image:
        assert image.format == "PNG"
        assert image.size == (STRIP_WIDTH_PX * PIXEL_RATIO, STRIP_HEIGHT_PX * PIXEL_RATIO)


def test_picture_is_clear_where_nothing_is_drawn_and_shows_its_state() -> None:
    def pixels(state: str) -> Image.Image:
        data = render_png(Meter(1.0, None).final("default", state, make_usage(), 1.0))
        return Image.open(io.BytesIO(data)).convert("RGBA")

    dot = (14 * PIXEL_RATIO, 16 * PIXEL_RATIO)
    done, error = pixels("done"), pixels("error")
    assert done.getpixel((6 * PIXEL_RATIO, 5 * PIXEL_RATIO))[3] == 0
    red, green, _blue, alpha = done.getpixel(dot)
    assert alpha > 240
    assert green > red
    red, green, _blue, _alpha = error.getpixel(dot)
    assert red > green


def test_picture_of_a_name_without_glyphs_or_end() -> None:
    for name in ("\u6c99\u7bb1" * 40, "\x00\n", ""):
        figures = Meter(1.0, None).final(name, "done", None, 1.0)
        assert render_png(figures).startswith(b"\x89PNG")


def test_picture_metadata_describe_it_in_words() -> None:
    metadata = picture_metadata(Meter(1.0, None).final("default", "done", make_usage(), 1.0))
    assert (metadata["width"], metadata["height"]) == (STRIP_WIDTH_PX, STRIP_HEIGHT_PX)
    assert "memory peak 34 / 512 MiB" in str(metadata["alt"])
