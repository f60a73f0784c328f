"""Tables of Arrow, and columns of them, as an Arrow IPC stream, without metadata.

Columns that a stream can't be trusted with cross beside it, taken apart (:mod:`arrow_arrays`).
"""

import sys
from typing import Any, Dict, List, Optional

from . import arrow_stream
from .arrays import load
from .arrow_arrays import Divider, Joiner, is_composite
from .decoding import Decode, Decoder, of
from .encoding import Encode, Encoder
from .values import DecodeError, Path, Put

_ARROW = ("Table", "RecordBatch", "ChunkedArray")
_ROW_BYTES = 8


def encoder_of(value: Any) -> Optional[Encode]:
    """Return what encodes a value where it is a table of Arrow or a column of one, else None."""
    if type(value).__module__.partition(".")[0] != "pyarrow":
        return None
    arrow = sys.modules["pyarrow"]
    if type(value) in [getattr(arrow, name) for name in _ARROW]:
        return _arrow
    return _array if isinstance(value, arrow.Array) else None


def _arrow(encoder: Encoder, value: Any, path: Path) -> Any:
    kind, arrow = type(value).__name__, sys.modules["pyarrow"]
    if kind == "RecordBatch":
        return {"arrow": [kind, add(encoder, arrow.Table.from_batches([value]), path)]}
    table = arrow.table({"": value}) if kind == "ChunkedArray" else value
    return {"arrow": [kind, add(encoder, table, path)]}


def _array(encoder: Encoder, value: Any, path: Path) -> Any:
    return {"arrow": ["Array", add(encoder, sys.modules["pyarrow"].table({"": value}), path)]}


def add(encoder: Encoder, table: Any, path: Path) -> List[Any]:
    """Add an Arrow table as a buffer, and return the nodes of the columns that had to be taken apart."""
    arrow = load("pyarrow", path)
    apart = [number for number, field in enumerate(table.schema) if is_composite(field.type)]
    add_stream(encoder, table.select([number for number in range(table.num_columns) if number not in apart]), path)
    divider = Divider(encoder, lambda array, where: add_stream(encoder, arrow.table({"": array}), where))
    nodes = []
    for number in apart:
        field, column = table.schema.field(number), table.column(number)
        where = (path, "item", field.name) if field.name else path
        chunks = column.chunks or [arrow.nulls(0, field.type)]
        nodes.append([number, field.name, field.nullable, [divider.node(chunk, where) for chunk in chunks]])
    return nodes


def add_stream(encoder: Encoder, table: Any, path: Path) -> None:
    """Add an Arrow table of plain types as a buffer."""
    arrow = load("pyarrow")
    table = plain(table, path)
    encoder.count(_ROW_BYTES * table.num_rows, path)  # As the receiver does.
    counter = arrow.MockOutputStream()
    write(table, counter)
    encoder.add(counter.size(), lambda put: write(table, arrow.PythonFile(_Sink(put), "w")), path)


def plain(table: Any, path: Path) -> Any:
    """Return a table without its metadata. Raises :class:`CrossingError` for types that can't cross."""
    arrow = load("pyarrow")
    arrow_stream.refuse_types(table.schema, path)
    return arrow.Table.from_arrays(table.columns, schema=arrow_stream.bare(table.schema)).unify_dictionaries()


def write(table: Any, sink: Any) -> None:
    """Write a table as a stream."""
    with load("pyarrow").ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


class _Sink:
    """The file that Arrow writes to."""

    closed = False

    def __init__(self, put: Put) -> None:
        self._put = put

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if view.nbytes:
            self._put(view)
        return view.nbytes

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def take(decoder: Decoder, apart: Any) -> Any:
    """Return the next table, checked in full; ``apart`` is what :func:`add` has returned. Raises `DecodeError`."""
    arrow = load("pyarrow", ("A table",))
    table = _taken_stream(decoder)
    if not of(list, apart):
        return table
    joiner = Joiner(decoder, lambda: one_array(_only(_taken_stream(decoder))))
    columns, fields = list(table.columns), list(table.schema)
    for number, name, nullable, nodes in apart:
        column = arrow.chunked_array([joiner.array(node) for node in of(list, nodes)])
        columns.insert(of(int, number), column)
        fields.insert(number, arrow.field(of(str, name), column.type, of(bool, nullable)))
    table = arrow.Table.from_arrays(columns, schema=arrow.schema(fields))
    table.validate()
    return table


def _taken_stream(decoder: Decoder) -> Any:
    arrow = load("pyarrow")
    data = decoder.take(bytearray)
    arrow_stream.check(memoryview(data))
    try:
        table = arrow.ipc.open_stream(arrow.py_buffer(data)).read_all()
        arrow_stream.refuse_metadata(table.schema)
        table.validate(full=True)
    except (arrow.ArrowException, OSError, NotImplementedError) as error:
        raise DecodeError("an Arrow stream that is broken: %s" % error)
    # A row without a byte of its own, as of a table without columns, takes some once it is looked at.
    decoder.reserve(_ROW_BYTES * table.num_rows)
    return plain(table, ("A table",))


def _only(table: Any) -> Any:
    (column,) = table.columns
    return column


def _decoded_arrow(decoder: Decoder, parts: Any) -> Any:
    kind, apart = of(list, parts)
    table = take(decoder, apart)
    if kind == "Table":
        return table
    if kind == "RecordBatch":
        arrays = [one_array(column) for column in table.columns]
        return load("pyarrow").RecordBatch.from_arrays(arrays, schema=table.schema)
    if kind not in ("ChunkedArray", "Array"):
        raise DecodeError("an Arrow object that can't cross")
    column = _only(table)
    return column if kind == "ChunkedArray" else one_array(column)


def one_array(column: Any) -> Any:
    """Return the chunks of a column in one array."""
    arrow = load("pyarrow")
    if column.num_chunks == 1:
        return column.chunk(0)
    return arrow.concat_arrays(column.chunks) if column.num_chunks else arrow.nulls(0, column.type)


NODES: Dict[str, Decode] = {"arrow": _decoded_arrow}
