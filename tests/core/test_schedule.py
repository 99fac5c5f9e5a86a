"""A schedule's decisions: on a tick, and on what people ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monolite.core.schedule import (
    BACKFILL_TICKS_MAX,
    BACKFILLS_MAX,
    OPEN_MAX,
    Amended,
    Backfill,
    Declare,
    Delete,
    RunNow,
    ScheduleRow,
    SetPaused,
    Spec,
    Verdict,
    after_tick,
    amend,
    changed,
    jitter_us,
    judge,
    next_fill,
    parse_time,
    started,
    sure_misses,
    tick_id,
)
from monolite.errors import Misused, UnknownSchedule

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US

TICK_US = 1_000 * HOUR_US


def a_row(**fields: Any) -> ScheduleRow:
    spec = Spec(every_us=HOUR_US, catchup_us=HOUR_US)
    defaults: dict[str, Any] = {
        "name": "s",
        "workflow": "report",
        "version": 1,
        "args": "[]",
        "spec": spec,
        "declared_us": TICK_US - 1,
        "revision": 7,
        "next_us": TICK_US,
    }
    return ScheduleRow(**{**defaults, **fields})


def with_overlap(overlap: str, **fields: Any) -> ScheduleRow:
    return a_row(spec=Spec(every_us=HOUR_US, catchup_us=HOUR_US, overlap=overlap), **fields)


@pytest.mark.parametrize(
    ("overlap", "busy", "buffered_us", "verdict"),
    [
        ("skip", False, None, Verdict.START),
        ("skip", True, None, Verdict.SKIP),
        ("buffer", False, None, Verdict.START),
        ("buffer", True, None, Verdict.WAIT),
        ("buffer", True, 5, Verdict.SKIP),
        ("buffer", False, 5, Verdict.SKIP),
        ("cancel", False, None, Verdict.START),
        ("cancel", True, None, Verdict.REPLACE),
        ("cancel", True, 5, Verdict.REPLACE),
        ("allow", True, None, Verdict.START),
        ("allow", False, None, Verdict.START),
    ],
)
def test_a_tick_that_is_due(
    overlap: str, busy: bool, buffered_us: int | None, verdict: Verdict
) -> None:
    row = with_overlap(overlap, buffered_us=buffered_us)
    assert judge(row, TICK_US, busy=busy) is verdict
    assert judge(row, TICK_US + HOUR_US, busy=busy) is verdict
    assert judge(row, TICK_US + HOUR_US + 1, busy=busy) is Verdict.MISS


def test_what_becomes_of_a_tick_is_in_the_row() -> None:
    row, later_us = a_row(), TICK_US + HOUR_US
    first = after_tick(row, Verdict.START, later_us)
    assert first == changed(
        row, next_us=later_us, last_us=TICK_US, last_id=tick_id("s", TICK_US), open=(first.last_id,)
    )
    assert after_tick(row, Verdict.SKIP, later_us) == changed(
        row, next_us=later_us, skipped=1, skipped_us=TICK_US
    )
    assert after_tick(row, Verdict.MISS, later_us) == changed(row, next_us=later_us, missed=1)
    waits = after_tick(row, Verdict.WAIT, later_us)
    assert waits == changed(row, next_us=later_us, buffered_us=TICK_US)
    newer = after_tick(waits, Verdict.REPLACE, None)
    assert newer == changed(
        waits, next_us=None, buffered_us=later_us, skipped=1, skipped_us=TICK_US
    )


def test_runs_that_may_overlap_are_not_kept_count_of() -> None:
    row = started(with_overlap("allow"), "a", 1)
    assert (row.open, row.last_id, row.last_us) == ((), "a", 1)
    twice = started(started(a_row(), "a"), "a")
    assert (twice.open, twice.last_us) == (("a",), None)


def test_a_tick_is_named_by_its_moment_in_utc() -> None:
    at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    at_us = round(at.timestamp()) * SECOND_US
    assert tick_id("daily", at_us) == "daily@2026-11-23T08:00:00Z"
    assert tick_id("fast", at_us + 20_000) == "fast@2026-11-23T08:00:00.020000Z"


@given(st.text(), st.integers(0, 10**18), st.integers(1, 10**14))
def test_jitter_is_repeatable_and_within_its_bound(name: str, tick_us: int, most_us: int) -> None:
    found = jitter_us(name, tick_us, most_us)
    assert 0 <= found < most_us
    assert found == jitter_us(name, tick_us, most_us)
    assert jitter_us(name, tick_us, 0) == 0


def test_jitter_spreads() -> None:
    found = [jitter_us("s", tick_us, 1_000) for tick_us in range(1_000)]
    assert 400 < sum(found) / len(found) < 600


def test_ticks_that_are_surely_too_old_are_counted_at_once() -> None:
    row = a_row()
    now_us = TICK_US + 10 * HOUR_US + 1
    assert sure_misses(row, now_us) == (9, TICK_US + 9 * HOUR_US)
    assert sure_misses(row, TICK_US) == (0, TICK_US)
    assert sure_misses(a_row(spec=Spec(cron="0 * * * *")), now_us) == (0, TICK_US)


@given(st.integers(-(10**6), 10**6), st.integers(1, 1000), st.integers(-(10**6), 10**6))
def test_the_next_tick_of_an_interval_is_the_first_after(
    anchor_us: int, every_us: int, after_us: int
) -> None:
    tick_us = Spec(every_us=every_us, anchor_us=anchor_us).next_tick(after_us)
    assert tick_us is not None
    assert (tick_us - anchor_us) % every_us == 0
    assert after_us < tick_us <= after_us + every_us


# Requests.


def declared(spec: Spec, args: str = "[]") -> Declare:
    return Declare(spec, "report", 1, args)


def row_of(amended: Amended) -> ScheduleRow:
    assert amended.row is not None
    return amended.row


def test_a_declaration_begins_with_the_first_tick_after_it() -> None:
    row = row_of(amend(None, "s", declared(a_row().spec), TICK_US))
    assert (row.next_us, row.declared_us, row.revision) == (TICK_US + HOUR_US, TICK_US, TICK_US)
    assert row_of(amend(row, "s", declared(a_row().spec), TICK_US + 5)) == row


def test_another_time_begins_anew_and_other_settings_do_not() -> None:
    row = a_row(next_us=TICK_US - HOUR_US, paused=True)
    same = msgspec.structs.replace(row.spec, catchup_us=1)
    assert row_of(amend(row, "s", declared(same), TICK_US)).next_us == TICK_US - HOUR_US
    other = msgspec.structs.replace(row.spec, every_us=SECOND_US)
    found = row_of(amend(row, "s", declared(other, args="[1]"), TICK_US))
    assert (found.next_us, found.args, found.paused) == (TICK_US + SECOND_US, "[1]", True)


def test_a_tick_that_waits_waits_on_unless_nothing_waits_any_more() -> None:
    row = with_overlap("buffer", buffered_us=5, open=("a",))
    kept = row_of(amend(row, "s", declared(with_overlap("cancel").spec), TICK_US))
    assert (kept.buffered_us, kept.open, kept.skipped) == (5, ("a",), 0)
    free = row_of(amend(row, "s", declared(with_overlap("allow").spec), TICK_US))
    assert (free.buffered_us, free.open, free.skipped) == (5, (), 0)
    dropped = row_of(amend(row, "s", declared(with_overlap("skip").spec), TICK_US))
    assert (dropped.buffered_us, dropped.skipped, dropped.skipped_us) == (None, 1, 5)


def test_a_pause_ends_with_the_next_tick_after_it() -> None:
    row = a_row()
    paused = row_of(amend(row, "s", SetPaused(paused=True), TICK_US - 5))
    assert paused.due_us is None
    assert row_of(amend(paused, "s", SetPaused(paused=True), TICK_US)) == paused
    resumed = row_of(amend(paused, "s", SetPaused(paused=False), TICK_US + 3 * HOUR_US))
    assert resumed.next_us == TICK_US + 4 * HOUR_US
    assert row_of(amend(row, "s", SetPaused(paused=False), TICK_US + 3 * HOUR_US)) == row


def test_a_run_now_is_started_and_kept_count_of() -> None:
    found = amend(a_row(open=("a",)), "s", RunNow("s@now-1"), TICK_US)
    assert found.starts == found.answer == ("s@now-1",)
    assert row_of(found).open == ("a", "s@now-1")


def test_runs_asked_for_by_hand_have_a_bound() -> None:
    row = a_row(open=tuple(map(str, range(OPEN_MAX))))
    with pytest.raises(Misused, match="1,000 runs of 's'"):
        amend(row, "s", RunNow("s@now-1"), TICK_US)


@pytest.mark.parametrize(
    ("every_us", "words"),
    [
        (86_400 * SECOND_US, "every 1d"),
        (90 * 60 * SECOND_US, "every 90m"),
        (7_200 * SECOND_US, "every 2h"),
        (61 * SECOND_US, "every 61s"),
        (1_500_000, "every 1500ms"),
    ],
)
def test_an_interval_in_words(every_us: int, words: str) -> None:
    assert Spec(every_us=every_us).words() == words


def test_a_backfill_names_its_ticks_and_is_emptied_in_order() -> None:
    found = amend(a_row(), "s", Backfill(0, 2 * HOUR_US), TICK_US)
    assert found.answer == tuple(tick_id("s", n * HOUR_US) for n in range(3))
    row, ticks = row_of(found), list[int]()
    while row.backfill:
        tick_us, row = next_fill(row)
        ticks += [] if tick_us is None else [tick_us]
    assert ticks == [0, HOUR_US, 2 * HOUR_US]
    assert row == a_row()
    assert next_fill(row) == (None, row)
    assert amend(a_row(), "s", Backfill(1, 2), TICK_US) == Amended(a_row())


@pytest.mark.parametrize(
    ("row", "start_us", "end_us", "words"),
    [
        (a_row(), 2, 1, "interval of the past"),
        (a_row(), 0, TICK_US + 1, "interval of the past"),
        (a_row(spec=Spec(every_us=1_000)), 0, 1_000 * BACKFILL_TICKS_MAX, "10,000 ticks"),
        (a_row(backfill=((0, 1),) * BACKFILLS_MAX), 0, 1, "100 intervals"),
    ],
)
def test_a_backfill_has_bounds(row: ScheduleRow, start_us: int, end_us: int, words: str) -> None:
    with pytest.raises(Misused, match=words):
        amend(row, "s", Backfill(start_us, end_us), TICK_US)


def test_one_that_is_not_there_can_only_be_declared() -> None:
    assert amend(a_row(), "s", Delete(), TICK_US) == Amended(None)
    for request in (Delete(), RunNow("x"), SetPaused(paused=True), Backfill(0, 1)):
        with pytest.raises(UnknownSchedule, match="'s'"):
            amend(None, "s", request, TICK_US)


def test_a_time_without_zone_is_utc() -> None:
    assert parse_time("1970-01-01T01:00+01:00") == parse_time("1970-01-01") == 0
    with pytest.raises(Misused, match="no time"):
        parse_time("yesterday")
