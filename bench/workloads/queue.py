"""Queues: jobs through a queue beside the same without, and a claim from short and long ones."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from time import perf_counter

from bench.programs import chain, idle
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect
from monolite import Queue, Runtime
from monolite.core.entry import QUEUED, Run, RunNo
from monolite.host.engine import Engine
from monolite.host.queues import CLAIMS_MAX
from monolite.host.registry import Registry
from monolite.store.protocol import Writes
from monolite.store.sqlite.store import SqliteStore

CONCURRENCY = 50
KEYS = 1_000
SHORT = 1_000
LONG_SHARE = 20
"""The long backlog has so many times the jobs of the measurement."""

NOW_US = 1_900_000_000_000_000


async def _jobs_per_s(scratch: Scratch, count: int, queue: str | None) -> float:
    queues = [Queue("jobs", concurrency=CONCURRENCY)]
    async with Runtime(scratch.file(), actors=[chain], queues=queues) as rt:

        async def one() -> int:
            handle = await rt.spawn(chain(1), queue=queue)
            return await handle.result()

        start = perf_counter()
        totals = await asyncio.gather(*(one() for _ in range(count)))
        elapsed_s = perf_counter() - start
    expect(set(totals), {0}, "queue")
    return count / elapsed_s


def _fill(path: Path, count: int) -> None:
    """Put jobs that wait into a new file."""
    store = SqliteStore.own(path, now_us=NOW_US)
    writes = Writes()
    for n in range(count):
        no = RunNo(2 * n + 2)
        run = Run(no, f"job-{n}", 1, "idle", 1, QUEUED, "[]", NOW_US + n)
        run.queue, run.queue_key, run.priority = "jobs", f"tenant-{n % KEYS}", 0
        run.queued_us = NOW_US + n
        writes.runs.append(run)
    store.commit(writes)
    store.close()


def _claim(path: Path) -> tuple[float, float]:
    """Return the seconds of an engine's start, and the microseconds of a claim with its run."""
    store = SqliteStore.own(path, now_us=NOW_US)
    start = perf_counter()
    engine = Engine(store, Registry([idle]), queues=[Queue("jobs", per_key=2)])
    start_s = perf_counter() - start
    gc.collect()  # the one pass over what was just read in is the start's, not the claims'
    start = perf_counter()
    for _ in range(SHORT // CLAIMS_MAX):
        engine.turn([], NOW_US + 10_000_000)
    claim_us = (perf_counter() - start) / SHORT * 1_000_000
    expect(store.counts()["completed"], SHORT, "claims")
    engine.close()
    return start_s, claim_us


def _measure(scratch: Scratch, size: Size) -> Readings:
    long = scratch.file()
    _fill(long, size.count * LONG_SHARE)
    start_s, long_us = _claim(long)
    return {
        "jobs": asyncio.run(_jobs_per_s(scratch, size.count, "jobs")),
        "claim": long_us,
        "start": start_s,
    }


def _floor(scratch: Scratch, size: Size) -> Readings:
    short = scratch.file()
    _fill(short, SHORT)
    start_s, claim_us = _claim(short)
    return {
        "jobs": asyncio.run(_jobs_per_s(scratch, size.count, None)),
        "claim": claim_us,
        "start": start_s,
    }


WORKLOAD = Workload(
    name="queue",
    specs=(
        Spec("jobs", "one-step jobs through a queue, 50 at once", "/s", "without a queue"),
        Spec("claim", "claim and run of a job, 100,000 waiting", "us", "1,000 waiting"),
        Spec("start", "start of an engine with those waiting", "s", "1,000 waiting"),
    ),
    full=Size(5_000),
    quick=Size(500),
    measure=_measure,
    floor=_floor,
)
