"""Homes: where the runtimes of one test keep their rows, from one life to the next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monolite import Duration, Handle, Info, Queue, Runtime, errors
from monolite.host.clock import Clock
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Store

GRACE_S = 1.0

LOOKS_MAX = 20_000
"""Descriptions asked for while a report is on its way: each is a turn of the engine."""


class RuntimeOn(Runtime):
    """A runtime on a store that the test made."""

    def __init__(self, store: Store, **settings: Any) -> None:
        super().__init__(":memory:", **settings)
        self._store = store

    def _open_store(self) -> Store:
        return self._store


class Home:
    """A file, or a memory store; every runtime opened here finds what the last one left."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._memory = MemoryStore()

    def runtime(
        self,
        *actors: Any,
        clock: Clock | None = None,
        max_live: int = 10_000,
        shutdown_grace: Duration = GRACE_S,
        processes: int | None = None,
        queues: Iterable[Queue] = (),
    ) -> Runtime:
        settings: dict[str, Any] = {
            "actors": actors,
            "clock": clock,
            "max_live": max_live,
            "shutdown_grace": shutdown_grace,
            "processes": processes,
            "queues": queues,
        }
        if self.path is None:
            return RuntimeOn(self._memory, **settings)
        return Runtime(self.path, **settings)


async def waits_on(run: Handle[Any], words: str) -> Info:
    """Return the run's description as soon as it says that it waits on `words`."""
    info = await run.describe()
    for _ in range(LOOKS_MAX):
        if words in (info.waiting_on or ""):
            return info
        info = await run.describe()
    message = f"{run.id} never waited on {words!r}; it is {info.status}: {info.waiting_on}"
    raise AssertionError(message)


async def ended(run: Handle[Any]) -> Info:
    """Return the run's description once it has ended, however it did."""
    with contextlib.suppress(errors.WorkflowFailed, errors.Cancelled, errors.Terminated):
        await run.result()
    return await run.describe()
