"""Tables and columns of polars, as Arrow IPC streams.

Arrow has no type for a polars ``Enum``: polars writes its categories into Arrow's metadata, which does not cross. They
cross as values instead, and the column is cast back.
"""

import io
import sys
from typing import Any, Dict, List, Optional, Tuple

from . import tables
from .arrays import load
from .decoding import Decode, Decoder, all_of, of
from .encoding import Encode, Encoder
from .values import CrossingError, DecodeError, Path


def encoder_of(value: Any) -> Optional[Encode]:
    """Return what encodes a value where it is a table or a column of polars, else None."""
    if type(value).__module__.partition(".")[0] != "polars":
        return None
    polars = sys.modules["polars"]
    kinds: Dict[Any, Encode] = {polars.DataFrame: _frame, polars.Series: _series}
    return kinds.get(type(value))


def _frame(encoder: Encoder, value: Any, path: Path) -> Any:
    return {"polars": [_table(encoder, value, path)]}


def _series(encoder: Encoder, value: Any, path: Path) -> Any:
    name = encoder.encode(value.name, path)
    return {"polars": [_table(encoder, value.rename("").to_frame(), path), name]}


def _table(encoder: Encoder, value: Any, path: Path) -> Any:
    """Add a table, and return the node of what its columns have to be cast to."""
    polars = load("polars")
    load("pyarrow", path)
    if value.height and not value.width:
        raise CrossingError(path, "is a table of rows without columns, which Arrow does not have", "Add a column.")
    try:
        # In the newest form text would be views, of which many may show the same bytes.
        table = value.to_arrow(compat_level=polars.CompatLevel.oldest())
        table = tables.plain(table, path)
        arrived = _reread(table).schema
    except _errors() as error:
        raise CrossingError(path, "is a table that Arrow has no types for (%s)" % error, "Cast it to other types.")
    words = []
    for (name, kind), arrives in zip(value.schema.items(), arrived.values()):
        word = _word(kind, arrives)
        if _target(arrives, word) != kind:
            column = (path, "item", name) if name else path
            raise CrossingError(column, "is a column of %s, which would arrive as %s" % (kind, arrives), "Cast it.")
        words.append(word)
    tables.add_stream(encoder, table, path)
    return encoder.encode(words, path)


def _reread(table: Any) -> Any:
    """Return an empty table as the receiver has it."""
    stream = io.BytesIO()
    tables.write(table.slice(0, 0), stream)
    return load("polars").from_arrow(load("pyarrow").ipc.open_stream(stream.getvalue()).read_all())


def _errors() -> Tuple[Any, ...]:
    polars, arrow = load("polars"), load("pyarrow")
    errors = polars.exceptions
    return (errors.PolarsError, getattr(errors, "PanicException", errors.PolarsError), arrow.ArrowException)


def _word(kind: Any, arrives: Any) -> Any:
    """Return how a type is made of the one that arrives, None where it is that."""
    polars = load("polars")
    if kind == arrives:
        return None
    if isinstance(kind, polars.Enum):
        return ["enum", kind.categories.to_list()]
    if isinstance(kind, polars.List) and isinstance(arrives, polars.List):
        return ["list", _word(kind.inner, arrives.inner)]
    if isinstance(kind, polars.Struct) and isinstance(arrives, polars.Struct):
        return ["struct", [_word(one.dtype, other.dtype) for one, other in zip(kind.fields, arrives.fields)]]
    return None


def _target(arrives: Any, word: Any) -> Any:
    """Return the type that :func:`_word` has described. Raises :class:`DecodeError`."""
    polars = load("polars")
    if word is None:
        return arrives
    kind, parts = of(list, word)
    if kind == "enum" and isinstance(arrives, polars.Categorical):
        return polars.Enum(all_of(str, parts, len(of(list, parts))))
    if kind == "list" and isinstance(arrives, polars.List):
        return polars.List(_target(arrives.inner, parts))
    if kind == "struct" and isinstance(arrives, polars.Struct) and len(arrives.fields) == len(of(list, parts)):
        fields = zip(arrives.fields, parts)
        return polars.Struct([polars.Field(field.name, _target(field.dtype, part)) for field, part in fields])
    raise DecodeError("a type of polars that can't cross")


def _decoded(decoder: Decoder, parts: Any) -> Any:
    polars = load("polars", ("A table",))
    load("pyarrow", ("A table",))
    words, *name = decoder.values(parts)
    taken = tables.take(decoder, [])
    try:
        table = _cast(polars.from_arrow(taken), of(list, words))
        table.columns = taken.column_names  # It renames one without a name.
    except _errors() as error:
        raise CrossingError(("A table",), "is one that polars does not take (%s)" % error, "Send it as an Arrow table.")
    return table.to_series().alias(*all_of(str, name, 1)) if name else table


def _cast(table: Any, words: List[Any]) -> Any:
    if len(words) != table.width:
        raise DecodeError("a table with types for other columns")
    if not any(words):
        return table
    columns = [
        column if word is None else column.cast(_target(column.dtype, word))
        for column, word in zip(table.get_columns(), words)
    ]
    return load("polars").DataFrame(columns)


NODES: Dict[str, Decode] = {"polars": _decoded}
