"""Tables of pandas, column by column.

A column is an array where NumPy has it, arrays and a few words where pandas has a dtype of its own
(:mod:`extension_columns`), an Arrow IPC stream where it is text or Arrow's own, and a list of values where it holds
objects, so that each comes back as what it was. The names of columns, the index and its names are values like
any other. Arrow's metadata for pandas is not used: to put a table together by it, Arrow evaluates and looks up what it
names.
"""

import re
import sys
from typing import Any, Dict, List, Optional

from . import arrays, extension_columns, tables
from .arrays import decoded_array, load
from .decoding import Decode, Decoder, all_of, decoded_tzinfo, of
from .encoding import Encode, Encoder, encoded_timezone
from .extension_columns import flat, part, zone_of_pandas
from .values import CrossingError, DecodeError, Path

_FREQUENCY = re.compile(r"-?\d{0,9}[A-Za-z]{1,8}(-[A-Z]{3})?", re.ASCII)


def encoder_of(value: Any) -> Optional[Encode]:
    """Return what encodes a value where it is pandas', else None."""
    pandas = sys.modules.get("pandas")
    if pandas is None or type(value).__module__.partition(".")[0] != "pandas":
        return None
    if value is pandas.NaT or value is pandas.NA:
        return lambda encoder, value, path: {"missing": "NaT" if value is pandas.NaT else "NA"}
    kinds: Dict[Any, Encode] = {
        pandas.DataFrame: _frame,
        pandas.Series: _series,
        pandas.Timestamp: _timestamp,
        pandas.Timedelta: lambda encoder, value, path: {"Timedelta": [int(value.asm8.view("i8")), _unit(value)]},
    }
    if isinstance(value, pandas.Index):
        return _index
    return kinds.get(type(value)) or extension_columns.encoder_of(value)


def _frame(encoder: Encoder, value: Any, path: Path) -> Any:
    labels = _labels(encoder, value.columns, path)
    index = _labels(encoder, value.index, (path, "field", "index"))
    columns = [_column(encoder, column.array, (path, "item", name)) for name, column in value.items()]
    return {"DataFrame": [labels, index, columns, *_attrs(encoder, value, path)]}


def _series(encoder: Encoder, value: Any, path: Path) -> Any:
    name = encoder.encode(value.name, (path, "field", "name"))
    index = _labels(encoder, value.index, (path, "field", "index"))
    return {"Series": [name, index, _column(encoder, value.array, path), *_attrs(encoder, value, path)]}


def _attrs(encoder: Encoder, value: Any, path: Path) -> List[Any]:
    """Return the node of what the user has noted about a table, where that is anything."""
    return [encoder.encode(value.attrs, (path, "field", "attrs"))] if value.attrs else []


def _index(encoder: Encoder, value: Any, path: Path) -> Any:
    return {"Index": _labels(encoder, value, path)}


def _labels(encoder: Encoder, index: Any, path: Path) -> Any:
    """Return the parts of an index: a range, or names and columns, and how far apart dates are."""
    names = [encoder.encode(name, (path, "field", "name")) for name in index.names]
    if type(index).__name__ == "RangeIndex":
        encoder.count(len(index), path)  # As the receiver does.
        return ["range", names, [index.start, index.stop, index.step]]
    if index.nlevels > 1:
        levels = [_column(encoder, index.get_level_values(number).array, path) for number in range(index.nlevels)]
        return ["levels", names, levels]
    frequency = None if type(index).__name__ == "PeriodIndex" else getattr(index, "freqstr", None)
    return ["flat", names, [_column(encoder, index.array, path)], frequency]


def _column(encoder: Encoder, array: Any, path: Path) -> Any:
    if type(array.dtype).__name__ in ("NumpyEADtype", "PandasDtype"):  # The latter before pandas 2.2.
        array = array.to_numpy()
    dtype, name = array.dtype, type(array.dtype).__name__
    encode = _COLUMNS.get(name)
    if encode:
        return encode(encoder, array, path)
    numpy = load("numpy")
    if not isinstance(dtype, numpy.dtype):
        raise CrossingError(path, "is a column of the dtype %s, which can't cross" % dtype, "Cast it.")
    data = numpy.asarray(array)
    return _objects(encoder, data, path) if dtype.kind == "O" else arrays.column(encoder, data, path)


def _objects(encoder: Encoder, data: Any, path: Path) -> Any:
    items = data.tolist()
    if items and set(map(type, items)) == {str} and "pyarrow" in sys.modules:
        try:
            return _text(encoder, items, path, "object")
        except UnicodeEncodeError:
            pass  # Lone surrogates, which Arrow does not have.
    return {"objects": encoder.values(items, path)}


def _text(encoder: Encoder, items: Any, path: Path, kind: str) -> Any:
    arrow = load("pyarrow", path)
    column = arrow.array(items, arrow.large_string(), from_pandas=True)
    tables.add(encoder, arrow.table({"": column}), path)
    return {"text": kind}


def _strings(encoder: Encoder, array: Any, path: Path) -> Any:
    pandas = sys.modules["pandas"]
    kind = array.dtype.storage + ("/NA" if array.dtype.na_value is pandas.NA else "/nan")
    return _text(encoder, array.to_numpy(object), path, kind)


def _categories(encoder: Encoder, array: Any, path: Path) -> Any:
    codes = arrays.column(encoder, array.codes, path)
    return {"categories": [codes, _labels(encoder, array.categories, path), bool(array.ordered)]}


def _arrow(encoder: Encoder, array: Any, path: Path) -> Any:
    arrow = load("pyarrow", path)
    return {"arrow": tables.add(encoder, arrow.table({"": array.__arrow_array__()}), path)}


_COLUMNS: Dict[str, Encode] = {
    "StringDtype": _strings,
    "CategoricalDtype": _categories,
    "ArrowDtype": _arrow,
    **extension_columns.COLUMNS,
}


def _unit(value: Any) -> str:
    return getattr(value, "unit", "ns")  # pandas before 2 has no others.


def _timestamp(encoder: Encoder, value: Any, path: Path) -> Any:
    utc = value.tz_convert("UTC").tz_localize(None) if value.tz is not None else value
    stamp = [int(utc.asm8.view("i8")), _unit(value), value.fold]
    return {"Timestamp": [*stamp, encoded_timezone(encoder, value.tz, path)]}


# Back again


def _decoded_frame(decoder: Decoder, parts: Any) -> Any:
    pandas = load("pandas", ("A table",))
    labels, index, columns, *attrs = of(list, parts)
    names, rows = _decoded_labels(decoder, labels), _decoded_labels(decoder, index)
    # Not by their names, of which two may be equal; and not copied.
    data = {number: _made_series(_decoded_column(decoder, each), rows) for number, each in enumerate(of(list, columns))}
    if len(data) != len(names):
        raise DecodeError("a table with names for other columns")
    frame = pandas.DataFrame(data, index=rows, columns=range(len(data)) if data else None, copy=False)
    frame.columns = names
    return _with_attrs(decoder, frame, attrs)


def _with_attrs(decoder: Decoder, value: Any, nodes: Any) -> Any:
    if nodes:
        value.attrs = of(dict, *decoder.values(nodes))
    return value


def _decoded_series(decoder: Decoder, parts: Any) -> Any:
    name, index, column, *attrs = of(list, parts)
    name, rows = decoder.decode(name), _decoded_labels(decoder, index)
    return _with_attrs(decoder, _made_series(_decoded_column(decoder, column), rows).rename(name), attrs)


def _made_series(data: Any, rows: Any) -> Any:
    if len(data) != len(rows):
        raise DecodeError("a column that is not as long as its index")
    # With its dtype: pandas would look at objects, and find text.
    return load("pandas").Series(data, index=rows, dtype=data.dtype, copy=False)


def _decoded_labels(decoder: Decoder, parts: Any) -> Any:
    pandas = load("pandas", ("An index",))
    kind, names, columns, *frequency = of(list, parts)
    names = decoder.values(names)
    if kind == "range":
        (name,) = names
        span = range(*all_of(int, columns, 3))
        # It takes no memory before it is looked at.
        decoder.reserve(len(span))
        return pandas.RangeIndex(span, name=name)
    found = [_decoded_column(decoder, each) for each in of(list, columns)]
    if kind == "levels":
        return pandas.MultiIndex.from_arrays([_made_index(pandas, each) for each in found], names=names)
    if kind != "flat":
        raise DecodeError("an index that is none")
    (data,), (name,) = found, names
    return _with_frequency(_made_index(pandas, data).rename(name), *frequency)


def _made_index(pandas: Any, data: Any) -> Any:
    if data.dtype.kind in "mM" and not hasattr(pandas.Timestamp, "unit"):
        return pandas.Index(data)  # Before pandas 2, which knows nanoseconds alone.
    return pandas.Index(data, dtype=data.dtype, copy=False)


def _with_frequency(index: Any, frequency: Any) -> Any:
    """Have an index of times say how far apart they are, where that is so; versions of pandas name it differently."""
    if frequency is None or not _FREQUENCY.fullmatch(of(str, frequency)):
        return index
    try:
        return type(index)(index, freq=frequency)
    except (TypeError, ValueError):
        return index


def _decoded_column(decoder: Decoder, node: Any) -> Any:
    ((kind, parts),) = of(dict, node).items()
    if kind == "ndarray":
        return flat(decoded_array(decoder, parts))
    if kind not in _DECODED_COLUMNS:
        raise DecodeError("a column of the kind %r" % kind[:40])
    return _DECODED_COLUMNS[kind](decoder, parts)


def _decoded_objects(decoder: Decoder, parts: Any) -> Any:
    numpy = load("numpy")
    values = decoder.values(parts)
    data = numpy.empty(len(values), object)
    for number, value in enumerate(values):
        data[number] = value
    return data


def _decoded_text(decoder: Decoder, kind: Any) -> Any:
    pandas, arrow = load("pandas"), load("pyarrow", ("A column of text",))
    (column,) = tables.take(decoder, []).columns
    if column.type != arrow.large_string():
        raise DecodeError("a column of text that is none")
    if kind == "object":
        return load("numpy").array(column.to_pylist(), dtype=object)
    storage, _, missing = of(str, kind).partition("/")
    if storage not in ("python", "pyarrow") or missing not in ("NA", "nan"):
        raise DecodeError("a column of text of the kind %r" % kind[:40])
    if missing == "nan":
        return _text_with_nan(column, storage)
    dtype = pandas.StringDtype(storage)
    try:
        return dtype.__from_arrow__(column)
    except ValueError:  # pandas before 2.2 takes the smaller type alone.
        return dtype.__from_arrow__(column.cast(arrow.string()))


def _text_with_nan(column: Any, storage: str) -> Any:
    """Return text as pandas 3 has it; before pandas 2.3 this is a column of objects."""
    pandas = load("pandas")
    try:
        return pandas.StringDtype(storage, na_value=float("nan")).__from_arrow__(column)
    except TypeError:
        items = [float("nan") if text is None else text for text in column.to_pylist()]
        return load("numpy").array(items, dtype=object)


def _decoded_categories(decoder: Decoder, parts: Any) -> Any:
    codes, labels, ordered = of(list, parts)
    codes, categories = part(decoder, codes), _decoded_labels(decoder, labels)
    return load("pandas").Categorical.from_codes(codes, categories=categories, ordered=of(bool, ordered))


def _decoded_arrow(decoder: Decoder, apart: Any) -> Any:
    (column,) = tables.take(decoder, apart).columns
    return load("pandas").arrays.ArrowExtensionArray(column)


_DECODED_COLUMNS: Dict[str, Decode] = {
    "objects": _decoded_objects,
    "text": _decoded_text,
    "categories": _decoded_categories,
    "arrow": _decoded_arrow,
    **extension_columns.DECODED,
}


def _decoded_timestamp(decoder: Decoder, parts: Any) -> Any:
    number, unit, fold, zone = of(list, parts)
    pandas = load("pandas", ("A time",))
    stamp = _in_unit(pandas.Timestamp(_counted("M", number, unit)), unit)
    zone = decoded_tzinfo(decoder, zone)
    stamp = stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone_of_pandas(zone))
    return stamp.replace(fold=1) if of(int, fold) else stamp


def _decoded_timedelta(decoder: Decoder, parts: Any) -> Any:
    number, unit = of(list, parts)
    return _in_unit(load("pandas", ("A duration",)).Timedelta(_counted("m", number, unit)), unit)


def _in_unit(value: Any, unit: str) -> Any:
    return value.as_unit(unit) if hasattr(value, "as_unit") else value


def _counted(kind: str, number: Any, unit: Any) -> Any:
    if unit not in ("s", "ms", "us", "ns"):
        raise DecodeError("a time in a unit that is none")
    return load("numpy").int64(of(int, number)).view("%s8[%s]" % (kind, unit))


def _decoded_missing(decoder: Decoder, name: Any) -> Any:
    return getattr(load("pandas", ("A value",)), {"NaT": "NaT", "NA": "NA"}[name])


NODES: Dict[str, Decode] = {
    "DataFrame": _decoded_frame,
    "Series": _decoded_series,
    "Index": lambda decoder, parts: _decoded_labels(decoder, parts),
    "Timestamp": _decoded_timestamp,
    "Timedelta": _decoded_timedelta,
    "missing": _decoded_missing,
    **extension_columns.NODES,
}
