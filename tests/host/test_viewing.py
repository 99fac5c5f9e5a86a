"""Views: what a workflow publishes is read and watched once it is committed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from monolite import Handle, Runtime, Signal, View, errors, workflow
from tests.host import gate
from tests.host.homes import Home, waits_on
from tests.host.loops import on_both_loops


@dataclass
class Progress:
    done: int
    of: int


progress = View("progress", Progress)
count = View("count", int)
step = Signal("step", int)


@workflow
async def counting() -> int:
    """Publish every number that comes in; end with the one that is negative."""
    count.set(0)
    async for n in step:
        if n < 0:
            return n
        count.set(n)
    raise AssertionError


async def watched(run: Handle[Any]) -> list[int]:
    return [n async for n in run.watch(count)]


@on_both_loops
async def test_a_view_has_the_value_that_was_set_last(home: Home) -> None:
    @workflow
    async def working() -> None:
        progress.set(Progress(0, 2))
        await gate.wait_for_it()
        progress.set(Progress(1, 2))
        progress.set(Progress(2, 2))

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        assert await run.view(progress) == Progress(0, 2)
        await gate.open(run)
        await run.result()
        assert await run.view(progress) == Progress(2, 2)


async def test_a_view_that_was_not_set_is_none(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        assert await run.view(progress) is None


async def test_a_view_outlives_its_run_and_the_runtime(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting(), id="c")
        await run.signal(step, 7)
        await run.signal(step, -1)
        await run.result()

    async with home.runtime() as rt:
        assert await rt.handle("c").view(count) == 7


async def test_a_view_is_not_set_again_by_a_replay(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting(), id="c")
        for n in (1, 2, 3):
            await run.signal(step, n)

    async with home.runtime(counting) as rt:
        run = rt.handle("c")
        assert await run.view(count) == 3
        async with aclosing(run.watch(count)) as values:
            assert await anext(values) == 3
            await run.signal(step, 4)
            assert await anext(values) == 4


async def test_a_restarted_run_has_views_of_its_own(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting(), id="c")
        await run.signal(step, 7)
        await rt.spawn(counting(), id="c", id_conflict="restart")
        assert await rt.handle("c").view(count) == 0


async def test_views_of_one_run_do_not_mix(home: Home) -> None:
    @workflow
    async def working() -> None:
        progress.set(Progress(1, 2))
        count.set(5)
        await gate.wait_for_it()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        assert await run.view(progress) == Progress(1, 2)
        assert await run.view(count) == 5


async def test_a_view_of_a_run_that_does_not_exist_cannot_be_read(home: Home) -> None:
    async with home.runtime() as rt:
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await rt.handle("nobody").view(count)
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await watched(rt.handle("nobody"))


async def test_a_view_holds_json_of_its_type_only(home: Home) -> None:
    @workflow
    async def wrong() -> str:
        with pytest.raises(errors.PayloadInvalid, match="view count") as caught:
            View("count", float).set(float("nan"))
        return caught.value.where

    async with home.runtime(wrong) as rt:
        run = await rt.spawn(wrong())
        assert await run.result() == "view count"
        assert await run.view(count) is None


async def test_a_view_read_as_another_type_is_refused(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        with pytest.raises(errors.PayloadInvalid, match="view count"):
            await run.view(View("count", str))


# Watching.


@on_both_loops
async def test_watching_gives_the_value_there_is_then_each_later_one_until_the_end(
    home: Home,
) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        async with aclosing(run.watch(count)) as values:
            assert await anext(values) == 0
            for n in range(1, 20):
                await run.signal(step, n)
            await run.signal(step, -1)
            assert [n async for n in values] == list(range(1, 20))


async def test_watching_a_run_that_has_ended_gives_its_last_value(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        await run.signal(step, 3)
        await run.signal(step, -1)
        await run.result()
        assert await watched(run) == [3]


async def test_watching_a_view_that_is_never_set_ends_with_the_run(home: Home) -> None:
    @workflow
    async def silent() -> None:
        await gate.wait_for_it()

    async with home.runtime(silent) as rt, asyncio.TaskGroup() as group:
        run = await rt.spawn(silent())
        watching = group.create_task(watched(run))
        await gate.open(run)
        assert await watching == []


@pytest.mark.parametrize("end", ["cancel", "terminate", "restart"])
async def test_watching_ends_however_the_run_ends(home: Home, end: str) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting(), id="c")
        async with aclosing(run.watch(count)) as values:
            assert await anext(values) == 0
            if end == "restart":
                await rt.spawn(counting(), id="c", id_conflict="restart")
            else:
                await (run.cancel() if end == "cancel" else run.terminate())
            assert [n async for n in values] == []


async def test_many_may_watch_and_each_gets_every_value(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        feeds = [run.watch(count) for _ in range(20)]
        assert [await anext(feed) for feed in feeds] == [0] * 20
        for n in (1, 2, -1):
            await run.signal(step, n)
        assert [[n async for n in feed] for feed in feeds] == [[1, 2]] * 20


async def test_whoever_stops_watching_is_forgotten(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        async with aclosing(run.watch(count)) as values:
            assert await anext(values) == 0
        await run.signal(step, 1)
        assert await run.view(count) == 1
        assert await left_watching(rt) == 0


async def test_watching_starts_before_the_first_value(home: Home) -> None:
    @workflow
    async def late() -> None:
        await gate.wait_for_it()
        count.set(1)
        count.set(2)

    async with home.runtime(late) as rt, asyncio.TaskGroup() as group:
        run = await rt.spawn(late())
        watching = group.create_task(watched(run))
        while await left_watching(rt) == 0:
            await anyio.lowlevel.checkpoint()
        await gate.open(run)
        assert await watching == [1, 2]


async def test_the_run_is_on_its_way_while_it_is_watched(home: Home) -> None:
    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        async with aclosing(run.watch(count)) as values:
            await anext(values)
            await waits_on(run, "signal step")


async def left_watching(rt: Runtime) -> int:
    """Return how many watchers the engine of `rt` knows."""
    await rt.list(limit=1)
    engine: Any = rt.__dict__["_thread"].engine
    return sum(len(sinks) for sinks in engine.audience.__dict__["_watchers"].values())
