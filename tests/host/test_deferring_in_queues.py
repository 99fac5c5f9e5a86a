"""Deferring in queues: who is answered from elsewhere holds no turn meanwhile."""

from __future__ import annotations

import anyio
import anyio.lowlevel

import monolite
from monolite import Queue, activity, workflow
from tests.host.homes import Home


async def test_an_activity_that_is_answered_later_gives_its_turn_back(home: Home) -> None:
    tokens: list[str] = []

    @activity(queue="narrow")
    async def later(n: int) -> int:
        tokens.append(monolite.attempt().defer())
        return n

    @workflow
    async def asking(n: int) -> int:
        return await later(n)

    async with home.runtime(asking, queues=[Queue("narrow", concurrency=1)]) as rt:
        runs = [await rt.spawn(asking(n)) for n in range(3)]
        with anyio.fail_after(5):
            while len(tokens) < len(runs):
                await anyio.lowlevel.checkpoint()
        for token in tokens:
            await rt.resolve(token, 7)
        assert [await run.result() for run in runs] == [7, 7, 7]
