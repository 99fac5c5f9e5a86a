"""Sagas: what was done is undone newest first, whatever ends the block."""

from __future__ import annotations

import pytest

import monolite
from monolite import Saga, Signal, View, activity, workflow
from monolite.errors import Cancelled, WorkflowFailed
from tests.host.hosts import World, until_waiting

go_on = Signal("go_on", str)
undone = View("undone", list[str])


@activity
async def act(name: str) -> str:
    return name


@activity(retry=False)
async def undo(name: str) -> str:
    if name == "stubborn":
        raise RuntimeError(name)
    return name


async def log_of(handle: monolite.Handle[object]) -> list[str]:
    entries = [x for x in await handle.history() if x.kind == "activity" and "undo" in x.key]
    return [f"{x.input[0]}{'!' if x.error else ''}" for x in entries]


@workflow
async def trip(*names: str, fails: bool = False) -> str:
    async with Saga() as saga:
        for name in names:
            await act(name)
            saga.add(undo(name))
        if fails:
            raise ValueError("no room")
        await go_on.receive()
    return "done"


@workflow
async def nested() -> None:
    async with Saga() as outer:
        outer.add(undo("outer"))
        async with Saga() as inner:
            inner.add(undo("inner"))
            await go_on.receive()
        raise ValueError("after the inner one")


async def test_nothing_is_undone_when_all_went_well(world: World) -> None:
    async with world.runtime(trip) as rt:
        run = await rt.spawn(trip("a", "b"))
        await run.signal(go_on, "")
        assert await run.result() == "done"
        assert await log_of(run) == []


async def test_a_failure_undoes_newest_first(world: World) -> None:
    async with world.runtime(trip) as rt:
        run = await rt.spawn(trip("a", "b", "c", fails=True))
        with pytest.raises(WorkflowFailed, match="no room"):
            await run.result()
        assert await log_of(run) == ["c", "b", "a"]


async def test_cancellation_undoes_too_and_stays_a_cancellation(world: World) -> None:
    async with world.runtime(trip) as rt:
        run = await rt.spawn(trip("a", "b"))
        await until_waiting(run, "signal")
        await run.cancel("tired")
        await run.cancel("very tired")
        with pytest.raises(Cancelled):
            await run.result()
        assert await log_of(run) == ["b", "a"]


async def test_one_that_cannot_be_undone_keeps_no_other_back(world: World) -> None:
    async with world.runtime(trip) as rt:
        run = await rt.spawn(trip("a", "stubborn", "c", fails=True))
        with pytest.raises(WorkflowFailed, match="failed in part"):
            await run.result()
        assert await log_of(run) == ["c", "stubborn!", "a"]


async def test_an_inner_one_that_went_well_is_not_undone_by_the_outer(world: World) -> None:
    async with world.runtime(nested) as rt:
        run = await rt.spawn(nested())
        await run.signal(go_on, "")
        with pytest.raises(WorkflowFailed, match="after the inner"):
            await run.result()
        assert await log_of(run) == ["outer"]


async def test_both_are_undone_inner_first(world: World) -> None:
    async with world.runtime(nested) as rt:
        run = await rt.spawn(nested())
        await until_waiting(run, "signal")
        await run.cancel()
        with pytest.raises(Cancelled):
            await run.result()
        assert await log_of(run) == ["inner", "outer"]


async def test_cancelled_while_nobody_ran_it_is_undone_by_the_next_life(lives: World) -> None:
    async with lives.runtime(trip) as rt:
        await until_waiting(await rt.spawn(trip("a", "b"), id="t"), "signal")
    async with monolite.Client(lives.path) as client:
        await client.handle("t").cancel("away")
        async with lives.runtime(trip) as rt:
            with pytest.raises(Cancelled):
                await rt.handle("t").result()
            assert await log_of(rt.handle("t")) == ["b", "a"]
