"""A bank that is killed at any moment: deposits with ids, transfers, and a watermark.

Each life repeats the deposits that were not acknowledged, under the same ids, moves money about
as fast as it can, and advances a watermark table from a workflow. The last life lets it end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from typing import Any

import monolite
from actors import accounts
from actors.accounts import Account, Overdrawn
from monolite import Runtime, Signal, transaction, workflow
from tests.processes.child import say

MOVERS = [f"mover-{n}" for n in range(5)]
"""Accounts among which a sum is moved, that never changes once it is there."""

OPENING = 1_000
SAVERS = [f"saver-{n}" for n in range(3)]
"""Accounts that only get deposits, each of one cent."""

DEPOSITS = 60
"""Deposits of each saver in one life; more than a life has time for."""

stop = Signal("stop", int)


@transaction
def advance(db: Any, to: int) -> int:
    """Move the watermark by one."""
    db.execute("CREATE TABLE IF NOT EXISTS watermark (one INTEGER PRIMARY KEY, n INTEGER)")
    db.execute(
        "INSERT INTO watermark VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET n = n + 1 RETURNING n",
    )
    (n,) = db.execute("SELECT n FROM watermark").fetchone()
    return int(n)


@workflow
async def marking() -> int:
    """Advance the watermark until told to stop; every advance is an entry of the journal."""
    n = 0
    while not stop.pending():
        n = await advance(n + 1)
        await asyncio.sleep(0.001)
    return n


async def save(rt: Runtime, saver: str, first: int) -> None:
    account = rt.actor(Account, saver)
    for number in range(first, first + DEPOSITS):
        await monolite.send(account.deposit(1), id=f"{saver}-{number}")
        say({"saved": [saver, number]})


async def move(rt: Runtime, seed: str) -> None:
    rng = random.Random(seed)
    while True:
        giver, taker = rng.sample(MOVERS, 2)
        with contextlib.suppress(Overdrawn):
            await rt.actor(Account, giver).transfer(taker, rng.randint(1, 300))


async def rage(path: str, life: int, first: dict[str, int]) -> None:
    async with Runtime(path, actors=[accounts, marking], shutdown_grace=0) as rt:
        for mover in MOVERS:
            await monolite.send(rt.actor(Account, mover).deposit(OPENING), id=f"{mover}-opening")
        await rt.spawn(marking(), id="marks")
        say("open")
        async with asyncio.TaskGroup() as group:
            for saver in SAVERS:
                group.create_task(save(rt, saver, first.get(saver, 0)))
            for number in range(3):
                group.create_task(move(rt, f"{life}/{number}"))


async def subside(path: str, first: dict[str, int]) -> None:
    async with Runtime(path, actors=[accounts, marking], max_live=4) as rt:
        for saver in SAVERS:
            await save(rt, saver, first.get(saver, 0))
        marks = rt.handle("marks", marking)
        await marks.signal(stop, 1)
        say({"marks": await marks.result()})
        for key in SAVERS + MOVERS:
            say({"statement": await rt.actor(Account, key).statement()})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("life", type=int)
    parser.add_argument("first", help="JSON: the first deposit of each saver")
    parser.add_argument("--last", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    import json

    options = parsed()
    deposits: dict[str, int] = json.loads(options.first)
    if options.last:
        asyncio.run(subside(options.path, deposits))
    else:
        asyncio.run(rage(options.path, options.life, deposits))
    sys.exit(0)
