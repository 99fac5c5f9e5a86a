"""Pause and resume: a paused run starts nothing new, whatever it was doing."""

from __future__ import annotations

import asyncio

import pytest

from monolite import Client, Signal, activity, attempt, workflow
from monolite.errors import Cancelled
from tests.host.hosts import World, until, until_waiting

go_on = Signal("go_on", str)


@activity
async def said(word: str) -> str:
    return word


@activity(retry=3)
async def fails_once(word: str) -> str:
    if attempt().number == 1:
        raise ConnectionError(word)
    return word


@workflow
async def receiving() -> str:
    return await said(await go_on.receive())


@workflow
async def sleeping() -> str:
    await asyncio.sleep(60)
    return await said("slept")


@workflow
async def retrying() -> str:
    return await fails_once("again")


@workflow
async def parent() -> str:
    return await receiving()


async def test_a_message_waits_for_resume(world: World) -> None:
    async with world.runtime(receiving) as rt:
        run = await rt.spawn(receiving())
        await run.pause()
        await run.pause()
        assert await run.signal(go_on, "x")
        await world.skip(rt, "1h")
        assert (await run.describe()).status == "paused"
        await run.resume()
        await run.resume()
        assert await run.result() == "x"


async def test_a_timer_waits_for_resume(world: World) -> None:
    async with world.runtime(sleeping) as rt:
        run = await rt.spawn(sleeping())
        await run.pause()
        await world.skip(rt, "1h")
        assert (await run.describe()).status == "paused"
        await run.resume()
        assert await run.result() == "slept"


async def test_a_retry_waits_for_resume(world: World) -> None:
    async with world.runtime(retrying) as rt:
        run = await rt.spawn(retrying())
        await until_waiting(run, "retrying")
        await run.pause()
        await world.skip(rt, "1h")
        assert (await run.describe()).status == "paused"
        await run.resume()
        await world.skip(rt, "1s")
        assert await run.result() == "again"


async def test_a_pause_lasts_over_lives_and_another_process_ends_it(lives: World) -> None:
    async with lives.runtime(sleeping, receiving) as rt:
        await (await rt.spawn(sleeping(), id="s")).pause()
        await (await rt.spawn(receiving(), id="r")).pause()
        await rt.handle("r").signal(go_on, "x")
    async with lives.runtime(sleeping, receiving) as rt:
        await lives.skip(rt, "1h")
        assert {i.id for i in await rt.list(status="paused")} == {"s", "r"}
    async with Client(lives.path) as client:
        await client.handle("s").resume()
        await client.handle("r").resume()
        async with lives.runtime(sleeping, receiving) as rt:
            assert await rt.handle("s").result() == "slept"
            assert await rt.handle("r").result() == "x"


async def test_a_child_s_end_is_kept_for_its_paused_parent(world: World) -> None:
    async with world.runtime(parent, receiving) as rt:
        run = await rt.spawn(parent())
        await until_waiting(run, "child")
        await run.pause()
        (child,) = await rt.list(name="receiving")
        await rt.handle(child.id).signal(go_on, "x")
        await rt.handle(child.id).result()
        await run.resume()
        assert await run.result() == "x"


async def test_a_paused_run_can_be_cancelled(world: World) -> None:
    async with world.runtime(receiving) as rt:
        run = await rt.spawn(receiving())
        await run.pause()
        await run.cancel()
        with pytest.raises(Cancelled):
            await run.result()
        assert (await until(run, lambda info: info.status == "cancelled")).status == "cancelled"
        assert not await run.pause()
        assert not await run.resume()
