"""Heartbeats: an attempt says that it is alive and how far it is, and is stopped if it does not."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from monolite import Retry, activity, attempt, errors, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, waits_on
from tests.host.loops import on_both_loops

PATIENCE_S = 20.0

AT_ONCE = Retry(3, first_delay=0)


class Busy(Exception):
    """A failure that another attempt may cure."""


@on_both_loops
async def test_a_silent_attempt_is_stopped_and_tried_again(home: Home) -> None:
    numbers: list[int] = []

    @activity(heartbeat="20ms", retry=Retry(2, first_delay=0))
    async def silent() -> None:
        numbers.append(attempt().number)
        await anyio.sleep_forever()

    @workflow
    async def hurried() -> str:
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await silent()
        error = caught.value
        return f"{error.kind} {error.limit_s} {error.attempts}: {error}"

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried())
        said = await run.result()
        failed = [x.error for x in await run.history() if x.kind == "attempt failed"]

    assert numbers == [1, 2]
    assert said.startswith("heartbeat 0.02 2: activity 'silent' exceeded its heartbeat time-out")
    assert len(failed) == 1
    assert (failed[0] or "").startswith(
        "ActivityTimedOut: activity 'silent' exceeded its heartbeat"
    )


@on_both_loops
async def test_one_that_is_heard_of_goes_on(home: Home) -> None:
    @activity(heartbeat="500ms", retry=False)
    async def lively() -> str:
        for _ in range(100):
            attempt().heartbeat()
            await anyio.sleep(0.001)
        return "done"

    @activity(heartbeat="500ms", retry=False)
    def in_a_thread() -> str:
        for _ in range(100):
            attempt().heartbeat()
        return "done"

    @workflow
    async def calm() -> str:
        return f"{await lively()} {await in_a_thread()}"

    async with home.runtime(calm) as rt:
        run = await rt.spawn(calm())
        assert await run.result() == "done done"
        assert len(await run.history()) == 4  # what says nothing new costs no row


@on_both_loops
async def test_the_next_attempt_is_told_how_far_this_one_came(home: Home) -> None:
    seen: list[Any] = []

    @activity(retry=AT_ONCE)
    async def copies() -> str:
        seen.append(attempt().details)
        if attempt().number == 1:
            attempt().heartbeat({"row": 1})
            attempt().heartbeat({"row": 2})
            raise Busy
        if attempt().number == 2:
            attempt().heartbeat()
            raise Busy
        return "done"

    @workflow
    async def patient() -> str:
        return await copies()

    async with home.runtime(patient) as rt:
        assert await (await rt.spawn(patient())).result() == "done"

    assert seen == [None, {"row": 2}, {"row": 2}]


async def test_also_from_a_thread_and_after_a_time_out(home: Home) -> None:
    seen: list[Any] = []
    released = threading.Event()

    @activity(retry=AT_ONCE, timeout="50ms")
    def copies() -> str:
        seen.append(attempt().details)
        if attempt().number == 1:
            attempt().heartbeat([1, "one"])
            assert released.wait(PATIENCE_S)
        return "done"

    @workflow
    async def patient() -> str:
        return await copies()

    async with home.runtime(patient) as rt:
        assert await (await rt.spawn(patient())).result() == "done"
        released.set()

    assert seen == [None, [1, "one"]]


async def test_details_that_no_json_can_hold_are_refused_where_they_are_given(home: Home) -> None:
    @activity(retry=False)
    async def odd() -> str:
        with pytest.raises(errors.PayloadInvalid, match="details of a heartbeat of odd"):
            attempt().heartbeat(object())
        return "refused"

    @workflow
    async def careless() -> str:
        return await odd()

    async with home.runtime(careless) as rt:
        assert await (await rt.spawn(careless())).result() == "refused"


async def test_what_was_said_reaches_the_file_at_once_and_then_once_a_second(
    home: Home, clock: ManualClock
) -> None:
    said = anyio.Event()
    going_on = [anyio.Event() for _ in range(2)]

    @activity
    async def counts() -> str:
        attempt().heartbeat(1)
        await going_on[0].wait()
        for number in range(2, 50):
            attempt().heartbeat(number)
        said.set()
        await going_on[1].wait()
        return "done"

    @workflow
    async def patient() -> str:
        return await counts()

    async with home.runtime(patient, clock=clock) as rt:
        run = await rt.spawn(patient())
        while len(await run.history()) < 2:
            await clock.skip(rt, 0)
        assert await written(rt, "counts#1") == "1"
        going_on[0].set()
        await said.wait()
        await clock.skip(rt, 0)
        assert await written(rt, "counts#1") == "1"
        await clock.skip(rt, "1s")
        assert await written(rt, "counts#1") == "49"
        await clock.skip(rt, "5s")
        going_on[1].set()
        assert await run.result() == "done"
        assert [x.kind for x in await run.history()] == [
            "started",
            "attempt started",
            "activity",
            "completed",
        ]


async def written(rt: Any, key: str) -> str | None:
    """The details that the rows of the only run's attempts hold."""
    (info,) = await rt.list()
    run = rt._thread.engine.store.reader().run_by_id(info.id)
    rows = rt._thread.engine.store.reader().attempts(run.no)
    details: str | None = next(row.details for row in rows if row.key == key)
    return details


@on_both_loops
async def test_a_thread_that_was_left_behind_can_tell_and_its_heartbeat_is_refused(
    home: Home,
) -> None:
    released, ended = threading.Event(), threading.Event()
    found: list[object] = []

    @activity(timeout="20ms", retry=False)
    def endless() -> None:
        me = attempt()
        found.append(me.cancelled)
        assert released.wait(PATIENCE_S)
        found.append(me.cancelled)
        try:
            me.heartbeat("too late")
        except errors.Cancelled as error:
            found.append(str(error))
        ended.set()

    @workflow
    async def hurried() -> str:
        with pytest.raises(errors.ActivityTimedOut):
            await endless()
        return await gate.wait_for_it()

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried(), id="h")
        await gate.reached(run)
        released.set()
        assert await anyio.to_thread.run_sync(ended.wait, PATIENCE_S)
        await gate.open(run, "done")
        assert await run.result() == "done"

    assert found == [
        False,
        True,
        "workflow 'h' was cancelled: nobody waits for attempt 1 at endless#1 any more",
    ]


async def test_a_cancelled_run_s_thread_can_tell_and_so_can_one_of_a_runtime_that_is_left(
    home: Home,
) -> None:
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    @activity
    def until_cancelled() -> None:
        me = attempt()
        begun.release()
        while not me.cancelled:
            pass
        ended.release()

    @workflow
    async def endless() -> None:
        await until_cancelled()

    async with home.runtime(endless, shutdown_grace=0) as rt:
        run = await rt.spawn(endless())
        await anyio.to_thread.run_sync(begun.acquire)
        await run.cancel()
        await anyio.to_thread.run_sync(ended.acquire)
        await rt.spawn(endless())
        await anyio.to_thread.run_sync(begun.acquire)
    await anyio.to_thread.run_sync(ended.acquire)


async def test_what_was_said_last_survives_the_runtime(home: Home, clock: ManualClock) -> None:
    begun = anyio.Event()
    seen: list[Any] = []

    @activity
    async def copies() -> str:
        seen.append((attempt().number, attempt().details, attempt().interrupted))
        if attempt().number == 1:
            attempt().heartbeat("first")
            await anyio.lowlevel.checkpoint()
            attempt().heartbeat("last")
            begun.set()
            await anyio.sleep_forever()
        return "done"

    @workflow
    async def patient() -> str:
        return await copies()

    async with home.runtime(patient, clock=clock, shutdown_grace=0) as rt:
        run = await rt.spawn(patient(), id="p")
        await begun.wait()
        await waits_on(run, "copies#1")
    async with home.runtime(patient, clock=clock) as rt:
        assert await rt.handle("p").result() == "done"

    assert seen == [(1, None, False), (2, "last", True)]
