"""Signatures: arguments and results cross as JSON and come back as the annotations say."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Optional, TypeVar

import pytest

from monolite.core.signature import Signature
from monolite.errors import PayloadInvalid


@dataclass
class Point:
    x: int
    y: int = 0


def signature(fn: Callable[..., Any]) -> Signature:
    return Signature(fn, fn.__name__)


def plain(a: Point, b: list[Point], c: int = 3) -> Point: ...  # type: ignore[empty-body]


def keyword(a: Point, *, b: Point) -> None: ...


def positional(a: Point, /, b: int) -> None: ...


def variadic(a: int, *rest: Point, **named: Point) -> None: ...


def without_annotations() -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    exec("def bare(a, b=1): ...", scope)
    found: Callable[..., Any] = scope["bare"]
    return found


bare = without_annotations()


def forward(a: Later) -> Later: ...  # type: ignore[empty-body]


@dataclass
class Later:
    """Defined after what names it."""

    n: int


def optional(a: Optional[Point], b: Annotated[int, "note"] = 1) -> Point | None: ...  # noqa: UP045


POINT = Point(1, 2)


ACCEPTED: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str | None]] = [
    (plain, (POINT, [POINT]), {}, '[{"x":1,"y":2},[{"x":1,"y":2}]]'),
    (plain, (POINT, []), {"c": 4}, '{"args":[{"x":1,"y":2},[]],"kwargs":{"c":4}}'),
    (plain, (), {"a": POINT, "b": [POINT]}, None),
    (keyword, (POINT,), {"b": POINT}, None),
    (positional, (POINT, 1), {}, None),
    (variadic, (1, POINT, POINT), {}, None),
    (variadic, (1,), {"left": POINT, "right": POINT}, None),
    (variadic, (1, POINT), {"left": POINT}, None),
    (bare, (1, "x"), {}, '[1,"x"]'),
    (bare, ({"args": 1},), {}, '[{"args":1}]'),
    (forward, (Later(3),), {}, '[{"n":3}]'),
    (optional, (None, 5), {}, "[null,5]"),
    (optional, (POINT,), {}, None),
]


@pytest.mark.parametrize(("fn", "args", "kwargs", "text"), ACCEPTED)
def test_arguments_come_back_typed(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], text: str | None
) -> None:
    known = signature(fn)
    known.check(args, kwargs)
    encoded = known.encode(args, kwargs)
    assert text is None or encoded == text
    assert known.decode(encoded) == (args, kwargs)
    if not kwargs:
        assert known.decode_positional(encoded, len(args)) == args


@pytest.mark.parametrize("fn", [plain, forward, optional])
def test_results_come_back_typed(fn: Callable[..., Any]) -> None:
    result = signature(fn).result
    assert result.decode('{"n": 3}' if fn is forward else '{"x": 1}', "x") in (Later(3), Point(1))


def test_without_annotations_plain_json_comes_back() -> None:
    assert signature(bare).result.decode('{"x": [1]}', "x") == {"x": [1]}


def test_a_function_without_a_result_gives_none() -> None:
    assert signature(keyword).result.decode("null", "x") is None
    with pytest.raises(PayloadInvalid):
        signature(keyword).result.decode("1", "x")


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "problem"),
    [
        (plain, (), {}, "missing a required argument: 'a'"),
        (plain, (POINT,), {}, "missing a required argument: 'b'"),
        (plain, (1, 2, 3, 4), {}, "too many positional arguments"),
        (plain, (1, 2), {"d": 1}, "got an unexpected keyword argument 'd'"),
        (plain, (1, 2), {"a": 1}, "multiple values for argument 'a'"),
        (keyword, (1,), {}, "missing a required"),
        (keyword, (1, 2), {}, "too many positional arguments"),
        (
            positional,
            (),
            {"a": 1, "b": 2},
            "('a' parameter is positional only|positional-only .*'a')",
        ),
    ],
)
def test_arguments_the_function_does_not_take_are_refused_as_python_would(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TypeError, match=rf"^{fn.__name__}\(\): .*{problem}"):
        signature(fn).check(args, kwargs)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[{"x":"no"},[]]', "argument a of plain"),
        ("[3]", "argument a of plain"),
        ("[1", "arguments of plain"),
        ("3", "arguments of plain"),
        ('{"args":[1],"kwargs":{}}', "argument a of plain"),
        ('{"args":[],"kwargs":{"b":3}}', "argument b of plain"),
        ('{"nonsense":1}', "arguments of plain"),
        ("{", "arguments of plain"),
        ("", "arguments of plain"),
    ],
)
def test_recorded_arguments_that_do_not_fit_name_the_place(text: str, where: str) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        signature(plain).decode(text)
    assert caught.value.where == where


def test_an_annotation_that_cannot_be_found_is_named() -> None:
    @dataclass
    class Local:
        x: int

    def local(a: Local) -> None: ...

    with pytest.raises(TypeError, match=r"^local: an annotation names 'Local', which its module"):
        signature(local).check((1,), {})


def test_an_annotation_that_cannot_be_read_is_named() -> None:
    def union(a: Point | dict[str, int]) -> None: ...

    found = signature(union)
    with pytest.raises(TypeError, match="cannot be restored from JSON"):
        found.decode("[1]")


T = TypeVar("T")


def test_type_variables_are_anything() -> None:
    def generic(a: T, b: list[T]) -> T:
        return a

    assert signature(generic).decode('[1,["x"]]') == ((1, ["x"]), {})


def test_methods_and_partials_have_signatures_too() -> None:
    class Service:
        def call(self, a: Point) -> Point:
            return a

    known = Signature(Service().call, "call")
    assert known.decode('[{"x":1}]') == ((Point(1),), {})
    known.check((POINT,), {})


def test_a_builtin_that_does_not_say_what_it_takes_takes_anything() -> None:
    for builtin in (time.time, str, dict):
        signature = Signature(builtin, "builtin")
        text = signature.encode((1, "two"), {"three": 3})
        assert signature.decode(text) == ((1, "two"), {"three": 3})
        assert signature.decode(signature.encode((), {})) == ((), {})
