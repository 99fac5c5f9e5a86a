"""The latency of one step: a single workflow of steps that follow each other."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_sequential_ms
from bench.programs import chain
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect
from monolite import Runtime


async def _per_step_ms(scratch: Scratch, steps: int) -> float:
    async with Runtime(scratch.file(), actors=[chain]) as rt:
        start = perf_counter()
        handle = await rt.spawn(chain(steps))
        total = await handle.result()
        elapsed_s = perf_counter() - start
    expect(total, sum(range(steps)), "sequential")
    return elapsed_s / steps * 1000


def _measure(scratch: Scratch, size: Size) -> Readings:
    return {"step": asyncio.run(_per_step_ms(scratch, size.each))}


def _floor(scratch: Scratch, size: Size) -> Readings:
    return {"step": bare_sequential_ms(scratch.file(), size.each)}


WORKLOAD = Workload(
    name="sequential",
    specs=(Spec("step", "one sequential step (best)", "ms", "bare loop's step (best)", pick=min),),
    full=Size(1, 200),
    quick=Size(1, 50),
    measure=_measure,
    floor=_floor,
)
