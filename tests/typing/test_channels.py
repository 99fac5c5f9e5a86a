"""Channels: their type is their argument's, under both checkers, and Any if they are given none."""

from __future__ import annotations

from typing import Any, assert_type

from monolite import Signal, View

number = Signal("number", int)
names = View("names", list[str])
either: Signal[int | None] = Signal("either", int | None)
anything = Signal("anything")
union = View("union", int | None)


def test_a_channel_knows_its_type() -> None:
    assert_type(number, Signal[int])
    assert_type(names, View[list[str]])
    assert_type(either, Signal[int | None])
    assert names.decode('["a"]') == ["a"]


def test_a_channel_without_a_class_takes_anything_that_fits_it() -> None:
    assert_type(anything, Signal[Any])
    assert_type(union, View[Any])
    assert anything.decode('{"a": 1}') == {"a": 1}
    assert union.decode("null") is None
