"""Schedules: each tick starts one run, whatever the clock and the process do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monolite import Runtime, ScheduleInfo, Signal, errors, workflow
from tests.host.clocks import START, ManualClock, look
from tests.host.homes import Home

go = Signal("go", str)


@workflow
async def report(number: int = 0) -> int:
    return number


@workflow
async def long_report() -> str:
    return await go.receive()


@workflow(name="report")
async def other_report(number: int = 0) -> int:
    return -number


async def ids(rt: Runtime, prefix: str = "") -> list[str]:
    """The runs there are, oldest first; without the zeros that every test's day begins with."""
    found = await rt.list(id_prefix=prefix or None, limit=10_000)
    return [info.id.replace("2030-01-01T", "") for info in reversed(found)]


async def open_ids(rt: Runtime) -> list[str]:
    found = [x for x in await rt.list(limit=1_000) if x.status in ("running", "waiting")]
    return [info.id.replace("2030-01-01T", "") for info in reversed(found)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2030-01-01T{text}").replace(tzinfo=UTC)


def counts(info: ScheduleInfo) -> tuple[int, int]:
    return info.skipped, info.missed


async def test_each_tick_starts_one_run_whose_id_says_which(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        daily = await rt.schedule("hourly", report(7), cron="@hourly")
        assert await ids(rt) == []
        await clock.skip(rt, "59m 59s")
        assert await ids(rt) == []
        await clock.skip(rt, "1s")
        assert await ids(rt) == ["hourly@01:00:00Z"]
        assert await rt.handle("hourly@2030-01-01T01:00:00Z").result() == 7
        await clock.skip(rt, "1h")
        await look(rt)
        assert await ids(rt) == ["hourly@01:00:00Z", "hourly@02:00:00Z"]
        info = await daily.describe()
        assert (info.next_at, info.last_at) == (at("03:00"), at("02:00"))
        assert (info.last_run, info.last_status) == ("hourly@2030-01-01T02:00:00Z", "completed")
        assert (info.when, counts(info), info.open) == ("0 * * * * (UTC)", (0, 0), [])


async def test_an_interval_is_counted_from_its_anchor(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("a", report(), every="35m")
        await rt.schedule("b", report(), every="35m", anchor=at("00:20"))
        for _ in range(60):
            await clock.skip(rt, "1m")
        # 2030-01-01 is no multiple of 35 minutes away from 1970.
        assert await ids(rt) == [
            "a@00:10:00Z",
            "b@00:20:00Z",
            "a@00:45:00Z",
            "b@00:55:00Z",
        ]


async def test_declaring_it_again_changes_nothing(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        schedule = await rt.schedule("s", report(1), every="1h")
        await schedule.pause()
        before = await schedule.describe()
        await clock.skip(rt, "30m")
        await rt.schedule("s", report(1), every="60m")
        assert await schedule.describe() == before
        assert before.paused


async def test_other_settings_replace_those_it_has(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        schedule = await rt.schedule("s", report(1), cron="0 * * * *")
        await clock.skip(rt, "30m")
        await rt.schedule("s", report(2), cron="0 * * * *")
        assert (await schedule.describe()).next_at == at("01:00")
        await rt.schedule("s", report(2), cron="45 * * * *")
        assert (await schedule.describe()).next_at == at("00:45")
        await clock.skip(rt, "30m")
        assert await ids(rt) == ["s@00:45:00Z"]
        assert await rt.handle("s@2030-01-01T00:45:00Z").result() == 2
        assert [info.name for info in await rt.schedules()] == ["s"]


async def test_what_was_due_is_started_before_new_settings_count(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("s", report(1), cron="@hourly")
    clock.advance("2h 30m")
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("s", report(2), cron="45 * * * *")
        assert await ids(rt) == ["s@01:00:00Z", "s@02:00:00Z"]
        assert await rt.handle("s@2030-01-01T02:00:00Z").result() == 1


async def test_skip_passes_over_ticks_while_a_run_is_open(home: Home, clock: ManualClock) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        schedule = await rt.schedule("s", long_report(), every="1h")
        for _ in range(3):
            await clock.skip(rt, "1h")
        assert await ids(rt) == ["s@01:00:00Z"]
        info = await schedule.describe()
        assert (counts(info), info.last_skipped_at) == ((2, 0), at("03:00"))
        assert info.open == ["s@2030-01-01T01:00:00Z"]
        await rt.handle("s@2030-01-01T01:00:00Z").signal(go, "on")
        await clock.skip(rt, "1h")
        assert await ids(rt) == ["s@01:00:00Z", "s@04:00:00Z"]


async def test_buffer_lets_one_tick_wait(home: Home, clock: ManualClock) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        schedule = await rt.schedule("s", long_report(), every="1h", overlap="buffer")
        for _ in range(4):
            await clock.skip(rt, "1h")
        info = await schedule.describe()
        assert (info.buffered_at, counts(info)) == (at("02:00"), (2, 0))
        assert await ids(rt) == ["s@01:00:00Z"]
        await rt.handle("s@2030-01-01T01:00:00Z").signal(go, "on")
        await look(rt)
        assert await ids(rt) == ["s@01:00:00Z", "s@02:00:00Z"]
        assert (await schedule.describe()).buffered_at is None
        await rt.handle("s@2030-01-01T02:00:00Z").signal(go, "on")
        await look(rt)
        assert await ids(rt) == ["s@01:00:00Z", "s@02:00:00Z"]


async def test_allow_starts_runs_side_by_side(home: Home, clock: ManualClock) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        schedule = await rt.schedule("s", long_report(), every="1h", overlap="allow")
        for _ in range(3):
            await clock.skip(rt, "1h")
        assert await open_ids(rt) == ["s@01:00:00Z", "s@02:00:00Z", "s@03:00:00Z"]
        assert counts(await schedule.describe()) == (0, 0)


async def test_cancel_makes_room_and_starts_when_there_is_some(
    home: Home, clock: ManualClock
) -> None:
    @workflow
    async def stubborn() -> str:
        try:
            return await go.receive()
        finally:
            await go.receive()

    async with home.runtime(stubborn, clock=clock) as rt:
        schedule = await rt.schedule("s", stubborn(), every="1h", overlap="cancel")
        for _ in range(3):
            await clock.skip(rt, "1h")
        assert await ids(rt) == ["s@01:00:00Z"]
        info = await schedule.describe()
        assert (info.buffered_at, counts(info)) == (at("03:00"), (1, 0))
        first = rt.handle("s@2030-01-01T01:00:00Z")
        await first.signal(go, "now I am done")
        with pytest.raises(errors.Cancelled):
            await first.result()
        assert await open_ids(rt) == ["s@03:00:00Z"]


async def test_ticks_of_a_pause_are_passed_over(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        schedule = await rt.schedule("s", report(), every="1h")
        await schedule.pause()
        await clock.skip(rt, "2h 30m")
        info = await schedule.describe()
        assert (info.paused, info.next_at) == (True, None)
        await schedule.resume()
        assert (await schedule.describe()).next_at == at("03:00")
        assert await ids(rt) == []
        await clock.skip(rt, "30m")
        assert await ids(rt) == ["s@03:00:00Z"]


async def test_run_now_starts_one_at_once_and_counts_as_open(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        schedule = await rt.schedule("s", long_report(), every="1h")
        run = await schedule.run_now()
        assert run.id.startswith("s@now-")
        again = await schedule.run_now()
        assert len(await open_ids(rt)) == 2
        await clock.skip(rt, "1h")
        assert counts(await schedule.describe()) == (1, 0)
        await run.signal(go, "a")
        await again.signal(go, "b")
        assert (await run.result(), await again.result()) == ("a", "b")
        await clock.skip(rt, "1h")
        assert (await open_ids(rt)) == ["s@02:00:00Z"]


async def test_backfill_starts_past_ticks_in_order_and_once(home: Home, clock: ManualClock) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        schedule = await rt.schedule("s", long_report(), cron="@hourly")
        clock.advance("10s")
        start, end = START - timedelta(hours=3), START - timedelta(hours=1)
        runs = await schedule.backfill(start, end)
        assert [run.id for run in runs] == [
            "s@2029-12-31T21:00:00Z",
            "s@2029-12-31T22:00:00Z",
            "s@2029-12-31T23:00:00Z",
        ]
        for i, run in enumerate(runs):
            assert await open_ids(rt) == [run.id]
            assert (await schedule.describe()).backfills == (1 if i < 2 else 0)
            await run.signal(go, str(i))
            assert await run.result() == str(i)
        assert (await schedule.describe()).backfills == 0
        await schedule.backfill(start, end)
        assert len(await ids(rt)) == 3
        with pytest.raises(errors.Misused, match="interval of the past"):
            await schedule.backfill(START, START + timedelta(hours=1))
        with pytest.raises(errors.Misused, match="time zone"):
            await schedule.backfill(START.replace(tzinfo=None), START)


async def test_a_backfill_beside_one_another_where_that_is_allowed(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(report, clock=clock) as rt:
        schedule = await rt.schedule("s", report(), every="1s", overlap="allow")
        runs = await schedule.backfill(START - timedelta(seconds=599), START)
        assert len(runs) == 600
        for run in runs:
            assert await run.result() == 0
        assert await schedule.backfill(START - timedelta(seconds=0.5), START) != []


async def test_what_was_missed_is_made_up_for_within_catchup(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("s", report(), every="1h", catchup="2h 30m")
        await rt.schedule("c", report(), cron="0 * * * *", catchup="90m")
    clock.advance("6h")
    async with home.runtime(report, clock=clock) as rt:
        await look(rt)
        assert sorted(await ids(rt)) == [
            "c@05:00:00Z",
            "c@06:00:00Z",
            "s@04:00:00Z",
            "s@05:00:00Z",
            "s@06:00:00Z",
        ]
        infos = await rt.schedules()
        assert [counts(info) for info in infos] == [(0, 4), (0, 3)]


async def test_after_a_long_time_one_run_makes_up_for_what_it_overlaps(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        await rt.schedule("s", long_report(), cron="* * * * *")
    clock.advance("10d")
    async with home.runtime(long_report, clock=clock) as rt:
        info = await rt.scheduled("s").describe()
        for _ in range(1_000):
            if info.next_at is not None and info.next_at > START + timedelta(days=10):
                break
            await look(rt)
            info = await rt.scheduled("s").describe()
        assert await ids(rt) == ["s@00:01:00Z"]
        assert counts(info) == (10 * 1440 - 1, 0)


async def test_jitter_delays_the_start_and_is_the_same_each_time(
    home: Home, clock: ManualClock
) -> None:
    from monolite.core.schedule import jitter_us

    tick_us = clock.now_us() + 3_600_000_000
    delay_us = jitter_us("s", tick_us, 60_000_000)
    assert 0 < delay_us < 60_000_000
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("s", report(), every="1h", jitter="1m")
        await clock.skip(rt, "1h")
        await clock.skip(rt, (delay_us - 1) / 1_000_000)
        assert await ids(rt) == []
        await clock.skip(rt, 0.000_001)
        assert await ids(rt) == ["s@01:00:00Z"]


async def test_a_deleted_schedule_ticks_no_more(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        schedule = await rt.schedule("s", report(), every="1h")
        await clock.skip(rt, "1h")
        await schedule.delete()
        await clock.skip(rt, "5h")
        assert await ids(rt) == ["s@01:00:00Z"]
        assert await rt.schedules() == []
        for act in (schedule.pause, schedule.run_now, schedule.delete, schedule.describe):
            with pytest.raises(errors.UnknownSchedule, match="'s'"):
                await act()


async def test_a_clock_that_steps_starts_nothing_early_and_nothing_twice(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("s", report(), every="10m")
        await rt.schedule("c", report(), cron="*/10 * * * *")
        base, started = clock.now_us(), 0
        for step in (25, -60, 60, 5, 60, -60, -30, 90, 1, -61, 61):
            clock.step(step * 60)
            await look(rt)
            await look(rt)
            shown = (clock.now_us() - base) // 600_000_000
            started = max(started, shown)
            for name in "sc":
                found = await ids(rt, f"{name}@")
                assert len(set(found)) == len(found) == started


async def test_the_rows_survive_what_memory_does_not(home: Home, clock: ManualClock) -> None:
    async with home.runtime(long_report, clock=clock) as rt:
        await rt.schedule("s", long_report(), every="1h", overlap="buffer")
        await clock.skip(rt, "2h")
    async with home.runtime(long_report, clock=clock) as rt:
        await rt.handle("s@2030-01-01T01:00:00Z").signal(go, "on")
        await rt.handle("s@2030-01-01T01:00:00Z").result()
        await look(rt)
        assert await open_ids(rt) == ["s@02:00:00Z"]


async def test_a_run_without_code_waits_for_it(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        await rt.schedule("s", report(3), every="1h")
    async with home.runtime(long_report, clock=clock) as rt:
        await clock.skip(rt, "1h")
        await look(rt)
        info = await rt.handle("s@2030-01-01T01:00:00Z").describe()
        assert info.waiting_on == "no code for 'report'"
    async with home.runtime(report, clock=clock) as rt:
        assert await rt.handle("s@2030-01-01T01:00:00Z").result() == 3


async def test_settings_that_make_no_sense_are_refused(home: Home, clock: ManualClock) -> None:
    async with home.runtime(report, clock=clock) as rt:
        bad: list[tuple[dict[str, Any], str]] = [
            ({}, "either cron"),
            ({"cron": "@daily", "every": 5}, "either cron"),
            ({"cron": "* * * *"}, "5 fields"),
            ({"cron": "0 0 0 * * *"}, "5 fields"),
            ({"cron": "@fortnightly"}, "5 fields"),
            ({"cron": "60 * * * *"}, "Bad minute"),
            ({"cron": "0 0 30 2 *"}, "Bad day-of-month"),
            ({"cron": "@daily", "tz": "Europe/Atlantis"}, "no time zone"),
            ({"cron": "@daily", "tz": "../etc/passwd"}, "no time zone"),
            ({"every": 0}, "too short"),
            ({"every": "1h", "overlap": "queue"}, "none of"),
            ({"every": "1h", "anchor": datetime(2030, 1, 1)}, "with a time zone"),  # noqa: DTZ001
            ({"cron": "@daily", "anchor": START}, "every="),
        ]
        for settings, words in bad:
            with pytest.raises(errors.Misused, match=words):
                await rt.schedule("s", report(), **settings)
        with pytest.raises(errors.Misused, match="characters"):
            await rt.schedule("s" * 401, report(), every=1)
        with pytest.raises(errors.UnknownWorkflow):
            await rt.schedule("s", long_report(), every=1)
        assert await rt.schedules() == []
