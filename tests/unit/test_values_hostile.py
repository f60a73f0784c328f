"""What a sandbox says its variables are: nothing of it is run, and no more memory is taken than is allowed."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from crossing import LIMIT, crossed, decoded, thorough
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb.agent.encoding import Encoder
from chorus_nb.agent.pieces import Assembler, cut
from chorus_nb.agent.values import CrossingError, DecodeError

MEMORY_BYTES = 2**28


def tree(node: Any, *buffers: Any) -> bytes:
    return json.dumps({"buffers": list(buffers), "values": {"x": node}}).encode()


def array(dtype: Any, shape: Any, order: Any = "C") -> Any:
    return [dtype, shape, order]


ARRAY = {"ndarray": 0}
OBJECTS = ["O", "|O", "|O8", "object", "<i4,O", "O4", "T", "f8,(1000000000,)O", "<i3", "i4[", "M8[generic]", "V-1", ""]
SECOND = ["struct", 8, [["a", 0, "<i4"], ["a", 4, "<i4"]]]
OUTSIDE = ["struct", 4, [["a", 2, "<i4"]]]
NEGATIVE = ["struct", 4, [["a", -1, "<i4"]]]
NESTED: Any = "<i4"
for _ in range(40):
    NESTED = ["array", NESTED, [1]]

FORGED: list[Any] = [
    *[tree(ARRAY, array(dtype, [1])) for dtype in OBJECTS],
    *[tree(ARRAY, array(dtype, [1])) for dtype in (SECOND, OUTSIDE, NEGATIVE, NESTED, ["struct"], [], {}, None, 1)],
    *[tree({"scalar": [dtype, "00"]}) for dtype in [*OBJECTS, SECOND, ["array", "<i4", [2]]]],
    tree({"scalar": ["<i4", "00"]}),
    tree({"scalar": ["<i4", "zz"]}),
    *[tree(ARRAY, array("<i4", shape)) for shape in ([-1], [1.0], [True], "1", None, [2**40], [2**62, 0], [1] * 100)],
    tree(ARRAY, array("|V0", [2**60])),
    tree(ARRAY, array("<i4", [0], "K")),
    *[tree(ARRAY, spec) for spec in ([], ["<i4", [1]], ["<i4", [1], "C", 1], "<i4", {}, None)],
    tree(ARRAY, array(["array", "|O", [1]], [1])),
    tree(ARRAY, array(["array", "<i4", [2]], [1])),
    tree(ARRAY, 2**40),
    tree(ARRAY, -1),
    tree(ARRAY, 1.5),
    tree(ARRAY, 4),
    tree({"bytes": 0}, array("<i4", [0])),
    tree({"bytes": 0}),
    tree(None, 0),
    tree([{"bytes": 0}, {"bytes": 0}], 0),
    *[tree({kind: None}) for kind in ("pickle", "eval", "import", "__reduce__", "object", "ndarray", "", "NaT")],
    tree({}),
    tree({"tuple": [], "list": []}),
    *[
        tree({kind: parts})
        for kind in ("tuple", "set", "dict", "frozenset")
        for parts in (None, 1, "ab", {"int": "0x1"})
    ],
    tree({"set": [[]]}),
    tree({"set": [{"dict": []}]}),
    tree({"dict": [1]}),
    tree({"dict": [[], 1]}),
    *[tree({"int": text}) for text in ("1", "0x", "0xg", " 0x1", "0x1\n", 1, None, "__import__('os')")],
    *[tree({"decimal": text}) for text in ("1_0", "", "1e9999999999999999999", "x", "٣", 1)],
    *[tree({"complex": parts}) for parts in ([1.0], [1, 2], [1.0, "2"], {})],
    *[tree({"date": parts}) for parts in ([1], [0, 1, 1], [2020, 13, 1], ["2020", 1, 1], [2**80, 1, 1])],
    tree({"datetime": [2020, 1, 1, 0, 0, 0, 0, 2, None]}),
    tree({"datetime": [2020, 1, 1, 0, 0, 0, 0, 0, {"eval": "1"}]}),
    tree({"datetime": [2020, 1, 1, 0, 0, 0, 0, 0, 5]}),
    tree({"time": []}),
    tree({"timedelta": [10**10, 0, 0]}),
    tree({"timezone": [[2, 0, 0]]}),
    tree({"timezone": [[0, 1, 0], "a", "b"]}),
    tree({"uuid": "x"}),
    tree({"path": [False, False, ["a"]]}),
    tree({"path": ["posix", False, "a"]}),
    tree({"same": 0}),
    tree([[], {"same": 5}]),
    tree([{"same": -1}]),
    tree([{"same": 0}]),
    tree({"arrow": ["Table", []]}, 0),
    tree({"polars": [[]]}, 4),
    tree({"picture": 0}, 4),
    tree({"DataFrame": None}),
    tree({"DataFrame": [["range", [None], [0, 1, 1]], ["range", [None], [0, 10**12, 1]], [{"objects": []}]]}),
    tree({"DataFrame": [["range", [None], [0, 2, 1]], ["range", [None], [0, 0, 1]], [{"objects": []}]]}),
    tree({"Index": ["range", [None], [0, 10**15, 1]]}),
    tree({"Index": ["flat", [None], [{"eval": 1}], None]}),
    tree({"Index": ["flat", [[]], [{"objects": []}], None]}),
    tree({"Series": [None, ["range", [None], [0, 1, 1]], {"objects": [1, 2]}]}),
    tree({"missing": "compat"}),
    tree({"Timestamp": [1, "Y", 0, None]}),
    tree({"Timestamp": [2**70, "ns", 0, None]}),
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"values":{},"buffers":[],"more":1}',
    b'{"values":[],"buffers":[]}',
    b'{"values":{"x":' + b"9" * 5000 + b'},"buffers":[]}',
    b'{"values":{"x":"' + b"\xff" + b'"},"buffers":[]}',
    b'{"values":{"x":' + b"[" * 5000 + b"]" * 5000 + b'},"buffers":[]}',
    b'{"values":{"x":' + b"[" * 150 + b"]" * 150 + b'},"buffers":[]}',
]


@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_a_forged_tree_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError):
        decoded(text or b" ", bytes(4) if b"4]" in text or b", 4" in text else b"")


def test_a_zone_is_one_that_the_system_lists() -> None:
    for name in ("../../etc/passwd", "/etc/localtime", "os.path", "Europe/Nowhere", "tzdata.zoneinfo"):
        with pytest.raises(CrossingError):
            decoded(tree({"datetime": [2020, 1, 1, 0, 0, 0, 0, 0, {"zone": name}]}))


def test_values_that_share_a_hash_are_refused() -> None:
    """A set of them would take hours to make."""
    colliding = [{"int": hex((2**61 - 1) * number)} for number in range(2**10, 2**12)]
    with pytest.raises(DecodeError, match="hash"):
        decoded(tree({"set": colliding}))


def test_a_value_that_is_endless_to_print_is_refused() -> None:
    node: Any = []
    for number in range(40):
        node = [node, {"same": number}]
    with pytest.raises(DecodeError, match="endless"):
        decoded(tree(node))


@pytest.mark.parametrize(
    ("tree_bytes", "size_bytes"),
    [(0, 0), (-1, 0), (1.0, 0), (True, 0), ("1", 0), (None, 0), (1, -1), (2**50, 0), (10, LIMIT), (LIMIT // 16 + 1, 0)],
)
def test_sizes_are_checked_before_memory_is_taken(tree_bytes: Any, size_bytes: Any) -> None:
    with pytest.raises(DecodeError):
        Assembler(tree_bytes, size_bytes, LIMIT)


def test_what_was_announced_is_what_has_to_come() -> None:
    text = tree({"bytes": 0}, 10)
    with pytest.raises(DecodeError, match="other sizes"):
        decoded(text, bytes(9))
    assembler = Assembler(len(text), 10, LIMIT)
    assembler.feed(text + bytes(9))
    with pytest.raises(DecodeError, match="less"):
        assembler.values()
    assembler.feed(bytes(1))
    with pytest.raises(DecodeError, match="more"):
        assembler.feed(bytes(1))


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow(data: bytes) -> Any:
    return decoded(tree({"arrow": ["Table", []]}, len(data)), data)


PLAIN = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})


def test_a_compressed_stream_is_refused_before_it_is_unpacked() -> None:
    bomb = pa.table({"a": np.zeros(2**23)})
    data = stream(bomb, compression="zstd")
    assert len(data) < 2**17
    with pytest.raises(DecodeError, match="compressed"):
        arrow(data)
    words = pa.table({"a": pa.array(["x"] * 1000).dictionary_encode()})
    with pytest.raises(DecodeError, match="compressed"):
        arrow(stream(words, compression="lz4"))


class Loud(pa.ExtensionType):
    """Says that it was made of what came."""

    called = False

    def __init__(self) -> None:
        super().__init__(pa.int64(), "chorus.test")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"payload"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> Loud:
        cls.called = True
        return cls()


def test_an_extension_type_is_refused_before_anybody_hears_of_it() -> None:
    pa.register_extension_type(Loud())
    try:
        data = stream(pa.table({"a": pa.ExtensionArray.from_storage(Loud(), pa.array([1, 2]))}))
        Loud.called = False
        with pytest.raises(DecodeError, match="extension"):
            arrow(data)
        assert not Loud.called
    finally:
        pa.unregister_extension_type("chorus.test")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[None] * 5]),
        pa.array([{}] * 5, pa.struct([])),
        pa.array([b""] * 5, pa.binary(0)),
        pa.array([[]] * 5, pa.list_(pa.int8(), 0)),
        pa.array(["x" * 50] * 5, pa.string_view()),
        pa.RunEndEncodedArray.from_arrays([2**30], [1]),
        pa.UnionArray.from_dense(pa.array([0, 0], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1])]),
    ],
    ids=range(7),
)
def test_types_that_are_long_without_bytes_are_refused(column: Any) -> None:
    with pytest.raises((DecodeError, CrossingError)):
        arrow(stream(pa.table({"a": column})))


def test_a_column_of_nothing_is_bounded() -> None:
    with pytest.raises(DecodeError, match="limit"):
        arrow(stream(pa.table({"a": pa.nulls(LIMIT)})))


def test_a_stream_is_arrows_and_whole() -> None:
    data = stream(PLAIN)
    assert arrow(data).equals(PLAIN)
    for cut_at in (4, 8, 40, len(data) // 2, len(data) - 9):
        with pytest.raises(DecodeError):
            arrow(data[:cut_at])
    with pytest.raises(DecodeError):
        arrow(data + data)
    with pytest.raises(DecodeError):
        arrow(b"not a stream at all!" * 10)


@thorough
@given(st.integers(0, 2**20), st.integers(0, 255), st.booleans())
def test_a_changed_byte_of_a_stream_does_no_harm(at: int, value: int, dictionary: bool) -> None:
    table = PLAIN.append_column("d", pa.array(["q", "r", "q"]).dictionary_encode()) if dictionary else PLAIN
    data = bytearray(stream(table))
    data[at % len(data)] = value
    with contextlib.suppress(DecodeError, CrossingError):
        arrow(bytes(data)).to_pylist()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        png(2**30, 2**30),
        png(20_000, 20_000),
        png(5000, 5000),
        png(10, 10, b"not compressed"),
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9",
        b"",
    ],
    ids=range(6),
)
def test_a_picture_is_png_and_small_once_it_is_unpacked(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decoded(tree({"picture": 0}, len(data)), data)


@thorough
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["tuple", "dict", "set", "int", "bytes", "ndarray", "scalar", "same", "DataFrame", "Index", "path"]
                )
                | st.text(max_size=5),
                inner,
                max_size=1,
            )
        ),
        max_leaves=12,
    ),
    st.lists(st.integers(-1, 100) | st.just(array("<i4", [3])) | st.just(array(["struct", 4, []], [2])), max_size=3),
)
def test_any_tree_is_a_value_or_refused(node: Any, buffers: list[Any]) -> None:
    with contextlib.suppress(DecodeError, CrossingError):
        decoded(tree(node, *buffers), bytes(12))


def test_no_more_memory_is_taken_than_the_values_and_a_few_pieces() -> None:
    value = np.ones(2**22)
    encoder = Encoder(2**27)
    text = encoder.encode_all({"x": value})
    tracemalloc.start()
    try:
        assembler = Assembler(len(text), value.nbytes, 2**27)
        cut(text, encoder.buffers, assembler.feed)
        copy = assembler.values()["x"]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.array_equal(copy, value)
    assert peak_bytes < value.nbytes + 2**23


def test_what_is_honest_still_crosses() -> None:
    assert crossed({"a": [1, {2}]}) == {"a": [1, {2}]}
