"""The client: the same verbs from another process, by transactions of its own on the file."""

from __future__ import annotations

import builtins
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack, cast, overload

import anyio
import anyio.to_thread

from monolite.core import entry as e
from monolite.core.actor import ActorRef, type_of
from monolite.core.admission import check_conflict, check_id, receive
from monolite.core.call import Call, Options
from monolite.core.definition import Workflow
from monolite.core.duration import Duration, seconds
from monolite.core.entry import Accepted, Run, RunNo
from monolite.core.handle import Handle, HistoryEntry, Info, StreamPage
from monolite.core.handler import Address
from monolite.core.payload import encode
from monolite.core.place import Place
from monolite.core.schedule import Amendment, Declare, Spec, amend, check_name
from monolite.core.timetable import Schedule
from monolite.errors import FileForeign, Rejected
from monolite.host import report
from monolite.host.doorbell import Bell, client_bell, engine_bell, ring
from monolite.host.ending import answer_text, rejection, result_text, unknown
from monolite.host.queue_port import ClientQueues
from monolite.host.requests import Queueing, Sent, actor_call, prepare_place, prepare_spawn
from monolite.host.scheduler import Scheduler
from monolite.host.verbs import Verbs
from monolite.store.protocol import Message, Reader, RunFilter, State
from monolite.store.sqlite.connection import translated
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.reader import SqliteReader

A = TypeVar("A")
R = TypeVar("R")

LOOK_S = 0.5
"""How often a waiting client looks at the file when no engine rings."""


class Client(Scheduler, Verbs):
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
        self._queue_port = ClientQueues(self.path, self._commit, self._read, self._looks, _now_us)
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
        eta: datetime | None = None,
        attributes: dict[str, Any] | None = None,
        **queueing: Unpack[Queueing],
    ) -> Handle[R]:
        """Queue a run of a workflow; it is in the file when this returns. See Runtime.spawn."""
        named = secrets.token_hex(12) if id is None else id
        sent, place = prepare_spawn(
            call,
            named,
            id_conflict,
            delay=delay,
            eta=eta,
            attributes=attributes,
            queueing=queueing,
            now_us=_now_us(),
        )
        return Handle(await self._spawn(sent, place), self, call.definition.signature.result)

    async def spawn_by_name(
        self,
        name: str,
        args: str,
        *,
        id: str,
        id_conflict: str = "attach",
        delay: Duration | None = None,
        **queueing: Unpack[Queueing],
    ) -> Handle[Any]:
        """Queue a run of the workflow called `name`, without its code; `args` is a JSON array."""
        place = prepare_place(Options(), queueing)
        delay_us = round(seconds(delay or 0, name="delay") * 1_000_000)
        if place is not None and place.debounce_us:
            delay_us = place.debounce_us
        sent = (check_id(id), name, args, 0, check_conflict(id_conflict), delay_us, None)
        return Handle(await self._spawn(sent, place), self)

    async def _spawn(self, sent: Sent, place: Place | None = None) -> str:
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
            wake_at_us=None if place is not None and not delay_us else now_us + delay_us,
            attributes=attributes,
            updated_us=now_us,
        )
        if place is not None:
            run.queue, run.queue_key, run.priority = place.queue, place.key, place.priority
            run.queued_us, run.dedupe = now_us + delay_us, place.dedupe
        return (await self._commit(lambda door: door.spawn(run, id_conflict, place))).id

    async def send_signal(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> Accepted:
        check_id(name, "name of a signal")
        if message_id is not None:
            check_id(message_id, "message id")
        return await self._post(id, e.SIGNAL, name, text, message_id)

    async def send_update(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> str:
        if message_id is None:
            message_id = secrets.token_hex(12)
        accepted = await self._post(id, e.UPDATE, name, text, check_id(message_id, "message id"))
        if not accepted.accepted:
            return answer_text(accepted)

        return await self._await_answer(id, message_id)

    async def _await_answer(self, id: str, message_id: str) -> str:
        def read(reader: Reader) -> tuple[Run, tuple[str | None, str | None] | None]:
            run = _must(reader, id)
            return run, reader.answer(run, message_id)

        async for run, answer in self._looks(read):
            if answer is not None and answer != (None, None):
                return answer_text(answer)
            if run.ended:
                return answer_text(Accepted(accepted=False, reason=f"the run has {run.status}"))
        raise AssertionError

    async def schedule_by_name(self, name: str, workflow: str, args: str, spec: Spec) -> Schedule:
        """Declare a schedule of the workflow called `workflow`, without its code."""
        await self.amend_schedule(check_name(name), Declare(spec, workflow, 0, args))
        return self.scheduled(name)

    async def amend_schedule(self, name: str, request: Amendment) -> tuple[str, ...]:
        now_us = _now_us()
        amended = await self._commit(
            lambda door: door.amend_schedule(
                name, lambda row: amend(row, name, request, now_us), now_us
            )
        )
        return amended.answer

    def actor(self, cls: type[A], key: str) -> A:
        """Return a reference to one actor: its handlers make calls to it, through the file."""
        type_ = type_of(cls)
        address = Address(type_, check_id(key, "actor key"), self)
        return cast("A", ActorRef(type_, address))

    async def ask_actor(self, call: Call[Any]) -> Any:
        """Carry out a call of an actor's handler; a query reads what the file holds now."""
        handler, address, text = actor_call(call)
        if handler.kind != e.QUERY:
            return await self.send_actor(call, 0, None)

        def read(reader: Reader) -> State | None:
            run = reader.run_by_id(address.id)
            return None if run is None or run.ended else reader.state(run.no)

        stored = await self._read(read)
        state, version = (stored.state, stored.version) if stored else (None, address.type.version)
        found = address.type.read(address.key, handler.method, text, state, version)
        return handler.signature.result.decode(found, handler.result_name)

    def send_actor(self, call: Call[Any], delay_us: int, message_id: str | None) -> Any:
        """Send a message to an actor; awaiting what this returns sends it."""
        return self._send_actor(call, delay_us, message_id)

    async def _send_actor(self, call: Call[Any], delay_us: int, message_id: str | None) -> Any:
        handler, address, text = actor_call(call)
        if message_id is None:
            message_id = secrets.token_hex(12)
        kind = handler.kind
        now_us = _now_us()
        due_us = now_us + delay_us if delay_us else None
        message = Message(
            RunNo(0),
            kind,
            handler.method,
            text,
            now_us,
            check_id(message_id, "message id"),
            due_us=due_us,
        )
        actor = Run(
            no=RunNo(0),
            id=address.id,
            generation=1,
            name=address.actor,
            version=address.type.version,
            status=e.QUEUED,
            args="[]",
            created_us=now_us,
            wake_at_us=now_us,
            updated_us=now_us,
        )
        run, fresh = await self._commit(lambda door: door.post_to_actor(actor, message))
        if kind != e.UPDATE or delay_us:
            refused = None if fresh else await self._refused(run, message_id)
            if refused is not None:
                raise Rejected(refused.reason)
            return None
        answer = await self._await_answer(address.id, message_id)
        return handler.signature.result.decode(answer, handler.result_name)

    async def control(self, id: str, kind: str, reason: str = "") -> Accepted:
        return await self._post(id, kind, "", encode(reason, "reason"), None)

    async def unblock(
        self, id: str, kind: str, key: str, text: str, message_id: str | None
    ) -> Accepted:
        named = secrets.token_hex(12) if message_id is None else check_id(message_id, "message id")
        message = Message(RunNo(0), kind, key, text, _now_us(), named)
        return await self._commit(lambda door: door.unblock(id, message))

    async def _post(
        self, id: str, kind: str, channel: str, text: str, message_id: str | None
    ) -> Accepted:
        message = Message(RunNo(0), kind, channel, text, _now_us(), message_id)
        run, fresh = await self._commit(lambda door: door.post(id, message))
        refused = None if fresh else await self._refused(run, message_id)
        return receive(run, duplicate=not fresh) if refused is None else refused

    async def _refused(self, run: Run, message_id: str | None) -> Accepted | None:
        """Return how the engine has turned a message away that was sent before, if it has."""
        assert message_id is not None, "a message without an id is always new"
        return rejection(await self._read(lambda reader: reader.answer(run, message_id)))

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
                with translated(self.path):
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
        queue: str | None = None,
        limit: int = 100,
    ) -> builtins.list[Info]:
        """Return the runs that match everything given, newest first, at most `limit`."""
        where = RunFilter(
            status=status,
            name=name,
            id_prefix=id_prefix,
            parent=parent,
            attributes=attributes,
            queue=queue,
            limit=limit,
        )
        return [report.info(run) for run in await self._read(lambda reader: reader.runs(where))]

    async def describe(self, id: str) -> Info:
        """Return what the file says of a run; raise UnknownWorkflow if there is none."""
        return report.info(await self._read(lambda reader: _must(reader, id)))

    async def history(self, id: str) -> builtins.list[HistoryEntry]:
        return await self._read(lambda reader: report.history(_must(reader, id), reader))

    async def view_text(self, id: str, name: str) -> str | None:
        return await self._read(lambda reader: reader.view(_must(reader, id).no, name))

    async def stream_page(self, id: str, name: str, after: int, limit: int) -> StreamPage:
        def read(reader: Reader) -> StreamPage:
            run = _must(reader, id)
            return report.stream_page(run, reader.stream(run.no, name, after, limit), after)

        return await self._read(read)

    async def stream_changes(self, id: str, name: str) -> AsyncGenerator[str, None]:
        def length(reader: Reader) -> tuple[bool, int]:
            run = _must(reader, id)
            return run.ended, reader.stream_length(run.no, name)

        last: tuple[bool, int] | None = None
        async for now in self._looks(length):
            if now != last:
                last = now
                yield ""

    async def result_text(self, id: str) -> str:
        async with aclosing(self._looks(lambda reader: _must(reader, id))) as looks:
            async for run in looks:
                if run.ended:
                    return result_text(id, run.status, run.value, run.error)
        raise AssertionError

    async def view_texts(self, id: str, name: str) -> AsyncGenerator[str, None]:
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
