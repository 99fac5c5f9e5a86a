"""Cancelling: whatever a run waits for, its code hears of it and may clean up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import monolite
from monolite import Client, Handle, Retry, Runtime, Signal, activity, attempt, errors, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops

number = Signal("number", int)


class Log:
    """What activities have done: what a workflow says here is said once, whatever replays."""

    def __init__(self) -> None:
        self.lines: list[str] = []

        @activity
        async def say(line: str) -> None:
            self.lines.append(line)

        self.say = say


@pytest.fixture
def log() -> Log:
    return Log()


async def cancelled(run: Handle[Any], reason: str = "") -> None:
    """Cancel the run and see it end so."""
    assert (await run.cancel(reason)).accepted
    with pytest.raises(errors.Cancelled) as caught:
        await run.result()
    assert (caught.value.id, caught.value.reason) == (run.id, reason)
    info = await run.describe()
    assert (info.status, info.waiting_on) == ("cancelled", None)
    assert info.error == f"Cancelled: {caught.value}"


# In every state.


@on_both_loops
async def test_in_an_activity(home: Home) -> None:
    began, stopped = anyio.Event(), anyio.Event()

    @activity
    async def endless() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    @workflow
    async def working() -> None:
        await endless()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await began.wait()
        await cancelled(run, "not needed")
        await stopped.wait()
        assert [x.kind for x in await run.history()] == ["started", "cancel", "cancelled"]


@on_both_loops
async def test_in_an_activity_in_a_thread_which_runs_on_unheard(home: Home) -> None:
    began, release, left = threading.Event(), threading.Event(), threading.Event()

    @activity
    def blocking() -> str:
        began.set()
        release.wait(20)
        left.set()
        return "unheard"

    @workflow
    async def working() -> None:
        await blocking()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await anyio.to_thread.run_sync(began.wait)
        await cancelled(run)
        release.set()
        await anyio.to_thread.run_sync(left.wait)
        assert [x.kind for x in await run.history()] == ["started", "cancel", "cancelled"]


async def test_in_a_sleep(home: Home, clock: ManualClock) -> None:
    @workflow
    async def sleeping() -> None:
        await asyncio.sleep(3600)

    async with home.runtime(sleeping, clock=clock) as rt:
        run = await rt.spawn(sleeping())
        await cancelled(run, "wake up")
        await clock.skip(rt, "2h")
        assert [x.kind for x in await run.history()] == ["started", "cancel", "cancelled"]


async def test_in_a_receive(home: Home) -> None:
    @workflow
    async def listening() -> int:
        return await number.receive()

    async with home.runtime(listening) as rt:
        run = await rt.spawn(listening())
        await cancelled(run)
        assert not await run.signal(number, 1)


async def test_in_a_child(home: Home) -> None:
    @workflow
    async def child() -> str:
        return await gate.wait_for_it()

    @workflow
    async def parent() -> str:
        return await child()

    async with home.runtime(parent, child) as rt:
        run = await rt.spawn(parent(), id="p")
        await gate.reached(rt.handle("p/child#1"))
        await cancelled(run, "all of it")
        assert (await ended(rt.handle("p/child#1"))).status == "cancelled"


async def test_in_a_wait_for_another_run(home: Home) -> None:
    @workflow
    async def other() -> str:
        return await gate.wait_for_it("unmoved")

    @workflow
    async def joining() -> str:
        return await (await monolite.spawn(other(), id="other")).result()

    async with home.runtime(joining, other) as rt:
        there = await rt.spawn(other(), id="other")
        run = await rt.spawn(joining())
        await waits_on(run, "result ")
        await cancelled(run)
        await gate.open(there)
        assert await there.result() == "unmoved"


async def test_in_the_back_off_before_a_retry(home: Home, clock: ManualClock) -> None:
    numbers: list[int] = []

    @activity(retry=Retry(first_delay=60))
    async def flaky() -> None:
        numbers.append(attempt().number)
        raise ValueError

    @workflow
    async def working() -> None:
        await flaky()

    async with home.runtime(working, clock=clock) as rt:
        run = await rt.spawn(working())
        await waits_on(run, "retrying flaky")
        await cancelled(run)
        await clock.skip(rt, "1h")

    async with home.runtime(working, clock=clock) as rt:
        await clock.skip(rt, "1h")

    assert numbers == [1]


async def test_before_a_delayed_start(home: Home, clock: ManualClock, log: Log) -> None:
    @workflow
    async def later() -> None:
        await log.say("begun")

    async with home.runtime(later, clock=clock) as rt:
        run = await rt.spawn(later(), delay="1h")
        await cancelled(run, "too early")
        assert not await run.cancel()
        await clock.skip(rt, "2h")
        assert (await run.history())[0].kind == "queued"

    assert log.lines == []


async def test_in_the_very_turn_of_a_delayed_start(
    home: Home, clock: ManualClock, log: Log
) -> None:
    @workflow
    async def later() -> None:
        await log.say("begun")

    async with home.runtime(later, clock=clock) as rt:
        run = await rt.spawn(later(), delay="1h")
        clock.advance("1h")
        await cancelled(run)
        await clock.skip(rt, "1h")

    assert log.lines == []


@pytest.mark.parametrize("end", ["cancel", "terminate"])
async def test_a_workflow_that_ends_a_delayed_run_gets_that_for_its_result(
    home: Home, clock: ManualClock, end: str
) -> None:
    @workflow
    async def later() -> str:
        return await gate.wait_for_it()

    @workflow
    async def ending() -> list[str]:
        there = await monolite.spawn(later(), id="later")
        first = await (there.cancel("why") if end == "cancel" else there.terminate("why"))
        second = await there.signal(number, 1)
        with pytest.raises((errors.Cancelled, errors.Terminated)) as caught:
            await there.result()
        return [first.reason, second.reason, str(caught.value)]

    async with home.runtime(later, ending, clock=clock) as rt:
        await rt.spawn(later(), id="later", delay="1h")
        run = await rt.spawn(ending())
        word = {"cancel": "cancelled", "terminate": "terminated"}[end]
        with anyio.fail_after(5):
            assert await run.result() == [
                "",
                f"the run has been {word}",
                f"workflow 'later' was {word}: why",
            ]
        assert (await rt.describe("later")).status == word


async def test_before_an_engine_has_seen_the_run(tmp_path: Path, log: Log) -> None:
    @workflow
    async def queued() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await log.say("begun")

    async with Client(tmp_path / "app.db", create=True) as client:
        run = await client.spawn(queued(), id="q")
        assert (await run.cancel("never mind")).accepted

    async with Runtime(tmp_path / "app.db", actors=[queued]) as rt:
        with pytest.raises(errors.Cancelled, match="never mind"):
            await rt.handle("q").result()

    assert log.lines == []


async def test_of_a_run_that_waits_for_its_code_once_that_is_back(home: Home, log: Log) -> None:
    @workflow
    async def working() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await log.say("cleaned up")

    async with home.runtime(working) as rt:
        await rt.spawn(working(), id="w")

    async with home.runtime() as rt:
        run = rt.handle("w")
        assert (await run.cancel("in vain")).accepted
        info = await run.describe()
        assert (info.status, info.waiting_on) == ("waiting", "no code for 'working'")

    async with home.runtime(working) as rt:
        with pytest.raises(errors.Cancelled, match="in vain"):
            await rt.handle("w").result()

    assert log.lines == ["cleaned up"]


async def test_of_many_tasks_at_once_each_of_which_cleans_up_in_order(home: Home, log: Log) -> None:
    @workflow
    async def working() -> None:
        async def one(n: int) -> None:
            try:
                await number.receive()
            finally:
                await log.say(f"task {n}")

        async with asyncio.TaskGroup() as group:
            for n in range(12):
                group.create_task(one(n))

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await cancelled(run)

    assert sorted(log.lines) == sorted(f"task {n}" for n in range(12))


async def test_once_it_has_ended_does_nothing(home: Home) -> None:
    @workflow
    async def quick() -> str:
        return "done"

    async with home.runtime(quick) as rt:
        run = await rt.spawn(quick())
        assert await run.result() == "done"
        answer = await run.cancel()
        assert (answer.accepted, answer.reason) == (False, "the run has completed")
        assert await run.result() == "done"
        assert (await run.describe()).status == "completed"


# What the code makes of it.


@workflow
async def tells_the_reason() -> str:
    try:
        return await gate.wait_for_it()
    except asyncio.CancelledError as error:
        return f"told {error.args}"


async def test_the_code_is_told_the_reason(home: Home) -> None:
    async with home.runtime(tells_the_reason) as rt:
        run = await rt.spawn(tells_the_reason())
        await run.cancel("out of stock")
        assert await run.result() == "told ('out of stock',)"


@on_both_loops
async def test_clean_up_may_await_whatever_is_durable(home: Home, log: Log) -> None:
    @workflow
    async def refund() -> str:
        await log.say("refund")
        return "refunded"

    @workflow
    async def working() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await log.say("first")
            await asyncio.sleep(0.001)
            await refund()
            await log.say("last")

    async with home.runtime(working, refund) as rt:
        run = await rt.spawn(working())
        await cancelled(run)
        kinds = [x.kind for x in await run.history()]

    assert log.lines == ["first", "refund", "last"]
    assert kinds == ["started", "cancel", "activity", "timer", "child", "activity", "cancelled"]


async def test_asking_again_does_not_disturb_the_clean_up(home: Home, log: Log) -> None:
    began, go = anyio.Event(), anyio.Event()

    @activity
    async def undo() -> None:
        began.set()
        await go.wait()

    @workflow
    async def working() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await undo()
            await log.say("undone")

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        assert await run.cancel("first")
        await began.wait()
        answers = await asyncio.gather(*(run.cancel("again") for _ in range(10)))
        assert all(answer.accepted for answer in answers)
        go.set()
        with pytest.raises(errors.Cancelled, match="first"):
            await run.result()

    assert log.lines == ["undone"]


async def test_asked_many_times_at_once_it_is_cancelled_once(home: Home, log: Log) -> None:
    @workflow
    async def working() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await log.say("cleaned up")

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await asyncio.gather(*(run.cancel(str(n)) for n in range(20)))
        with pytest.raises(errors.Cancelled) as caught:
            await run.result()

    assert caught.value.reason == "0"
    assert log.lines == ["cleaned up"]


async def test_clean_up_goes_on_in_the_next_life(home: Home, log: Log) -> None:
    began = anyio.Event()
    numbers: list[int] = []

    @activity
    async def undo() -> None:
        numbers.append(attempt().number)
        began.set()
        if attempt().number == 1:
            await anyio.sleep_forever()

    @workflow
    async def working() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await undo()
            await log.say("undone")

    async with home.runtime(working, shutdown_grace=0) as rt:
        run = await rt.spawn(working(), id="w")
        await run.cancel("stop it")
        await began.wait()

    async with home.runtime(working) as rt:
        with pytest.raises(errors.Cancelled, match="stop it"):
            await rt.handle("w").result()

    assert numbers == [1, 2]
    assert log.lines == ["undone"]


async def test_code_that_swallows_it_goes_on_and_completes(home: Home, log: Log) -> None:
    @workflow
    async def stubborn() -> str:
        try:
            await gate.wait_for_it()
        except asyncio.CancelledError:
            await log.say("heard")
        return await gate.wait_for_it("went on")

    async with home.runtime(stubborn) as rt:
        run = await rt.spawn(stubborn())
        await run.cancel()
        await gate.reached(run)
        await gate.open(run)
        assert await run.result() == "went on"
        assert (await run.describe()).status == "completed"

    assert log.lines == ["heard"]


async def test_code_that_raises_something_else_fails(home: Home) -> None:
    @workflow
    async def clumsy() -> None:
        try:
            await gate.wait_for_it()
        finally:
            message = "while cleaning up"
            raise ValueError(message)

    async with home.runtime(clumsy) as rt:
        run = await rt.spawn(clumsy())
        await run.cancel()
        with pytest.raises(errors.WorkflowFailed, match="while cleaning up") as failed:
            await run.result()

    assert isinstance(failed.value.cause, ValueError)


async def test_code_that_cancels_itself_is_cancelled(home: Home) -> None:
    @workflow
    async def quitting() -> None:
        raise asyncio.CancelledError

    async with home.runtime(quitting) as rt:
        run = await rt.spawn(quitting(), id="q")
        with pytest.raises(errors.Cancelled, match=r"'q' was cancelled$"):
            await run.result()


async def test_a_time_limit_is_not_mistaken_for_it(home: Home, clock: ManualClock) -> None:
    @workflow
    async def limited() -> str:
        try:
            async with asyncio.timeout(60):
                await gate.wait_for_it()
        except TimeoutError:
            return "timed out"
        return "?"

    async with home.runtime(limited, clock=clock) as rt:
        timed_out, stopped = await rt.spawn(limited()), await rt.spawn(limited())
        await cancelled(stopped)
        await clock.skip(rt, 61)
        assert await timed_out.result() == "timed out"


async def test_a_shielded_wait_outlives_it(home: Home) -> None:
    @workflow
    async def careful() -> str:
        inner = asyncio.ensure_future(gate.wait_for_it("inner"))
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            return await inner

    async with home.runtime(careful) as rt:
        run = await rt.spawn(careful())
        await run.cancel()
        await gate.open(run)
        assert await run.result() == "inner"


async def test_an_activity_that_is_no_longer_wanted_is_stopped_however_it_was_given_up(
    home: Home,
) -> None:
    ways: dict[str, Callable[[Awaitable[None]], Awaitable[Any]]] = {
        "wait_for": lambda call: asyncio.wait_for(call, 0.01),
        "timeout": lambda call: within(call, 0.01),
        "cancel": cancel_at_once,
    }
    stopped = {way: anyio.Event() for way in ways}

    @activity
    async def endless(way: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped[way].set()

    @workflow
    async def giving_up(way: str) -> str:
        with pytest.raises((TimeoutError, asyncio.CancelledError)):
            await ways[way](endless(way))
        return await gate.wait_for_it(way)

    async with home.runtime(giving_up) as rt:
        for way in ("wait_for", "timeout"):
            run = await rt.spawn(giving_up(way))
            await stopped[way].wait()
            await gate.open(run)
            assert await run.result() == way
        run = await rt.spawn(giving_up("cancel"))
        await gate.open(run)
        assert await run.result() == "cancel"
        assert not stopped["cancel"].is_set()  # it had not begun


async def within(call: Awaitable[None], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        await call


async def cancel_at_once(call: Awaitable[None]) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    task.cancel()
    await task
