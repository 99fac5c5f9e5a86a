"""An engine under a load of queued jobs that is killed at any moment, and what must hold.

Each life spawns jobs under several keys, by way of the engine and by way of the file, and tells
the parent of each acknowledgement. A job makes one call in a queue of calls. The last life spawns
nothing and waits until all have ended.
"""

from __future__ import annotations

import argparse
import asyncio

from monolite import Client, Queue, Runtime, activity, workflow
from tests.processes.child import say
from tests.processes.programs import leave_effect

JOBS = Queue("jobs", concurrency=5, per_key=3)
CALLS = Queue("calls", concurrency=3, per_key=2)
KEYS = ("a", "b", "c")
SPAWNS = 30
"""New jobs in each life, by each of both ways."""

TURNS = 3
"""How often a call lets the others go on."""


@activity
async def call(job: str, key: str) -> str:
    leave_effect(f"begin {key}")
    for _ in range(TURNS):
        await asyncio.sleep(0)
    leave_effect(f"end {key}")
    return job


@workflow
async def job(name: str, key: str) -> str:
    return await call(name, key).options(queue="calls", key=key)


async def spawn_jobs(by: Runtime | Client, word: str, life: int) -> None:
    for n in range(SPAWNS):
        key = KEYS[n % len(KEYS)]
        name = f"{word}-{life}-{n}"
        await by.spawn(job(name, key), id=name, queue="jobs", key=key, priority=n % 3)
        say({"spawned": name})


async def rage(path: str, life: int) -> None:
    say("opening")
    max_live = 10_000 if life % 2 else 4  # so that runs also leave memory and come back
    async with (
        Runtime(path, actors=[job], queues=[JOBS, CALLS], max_live=max_live) as rt,
        Client(path) as client,
    ):
        async with asyncio.TaskGroup() as group:
            group.create_task(spawn_jobs(rt, "engine", life))
            group.create_task(spawn_jobs(client, "client", life))
        await asyncio.Event().wait()


async def subside(path: str) -> None:
    async with Runtime(path, actors=[job], queues=[JOBS, CALLS]) as rt:
        for info in await rt.list(name="job", limit=100_000):
            say({"done": await rt.handle(info.id, job).result()})
        say({"left": [(x.name, x.waiting, x.running) for x in await rt.queues()]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("life", type=int)
    parser.add_argument("--last", action="store_true")
    options = parser.parse_args()
    asyncio.run(subside(options.path) if options.last else rage(options.path, options.life))
