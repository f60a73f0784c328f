"""Figures come out of a sandbox: only plausible ones are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chorus_nb.telemetry import ResourceSample, ResourceUsage

SHARED: dict[str, Any] = {
    "memory_peak_bytes": 200,
    "memory_limit_bytes": 1000,
    "pids_limit": 128,
    "cpu_time_s": 1.5,
    "network_rx_bytes": 0,
    "network_tx_bytes": 0,
    "disk_read_bytes": 0,
    "disk_write_bytes": 0,
    "oom_kills": 0,
    "pids_refused": 0,
}
SAMPLE = {**SHARED, "time_s": 3.5, "memory_bytes": 100, "pids": 3}
USAGE = {**SHARED, "duration_s": 0.5, "pids_peak": 4}
MODELS = [(ResourceSample, SAMPLE), (ResourceUsage, USAGE)]
FIELDS = [(model, figures, name) for model, figures in MODELS for name in figures]
HOSTILE = [-1, "1", "<b>", True, [], {}, float("nan"), float("inf"), -0.5, 10**30]


@pytest.mark.parametrize(("model", "figures"), MODELS)
def test_good_figures_come_back_as_they_were(model: type, figures: dict[str, Any]) -> None:
    assert model(**figures).model_dump() == figures


@pytest.mark.parametrize(("model", "figures", "name"), FIELDS)
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_figures_are_refused(model: type, figures: dict[str, Any], name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        model(**{**figures, name: value})


@pytest.mark.parametrize(("model", "figures", "name"), FIELDS)
def test_a_missing_figure_is_refused(model: type, figures: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match="Field required"):
        model(**{key: value for key, value in figures.items() if key != name})


@pytest.mark.parametrize(("model", "figures", "name"), FIELDS)
def test_only_limits_may_be_unknown(model: type, figures: dict[str, Any], name: str) -> None:
    if name in ("memory_limit_bytes", "pids_limit"):
        assert getattr(model(**{**figures, name: None}), name) is None
    else:
        with pytest.raises(ValidationError, match=name):
            model(**{**figures, name: None})


@pytest.mark.parametrize(("model", "figures"), MODELS)
def test_what_a_newer_agent_adds_is_ignored(model: type, figures: dict[str, Any]) -> None:
    assert not hasattr(model(**figures, temperature=1), "temperature")


def test_figures_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ResourceSample(**SAMPLE).pids = 1  # type: ignore[misc]


@given(st.dictionaries(st.sampled_from(list(SAMPLE)), st.one_of(st.integers(), st.floats(), st.text(), st.none())))
def test_whatever_is_accepted_is_a_plausible_number(changes: dict[str, Any]) -> None:
    try:
        sample = ResourceSample(**{**SAMPLE, **changes})
    except ValidationError:
        return
    assert all(value is None or 0 <= value <= 2**63 for value in sample.model_dump().values())
