"""Values that cross come back as what they were, or say why they can't."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import sys
import types
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from crossing import crossed, thorough
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb.agent.values import MAX_DEPTH, MAX_EXPANDED, CrossingError


class Colour(enum.Enum):
    RED = 1


class Zone(datetime.tzinfo):
    """One that nobody else knows."""


class Text(str):
    pass


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None


@dataclasses.dataclass(frozen=True)
class Key:
    x: int


Named = collections.namedtuple("Named", "a b")

ZONES = st.sampled_from(
    [None, datetime.UTC, ZoneInfo("Europe/Berlin"), datetime.timezone(datetime.timedelta(hours=-3), "here")]
)
KEYS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.uuids()
    | st.timedeltas()
)
SCALARS = (
    KEYS
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=ZONES)
    | st.times(timezones=st.sampled_from([None, datetime.UTC]))
    | st.builds(pathlib.PurePosixPath, st.text(min_size=1))
    | st.binary().map(bytearray)
)
HASHABLE = st.recursive(KEYS, lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner), max_leaves=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(HASHABLE, inner) | st.sets(HASHABLE),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to the last type: 1, True and 1.0 are not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (set, frozenset)):
        return one == other and {(type(each), each) for each in one} == {(type(each), each) for each in other}
    return bool(one == other and repr(one) == repr(other))


@thorough
@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(crossed(value), value)


@pytest.mark.parametrize(
    "value",
    [
        math.inf,
        -math.inf,
        -0.0,
        5e-324,
        2**63,
        2**64,
        -(2**63) - 1,
        10**6000,
        "\ud83d\ude00",  # two lone surrogates, which JSON would make one character
        "\udc80",
        "é" * 5000,
        b"x" * 3_000_000,
        [1, 2**70],
        [1.5, math.inf],
        [True, 1, 1.0],
        decimal.Decimal("1.10"),
        decimal.Decimal("-Infinity"),
        decimal.Decimal("1E+999999"),
        datetime.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime.timezone.utc,  # noqa: UP017
        pathlib.Path("a/b"),
        pathlib.PureWindowsPath("c:/x"),
        uuid.UUID(int=2**128 - 1),
        {(1, frozenset({2})): {"a": [{}]}},
        {1: "a", False: "b", "": None},
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else "",
)
def test_hard_cases_come_back_exactly(value: Any) -> None:
    copy = crossed(value)
    assert type(copy) is type(value)
    assert copy == value
    if isinstance(value, float):
        assert math.copysign(1, copy) == math.copysign(1, value)


def test_nan_is_nan() -> None:
    assert math.isnan(crossed(math.nan))
    assert math.isnan(crossed([math.nan, 1.0])[0])
    assert crossed(decimal.Decimal("sNaN12")).is_snan()


def test_each_nan_is_a_key_of_its_own() -> None:
    assert list(crossed({float("nan"): 1, float("nan"): 2}).values()) == [1, 2]
    assert len(crossed({float("nan"), float("nan")})) == 2


def test_a_dataclass_arrives_as_a_dict() -> None:
    assert crossed(Point(1, [Point(2)])) == {"x": 1, "inner": [{"x": 2, "inner": None}]}


def test_a_part_that_occurs_twice_occurs_twice_in_the_copy() -> None:
    part = [1]
    copy = crossed({"a": part, "b": (part, part)})
    assert copy["a"] is copy["b"][0] is copy["b"][1]


def test_sharing_costs_no_more_than_it_does_here() -> None:
    value: tuple[Any, ...] = ()
    for _ in range(18):
        value = (value, value)
    assert crossed(value, limit=2**16) == value


def test_no_more_is_sent_than_the_receiver_takes() -> None:
    """It takes what is longer for an attack, and ends the sandbox."""
    row = [0.5] * (MAX_EXPANDED // 100)
    assert crossed([row] * 99, limit=2**28)[98] == row
    with pytest.raises(CrossingError, match="has more than 10000000 parts") as caught:
        crossed([row] * 102, limit=2**28)
    assert caught.value.path == "x[100]"


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"again": value})
    return value


DEEP = "x" + "[0]" * MAX_DEPTH
DEEP = f"{DEEP[:140]} ... {DEEP[-140:]}"


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(MAX_DEPTH):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        (cycle(), "x[1]['again']", "contains itself"),
        (deep(), DEEP, "nested more than"),
        ({"a": [1, (item for item in [])]}, "x['a'][1]", "generator"),
        ({"a": object()}, "x['a']", "a object"),
        ([Point(1, print)], "x[0].inner", "builtin_function_or_method"),
        ({Colour.RED: 1}, "a key of x", "test_values.Colour"),
        ({Text("a")}, "an element of x", "test_values.Text"),
        ({Key(1): 1}, "a key of x", "arrives as a dict"),
        ([Key(1), {(0, Key(1)): 1}], "a key of x[1]", "arrives as a dict"),
        ({frozenset({Key(1)})}, "an element of x", "arrives as a dict"),
        ([Point.__new__(Point)], "x", "can't be read (AttributeError: "),
        (datetime.timezone(datetime.timedelta(), "\ud800"), "x", r"named '\ud800'"),
        (datetime.time(tzinfo=Zone()), "x", "the time zone test_values.Zone"),
        (Point, "x", "type"),
        (sys, "x", "module"),
        ([range(3)], "x[0]", "range"),
        (b"x" * 2**20, "x", "larger than"),
        ([0.1] * 2**16, "x", "larger than"),
    ],
)
def test_what_can_not_cross_says_where_it_is_and_what_it_is(value: Any, where: str, what: str) -> None:
    with pytest.raises(CrossingError) as caught:
        crossed(value, limit=2**19)
    assert caught.value.path == where
    assert what in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (collections.OrderedDict(a=1), "dict(x)"),
        (collections.defaultdict(list), "dict(x)"),
        (collections.deque(), "list(x)"),
        (collections.ChainMap(), "Send what"),
        ({}.keys(), "list(x)"),
        ({Colour.RED: 1}, "key.value can"),
        ({Text("a")}, "str(element) can"),
        (types.SimpleNamespace(), "vars(x)"),
        (Named(1, 2), "x._asdict()"),
        (Text("a"), "str(x)"),
        (Colour.RED, "x.value"),
        (iter([]), "list(x)"),
        (range(3), "list(x)"),
        (memoryview(b""), "bytes(x)"),
        (ZoneInfo("UTC"), "x.key"),
    ],
)
def test_a_type_that_can_not_cross_has_one_that_can(value: Any, hint: str) -> None:
    """Subclasses are not taken for what they extend: the copy would be something else without a word."""
    with pytest.raises(CrossingError) as caught:
        crossed(value)
    assert hint in caught.value.hint


def test_a_part_that_is_deep_inside_is_told_in_a_few_words() -> None:
    value: Any = object()
    for _ in range(MAX_DEPTH - 1):
        value = {"a long name": value}
    with pytest.raises(CrossingError) as caught:
        crossed(value)
    assert len(caught.value.path) < 300
    assert caught.value.path.startswith("x['a long name']")
    assert caught.value.path.endswith("['a long name']")


def test_many_small_parts_travel_in_few_pieces() -> None:
    value = [b"ab%d" % number for number in range(10_000)]
    assert crossed(value) == value
