"""What files take up: counted once, whatever they are called, and whatever somebody does to hide them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus_nb.config import SandboxConfig
from chorus_nb.disk_meter import HIDDEN_BYTES, DiskMeter, folder_bytes
from chorus_nb.engines.base import Container
from chorus_nb.errors import EngineError

MIB = 2**20


class Layer:
    """A container of which only the layer matters."""

    def __init__(self, size_bytes: int | None = 0, *, keeps_quota: bool = False) -> None:
        self.size_bytes = size_bytes
        self.keeps_quota = keeps_quota

    def layer_bytes(self) -> int:
        if self.size_bytes is None:
            raise EngineError("The engine does not know.")
        return self.size_bytes


def meter(folder: Path | None, container: object = None, **options: object) -> DiskMeter | None:
    config = SandboxConfig.from_options(disk="1m", **options)
    assert isinstance(container, (Layer, type(None)))
    stand_in: Container = container or Layer()  # type: ignore[assignment]
    return DiskMeter.of(config, stand_in, [folder] if folder else [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "there").write_bytes(os.urandom(MIB))
    return tmp_path


def grown(folder: Path) -> int:
    return folder_bytes(folder)[0]


def test_only_growth_counts_and_deleting_makes_room(folder: Path) -> None:
    measure = meter(folder, repo="rw")
    assert measure is not None
    assert measure.added_bytes() == 0
    (folder / "new").write_bytes(os.urandom(2 * MIB))
    assert 2 * MIB <= measure.added_bytes() < 3 * MIB
    (folder / "new").unlink()
    assert measure.added_bytes() < MIB
    (folder / "there").unlink()
    assert measure.added_bytes() == 0


def test_a_file_of_many_names_counts_once_and_a_sparse_one_what_it_takes_up(folder: Path) -> None:
    before = grown(folder)
    os.link(folder / "there", folder / "again")
    (folder / "deep").mkdir()
    os.link(folder / "there", folder / "deep" / "again")
    with (folder / "sparse").open("wb") as file:
        file.truncate(100 * MIB)
    assert grown(folder) - before < MIB


def test_links_are_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "large").write_bytes(os.urandom(4 * MIB))
    before = grown(folder)
    (folder / "link").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "file").symlink_to(outside / "large")
    assert grown(folder) - before < MIB


@pytest.fixture
def deep(folder: Path) -> Iterator[Path]:
    """A folder nested deeper than a path can say."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 100, dir_fd=here)
        here, above = os.open("d" * 100, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    yield folder
    os.close(here)


def test_what_is_nested_too_deep_counts_as_too_much(folder: Path, request: pytest.FixtureRequest) -> None:
    measure = meter(folder, repo="rw")
    assert measure is not None
    request.getfixturevalue("deep")
    assert measure.added_bytes() == HIDDEN_BYTES


def test_what_was_hidden_before_does_not(deep: Path) -> None:
    measure = meter(deep, repo="rw")
    assert measure is not None
    assert measure.added_bytes() == 0


def test_the_layer_counts_where_it_takes_writes(folder: Path) -> None:
    measure = meter(folder, Layer(5), repo="ro", read_only_root=False)
    assert measure is not None
    (folder / "new").write_bytes(bytes(MIB))  # It is not the sandbox's.
    assert measure.added_bytes() == 5
    both = meter(folder, Layer(5), repo="rw", read_only_root=False)
    assert both is not None
    (folder / "newer").write_bytes(os.urandom(MIB))
    assert both.added_bytes() >= MIB + 5


def test_a_layer_that_the_engine_keeps_to_its_limit_need_not_be_measured_but_is() -> None:
    assert meter(None, Layer(None, keeps_quota=True), repo="none", read_only_root=False) is not None
    measure = meter(None, Layer(5, keeps_quota=True), repo="none", read_only_root=False)
    assert measure is not None
    assert measure.added_bytes() == 5


def test_a_layer_that_can_not_be_measured_is_an_error_at_once() -> None:
    with pytest.raises(EngineError):
        meter(None, Layer(None), repo="none", read_only_root=False)


def test_where_nothing_can_be_written_nothing_is_measured(folder: Path) -> None:
    assert meter(folder, repo="ro") is None
    assert meter(None, repo="none") is None


def test_mounts_that_take_writes_count_once(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other, inside = tmp_path_factory.mktemp("other"), folder / "inside"
    inside.mkdir()
    (other / "one").write_bytes(b"")
    mounts = [f"{other}:/other:rw", f"{inside}:/inside:rw", f"{other}/one:/one:rw", f"{folder}:/read"]
    measure = meter(folder, repo="rw", mount=mounts)
    assert measure is not None
    (other / "new").write_bytes(os.urandom(MIB))
    (inside / "new").write_bytes(os.urandom(MIB))
    (other / "one").write_bytes(os.urandom(MIB))
    assert 3 * MIB <= measure.added_bytes() < 3.5 * MIB
    assert meter(folder, repo="ro", mount=f"{folder}:/read") is None


def test_a_single_file_that_is_mounted_counts(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")
    measure = meter(None, repo="none", mount=f"{tmp_path}/one:/one:rw")
    assert measure is not None
    (tmp_path / "one").write_bytes(os.urandom(MIB))
    assert MIB <= measure.added_bytes() < 1.5 * MIB
