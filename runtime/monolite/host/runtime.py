"""The runtime: what a program holds of one file while its engine runs in this process."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import anyio
import anyio.to_thread
import msgspec

from monolite.core import guard
from monolite.core.admission import check_conflict, check_id
from monolite.core.call import Call
from monolite.core.definition import Workflow
from monolite.core.duration import Duration, seconds
from monolite.core.entry import ENDED, Accepted, Run
from monolite.core.handle import Handle, HistoryEntry, Info
from monolite.core.payload import Codec, encode
from monolite.core.payload import codec as codec_of
from monolite.core.spawn import workflow_of
from monolite.errors import CommitUnknown, Misused
from monolite.host import audit, order, report
from monolite.host.batch import Released
from monolite.host.bridge import Bridge, PendingReply, bridge_here
from monolite.host.clock import Clock, SystemClock
from monolite.host.doorbell import Bell, engine_bell
from monolite.host.ending import result_text, unknown
from monolite.host.engine import Engine
from monolite.host.events import Ask, AwaitEnd, Event, Post, Spawn, Unwatch, Watch
from monolite.host.registry import Registry
from monolite.host.resident import Words
from monolite.host.supervisor import Supervisor
from monolite.host.tether import Tether
from monolite.host.thread import EngineThread
from monolite.store.memory import MemoryStore
from monolite.store.protocol import End, Reader, RunFilter, Store
from monolite.store.sqlite.store import SYNCHRONOUS, SqliteStore

log = logging.getLogger("monolite.runtime")

R = TypeVar("R")

Sent = tuple[str, str, str, int, str, int, str | None]
"""What is sent of a spawn: id, name, args, version, id_conflict, delay_us, attributes."""

SHUTDOWN_GRACE_S = 5.0
"""How long running activities may go on when the runtime is left; then they run again later."""

OPEN_LISTED_MAX = 100_000
"""Open runs looked at to list those of one status."""

WATCH_BUFFER_MAX = 1_024
"""Values a slow watcher may fall behind; then it misses the oldest, never the newest."""


class Runtime:
    """One file, its engine, and the activities it runs. Use it as `async with Runtime(...)`.

    `path` is a file (created if missing) or ":memory:". `actors` are the workflows, or modules
    that hold them, whose code this process has. `durability` is "full" (a commit survives a
    power cut) or "normal" (only a crash of the process). `max_live` bounds the runs in memory;
    others wait in the file. `takeover=True` takes the file from an owner that is stuck.

    Entering recovers what the file holds and resumes it; raises FileOwned, FileForeign,
    FileTooNew or FileDamaged, and then has changed nothing. Leaving lets running activities
    finish for `shutdown_grace`, then closes; what was cut off runs again next time.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        actors: Iterable[Any] = (),
        durability: str = "full",
        max_live: int = 10_000,
        shutdown_grace: Duration = SHUTDOWN_GRACE_S,
        takeover: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if durability not in SYNCHRONOUS:
            msg = f"durability={durability!r} is neither 'full' nor 'normal'"
            raise Misused(msg)
        if max_live < 1:
            msg = f"max_live must be at least 1, not {max_live!r}"
            raise Misused(msg)
        # By its one true name: beside that are the lock, the log and the bell.
        self.path = path if str(path) == ":memory:" else Path(os.path.realpath(path))
        self._registry = Registry(actors)
        self._durability = durability
        self._max_live = max_live
        self._grace_s = seconds(shutdown_grace, name="shutdown_grace")
        self._takeover = takeover
        self._clock = clock or SystemClock()
        self._bridge: Bridge | None = None
        self._thread: EngineThread | None = None
        self._supervisor: Supervisor | None = None
        self._pending: set[PendingReply | Feed] = set()
        self._error: BaseException | None = None
        self._closing = False
        self._id_prefix = secrets.token_hex(8)
        self._made_ids = 0
        self._tether = Tether()

    # Life.

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            msg = "this Runtime was already entered; make a new one"
            raise Misused(msg)
        audit.complete()
        guard.install()
        order.pin()
        await self._tether.enter()
        try:
            await self._open()
        except BaseException as error:
            # Also when it was cancelled meanwhile: else the thread would go on owning the file.
            await self._tether.absorb()
            with anyio.CancelScope(shield=True):
                await self._stop_thread()
            await self._tether.leave(type(error), error, error.__traceback__)
            if self._error is not None:
                raise self._error from None
            raise
        return self

    async def _open(self) -> None:
        self._bridge = bridge_here(self._tether.nursery)
        self._supervisor = Supervisor(self._bridge, self._post, self)
        path = self.path if isinstance(self.path, Path) else None

        def open_engine() -> Engine:
            store = self._open_store()
            try:
                return Engine(store, self._registry, max_live=self._max_live)
            except BaseException:
                store.close()
                raise

        thread = EngineThread(
            open_engine,
            self._clock,
            lambda released: self._must_bridge().soon(self._carry_out, released),
            lambda error: self._must_bridge().soon(self._on_ended, error),
            None if path is None else lambda: Bell.hang(engine_bell(path)),
        )
        self._thread = thread
        thread.start()
        await anyio.to_thread.run_sync(thread.opened.wait)
        if thread.open_error is not None:
            raise thread.open_error

    def _open_store(self) -> Store:
        if not isinstance(self.path, Path):
            return MemoryStore()
        return SqliteStore.own(
            self.path,
            durability=self._durability,
            now_us=self._clock.now_us(),
            takeover=self._takeover,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._supervisor is not None
        assert self._thread is not None
        await self._tether.absorb()
        with anyio.CancelScope(shield=True):
            await self._leave()
            # An engine that failed hears of no outcome any more: then there is nothing to wait for.
            await self._supervisor.drain(self._grace_s if self._error is None else 0)
            await self._stop_thread()
            self._refuse_pending()
        await self._tether.leave(kind, error, tb)
        if self._error is not None and not _contains(error, self._error):
            raise self._error from None

    async def _leave(self) -> None:
        """Let the engine begin nothing more; every attempt that it launched is here after that."""
        with contextlib.suppress(Exception):
            await self._ask(lambda reply: Ask(Engine.leave, reply))
        self._closing = True

    async def _stop_thread(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            await anyio.to_thread.run_sync(self._thread.join)

    def _on_ended(self, error: BaseException | None) -> None:
        self._error = error
        self._refuse_pending()
        if error is not None and not self._closing:
            self._tether.cut()

    def _refuse_pending(self) -> None:
        reason = self._error or CommitUnknown(
            "the runtime was closed before the answer came; open it again and ask again, "
            "with the same id"
        )
        for reply in list(self._pending):
            reply.refuse(reason)

    # The way in and out.

    def _must_bridge(self) -> Bridge:
        assert self._bridge is not None
        return self._bridge

    def _post(self, event: Event) -> None:
        assert self._thread is not None
        self._thread.post(event)

    def _carry_out(self, released: Released) -> None:
        """Do what a committed turn lets out."""
        assert self._supervisor is not None
        for flight in released.stopped:
            self._supervisor.stop(flight)
        if released.launches:
            self._supervisor.launch(released.launches)
        for reply, value in released.answers:
            reply.answer(value)
        for reply, error in released.refusals:
            reply.refuse(error)
        for sink, text in released.pushes:
            sink.push(text)

    async def _ask(self, make_event: Callable[[PendingReply], Event]) -> Any:
        """Post an event and wait for its answer."""
        if self._bridge is None or self._closing or self._error is not None:
            msg = "this Runtime is not running; use it inside `async with Runtime(...)`"
            raise self._error or Misused(msg)
        reply = self._bridge.reply()
        self._pending.add(reply)
        try:
            self._post(make_event(reply))
            return await reply.wait()
        finally:
            self._pending.discard(reply)

    async def _read(self, read: Callable[[Reader], R]) -> R:
        """Read on a connection of its own, off the event loop and the engine."""
        store = self._must_engine().store

        def with_reader() -> R:
            reader = store.reader()
            try:
                return read(reader)
            finally:
                reader.close()

        return await anyio.to_thread.run_sync(with_reader)

    def _must_engine(self) -> Engine:
        if self._thread is None or self._thread.engine is None:
            msg = "this Runtime is not running; use it inside `async with Runtime(...)`"
            raise Misused(msg)
        return self._thread.engine

    # What a program does with it.

    async def spawn(
        self,
        call: Call[R],
        *,
        id: str | None = None,
        id_conflict: str = "attach",
        delay: Duration | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Handle[R]:
        """Start a run of a workflow; it is durable when this returns.

        With an `id`, spawning again joins the run that exists (`id_conflict="attach"`), raises
        AlreadyExists ("reject"), or terminates it and starts anew ("restart"). `delay` starts it
        later. `attributes` are plain JSON to find it by. Raises UnknownWorkflow if the
        workflow's code is not in `actors`, PayloadInvalid or TypeError for its arguments.
        """
        fresh = id is None
        named = self._new_id() if id is None else id
        spawn = prepare_spawn(call, named, id_conflict, delay, attributes)
        await self._ask(lambda reply: Spawn(*spawn, reply, fresh))
        return Handle(spawn[0], self, call.definition.signature.result)

    def _new_id(self) -> str:
        """Return an id that no other run has: this runtime's random name and a number."""
        self._made_ids += 1
        return f"{self._id_prefix}-{self._made_ids}"

    @overload
    def handle(self, id: str, workflow: Workflow[..., R]) -> Handle[R]: ...
    @overload
    def handle(self, id: str, workflow: None = None) -> Handle[Any]: ...
    def handle(self, id: str, workflow: Workflow[..., Any] | None = None) -> Handle[Any]:
        """Return a handle of the run with this id; whether it exists shows when it is used.

        Its result has the type that the run's workflow declares, if its code is in `actors`;
        give the `workflow` too, and type checkers know it.
        """
        if workflow is None:
            return _NamedHandle(check_id(id), self, self._registry)
        return Handle(check_id(id), self, workflow.signature.result)

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
        # What an open run's row says may be a second old, so their status is compared here.
        compare_here = status is not None and status not in ENDED
        where = RunFilter(
            status=None if compare_here else status,
            name=name,
            id_prefix=id_prefix,
            parent=parent,
            attributes=attributes,
            open=compare_here,
            limit=OPEN_LISTED_MAX if compare_here else limit,
        )
        runs = await self._read(lambda reader: reader.runs(where))
        words = await self._words([run.no for run in runs if not run.ended])
        found = [report.info(run, words.get(run.no)) for run in runs]
        return [i for i in found if status is None or i.status == status][:limit]

    # What a handle asks (see `core.handle.Port`).

    async def result(self, id: str, type_: Any = None) -> str:
        del type_
        end: End = await self._ask(lambda reply: AwaitEnd(id, reply))
        return result_text(id, end.status, end.value, end.error)

    async def signal(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> Accepted:
        check_id(name, "name of a signal")
        if message_id is not None:
            check_id(message_id, "message id")
        answer: Accepted = await self._ask(
            lambda reply: Post(id, "signal", name, text, message_id, reply)
        )
        return answer

    async def control(self, id: str, kind: str, reason: str = "") -> Accepted:
        text = encode(reason, "reason")
        answer: Accepted = await self._ask(lambda reply: Post(id, kind, "", text, None, reply))
        return answer

    async def view(self, id: str, name: str) -> str | None:
        def question(engine: Engine) -> str | None:
            run = engine.store.run_by_id(id)
            if run is None:
                raise unknown(id)
            return engine.store.view(run.no, name)

        value: str | None = await self._ask(lambda reply: Ask(question, reply))
        return value

    async def watch(self, id: str, name: str) -> AsyncGenerator[str, None]:
        feed = Feed()
        await self._ask(lambda reply: Watch(id, name, feed, reply))
        self._pending.add(feed)
        try:
            async with contextlib.aclosing(feed.values()) as values:
                async for text in values:
                    yield text
        finally:
            self._pending.discard(feed)
            if not self._closing:
                self._post(Unwatch(feed))

    async def describe(self, id: str) -> Info:
        """Return what is known of the run with this id; raise UnknownWorkflow if there is none."""

        def question(engine: Engine) -> tuple[Run, Words | None]:
            run = engine.store.run_by_id(id)
            if run is None:
                raise unknown(id)
            return run, engine.words(run.no)

        run, words = await self._ask(lambda reply: Ask(question, reply))
        return report.info(run, words)

    async def history(self, id: str) -> builtins.list[HistoryEntry]:
        def read(reader: Reader) -> builtins.list[HistoryEntry]:
            run = reader.run_by_id(id)
            if run is None:
                raise unknown(id)
            return report.history(run, reader)

        return await self._read(read)

    async def _words(self, nos: builtins.list[Any]) -> dict[Any, Words]:
        def question(engine: Engine) -> dict[Any, Words]:
            found = {no: engine.words(no) for no in nos}
            return {no: words for no, words in found.items() if words is not None}

        words: dict[Any, Words] = await self._ask(lambda reply: Ask(question, reply))
        return words


class Feed:
    """The values of a view on their way to one watcher."""

    def __init__(self) -> None:
        self._values: deque[str] = deque(maxlen=WATCH_BUFFER_MAX)
        self._changed = anyio.Event()
        self._over = False
        self._error: BaseException | None = None

    def refuse(self, error: BaseException) -> None:
        """End the watch with an error: no more values can come."""
        self._error = error
        self._changed.set()

    def push(self, text: str | None) -> None:
        if text is None:
            self._over = True
        else:
            self._values.append(text)
        self._changed.set()

    async def values(self) -> AsyncGenerator[str, None]:
        while True:
            while self._values:
                yield self._values.popleft()
            if self._over:
                return
            if self._error is not None:
                raise self._error
            self._changed = anyio.Event()
            await self._changed.wait()


class _NamedHandle(Handle[Any]):
    """A handle made of an id alone: the run's own name says what type its result has."""

    __slots__ = ("_registry",)

    def __init__(self, id: str, runtime: Runtime, registry: Registry) -> None:
        super().__init__(id, runtime)
        self._registry = registry

    async def result(self) -> Any:
        text = await self._port.result(self.id, None)
        definition = self._registry.get((await self._port.describe(self.id)).name)
        codec: Codec[Any] = codec_of(Any) if definition is None else definition.signature.result
        return codec.decode(text, f"result of {self.id}")


def prepare_spawn(
    call: Call[Any],
    id: str,
    id_conflict: str,
    delay: Duration | None,
    attributes: dict[str, Any] | None,
) -> Sent:
    """Check a spawn and return what is sent of it (the fields of `events.Spawn`).

    Nothing has happened if this raises.
    """
    given: Any = call  # callers may be untyped
    if not isinstance(given, Call):
        msg = f"spawn takes a call of a @workflow, such as order(o), not {given!r:.200}"
        raise Misused(msg)
    call.claim("spawn it again")
    definition = workflow_of(call)
    check_conflict(id_conflict)
    definition.signature.check(call.args, call.kwargs)
    args = definition.signature.encode(call.args, call.kwargs)
    return (
        check_id(id),
        definition.name,
        args,
        definition.version,
        id_conflict,
        0 if delay is None else round(seconds(delay, name="delay") * 1_000_000),
        _attributes_text(attributes) if attributes else None,
    )


def _attributes_text(attributes: dict[str, Any]) -> str:
    """Return attributes as JSON whose keys are sorted, so that equal ones are found as text."""
    plain = msgspec.json.decode(encode(attributes, "attributes"))
    return msgspec.json.encode(plain, order="sorted").decode()


def _contains(raised: BaseException | None, error: BaseException) -> bool:
    """Return whether the engine's error is what already ends the program's block."""
    members: tuple[BaseException, ...] = getattr(raised, "exceptions", ())
    return raised is error or any(_contains(member, error) for member in members)
