"""Tables of Arrow and polars, and columns of them, as an Arrow IPC stream, without metadata."""

import sys
from typing import Any, Dict, Optional

from . import arrow_stream
from .arrays import load
from .decoding import Decode, Decoder, all_of
from .encoding import Encode, Encoder
from .values import CrossingError, DecodeError, Path, Put

_ARROW = ("Table", "RecordBatch", "ChunkedArray")


def encoder_of(value: Any) -> Optional[Encode]:
    """Return what encodes a value where it is a table of Arrow or polars, or a column of one; else None."""
    package = type(value).__module__.partition(".")[0]
    if package == "pyarrow":
        return _of_arrow(value)
    return _of_polars(value) if package == "polars" else None


def _of_arrow(value: Any) -> Optional[Encode]:
    arrow = sys.modules["pyarrow"]
    if type(value) in [getattr(arrow, name) for name in _ARROW]:
        return _arrow
    return _array if isinstance(value, arrow.Array) else None


def _arrow(encoder: Encoder, value: Any, path: Path) -> Any:
    kind, arrow = type(value).__name__, sys.modules["pyarrow"]
    if kind == "RecordBatch":
        table = arrow.Table.from_batches([value])
    else:
        table = arrow.table({"": value}) if kind == "ChunkedArray" else value
    add(encoder, table, path)
    return {"arrow": kind}


def _array(encoder: Encoder, value: Any, path: Path) -> Any:
    add(encoder, sys.modules["pyarrow"].table({"": value}), path)
    return {"arrow": "Array"}


def add(encoder: Encoder, table: Any, path: Path) -> None:
    """Add an Arrow table as a buffer."""
    arrow = load("pyarrow", path)
    table = plain(table, path)
    counter = arrow.MockOutputStream()
    _write(arrow, table, counter)
    encoder.add(counter.size(), lambda put: _write(arrow, table, arrow.PythonFile(_Sink(put), "w")), path)


def plain(table: Any, path: Path) -> Any:
    """Return a table without its metadata. Raises :class:`CrossingError` for types that can't cross."""
    arrow = load("pyarrow")
    arrow_stream.refuse_types(table.schema, path)
    schema = arrow.schema([arrow.field(field.name, field.type, field.nullable) for field in table.schema])
    return arrow.Table.from_arrays(table.columns, schema=schema).unify_dictionaries()


def _write(arrow: Any, table: Any, sink: Any) -> None:
    with arrow.ipc.new_stream(sink, table.schema) as writer:
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


def take(decoder: Decoder) -> Any:
    """Return the next buffer, a table, checked in full. Raises :class:`DecodeError`."""
    arrow = load("pyarrow", ("A table",))
    data = decoder.take(bytearray)
    arrow_stream.check(memoryview(data))
    try:
        table = arrow.ipc.open_stream(arrow.py_buffer(data)).read_all()
        table.validate(full=True)
    except (arrow.ArrowException, OSError, NotImplementedError) as error:
        raise DecodeError("an Arrow stream that is broken: %s" % error)
    # A row without a byte of its own, as of a table without columns, takes some once it is looked at.
    decoder.reserve(8 * table.num_rows)
    return plain(table, ("A table",))


def _decoded_arrow(decoder: Decoder, kind: Any) -> Any:
    table = take(decoder)
    if kind == "Table":
        return table
    if kind == "RecordBatch":
        return table.combine_chunks().to_batches()[0] if table.num_rows else _empty_batch(table.schema)
    (column,) = table.columns
    if kind not in ("ChunkedArray", "Array"):
        raise DecodeError("an Arrow object that can't cross")
    return column if kind == "ChunkedArray" else one_array(column)


def _empty_batch(schema: Any) -> Any:
    arrow = load("pyarrow")
    return arrow.RecordBatch.from_arrays([arrow.array([], field.type) for field in schema], schema=schema)


def one_array(column: Any) -> Any:
    """Return the chunks of a column in one array."""
    arrow = load("pyarrow")
    return arrow.concat_arrays(column.chunks) if column.num_chunks else arrow.array([], column.type)


def _of_polars(value: Any) -> Optional[Encode]:
    polars = sys.modules["polars"]
    kinds: Dict[Any, Encode] = {polars.DataFrame: _polars_frame, polars.Series: _polars_series}
    return kinds.get(type(value))


def _polars_frame(encoder: Encoder, value: Any, path: Path) -> Any:
    polars = load("polars")
    load("pyarrow", path)
    try:
        # In the newest form text would be views, of which many may show the same bytes.
        table = plain(value.to_arrow(compat_level=polars.CompatLevel.oldest()), path)
        after = polars.from_arrow(table.slice(0, 0)).schema
    except polars.exceptions.PolarsError as error:
        raise CrossingError(path, "is a table that Arrow has no types for (%s)" % error, "Cast it to other types.")
    for (name, kind), arrives in zip(value.schema.items(), after.values()):
        if arrives != kind:
            column = (path, "item", name)
            raise CrossingError(column, "is a column of %s, which would arrive as %s" % (kind, arrives), "Cast it.")
    add(encoder, table, path)
    return {"polars": []}


def _polars_series(encoder: Encoder, value: Any, path: Path) -> Any:
    name = encoder.encode(value.name, path)
    _polars_frame(encoder, value.rename("").to_frame(), path)
    return {"polars": [name]}


def _decoded_polars(decoder: Decoder, parts: Any) -> Any:
    polars = load("polars", ("A table",))
    name = decoder.values(parts)
    taken = take(decoder)
    try:
        table = polars.from_arrow(taken)
        table.columns = taken.column_names  # It renames one without a name.
    except polars.exceptions.PolarsError as error:
        raise CrossingError(("A table",), "is one that polars does not take (%s)" % error, "Send it as an Arrow table.")
    return table.to_series().alias(*all_of(str, name, 1)) if name else table


NODES: Dict[str, Decode] = {"arrow": _decoded_arrow, "polars": _decoded_polars}
