"""Trees and buffers (:mod:`values`) as values of this process; what they come from is hostile."""

import contextlib
import datetime
import decimal
import itertools
import json
import re
import sys
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple
from uuid import UUID

from .values import MAX_DEPTH, MAX_EXPANDED, CrossingError, DecodeError

_MAX_EQUAL_HASHES = 1000
_MAX_DIGITS = 20
_HEX = re.compile(r"-?0x[0-9a-f]+")
_DECIMAL = re.compile(r"-?(\d+(\.\d*)?(E[+-]?\d{1,18})?|Infinity|s?NaN\d*)", re.ASCII)

Decode = Callable[["Decoder", Any], Any]


class Decoder:
    """Makes values of trees. What it gets is hostile.

    Parameters
    ----------
    text : bytes
        What :meth:`Encoder.encode_all` has returned.
    limit_bytes : int
        What the buffers may be together, and a picture once it is unpacked.

    Raises
    ------
    DecodeError, CrossingError
    """

    def __init__(self, text: bytes, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        parts = _parsed(text)
        self._trees: Dict[str, Any] = parts["values"]
        self.size_bytes = 0
        with _of_variables(self._trees):
            self.places = [self._place(spec) for spec in parts["buffers"]]
        """Where the bytes of each buffer belong: a writable view of as many bytes, in turn."""
        self._next = 0
        self._depth = 0
        self._parts: List[Tuple[Any, int]] = []
        self._count = 0

    def _place(self, spec: Any) -> Tuple[memoryview, Any]:
        if type(spec) is int:
            self.reserve(spec)
            holder: Any = bytearray(spec)
            return memoryview(holder), holder
        from . import arrays

        place: Tuple[memoryview, Any] = arrays.place(spec, self.reserve)
        return place

    def reserve(self, size_bytes: int) -> None:
        """Note that so much memory is about to be taken. Raises :class:`DecodeError` beyond the limit."""
        if size_bytes < 0:
            raise DecodeError("a buffer of %d bytes" % size_bytes)
        self.size_bytes += size_bytes
        if self.size_bytes > self.limit_bytes:
            raise DecodeError("buffers of %d bytes are over the limit" % self.size_bytes)

    def decode_all(self) -> Dict[str, Any]:
        """Return the named values, once the bytes are in their places."""
        try:
            values = {name: self._variable(name, tree) for name, tree in self._trees.items()}
        except (DecodeError, CrossingError, MemoryError):
            raise
        except Exception as error:  # Of any of the libraries that are given what was sent.
            raise DecodeError("%s: %s" % (type(error).__name__, error))
        if self._next != len(self.places):
            raise DecodeError("a buffer that belongs to nothing")
        return values

    def _variable(self, name: str, tree: Any) -> Any:
        with _of_variables([name]):
            return self.decode(tree)

    def decode(self, node: Any) -> Any:
        """Return the value of one node."""
        self._count += 1
        if type(node) is list:
            return self._part(Decoder.values, node)
        if type(node) is not dict:
            return node
        ((kind, parts),) = node.items()
        if kind == "same":
            return self._same(parts)
        if kind in _SCALAR_NODES:
            return _SCALAR_NODES[kind](self, parts)
        return self._part(_node_decoder(kind), parts)

    def values(self, nodes: Any) -> List[Any]:
        """Return the values of a list of nodes."""
        if not {list, dict} & set(map(type, of(list, nodes))):
            self._count += len(nodes)
            return list(nodes)
        return [self.decode(node) for node in nodes]

    def _part(self, decode: Decode, parts: Any) -> Any:
        before, self._depth = self._count, self._depth + 1
        if self._depth > MAX_DEPTH:
            raise DecodeError("more than %d levels" % MAX_DEPTH)
        value = decode(self, parts)
        self._depth -= 1
        self._parts.append((value, self._count - before))
        return value

    def _same(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._parts):
            raise DecodeError("a part that was not there before")
        value, count = self._parts[number]
        self._count += count
        # Half of that is where an encoder stops, which counts less: it must make nothing that is refused here.
        if self._count > 2 * MAX_EXPANDED:
            raise DecodeError("a value that is endless to print")
        return value

    def take(self, kind: type) -> Any:
        """Return what holds the next buffer: a bytearray, or an array."""
        self._next += 1
        return of(kind, self.places[self._next - 1][1])


@contextlib.contextmanager
def _of_variables(names: Iterable[str]) -> Iterator[None]:
    """Have what can't arrive say among which variables it is."""
    try:
        yield
    except CrossingError as error:
        shown = ", ".join(name for name in names if name.isidentifier())[:100]
        part = error.path[:1].lower() + error.path[1:]
        raise CrossingError(("%s: %s" % (shown, part),), error.problem, error.hint)


def _parsed(text: bytes) -> Dict[str, Any]:
    try:
        parts = _from_json(text.decode())
    except (ValueError, RecursionError) as error:
        raise DecodeError("no tree: %s" % error)
    if type(parts) is not dict or {name: type(part) for name, part in parts.items()} != _SHAPE:
        raise DecodeError("no tree of values")
    return parts


_SHAPE = {"buffers": list, "values": dict}


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise DecodeError("an integer of %d digits" % len(text))
    return int(text)


# By itself it has one object for every NaN: of several that are keys one alone would be left.
_from_json = json.JSONDecoder(parse_int=_integer, parse_constant=float).decode


def of(kind: Any, value: Any) -> Any:
    """Return a value of exactly this type."""
    if type(value) is not kind:
        raise DecodeError("a %s in place of a %s" % (type(value).__name__, kind.__name__))
    return value


def all_of(kind: type, values: Any, count: int) -> List[Any]:
    if len(of(list, values)) != count:
        raise DecodeError("%d parts in place of %d" % (len(values), count))
    return [of(kind, value) for value in values]


def hashable(values: List[Any]) -> List[Any]:
    """Return values that can go into a set; a set of those that all have one hash would take hours to make."""
    hashes = sorted(map(hash, values))
    if any(len(list(same)) > _MAX_EQUAL_HASHES for _, same in itertools.groupby(hashes)):
        raise DecodeError("values with the same hash")
    return values


def _decoded_dict(decoder: Decoder, nodes: Any) -> Dict[Any, Any]:
    values = decoder.values(nodes)
    if len(values) % 2:
        raise DecodeError("a key without a value")
    return dict(zip(hashable(values[::2]), values[1::2]))


def _decoded_int(decoder: Decoder, text: Any) -> int:
    if not _HEX.fullmatch(of(str, text)):
        raise DecodeError("no integer")
    return int(text, 16)


def _decoded_decimal(decoder: Decoder, text: Any) -> decimal.Decimal:
    if not _DECIMAL.fullmatch(of(str, text)):
        raise DecodeError("no decimal")
    return decimal.Decimal(text)


def _decoded_timezone(decoder: Decoder, parts: Any) -> datetime.timezone:
    offset, *name = of(list, parts)
    return datetime.timezone(_decoded_duration(decoder, offset), *all_of(str, name, len(name)))


def decoded_zone(decoder: Decoder, key: Any) -> datetime.tzinfo:
    """Return a zone of this system's tz database, of those that it lists: a name is a path, and may be an import."""
    try:
        import zoneinfo
    except ImportError:
        raise CrossingError((repr(key),), "is a time zone, for which Python 3.9 is needed", _NEEDS_OTHER_PYTHON)
    if of(str, key) not in _known_zones(zoneinfo):
        raise CrossingError((repr(key)[:60],), "is a time zone that is not known here", "`pip install tzdata` there.")
    return zoneinfo.ZoneInfo(key)


_NEEDS_OTHER_PYTHON = "Choose another image, or send times in UTC."
_zones: Set[str] = set()


def _known_zones(zoneinfo: Any) -> Set[str]:
    if not _zones:
        _zones.update(zoneinfo.available_timezones())
    return _zones


def decoded_tzinfo(decoder: Decoder, node: Any) -> Optional[datetime.tzinfo]:
    """Return the time zone of a node, or None."""
    if node is None:
        return None
    ((kind, parts),) = of(dict, node).items()
    decode: Decode = {"timezone": _decoded_timezone, "zone": decoded_zone}[kind]
    zone: datetime.tzinfo = decode(decoder, parts)
    return zone


def _decoded_duration(decoder: Decoder, parts: Any) -> datetime.timedelta:
    return datetime.timedelta(*all_of(int, parts, 3))


def _decoded_datetime(decoder: Decoder, parts: Any) -> datetime.datetime:
    *date, fold, zone = of(list, parts)
    made = datetime.datetime(*all_of(int, date, 7))
    return made.replace(tzinfo=decoded_tzinfo(decoder, zone), fold=of(int, fold))


def _decoded_time(decoder: Decoder, parts: Any) -> datetime.time:
    *clock, fold, zone = of(list, parts)
    made = datetime.time(*all_of(int, clock, 4))
    return made.replace(tzinfo=decoded_tzinfo(decoder, zone), fold=of(int, fold))


def _decoded_path(decoder: Decoder, parts: Any) -> PurePath:
    """Return a path of this system where it is one, else one that is only text."""
    windows, pure, node = of(list, parts)
    text = of(str, decoder.decode(node))
    if of(bool, windows) != (sys.platform == "win32"):
        pure = True
    kinds: Dict[Tuple[bool, bool], Callable[[str], PurePath]] = {
        (False, False): PosixPath,
        (False, True): PurePosixPath,
        (True, False): WindowsPath,
        (True, True): PureWindowsPath,
    }
    return kinds[windows, of(bool, pure)](text)


_SCALAR_NODES: Dict[str, Decode] = {
    "int": _decoded_int,
    "str": lambda decoder, _: decoder.take(bytearray).decode("utf-8", "surrogatepass"),
    "complex": lambda decoder, parts: complex(*all_of(float, parts, 2)),
    "datetime": _decoded_datetime,
    "date": lambda decoder, parts: datetime.date(*all_of(int, parts, 3)),
    "time": _decoded_time,
    "timedelta": _decoded_duration,
    "timezone": _decoded_timezone,
    "decimal": _decoded_decimal,
    "uuid": lambda decoder, text: UUID(hex=of(str, text)),
    "path": _decoded_path,
}

_NODES: Dict[str, Decode] = {
    "dict": _decoded_dict,
    "tuple": lambda decoder, nodes: tuple(decoder.values(nodes)),
    "set": lambda decoder, nodes: set(hashable(decoder.values(nodes))),
    "frozenset": lambda decoder, nodes: frozenset(hashable(decoder.values(nodes))),
    "bytes": lambda decoder, _: bytes(decoder.take(bytearray)),
    "bytearray": lambda decoder, _: decoder.take(bytearray),
}


def _node_decoder(kind: str) -> Decode:
    from . import arrays, frames, pictures, polars_tables, string_arrays, tables  # They need this module.

    if kind in _NODES:
        return _NODES[kind]
    for module in (arrays, string_arrays, tables, polars_tables, frames, pictures):
        if kind in module.NODES:
            decode: Decode = module.NODES[kind]
            return decode
    raise DecodeError("a node of the kind %r" % kind[:40])
