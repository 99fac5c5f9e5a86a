"""A ticker: an engine whose schedules tick every 20 ms, which is killed at any moment.

It says the id of each run that got going. The last life is told to come to rest: it pauses its
schedules, and lets everything end.
"""

from __future__ import annotations

import argparse
import asyncio

from monolite import Runtime, activity, current, workflow
from tests.processes.child import say

EVERY = "20ms"


@activity
async def tell(id: str) -> None:
    say(id)


@workflow
async def tick() -> str:
    await tell(current().id)
    return current().id


@workflow
async def slow_tick() -> str:
    await tell(current().id)
    await asyncio.sleep(0.05)
    return current().id


async def rage(path: str) -> None:
    async with Runtime(path, actors=[tick, slow_tick]) as rt:
        await rt.schedule("all", tick(), every=EVERY, overlap="allow")
        await rt.schedule("fresh", tick(), every=EVERY, overlap="allow", catchup="5ms")
        await rt.schedule("skipping", slow_tick(), every=EVERY)
        await rt.schedule("buffering", slow_tick(), every=EVERY, overlap="buffer", catchup="1s")
        await asyncio.Event().wait()


async def subside(path: str) -> None:
    async with Runtime(path, actors=[tick, slow_tick]) as rt:
        for schedule in await rt.schedules():
            await rt.scheduled(schedule.name).pause()
        for run in await rt.list(limit=100_000):
            await rt.handle(run.id).result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--last", action="store_true")
    options = parser.parse_args()
    asyncio.run(subside(options.path) if options.last else rage(options.path))
