"""Signals: one sender per workflow, each waiting until a signal is durable before the next."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_loop
from bench.programs import Parcel, collect, parcels
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect
from monolite import Handle, Runtime


async def _send_all(handle: Handle[int], count: int) -> int:
    """Send the signals, one in flight; return how many were accepted."""
    accepted = 0
    for number in range(count):
        answer = await handle.signal(parcels, Parcel(number))
        accepted += answer.accepted
    return accepted


async def _seconds(scratch: Scratch, size: Size) -> float:
    async with Runtime(scratch.file(), actors=[collect]) as rt:
        handles = await asyncio.gather(*(rt.spawn(collect(size.each)) for _ in range(size.count)))
        start = perf_counter()
        accepted = await asyncio.gather(*(_send_all(handle, size.each) for handle in handles))
        totals = await asyncio.gather(*(handle.result() for handle in handles))
        elapsed_s = perf_counter() - start
    expect(sum(accepted), size.count * size.each, "signals accepted")
    expect(set(totals), {sum(range(size.each))}, "signals received")
    return elapsed_s


def _measure(scratch: Scratch, size: Size) -> Readings:
    rate = size.count * size.each / asyncio.run(_seconds(scratch, size))
    return {"signals": rate, "batched": rate}


def _floor(scratch: Scratch, size: Size) -> Readings:
    """Let as many coroutines commit as many rows each; two of them are its start and end."""
    steps = size.each - 2
    return {
        "signals": bare_loop(scratch.file(), size.count, steps).rows_per_s,
        "batched": bare_loop(scratch.file(), size.count, steps, batched=True).rows_per_s,
    }


WORKLOAD = Workload(
    name="signals",
    specs=(
        Spec("signals", "signals sent and received", "/s", "bare loop's rows"),
        Spec("batched", "the same", "/s", "batched loop's rows"),
    ),
    full=Size(500, 20),
    quick=Size(100, 20),
    measure=_measure,
    floor=_floor,
)
