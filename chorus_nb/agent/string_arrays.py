"""NumPy's arrays of variable-width text (``StringDType``): the lengths of the texts, and their UTF-8 one after another.

NumPy keeps such text behind pointers, so that an array's bytes mean nothing elsewhere. What stands for a missing text
(``na_object``) may be any object; those cross that NumPy's documentation names: None, NaN, text, and pandas' NA.
"""

import sys
from typing import Any, List

from .arrays import load, shape_of
from .decoding import Decoder, of
from .encoding import Encoder
from .values import CrossingError, DecodeError, Path

_ITEM_BYTES = 16
_MISSING = -1
_AT_ONCE = 2**14
"""Texts that are objects of Python's at one time."""


def encoded(encoder: Encoder, value: Any, path: Path) -> Any:
    """Return the node of an array of ``StringDType``."""
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    flat = (value if order == "C" else value.T).reshape(-1)
    encoder.count(_ITEM_BYTES * flat.size, path)
    lengths, data = sys.modules["numpy"].empty(flat.size, "<i8"), bytearray()
    for start in range(0, flat.size, _AT_ONCE):
        texts = [item.encode() if isinstance(item, str) else None for item in flat[start : start + _AT_ONCE].tolist()]
        lengths[start : start + len(texts)] = [_MISSING if text is None else len(text) for text in texts]
        data += b"".join(text for text in texts if text)
    encoder.add(["<i8", [flat.size], "C"], lambda put: put(memoryview(lengths).cast("B")), path, lengths.nbytes)
    encoder.add(len(data), lambda put: put(memoryview(data)), path)
    missing = _encoded_missing(encoder, value.dtype, path)
    return {"strings": [list(value.shape), order, missing, bool(value.dtype.coerce)]}


def _encoded_missing(encoder: Encoder, dtype: Any, path: Path) -> List[Any]:
    if not hasattr(dtype, "na_object"):
        return []
    missing = dtype.na_object
    if not _can_be_missing(missing):
        problem = "is an array of the dtype %s, whose na_object can't cross" % dtype
        raise CrossingError(path, problem, "@.astype(numpy.dtypes.StringDType(na_object=None)) can, or @.tolist().")
    return [encoder.encode(missing, path)]


def _can_be_missing(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    is_na = pandas is not None and value is pandas.NA
    return value is None or type(value) is str or (type(value) is float and value != value) or is_na


def _decoded(decoder: Decoder, parts: Any) -> Any:
    shape, order, missing, coerce = of(list, parts)
    lengths, data = decoder.take(load("numpy").ndarray), decoder.take(bytearray)
    size = 1
    for length in shape_of(shape):
        size *= length
    if order not in ("C", "F") or lengths.dtype != "<i8" or lengths.shape != (size,):
        raise DecodeError("an array of text that is none")
    decoder.reserve(_ITEM_BYTES * size)
    value = load("numpy").empty(shape, _dtype(decoder, missing, coerce), order)
    _fill(value.reshape(-1) if order == "C" else value.T.reshape(-1), lengths, data, missing)
    return value


def _dtype(decoder: Decoder, missing: Any, coerce: Any) -> Any:
    kind = getattr(getattr(load("numpy"), "dtypes", None), "StringDType", None)
    if kind is None:
        problem = "of the dtype StringDType needs NumPy 2 %s"
        raise CrossingError(("An array",), problem, "Update NumPy there, or send the array's .astype(str).")
    values = decoder.values(missing)
    if len(values) > 1 or not all(map(_can_be_missing, values)):
        raise DecodeError("a missing text of no kind that can cross")
    options = {"na_object": values[0]} if values else {}
    return kind(coerce=of(bool, coerce), **options)


def _fill(flat: Any, lengths: Any, data: bytearray, missing: List[Any]) -> None:
    """Put texts into an array of one dimension."""
    if not missing and (lengths < 0).any():
        raise DecodeError("a missing text where there can't be one")
    at = 0
    for start in range(0, len(flat), _AT_ONCE):
        texts = []
        for length in lengths[start : start + _AT_ONCE].tolist():
            if length < _MISSING or at + length > len(data):
                raise DecodeError("a text of %d bytes" % length)
            texts.append(flat.dtype.na_object if length == _MISSING else data[at : at + length].decode())
            at += max(0, length)
        flat[start : start + len(texts)] = texts
    if at != len(data):
        raise DecodeError("text that belongs to nothing")


NODES = {"strings": _decoded}
