"""Durations: seconds, timedelta or text; everything else is refused by name."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monolite.core.duration import seconds


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, 0),
        (3, 3),
        (0.25, 0.25),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        ("500ms", 0.5),
        ("10s", 10),
        ("5m", 300),
        ("2h", 7_200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1.5h", 5_400),
        ("1h30m", 5_400),
        (" 1h 30m ", 5_400),
        ("2 d", 172_800),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_in_seconds(duration: Any, expected: float) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "10", "s", "10 seconds", "-5s", "5s-", "1e3s", "5M", "5s6", "1h,5m", "inf", "."],
)
def test_text_that_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"^timeout .* is not a duration; write it like '500ms'"):
        seconds(text, name="timeout")


@pytest.mark.parametrize(
    "duration", [-1, -0.001, math.nan, math.inf, -math.inf, timedelta(seconds=-1)]
)
def test_a_duration_that_is_negative_or_not_finite_is_refused(duration: Any) -> None:
    with pytest.raises(ValueError, match=r"^delay must be zero or more and at most 1,000 years"):
        seconds(duration, name="delay")


@pytest.mark.parametrize("duration", [1e300, 10**400, timedelta.max, "99999999999w"])
def test_a_duration_that_no_calendar_holds_is_refused(duration: Any) -> None:
    with pytest.raises(ValueError, match=r"^delay must be zero or more and at most 1,000 years"):
        seconds(duration, name="delay")


def test_a_thousand_years_are_taken() -> None:
    assert seconds(timedelta(days=365_000)) == 365_000 * 86_400


@pytest.mark.parametrize("duration", [True, False, None, [], b"5s", object()])
def test_what_is_no_duration_at_all_is_refused(duration: Any) -> None:
    with pytest.raises(TypeError, match=r"^pause must be a number of seconds, a timedelta or text"):
        seconds(duration, name="pause")


def test_a_decimal_is_a_number_of_seconds() -> None:
    assert seconds(Decimal("1.5")) == 1.5  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_text_means_what_timedelta_means(number: int, unit: str) -> None:
    names = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    expected = timedelta(**{names[unit]: number % 10_000}).total_seconds()
    assert seconds(f"{number % 10_000}{unit}") == pytest.approx(expected)
