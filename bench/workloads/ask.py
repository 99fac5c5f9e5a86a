"""Asking: updates to an actor in memory, each sent when the one before it was answered."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_commit_ms, bare_latencies_ms
from bench.programs import Tally
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect, percentile
from monolite import Runtime

WARM_UP = 20
"""First updates, not counted."""


async def _latencies_ms(scratch: Scratch, count: int) -> list[float]:
    times: list[float] = []
    async with Runtime(scratch.file(), actors=[Tally]) as rt:
        tally = rt.actor(Tally, "tally")
        for number in range(count):
            start = perf_counter()
            total = await tally.add(1)
            times.append((perf_counter() - start) * 1000)
            expect(total, number + 1, "ask")
    return times


def _measure(scratch: Scratch, size: Size) -> Readings:
    counted = asyncio.run(_latencies_ms(scratch, WARM_UP + size.count))[WARM_UP:]
    median = percentile(counted, 50)
    return {"commits": median, "p50": median, "p99": percentile(counted, 99)}


def _floor(scratch: Scratch, size: Size) -> Readings:
    counted = bare_latencies_ms(scratch.file(), WARM_UP + size.count)[WARM_UP:]
    return {
        "commits": bare_commit_ms(scratch.file(), size.count),
        "p50": percentile(counted, 50),
        "p99": percentile(counted, 99),
    }


WORKLOAD = Workload(
    name="ask",
    specs=(
        Spec("commits", "update to answer, p50", "ms", "bare one-row commit"),
        Spec("p50", "the same", "ms", "one awaited commit, p50"),
        Spec("p99", "update to answer, p99", "ms", "one awaited commit, p99"),
    ),
    full=Size(500),
    quick=Size(100),
    measure=_measure,
    floor=_floor,
)
