"""A storm: an engine under load that is killed at any moment, and what must hold afterwards.

Each life spawns orders and sends numbered messages from three senders (one of them by way of the
file, as another process would), and tells the parent of every acknowledgement. What was not
acknowledged is sent again, under the same id, in the next life. The last life spawns nothing, is
patient, and is let finish.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from monolite import Client, Runtime
from tests.processes import programs
from tests.processes.child import say

CLIENT = "cleo"
SENDERS = ("ada", "bob", CLIENT)
ORDERS = 16
"""New orders in each life; with the messages, more acknowledgements than a life has time for."""

MESSAGES = 40
"""Messages of each sender in one life."""


async def spawn_orders(rt: Runtime, life: int) -> None:
    for number in range(ORDERS):
        handle = await rt.spawn(programs.order(number), id=f"order-{life}-{number}")
        say({"spawned": handle.id})


async def send(by: Runtime | Client, sender: str, first: int) -> None:
    collector = await by.spawn(programs.collector(), id="collector")
    for number in range(first, first + MESSAGES):
        await collector.signal(programs.numbers, (sender, number), id=f"{sender}-{number}")
        say({"sent": [sender, number]})


async def rage(path: str, life: int, first: dict[str, int]) -> None:
    say("opening")
    max_live = 10_000 if life % 2 else 8  # so that runs also leave memory and come back
    async with Runtime(path, actors=[programs], max_live=max_live) as rt, Client(path) as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(spawn_orders(rt, life))
            for sender in SENDERS:
                by = client if sender == CLIENT else rt
                group.create_task(send(by, sender, first[sender]))
        await asyncio.Event().wait()


async def subside(path: str, first: dict[str, int]) -> None:
    async with Runtime(path, actors=[programs], max_live=50) as rt, Client(path) as client:
        for sender in SENDERS:
            await send(client if sender == CLIENT else rt, sender, first[sender])
        collector = rt.handle("collector", programs.collector)
        await collector.signal(programs.numbers, ("", -1), id="the end")
        say({"collected": await collector.result()})
        for info in await rt.list(name="order", limit=10_000):
            done = await rt.handle(info.id, programs.order).result()
            say({"done": info.id, "once": done.once, "child": done.child})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("life", type=int)
    parser.add_argument("first", type=json.loads)
    parser.add_argument("--last", action="store_true")
    options = parser.parse_args()
    if options.last:
        asyncio.run(subside(options.path, options.first))
    else:
        asyncio.run(rage(options.path, options.life, options.first))
