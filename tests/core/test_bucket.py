"""A rate is never exceeded in any stretch of its period, and nearly used up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monolite.core.bucket import SLICES, Bucket

PER_US = 6_400


@given(
    limit=st.integers(1, 200),
    waits=st.lists(st.integers(0, 300), min_size=1, max_size=400),
)
def test_no_period_has_more_starts_than_the_limit(limit: int, waits: list[int]) -> None:
    bucket, now_us, starts = Bucket((limit, PER_US)), 0, list[int]()
    for wait_us in waits:
        now_us += wait_us
        while bucket.next_us(now_us) <= now_us and len(starts) < 2_000:
            bucket.take(now_us)
            starts.append(now_us)
        assert bucket.next_us(now_us) <= now_us + PER_US
        bucket.restore(bucket.state())  # as a restart does
    for i, start_us in enumerate(starts):
        in_period = [x for x in starts[i:] if x < start_us + PER_US]
        assert len(in_period) <= limit
    assert len(bucket.state()) <= SLICES + 1


def test_what_is_taken_comes_back_a_64th_late_at_most() -> None:
    bucket, now_us, starts = Bucket((100, PER_US)), 0, 0
    while now_us < 100 * PER_US:
        while bucket.next_us(now_us) <= now_us:
            bucket.take(now_us)
            starts += 1
        now_us = bucket.next_us(now_us)
    assert 100 * 100 * SLICES / (SLICES + 1) <= starts <= 100 * 100


def test_without_a_rate_there_is_no_end_of_tokens() -> None:
    bucket = Bucket(None)
    bucket.take(5)
    assert (bucket.next_us(5), bucket.state()) == (5, [])


def test_a_lower_limit_holds_from_now_on() -> None:
    bucket = Bucket((10, PER_US))
    for now_us in range(0, 1_000, 100):
        bucket.take(now_us)
    bucket.change((2, PER_US))
    assert bucket.next_us(1_000) == 800 + PER_US
    bucket.change(None)
    assert bucket.next_us(1_000) == 1_000
