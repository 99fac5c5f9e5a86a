"""Reaction time: from sending a signal to an activity that the workflow runs in answer."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_latencies_ms
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect, percentile
from monolite import Runtime, Signal, activity, workflow

PAUSE_S = 0.002
"""Between pings, so that none meets the commit of the answer before it."""

WARM_UP = 20
"""First pings, not counted."""

serve = Signal("serve", int)


async def _latencies_ms(scratch: Scratch, count: int) -> list[float]:
    times: list[float] = []
    returned = asyncio.Event()
    returned_at = 0.0

    @activity
    async def answer(number: int) -> int:
        nonlocal returned_at
        returned_at = perf_counter()
        returned.set()
        return number

    @workflow
    async def rally(strokes: int) -> int:
        total = 0
        for _ in range(strokes):
            total += await answer(await serve.receive())
        return total

    async with Runtime(scratch.file(), actors=[rally]) as rt:
        handle = await rt.spawn(rally(count))
        for number in range(count):
            await asyncio.sleep(PAUSE_S)
            returned.clear()
            start = perf_counter()
            await handle.signal(serve, number)
            await returned.wait()
            times.append((returned_at - start) * 1000)
        expect(await handle.result(), sum(range(count)), "ping_pong")
    return times


def _measure(scratch: Scratch, size: Size) -> Readings:
    return _summary(asyncio.run(_latencies_ms(scratch, WARM_UP + size.count)))


def _floor(scratch: Scratch, size: Size) -> Readings:
    return _summary(bare_latencies_ms(scratch.file(), WARM_UP + size.count, pause_s=PAUSE_S))


def _summary(times: list[float]) -> Readings:
    counted = times[WARM_UP:]
    return {"p50": percentile(counted, 50), "p99": percentile(counted, 99)}


WORKLOAD = Workload(
    name="ping_pong",
    specs=(
        Spec("p50", "signal to reaction, p50", "ms", "one awaited commit, p50"),
        Spec("p99", "signal to reaction, p99", "ms", "one awaited commit, p99"),
    ),
    full=Size(500),
    quick=Size(100),
    measure=_measure,
    floor=_floor,
)
