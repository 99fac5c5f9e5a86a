"""Bytes on disk: what a finished workflow leaves in the file."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from bench.floor import bare_loop, connect
from bench.programs import chain
from bench.workload import Readings, Scratch, Size, Spec, Workload
from monolite import Runtime


async def _finish(path: Path, size: Size) -> None:
    async with Runtime(path, actors=[chain]) as rt:

        async def one() -> None:
            handle = await rt.spawn(chain(size.each))
            await handle.result()

        await asyncio.gather(*(one() for _ in range(size.count)))


def _bytes(path: Path) -> int:
    """Return the size of a closed file, whatever its log held included."""
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path.stat().st_size


def _engine_bytes(scratch: Scratch, size: Size) -> int:
    path = scratch.file()
    asyncio.run(_finish(path, size))
    return _bytes(path)


def _floor_bytes(scratch: Scratch, size: Size) -> int:
    path = scratch.file()
    bare_loop(path, size.count, size.each)
    return _bytes(path)


def _measure(scratch: Scratch, size: Size) -> Readings:
    """Compare a full file with one that holds a single workflow: the schema is not counted."""
    grown = _engine_bytes(scratch, size) - _engine_bytes(scratch, Size(1, size.each))
    return {"bytes": grown / (size.count - 1)}


def _floor(scratch: Scratch, size: Size) -> Readings:
    grown = _floor_bytes(scratch, size) - _floor_bytes(scratch, Size(1, size.each))
    return {"bytes": grown / (size.count - 1)}


WORKLOAD = Workload(
    name="file_size",
    specs=(Spec("bytes", "file, per finished 2-step workflow", "bytes", "bare loop's four rows"),),
    full=Size(1000, 2),
    quick=Size(300, 2),
    measure=_measure,
    floor=_floor,
)
