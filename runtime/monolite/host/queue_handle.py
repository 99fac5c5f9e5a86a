"""Queue handles: what a program holds of a queue, to look at it and to change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypedDict, Unpack

import msgspec

from monolite.core.handle import Info
from monolite.core.queue import Breaker, Limits, Rate, changed, unknown_queue
from monolite.store.protocol import QueueRow

DEAD_MAX = 100
"""Dead letters listed, or retried, unless more are asked for."""

Change = Callable[[QueueRow | None, list[str]], QueueRow]
"""Makes a queue's new row of the one it has and the names of all queues."""


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a queue: its limits, how much waits, runs and failed, why nothing starts."""

    name: str
    concurrency: int | None
    per_key: int | None
    rate: Rate | None
    breaker: Breaker | None
    workers: bool
    paused: bool
    waiting: int
    running: int
    dead: int
    waiting_on: str | None = None


class LimitChanges(TypedDict, total=False):
    """Limits that are changed, as they are declared; None: no such limit."""

    concurrency: int | None
    per_key: int | None
    rate: Rate | None
    breaker: Breaker | None
    workers: bool


class QueuePort(Protocol):
    """How a queue's handle reaches it: through a runtime, or a client."""

    async def change_queue(self, name: str, change: Change) -> QueueRow: ...
    async def describe_queue(self, name: str) -> QueueInfo: ...
    async def await_idle(self, name: str) -> None: ...
    async def dead(self, name: str, limit: int) -> list[Info]: ...
    async def retry_dead(self, name: str, limit: int) -> list[str]: ...


class QueueHandle:
    """One queue, by its name. What it changes is in the file when its methods return."""

    __slots__ = ("name", "port")

    def __init__(self, name: str, port: QueuePort) -> None:
        self.name = name
        self.port = port

    async def pause(self) -> None:
        """Let nothing more start; what runs goes on."""
        await self.port.change_queue(self.name, paused(self.name, paused=True))

    async def resume(self) -> None:
        """Let a paused queue go on."""
        await self.port.change_queue(self.name, paused(self.name, paused=False))

    async def limit(self, **limits: Unpack[LimitChanges]) -> QueueInfo:
        """Change the limits that are given (None: no such limit); return how it is then.

        They stay, also over restarts, until the declaration in the code changes.
        """
        await self.port.change_queue(self.name, limited(self.name, {**limits}))
        return await self.port.describe_queue(self.name)

    async def describe(self) -> QueueInfo:
        """Return what is known of the queue now."""
        return await self.port.describe_queue(self.name)

    async def drain(self) -> None:
        """Pause the queue, and return once nothing of it runs. `resume` lets it go on."""
        await self.pause()
        await self.port.await_idle(self.name)

    async def dead(self, *, limit: int = DEAD_MAX) -> list[Info]:
        """Return the runs of the queue that failed and were not spawned again, oldest first."""
        return await self.port.dead(self.name, limit)

    async def retry_dead(self, *, limit: int = DEAD_MAX) -> list[str]:
        """Queue failed runs again, each as the next generation of its id; return their ids."""
        return await self.port.retry_dead(self.name, limit)

    def __repr__(self) -> str:
        return f"<handle of queue {self.name}>"


def paused(name: str, *, paused: bool) -> Change:
    """Return the change that pauses or resumes a queue."""

    def change(row: QueueRow | None, names: list[str]) -> QueueRow:
        return msgspec.structs.replace(_must(row, name, names), paused=paused)

    return change


def limited(name: str, limits: dict[str, Any]) -> Change:
    """Return the change that sets some limits of a queue that there is."""
    changed(Limits(), limits)  # before anybody is asked

    def change(row: QueueRow | None, names: list[str]) -> QueueRow:
        found = _must(row, name, names)
        new = changed(Limits.decoded(found.limits), limits)
        return msgspec.structs.replace(found, limits=new.encoded())

    return change


def declared(name: str, limits: dict[str, Any]) -> Change:
    """Return the change that makes a queue, or sets some of its limits; without any, it must be."""
    fresh = changed(Limits(), limits)

    def change(row: QueueRow | None, names: list[str]) -> QueueRow:
        if row is None and limits:
            return QueueRow(name, None, fresh.encoded(), paused=False)
        return limited(name, limits)(row, names)

    return change


def info_of(row: QueueRow, *, waiting: int, running: int, dead: int, why: str | None) -> QueueInfo:
    """Return a queue's row and what was counted as QueueInfo."""
    limits = Limits.decoded(row.limits)
    return QueueInfo(
        name=row.name,
        concurrency=limits.concurrency,
        per_key=limits.per_key,
        rate=limits.as_rate(),
        breaker=limits.as_breaker(),
        workers=limits.workers,
        paused=row.paused,
        waiting=waiting,
        running=running,
        dead=dead,
        waiting_on=why,
    )


def _must(row: QueueRow | None, name: str, names: list[str]) -> QueueRow:
    if row is None:
        raise unknown_queue(name, names)
    return row
