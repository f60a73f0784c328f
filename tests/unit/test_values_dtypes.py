"""Types that no stream and no buffer holds as they are come back as what they were; what is forged is refused."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from crossing import LIMIT, crossed, decoded, thorough
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb.agent.values import CrossingError, DecodeError

StringDType = np.dtypes.StringDType
TEXTS = ["a", "", "b" * 40, "\N{SNOWMAN}\0z\0", "q", "x"]


@pytest.mark.parametrize(
    "dtype",
    [
        StringDType(),
        StringDType(coerce=False),
        StringDType(na_object=None),
        StringDType(na_object=np.nan),
        StringDType(na_object=pd.NA),
        StringDType(na_object="x"),
    ],
    ids=str,
)
def test_arrays_of_variable_width_text_come_back(dtype: Any) -> None:
    missing = getattr(dtype, "na_object", "z")
    base = np.array([*TEXTS[:-1], missing], dtype).reshape(2, 3)
    for array in (base, base.T, base[::-1, ::2], base[:0], base[0, :1].reshape(()), np.array(TEXTS * 9000, dtype)):
        copy = crossed(array)
        assert (copy.dtype, copy.shape, copy.flags.writeable) == (array.dtype, array.shape, True)
        assert repr(copy.tolist()) == repr(array.tolist())
    assert crossed(np.asfortranarray(base)).flags.f_contiguous


def periods(frequency: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Of business days.
        return pd.PeriodIndex(["2020-01-01", None, "2021-03-04"], freq=frequency).array


FREQUENCIES = [
    "Y",
    "Y-JAN",
    "Q",
    "Q-MAR",
    "M",
    "W",
    "W-WED",
    "B",
    "D",
    "h",
    "min",
    "s",
    "ms",
    "us",
    "ns",
    "2M",
    "15min",
]
INTERVALS = [
    *[
        pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3], closed=closed)
        for closed in ("left", "right", "both", "neither")
    ],
    *[pd.arrays.IntervalArray.from_breaks(np.array([0, 1, 2, 3], kind)) for kind in ("i4", "u8", "f4")],
    pd.arrays.IntervalArray.from_arrays([0, np.nan, 2.0], [1, np.nan, 3.0]),
    pd.arrays.IntervalArray.from_arrays(pd.array([1, 2], "Int64"), pd.array([2, 3], "Int64")),
    pd.interval_range(pd.Timestamp("2020"), periods=3).array,
    pd.interval_range(pd.Timestamp("2020", tz="Europe/Berlin"), periods=3).array,
    pd.interval_range(pd.Timedelta(0), periods=3, freq="D").array,
]
SPARSE = [
    *[pd.arrays.SparseArray([0, 0, 1, 2, 0], fill_value=0, kind=kind) for kind in ("integer", "block")],
    pd.arrays.SparseArray([np.nan, 1.5]),
    pd.arrays.SparseArray([True, False]),
    pd.arrays.SparseArray([1, 2, 0], fill_value=np.int64(0)),
    pd.arrays.SparseArray(np.array([1, 2, 0], "f4"), fill_value=0),
    pd.arrays.SparseArray(np.array(["2020", "NaT"], "M8[ns]")),
    pd.arrays.SparseArray([0, 0, 0], fill_value=0),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("array", [*map(periods, FREQUENCIES), *INTERVALS, *SPARSE], ids=lambda array: str(array.dtype))
def test_columns_of_pandas_own_dtypes_come_back(array: Any) -> None:
    series = pd.Series(array, name="n")
    index = pd.Index(array, name=("a", 1))
    frame = pd.DataFrame({"a": array, "b": range(len(array))}, index=index)
    pd.testing.assert_series_equal(crossed(series), series)
    pd.testing.assert_index_equal(crossed(index), index)
    pd.testing.assert_frame_equal(crossed(frame), frame)
    assert getattr(crossed(series).array, "kind", None) == getattr(array, "kind", None)
    value = array[0]
    copy = crossed([value])[0]
    assert type(copy) is type(value)
    assert copy == value or pd.isna(value)


def test_a_sparse_column_counts_as_many_bytes_as_it_has_rows() -> None:
    column = pd.Series(pd.arrays.SparseArray(np.zeros(2**20), fill_value=0))
    assert crossed(column, limit=2**22).array.npoints == 0
    with pytest.raises(CrossingError, match="larger than"):
        crossed(column, limit=2**19)


def test_text_of_pandas_3_is_objects_where_pandas_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    class Before23(pd.StringDtype):
        def __init__(self, storage: str | None = None) -> None:
            super().__init__(storage)

    column = pd.Series(["a", None], dtype=pd.StringDtype("pyarrow", na_value=np.nan))
    monkeypatch.setattr(pd, "StringDtype", Before23)
    pd.testing.assert_series_equal(crossed(column), pd.Series(["a", np.nan], dtype=object))


ENUM = pl.Enum(["b", "a", "\N{SNOWMAN}"])


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("e", ["a", None, "b"], dtype=ENUM),
        pl.Series("", ["a"], dtype=ENUM),
        pl.Series("e", [], dtype=ENUM),
        pl.Series("e", [None], dtype=pl.Enum([])),
        pl.Series("e", [["a"], None, ["b", "a"]], dtype=pl.List(ENUM)),
        pl.Series("e", [{"x": "a", "y": 1}, None], dtype=pl.Struct({"x": ENUM, "y": pl.Int8})),
    ],
    ids=range(6),
)
def test_enums_of_polars_come_back(column: Any) -> None:
    copy = crossed(column)
    assert (copy.name, copy.dtype, copy.to_list()) == (column.name, column.dtype, column.to_list())
    frame = pl.DataFrame({"n": range(len(column)), "": column})
    assert crossed(frame).schema == frame.schema
    assert crossed(frame).equals(frame)


VIEWS = pa.array(["a", None, "x" * 40, "\N{SNOWMAN}\0"], pa.string_view())
UUIDS = pa.array([uuid.UUID(int=1).bytes, None], pa.uuid())
DENSE = pa.UnionArray.from_dense(
    pa.array([5, 7, 5, 7], pa.int8()),
    pa.array([0, 1, 1, 0], pa.int32()),
    [pa.array([1, None]), pa.array(["x", "y"])],
    ["i", "s"],
    [5, 7],
)
ARROW = [
    VIEWS,
    pa.array([b"a", None, b"x" * 40], pa.binary_view()),
    pa.array([[1], None, [2, 3], []], pa.list_view(pa.field("q", pa.int8()))),
    pa.array([[1], [2, 3]], pa.large_list_view(pa.field("q", pa.int8(), False))),
    pa.array([["a"], None, ["b", "c"]], pa.list_(pa.string_view())),
    pa.array([["a"], None, ["b", "c"]], pa.large_list(pa.string_view())),
    pa.array([{"a": "x", "b": 1}, None, {"a": None, "b": 2}], pa.struct([("a", pa.string_view()), ("b", pa.int8())])),
    *[pa.RunEndEncodedArray.from_arrays(pa.array([2, 5, 6], kind), ["a", None, "b"]) for kind in ("int16", "int64")],
    pa.RunEndEncodedArray.from_arrays(pa.array([2, 5]), pa.array([{"a": 1}, {"a": None}])),
    DENSE,
    pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), VIEWS[:1]]
    ),
    pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["x", "y", "z"])]),
    UUIDS,
    pa.array(["{}", None], pa.json_()),
    pa.array(["{}", None], pa.json_(pa.string_view())),
    pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())),
    pa.ListArray.from_arrays([0, 1, 2], UUIDS),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array([[1], [2, 3]])),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array([{"a": 1}, {"a": 2}]), ordered=True),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), VIEWS[2:]),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"]).dictionary_encode()),
    pa.array([["a"], None, ["b", "a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
]


@pytest.mark.parametrize("array", ARROW, ids=lambda array: str(array.type)[:60])
def test_types_of_arrow_that_are_taken_apart_come_back(array: Any) -> None:
    for value in (
        array,
        array[1:],
        array[1:2],
        array[:0],
        pa.chunked_array([array, array[1:]]),
        pa.chunked_array([], array.type),
        pa.table({"p": range(len(array)), "x": array, "q": array}),
        pa.table({"x": pa.chunked_array([array, array[1:]])}),
        pa.RecordBatch.from_arrays([array, array], ["x", ""]),
        pa.RecordBatch.from_arrays([array], ["x"])[:0],
    ):
        copy = crossed(value)
        copy.validate(full=True)
        assert type(copy) is type(value)
        assert getattr(copy, "schema", None) == getattr(value, "schema", None)
        assert getattr(copy, "type", None) == getattr(value, "type", None)
        assert copy.to_pylist() == value.to_pylist()


def test_such_a_column_of_pandas_comes_back() -> None:
    series = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([VIEWS])))
    copy = crossed(series)
    assert (copy.dtype, copy.tolist()) == (series.dtype, series.tolist())


def test_an_extension_type_that_is_not_known_says_what_can_cross() -> None:
    array = pa.ExtensionArray.from_storage(pa.opaque(pa.int8(), "a", "b"), pa.array([1], pa.int8()))
    with pytest.raises(CrossingError) as caught:
        crossed(pa.table({"u": [[0]], "o": array}))
    assert str(caught.value) == (
        "x['o'] is of the Arrow extension type arrow.opaque, which can't cross. "
        "Its storage can: x['o'].cast(x['o'].type.storage_type)."
    )
    assert crossed(array.cast(array.type.storage_type)).to_pylist() == [1]
    with pytest.raises(CrossingError, match=r"Its storage can: its \.storage, in its place\."):
        crossed(pa.ListArray.from_arrays([0, 1], array))


def test_a_union_that_would_arrive_as_another_is_an_error() -> None:
    kind = pa.sparse_union([pa.field("a", pa.int8(), nullable=False)])
    buffers = [None, pa.array([0], pa.int8()).buffers()[1]]
    with pytest.raises(CrossingError, match="can't be null"):
        crossed(pa.Array.from_buffers(kind, 1, buffers, children=[pa.array([1], pa.int8())]))


# What is forged

ARRAY = {"ndarray": 0}


def tree(node: Any, *buffers: Any) -> bytes:
    return json.dumps({"buffers": list(buffers), "values": {"x": node}}).encode()


def column(node: Any, rows: int = 1) -> Any:
    return {"Series": [None, ["range", [None], [0, rows, 1]], node]}


def sparse(length: Any, places: list[int], values: int, kind: Any = "integer", fill: Any = 0) -> tuple[bytes, bytes]:
    node = column({"sparse": [kind, length, fill, ARRAY, ARRAY]}, length if type(length) is int else 1)
    specs = [["<i4", [len(places)], "C"], ["<i8", [values], "C"]]
    return tree(node, *specs), np.array(places, "<i4").tobytes() + bytes(8 * values)


def strings(lengths: list[int], data: bytes, shape: Any, missing: Any = (), coerce: Any = True) -> tuple[bytes, bytes]:
    node = {"strings": [shape, "C", list(missing), coerce]}
    return tree(node, ["<i8", [len(lengths)], "C"], len(data)), np.array(lengths, "<i8").tobytes() + data


FREQUENCIES_FORGED = ["", "0M", "M" * 99, "-M", "1.5M", "1" * 10 + "M", "Y-XXX", "W-JAN", "C", "m", "M\n", "D;D", "٣M"]
EIGHT = ["<i8", [1], "C"]
FORGED: list[tuple[bytes, bytes]] = [
    *[(tree({"Period": [name, 1]}), b"") for name in (*FREQUENCIES_FORGED, None, 1, ["M"])],
    *[(tree({"Period": ["M", ordinal]}), b"") for ordinal in (1.5, "1", None, True, 2**64 - 1)],
    *[(tree(column({"periods": [name, ARRAY]}), EIGHT), bytes(8)) for name in FREQUENCIES_FORGED],
    *[(tree(column({"periods": ["M", ARRAY]}), [kind, [1], "C"]), bytes(8)) for kind in (">i8", "<f8", "<M8[D]")],
    *[(tree({"Interval": [word, 1, 2]}), b"") for word in ("", "open", None, 1, ["left"])],
    *[(tree({"Interval": ["left", *ends]}), b"") for ends in ([], [1], [2, 1], ["a", "b"], [[], []], [None, None])],
    (tree(column({"intervals": ["everywhere", ARRAY, ARRAY]}), EIGHT, EIGHT), bytes(16)),
    (tree(column({"intervals": ["left", ARRAY, ARRAY]}), EIGHT, EIGHT), np.array([2, 1]).tobytes()),
    (tree(column({"intervals": ["left", ARRAY, ARRAY]}), EIGHT, ["<f8", [1], "C"]), bytes(16)),
    (tree(column({"intervals": ["left", {"objects": [1]}, {"objects": [1]}]})), b""),
    (tree(column({"intervals": ["left", {"intervals": []}, {"intervals": []}]})), b""),
    sparse(3, [3], 1),
    sparse(3, [-1], 1),
    sparse(3, [1, 1], 2),
    sparse(3, [2, 1], 2),
    sparse(3, [1], 2),
    sparse(3, [0, 1, 2, 3], 4),
    sparse(2**40, [1], 1),
    sparse(2**31, [1], 1),
    sparse(-1, [], 0),
    sparse(1.0, [], 0),
    sparse(3, [1], 1, kind="made up"),
    sparse(3, [1], 1, fill={"eval": 0}),
    strings([1], b"", [1]),
    strings([1], b"ab", [1]),
    strings([-2], b"", [1], [None]),
    strings([-1], b"", [1]),
    strings([2**62], b"", [1]),
    strings([1], b"\xff", [1]),
    strings([1], b"a", [2]),
    strings([1], b"a", [-1]),
    strings([1], b"a", [1], [1.5]),
    strings([1], b"a", [1], [[]]),
    strings([1], b"a", [1], [None, None]),
    strings([1], b"a", [1], [], 1),
    strings([], b"", [2**40, 0, 2**40]),
    (tree({"strings": [[1], "K", [], True]}, EIGHT, 0), bytes(8)),
    (tree({"strings": [[2**40], "C", [], True]}, ["<i8", [2**40], "C"], 0), b""),
]


@pytest.mark.parametrize(("text", "data"), FORGED, ids=range(len(FORGED)))
def test_forged_parts_are_refused(text: bytes, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decoded(text, data)


def test_a_sparse_column_that_pandas_does_not_make_is_an_error() -> None:
    with pytest.raises(CrossingError, match="others where it has none"):
        decoded(*sparse(3, [1], 1, fill={"tuple": []}))


@thorough
@given(st.sampled_from(FREQUENCIES), st.integers(-(2**63), 2**63 - 1))
def test_any_number_is_a_period(frequency: str, number: int) -> None:
    with contextlib.suppress(DecodeError, CrossingError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frequency = {"Y": "Y-DEC", "Q": "Q-DEC", "W": "W-SUN"}.get(frequency, frequency)
        value = decoded(tree({"Period": [frequency, number]}))
        str(value), repr(value), hash(value)


def stream(*columns: Any, **named: Any) -> bytes:
    table = pa.Table.from_arrays(list(columns), list("abcdef")[: len(columns)])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, named.get("schema", table.schema)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def apart(node: Any, *arrays: Any) -> tuple[bytes, bytes]:
    """Return the tree and the streams of an array that is said to be taken apart."""
    streams = [stream(), *[stream(pa.array(*each) if type(each) is tuple else each) for each in arrays]]
    text = tree({"arrow": ["Array", [[0, "", True, [node]]]]}, *map(len, streams))
    return text, b"".join(streams)


P = {"plain": 0}
INT8, INT64 = pa.int8(), pa.int64()
FIELD = ["item", True]
DEEP: Any = P
for _ in range(50):
    DEEP = {"struct": [[["a", True]], P, [DEEP]]}

APART: list[tuple[bytes, bytes]] = [
    *[apart(node) for node in (None, [], {}, {"pickle": []}, {"view": None}, {"extension": []}, {"list": [1, 2]})],
    *[apart({"extension": [name, P]}, ([1], INT8)) for name in ("arrow.uuid", "arrow.opaque", "", None, "arrow.json")],
    apart({"extension": ["arrow.bool8", P]}, ([1], INT64)),
    *[apart({"view": [name, P]}, ([1], INT64)) for name in ("string_view", "int8", None)],
    apart({"view": ["binary_view", P]}, (["a"], pa.large_string())),
    *[
        apart({"list": [kind, FIELD, P, P]}, (lengths, INT64), ([1, 2], INT8))
        for kind in ("list", "large_list", "list_view", "large_list_view")
        for lengths in ([1], [3], [-1, 3], [2**62, 2**62, 2], [2**63 - 1], [1, None])
    ],
    apart({"list": ["set", FIELD, P, P]}, ([2], INT64), ([1, 2], INT8)),
    apart({"list": ["list", [1, 2], P, P]}, ([2], INT64), ([1, 2], INT8)),
    apart({"list": ["list", FIELD, P, P]}, ([2], INT8), ([1, 2], INT8)),
    apart({"struct": [[FIELD], P, [P]]}, ([True], pa.bool_()), ([1, 2], INT8)),
    apart({"struct": [[FIELD], P, [P]]}, ([None], pa.bool_()), ([1], INT8)),
    apart({"struct": [[FIELD], P, [P]]}, ([1], INT8), ([1], INT8)),
    apart({"struct": [[], P, []]}, ([True], pa.bool_())),
    apart({"struct": [[FIELD, FIELD], P, [P]]}, ([True], pa.bool_()), ([1], INT8)),
    *[
        apart({"runs": [width, P, P]}, (ends, INT64), ([1, 2], INT8))
        for width, ends in [
            ("int64", [1]),
            ("int64", [2, 1]),
            ("int64", [1, 1]),
            ("int64", [0, 1]),
            ("int64", [-5, 1]),
            ("int64", [1, None]),
            ("int64", [1, 2**40]),
            ("int64", [-(2**63), 2**63 - 1]),
            ("int16", [1, 2**15]),
            ("int8", [1, 2]),
            ("float", [1, 2]),
        ]
    ],
    *[
        apart({"union": [mode, codes, names, P, [P, P]]}, (column_codes, INT8), ([1], INT8), (["a"], pa.string()))
        for mode, codes, names, column_codes in [
            ("dense", [0, 1], ["a", "b"], [0]),
            ("dense", [0, 1], ["a", "b"], [0, 0]),
            ("dense", [0, 1], ["a", "b"], [0, 2]),
            ("dense", [0, 1], ["a", "b"], [0, -1]),
            ("dense", [0, 1], ["a", "b"], [0, None]),
            ("dense", [0, 0], ["a", "b"], [0, 0]),
            ("dense", [0, 300], ["a", "b"], [0, 0]),
            ("dense", [0], ["a", "b"], [0, 0]),
            ("dense", [0, 1], ["a"], [0, 1]),
            ("thin", [0, 1], ["a", "b"], [0, 1]),
            ("sparse", [0, 1], ["a", "b"], [0, 1]),
            ("sparse", [0, 1], ["a", "b"], [2]),
            ("sparse", [0, 1], ["a", "b"], [-1]),
        ]
    ],
    apart({"dictionary": [False, P, P]}, ([2], INT8), (["a", "b"],)),
    apart({"dictionary": [False, P, P]}, ([-1], INT8), (["a", "b"],)),
    apart({"dictionary": [1, P, P]}, ([0], INT8), (["a", "b"],)),
    apart({"dictionary": [False, P, P]}, (["a"],), (["a", "b"],)),
    apart(DEEP, *[([True], pa.bool_())] * 50, ([1], INT8)),
]


@pytest.mark.parametrize(("text", "data"), APART, ids=range(len(APART)))
def test_parts_of_arrow_that_do_not_fit_are_refused(text: bytes, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decoded(text, data)


def test_parts_that_fit_are_not() -> None:
    assert decoded(*apart({"list": ["list_view", FIELD, P, P]}, ([2], INT64), ([1, 2], INT8))).to_pylist() == [[1, 2]]


def test_metadata_in_a_part_of_a_type_is_refused() -> None:
    """polars acts by what it says there, too."""
    told = {"_PL_ENUM_VALUES2": "1;a1;b"}
    kind = pa.list_(pa.field("item", pa.dictionary(pa.uint8(), pa.large_string()), metadata=told))
    for schema in (
        pa.schema([pa.field("a", kind)]),
        pa.schema([pa.field("a", pa.dictionary(pa.int8(), kind))]),
        pa.schema([pa.field("a", pa.int8(), metadata=told)]),
        pa.schema([("a", pa.int8())], metadata=told),
    ):
        data = stream(pa.nulls(1, schema.field(0).type), schema=schema)
        with pytest.raises(DecodeError, match="metadata"):
            decoded(tree({"arrow": ["Table", []]}, len(data)), data)


@pytest.mark.parametrize(
    "word",
    [["enum", ["a", "a"]], ["enum", [1]], ["enum", "a"], ["list", None], ["struct", []], ["eval", []], "enum", 1],
    ids=str,
)
def test_forged_types_of_polars_are_refused(word: Any) -> None:
    data = stream(pa.array(["a"], pa.large_string()).dictionary_encode())
    with pytest.raises(DecodeError):
        decoded(tree({"polars": [[word]]}, len(data)), data)


def test_a_category_that_an_enum_does_not_have_is_an_error() -> None:
    data = stream(pa.array(["c"], pa.large_string()).dictionary_encode())
    with pytest.raises(CrossingError):
        decoded(tree({"polars": [[["enum", ["a"]]]]}, len(data)), data)


def test_runs_are_bounded_by_the_rows_they_stand_for() -> None:
    array = pa.RunEndEncodedArray.from_arrays([LIMIT], ["a"])
    with pytest.raises(CrossingError, match="larger than"):
        crossed(array)
