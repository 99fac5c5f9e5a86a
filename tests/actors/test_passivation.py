"""Passivation: who is idle leaves memory, and nobody can tell."""

from __future__ import annotations

import asyncio
from typing import Any

import monolite
from monolite import Runtime, Signal, workflow
from tests.actors.cast import Account, doubled
from tests.host.hosts import World

go_on = Signal("go_on", int)


@workflow
async def relay(number: int) -> int:
    """Wait for a message, use an activity and an actor, and sleep."""
    got = await go_on.receive()
    await asyncio.sleep(60)
    twice = await doubled(number + got)
    await monolite.actor(Account, str(number % 50)).deposit(1)
    return twice


def live(rt: Runtime) -> dict[Any, Any]:
    engine: Any = vars(rt)["_thread"].engine
    found: dict[Any, Any] = engine.residency.live
    return found


async def outcomes(world: World, max_live: int, runs: int) -> list[int]:
    async with world.runtime(relay, Account, max_live=max_live) as rt:
        handles = [await rt.spawn(relay(n), id=f"relay-{n}") for n in range(runs)]
        for n, handle in enumerate(handles):
            await handle.signal(go_on, n)
        await world.skip(rt, "61s")
        found = list(await asyncio.gather(*(handle.result() for handle in handles)))
        for key in range(50):
            shares = len(range(key, runs, 50))
            account = rt.actor(Account, str(key))
            assert await account.statement() == f"{key} has {shares}"
        return found


async def test_ten_in_memory_come_to_the_same_as_thousands(lives: World) -> None:
    expected = [4 * n for n in range(1_000)]
    assert await outcomes(lives, 10, 1_000) == expected


async def test_an_idle_actor_leaves_memory_and_is_woken_by_a_message(lives: World) -> None:
    async with lives.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        await account.deposit(1)
        assert len(live(rt)) == 1
        for _ in range(4):
            await lives.skip(rt, "61s")
        assert len(live(rt)) == 0
        assert await account.statement() == "a has 1"
        assert len(live(rt)) == 0
        assert await account.deposit(1) == 2
        assert len(live(rt)) == 1


async def test_an_idle_run_is_woken_by_its_timer(lives: World) -> None:
    @workflow
    async def sleeper() -> str:
        await asyncio.sleep(3_600)
        return "awake"

    async with lives.runtime(sleeper) as rt:
        run = await rt.spawn(sleeper())
        for _ in range(4):
            await lives.skip(rt, "61s")
        assert len(live(rt)) == 0
        await lives.skip(rt, "1h")
        assert await run.result() == "awake"
