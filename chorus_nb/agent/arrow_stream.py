"""Arrow's IPC streams, looked at before Arrow reads them, and the types of what it has read.

Arrow itself unpacks compressed buffers to whatever size they name, and hands extension types to whoever has registered
for them. Both are told by the messages' metadata (Arrow Columnar Format, "Encapsulated message format";
``Message.fbs``), which :func:`check` walks; tables of flatbuffers are read by their offsets, as that format defines.
"""

import struct
from typing import Any, Iterator, Optional, Tuple

from .arrays import load
from .values import CrossingError, DecodeError, Path

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
_MAX_LEVELS = 32


def check(data: memoryview) -> None:
    """Raise :class:`DecodeError` for a stream that is compressed, has extension types, or is none."""
    try:
        for number, (kind, header, metadata) in enumerate(_messages(data)):
            if (kind == _SCHEMA) != (number == 0):
                raise DecodeError("an Arrow stream with a schema where there can't be one")
            if kind == _SCHEMA and b"ARROW:extension" in bytes(metadata):
                raise DecodeError("an Arrow extension type")
            if kind == _DICTIONARY:
                header = _table_at(metadata, header, 1)
            if kind != _SCHEMA and _field(metadata, header, 3):
                raise DecodeError("an Arrow stream with compressed buffers")
    except struct.error:
        raise DecodeError("an Arrow stream that is cut")


def _messages(data: memoryview) -> Iterator[Tuple[int, int, memoryview]]:
    """Yield the type of each message, where its header begins, and the metadata that holds it."""
    at = 0
    while at < len(data):
        mark, size = struct.unpack_from("<Ii", data, at)
        if mark != _CONTINUATION or size < 0 or size % 8:
            raise DecodeError("no Arrow stream")
        if size == 0:
            if at + 8 != len(data):
                raise DecodeError("an Arrow stream that goes on after its end")
            return
        metadata = data[at + 8 : at + 8 + size]
        (root,) = struct.unpack_from("<I", metadata, 0)
        kind = metadata[_field(metadata, root, 1) or 0]
        if kind not in (_SCHEMA, _DICTIONARY, _RECORDS):
            raise DecodeError("an Arrow message of the type %d" % kind)
        yield kind, _table_at(metadata, root, 2), metadata
        length_at = _field(metadata, root, 3)
        length = struct.unpack_from("<q", metadata, length_at)[0] if length_at else 0
        if length < 0 or length % 8:
            raise DecodeError("an Arrow message of %d bytes" % length)
        at += 8 + size + length
    if at != len(data):
        raise DecodeError("an Arrow stream that is cut")


def _table_at(metadata: memoryview, table: int, slot: int) -> int:
    at = _field(metadata, table, slot)
    if at is None:
        raise DecodeError("an Arrow message without a header")
    return at + int(struct.unpack_from("<I", metadata, at)[0])


def _field(metadata: memoryview, table: int, slot: int) -> Optional[int]:
    """Return where a field of a flatbuffer's table is, None where it has its default."""
    (to_vtable,) = struct.unpack_from("<i", metadata, table)
    vtable = table - to_vtable
    if vtable < 0:
        raise DecodeError("a table of a flatbuffer before its beginning")
    (size,) = struct.unpack_from("<H", metadata, vtable)
    if 4 + 2 * slot >= size:
        return None
    (offset,) = struct.unpack_from("<H", metadata, vtable + 4 + 2 * slot)
    return table + offset if offset else None


def refuse_types(schema: Any, path: Path) -> None:
    """Raise :class:`CrossingError` for a schema with a type that can't cross."""
    for field in schema:
        problem = _problem(field.type, 0)
        if problem:
            whole = str(field.type)[:80]
            problem = problem if problem.endswith(whole) else "%s in %s" % (problem, whole)
            column = (path, "item", field.name) if field.name else path
            raise CrossingError(column, "is a column of %s, which can't cross" % problem, "Cast it to another type.")


def _problem(kind: Any, level: int) -> str:
    """Return what is wrong with a type: what runs code, and what says it is long without having the bytes for it."""
    arrow = load("pyarrow")
    types = arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        return "the Arrow extension type %s" % kind.extension_name
    hollow = types.is_fixed_size_list(kind) and kind.list_size == 0
    hollow = hollow or (types.is_fixed_size_binary(kind) and kind.byte_width == 0)
    hollow = hollow or (types.is_struct(kind) and kind.num_fields == 0) or (types.is_null(kind) and level > 0)
    if level > _MAX_LEVELS or hollow or _is_indirect(kind):
        return "the Arrow type %s" % str(kind)[:80]
    if types.is_dictionary(kind):
        return _problem(kind.value_type, level + 1)
    for number in range(kind.num_fields):
        problem = _problem(kind.field(number).type, level + 1)
        if problem:
            return problem
    return ""


def _is_indirect(kind: Any) -> bool:
    """Whether an array of this type may show the same bytes again and again."""
    types = load("pyarrow").types
    names = ("union", "run_end_encoded", "list_view", "large_list_view", "string_view", "binary_view")
    return any(getattr(types, "is_" + name, lambda _: False)(kind) for name in names)


def refuse_metadata(schema: Any) -> None:
    """Raise :class:`DecodeError` for a schema with metadata on any level: pandas and polars act by what it says."""
    if schema.metadata is not None or any(map(_has_metadata, schema)):
        raise DecodeError("metadata in an Arrow stream")


def _has_metadata(field: Any) -> bool:
    kind = field.type
    while load("pyarrow").types.is_dictionary(kind):
        kind = kind.value_type
    return field.metadata is not None or any(_has_metadata(kind.field(number)) for number in range(kind.num_fields))


def bare(schema: Any) -> Any:
    """Return a schema without metadata."""
    return load("pyarrow").schema([_bare_field(field) for field in schema])


def _bare_field(field: Any) -> Any:
    return load("pyarrow").field(field.name, _bare_type(field.type), field.nullable)


def _bare_type(kind: Any) -> Any:
    arrow = load("pyarrow")
    types = arrow.types
    if types.is_dictionary(kind):
        return arrow.dictionary(kind.index_type, _bare_type(kind.value_type), kind.ordered)
    if types.is_struct(kind):
        return arrow.struct([_bare_field(kind.field(number)) for number in range(kind.num_fields)])
    if types.is_map(kind):
        return arrow.map_(_bare_field(kind.key_field), _bare_field(kind.item_field), kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return arrow.list_(_bare_field(kind.value_field), kind.list_size)
    if types.is_list(kind):
        return arrow.list_(_bare_field(kind.value_field))
    return arrow.large_list(_bare_field(kind.value_field)) if types.is_large_list(kind) else kind
