"""The floor: what the disk, SQLite and asyncio cost with no engine at all.

The *bare loop* is the yardstick. Each workflow is a coroutine that awaits the commit of one
row at its start, after each step (a plain function call) and at its end; a writer thread
commits whatever has gathered. A program cannot make its progress durable with less.
"""

from __future__ import annotations

import asyncio
import os
import queue
import statistics
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import apsw
import msgspec

ROW = (
    '{"step":"charge","result":{"id":"ch_1234567890","ok":true},'
    '"at":"2026-01-01T00:00:00.000Z","n":12345}'
)
"""What every row holds: about 100 bytes of JSON."""

CHECKPOINT_EVERY = 100
"""Single commits between checkpoints: few enough that most overwrite a log that exists."""

PAGE_BYTES = 4096

_SCHEMA = """
CREATE TABLE journal (
  wf INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (wf, seq)
) STRICT, WITHOUT ROWID
"""
_INSERT = "INSERT INTO journal (wf, seq, body) VALUES (?, ?, ?)"
_SELECT = "SELECT seq, body FROM journal WHERE wf = ? ORDER BY seq"

Batch = list[tuple[int, int, "asyncio.Future[None]"]]


class Rows(Protocol):
    """What a statement returned."""

    def fetchall(self) -> list[Any]: ...


class Database(Protocol):
    """The part of an apsw connection that is used, whose own types lean on Python 3.12."""

    def execute(self, statements: str, bindings: Sequence[int | str] | None = None, /) -> Rows: ...

    def executemany(self, statements: str, rows: Iterable[Sequence[int | str]], /) -> object: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class LoopRate:
    """How fast the bare loop finished its workflows."""

    seconds: float
    workflows_per_s: float
    rows_per_s: float


def connect(path: Path) -> Database:
    """Open a file as it is."""
    return apsw.Connection(str(path))


def bare_commit_ms(path: Path, n: int) -> float:
    """Return the median time of a transaction that inserts one row, in this thread alone."""
    times: list[float] = []
    with closing(_create(path)) as connection:
        for seq in range(n):
            start = perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_INSERT, (0, seq, ROW))
            connection.execute("COMMIT")
            times.append(perf_counter() - start)
            if seq % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return statistics.median(times) * 1000


def fdatasyncs_per_s(path: Path, n: int) -> float:
    """Return how often a second one page of an existing file can be overwritten and synced."""
    page = b"x" * PAGE_BYTES
    sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, page * n)
        os.fsync(descriptor)
        start = perf_counter()
        for number in range(n):
            os.pwrite(descriptor, page, number * PAGE_BYTES)
            sync(descriptor)
        return n / (perf_counter() - start)
    finally:
        os.close(descriptor)


def bare_loop(path: Path, workflows: int, steps: int, *, batched: bool = False) -> LoopRate:
    """Run that many workflows of that many steps at once, each committing `steps + 2` rows.

    `batched`: with as little as a program can do at the border of the thread (`BatchedCommit`).
    """

    async def run() -> float:
        async with _group_commit(path, batched=batched) as log:
            start = perf_counter()
            await asyncio.gather(*(_workflow(log, wf, steps) for wf in range(workflows)))
            return perf_counter() - start

    seconds = asyncio.run(run())
    return LoopRate(seconds, workflows / seconds, workflows * (steps + 2) / seconds)


def bare_sequential_ms(path: Path, steps: int) -> float:
    """Return the time per step of one workflow with nothing beside it."""
    return bare_loop(path, 1, steps).seconds / steps * 1000


def bare_rows_per_s(path: Path, rows: int, *, batched: bool = False) -> float:
    """Commit that many rows, all at once, each awaited by a coroutine of its own."""

    async def run() -> float:
        async with _group_commit(path, batched=batched) as log:

            async def one(number: int) -> None:
                await log.commit(number, 0)

            start = perf_counter()
            await asyncio.gather(*(one(number) for number in range(rows)))
            return perf_counter() - start

    return rows / asyncio.run(run())


def bare_read_per_s(path: Path, rows: int) -> float:
    """Read the rows of one workflow in order and decode each; return how many a second."""
    with closing(_create(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, ((0, seq, ROW) for seq in range(rows)))
        connection.execute("COMMIT")
    with closing(connect(path)) as connection:
        start = perf_counter()
        for _, body in connection.execute(_SELECT, (0,)).fetchall():
            msgspec.json.decode(body)
        return rows / (perf_counter() - start)


def bare_latencies_ms(
    path: Path, samples: int, *, rows: int = 1, pause_s: float = 0.0
) -> list[float]:
    """Return how long each of `samples` runs of `rows` commits took, one run after the other.

    `pause_s` is slept between runs, for workloads that let the engine come to rest too.
    """

    async def run() -> list[float]:
        times: list[float] = []
        async with _group_commit(path) as log:
            for wf in range(samples):
                start = perf_counter()
                for seq in range(rows):
                    await log.commit(wf, seq)
                times.append((perf_counter() - start) * 1000)
                await asyncio.sleep(pause_s)
        return times

    return asyncio.run(run())


class GroupCommit:
    """A writer thread that commits whatever rows have gathered since its last commit."""

    def __init__(self, connection: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        # Bounded by the coroutines: each has at most one row on its way.
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="bare-writer")
        self._thread.start()

    def commit(self, wf: int, seq: int) -> asyncio.Future[None]:
        """Return a future that is done once the row is in the file."""
        committed = self._loop.create_future()
        self._batches.put([(wf, seq, committed)])
        return committed

    def close(self) -> None:
        """Stop the thread, once it has written what was handed over."""
        self._batches.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while batch := self._gathered():
            error: Exception | None = None
            try:
                self._write(batch)
            except (apsw.Error, OSError) as caught:
                error = caught
            self._hand_back(batch, error)

    def _hand_back(self, batch: Batch, error: Exception | None) -> None:
        for row in batch:
            self._loop.call_soon_threadsafe(_release, [row], error)

    def _gathered(self) -> Batch | None:
        """Wait for rows and return all there are; None at the end."""
        batch = self._batches.get()
        while batch is not None and not self._batches.empty():
            more = self._batches.get()
            if more is None:
                self._batches.put(None)
                break
            batch += more
        return batch

    def _write(self, batch: Batch) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_INSERT, ((wf, seq, ROW) for wf, seq, _ in batch))
        self._connection.execute("COMMIT")


class BatchedCommit(GroupCommit):
    """The same with batches both ways, which more than doubles the rate.

    One queue item for all rows of a loop iteration, and one `call_soon_threadsafe` for all rows
    of a commit.
    """

    def __init__(self, connection: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._gathering: Batch = []
        super().__init__(connection, loop)

    def commit(self, wf: int, seq: int) -> asyncio.Future[None]:
        if not self._gathering:
            self._loop.call_soon(self._hand_over)
        committed = self._loop.create_future()
        self._gathering.append((wf, seq, committed))
        return committed

    def _hand_over(self) -> None:
        self._batches.put(self._gathering)
        self._gathering = []

    def _hand_back(self, batch: Batch, error: Exception | None) -> None:
        self._loop.call_soon_threadsafe(_release, batch, error)


@asynccontextmanager
async def _group_commit(path: Path, *, batched: bool = False) -> AsyncGenerator[GroupCommit, None]:
    loop = asyncio.get_running_loop()
    kind = BatchedCommit if batched else GroupCommit
    with closing(_create(path)) as connection, closing(kind(connection, loop)) as log:
        yield log


async def _workflow(log: GroupCommit, wf: int, steps: int) -> int:
    await log.commit(wf, 0)
    done = 0
    for seq in range(1, steps + 1):
        done = _step(done)
        await log.commit(wf, seq)
    await log.commit(wf, steps + 1)
    return done


def _step(done: int) -> int:
    return done + 1


def _release(batch: Batch, error: Exception | None) -> None:
    for _, _, committed in batch:
        if committed.done():
            continue  # its coroutine was cancelled meanwhile
        if error is None:
            committed.set_result(None)
        else:
            committed.set_exception(error)


def _create(path: Path) -> Database:
    """Open a new file that syncs at every commit and is checkpointed only when asked."""
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    connection.execute(_SCHEMA)
    return connection
