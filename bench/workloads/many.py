"""Throughput: many short workflows, all at once."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_loop
from bench.programs import chain
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect
from monolite import Runtime


async def _seconds(scratch: Scratch, size: Size) -> float:
    async with Runtime(scratch.file(), actors=[chain]) as rt:

        async def one() -> int:
            handle = await rt.spawn(chain(size.each))
            return await handle.result()

        start = perf_counter()
        totals = await asyncio.gather(*(one() for _ in range(size.count)))
        elapsed_s = perf_counter() - start
    expect(set(totals), {sum(range(size.each))}, "many")
    return elapsed_s


def _measure(scratch: Scratch, size: Size) -> Readings:
    seconds = asyncio.run(_seconds(scratch, size))
    rate = size.count / seconds
    return {
        "workflows": rate,
        "batched": rate,
        "steps": size.count * size.each / seconds,
    }


def _floor(scratch: Scratch, size: Size) -> Readings:
    rate = bare_loop(scratch.file(), size.count, size.each).workflows_per_s
    batched = bare_loop(scratch.file(), size.count, size.each, batched=True).workflows_per_s
    return {"workflows": rate, "batched": batched, "steps": rate * size.each}


WORKLOAD = Workload(
    name="many",
    specs=(
        Spec("workflows", "5-step workflows, all at once", "/s", "bare loop's workflows"),
        Spec("batched", "the same", "/s", "batched loop's workflows"),
        Spec("steps", "steps of those", "/s", "bare loop's steps"),
    ),
    full=Size(2000, 5),
    quick=Size(500, 5),
    measure=_measure,
    floor=_floor,
)
