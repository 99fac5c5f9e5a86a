"""History: everything that happened in a run, oldest first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

import monolite
from monolite import Entry, Retry, Signal, activity, attempt, errors, step, workflow
from tests.host import gate
from tests.host.clocks import START, ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops

number = Signal("number", int)


@dataclass
class Order:
    item: str
    count: int


@activity(retry=Retry(2, first_delay=10, jitter=0))
async def flaky(order: Order) -> Order:
    if attempt().number == 1:
        message = "not yet"
        raise ValueError(message)
    return Order(order.item, order.count + 1)


@workflow
async def double(n: int) -> int:
    return 2 * n


@workflow
async def busy(order: Order) -> int:
    order = await flaky(order)
    await asyncio.sleep(60)
    total = await number.receive()
    total += await double(order.count)
    named = await monolite.spawn(double(5), id="named")
    await named.signal(number, 7)
    total += await named.result()
    return total + await step("ad hoc", len, order.item)


def words(entry: Entry) -> tuple[str, str]:
    return entry.kind, entry.key


@on_both_loops
async def test_it_tells_what_was_asked_and_what_came_of_it(home: Home, clock: ManualClock) -> None:
    async with home.runtime(busy, double, clock=clock) as rt:
        run = await rt.spawn(busy(Order("tea", 1)), id="b")
        await waits_on(run, "retrying")
        await clock.skip(rt, 10)
        await waits_on(run, "sleeping")
        await clock.skip(rt, 60)
        await run.signal(number, 3)
        assert await run.result() == 3 + 4 + 10 + 3
        history = await run.history()

    taken = {"accepted": True, "reason": ""}
    tea, more_tea = {"item": "tea", "count": 1}, {"item": "tea", "count": 2}
    assert [(x.n, x.kind, x.key, x.input, x.output, x.error) for x in history] == [
        (None, "started", "busy", [tea], None, None),
        (None, "attempt failed", "flaky#1", 1, None, "ValueError: not yet"),
        (None, "attempt started", "flaky#1", 2, None, None),
        (0, "activity", "flaky#1", [tea], more_tea, None),
        (1, "timer", "timer#1", "60 s", None, None),
        (2, "signal", "number", 3, None, None),
        (3, "child", "double#1", [2], 4, None),
        (4, "spawn", "spawn:double#1", ["named", "attach", False, [5]], "linked", None),
        (5, "send", "send:number#1", ["named", "signal", "number", None, 7], taken, None),
        (6, "child", "double#2", [5], 10, None),
        (7, "activity", "ad hoc#1", ["tea"], 3, None),
        (None, "completed", "busy", None, 20, None),
    ]
    times = [(x.at - START) // timedelta(seconds=1) for x in history]
    assert times == [0, 0, 10, 10, *[70] * 8]


async def test_a_run_that_goes_on_has_no_last_line(home: Home) -> None:
    @workflow
    async def waiting() -> str:
        return await gate.wait_for_it()

    async with home.runtime(waiting) as rt:
        run = await rt.spawn(waiting())
        await run.signal(number, 1)
        assert [words(x) for x in await run.history()] == [
            ("started", "waiting"),
            ("signal", "number"),
        ]


@pytest.mark.parametrize("end", ["failed", "cancelled", "terminated"])
async def test_the_last_line_says_how_the_run_ended(home: Home, end: str) -> None:
    @workflow
    async def ending() -> None:
        await gate.wait_for_it()
        message = "as it should"
        raise ValueError(message)

    async with home.runtime(ending) as rt:
        run = await rt.spawn(ending(), id="e")
        if end == "failed":
            await gate.open(run)
        else:
            await (run.cancel("why") if end == "cancelled" else run.terminate("why"))
        await ended(run)
        history = await run.history()

    last = history[-1]
    assert words(last) == (end, "ending")
    assert last.output is None
    assert (
        last.error
        == {
            "failed": "ValueError: as it should",
            "cancelled": "Cancelled: workflow 'e' was cancelled: why",
            "terminated": "Terminated: workflow 'e' was terminated: why",
        }[end]
    )
    if end != "failed":
        asked = history[1]
        verb = {"cancelled": "cancel", "terminated": "terminate"}[end]
        assert (asked.kind, asked.input) == (verb, "why")


async def test_a_failed_activity_shows_its_error(home: Home) -> None:
    @activity(retry=False)
    async def fail() -> None:
        message = "no"
        raise LookupError(message)

    @workflow
    async def working() -> None:
        with pytest.raises(errors.ActivityFailed):
            await fail()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await run.result()
        (entry,) = [x for x in await run.history() if x.kind == "activity"]

    assert entry.output is None
    assert entry.error is not None
    assert entry.error.startswith("ActivityFailed: ")
    assert "LookupError: no" in entry.error


async def test_it_is_the_same_in_the_next_life_and_grows_on(home: Home) -> None:
    @workflow
    async def waiting() -> int:
        total = 0
        async for n in number:
            if n == 0:
                break
            total += await double(n)
        return total

    async with home.runtime(waiting, double) as rt:
        run = await rt.spawn(waiting(), id="w")
        await run.signal(number, 1)
        before = await run.history()

    async with home.runtime(waiting, double) as rt:
        run = rt.handle("w")
        assert await run.history() == before
        await run.signal(number, 2)
        await run.signal(number, 0)
        assert await run.result() == 6
        history = await run.history()

    assert history[: len(before)] == before
    assert [x.n for x in history] == [None, 0, 1, 2, 3, 4, None]


async def test_a_restarted_run_begins_a_history_of_its_own(home: Home) -> None:
    @workflow
    async def waiting(word: str) -> str:
        return await gate.wait_for_it(word)

    async with home.runtime(waiting) as rt:
        run = await rt.spawn(waiting("first"), id="w")
        await gate.open(run)
        await run.result()
        again = await rt.spawn(waiting("second"), id="w", id_conflict="restart")
        assert [(x.kind, x.input) for x in await again.history()] == [("started", ["second"])]


async def test_a_run_that_does_not_exist_has_none(home: Home) -> None:
    async with home.runtime() as rt:
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await rt.handle("nobody").history()
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await rt.handle("nobody").describe()
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await rt.describe("nobody")
