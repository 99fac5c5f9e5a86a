"""Time-outs of activities: each attempt is limited, and what it returns too late is not heard."""

from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from monolite import Retry, activity, attempt, errors, workflow
from tests.host import gate
from tests.host.homes import Home
from tests.host.loops import on_both_loops

PATIENCE_S = 20.0
"""How long a thread waits for a test that has gone wrong."""


@on_both_loops
async def test_an_attempt_that_takes_too_long_is_cancelled_and_times_out(home: Home) -> None:
    cancelled = anyio.Event()

    @activity(timeout="10ms", retry=False)
    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    @workflow
    async def hurried() -> str:
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await endless()
        failed = caught.value
        assert isinstance(failed, errors.ActivityFailed)
        assert (failed.kind, failed.name, failed.attempts) == ("start-to-close", "endless", 1)
        assert failed.limit_s == 0.01
        return str(failed)

    async with home.runtime(hurried) as rt:
        said = await (await rt.spawn(hurried())).result()

    assert "'endless' exceeded its start-to-close time-out of 0.01 s" in said
    assert cancelled.is_set()


async def test_each_attempt_has_the_whole_time_and_the_last_one_s_time_out_is_the_cause(
    home: Home,
) -> None:
    numbers: list[int] = []

    @activity(timeout=0.01, retry=Retry(3, first_delay=0))
    async def endless() -> None:
        numbers.append(attempt().number)
        await anyio.sleep_forever()

    @workflow
    async def hurried() -> int:
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await endless()
        last = caught.value.cause
        assert isinstance(last, errors.ActivityTimedOut)
        assert last is not caught.value
        assert last.attempts == 3
        return caught.value.attempts

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried())
        assert await run.result() == 3
        history = await run.history()

    assert numbers == [1, 2, 3]
    failed = [x.error or "" for x in history if x.kind == "attempt failed"]
    assert len(failed) == 2
    assert all(error.startswith("ActivityTimedOut: ") for error in failed)


async def test_uncaught_it_is_the_cause_of_the_run_s_failure(home: Home) -> None:
    @activity(timeout=0.01, retry=False)
    async def endless() -> None:
        await anyio.sleep_forever()

    @workflow
    async def hurried() -> None:
        await endless()

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried())
        with pytest.raises(errors.WorkflowFailed) as failed:
            await run.result()

    assert isinstance(failed.value.cause, errors.ActivityTimedOut)
    assert failed.value.cause.kind == "start-to-close"


async def test_one_in_time_is_left_alone(home: Home) -> None:
    @activity(timeout="1h")
    async def quick() -> str:
        await anyio.lowlevel.checkpoint()
        return "in time"

    @workflow
    async def calm() -> str:
        return await quick()

    async with home.runtime(calm) as rt:
        assert await (await rt.spawn(calm())).result() == "in time"


async def test_a_call_may_have_its_own_limit(home: Home) -> None:
    @activity(timeout="1h", retry=False)
    async def endless() -> None:
        await anyio.sleep_forever()

    @workflow
    async def hurried() -> float | None:
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await endless().options(timeout="20ms")
        return caught.value.limit_s

    async with home.runtime(hurried) as rt:
        assert await (await rt.spawn(hurried())).result() == 0.02


async def test_a_time_out_that_the_activity_raised_itself_is_an_ordinary_failure(
    home: Home,
) -> None:
    @activity(timeout="1h", retry=False)
    async def impatient() -> None:
        message = "the server did not answer"
        raise TimeoutError(message)

    @workflow
    async def hurried() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await impatient()
        assert type(caught.value) is errors.ActivityFailed
        return repr(caught.value.cause)

    async with home.runtime(hurried) as rt:
        found = await (await rt.spawn(hurried())).result()

    assert found == "TimeoutError('the server did not answer')"


@on_both_loops
async def test_a_thread_is_left_behind_and_what_it_returns_late_is_not_heard(home: Home) -> None:
    released, returned = threading.Event(), threading.Event()
    began: list[int] = []

    @activity(timeout=0.05, retry=Retry(2, first_delay=0))
    def slow_at_first() -> str:
        number = attempt().number
        began.append(number)
        if number == 1:
            assert released.wait(PATIENCE_S)
            returned.set()
        return f"attempt {number}"

    @workflow
    async def hurried() -> list[str]:
        first = await slow_at_first()
        return [first, await gate.wait_for_it()]

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried())
        await gate.reached(run)
        released.set()
        assert await anyio.to_thread.run_sync(returned.wait, PATIENCE_S)
        await gate.open(run, "and on")
        assert await run.result() == ["attempt 2", "and on"]
        history = await run.history()

    assert began == [1, 2]
    assert [x.kind for x in history] == [
        "started",
        "attempt failed",
        "attempt started",
        "activity",
        "signal",
        "completed",
    ]


async def test_a_thread_that_fails_late_is_not_heard_either(home: Home) -> None:
    released, raised = threading.Event(), threading.Event()

    @activity(timeout=0.05, retry=False)
    def slow() -> None:
        assert released.wait(PATIENCE_S)
        raised.set()
        message = "too late"
        raise ValueError(message)

    @workflow
    async def hurried() -> str:
        with pytest.raises(errors.ActivityTimedOut):
            await slow()
        return await gate.wait_for_it()

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried())
        await gate.reached(run)
        released.set()
        assert await anyio.to_thread.run_sync(raised.wait, PATIENCE_S)
        await gate.open(run, "unmoved")
        assert await run.result() == "unmoved"
        assert len(await run.history()) == 4


@on_both_loops
async def test_the_workflow_s_own_time_limit_cancels_the_activity(home: Home) -> None:
    began, cancelled = anyio.Event(), anyio.Event()

    @activity
    async def endless() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    @workflow
    async def hurried() -> str:
        try:
            async with asyncio.timeout(0.05):
                await endless()
        except TimeoutError:
            return "gave up"
        return "?"

    async with home.runtime(hurried) as rt:
        run = await rt.spawn(hurried())
        assert await run.result() == "gave up"
        await cancelled.wait()
        kinds = [x.kind for x in await run.history()]

    assert began.is_set()
    assert kinds == ["started", "timer", "completed"]
