"""Queue ports: how a queue's handle reaches it, through a runtime's engine or through the file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from monolite.core import entry as e
from monolite.core.handle import Info
from monolite.core.queue import Queue, unknown_queue
from monolite.errors import Misused
from monolite.host import report
from monolite.host.events import Ask, AwaitIdle, ChangeQueue, RetryDead
from monolite.host.queue_handle import Change, QueueInfo, info_of
from monolite.host.queues import Seen, seen_of
from monolite.store.protocol import QueueCounts, QueueRow, Reader
from monolite.store.sqlite.owner import owner_of


def check_queues(queues: Iterable[Queue]) -> list[Queue]:
    """Return declared queues; raise Misused if one is none, or two have one name."""
    found: dict[str, Queue] = {}
    for queue in queues:
        given: Any = queue  # callers may be untyped
        if not isinstance(given, Queue):
            msg = f"queues takes Queue(...) declarations, not {given!r:.200}"
            raise Misused(msg)
        if found.setdefault(queue.name, queue) is not queue:
            msg = f"two queues are named {queue.name!r}; declare it once"
            raise Misused(msg)
    return list(found.values())


class RuntimeQueues:
    """Reaches the queues of an engine in this process."""

    def __init__(
        self,
        ask: Callable[[Callable[[Any], Any]], Awaitable[Any]],
        read: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
    ) -> None:
        self._ask = ask
        self._read = read

    async def change_queue(self, name: str, change: Change) -> QueueRow:
        row: QueueRow = await self._ask(lambda reply: ChangeQueue(name, change, reply))
        return row

    async def describe_queue(self, name: str) -> QueueInfo:
        found = await self._describe(name)
        return found[0]

    async def describe_queues(self) -> list[QueueInfo]:
        """Return what is known of every queue, by name."""
        return await self._describe(None)

    async def _describe(self, name: str | None) -> list[QueueInfo]:
        rows: list[tuple[QueueRow, int, int, str | None]] = await self._ask(
            lambda reply: Ask(lambda engine: engine.queues.rows(name), reply)
        )
        counts: dict[str, QueueCounts] = await self._read(lambda reader: reader.queue_counts())
        return [
            info_of(
                row,
                waiting=waiting,
                running=running,
                dead=counts.get(row.name, QueueCounts()).dead,
                why=why,
            )
            for row, waiting, running, why in rows
        ]

    async def await_idle(self, name: str) -> None:
        await self._ask(lambda reply: AwaitIdle(name, reply))

    async def dead(self, name: str, limit: int) -> list[Info]:
        await self.describe_queue(name)
        found: list[Info] = await self._read(lambda reader: _dead(reader, name, limit))
        return found

    async def retry_dead(self, name: str, limit: int) -> list[str]:
        ids: list[str] = await self._ask(lambda reply: RetryDead(name, limit, reply))
        return ids


class ClientQueues:
    """Reaches the queues of a file, engine or no engine."""

    def __init__(
        self,
        path: Path,
        commit: Callable[[Callable[[Any], Any]], Awaitable[Any]],
        read: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        looks: Callable[[Callable[[Reader], Any]], AsyncGenerator[Any, None]],
        now_us: Callable[[], int],
    ) -> None:
        self._path = path
        self._commit = commit
        self._read = read
        self._looks = looks
        self._now_us = now_us

    async def change_queue(self, name: str, change: Change) -> QueueRow:
        row: QueueRow = await self._commit(lambda door: door.change_queue(name, change))
        return row

    async def describe_queue(self, name: str) -> QueueInfo:
        infos = await self.describe_queues()
        found = [info for info in infos if info.name == name]
        if not found:
            raise unknown_queue(name, [info.name for info in infos])
        return found[0]

    async def describe_queues(self) -> list[QueueInfo]:
        """Return what the file says of every queue, by name."""
        owned = owner_of(self._path) is not None
        infos: list[QueueInfo] = await self._read(lambda reader: queue_infos(reader, owned=owned))
        return infos

    async def await_idle(self, name: str) -> None:
        async for infos in self._looks(lambda reader: queue_infos(reader, owned=True)):
            running = [info.running for info in infos if info.name == name]
            if not any(running) or owner_of(self._path) is None:
                return

    async def dead(self, name: str, limit: int) -> list[Info]:
        await self.describe_queue(name)
        found: list[Info] = await self._read(lambda reader: _dead(reader, name, limit))
        return found

    async def retry_dead(self, name: str, limit: int) -> list[str]:
        now_us = self._now_us()
        ids: list[str] = await self._commit(lambda door: door.retry_dead(name, limit, now_us))
        return ids


def queue_infos(reader: Reader, *, owned: bool) -> list[QueueInfo]:
    """Return what a file says of its queues; attempts run only if an engine owns it."""
    counts = reader.queue_counts()
    infos: list[QueueInfo] = []
    for row in reader.queues():
        found, seen = counts.get(row.name, QueueCounts()), seen_of(row) if owned else Seen()
        infos.append(
            info_of(
                row,
                waiting=found.waiting + seen.waiting,
                running=found.running + seen.running,
                dead=found.dead,
                why="paused" if row.paused else None,
            )
        )
    return infos


def _dead(reader: Reader, name: str, limit: int) -> list[Info]:
    return [report.info(run) for run in reader.dead(name, limit) if run.status == e.FAILED]
