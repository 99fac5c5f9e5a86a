"""Retry policies: how often, how long between, and what not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monolite import Retry
from monolite.core import failure
from monolite.core.retry import as_retry


def waits_s(retry: Retry, failures: int) -> list[float | None]:
    found = [retry.delay_us(failed, "seed") for failed in range(1, failures + 1)]
    return [None if wait is None else wait / 1_000_000 for wait in found]


def test_the_wait_grows_up_to_its_limit_and_the_attempts_end() -> None:
    retry = Retry(6, first_delay="1s", backoff=3, max_delay="20s", jitter=0)
    assert waits_s(retry, 7) == [1, 3, 9, 20, 20, None, None]


def test_the_default_is_five_attempts_within_seconds() -> None:
    found = waits_s(Retry(jitter=0), 5)
    assert found == [0.1, 0.2, 0.4, 0.8, None]


def test_one_attempt_is_never_repeated() -> None:
    assert waits_s(Retry(1), 2) == [None, None]


def test_a_retry_without_bound_goes_on() -> None:
    retry = Retry(None, first_delay=1, max_delay=60, jitter=0)
    assert retry.delay_us(1_000_000, "seed") == 60_000_000


@pytest.mark.parametrize("backoff", [1.0, 2.0, 1e6, 1e300])
def test_no_back_off_overflows(backoff: float) -> None:
    retry = Retry(None, first_delay=0.5, backoff=backoff, max_delay="1h", jitter=0)
    for failed in (1, 2, 64, 65, 10_000):
        wait = retry.delay_us(failed, "seed")
        assert wait is not None
        assert 500_000 <= wait <= 3_600_000_000


@given(
    st.integers(1, 200),
    st.floats(0, 1),
    st.floats(0, 100),
    st.floats(1, 100),
    st.text(),
)
def test_jitter_moves_the_wait_by_its_share_and_repeats(
    failed: int, jitter: float, first: float, backoff: float, seed: str
) -> None:
    plain = Retry(None, first_delay=first, backoff=backoff, max_delay=60, jitter=0)
    moved = Retry(None, first_delay=first, backoff=backoff, max_delay=60, jitter=jitter)
    wait, base = moved.delay_us(failed, seed), plain.delay_us(failed, seed)
    assert wait is not None
    assert base is not None
    assert base * (1 - jitter) - 1 <= wait <= base * (1 + jitter) + 1
    assert wait == moved.delay_us(failed, seed)


def test_jitter_differs_between_attempts_and_activities() -> None:
    retry = Retry(None, first_delay=10, backoff=1, jitter=0.5)
    found = {retry.delay_us(failed, seed) for failed in (1, 2, 3) for seed in "abc"}
    assert len(found) == 9


def test_types_that_are_not_worth_it_end_the_activity() -> None:
    retry = Retry(non_retryable=(KeyError, OSError))
    assert retry.retryable(ValueError())
    assert not retry.retryable(KeyError())
    assert not retry.retryable(FileNotFoundError())


def test_a_predicate_decides() -> None:
    retry = Retry(non_retryable=lambda error: "4" in str(error))
    assert retry.retryable(ValueError("500"))
    assert not retry.retryable(ValueError("404"))


def test_types_named_in_a_policy_come_back_as_themselves() -> None:
    class Declined(Exception):
        pass

    Retry(non_retryable=(Declined,))
    described = failure.describe(Declined("no money"))
    assert type(failure.rebuild(described)) is Declined


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"max_attempts": 0}, r"Retry\.max_attempts must be at least 1 or None, not 0"),
        ({"backoff": 0.5}, r"Retry\.backoff must be at least 1 and finite, not 0\.5"),
        ({"backoff": math.nan}, r"Retry\.backoff must be at least 1 and finite, not nan"),
        ({"backoff": math.inf}, r"Retry\.backoff must be at least 1 and finite, not inf"),
        ({"jitter": -0.1}, r"Retry\.jitter is a share of the wait between 0 and 1, not -0\.1"),
        ({"jitter": 2}, r"Retry\.jitter is a share of the wait between 0 and 1, not 2"),
        ({"jitter": math.nan}, r"Retry\.jitter is a share of the wait between 0 and 1, not nan"),
        ({"first_delay": -1}, r"Retry\.first_delay must be zero or more"),
        ({"max_delay": "soon"}, r"Retry\.max_delay 'soon' is not a duration"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(
    arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Retry(**arguments)


def test_policies_with_equal_values_are_equal() -> None:
    assert Retry(3, first_delay="1s") == Retry(3, first_delay=1)
    assert hash(Retry(3, first_delay="1s")) == hash(Retry(3, first_delay=1))
    assert Retry(3) != Retry(4)
    assert Retry(3) != 3
    assert repr(Retry(3)) == (
        "Retry(max_attempts=3, first_delay=0.1, backoff=2.0, max_delay=60.0, jitter=0.1)"
    )


def test_a_policy_can_be_given_short() -> None:
    policy = Retry(7)
    assert as_retry(policy) is policy
    assert as_retry(3) == Retry(3)
    assert as_retry(False) == Retry(1)
    for wrong in (True, "3", 2.5, None):
        with pytest.raises(TypeError, match="retry must be a Retry, a number of attempts or False"):
            as_retry(wrong)
