"""A patch in a loop: a run that went by once on the old path stays on it, life after life."""

from __future__ import annotations

from typing import Any

import monolite
from monolite import Signal, Workflow, step, workflow
from tests.host.hosts import World, hosted, until_waiting

go_on = Signal("go_on", bool)


def do(what: str) -> str:
    return what


def code(*, is_patched: bool) -> Workflow[[], list[str]]:
    @workflow
    async def loop() -> list[str]:
        done: list[str] = []
        while await go_on.receive():
            way = "ship"
            if is_patched and monolite.patched("by-air"):
                way = "fly"
            done.append(await step(way, do, way))
        return done

    return loop


async def rounds(rt: Any, count: int) -> None:
    run = rt.handle("l")
    for _ in range(count):
        before = len(await run.history())
        await run.signal(go_on, True)
        while len(await run.history()) < before + 2:
            await until_waiting(run, "signal")


@hosted
async def test_a_run_stays_on_the_path_that_it_took_first(lives: World) -> None:
    old, new = code(is_patched=False), code(is_patched=True)
    async with lives.runtime(old) as rt:
        await rt.spawn(old(), id="l")
        await rounds(rt, 2)
    for _ in range(2):
        async with lives.runtime(new) as rt:
            await rounds(rt, 1)
    async with lives.runtime(new) as rt:
        await rt.handle("l").signal(go_on, False)
        assert await rt.handle("l").result() == ["ship"] * 4
        fresh = await rt.spawn(new(), id="m")
        await fresh.signal(go_on, True)
        await fresh.signal(go_on, False)
        assert await fresh.result() == ["fly"]
