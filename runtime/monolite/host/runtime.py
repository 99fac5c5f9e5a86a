"""The runtime: what a program holds of one file while its engine runs in this process."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast, overload

import anyio
import anyio.to_thread

from monolite.core import entry as e
from monolite.core import guard
from monolite.core.actor import ActorRef, type_of
from monolite.core.admission import check_id
from monolite.core.attempt import current_attempt
from monolite.core.call import Call
from monolite.core.definition import Workflow
from monolite.core.duration import Duration, seconds
from monolite.core.entry import ENDED, Accepted, Run
from monolite.core.handle import Handle, HistoryEntry, Info, StreamPage
from monolite.core.handler import Address, Handler
from monolite.core.payload import encode
from monolite.core.queue import Queue
from monolite.core.schedule import Amendment
from monolite.errors import CommitUnknown, Misused
from monolite.host import audit, order, report
from monolite.host.audience import STREAM_PREFIX
from monolite.host.batch import Released
from monolite.host.bridge import Bridge, PendingReply, bridge_here
from monolite.host.clock import Clock, SystemClock
from monolite.host.doorbell import Bell, engine_bell
from monolite.host.ending import answer_text, contains, result_text, unknown
from monolite.host.engine import Engine
from monolite.host.events import (
    Amend,
    Appended,
    Ask,
    AwaitEnd,
    Event,
    Post,
    Spawn,
    Unawait,
    Unwatch,
    Watch,
)
from monolite.host.named import NamedHandle
from monolite.host.outlet import Outlet
from monolite.host.processes.executor import Executor
from monolite.host.queue_port import RuntimeQueues, check_queues
from monolite.host.registry import Registry
from monolite.host.requests import Feed, Posted, Queueing, actor_call, prepare_spawn, refuse_inside
from monolite.host.resident import Words
from monolite.host.scheduler import Scheduler
from monolite.host.supervisor import Supervisor
from monolite.host.tether import Tether
from monolite.host.thread import EngineThread
from monolite.host.verbs import Verbs
from monolite.store.memory import MemoryStore
from monolite.store.protocol import End, Reader, RunFilter, Store
from monolite.store.sqlite.store import SYNCHRONOUS, SqliteStore

log = logging.getLogger("monolite.runtime")

A = TypeVar("A")
R = TypeVar("R")

SHUTDOWN_GRACE_S = 5.0
"""How long running activities may go on when the runtime is left; then they run again later."""

OPEN_LISTED_MAX = 100_000
"""Open runs looked at to list those of one status."""


class Runtime(Scheduler, Verbs):
    """One file, its engine, and the activities it runs. Use it as `async with Runtime(...)`.

    `path` is a file (created if missing) or ":memory:". `actors` are the workflows, or modules
    that hold them, whose code this process has. `durability` is "full" (a commit survives a
    power cut) or "normal" (only a crash of the process). `max_live` bounds the runs in memory;
    others wait in the file, and so does whatever has waited for a minute. `queues` declares
    queues by name, with their limits. A journal that reaches `history_warning` entries is named
    in the log. `processes` is how many activities may run in child processes at once (default:
    the number of CPUs). `takeover=True` takes the file from an owner that is stuck.

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
        history_warning: int = 10_000,
        processes: int | None = None,
        clock: Clock | None = None,
        queues: Iterable[Queue] = (),
    ) -> None:
        if durability not in SYNCHRONOUS:
            msg = f"durability={durability!r} is neither 'full' nor 'normal'"
            raise Misused(msg)
        for name, number in (("max_live", max_live), ("processes", processes)):
            if number is not None and number < 1:
                msg = f"{name} must be at least 1, not {number!r}"
                raise Misused(msg)
        # By its one true name: beside that are the lock, the log and the bell.
        self.path = path if str(path) == ":memory:" else Path(os.path.realpath(path))
        self._registry = Registry(actors)
        self._durability = durability
        self._max_live = max_live
        self._grace_s = seconds(shutdown_grace, name="shutdown_grace")
        self._takeover = takeover
        self._history_warning = history_warning
        self._processes = processes
        self._queues = check_queues(queues)
        self._queue_port = RuntimeQueues(self._ask, self._read)
        self._clock = clock or SystemClock()
        self._bridge: Bridge | None = None
        self._thread: EngineThread | None = None
        self._supervisor: Supervisor | None = None
        self._executor: Executor | None = None
        self._outlet: Outlet | None = None
        self._pending: set[Any] = set()
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
        self._executor = Executor(self._bridge, self._post, self._processes)
        self._supervisor = Supervisor(self._bridge, self._post, self, self._executor)
        self._outlet = Outlet(self._supervisor, self._publish)
        path = self.path if isinstance(self.path, Path) else None
        thread = EngineThread(
            self._open_engine,
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

    def _open_engine(self) -> Engine:
        store = self._open_store()
        try:
            return Engine(
                store,
                self._registry,
                max_live=self._max_live,
                history_warning=self._history_warning,
                queues=self._queues,
            )
        except BaseException:
            store.close()
            raise

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
            if self._executor is not None:
                await self._executor.close()
            await self._stop_thread()
            self._refuse_pending()
        await self._tether.leave(kind, error, tb)
        if self._error is not None and not contains(error, self._error):
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
        assert self._outlet is not None
        self._outlet.take(released)

    def _publish(self, released: Released) -> None:
        assert self._supervisor is not None
        if released.launches:
            self._supervisor.launch(released.launches)
        for reply, value in released.answers:
            self._pending.discard(reply)
            reply.answer(value)
        for reply, error in released.refusals:
            self._pending.discard(reply)
            reply.refuse(error)
        for sink, text in released.pushes:
            sink.push(text)

    async def _ask(self, make_event: Callable[[PendingReply], Event]) -> Any:
        """Post an event and wait for its answer."""
        reply = self._awaited_reply()
        self._post(make_event(reply))
        try:
            return await reply.wait()
        except anyio.get_cancelled_exc_class():
            self._post(Unawait(reply))
            raise
        finally:
            self._pending.discard(reply)

    def _awaited_reply(self) -> PendingReply:
        """Return an answer to wait for, refused should this runtime end before it comes."""
        refuse_inside()
        if self._bridge is None or self._closing or self._error is not None:
            msg = "this Runtime is not running; use it inside `async with Runtime(...)`"
            raise self._error or Misused(msg)
        reply = self._bridge.reply()
        self._pending.add(reply)
        return reply

    async def _read(self, read: Callable[[Reader], R]) -> R:
        """Read on a connection of its own, off the event loop and the engine."""
        refuse_inside()
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
        eta: datetime | None = None,
        attributes: dict[str, Any] | None = None,
        **queueing: Unpack[Queueing],
    ) -> Handle[R]:
        """Start a run of a workflow; it is durable when this returns.

        With an `id`, spawning again joins the run that exists (`id_conflict="attach"`), raises
        AlreadyExists ("reject"), or terminates it and starts anew ("restart"). `delay` or `eta` (an
        aware datetime) starts it later. `attributes` are plain JSON to find it by. Raises
        UnknownWorkflow if the workflow's code is not in `actors`, PayloadInvalid or TypeError
        for its arguments, Misused for a queue that there is not.

        In a `queue` it waits for its turn: higher `priority` first, fair between keys. If
        another waits there with the same `dedupe` key, `on_duplicate` joins it ("attach"),
        raises AlreadyExists ("reject") or takes its place ("replace"); with `debounce`, that
        one takes these arguments and waits so long anew.
        """
        fresh = id is None
        named = self._new_id() if id is None else id
        sent, place = prepare_spawn(
            call,
            named,
            id_conflict,
            delay=delay,
            eta=eta,
            attributes=attributes,
            queueing=queueing,
            now_us=self._clock.now_us(),
        )
        found = await self._ask(lambda reply: Spawn(*sent, reply, fresh, place))
        return Handle(found, self, call.definition.signature.result)

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
            return NamedHandle(check_id(id), self, self._registry)
        return Handle(check_id(id), self, workflow.signature.result)

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
        # What an open run's row says may be a second old, so their status is compared here.
        compare_here = status is not None and status not in ENDED
        where = RunFilter(
            status=None if compare_here else status,
            name=name,
            id_prefix=id_prefix,
            parent=parent,
            attributes=attributes,
            queue=queue,
            open=compare_here,
            limit=OPEN_LISTED_MAX if compare_here else limit,
        )
        runs = await self._read(lambda reader: reader.runs(where))
        words = await self._words([run.no for run in runs if not run.ended])
        found = [report.info(run, words.get(run.no)) for run in runs]
        return [i for i in found if status is None or i.status == status][:limit]

    async def amend_schedule(self, name: str, request: Amendment) -> tuple[str, ...]:
        ids: tuple[str, ...] = await self._ask(lambda reply: Amend(name, request, reply))
        return ids

    def actor(self, cls: type[A], key: str) -> A:
        """Return a reference to one actor: its handlers make calls to it.

        `await rt.actor(Account, "alice").deposit(5)`. The actor need not exist: it comes into
        being with its first message.
        """
        type_ = type_of(cls)
        address = Address(type_, check_id(key, "actor key"), self)
        return cast("A", ActorRef(type_, address))

    async def ask_actor(self, call: Call[Any]) -> Any:
        """Carry out a call of an actor's handler."""
        handler, address, text = actor_call(call)
        if handler.kind == e.QUERY:
            value = await self._ask(
                lambda reply: Ask(
                    lambda engine: engine.query(address.actor, address.key, handler.method, text),
                    reply,
                )
            )
            return handler.signature.result.decode(value, handler.result_name)
        flight = current_attempt.get()
        caller = None if flight is None or flight.runtime is not self else flight.workflow_id
        return await self._post_to_actor(handler, address, text, 0, None, caller=caller)

    def send_actor(self, call: Call[Any], delay_us: int, message_id: str | None) -> Any:
        """Post a message to an actor; awaiting what this returns waits for its answer."""
        handler, address, text = actor_call(call)
        if message_id is not None:
            check_id(message_id, "message id")
        return self._post_to_actor(handler, address, text, delay_us, message_id)

    def _post_to_actor(
        self,
        handler: Handler[..., Any],
        address: Address,
        text: str,
        delay_us: int,
        message_id: str | None,
        *,
        caller: str | None = None,
    ) -> Posted:
        kind = handler.kind
        reply = self._awaited_reply()
        # Not made by a closure, as others are: its cells cost more than the event.
        actor, id = address.actor, address.id
        post = Post(id, kind, handler.method, text, message_id, reply, actor, delay_us, caller)
        self._post(post)
        return Posted(reply, handler, e.SIGNAL if delay_us else kind)

    @contextlib.contextmanager
    def read(self) -> Generator[Any, None, None]:
        """Open a read-only apsw connection to the file, for the application's own queries.

        `with rt.read() as db: db.execute(...)`. It never holds the writer; close it soon, so
        that the log can start over.
        """
        refuse_inside()
        db = self._must_engine().store.application()
        try:
            yield db
        finally:
            db.close()

    # What a handle asks (see `core.handle.Port`).

    async def result_text(self, id: str) -> str:
        end: End = await self._ask(lambda reply: AwaitEnd(id, reply))
        return result_text(id, end.status, end.value, end.error)

    async def send_signal(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> Accepted:
        check_id(name, "name of a signal")
        if message_id is not None:
            check_id(message_id, "message id")
        answer: Accepted = await self._ask(
            lambda reply: Post(id, "signal", name, text, message_id, reply)
        )
        return answer

    async def send_update(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> str:
        message_id = self._new_id() if message_id is None else check_id(message_id, "message id")
        answer = await self._ask(lambda reply: Post(id, "update", name, text, message_id, reply))
        return answer_text(answer)

    async def control(self, id: str, kind: str, reason: str = "") -> Accepted:
        text = encode(reason, "reason")
        answer: Accepted = await self._ask(lambda reply: Post(id, kind, "", text, None, reply))
        return answer

    async def unblock(
        self, id: str, kind: str, key: str, text: str, message_id: str | None
    ) -> Accepted:
        if message_id is not None:
            check_id(message_id, "message id")
        answer: Accepted = await self._ask(
            lambda reply: Post(id, kind, key, text, message_id, reply)
        )
        return answer

    async def view_text(self, id: str, name: str) -> str | None:
        def question(engine: Engine) -> str | None:
            run = engine.store.run_by_id(id)
            if run is None:
                raise unknown(id)
            return engine.store.view(run.no, name)

        value: str | None = await self._ask(lambda reply: Ask(question, reply))
        return value

    async def view_texts(
        self, id: str, name: str, *, at_once: bool = False
    ) -> AsyncGenerator[str, None]:
        feed = Feed()
        await self._ask(lambda reply: Watch(id, name, feed, reply))
        self._pending.add(feed)
        if at_once:  # something may have come before the watch began
            feed.push("")
        try:
            async with contextlib.aclosing(feed.values()) as values:
                async for text in values:
                    yield text
        finally:
            self._pending.discard(feed)
            if not self._closing:
                self._post(Unwatch(feed))

    def append(self, flight: Any, name: str, text: str) -> None:
        """Take an item that an activity appends, from its thread or the event loop."""
        self._post(Appended(flight.token, name, [text]))

    async def stream_page(self, id: str, name: str, after: int, limit: int) -> StreamPage:
        def question(engine: Engine) -> StreamPage:
            run = engine.store.run_by_id(id)
            if run is None:
                raise unknown(id)
            rows = engine.store.stream(run.no, name, after, limit)
            return report.stream_page(run, rows, after)

        page: StreamPage = await self._ask(lambda reply: Ask(question, reply))
        return page

    async def stream_changes(self, id: str, name: str) -> AsyncGenerator[str, None]:
        async with contextlib.aclosing(
            self.view_texts(id, STREAM_PREFIX + name, at_once=True)
        ) as rings:
            async for ring in rings:
                yield ring

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
