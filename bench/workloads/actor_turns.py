"""Actors: updates to many of them, or to a single one, all sent at once."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.floor import bare_rows_per_s
from bench.programs import Tally
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect
from monolite import Runtime


async def _seconds(scratch: Scratch, size: Size) -> float:
    async with Runtime(scratch.file(), actors=[Tally]) as rt:
        tallies = [rt.actor(Tally, f"tally-{number}") for number in range(size.count)]
        start = perf_counter()
        totals = await asyncio.gather(
            *(tally.add(1) for _ in range(size.each) for tally in tallies)
        )
        elapsed_s = perf_counter() - start
    # In the order in which they were sent, and none twice.
    in_order = [number for number in range(1, size.each + 1) for _ in tallies]
    expect(totals, in_order, "actor turns")
    return elapsed_s


def measure(scratch: Scratch, size: Size) -> Readings:
    """Send `size.each` updates to each of `size.count` actors."""
    rate = size.count * size.each / asyncio.run(_seconds(scratch, size))
    return {"turns": rate, "batched": rate}


def floor(scratch: Scratch, size: Size) -> Readings:
    rows = size.count * size.each
    return {
        "turns": bare_rows_per_s(scratch.file(), rows),
        "batched": bare_rows_per_s(scratch.file(), rows, batched=True),
    }


WORKLOAD = Workload(
    name="actor_turns",
    specs=(
        Spec("turns", "turns of 100 actors, all at once", "/s", "bare loop's rows"),
        Spec("batched", "the same", "/s", "batched loop's rows"),
    ),
    full=Size(100, 50),
    quick=Size(100, 10),
    measure=measure,
    floor=floor,
)
