"""Idle CPU: what an engine costs while its workflows only wait."""

from __future__ import annotations

import asyncio
from time import process_time

from bench.programs import collect
from bench.workload import Readings, Scratch, Size, Spec, Workload
from monolite import Runtime

SETTLE_S = 0.5
"""Between the last spawn and the measurement."""


async def _cpu_ms_per_s(seconds: float) -> float:
    """Return what all threads of this process use while its host loop does nothing."""
    start = process_time()
    await asyncio.sleep(seconds)
    return (process_time() - start) * 1000 / seconds


async def _engine(scratch: Scratch, size: Size) -> float:
    async with Runtime(scratch.file(), actors=[collect]) as rt:
        handles = await asyncio.gather(*(rt.spawn(collect(1)) for _ in range(size.count)))
        await asyncio.sleep(SETTLE_S)
        used = await _cpu_ms_per_s(size.each)
        await asyncio.gather(*(handle.terminate("measured") for handle in handles))
    return used


def _measure(scratch: Scratch, size: Size) -> Readings:
    return {"cpu": asyncio.run(_engine(scratch, size))}


def _floor(_scratch: Scratch, size: Size) -> Readings:
    return {"cpu": asyncio.run(_cpu_ms_per_s(size.each))}


WORKLOAD = Workload(
    name="idle",
    specs=(Spec("cpu", "CPU of an idle engine, 100 waiting", "ms/s", "asyncio alone"),),
    full=Size(100, 2),
    quick=Size(100, 1),
    measure=_measure,
    floor=_floor,
)
