"""Columns of pandas' own dtypes: arrays of NumPy, and a few words of closed sets.

Times with a zone, integers with a mask, periods, intervals and sparse columns are made again by pandas' public
constructors, of parts that were checked before. What a period's frequency is called differs between versions of pandas:
it crosses by the names that pandas has had since 2.2, and is given to older ones by theirs.
"""

import re
import sys
import warnings
from typing import Any, Callable, Dict, List

from . import arrays
from .arrays import decoded_array, load
from .decoding import Decode, Decoder, decoded_tzinfo, of
from .encoding import Encode, Encoder, encoded_timezone
from .values import CrossingError, DecodeError, Path

_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"
_PERIOD = re.compile(r"([1-9]\d{0,8})?([YQ]-(%s)|W-(%s)|[MBDhs]|min|[mun]s)" % (_MONTHS, _DAYS), re.ASCII)
_WRITTEN_PERIOD = re.compile(r"(\d{0,9})([A-Za-z]{1,3})((?:-[A-Z]{3})?)", re.ASCII)
_OLD_NAMES = {"Y": "A", "h": "H", "min": "T", "s": "S", "ms": "L", "us": "U", "ns": "N"}
_NEW_NAMES = {old: new for new, old in _OLD_NAMES.items()}
_CLOSED = ("left", "right", "both", "neither")
_NUMBERS = "biufcmM"
"""Kinds of dtypes (``numpy.dtype.kind``) of which a sparse column can be."""


def _zoned(encoder: Encoder, array: Any, path: Path) -> Any:
    utc = load("numpy").asarray(array.tz_convert("UTC").tz_localize(None))
    return {"zoned": [encoded_timezone(encoder, array.dtype.tz, path), arrays.column(encoder, utc, path)]}


def _masked(encoder: Encoder, array: Any, path: Path) -> Any:
    kind = array.dtype.numpy_dtype
    data = array.to_numpy(kind, na_value=kind.type(0))
    return {"masked": [arrays.column(encoder, data, path), arrays.column(encoder, array.isna(), path)]}


def frequency_of(value: Any, path: Path) -> str:
    """Return the frequency of a period, or of a column of them, by the names of pandas 2.2 and later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Who made the periods was warned of their frequency.
        written = value.freqstr
    found = _WRITTEN_PERIOD.fullmatch(written)
    if found:
        multiple, name, anchor = found.groups()
        frequency = multiple + _NEW_NAMES.get(name, name) + anchor
        if _PERIOD.fullmatch(frequency):
            return frequency
    raise CrossingError(path, "has periods of %s, which can't cross" % written[:40], "@.astype(str) can.")


def _periods(encoder: Encoder, array: Any, path: Path) -> Any:
    return {"periods": [frequency_of(array, path), arrays.column(encoder, array.asi8, path)]}


def _intervals(encoder: Encoder, array: Any, path: Path) -> Any:
    return {"intervals": [array.closed, *[_end(encoder, index, path) for index in (array.left, array.right)]]}


def _end(encoder: Encoder, index: Any, path: Path) -> Any:
    encode = COLUMNS.get(type(index.dtype).__name__)
    if encode in (_zoned, _masked):
        return encode(encoder, index.array, path)
    numpy = load("numpy")
    if not isinstance(index.dtype, numpy.dtype) or index.dtype.kind not in "iufmM":
        problem = "is a column of intervals of %s, which can't cross" % index.dtype
        raise CrossingError(path, problem, "Send their left and right ends.")
    return arrays.column(encoder, numpy.asarray(index), path)


def _sparse(encoder: Encoder, array: Any, path: Path) -> Any:
    values = array.sp_values
    if not isinstance(values, load("numpy").ndarray) or values.dtype.kind not in _NUMBERS:
        raise CrossingError(path, "is a column of the dtype %s, which can't cross" % array.dtype, _DENSE)
    # As the receiver does: it may be long without a value of its own.
    encoder.count(len(array), path)
    fill = encoder.encode(array.fill_value, (path, "field", "fill_value"))
    places = arrays.column(encoder, array.sp_index.to_int_index().indices, path)
    return {"sparse": [array.kind, len(array), fill, places, arrays.column(encoder, values, path)]}


_DENSE = "Its dense form can: .sparse.to_dense()."

COLUMNS: Dict[str, Encode] = {
    "DatetimeTZDtype": _zoned,
    "PeriodDtype": _periods,
    "IntervalDtype": _intervals,
    "SparseDtype": _sparse,
    "BooleanDtype": _masked,
    **{"%s%dDtype" % (name, bits): _masked for name in ("Int", "UInt", "Float") for bits in (8, 16, 32, 64)},
}
"""What encodes a column, by the name of its dtype's type."""


# Back again


def flat(array: Any) -> Any:
    """Return an array that is a column."""
    if array.ndim != 1:
        raise DecodeError("a column of %d dimensions" % array.ndim)
    return array


def part(decoder: Decoder, node: Any) -> Any:
    """Return an array that is a part of a column."""
    if of(dict, node) != {"ndarray": 0}:
        raise DecodeError("no array where there has to be one")
    return flat(decoded_array(decoder, 0))


def zone_of_pandas(zone: Any) -> Any:
    """Return a zone as this pandas makes it of its name: before 3.0 one of pytz, which does not equal Python's own."""
    name = getattr(zone, "key", "UTC")
    if name == "UTC":
        return zone
    try:
        return load("pandas").DatetimeTZDtype(tz=name).tz
    except (KeyError, TypeError, ValueError):
        return zone  # pytz has a list of names of its own.


def _decoded_zoned(decoder: Decoder, parts: Any) -> Any:
    zone, utc = of(list, parts)
    zone, utc = decoded_tzinfo(decoder, zone), part(decoder, utc)
    if zone is None or utc.dtype.kind != "M":
        raise DecodeError("times that are none")
    return load("pandas").DatetimeIndex(utc).tz_localize("UTC").tz_convert(zone_of_pandas(zone)).array


def _decoded_masked(decoder: Decoder, parts: Any) -> Any:
    data, mask = of(list, parts)
    data, mask = part(decoder, data), part(decoder, mask)
    if mask.dtype.kind != "b":
        raise DecodeError("a mask that is none")
    kinds = {"i": "IntegerArray", "u": "IntegerArray", "f": "FloatingArray", "b": "BooleanArray"}
    make: Callable[..., Any] = getattr(load("pandas").arrays, kinds[data.dtype.kind])
    return make(data, mask)


def _decoded_periods(decoder: Decoder, parts: Any) -> Any:
    frequency, ordinals = of(list, parts)
    return periods(frequency, part(decoder, ordinals))


def periods(frequency: Any, ordinals: Any) -> Any:
    """Return a column of periods, of their numbers since 1970. Raises :class:`DecodeError`."""
    found = _PERIOD.fullmatch(of(str, frequency))
    if not found or ordinals.dtype != load("numpy").dtype("i8"):
        raise DecodeError("periods that are none")
    multiple, name = found.group(1) or "", found.group(2)
    base, dash, anchor = name.partition("-")
    pandas, names = load("pandas"), [multiple + name, multiple + _OLD_NAMES.get(base, base) + dash + anchor]
    return pandas.arrays.PeriodArray(ordinals, dtype=_period_dtype(pandas, names))


def _period_dtype(pandas: Any, names: List[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            try:
                return pandas.PeriodDtype(name)
            except (ValueError, KeyError, AttributeError):
                pass  # Another version of pandas.
    raise CrossingError(
        ("A column",), "has periods of %s, which the version of pandas does not know %%s" % names[0], "Send text."
    )


def closed(word: Any) -> str:
    """Return which ends belong to intervals. Raises :class:`DecodeError`."""
    if of(str, word) not in _CLOSED:
        raise DecodeError("intervals that are closed nowhere")
    return str(word)


def _decoded_intervals(decoder: Decoder, parts: Any) -> Any:
    word, *nodes = of(list, parts)
    left, right = [_decoded_end(decoder, node) for node in nodes]
    if left.dtype != right.dtype:
        raise DecodeError("intervals with ends of two types")
    return load("pandas").arrays.IntervalArray.from_arrays(left, right, closed=closed(word))


def _decoded_end(decoder: Decoder, node: Any) -> Any:
    ((kind, parts),) = of(dict, node).items()
    if kind in ("zoned", "masked"):
        return DECODED[kind](decoder, parts)
    data = part(decoder, node)
    if data.dtype.kind not in "iufmM":
        raise DecodeError("intervals of no numbers")
    return data


def _decoded_sparse(decoder: Decoder, parts: Any) -> Any:
    kind, length, fill, places, values = of(list, parts)
    # It takes no memory before it is looked at.
    decoder.reserve(of(int, length))
    fill, places, values = decoder.decode(fill), part(decoder, places), part(decoder, values)
    if values.dtype.kind not in _NUMBERS or kind not in ("integer", "block"):
        raise DecodeError("a sparse column that is none")
    if places.dtype != load("numpy").dtype("i4") or length >= 2**31 or len(places) != len(values):
        raise DecodeError("no places in a sparse column")
    if len(places) and (places[0] < 0 or places[-1] >= length or (places[1:] <= places[:-1]).any()):
        raise DecodeError("places outside a sparse column")
    return _made_sparse(kind, length, _sparse_dtype(values, fill), places, values)


def _sparse_dtype(values: Any, fill: Any) -> Any:
    try:
        return load("pandas").SparseDtype(values.dtype, fill)
    except (TypeError, ValueError):
        problem = "has values of %s, and others where it has none" % values.dtype
        raise CrossingError(("A sparse column",), problem, _DENSE)


def _made_sparse(kind: str, length: int, dtype: Any, places: Any, values: Any) -> Any:
    make = load("pandas").arrays.SparseArray
    if hasattr(make, "from_indices"):
        return make.from_indices(values, places, length, fill_value=dtype.fill_value, kind=kind)
    # Before pandas 3.1 it takes an index, of a class that has no public name.
    index = type(make([0]).sp_index)(length, places)
    return make(values, sparse_index=index.to_block_index() if kind == "block" else index, dtype=dtype)


DECODED: Dict[str, Decode] = {
    "zoned": _decoded_zoned,
    "masked": _decoded_masked,
    "periods": _decoded_periods,
    "intervals": _decoded_intervals,
    "sparse": _decoded_sparse,
}


# Values of such columns


def _period(encoder: Encoder, value: Any, path: Path) -> Any:
    return {"Period": [frequency_of(value, path), int(value.ordinal)]}


def _interval(encoder: Encoder, value: Any, path: Path) -> Any:
    return {"Interval": [value.closed, *encoder.values((value.left, value.right), path)]}


def encoder_of(value: Any) -> Any:
    """Return what encodes a value of pandas where it is one of such a column, else None."""
    pandas = sys.modules["pandas"]
    return {pandas.Period: _period, pandas.Interval: _interval}.get(type(value))


def _decoded_period(decoder: Decoder, parts: Any) -> Any:
    frequency, ordinal = of(list, parts)
    load("pandas", ("A period",))
    return periods(frequency, load("numpy").array([of(int, ordinal)], "i8"))[0]


def _decoded_interval(decoder: Decoder, parts: Any) -> Any:
    word, *ends = of(list, parts)
    left, right = decoder.values(ends)
    return load("pandas", ("An interval",)).Interval(left, right, closed(word))


NODES: Dict[str, Decode] = {"Period": _decoded_period, "Interval": _decoded_interval}
