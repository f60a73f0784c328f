"""Arrays, tables and pictures that cross come back as what they were."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from crossing import crossed, thorough
from hypothesis import given
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from chorus_nb.agent.values import CrossingError


def check(value: Any) -> Any:
    copy = crossed(value)
    assert copy.dtype == value.dtype
    assert copy.shape == value.shape
    assert copy.tobytes() == value.tobytes()
    assert copy.flags.writeable
    assert copy.flags.owndata or copy.size == 0
    return copy


@thorough
@given(
    st_numpy.arrays(
        st_numpy.scalar_dtypes() | st_numpy.nested_dtypes(max_itemsize=200),
        st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0),
    )
)
def test_every_dtype_and_shape_comes_back(value: Any) -> None:
    check(value)


PADDED = np.dtype([("a", "i1"), ("b", "f8"), ("c", [("d", "<U3"), ("e", ">i2", (2, 3))])], align=True)
BASE = np.arange(24, dtype="f8").reshape(2, 3, 4)


@pytest.mark.parametrize(
    "value",
    [
        np.array(3.5),
        np.zeros((0, 3)),
        np.zeros((3, 0), "i2"),
        BASE[:, ::2, ::-1],
        BASE.transpose(2, 0, 1),
        np.arange(12, dtype=">i4").reshape(3, 4),
        np.zeros(3, PADDED),
        np.array(["2020-01-01", "NaT"], "M8[25s]"),
        np.array([1, 2], "m8[D]"),
        np.array(["a", "bcd\N{SNOWMAN}"]),
        np.array([b"a", b"bc"]),
        np.zeros(2, "V7"),
        np.array([True, False]),
        np.array([1.5, np.nan], "f2"),
        np.array([1, 2], np.longdouble) / 3,
        np.array([1j], np.clongdouble),
        np.broadcast_to(np.arange(3), (4, 3)),
        np.arange(3 * 10**6).reshape(3, -1)[:, ::2],
        np.frombuffer(b"read only", "u1"),
    ],
    ids=lambda value: f"{value.dtype.str}{value.shape}",
)
def test_hard_arrays_come_back(value: Any) -> None:
    check(value)


def test_the_order_of_fortran_is_kept() -> None:
    assert check(np.asfortranarray(BASE)).flags.f_contiguous
    assert check(BASE).flags.c_contiguous


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.1),
        np.int8(-3),
        np.bool_(True),
        np.str_("\N{SNOWMAN}"),
        np.bytes_(b"x"),
        np.datetime64("2020-01-01", "ns"),
        np.timedelta64(3, "h"),
        np.longdouble(1) / 3,
        np.zeros(1, PADDED)[0],
        np.complex64(1j),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars_keep_their_type(value: Any) -> None:
    copy = crossed([value])[0]
    assert type(copy) is type(value)
    assert copy == value


@pytest.mark.parametrize(
    ("value", "where", "hint"),
    [
        (np.array([object()]), "x", "x.tolist()"),
        (np.zeros(2, [("a", "O")]), "x", "x.tolist()"),
        (np.array(["a"], np.dtypes.StringDType(na_object=object())), "x", "StringDType(na_object=None)"),
        (np.ma.masked_array([1]), "x", "numpy.ma.getmaskarray(x)"),
        (np.rec.array([(1,)], names="a"), "x", "numpy.asarray(x)"),
        (np.zeros(1, {"names": ["a"], "formats": ["i4"], "titles": [5]}), "x", "x[name]"),
        (np.zeros(1, [("\ud800", "i4")]), "x", "Rename it"),
        (np.zeros(2**27, []), "x", "max_transfer"),
        (pd.RangeIndex(2**27), "x", "max_transfer"),
        (pa.nulls(2**24), "x", "max_transfer"),
        (Image.new("1", (9000, 9000)), "x", "max_transfer"),
        ({"a": BASE, "b": BASE[1:]}, "x['b']", "x['b'].copy()"),
    ],
)
def test_arrays_that_can_not_cross_say_so(value: Any, where: str, hint: str) -> None:
    with pytest.raises(CrossingError) as caught:
        crossed(value)
    assert caught.value.path == where
    assert hint in caught.value.hint


RECORDS = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])


@pytest.mark.parametrize(
    "parts",
    [
        [BASE[:1], BASE[1:]],
        [BASE[:, :1], BASE[:, 1]],
        [BASE[::2], BASE[1::2]],
        [RECORDS["a"], RECORDS["b"]],
    ],
    ids=["halves", "columns", "rows", "fields"],
)
def test_parts_of_an_array_share_nothing_where_no_byte_is_in_both(parts: list[Any]) -> None:
    for copy, part in zip(crossed(parts), parts, strict=True):
        assert np.array_equal(copy, part)


FRAME = pd.DataFrame(
    {
        "int": [1, 2, 3],
        "float": [1.5, np.nan, -0.0],
        "str": ["x", "y", None],
        "object": pd.Series(["a", "b", "c"], dtype=object),
        "mixed": pd.Series([[1], {"a": 2}, None], dtype=object),
        "category": pd.Categorical(["u", "v", "u"], categories=["v", "u", "w"], ordered=True),
        "zoned": pd.date_range("2020-10-25", periods=3, freq="h", tz="Europe/Berlin"),
        "plain time": pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
        "seconds": pd.to_timedelta([1, 2, 3], "s"),
        "Int32": pd.array([1, None, 3], "Int32"),
        "Float64": pd.array([1.5, None, 3], "Float64"),
        "boolean": pd.array([True, None, False], "boolean"),
        "string": pd.array(["a", None, "b"], "string[python]"),
        "string[pyarrow]": pd.array(["a", None, "b"], "string[pyarrow]"),
        "int64[pyarrow]": pd.array([1, None, 3], "int64[pyarrow]"),
        "complex": [1j, 2, 3],
    }
)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.set_index(["int", "str"]),
        FRAME.set_index("zoned"),
        FRAME.set_index("category"),
        FRAME[["int", "int"]],
        FRAME.iloc[::2],
        FRAME.iloc[:0],
        FRAME[["int", "float"]].T,
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame(np.zeros((3, 4)), columns=pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["n", None])),
        pd.DataFrame({"x": [1] * 3}, index=pd.date_range("2020", periods=3, freq="ME", name="month")),
    ],
    ids=range(12),
)
def test_tables_of_pandas_come_back(frame: Any) -> None:
    pd.testing.assert_frame_equal(crossed(frame), frame)


@pytest.mark.parametrize("name", list(FRAME))
def test_columns_of_pandas_come_back(name: str) -> None:
    pd.testing.assert_series_equal(crossed(FRAME[name]), FRAME[name])


def test_notes_on_a_table_come_back() -> None:
    shared = [1]
    frame, column = FRAME[["int"]].copy(), FRAME["int"].copy()
    frame.attrs, column.attrs = {"unit": {"int": "m"}, "shared": shared}, {"shared": shared}
    copies = crossed([frame, column, shared])
    assert copies[0].attrs == frame.attrs
    assert copies[1].attrs["shared"] == copies[2] == [1]
    frame.attrs["source"] = object()
    with pytest.raises(CrossingError) as caught:
        crossed(frame)
    assert caught.value.path == "x.attrs['source']"


def test_values_of_pandas_come_back() -> None:
    for value in (FRAME["zoned"][2], pd.Timestamp(1), pd.Timedelta(1), pd.Timestamp("2020-01-01").as_unit("s")):
        copy = crossed(value)
        assert copy == value
        assert (type(copy), str(copy), copy.unit) == (type(value), str(value), value.unit)
    assert crossed([pd.NaT, pd.NA])[0] is pd.NaT
    assert crossed([pd.NaT, pd.NA])[1] is pd.NA
    pd.testing.assert_index_equal(crossed(pd.RangeIndex(1, 9, 2, name="n")), pd.RangeIndex(1, 9, 2, name="n"))


TABLE = pa.table(
    {
        "int": [1, None, 3],
        "text": ["x", None, "z"],
        "list": [[1], [2, 3], None],
        "struct": [{"a": 1}, {"a": None}, None],
        "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
        "null": [None, None, None],
        "zoned": pa.array([1, 2, 3], pa.timestamp("us", "Europe/Berlin")),
    }
)


@pytest.mark.parametrize(
    "value",
    [
        TABLE,
        TABLE.slice(1),
        TABLE.slice(0, 0),
        pa.table({}),
        pa.concat_tables([TABLE, TABLE]),
        TABLE.to_batches()[0],
        TABLE["list"],
        pa.array([1, 2]),
    ],
    ids=range(8),
)
def test_tables_of_arrow_come_back(value: Any) -> None:
    copy = crossed(value)
    assert type(copy) is type(value)
    assert copy.equals(value)


def test_metadata_of_arrow_is_left_behind() -> None:
    """pandas and others act by what it says."""
    table = TABLE.replace_schema_metadata({"pandas": "{}"})
    assert crossed(table).schema.metadata is None


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"a": [1, None], "b": ["x", None], "c": [[1], [2, 3]], "d": [datetime.date(2020, 1, 1)] * 2}),
        pl.DataFrame({"": [1], "s": [{"q": 1.5}]}),
        pl.DataFrame({"c": pl.Series(["a", "b"], dtype=pl.Categorical)}),
        pl.DataFrame(),
    ],
    ids=range(4),
)
def test_tables_of_polars_come_back(frame: Any) -> None:
    assert crossed(frame).equals(frame)
    assert crossed(frame).schema == frame.schema


def test_a_column_of_polars_comes_back() -> None:
    column = pl.Series("name", [1, 2], dtype=pl.Int8)
    copy = crossed(column)
    assert (copy.name, copy.dtype, copy.to_list()) == ("name", pl.Int8, [1, 2])


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (pd.DataFrame({"s": pd.arrays.SparseArray(np.array(["a"], object))}), "x['s']"),
        (pd.DataFrame({"o": [object()]}), "x['o'][0]"),
        (pl.DataFrame({"e": pl.Series([["a"]], dtype=pl.Array(pl.Enum(["a"]), 1))}), "x['e']"),
        (pl.DataFrame({"i": pl.Series([1], dtype=pl.Int128)}), "x"),
        (pl.DataFrame({"a": [1]}).lazy(), "x"),
        (
            pa.table({"u": pa.ExtensionArray.from_storage(pa.opaque(pa.int8(), "a", "b"), pa.array([1], "int8"))}),
            "x['u']",
        ),
        (pa.table({"n": pa.array([[None]])}), "x['n']"),
        (Image.new("CMYK", (2, 2)), "x"),
    ],
    ids=range(8),
)
def test_tables_and_pictures_that_can_not_cross_say_so(value: Any, where: str) -> None:
    with pytest.raises(CrossingError) as caught:
        crossed(value)
    assert caught.value.path == where
    assert caught.value.hint


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pictures_come_back(mode: str) -> None:
    picture = Image.new(mode, (20, 30))
    picture.putpixel((3, 4), 1 if len(picture.getbands()) == 1 else (9,) * len(picture.getbands()))
    copy = crossed(picture)
    assert (type(copy), copy.mode, copy.size) == (Image.Image, mode, (20, 30))
    assert copy.tobytes() == picture.tobytes()


def test_one_frame_of_several_is_no_copy() -> None:
    file = io.BytesIO()
    frame = Image.new("RGB", (4, 4))
    frame.save(file, "TIFF", save_all=True, append_images=[frame])
    with pytest.raises(CrossingError, match="of 2 frames"):
        crossed(Image.open(file))
    assert crossed(Image.open(file).copy()).size == (4, 4)


def test_a_picture_that_pillow_does_not_unpack_is_said_to_be_large() -> None:
    picture = Image.new("1", (20_000, 20_000))
    with pytest.raises(CrossingError, match="more pixels"):
        crossed(picture, 2**32)


def test_a_figure_arrives_as_a_picture() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=50)
    figure.add_subplot().plot([1, 2])
    assert crossed(figure).size == (100, 50)
