"""Replay: a workflow with a long journal is brought back by a message to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.floor import bare_read_per_s
from bench.programs import answers, chain_and_answer
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect
from monolite import Runtime

ID = "long"

RETURNS = 3
"""How often it comes back, each time in a new engine; the median counts."""


async def _prepare(path: Path, steps: int) -> None:
    """Leave a workflow in the file that has done its steps; how durably is not measured."""
    options: Any = {"durability": "normal", "history_warning": steps * 2}
    async with Runtime(path, actors=[chain_and_answer], **options) as rt:
        handle = await rt.spawn(chain_and_answer(steps), id=ID)
        await handle.update(answers, 0)


async def _seconds(path: Path, steps: int, number: int) -> float:
    """Return the time from a message to its answer, in an engine that has not seen the run."""
    async with Runtime(path, actors=[chain_and_answer]) as rt:
        handle = rt.handle(ID, chain_and_answer)
        start = perf_counter()
        total = await handle.update(answers, 1)
        elapsed_s = perf_counter() - start
    expect(total, sum(range(steps)) + number, "replay")
    return elapsed_s


def _measure(scratch: Scratch, size: Size) -> Readings:
    path = scratch.file()
    asyncio.run(_prepare(path, size.each))
    times = [asyncio.run(_seconds(path, size.each, n + 1)) for n in range(RETURNS)]
    return {"entries": size.each / sorted(times)[RETURNS // 2]}


def _floor(scratch: Scratch, size: Size) -> Readings:
    return {"entries": bare_read_per_s(scratch.file(), size.each)}


WORKLOAD = Workload(
    name="replay",
    specs=(Spec("entries", "journal entries replayed", "/s", "bare rows read and decoded"),),
    full=Size(1, 20_000),
    quick=Size(1, 2_000),
    measure=_measure,
    floor=_floor,
)
