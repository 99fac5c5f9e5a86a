"""The engine: a turn takes what happened, runs the code concerned, and commits.

Nothing leaves before its commit; anything may arrive twice.

`Engine.turn` is a plain function of events, time and the file: no thread, no clock, no waiting.
The thread around it (`host.thread`) is thin, and a simulator can call it directly. Memory is a
cache of the file: when a commit fails, what the turn changed in memory is dropped and read again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.admission import Admission, admit
from monolite.core.definition import Workflow
from monolite.core.entry import Attempt, Entry, Outcome, Run, RunNo
from monolite.core.machine import Abandon, Machine, Operation, Publish
from monolite.errors import ActivityFailed, ActivityTimedOut, UnknownWorkflow
from monolite.host.batch import Batch, Released
from monolite.host.ending import ended_by, to_waiter, unknown
from monolite.host.events import (
    Ask,
    AwaitEnd,
    Done,
    Event,
    Failed,
    Post,
    Reply,
    Returned,
    Sink,
    Spawn,
    Unwatch,
    Watch,
)
from monolite.host.flights import Flight, Flights
from monolite.host.inbox import Inbox
from monolite.host.operations import Operations
from monolite.host.registry import Registry
from monolite.host.residency import Residency
from monolite.host.resident import HOT, Resident, Retrying, Words
from monolite.store.protocol import Conflict, End, Link, Note, Store

log = logging.getLogger("monolite.engine")

CONFLICTS_MAX = 8
"""How often a turn is repeated because another process took the same id at the same moment."""

CASCADE_MAX = 10_000
"""Consequences between runs of one file in one turn; more wait for the next, so that two runs
that answer each other for ever still let the file be committed."""


class Engine:
    """Owns a store, the live runs and the attempts in flight."""

    def __init__(self, store: Store, registry: Registry, *, max_live: int = 10_000) -> None:
        self.store = store
        self.registry = registry
        self.flights = Flights()
        self.running: str | None = None
        """The run whose code is being executed now, for the watchdog."""
        self.deliveries = 0
        """How often code was given something to do: shows the watchdog whether it moves."""
        self.residency = Residency(self, max_live)
        self.operations = Operations(self)
        self.inbox = Inbox(self)
        self.batch = Batch()
        self.now_us = 0
        self.work: deque[partial[None]] = deque()
        self._worked = 0
        self._waiters: dict[RunNo, list[Reply]] = {}
        self._watchers: dict[tuple[RunNo, str], list[Sink]] = {}
        self.links: dict[RunNo, list[Link]] = {}
        self._next_no = (store.max_run_no() // 2 + 1) * 2
        self.last_seq = 0
        self.must_look_outside = True
        self.leaving = False
        """Whether the host takes no more attempts: then those that are due are left unbegun."""
        for link in store.links():
            self.links.setdefault(link.target_no, []).append(link)
        self._on: dict[type, Callable[[Any], None]] = {
            Spawn: self._on_spawn,
            Post: self._on_post,
            Done: self._on_done,
            Failed: self._on_failed,
            Returned: self._on_returned,
            AwaitEnd: self._on_await_end,
            Watch: self._on_watch,
            Unwatch: self._on_unwatch,
            Ask: self._on_ask,
        }

    # A turn.

    def turn(self, events: list[Event], now_us: int) -> Released:
        """Take the events, run what they concern until it is quiet, commit; return what may leave.

        Raises what `Store.commit` raises; then nothing was released, and the caller still has
        the events.
        """
        left = tuple(self.work)
        for tries_left in reversed(range(CONFLICTS_MAX)):
            self.batch = Batch()
            self.batch.careful = tries_left < CONFLICTS_MAX - 1
            self.now_us = now_us
            try:
                self._process(events)
                if self.batch.writes:
                    self.store.commit(self.batch.writes)
            except Conflict:
                self._forget(left)
                if tries_left == 0:
                    raise
            except BaseException:
                self._forget(left)
                raise
            else:
                return self._release()
        raise AssertionError

    def _forget(self, left: tuple[partial[None], ...]) -> None:
        """Bring memory back to what is committed."""
        self.residency.forget(self.batch)
        self.work = deque(left)
        self.must_look_outside = True

    def look(self, events: list[Event], now_us: int) -> Released:
        """Answer events that only read, from what is committed; for when nothing can be."""
        self.batch = Batch()
        self.now_us = now_us
        for event in events:
            self._on[type(event)](event)
        assert not self.batch.writes, "what only reads writes nothing"
        return self._release()

    def close(self) -> None:
        """Let go of the runs and of the file.

        A run must be unloaded, not left to the garbage collector: that would run its clean-up
        code outside of any runtime, where an activity is a plain call and takes effect.
        """
        self.residency.unload()
        self.store.close()

    def leave(self) -> None:
        """Begin no more attempts, from the next turn on."""
        self.leaving = True

    def rest(self, now_us: int) -> None:
        """Write down what every run waits for, before the engine stops."""
        if self.work:
            return  # what is left over wants a look at start-up, as the rows still say
        self.batch = Batch()
        self.now_us = now_us
        self.residency.settle_all(now_us)
        if self.batch.writes:
            self.store.commit(self.batch.writes)

    @property
    def next_wake_us(self) -> int | None:
        """When the next turn is needed if no event comes before."""
        if self.must_look_outside or self.work:
            return 0
        return self.residency.next_wake_us()

    def look_outside(self) -> None:
        """Say that another process may have written to the file."""
        self.must_look_outside = True

    def _process(self, events: list[Event]) -> None:
        self._worked = 0
        self.residency.revive()
        if self.store.changed() or self.must_look_outside:
            self.inbox.take_outside()
        for event in events:
            self._on[type(event)](event)
            if self.work:
                self.run_work()
        self.residency.wake(self.now_us)
        self.run_work()
        self.residency.settle(self.now_us)
        self._leave_work()

    def run_work(self) -> None:
        """Carry out what runs asked of each other, up to the bound of one turn."""
        work = self.work
        while work and self._worked < CASCADE_MAX:
            self._worked += 1
            work.popleft()()

    def _leave_work(self) -> None:
        """Leave what is over the bound for the next turn.

        Whatever is left here is found again after a crash, too: a message waits in its inbox,
        and a replayed run takes up the operations that have no answer. So a run that is owed an
        answer has to be replayed, and a child has to have the message that cancels it.
        """
        left: deque[partial[None]] = deque()
        while self.work:
            work = self.work.popleft()
            if work.func == self.inbox.deliver_posted:
                self.must_look_outside = True
            elif work.func == self.operations.cancel_child:
                work()
            else:
                left.append(work)
                if work.func == self.answer_run:
                    self.residency.keep_hot(work.args[0])
        self.work = left

    def _release(self) -> Released:
        batch = self.batch
        in_flight = self.flights.by_token
        for token in batch.landed:
            in_flight.pop(token, None)
        for flight in batch.launches:
            in_flight[flight.token] = flight
        for target_no, links in batch.links.items():
            self.links.setdefault(target_no, []).extend(links)
        for no in batch.writes.unlinked:
            self.links.pop(no, None)
        self.last_seq = max(self.last_seq, batch.last_seq)
        self.residency.committed(batch, self.now_us)
        for no, reply in batch.waiters:
            self._waiters.setdefault(no, []).append(reply)
        for no, name, text in batch.writes.views:
            batch.pushes += [(sink, text) for sink in self._watchers.get((no, name), ())]
        for run, name, sink in batch.watchers:
            self._begin_watch(run, name, sink)
        for end in batch.writes.ends:
            self._tell_ended(end)
        for ask in batch.asks:
            try:
                batch.answers.append((ask.reply, ask.question(self)))
            except Exception as error:  # noqa: BLE001 - the asker's to handle
                batch.refusals.append((ask.reply, error))
        return Released(
            batch.launches,
            batch.stopped,
            batch.answers,
            batch.refusals,
            batch.pushes,
            changed=bool(batch.writes),
        )

    def _begin_watch(self, run: Run, name: str, sink: Sink) -> None:
        """Push what is committed, this turn's value included; then each later one, or the end."""
        current = self.store.view(run.no, name)
        if current is not None:
            self.batch.pushes.append((sink, current))
        if run.ended:
            self.batch.pushes.append((sink, None))
        else:
            self._watchers.setdefault((run.no, name), []).append(sink)

    def _tell_ended(self, end: End) -> None:
        self.batch.answers += [(reply, end) for reply in self._waiters.pop(end.no, ())]
        watched = [key for key in self._watchers if key[0] == end.no] if self._watchers else []
        for key in watched:
            self.batch.pushes += [(sink, None) for sink in self._watchers.pop(key)]

    # Events.

    def _on_spawn(self, event: Spawn) -> None:
        try:
            definition = self.registry.find(event.name)
            existing = None if event.fresh else self.newest(event.id)
            verdict = admit(existing, event.id, event.name, event.id_conflict)
        except Exception as error:  # noqa: BLE001 - the spawner's to handle
            self.batch.refusals.append((event.reply, error))
            return
        if verdict is not Admission.ATTACH:
            self.replace(existing)
            run = self.new_run(
                event.id,
                event.name,
                event.version or definition.version,
                event.args,
                generation=existing.generation + 1 if existing else 1,
                delay_us=event.delay_us,
                attributes=event.attributes,
            )
            if not event.delay_us:
                self.begin(run, definition)
        self.batch.answers.append((event.reply, event.id))

    def replace(self, existing: Run | None) -> None:
        """Terminate the run that a restart replaces."""
        if existing is not None and not existing.ended:
            self.inbox.post(existing, e.TERMINATE, "", '"restarted"', None)

    def _on_post(self, event: Post) -> None:
        try:
            answer = self.inbox.accept(
                event.id, event.kind, event.channel, event.value, event.message_id
            )
        except UnknownWorkflow as error:
            self.batch.refusals.append((event.reply, error))
        else:
            self.batch.answers.append((event.reply, answer))

    def _on_done(self, event: Done) -> None:
        flight = self.flights.by_token.get(event.token)
        if flight is not None:
            self._land(flight, event.value, None)

    def _on_failed(self, event: Failed) -> None:
        flight = self.flights.by_token.get(event.token)
        if flight is None:
            return
        retry = attempts.retry_of(flight.call.opts)
        failures = flight.failures + 1
        delay_us = retry.delay_us(failures, flight.idempotency_key) if event.retryable else None
        if delay_us is None:
            error = _activity_failed(flight, event.failure)
            self._land(flight, None, failure.encode(error))
            return
        resident = self._landing(flight)
        if resident is None:
            return
        due_us = self.now_us + delay_us
        self.batch.writes.attempts.append(
            Attempt(
                flight.run_no,
                flight.key,
                flight.number,
                e.ATTEMPT_FAILED,
                self.now_us,
                due_us,
                failure.encode(event.failure),
            )
        )
        resident.machine.operations[flight.key].flight = None
        resident.retrying[flight.key] = Retrying(flight.number + 1, due_us, failures)
        self.residency.touch(resident)

    def _on_returned(self, event: Returned) -> None:
        flight = self.flights.by_token.get(event.token)
        resident = None if flight is None else self._landing(flight)
        if flight is None or resident is None:
            return
        resident.machine.operations[flight.key].flight = None
        self.batch.writes.attempts.append(
            Attempt(flight.run_no, flight.key, flight.number, e.RETURNED, self.now_us)
        )
        self.residency.touch(resident)

    def _landing(self, flight: Flight) -> Resident | None:
        """Take an attempt out of the air; return its run if that still waits for it."""
        self.batch.landed.append(flight.token)
        resident = self.residency.live.get(flight.run_no) or self.resident(flight.run_no)
        if resident is None or flight.key not in resident.machine.operations:
            return None
        return resident

    def _land(self, flight: Flight, value: str | None, error: str | None) -> None:
        resident = self._landing(flight)
        if resident is not None:
            self.answer(resident, resident.machine.operations[flight.key], value, error)

    def _on_await_end(self, event: AwaitEnd) -> None:
        run = self.newest(event.id)
        if run is None:
            self.batch.refusals.append((event.reply, unknown(event.id)))
        elif run.ended and run.ended_us is not None:
            end = End(run.no, run.status, run.value, run.error, run.ended_us)
            self.batch.answers.append((event.reply, end))
        else:
            self.batch.waiters.append((run.no, event.reply))

    def _on_watch(self, event: Watch) -> None:
        run = self.newest(event.id)
        if run is None:
            self.batch.refusals.append((event.reply, unknown(event.id)))
            return
        self.batch.answers.append((event.reply, None))
        self.batch.watchers.append((run, event.name, event.sink))

    def _on_unwatch(self, event: Unwatch) -> None:
        for key, sinks in list(self._watchers.items()):
            if event.sink in sinks:
                sinks.remove(event.sink)
                if not sinks:
                    del self._watchers[key]

    def _on_ask(self, event: Ask) -> None:
        self.batch.asks.append(event)

    # Runs.

    def words(self, no: RunNo) -> Words | None:
        """Return what a run in memory waits for now, or None if its row is all there is."""
        live = self.residency.live.get(no)
        return None if live is None else live.words()

    def resident(self, no: RunNo) -> Resident | None:
        """Return a run in memory, bringing it back from its journal if need be."""
        return self.residency.get(no, self.now_us)

    def newest(self, id: str) -> Run | None:
        """Return the newest run of an id: of this turn, in memory, or in the file."""
        known = self.batch.created.get(id) or self.residency.by_id(id)
        run = known or self.store.run_by_id(id)
        return None if run is None else self.batch.ended_unstarted.get(run.no, run)

    def new_run(
        self,
        id: str,
        name: str,
        version: int,
        args: str,
        *,
        generation: int = 1,
        delay_us: int = 0,
        attributes: str | None = None,
        parent: Run | None = None,
        parent_key: str | None = None,
    ) -> Run:
        now_us = self.now_us
        run = Run(
            no=RunNo(self._next_no),
            id=id,
            generation=generation,
            name=name,
            version=version,
            status=e.QUEUED if delay_us else e.RUNNING,
            args=args,
            created_us=now_us,
            started_us=None if delay_us else now_us,
            wake_at_us=now_us + delay_us if delay_us else 0,
            parent_no=parent.no if parent else None,
            parent_id=parent.id if parent else None,
            parent_key=parent_key,
            attributes=attributes,
            updated_us=now_us,
        )
        self._next_no += 2
        self.batch.writes.runs.append(run)
        self.batch.created[id] = run
        if delay_us:
            self.residency.expect(now_us + delay_us)
        return run

    def begin(self, run: Run, definition: Workflow[Any, Any]) -> Resident:
        """Start a run's code for the first time."""
        resident = Resident(run, Machine(run, definition), HOT)
        self.residency.add(resident)
        self.entering(run.id)
        resident.machine.start(self.now_us)
        self.absorb(resident)
        return resident

    def entering(self, id: str) -> None:
        """Note that a run's code is about to be executed."""
        self.running = id
        self.deliveries += 1

    def feed(self, resident: Resident, entry: Entry) -> None:
        self.entering(resident.run.id)
        resident.machine.deliver(entry)
        self.absorb(resident)

    def journal(
        self,
        resident: Resident,
        kind: str,
        key: str,
        args: str | None,
        *,
        value: str | None = None,
        error: str | None = None,
    ) -> None:
        """Write an entry and deliver it."""
        n, at_us = resident.machine.next_n, self.now_us
        self.batch.writes.journal.append((resident.run.no, n, at_us, kind, key, args, value, error))
        self.feed(resident, Entry(n, at_us, kind, key, args, value, error))

    def answer(
        self, resident: Resident, operation: Operation, value: str | None, error: str | None
    ) -> None:
        self.journal(
            resident, operation.kind, operation.key, operation.args, value=value, error=error
        )

    def absorb(self, resident: Resident) -> None:
        """Carry out what a run asked for, and its end."""
        self.running = None
        self.residency.touch(resident)
        machine = resident.machine
        for command in machine.take_commands():
            if isinstance(command, Operation):
                if machine.operations.get(command.key) is command:
                    self.operations.carry_out(resident, command)
            elif isinstance(command, Publish):
                self.batch.writes.views.append((resident.run.no, command.name, command.value))
            elif isinstance(command, Abandon):
                self.operations.abandon(resident, command.operation)
            else:
                self.operations.detach(resident, command)
        outcome = machine.outcome
        if outcome is not None and not resident.run.ended:
            self._end(resident, outcome)

    def _end(self, resident: Resident, outcome: Outcome) -> None:
        run, batch = resident.run, self.batch
        run.status, run.value, run.error = outcome.status, outcome.value, outcome.error
        run.ended_us = self.now_us
        batch.writes.ends.append(
            End(run.no, outcome.status, outcome.value, outcome.error, self.now_us)
        )
        batch.ended.append(resident)
        for operation in list(resident.machine.operations.values()):
            self.operations.abandon(resident, operation)
        resident.machine.operations.clear()
        self.tell_waiting(run, *to_waiter(run))

    def tell_waiting(self, run: Run, value: str | None, error: str | None) -> None:
        """Answer the runs that wait for the end of this one: its parent, and who asked."""
        links = [*self.links.get(run.no, ()), *self.batch.links.get(run.no, ())]
        waiting = [(link.waiter_no, link.key) for link in links]
        if waiting:
            self.batch.writes.unlinked.append(run.no)
        if run.parent_no is not None and run.parent_key is not None:
            waiting.insert(0, (run.parent_no, run.parent_key))
        for no, key in waiting:
            self.work.append(partial(self.answer_run, no, key, value, error))

    def answer_run(self, no: RunNo, key: str, value: str | None, error: str | None) -> None:
        parent = self.resident(no)
        operation = parent.machine.operations.get(key) if parent else None
        if parent is not None and operation is not None:
            self.answer(parent, operation, value, error)

    def terminate(self, resident: Resident, reason: str) -> None:
        error = ended_by("Terminated", resident.run.id, reason)
        resident.machine.outcome = Outcome(e.TERMINATED, error=failure.encode(error))
        self.residency.touch(resident)
        self._end(resident, resident.machine.outcome)

    def park(self, run: Run, status: str, waiting_on: str, error: str | None = None) -> None:
        """Write down why a run cannot go on, once."""
        self.batch.parked.append(run.no)
        if (run.status, run.waiting_on) != (status, waiting_on):
            self.note(run, Words(status, None, waiting_on), error=error)

    def note(
        self,
        run: Run,
        words: Words,
        *,
        error: str | None = None,
        started_us: int | None = None,
        version: int | None = None,
    ) -> None:
        """Write what the row of an open run should say."""
        self.batch.writes.notes.append(
            Note(
                run.no,
                words.status,
                words.wake_at_us,
                words.waiting_on,
                self.now_us,
                started_us,
                error,
                version,
            )
        )


def _activity_failed(flight: Flight, cause: failure.Failure) -> failure.Failure:
    """Return what the workflow gets when an activity's last attempt failed with `cause`."""
    name, number = flight.call.name, flight.number
    timed_out = cause.type == ActivityTimedOut.__name__ and cause.fields is not None
    type_ = ActivityTimedOut if timed_out else ActivityFailed
    fields: dict[str, Any] = {"name": name, "attempts": number}
    if timed_out and cause.fields is not None:
        fields = {**cause.fields, **fields}
    return failure.Failure(
        type=type_.__name__,
        module=type_.__module__,
        message=f"activity {name!r} failed: {cause.summary()}",
        fields=fields,
        cause=cause,
    )
