"""Time-outs that count from the request: until an activity begins, and until it is over."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from monolite import Handle, Retry, Workflow, activity, attempt, errors, workflow
from monolite.host import supervisor
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops

PATIENCE_S = 20.0

SLOWLY = Retry(None, first_delay="1h", backoff=1, max_delay="1h", jitter=0)


class Busy(Exception):
    """A failure that another attempt may cure."""


class Stage:
    """An activity that goes on until it is cancelled, and how far it has come."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.cancelled = anyio.Event()
        self.numbers: list[int] = []

    async def play(self) -> None:
        self.numbers.append(attempt().number)
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()


def hurried(act: Any, **limits: Any) -> Workflow[[], str]:
    """A workflow that says how its one activity timed out, then waits at the gate."""

    @workflow
    async def hurries() -> str:
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await act().options(**limits)
        error = caught.value
        await gate.wait_for_it()
        return f"{error.kind} {error.limit_s} {error.attempts}"

    return hurries


async def let_through(run: Handle[Any]) -> str:
    await gate.reached(run)
    await gate.open(run)
    said: str = await run.result()
    return said


# Schedule-to-close.


@on_both_loops
async def test_a_running_attempt_is_stopped_when_the_whole_time_is_over(home: Home) -> None:
    stage, clock = Stage(), ManualClock()
    act = activity(name="act")(stage.play)
    hurries = hurried(act, schedule_to_close="1h")

    async with home.runtime(hurries, clock=clock) as rt:
        run = await rt.spawn(hurries())
        await stage.begun.wait()
        await clock.skip(rt, "59m")
        assert "act#1" in ((await run.describe()).waiting_on or "")
        await clock.skip(rt, "1m")
        await stage.cancelled.wait()
        assert await let_through(run) == "schedule-to-close 3600.0 1"
        kinds = [x.kind for x in await run.history()]

    assert stage.numbers == [1]
    assert [kind for kind in kinds if not kind.startswith("attempt")] == [
        "started",
        "activity",
        "signal",
        "completed",
    ]


async def test_it_counts_over_attempts_and_the_waits_between_them(
    home: Home, clock: ManualClock
) -> None:
    numbers: list[int] = []

    @activity(retry=SLOWLY)
    async def flaky() -> None:
        numbers.append(attempt().number)
        raise Busy

    hurries = hurried(flaky, schedule_to_close="90m")
    async with home.runtime(hurries, clock=clock) as rt:
        run = await rt.spawn(hurries())
        await waits_on(run, "attempt 2 at ")
        await clock.skip(rt, "1h")
        await waits_on(run, "attempt 3 at ")
        await clock.skip(rt, "30m")
        assert await let_through(run) == "schedule-to-close 5400.0 2"
        await clock.skip(rt, "1d")

    assert numbers == [1, 2]


async def test_it_is_the_same_in_the_next_life(home: Home, clock: ManualClock) -> None:
    @activity(retry=SLOWLY)
    async def flaky() -> None:
        raise Busy

    hurries = hurried(flaky, schedule_to_close="90m")
    async with home.runtime(hurries, clock=clock) as rt:
        await waits_on(await rt.spawn(hurries(), id="h"), "attempt 2 at ")
    clock.advance("1h")
    async with home.runtime(hurries, clock=clock) as rt:
        run = rt.handle("h")
        await waits_on(run, "attempt 3 at ")
        await clock.skip(rt, "29m")
        await waits_on(run, "attempt 3 at ")
    clock.advance("1m")
    async with home.runtime(hurries, clock=clock) as rt:
        assert await let_through(rt.handle("h")) == "schedule-to-close 5400.0 2"


async def test_it_counts_from_the_request_not_from_the_run_s_start(
    home: Home, clock: ManualClock
) -> None:
    stage = Stage()
    act = activity(stage.play)

    @workflow
    async def late() -> str:
        await asyncio.sleep(3_600)
        with pytest.raises(errors.ActivityTimedOut):
            await act().options(schedule_to_close="1h")
        return "timed out"

    async with home.runtime(late, clock=clock) as rt:
        run = await rt.spawn(late())
        await clock.skip(rt, "1h")
        await stage.begun.wait()
        await clock.skip(rt, "59m")
        assert not stage.cancelled.is_set()
        await clock.skip(rt, "1m")
        assert await run.result() == "timed out"


async def test_a_run_that_has_left_memory_comes_back_for_it(home: Home, clock: ManualClock) -> None:
    stage = Stage()
    hurries = hurried(activity(stage.play), schedule_to_close="1h")

    @workflow
    async def other() -> str:
        return await gate.wait_for_it()

    async with home.runtime(hurries, other, clock=clock, max_live=1) as rt:
        run = await rt.spawn(hurries())
        await stage.begun.wait()
        for _ in range(5):
            await gate.reached(await rt.spawn(other()))
        await clock.skip(rt, "1h")
        await stage.cancelled.wait()
        assert await let_through(run) == "schedule-to-close 3600.0 1"


async def test_a_paused_run_is_told_when_it_is_resumed(home: Home, clock: ManualClock) -> None:
    @activity(retry=SLOWLY)
    async def flaky() -> None:
        raise Busy

    hurries = hurried(flaky, schedule_to_close="30m")
    async with home.runtime(hurries, clock=clock) as rt:
        run = await rt.spawn(hurries())
        await waits_on(run, "attempt 2 at ")
        await run.pause()
        await clock.skip(rt, "2h")
        assert (await run.describe()).status == "paused"
        await run.resume()
        # Attempt 2 and the deadline were due alike: the time is over.
        assert (await let_through(run)).startswith("schedule-to-close 1800.0")


async def test_after_a_cancellation_nothing_times_out(home: Home, clock: ManualClock) -> None:
    stage = Stage()
    hurries = hurried(activity(stage.play), schedule_to_close="1h", schedule_to_start="1m")

    async with home.runtime(hurries, clock=clock) as rt:
        run = await rt.spawn(hurries())
        await stage.begun.wait()
        await run.cancel()
        assert (await ended(run)).status == "cancelled"
        await stage.cancelled.wait()
        await clock.skip(rt, "1d")
        assert [x.kind for x in await run.history()] == ["started", "cancel", "cancelled"]


async def test_one_in_time_is_left_alone(home: Home, clock: ManualClock) -> None:
    @activity(schedule_to_start="1m", schedule_to_close="1h")
    async def quick() -> str:
        return "in time"

    @workflow
    async def calm() -> str:
        return await quick() + await gate.wait_for_it()

    async with home.runtime(calm, clock=clock) as rt:
        run = await rt.spawn(calm())
        await gate.reached(run)
        await clock.skip(rt, "1d")
        await gate.open(run, "!")
        assert await run.result() == "in time!"
        assert [x.kind for x in await run.history()] == [
            "started",
            "activity",
            "signal",
            "completed",
        ]


# Schedule-to-start.


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "THREADS_MAX", 1)


@pytest.mark.usefixtures("one_thread")
async def test_who_waits_for_a_thread_for_too_long_never_begins(
    home: Home, clock: ManualClock
) -> None:
    released, begun = threading.Event(), threading.Event()
    ran: list[str] = []

    @activity
    def occupies() -> str:
        begun.set()
        assert released.wait(PATIENCE_S)
        return "done"

    @activity(retry=SLOWLY)
    def queued() -> None:
        ran.append("queued")

    @workflow
    async def first() -> str:
        return await occupies()

    hurries = hurried(queued, schedule_to_start="1m")
    async with home.runtime(hurries, first, clock=clock) as rt:
        occupied = await rt.spawn(first())
        assert await anyio.to_thread.run_sync(begun.wait, PATIENCE_S)
        run = await rt.spawn(hurries())
        await clock.skip(rt, "59s")
        await waits_on(run, "queued#1")
        await clock.skip(rt, "1s")
        assert await let_through(run) == "schedule-to-start 60.0 0"
        released.set()
        assert await occupied.result() == "done"

    assert ran == []


async def test_one_that_has_begun_may_take_its_time(home: Home, clock: ManualClock) -> None:
    stage = Stage()

    @activity(schedule_to_start="1m")
    async def act() -> str:
        stage.begun.set()
        await stage.cancelled.wait()
        return "done"

    @workflow
    async def calm() -> str:
        return await act()

    async with home.runtime(calm, clock=clock) as rt:
        run = await rt.spawn(calm())
        await stage.begun.wait()
        await clock.skip(rt, "1h")
        await clock.skip(rt, "1h")
        stage.cancelled.set()
        assert await run.result() == "done"


async def test_only_the_first_attempt_has_to_begin_in_time(home: Home, clock: ManualClock) -> None:
    @activity(retry=SLOWLY, schedule_to_start="1m")
    async def flaky() -> int:
        if attempt().number < 3:
            raise Busy
        return attempt().number

    @workflow
    async def calm() -> int:
        return await flaky()

    async with home.runtime(calm, clock=clock) as rt:
        run = await rt.spawn(calm(), id="c")
        await waits_on(run, "attempt 2 at ")
        await clock.skip(rt, "10m")
        await waits_on(run, "attempt 2 at ")
        await clock.skip(rt, "50m")
        await waits_on(run, "attempt 3 at ")
    async with home.runtime(calm, clock=clock) as rt:
        await clock.skip(rt, "1h")
        assert await rt.handle("c").result() == 3


async def test_what_a_paused_run_holds_back_is_too_late_when_it_is_resumed(
    home: Home, clock: ManualClock
) -> None:
    ran: list[int] = []

    @activity
    async def first() -> None:
        await held.wait()

    @activity
    async def second() -> None:
        ran.append(attempt().number)

    @workflow
    async def two() -> str:
        await first()
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await second().options(schedule_to_start="1m")
        return caught.value.kind

    held = anyio.Event()
    async with home.runtime(two, clock=clock) as rt:
        run = await rt.spawn(two())
        await waits_on(run, "first#1")
        await run.pause()
        held.set()
        while len(await run.history()) < 3:
            await clock.skip(rt, 0)
        await clock.skip(rt, "1h")
        await run.resume()
        assert await run.result() == "schedule-to-start"

    assert ran == []


# Start-to-close.


@pytest.mark.usefixtures("one_thread")
async def test_waiting_for_a_thread_is_not_yet_the_attempt(home: Home) -> None:
    released, begun = threading.Event(), threading.Event()

    @activity
    def occupies() -> str:
        begun.set()
        assert released.wait(PATIENCE_S)
        return "done"

    @activity(timeout="50ms", retry=False)
    def queued() -> str:
        return "in time"

    @activity(timeout="60ms", retry=False)
    async def endless() -> None:
        await anyio.sleep_forever()

    @workflow
    async def both() -> list[Any]:
        slow = asyncio.create_task(_awaited(occupies()))
        quick = asyncio.create_task(_awaited(queued()))
        with pytest.raises(errors.ActivityTimedOut):
            await endless()
        await gate.wait_for_it()
        return [await slow, await quick]

    async with home.runtime(both) as rt:
        run = await rt.spawn(both())
        assert await anyio.to_thread.run_sync(begun.wait, PATIENCE_S)
        while "endless" in ((await run.describe()).waiting_on or "endless"):
            await anyio.sleep(0)
        # That took longer than `queued` may run.
        released.set()
        await gate.open(run)
        assert await run.result() == ["done", "in time"]


async def _awaited(call: Any) -> Any:
    return await call
