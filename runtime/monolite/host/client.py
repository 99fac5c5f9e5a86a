"""The client: the same verbs from another process, by transactions of its own on the file."""

from __future__ import annotations

import builtins
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import anyio
import anyio.to_thread

from monolite.core import entry as e
from monolite.core.admission import check_conflict, check_id, receive
from monolite.core.call import Call
from monolite.core.definition import Workflow
from monolite.core.duration import Duration
from monolite.core.entry import Accepted, Run, RunNo
from monolite.core.handle import Handle, HistoryEntry, Info
from monolite.core.payload import encode
from monolite.errors import FileForeign
from monolite.host import report
from monolite.host.doorbell import Bell, client_bell, engine_bell, ring
from monolite.host.ending import result_text, unknown
from monolite.host.runtime import Sent, prepare_spawn
from monolite.store.protocol import Message, Reader, RunFilter
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.reader import SqliteReader

R = TypeVar("R")

LOOK_S = 0.5
"""How often a waiting client looks at the file when no engine rings."""


class Client:
    """Talks to the runs of a file from any process on the machine, engine or no engine.

    What it sends is committed to the file when the call returns; a running engine is woken, one
    that is not will find it when it starts. The file must exist, unless `create=True`.
    `async with` closes it; without, its connections close when it is dropped.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(os.path.realpath(path))
        self._create = create
        self._door: SqliteDoor | None = None
        self._lock = anyio.Lock()
        if not create and not self.path.exists():
            msg = f"{self.path} does not exist; start a Runtime on it first, or pass create=True"
            raise FileForeign(msg)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. The client opens it again if it is used again."""
        if self._door is not None:
            self._door.close()
            self._door = None

    # Sending.

    async def spawn(
        self,
        call: Call[R],
        *,
        id: str | None = None,
        id_conflict: str = "attach",
        delay: Duration | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Handle[R]:
        """Queue a run of a workflow; it is in the file when this returns. See Runtime.spawn."""
        named = secrets.token_hex(12) if id is None else id
        spawn = prepare_spawn(call, named, id_conflict, delay, attributes)
        await self._spawn(spawn)
        return Handle(spawn[0], self, call.definition.signature.result)

    async def spawn_by_name(
        self, name: str, args: str, *, id: str, id_conflict: str = "attach"
    ) -> Handle[Any]:
        """Queue a run of the workflow called `name`, without its code; `args` is a JSON array."""
        sent = (check_id(id), name, args, 0, check_conflict(id_conflict), 0, None)
        await self._spawn(sent)
        return Handle(id, self)

    async def _spawn(self, sent: Sent) -> None:
        id, name, args, version, id_conflict, delay_us, attributes = sent
        now_us = _now_us()
        run = Run(
            no=RunNo(0),
            id=id,
            generation=1,
            name=name,
            version=version,
            status=e.QUEUED,
            args=args,
            created_us=now_us,
            wake_at_us=now_us + delay_us,
            attributes=attributes,
            updated_us=now_us,
        )
        await self._commit(lambda door: door.spawn(run, id_conflict))

    async def signal(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> Accepted:
        check_id(name, "name of a signal")
        if message_id is not None:
            check_id(message_id, "message id")
        return await self._post(id, e.SIGNAL, name, text, message_id)

    async def control(self, id: str, kind: str, reason: str = "") -> Accepted:
        return await self._post(id, kind, "", encode(reason, "reason"), None)

    async def _post(
        self, id: str, kind: str, channel: str, text: str, message_id: str | None
    ) -> Accepted:
        message = Message(RunNo(0), kind, channel, text, _now_us(), message_id)
        run, fresh = await self._commit(lambda door: door.post(id, message))
        return receive(run, duplicate=not fresh)

    async def _commit(self, act: Callable[[SqliteDoor], R]) -> R:
        def commit() -> R:
            if self._door is None:
                self._door = SqliteDoor.open_door(self.path, create=self._create, now_us=_now_us())
            return act(self._door)

        async with self._lock:
            found = await anyio.to_thread.run_sync(commit)
        ring_engine(self.path)
        return found

    # Reading.

    async def _read(self, read: Callable[[Reader], R]) -> R:
        def with_reader() -> R:
            reader = SqliteReader.open(self.path)
            try:
                return read(reader)
            finally:
                reader.close()

        return await anyio.to_thread.run_sync(with_reader)

    @overload
    def handle(self, id: str, workflow: Workflow[..., R]) -> Handle[R]: ...
    @overload
    def handle(self, id: str, workflow: None = None) -> Handle[Any]: ...
    def handle(self, id: str, workflow: Workflow[..., Any] | None = None) -> Handle[Any]:
        """Return a handle of the run with this id; whether it exists shows when it is used.

        Give the `workflow` definition to have its result typed; without, it is plain JSON.
        """
        codec = None if workflow is None else workflow.signature.result
        return Handle(check_id(id), self, codec)

    async def list(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        id_prefix: str | None = None,
        parent: str | None = None,
        attributes: dict[str, Any] | None = None,
        limit: int = 100,
    ) -> builtins.list[Info]:
        """Return the runs that match everything given, newest first, at most `limit`."""
        where = RunFilter(
            status=status,
            name=name,
            id_prefix=id_prefix,
            parent=parent,
            attributes=attributes,
            limit=limit,
        )
        return [report.info(run) for run in await self._read(lambda reader: reader.runs(where))]

    async def describe(self, id: str) -> Info:
        """Return what the file says of a run; raise UnknownWorkflow if there is none."""
        return report.info(await self._read(lambda reader: _must(reader, id)))

    async def history(self, id: str) -> builtins.list[HistoryEntry]:
        return await self._read(lambda reader: report.history(_must(reader, id), reader))

    async def view(self, id: str, name: str) -> str | None:
        return await self._read(lambda reader: reader.view(_must(reader, id).no, name))

    async def result(self, id: str, type_: Any = None) -> str:
        del type_
        async with aclosing(self._looks(lambda reader: _must(reader, id))) as looks:
            async for run in looks:
                if run.ended:
                    return result_text(id, run.status, run.value, run.error)
        raise AssertionError

    async def watch(self, id: str, name: str) -> AsyncGenerator[str, None]:
        def read(reader: Reader) -> tuple[Run, str | None]:
            run = _must(reader, id)
            return run, reader.view(run.no, name)

        last: str | None = None
        async with aclosing(self._looks(read)) as looks:
            async for run, text in looks:
                if text is not None and text != last:
                    last = text
                    yield text
                if run.ended:
                    return

    async def _looks(self, read: Callable[[Reader], R]) -> AsyncGenerator[R, None]:
        """Read now, and again whenever the engine has committed something."""
        bell = Bell.hang(client_bell(self.path))
        try:
            while True:
                # Ask to be rung before looking, so that no commit falls between the two.
                if bell is not None:
                    bell.ring(engine_bell(self.path), b"w" + os.fsencode(bell.path))
                yield await self._read(read)
                with anyio.move_on_after(LOOK_S):
                    await (anyio.wait_readable(bell.socket) if bell else anyio.sleep(LOOK_S))
                if bell is not None:
                    bell.listen()
        finally:
            if bell is not None:
                bell.close()


def ring_engine(path: Path) -> None:
    """Wake the engine of a file, if one is running."""
    ring(engine_bell(path))


def _must(reader: Reader, id: str) -> Run:
    run = reader.run_by_id(id)
    if run is None:
        raise unknown(id)
    return run


def _now_us() -> int:
    return time.time_ns() // 1_000
