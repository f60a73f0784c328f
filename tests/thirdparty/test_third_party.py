"""Notebooks of other projects put out in a sandbox what they put out natively, but for the output policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chorus_nb.engines.docker import DockerEngine

from .catalogue import CATALOGUE, ThirdParty
from .runs import Result, run_catalogue

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def results(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Result]]:
    return run_catalogue(tmp_path_factory.mktemp("third-party"))


RUNS = [(source, face) for source in CATALOGUE for face in source.faces]


@pytest.mark.parametrize(("source", "face"), RUNS, ids=[f"{s.project} {s.title} {face}" for s, face in RUNS])
def test_a_notebook_puts_out_what_it_does_natively(source: ThirdParty, face: str, results: list[Result]) -> None:
    result = next(result for result in results if (result.source, result.face) == (source, face))
    unexpected = {cell: why for cell, why in result.failures.items() if cell not in source.differing}
    assert not unexpected, "\n\n".join(f"cell {cell}: {why}" for cell, why in unexpected.items())
    assert result.failures.keys() == source.differing.keys(), "cells listed as differing are equal by now"


def test_the_catalogue_is_wide() -> None:
    assert len({source.project for source in CATALOGUE}) >= 10
