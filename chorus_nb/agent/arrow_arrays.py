"""Arrow's arrays of types that do not cross in a stream, taken apart into such as do, and put together again.

Views, unions and runs may show the same bytes again and again, and an extension type is code that somebody has
registered: whoever reads a stream of them has to believe it. So of these the plain parts cross, each as a stream of its
own, and the receiver computes the offsets; of extension types it knows :data:`_EXTENSIONS` by their names. The layouts
are those of the Arrow Columnar Format, the extension types its "Canonical Extension Types" without parameters.
"""

from typing import Any, Callable, Dict, List

from .arrays import load
from .decoding import Decoder, all_of, of
from .encoding import Encoder
from .values import CrossingError, DecodeError, Path

_EXTENSIONS = {"arrow.uuid": "uuid", "arrow.json": "json_", "arrow.bool8": "bool8"}
"""What makes a type of pyarrow, by the name that stands in the stream."""

_LISTS = ("list", "large_list", "list_view", "large_list_view")
_VIEWS = {"string_view": "large_string", "binary_view": "large_binary"}
_KINDS = {
    "view": tuple(_VIEWS),
    "list": _LISTS,
    "struct": ("struct",),
    "runs": ("run_end_encoded",),
    "union": ("union",),
    "dictionary": ("dictionary",),
}
"""What pyarrow calls the types of each kind."""

_RUN_ENDS = ("int16", "int32", "int64")
_MAX_LEVELS = 32
_ROW_BYTES = 8


def kind_of(kind: Any) -> str:
    """Return which of the kinds that are taken apart a type is, or ``""``."""
    if isinstance(kind, load("pyarrow").BaseExtensionType):
        return "extension"
    return next((found for found, names in _KINDS.items() if any(_is(kind, name) for name in names)), "")


def _is(kind: Any, name: str) -> bool:
    """Whether a type is what this version of pyarrow calls so."""
    return bool(getattr(load("pyarrow").types, "is_" + name, lambda _: False)(kind))


def _compute() -> Any:
    return load("pyarrow.compute").compute


def is_composite(kind: Any, level: int = 0) -> bool:
    """Whether a column of this type has to be taken apart."""
    found = kind_of(kind)
    if found in ("", "extension", "view", "union", "runs") or level > _MAX_LEVELS:
        return found != ""
    if found == "dictionary":
        # Arrow does not make one dictionary of several, where their values have parts.
        values = kind.value_type
        return values.num_fields > 0 or _is(values, "dictionary") or is_composite(values, level + 1)
    is_view = _is(kind, "list_view") or _is(kind, "large_list_view")
    return is_view or any(is_composite(kind.field(number).type, level + 1) for number in range(kind.num_fields))


class Divider:
    """Takes arrays apart.

    Parameters
    ----------
    add : callable
        Adds an array of a plain type to what crosses.
    """

    def __init__(self, encoder: Encoder, add: Callable[[Any, Path], None]) -> None:
        self._encoder = encoder
        self._add = add
        self._level = 0

    def node(self, array: Any, path: Path) -> Any:
        """Return the node of an array. Raises :class:`CrossingError`."""
        if not is_composite(array.type):
            self._add(array, path)
            return {"plain": 0}
        if self._level > _MAX_LEVELS:
            raise CrossingError(path, "has a type of more than %d levels" % _MAX_LEVELS, "Flatten it.")
        self._level += 1
        kind = kind_of(array.type)
        try:
            return {kind: _DIVIDED[kind](self, array, path)}
        except load("pyarrow").ArrowNotImplementedError as error:
            problem = "is of the Arrow type %s, which can't cross (%s)" % (str(array.type)[:80], error)
            raise CrossingError(path, problem, "Cast it to another type.")
        finally:
            self._level -= 1

    def _extension(self, array: Any, path: Path) -> List[Any]:
        name = array.type.extension_name
        if name not in _EXTENSIONS:
            problem = "is of the Arrow extension type %s, which can't cross" % name
            hint = "@.cast(@.type.storage_type)" if self._level == 1 else "its .storage, in its place"
            raise CrossingError(path, problem, "Its storage can: %s." % hint)
        return [name, self.node(array.storage, path)]

    def _view(self, array: Any, path: Path) -> List[Any]:
        name = "string_view" if _is(array.type, "string_view") else "binary_view"
        return [name, self.node(_cast(array, _VIEWS[name]), path)]

    def _list(self, array: Any, path: Path) -> List[Any]:
        (name,) = [name for name in _LISTS if _is(array.type, name)]
        lengths = _compute().list_value_length(array).cast("int64")
        lengths_node = self.node(lengths, path)
        return [name, _described(array.type.value_field), lengths_node, self.node(array.flatten(), path)]

    def _struct(self, array: Any, path: Path) -> List[Any]:
        fields = [array.type.field(number) for number in range(array.type.num_fields)]
        there = self.node(array.is_valid(), path)
        nodes = [self.node(array.field(number), (path, "item", each.name)) for number, each in enumerate(fields)]
        return [[_described(each) for each in fields], there, nodes]

    def _runs(self, array: Any, path: Path) -> List[Any]:
        # As the receiver does: it may be long without a value of its own.
        self._encoder.count(_ROW_BYTES * len(array), path)
        compute = _compute()
        first, count = array.find_physical_offset(), array.find_physical_length()
        ends = array.run_ends.slice(first, count)
        ends = compute.min_element_wise(compute.subtract(ends.cast("int64"), array.offset), len(array))
        ends_node = self.node(ends, path)
        return [str(array.type.run_end_type), ends_node, self.node(array.values.slice(first, count), path)]

    def _union(self, array: Any, path: Path) -> List[Any]:
        kind, codes = array.type, _buffer(array, 1, "int8")
        if not all(kind.field(number).nullable for number in range(kind.num_fields)):
            raise CrossingError(
                path, "is a union of parts that can't be null, which can't cross", "Let them be nullable."
            )
        children = [array.field(number) for number in range(kind.num_fields)]
        if kind.mode == "dense":
            places = _buffer(array, 2, "int32")
            children = [
                _taken(child, places.filter(_compute().equal(codes, code)))
                for child, code in zip(children, kind.type_codes)
            ]
        names = [kind.field(number).name for number in range(kind.num_fields)]
        codes_node = self.node(codes, path)
        return [kind.mode, list(kind.type_codes), names, codes_node, [self.node(each, path) for each in children]]

    def _dictionary(self, array: Any, path: Path) -> List[Any]:
        return [bool(array.type.ordered), self.node(array.indices, path), self.node(array.dictionary, path)]


def _buffer(array: Any, number: int, name: str) -> Any:
    """Return one of the buffers of an array; pyarrow's own ways to them leave out where a slice begins."""
    arrow = load("pyarrow")
    buffers = [None, array.buffers()[number]]
    return arrow.Array.from_buffers(getattr(arrow, name)(), len(array), buffers, 0, array.offset)


def _taken(child: Any, places: Any) -> Any:
    """Return values of an array; where they are in a row without Arrow's ``take``, which lacks some types."""
    first = places[0].as_py() if len(places) else 0
    in_a_row = load("pyarrow").array(range(first, first + len(places)), "int32")
    return child.slice(first, len(places)) if places.equals(in_a_row) else child.take(places)


_DIVIDED: Dict[str, Callable[[Divider, Any, Path], List[Any]]] = {
    "extension": Divider._extension,
    "view": Divider._view,
    "list": Divider._list,
    "struct": Divider._struct,
    "runs": Divider._runs,
    "union": Divider._union,
    "dictionary": Divider._dictionary,
}


def _described(field: Any) -> List[Any]:
    return [field.name, field.nullable]


def _cast(array: Any, name: str) -> Any:
    arrow = load("pyarrow")
    try:
        return array.cast(name)
    except arrow.ArrowNotImplementedError:  # Of views, before pyarrow 18.
        return arrow.array(array.to_pylist(), getattr(arrow, name)())


class Joiner:
    """Puts arrays together. What it gets is hostile.

    Parameters
    ----------
    take : callable
        Returns the next of the arrays of plain types, checked in full.
    """

    def __init__(self, decoder: Decoder, take: Callable[[], Any]) -> None:
        self._decoder = decoder
        self._take = take
        self._level = 0

    def array(self, node: Any) -> Any:
        """Return the array of a node, checked in full. Raises :class:`DecodeError`, :class:`CrossingError`."""
        ((kind, parts),) = of(dict, node).items()
        if kind == "plain":
            return self._take()
        self._level += 1
        if kind not in _JOINED or self._level > _MAX_LEVELS:
            raise DecodeError("an Arrow array of the kind %r" % kind[:40])
        try:
            array = _JOINED[kind](self, *of(list, parts))
            array.validate(full=True)
        except load("pyarrow").ArrowNotImplementedError as error:
            raise CrossingError(("An array",), "is one that pyarrow does not make %%s (%s)" % error, "Update pyarrow.")
        self._level -= 1
        return array

    def _extension(self, name: Any, node: Any) -> Any:
        if of(str, name) not in _EXTENSIONS:
            raise DecodeError("the Arrow extension type %r" % name[:40])
        make, storage = _known(_EXTENSIONS[name]), self.array(node)
        kind = make(storage.type) if name == "arrow.json" else make()
        if kind.storage_type != storage.type:
            raise DecodeError("an Arrow extension type of another storage")
        return load("pyarrow").ExtensionArray.from_storage(kind, storage)

    def _view(self, name: Any, node: Any) -> Any:
        stored = self.array(node)
        if str(stored.type) != _VIEWS[of(str, name)]:
            raise DecodeError("a view of what is neither text nor bytes")
        _known(name)
        return _cast(stored, name)

    def _list(self, name: Any, described: Any, lengths_node: Any, node: Any) -> Any:
        if name not in _LISTS:
            raise DecodeError("a list of no kind")
        arrow, compute = load("pyarrow"), _compute()
        lengths, values = self._counted(lengths_node), self.array(node)
        kind = _known(name if name != "list" else "list_")(_field(described, values.type))
        absent, lengths = lengths.is_null(), lengths.fill_null(0)
        if len(lengths) and compute.min(lengths).as_py() < 0:
            raise DecodeError("a list of less than nothing")
        ends = compute.cumulative_sum_checked(lengths)
        if (ends[-1].as_py() if len(ends) else 0) != len(values):
            raise DecodeError("lists of other lengths than their values")
        offsets = arrow.concat_arrays([arrow.array([0], "int64"), ends])
        width = "int64" if name.startswith("large") else "int32"
        if not name.endswith("view"):
            make = arrow.LargeListArray if width == "int64" else arrow.ListArray
            return make.from_arrays(offsets.cast(width), values, type=kind, mask=absent)
        make = arrow.LargeListViewArray if width == "int64" else arrow.ListViewArray
        return make.from_arrays(offsets[:-1].cast(width), lengths.cast(width), values, type=kind, mask=absent)

    def _counted(self, node: Any) -> Any:
        """Return the next array, of 64-bit integers."""
        array = self.array(node)
        if str(array.type) != "int64":
            raise DecodeError("numbers that are none")
        return array

    def _struct(self, described: Any, there_node: Any, nodes: Any) -> Any:
        there, children = self.array(there_node), [self.array(node) for node in of(list, nodes)]
        if str(there.type) != "bool" or there.null_count or not children or len(described) != len(children):
            raise DecodeError("a struct that is none")
        fields = [_field(each, child.type) for each, child in zip(of(list, described), children)]
        if any(len(child) != len(there) for child in children):
            raise DecodeError("a struct with parts of several lengths")
        absent = _compute().invert(there)
        return load("pyarrow").StructArray.from_arrays(children, fields=fields, mask=absent)

    def _runs(self, width: Any, ends_node: Any, node: Any) -> Any:
        ends, values = self._counted(ends_node), self.array(node)
        if width not in _RUN_ENDS or len(ends) != len(values) or ends.null_count:
            raise DecodeError("runs that are none")
        arrow, compute = load("pyarrow"), _compute()
        lengths = compute.subtract(ends[1:], ends[:-1])
        if len(ends) and (ends[0].as_py() < 1 or (len(lengths) and compute.min(lengths).as_py() < 1)):
            raise DecodeError("runs that do not go on")
        # It takes no memory before it is looked at.
        self._decoder.reserve(_ROW_BYTES * (ends[-1].as_py() if len(ends) else 0))
        return arrow.RunEndEncodedArray.from_arrays(ends.cast(width), values)

    def _union(self, mode: Any, codes: Any, names: Any, codes_node: Any, nodes: Any) -> Any:
        column, children = self.array(codes_node), [self.array(node) for node in of(list, nodes)]
        codes, names = all_of(int, codes, len(children)), all_of(str, names, len(children))
        if str(column.type) != "int8" or column.null_count or len(set(codes)) != len(codes):
            raise DecodeError("a union that is none")
        if mode not in ("dense", "sparse") or not all(0 <= code < 128 for code in codes):
            raise DecodeError("a union of no kind")
        if not set(column.unique().to_pylist()) <= set(codes):
            raise DecodeError("a value of a union's part that is not there")
        arrow = load("pyarrow")
        if mode == "sparse":
            return arrow.UnionArray.from_sparse(column, children, names, codes)
        return arrow.UnionArray.from_dense(column, _places(column, codes, children), children, names, codes)

    def _dictionary(self, ordered: Any, indices_node: Any, node: Any) -> Any:
        indices, values = self.array(indices_node), self.array(node)
        return load("pyarrow").DictionaryArray.from_arrays(indices, values, ordered=of(bool, ordered))


def _places(column: Any, codes: List[int], children: List[Any]) -> Any:
    """Return where in its child each value of a dense union is: each child's values come in turn."""
    following = dict.fromkeys(codes, 0)
    places = []
    for code in column.to_pylist():
        places.append(following[code])
        following[code] += 1
    if list(following.values()) != [len(child) for child in children]:
        raise DecodeError("a union with other parts than it has values")
    return load("pyarrow").array(places, "int32")


def _field(described: Any, kind: Any) -> Any:
    name, nullable = of(list, described)
    return load("pyarrow").field(of(str, name), kind, of(bool, nullable))


def _known(name: str) -> Any:
    """Return what makes a type, where this version of pyarrow has it."""
    arrow = load("pyarrow")
    if not hasattr(arrow, name):
        problem = "of the Arrow type %s needs a newer pyarrow than there is %%s" % name.rstrip("_")
        raise CrossingError(("A column",), problem, "Update it, or cast the column.")
    return getattr(arrow, name)


_JOINED: Dict[str, Callable[..., Any]] = {
    "extension": Joiner._extension,
    "view": Joiner._view,
    "list": Joiner._list,
    "struct": Joiner._struct,
    "runs": Joiner._runs,
    "union": Joiner._union,
    "dictionary": Joiner._dictionary,
}
