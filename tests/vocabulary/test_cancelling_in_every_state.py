"""Cancellation: wherever a run is, it ends cancelled after its clean-up, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import monolite
from monolite import Promise, Retry, Signal, Update, activity, attempt, workflow
from monolite.errors import Cancelled
from tests.actors.cast import Account
from tests.host.hosts import World, until_waiting

go_on = Signal("go_on", str)
ask = Update("ask", int, int)


@activity
async def hang() -> None:
    await asyncio.Event().wait()


@activity(retry=Retry(max_attempts=5, first_delay="1h", max_delay="1h"))
async def fail() -> None:
    raise ConnectionError(attempt().number)


@activity
async def clean() -> str:
    return "clean"


@workflow
async def child() -> None:
    await go_on.receive()


async def in_receive() -> None:
    await go_on.receive()


async def in_sleep() -> None:
    await asyncio.sleep(60)


async def in_promise() -> None:
    await Promise(int)


async def in_update() -> None:
    await ask.receive()


async def in_gather() -> None:
    await asyncio.gather(hang(), asyncio.sleep(60), go_on.receive())


async def in_actor() -> None:
    await monolite.actor(Account, "a").slow("slow")


STATES: dict[str, Callable[[], Awaitable[None]]] = {
    "activity": hang,
    "retry": fail,
    "child": child,
    "receive": in_receive,
    "sleep": in_sleep,
    "promise": in_promise,
    "update": in_update,
    "gather": in_gather,
    "actor": in_actor,
}


@workflow
async def cancelled_in(state: str) -> str:
    try:
        await STATES[state]()
    finally:
        await clean()
        await asyncio.sleep(1)
    return "never"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("state", STATES)
async def test_it_cleans_up_and_ends(world: World, state: str, times: int) -> None:
    async with world.runtime(cancelled_in, child, Account) as rt:
        run = await rt.spawn(cancelled_in(state), id="c")
        await until_waiting(run, "")
        for _ in range(times):
            assert await run.cancel("enough")
        await until_waiting(run, "sleeping")
        assert await run.cancel("once more, in the clean-up")
        await world.skip(rt, "1s")
        with pytest.raises(Cancelled, match="enough"):
            await run.result()
        assert not await run.cancel()
        keys = [x.key for x in await run.history() if x.kind == "activity" and x.output == "clean"]
        assert keys == ["clean#1"]
        for info in await rt.list(name="child"):
            with pytest.raises(Cancelled):
                await rt.handle(info.id).result()


async def test_before_it_starts(world: World) -> None:
    async with world.runtime(cancelled_in) as rt:
        run = await rt.spawn(cancelled_in("sleep"), delay="1h")
        assert await run.cancel("not now")
        with pytest.raises(Cancelled, match="not now"):
            await run.result()
        await world.skip(rt, "2h")
        assert [x.key for x in await run.history() if x.kind == "activity"] == []


async def test_in_a_later_life(lives: World) -> None:
    async with lives.runtime(cancelled_in, child, Account) as rt:
        for state in STATES:
            await until_waiting(await rt.spawn(cancelled_in(state), id=state), "")
    async with monolite.Client(lives.path) as client:
        for state in STATES:
            await client.handle(state).cancel("from outside")
    async with lives.runtime(cancelled_in, child, Account) as rt:
        for state in STATES:
            await until_waiting(rt.handle(state), "sleeping")
        await lives.skip(rt, "1s")
        for state in STATES:
            with pytest.raises(Cancelled, match="from outside"):
                await rt.handle(state).result()
