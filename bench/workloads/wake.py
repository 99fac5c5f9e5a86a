"""Waking: a message to an actor or a workflow that has left memory, until its answer."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_latencies_ms
from bench.programs import Tally, answers, chain_and_answer
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect, percentile
from monolite import Runtime

STEPS = 20
"""Each workflow's journal, which is replayed when it wakes."""

LIVE_MAX = 10
"""Runs that may stay in memory. Far more take turns, so each has left when its turn comes."""


async def _actors_ms(scratch: Scratch, count: int) -> list[float]:
    times: list[float] = []
    async with Runtime(scratch.file(), actors=[Tally], max_live=LIVE_MAX) as rt:
        tallies = [rt.actor(Tally, f"tally-{number}") for number in range(count)]
        for tally in tallies:
            await tally.add(1)
        for tally in tallies:
            start = perf_counter()
            total = await tally.add(1)
            times.append((perf_counter() - start) * 1000)
            expect(total, 2, "wake: an actor's state")
    return times


async def _workflows_ms(scratch: Scratch, count: int) -> list[float]:
    times: list[float] = []
    async with Runtime(scratch.file(), actors=[chain_and_answer], max_live=LIVE_MAX) as rt:
        handles = [await rt.spawn(chain_and_answer(STEPS)) for _ in range(count)]
        for handle in handles:
            await handle.update(answers, 1)
        for handle in handles:
            start = perf_counter()
            total = await handle.update(answers, 1)
            times.append((perf_counter() - start) * 1000)
            expect(total, sum(range(STEPS)) + 2, "wake: a workflow's answer")
    return times


def _measure(scratch: Scratch, size: Size) -> Readings:
    return {
        "actor": percentile(asyncio.run(_actors_ms(scratch, size.count)), 50),
        "workflow": percentile(asyncio.run(_workflows_ms(scratch, size.count)), 50),
    }


def _floor(scratch: Scratch, size: Size) -> Readings:
    median = percentile(bare_latencies_ms(scratch.file(), size.count), 50)
    return {"actor": median, "workflow": median}


WORKLOAD = Workload(
    name="wake",
    specs=(
        Spec("actor", "update to an actor out of memory, p50", "ms", "one awaited commit, p50"),
        Spec("workflow", "the same, a workflow of 20 steps, p50", "ms", "one awaited commit, p50"),
    ),
    full=Size(200),
    quick=Size(50),
    measure=_measure,
    floor=_floor,
)
