"""Round trip: from spawning a one-step workflow to having its result, one at a time."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_latencies_ms
from bench.programs import chain
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect, percentile
from monolite import Runtime

WARM_UP = 20
"""First workflows, not counted."""

ROWS = 3
"""What a one-step workflow of the bare loop commits: its start, its step, its end."""


async def _latencies_ms(scratch: Scratch, count: int) -> list[float]:
    times: list[float] = []
    async with Runtime(scratch.file(), actors=[chain]) as rt:
        for _ in range(count):
            start = perf_counter()
            handle = await rt.spawn(chain(1))
            total = await handle.result()
            times.append((perf_counter() - start) * 1000)
            expect(total, 0, "spawn_result")
    return times


def _measure(scratch: Scratch, size: Size) -> Readings:
    return _summary(asyncio.run(_latencies_ms(scratch, WARM_UP + size.count)))


def _floor(scratch: Scratch, size: Size) -> Readings:
    return _summary(bare_latencies_ms(scratch.file(), WARM_UP + size.count, rows=ROWS))


def _summary(times: list[float]) -> Readings:
    counted = times[WARM_UP:]
    return {"p50": percentile(counted, 50), "p99": percentile(counted, 99)}


WORKLOAD = Workload(
    name="spawn_result",
    specs=(
        Spec("p50", "spawn to result, one step, p50", "ms", "three awaited commits, p50"),
        Spec("p99", "spawn to result, one step, p99", "ms", "three awaited commits, p99"),
    ),
    full=Size(300),
    quick=Size(60),
    measure=_measure,
    floor=_floor,
)
