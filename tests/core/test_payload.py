"""Payloads: what fits comes back as it was, typed; what does not is refused by its place."""

from __future__ import annotations

import enum
import math
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monolite import Runtime, activity, workflow
from monolite.core.payload import (
    FINGERPRINT_TEXT_MAX,
    NESTING_MAX,
    PAYLOAD_BYTES_MAX,
    check_text,
    codec,
    encode,
    fingerprint,
)
from monolite.errors import PayloadInvalid, WorkflowFailed


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: int
    y: float = 0.5
    tags: set[str] = field(default_factory=set[str])


@dataclass(frozen=True)
class Line:
    start: Point
    end: Point | None


@attrs.define
class Attribute:
    name: str
    values: list[int] = attrs.field(factory=list[int])


class Shape(msgspec.Struct, tag=True):
    name: str


class Circle(Shape):
    radius: Decimal


class Square(Shape):
    side: Decimal


class Address(pydantic.BaseModel):
    street: str
    since: date


class Person(pydantic.BaseModel):
    name: str
    born: datetime
    addresses: list[Address] = []
    balance: Decimal = Decimal(0)


class Pair(NamedTuple):
    left: int
    right: str


class Settings(TypedDict, total=False):
    theme: str
    size: int


MOMENT = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)

ROUND_TRIPS: list[tuple[Any, Any]] = [
    (None, None),
    (bool, True),
    (int, -(2**63)),
    (int, 2**63 - 1),
    (float, 1e-300),
    (float, -0.0),
    (str, 'gr\u00fc\u00dfe \U0001f600 \x00 \\ "'),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"\x00\xff")),
    (datetime, MOMENT),
    (datetime, MOMENT.replace(tzinfo=None)),
    (date, MOMENT.date()),
    (time, MOMENT.time()),
    (timedelta, timedelta(days=400, microseconds=1)),
    (Decimal, Decimal("12345678901234567890.123456789")),
    (uuid.UUID, uuid.UUID(int=5)),
    (Colour, Colour.BLUE),
    (Level, Level.HIGH),
    (Literal["a", 2], 2),
    (list[int], [1, 2]),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (dict[str, list[int]], {"a": [1]}),
    (dict[int, str], {1: "a"}),
    (dict[uuid.UUID, int], {uuid.UUID(int=5): 1}),
    (int | str | None, "x"),
    (Point, Point(1, 2.5, {"a"})),
    (Line, Line(Point(1), None)),
    (list[Line], [Line(Point(1), Point(2))]),
    (Attribute, Attribute("a", [1])),
    (Circle | Square, Circle("c", Decimal("1.5"))),
    (list[Circle | Square], [Square("s", Decimal(2)), Circle("c", Decimal(1))]),
    (
        Person,
        Person(name="A", born=MOMENT, addresses=[Address(street="s", since=date(2020, 1, 1))]),
    ),
    (dict[str, Person], {"a": Person(name="A", born=MOMENT, balance=Decimal("1.10"))}),
    (Person | None, None),
    (Pair, Pair(1, "a")),
    (Settings, {"theme": "dark"}),
    (Annotated[int, msgspec.Meta(ge=0)], 3),
    (Any, {"a": [1, None, "x", 2.5, True]}),
]


@pytest.mark.parametrize(("type_", "value"), ROUND_TRIPS, ids=lambda x: str(x)[:40])
def test_a_value_comes_back_as_it_was(type_: Any, value: Any) -> None:
    found = codec(type_).decode(encode(value, "x"), "x")
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, found) == math.copysign(1, value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(json_values)
def test_plain_json_comes_back_as_it_was(value: Any) -> None:
    text = encode(value, "x")
    assert codec(Any).decode(text, "x") == value
    assert check_text(text, "x") == text


def deep(levels: int) -> Any:
    """Return a list nested that deep."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


class Unwilling(pydantic.BaseModel):
    ratio: float

    @pydantic.model_serializer
    def refuse(self) -> dict[str, Any]:
        msg = "I would rather not"
        raise ValueError(msg)


@dataclass
class Measured:
    ratio: float


REFUSED: list[tuple[Any, str]] = [
    (math.nan, "$ is nan, which JSON cannot hold; use None"),
    (math.inf, "$ is inf, which JSON cannot hold; use None"),
    ([1.0, {"a": (2.0, -math.inf)}], "$[1].a[1] is -inf, which JSON cannot hold; use None"),
    (Measured(math.nan), "$.ratio is nan, which JSON cannot hold; use None"),
    ({"null": [None, math.nan]}, "$.null[1] is nan, which JSON cannot hold; use None"),
    (2**63, "$ is an integer beyond 64 bits; pass it as text or Decimal"),
    ([0, -(2**63) - 1], "$[1] is an integer beyond 64 bits; pass it as text or Decimal"),
    ({"n": 10**30}, "$.n is an integer beyond 64 bits; pass it as text or Decimal"),
    ({10**30: 1}, "$ (a key) is an integer beyond 64 bits; pass it as text or Decimal"),
    ("\ud800", "contains text that is not valid Unicode (surrogates not allowed); clean it first"),
    (
        {"\udfff": 1},
        "contains text that is not valid Unicode (surrogates not allowed); clean it first",
    ),
    (deep(NESTING_MAX + 1), f"is nested more than {NESTING_MAX} deep; flatten it"),
    (deep(10_000), f"is nested too deeply (limit {NESTING_MAX}); flatten it"),
    (
        "x" * (50 * 1024 * 1024),
        (
            f"is 52,428,802 bytes, the limit is {PAYLOAD_BYTES_MAX:,}; "
            "store it in a file and pass the path"
        ),
    ),
    (
        object(),
        (
            "cannot be stored as JSON: objects of type object are not JSON; "
            "convert it to plain data first"
        ),
    ),
    (
        {"f": print},
        (
            "cannot be stored as JSON: objects of type builtin_function_or_method are not JSON; "
            "convert it to plain data first"
        ),
    ),
    (
        [1j],
        (
            "cannot be stored as JSON: objects of type complex are not JSON; convert it to plain "
            "data first"
        ),
    ),
    (
        Person,
        (
            "cannot be stored as JSON: objects of type ModelMetaclass are not JSON; convert it to "
            "plain data first"
        ),
    ),
]


@pytest.mark.parametrize(
    ("value", "problem"), REFUSED, ids=[problem[:50] for _, problem in REFUSED]
)
def test_what_json_would_change_is_refused_and_its_place_named(value: Any, problem: str) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        encode(value, "result of pay")
    assert (caught.value.where, caught.value.problem) == ("result of pay", problem)
    assert str(caught.value) == f"result of pay: {problem}"


def test_a_model_that_refuses_to_be_written_is_refused() -> None:
    with pytest.raises(PayloadInvalid, match=r"cannot be stored as JSON.*I would rather not"):
        encode([Unwilling(ratio=1)], "x")


def test_a_number_that_is_none_in_a_model_is_refused() -> None:
    class Ratio(pydantic.BaseModel):
        ratio: float

    with pytest.raises(PayloadInvalid, match="is nan, which JSON cannot hold"):
        encode(Ratio(ratio=math.nan), "x")


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadInvalid, match="is nested too deeply"):
        encode(loop, "x")


@pytest.mark.parametrize(
    "value",
    [
        deep(NESTING_MAX),
        ["[" * 10_000, '"' + "{" * 10_000],
        [[] for _ in range(10_000)],
        {"null": None, "9" * 30: "9" * 30},
        "x" * (PAYLOAD_BYTES_MAX - 2),
    ],
    ids=[
        "as deep as allowed",
        "brackets in text",
        "wide",
        "digits and nulls",
        "as long as allowed",
    ],
)
def test_what_only_looks_bad_is_taken(value: Any) -> None:
    text = encode(value, "x")
    assert codec(Any).decode(text, "x") == value


@pytest.mark.parametrize(
    ("text", "type_", "problem"),
    [
        ('{"x": "a"}', Point, "is not a Point: Expected `int`, got `str` - at `$.x`"),
        ("{}", Point, "is not a Point: Object missing required field `x`"),
        ("3", str, "is not a str: Expected `str`, got `int`"),
        ("", int, "is not a int: Input data was truncated"),
        ('"green"', Colour, "is not a Colour: Invalid enum value 'green'"),
        ("[" * 100_000, Any, "is nested too deeply to be read"),
    ],
)
def test_stored_text_that_does_not_fit_names_the_place(text: str, type_: Any, problem: str) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        codec(type_).decode(text, "recorded result of pay#1")
    assert caught.value.where == "recorded result of pay#1"
    assert caught.value.problem == problem


def test_a_model_says_what_does_not_fit() -> None:
    with pytest.raises(PayloadInvalid, match=r"(?s)is not a Person: .*name\n *Field required"):
        codec(Person).decode('{"born": "2026-01-01T00:00:00Z"}', "x")


@pytest.mark.parametrize("text", ["nonsense", "[1,", "[NaN]", "\ud800", "[" * 10_000])
def test_text_from_outside_must_be_json(text: str) -> None:
    with pytest.raises(PayloadInvalid, match=r"^payload: is not JSON"):
        check_text(text, "payload")


def test_text_from_outside_keeps_the_same_limits() -> None:
    with pytest.raises(PayloadInvalid, match="beyond 64 bits"):
        check_text("9" * 30, "payload")
    assert check_text(' [1,  {"a": null}] ', "payload") == '[1,{"a":null}]'


class Unknown:
    """A type that nothing knows how to read."""


def test_a_type_that_cannot_be_read_is_refused_by_name() -> None:
    with pytest.raises(PayloadInvalid, match="Unknown cannot be read from JSON"):
        codec(Unknown).decode("1", "x")
    with pytest.raises(TypeError, match="cannot be restored from JSON"):
        codec(dict[list[int], int] | set[Unknown] | list[int])


def test_a_codec_is_made_once() -> None:
    assert codec(list[Point]) is codec(list[Point])
    unhashable = Annotated[int, ["not hashable"]]
    assert codec(unhashable).decode("1", "x") == 1


def test_short_arguments_are_their_own_fingerprint() -> None:
    short = "x" * FINGERPRINT_TEXT_MAX
    assert fingerprint(short) == short
    long = fingerprint(short + "x")
    assert long.startswith('"blake2b:')
    assert long.endswith(f'({FINGERPRINT_TEXT_MAX + 1} characters)"')
    assert long != fingerprint(short + "y")
    assert isinstance(msgspec.json.decode(long), str)


# Through a runtime.


@activity
async def give(kind: str) -> Any:
    return {"nan": math.nan, "deep": deep(300), "surrogate": "\ud800"}.get(kind, kind)


@workflow
async def ask(kind: str) -> str:
    return f"got {await give(kind).options(retry=False)}"


@workflow
async def take(point: Point, people: list[Person], *, colour: Colour = Colour.RED) -> Line:
    assert type(point) is Point
    assert type(people[0]) is Person
    assert colour is Colour.BLUE
    return Line(point, Point(len(people)))


async def test_one_bad_payload_leaves_the_99_others_of_its_commit_alone() -> None:
    kinds = ["fine"] * 100
    kinds[41], kinds[42], kinds[43] = "nan", "deep", "surrogate"
    async with Runtime(":memory:", actors=[ask]) as rt:
        handles = [await rt.spawn(ask(kind)) for kind in kinds]
        outcomes: list[str] = []
        for handle in handles:
            try:
                outcomes.append(await handle.result())
            except WorkflowFailed as failed:
                cause = getattr(failed.cause, "cause", None)
                assert isinstance(cause, PayloadInvalid)
                assert cause.where == "result of give"
                outcomes.append("refused")
    assert [number for number, found in enumerate(outcomes) if found == "refused"] == [41, 42, 43]
    assert outcomes.count("got fine") == 97


async def test_values_keep_their_types_through_the_file(tmp_path: Any) -> None:
    async with Runtime(tmp_path / "app.db", actors=[take]) as rt:
        call = take(Point(1, 2.5, {"a"}), [Person(name="A", born=MOMENT)], colour=Colour.BLUE)
        handle = await rt.spawn(call)
        assert await handle.result() == Line(Point(1, 2.5, {"a"}), Point(1))


@pytest.mark.parametrize("bad", [math.nan, 2**70, "\ud800"])
async def test_arguments_that_cannot_be_stored_are_refused_at_the_spawn(bad: Any) -> None:
    async with Runtime(":memory:", actors=[ask]) as rt:
        with pytest.raises(PayloadInvalid, match=r"^arguments of ask: "):
            await rt.spawn(ask(bad), id="bad")
        assert await rt.list() == []
