"""Values of this process as a tree and buffers (:mod:`values`)."""

import datetime
import decimal
import json
from dataclasses import fields, is_dataclass
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Callable, Dict, Iterable, List, NoReturn, Optional, Set, Tuple
from uuid import UUID

from .values import MAX_DEPTH, MAX_EXPANDED, TREE_COST, WORD, Buffer, CrossingError, Path, Put, size_text, type_name

_LONG_TEXT = 4096

Encode = Callable[["Encoder", Any, Path], Any]

_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Encoder:
    """Makes trees of values, and gathers the buffers beside them.

    Parameters
    ----------
    limit_bytes : int
        What tree and buffers may be together, a byte of the tree counted as :data:`TREE_COST`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.buffers: List[Buffer] = []
        self.size_bytes = 0
        self._open: Set[int] = set()
        # Its number, and how many parts it has; with the object itself: while it lives no other can have its id.
        self._seen: Dict[int, Tuple[int, int, Any]] = {}
        self._parts = 0
        self.depth = 0
        self.roots: Dict[int, List[Tuple[Any, Path]]] = {}

    def encode_all(self, values: Dict[str, Any]) -> bytes:
        """Return the tree of named values, as JSON; their buffers are in :attr:`buffers`."""
        trees = {name: self._variable(name, value) for name, value in values.items()}
        names = (", ".join(values),)
        try:
            text = _to_json({"buffers": [buffer.spec for buffer in self.buffers], "values": trees}).encode()
        except UnicodeEncodeError as error:
            raise CrossingError(names, "has a field or a time zone named %r" % error.object[error.start], "Rename it.")
        self.count(TREE_COST * len(text), names)
        return text

    def _variable(self, name: str, value: Any) -> Any:
        try:
            return self.encode(value, (name,))
        except (CrossingError, MemoryError):
            raise
        except Exception as error:  # What is asked of a value may be code of the user's, or find it broken.
            problem = "can't be read (%s: %s)" % (type(error).__name__, error)
            raise CrossingError((name,), problem, "Send those of its parts that can.")

    def encode(self, value: Any, path: Path) -> Any:
        """Return the node of one value."""
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is int:
            return value if value in WORD else {"int": hex(value)}
        if kind is str:
            return value if len(value) < _LONG_TEXT and _is_unicode(value) else self._text(value, path)
        scalar = _SCALARS.get(kind)
        return scalar(self, value, path) if scalar else self._part(value, path)

    def _text(self, value: str, path: Path) -> Any:
        self.add(len(data := value.encode("utf-8", "surrogatepass")), lambda put: put(data), path)
        return {"str": 0}

    def add(self, spec: Any, write: Callable[[Put], None], path: Path, size_bytes: Optional[int] = None) -> None:
        """Add a buffer; ``spec`` is its size, or what :mod:`arrays` has for an array of ``size_bytes``."""
        size_bytes = spec if size_bytes is None else size_bytes
        self.count(size_bytes, path)
        self.buffers.append(Buffer(spec, size_bytes, write))

    def count(self, size_bytes: int, path: Path) -> None:
        """Note what a part of the value takes. Raises :class:`CrossingError` beyond the limit."""
        self.size_bytes += size_bytes
        if self.size_bytes > self._limit_bytes:
            raise CrossingError(
                path,
                "is larger than the %s that may cross at once" % size_text(self._limit_bytes),
                "Raise the option max_transfer, or send it in parts; lists and dicts need much more than arrays.",
            )

    def _part(self, value: Any, path: Path) -> Any:
        """Encode what has identity: a part that is seen again is sent once, one that contains itself never."""
        if id(value) in self._seen:
            return self._same(value, path)
        if id(value) in self._open:
            raise CrossingError(path, "contains itself", "Break the cycle: send its parts without it.")
        if self.depth >= MAX_DEPTH:
            raise CrossingError(path, "is nested more than %d levels deep" % MAX_DEPTH, "Flatten it.")
        self._open.add(id(value))
        self.depth += 1
        before = self._parts
        node = self._encoder_of(value, path)(self, value, path)
        self.depth -= 1
        self._open.discard(id(value))
        self._seen[id(value)] = (len(self._seen), self._parts - before, value)
        return node

    def _same(self, value: Any, path: Path) -> Any:
        number, parts, _ = self._seen[id(value)]
        self._parts += parts
        if self._parts > MAX_EXPANDED:
            problem = "has more than %d parts, each counted as often as it occurs" % MAX_EXPANDED
            raise CrossingError(path, problem, "Arrays of NumPy may have more.")
        return {"same": number}

    def _encoder_of(self, value: Any, path: Path) -> Encode:
        from . import arrays, frames, pictures, polars_tables, tables  # They need this module.

        kind = type(value)
        if kind in _CONTAINERS:
            return _CONTAINERS[kind]
        for module in (arrays, tables, polars_tables, frames, pictures):
            encode: Optional[Encode] = module.encoder_of(value)
            if encode:
                return encode
        if not is_dataclass(value) or isinstance(value, type):
            _refuse(value, path)
        return _dataclass

    def values(self, items: Iterable[Any], path: Path, step: str = "item") -> List[Any]:
        """Return the nodes of the items of a sequence, or of what has no order."""
        return self.counted([self.encode(item, (path, step, number)) for number, item in enumerate(items)])

    def counted(self, nodes: List[Any]) -> List[Any]:
        """Return the nodes that a value is made of, and note how many they are."""
        self._parts += len(nodes)
        return nodes


def _list(encoder: Encoder, value: List[Any], path: Path) -> Any:
    return encoder.counted(value) if _is_plain(value) else encoder.values(value, path)


def _is_plain(items: List[Any]) -> bool:
    """Whether JSON has a whole list as it is: looking at each item takes far longer."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return min(items) in WORD and max(items) in WORD
    return kinds in ({float}, {bool})


def _dict(encoder: Encoder, value: Dict[Any, Any], path: Path) -> Any:
    nodes = []
    for key, item in value.items():
        _check_hash(key, (path, "key", key))
        nodes += [encoder.encode(key, (path, "key", key)), encoder.encode(item, (path, "item", key))]
    return {"dict": encoder.counted(nodes)}


def _elements(kind: str) -> Encode:
    def encode(encoder: Encoder, value: Any, path: Path) -> Any:
        for item in value:
            _check_hash(item, (path, "element", item))
        return {kind: encoder.values(value, path, "element")}

    return encode


_SURELY_HASHED = frozenset([str, int, float, bool, bytes, type(None)])


def _check_hash(value: Any, path: Path) -> None:
    """Refuse as a key, or in a set, what has a hash here and arrives as something that has none."""
    if type(value) in _SURELY_HASHED:
        return
    if type(value) in (tuple, frozenset):
        for item in value:
            _check_hash(item, path)
    elif is_dataclass(value) and not isinstance(value, type):
        problem = "is or holds a %s, which arrives as a dict: that can be no key and in no set" % type_name(value)
        raise CrossingError(path, problem, "A tuple of its fields can: dataclasses.astuple.")
    elif type_name(value) == "matplotlib.figure.Figure":
        problem = "is or holds a figure, which arrives as a picture: that can be no key and in no set"
        raise CrossingError(path, problem, "Its number can: .number.")


def _dataclass(encoder: Encoder, value: Any, path: Path) -> Any:
    nodes = []
    for field in fields(value):
        nodes += [field.name, encoder.encode(getattr(value, field.name), (path, "field", field.name))]
    return {"dict": encoder.counted(nodes)}


def _bytes(kind: str) -> Encode:
    def encode(encoder: Encoder, value: Any, path: Path) -> Any:
        encoder.add(len(value), lambda put: put(memoryview(value)), path)
        return {kind: 0}

    return encode


_CONTAINERS: Dict[type, Encode] = {
    list: _list,
    dict: _dict,
    tuple: lambda encoder, value, path: {"tuple": encoder.values(value, path)},
    set: _elements("set"),
    frozenset: _elements("frozenset"),
    bytes: _bytes("bytes"),
    bytearray: _bytes("bytearray"),
}


def encoded_timezone(encoder: Encoder, zone: Optional[datetime.tzinfo], path: Path) -> Any:
    """Return the node of a time zone: a fixed offset, or the name of one of the tz database."""
    if zone is None:
        return None
    if type(zone) is datetime.timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return {"timezone": [_duration(offset), *name]}
    key = getattr(zone, "key", None) or getattr(zone, "zone", None)  # zoneinfo, pytz
    if type(key) is str and type(zone).__module__.partition(".")[0] in ("zoneinfo", "pytz"):
        return {"zone": key}
    hint = "Convert it to UTC, or to a zone of zoneinfo or datetime.timezone."
    raise CrossingError(path, "has the time zone %s" % type_name(zone), hint)


def _duration(value: datetime.timedelta) -> List[int]:
    return [value.days, value.seconds, value.microseconds]


def _clock(value: Any) -> List[int]:
    return [value.hour, value.minute, value.second, value.microsecond, value.fold]


def _datetime(encoder: Encoder, value: datetime.datetime, path: Path) -> Any:
    date = [value.year, value.month, value.day]
    return {"datetime": [*date, *_clock(value), encoded_timezone(encoder, value.tzinfo, path)]}


def _path(encoder: Encoder, value: PurePath, path: Path) -> Any:
    windows = isinstance(value, PureWindowsPath)
    pure = type(value) in (PurePosixPath, PureWindowsPath)
    return {"path": [windows, pure, encoder.encode(str(value), path)]}


_SCALARS: Dict[type, Encode] = {
    complex: lambda encoder, value, path: {"complex": [value.real, value.imag]},
    datetime.datetime: _datetime,
    datetime.date: lambda encoder, value, path: {"date": [value.year, value.month, value.day]},
    datetime.time: lambda encoder, value, path: {
        "time": [*_clock(value), encoded_timezone(encoder, value.tzinfo, path)]
    },
    datetime.timedelta: lambda encoder, value, path: {"timedelta": _duration(value)},
    datetime.timezone: encoded_timezone,
    decimal.Decimal: lambda encoder, value, path: {"decimal": str(value)},
    UUID: lambda encoder, value, path: {"uuid": value.hex},
    **dict.fromkeys((PosixPath, WindowsPath, PurePosixPath, PureWindowsPath), _path),
}


def _refuse(value: Any, path: Path) -> NoReturn:
    if type(value).__module__ == "zoneinfo" and getattr(value, "key", None):
        raise CrossingError(path, "is a time zone by itself", "Send its key: @.key.")
    raise CrossingError(path, "is a %s, which can't cross" % type_name(value), _suggestion(value))


_BUILTINS = (dict, list, tuple, set, frozenset, str, bytes, bytearray, bool, int, float, complex)
_PARTS = "Send what it is made of: numbers, text, dates, lists, dicts, arrays and tables can cross."
_BY_NAME = {
    "polars.lazyframe.frame.LazyFrame": "@.collect() can.",
    "torch.Tensor": "@.numpy(force=True) can.",
    "array.array": "numpy.asarray(@) can, and list(@).",
    "collections.deque": "list(@) can.",
    "dict_items": "list(@) can.",
    "dict_keys": "list(@) can.",
    "dict_values": "list(@) can.",
    "mappingproxy": "dict(@) can.",
    "numpy.ma.MaskedArray": "@.filled() can, and numpy.ma.getmaskarray(@).",
    "range": "list(@) can.",
    "types.SimpleNamespace": "vars(@) can.",
    "function": "Define it on the other side: run its source in a cell.",
    "module": "Import it on the other side.",
    "memoryview": "bytes(@) can.",
}


def _suggestion(value: Any) -> str:
    name = type_name(value)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if isinstance(value, type):
        return "Define the class on the other side: run its source in a cell."
    if any(base.__module__ == "enum" for base in type(value).__mro__):
        return "@.value can."
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return "@._asdict() can, and tuple(@)."
    for base in _BUILTINS:
        if isinstance(value, base):
            return "%s(@) can." % base.__name__
    if any((base.__module__, base.__name__) == ("numpy", "ndarray") for base in type(value).__mro__):
        return "numpy.asarray(@) can."
    if hasattr(value, "__next__"):
        return "list(@) can."
    if hasattr(value, "toarray"):
        return "@.toarray() can."
    return _PARTS


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates: JSON would make one character of two."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
