"""NumPy arrays and scalars of every dtype but objects: dtype, shape and order in the tree, bytes in a buffer.

A dtype is its ``str``, of a strict grammar, or parts: ``["struct", itemsize, [[name, offset, dtype, title], ...]]``
and ``["array", dtype, shape]``. An extended precision float says its mantissa, too: the same name stands for other bits
elsewhere.
"""

import re
import sys
from typing import Any, Callable, Optional, Tuple

from .decoding import Decoder, all_of, of
from .encoding import Encode, Encoder
from .values import CrossingError, DecodeError, Path, Put, type_name, written

_PIECE_BYTES = 2**20
_MAX_NESTING = 16
_MAX_FIELDS = 10_000
_MAX_WORK = 10_000
"""Steps to find out whether two arrays overlap; where that is not enough, they are taken to (numpy.shares_memory)."""
_UNIT = r"\[(\d{1,9})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]"
_SIMPLE = re.compile(
    r"[<>|]?(b1|[iu][1248]|f[248]|c(8|16)|[SUV]\d{1,9}|[mM]8(%s)?)|[<>](f|c)(12|16|24|32)/\d{1,3}" % _UNIT, re.ASCII
)


def encoder_of(value: Any) -> Optional[Encode]:
    """Return what encodes a value where it is NumPy's, else None."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value) is numpy.ndarray:
        return _array
    return _scalar if isinstance(value, numpy.generic) else None


_PACKAGES = {"PIL.Image": "Pillow"}
"""Those that are not called as what is imported of them."""


def load(name: str, path: Path = ("a value",)) -> Any:
    """Import one of the libraries that these files know, and say who needs it where it is not there."""
    try:
        return __import__(name)
    except ImportError:
        package = _PACKAGES.get(name, name)
        raise CrossingError(
            path, "needs the package %s, which is missing %%s" % package, "Install it, or send plain lists and dicts."
        )


def describe(dtype: Any, path: Path) -> Any:
    """Return a dtype as the tree has it. Raises :class:`CrossingError` for one with objects."""
    if dtype.names is not None:
        members = [(name, *dtype.fields[name]) for name in dtype.names]
        return [
            "struct",
            dtype.itemsize,
            [[name, at, describe(kind, path), *title] for name, kind, at, *title in members],
        ]
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", describe(base, path), list(shape)]
    text = dtype.str
    if dtype.kind in "fc" and dtype.itemsize > 8 * (1 + (dtype.kind == "c")):
        text = "%s/%d" % (text.replace("|", "<"), _mantissa())
    if dtype.kind in "OT" or not _SIMPLE.fullmatch(text):
        hint = "@.tolist() can." if dtype.kind == "O" else "@.astype(str) can, or @.tolist()."
        raise CrossingError(path, "is an array of the dtype %s, which can't cross" % dtype, hint)
    return text


def _mantissa() -> int:
    numpy = load("numpy")
    return int(numpy.finfo(numpy.longdouble).nmant)


def dtype_of(description: Any, depth: int = 0) -> Any:
    """Return the dtype that a tree describes. Raises :class:`DecodeError`."""
    numpy = load("numpy")
    if depth > _MAX_NESTING:
        raise DecodeError("a dtype of more than %d levels" % _MAX_NESTING)
    if type(description) is str:
        return numpy.dtype(_checked(description))
    kind, *parts = of(list, description)
    if kind == "array":
        base, shape = parts
        return numpy.dtype((dtype_of(base, depth + 1), shape_of(shape)))
    itemsize, members = parts
    if kind != "struct" or len(of(list, members)) > _MAX_FIELDS:
        raise DecodeError("a dtype that is none")
    fields = [[*of(list, member), None][:4] for member in members]
    return numpy.dtype(
        {
            "names": [of(str, name) for name, _, _, _ in fields],
            "offsets": [of(int, offset) for _, offset, _, _ in fields],
            "formats": [dtype_of(kind, depth + 1) for _, _, kind, _ in fields],
            "titles": [title if title is None else of(str, title) for _, _, _, title in fields],
            "itemsize": of(int, itemsize),
        }
    )


def _checked(text: str) -> str:
    if not _SIMPLE.fullmatch(text):
        raise DecodeError("the dtype %r" % text[:40])
    text, _, mantissa = text.partition("/")
    if mantissa and int(mantissa) != _mantissa():
        raise CrossingError(
            ("an array",), "has extended precision floats, which are others on that machine", "Send them as float64."
        )
    return text


def shape_of(shape: Any) -> Tuple[int, ...]:
    """Return the sizes of an array's dimensions. Raises :class:`DecodeError`."""
    sizes = tuple(all_of(int, shape, len(of(list, shape))))
    if any(size < 0 for size in sizes):
        raise DecodeError("a negative size")
    return sizes


def _array(encoder: Encoder, value: Any, path: Path) -> Any:
    _refuse_overlap(encoder, value, path)
    if value.dtype.kind == "T":
        from . import string_arrays  # It needs this module.

        return string_arrays.encoded(encoder, value, path)
    return column(encoder, value, path)


def column(encoder: Encoder, value: Any, path: Path) -> Any:
    """Return the node of an array that is only for itself, or a part of a table."""
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    spec = [_checked_description(value.dtype, path), list(value.shape), order]
    if not value.dtype.itemsize:
        encoder.count(value.size, path)  # As the receiver does.
    encoder.add(spec, lambda put: _write(value if order == "C" else value.T, put), path, value.nbytes)
    return {"ndarray": 0}


def _checked_description(dtype: Any, path: Path) -> Any:
    """Return a dtype as the tree has it, and as the receiver makes the same one of it."""
    description = describe(dtype, path)
    try:
        same = type(description) is str or dtype_of(description) == dtype
    except (DecodeError, TypeError, ValueError):
        same = False
    if not same:
        raise CrossingError(path, "is an array of a dtype that can't be described", "Send its fields: @[name].")
    return description


def _write(value: Any, put: Put) -> None:
    """Hand out the bytes of an array in C order, and copy no more than pieces of it."""
    if value.nbytes == 0:
        return
    if value.flags.c_contiguous:
        put(_bytes_of(value))
    elif value.nbytes <= _PIECE_BYTES:
        put(_bytes_of(value.copy(order="C")))
    else:
        rows = max(1, _PIECE_BYTES * len(value) // value.nbytes)
        for start in range(0, len(value), rows):
            _write(value[start] if rows == 1 else value[start : start + rows], put)


def _bytes_of(value: Any) -> memoryview:
    return memoryview(value.reshape(-1).view("u1"))


def _refuse_overlap(encoder: Encoder, value: Any, path: Path) -> None:
    """Refuse arrays that share memory: what is written to one would no longer be seen in the other."""
    numpy = sys.modules["numpy"]
    root = value
    while getattr(root, "base", None) is not None:
        root = root.base
    before = encoder.roots.setdefault(id(root), [])
    for other, where in before:
        if numpy.may_share_memory(other, value, max_work=_MAX_WORK):
            problem = "shares memory with %s, which a copy would not" % written(where)
            raise CrossingError(path, problem, "@.copy() can cross beside it.")
    before.append((value, path))


def place(spec: Any, reserve: Callable[[int], None]) -> Tuple[memoryview, Any]:
    """Return a view of the bytes of a new array, and the array. Raises :class:`DecodeError`."""
    numpy = load("numpy", ("an array",))
    try:
        description, shape, order = of(list, spec)
        dtype, sizes = dtype_of(description), shape_of(shape)
        count = 1
        for size in sizes:
            count *= size
        # Where an item has no bytes, their number is a promise of work all the same.
        reserve(count * max(1, dtype.itemsize))
        if order not in ("C", "F") or (dtype.hasobject or dtype.subdtype):
            raise DecodeError("an array of no kind that can cross")
        value = numpy.empty(sizes, dtype, order)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, (DecodeError, CrossingError)):
            raise
        raise DecodeError("an array that can't be: %s" % error)
    if value.nbytes == 0:
        return memoryview(b""), value
    return _bytes_of(value if order == "C" else value.T), value


def decoded_array(decoder: Decoder, _: Any) -> Any:
    """Return the next buffer, an array."""
    return decoder.take(load("numpy").ndarray)


def _scalar(encoder: Encoder, value: Any, path: Path) -> Any:
    array = sys.modules["numpy"].asarray(value)
    if array.ndim or type(array[()]) is not type(value):
        raise CrossingError(path, "is a %s, which can't cross" % type_name(value), "numpy.asarray(@) may.")
    return {"scalar": [describe(array.dtype, path), array.tobytes().hex()]}


def _decoded_scalar(decoder: Decoder, parts: Any) -> Any:
    description, text = of(list, parts)
    data, dtype = bytes.fromhex(of(str, text)), dtype_of(description)
    if len(data) != dtype.itemsize or dtype.hasobject or dtype.subdtype:
        raise DecodeError("a scalar of %d bytes in place of %d" % (len(data), dtype.itemsize))
    value = load("numpy").empty((), dtype)
    if data:
        _bytes_of(value)[:] = data
    return value[()]


NODES = {"ndarray": decoded_array, "scalar": _decoded_scalar}
