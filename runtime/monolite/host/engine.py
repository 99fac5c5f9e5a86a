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

import msgspec

from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.admission import Admission, admit, receive
from monolite.core.definition import Workflow
from monolite.core.entry import Accepted, Attempt, Entry, Outcome, Run, RunNo
from monolite.core.machine import Abandon, Detach, Machine, Operation, Publish
from monolite.core.spawn import child_id, workflow_of
from monolite.errors import ActivityFailed, ActivityTimedOut, Interrupted, UnknownWorkflow
from monolite.host.batch import Batch, Released
from monolite.host.events import (
    Ask,
    AwaitEnd,
    Done,
    Event,
    Failed,
    Post,
    Reply,
    Sink,
    Spawn,
    Unwatch,
    Watch,
)
from monolite.host.flights import Flight, Flights
from monolite.host.registry import Registry
from monolite.host.resident import HOT, Resident, Retrying, Words
from monolite.host.residency import Residency
from monolite.store.protocol import Conflict, End, Link, Message, Note, Store

log = logging.getLogger("monolite.engine")

CONFLICTS_MAX = 8
"""How often a turn is repeated because another process took the same id at the same moment."""

CASCADE_MAX = 10_000
"""Deliveries between runs of one file in one turn; more wait for the next, so that two runs
that answer each other for ever still let the file be committed."""

MESSAGES_MAX = 1_000
"""Messages from other processes taken in one turn."""

STARTS_MAX = 200
"""Runs loaded from the file in one turn: bounds how long others wait for its commit."""


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
        self._residency = Residency(self, max_live)
        self._batch = Batch()
        self._now_us = 0
        self._work: deque[Callable[[], None]] = deque()
        self._waiters: dict[RunNo, list[Reply]] = {}
        self._watchers: dict[tuple[RunNo, str], list[Sink]] = {}
        self._links: dict[RunNo, list[Link]] = {}
        self._next_no = (store.max_run_no() // 2 + 1) * 2
        self._last_seq = 0
        self._look_outside = True
        for link in store.links():
            self._links.setdefault(link.target_no, []).append(link)
        self._on: dict[type, Callable[[Any], None]] = {
            Spawn: self._on_spawn,
            Post: self._on_post,
            Done: self._on_done,
            Failed: self._on_failed,
            AwaitEnd: self._on_await_end,
            Watch: self._on_watch,
            Unwatch: self._on_unwatch,
            Ask: lambda ask: self._batch.asks.append(ask),
        }

    # A turn.

    def turn(self, events: list[Event], now_us: int) -> Released:
        """Take the events, run what they concern until it is quiet, commit; return what may leave.

        Raises what `Store.commit` raises; then nothing was released, and the caller still has
        the events.
        """
        for tries_left in reversed(range(CONFLICTS_MAX)):
            self._batch = Batch()
            self._now_us = now_us
            try:
                self._process(events)
                if self._batch.writes:
                    self.store.commit(self._batch.writes)
            except Conflict:
                self._residency.forget(self._batch)
                if tries_left == 0:
                    raise
            except BaseException:
                self._residency.forget(self._batch)
                raise
            else:
                return self._release()
        raise AssertionError

    @property
    def next_wake_us(self) -> int | None:
        """When the next turn is needed if no event comes before."""
        if self._look_outside:
            return 0
        return self._residency.next_wake_us()

    def look_outside(self) -> None:
        """Say that another process may have written to the file."""
        self._look_outside = True

    def _process(self, events: list[Event]) -> None:
        self._work.clear()
        self._residency.revive()
        if self.store.changed() or self._look_outside:
            self._take_outside()
        for event in events:
            self._on[type(event)](event)
            if self._work:
                self._run_work()
        self._residency.wake(self._now_us)
        self._run_work()
        self._residency.settle(self._now_us)

    def _run_work(self) -> None:
        work = self._work
        done = 0
        while work and done < CASCADE_MAX:
            work.popleft()()
            done += 1
        while work:
            # Too long a chain for one commit: whatever is addressed to a run waits in its inbox.
            work.popleft()()

    def _release(self) -> Released:
        batch = self._batch
        in_flight = self.flights.by_token
        for token in batch.landed:
            in_flight.pop(token, None)
        for flight in batch.launches:
            in_flight[flight.token] = flight
        for link in batch.links:
            self._links.setdefault(link.target_no, []).append(link)
        for resident in batch.ended:
            self._links.pop(resident.run.no, None)
        self._residency.committed(batch, self._now_us)
        for no, reply in batch.waiters:
            self._waiters.setdefault(no, []).append(reply)
        for no, name, sink in batch.watchers:
            self._watchers.setdefault((no, name), []).append(sink)
        for no, name, text in batch.writes.views:
            batch.pushes += [(sink, text) for sink in self._watchers.get((no, name), ())]
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

    def _tell_ended(self, end: End) -> None:
        self._batch.answers += [(reply, end) for reply in self._waiters.pop(end.no, ())]
        watched = [key for key in self._watchers if key[0] == end.no] if self._watchers else []
        for key in watched:
            self._batch.pushes += [(sink, None) for sink in self._watchers.pop(key)]

    # Work from other processes.

    def _take_outside(self) -> None:
        """Take the messages and runs that other processes put into the file."""
        messages = self.store.messages_after(self._last_seq, MESSAGES_MAX)
        for message in messages:
            assert message.seq is not None
            if message.seq not in self._batch.taken:
                self._take_message(message)
                self._run_work()
        if messages:
            last_seq = messages[-1].seq or 0
            self._work.append(partial(self._seen, last_seq))
        started = self._residency.start_queued(self._now_us)
        self._look_outside = len(messages) == MESSAGES_MAX or started == STARTS_MAX

    def _seen(self, seq: int) -> None:
        self._last_seq = max(self._last_seq, seq)

    def _take_message(self, message: Message) -> None:
        if message.run_no in self._residency:
            self.deliver_waiting(self._residency.live[message.run_no], message)
            return
        run = self.store.run(message.run_no)
        if run is None or run.ended:
            return
        if run.status == e.QUEUED:
            self._message_to_queued(run, message.kind, message.value)
            return
        self.resident(message.run_no)  # becoming resident delivers everything that waits

    def deliver_waiting(self, resident: Resident, message: Message) -> None:
        """Deliver an inbox row that waits, giving it its place in the journal."""
        assert message.seq is not None
        if message.seq in self._batch.taken or resident.run.ended:
            return
        self._batch.taken.add(message.seq)
        n, at_us = resident.machine.next_n, self._now_us
        self._batch.writes.taken.append((n, at_us, message.seq))
        self._deliver_message(resident, message)

    def _deliver_message(self, resident: Resident, message: Message) -> None:
        if message.kind == e.TERMINATE:
            self._terminate(resident, message.value)
            return
        machine = resident.machine
        entry = Entry(
            machine.next_n, self._now_us, message.kind, message.channel, None, message.value
        )
        self._feed(resident, entry)

    # Events.

    def _on_spawn(self, event: Spawn) -> None:
        try:
            definition = self.registry.find(event.name)
            existing = None if event.fresh else self._newest(event.id)
            verdict = admit(existing, event.id, event.name, event.id_conflict)
        except Exception as error:  # noqa: BLE001 - the spawner's to handle
            self._batch.refusals.append((event.reply, error))
            return
        if verdict is not Admission.ATTACH:
            self._replace(existing)
            run = self._new_run(
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
        self._batch.answers.append((event.reply, event.id))

    def _replace(self, existing: Run | None) -> None:
        """Terminate the run that a restart replaces."""
        if existing is not None and not existing.ended:
            self._post(existing, e.TERMINATE, "", '"restarted"', None)

    def _on_post(self, event: Post) -> None:
        try:
            answer = self._accept(
                event.id, event.kind, event.channel, event.value, event.message_id
            )
        except UnknownWorkflow as error:
            self._batch.refusals.append((event.reply, error))
        else:
            self._batch.answers.append((event.reply, answer))

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
        delay_us = (
            retry.delay_us(failures, flight.idempotency_key) if event.retryable else None
        )
        if delay_us is None:
            error = _activity_failed(flight, event.failure)
            self._land(flight, None, failure.encode(error))
            return
        resident = self._landing(flight)
        if resident is None:
            return
        due_us = self._now_us + delay_us
        self._batch.writes.attempts.append(
            Attempt(
                flight.run_no,
                flight.key,
                flight.number,
                e.ATTEMPT_FAILED,
                self._now_us,
                due_us,
                failure.encode(event.failure),
            )
        )
        resident.machine.operations[flight.key].flight = None
        resident.retrying[flight.key] = Retrying(flight.number + 1, due_us, failures)
        self._residency.touch(resident)

    def _landing(self, flight: Flight) -> Resident | None:
        """Take an attempt out of the air; return its run if that still waits for it."""
        self._batch.landed.append(flight.token)
        resident = self._residency.live.get(flight.run_no) or self.resident(flight.run_no)
        if resident is None or flight.key not in resident.machine.operations:
            return None
        return resident

    def _land(self, flight: Flight, value: str | None, error: str | None) -> None:
        resident = self._landing(flight)
        if resident is not None:
            self._answer(resident, resident.machine.operations[flight.key], value, error)

    def _on_await_end(self, event: AwaitEnd) -> None:
        run = self._newest(event.id)
        if run is None:
            self._batch.refusals.append((event.reply, unknown(event.id)))
        elif run.ended and run.ended_us is not None:
            end = End(run.no, run.status, run.value, run.error, run.ended_us)
            self._batch.answers.append((event.reply, end))
        else:
            self._batch.waiters.append((run.no, event.reply))

    def _on_watch(self, event: Watch) -> None:
        run = self._newest(event.id)
        if run is None:
            self._batch.refusals.append((event.reply, unknown(event.id)))
            return
        self._batch.answers.append((event.reply, None))
        current = self.store.view(run.no, event.name)
        fresh = any(no == run.no and n == event.name for no, n, _ in self._batch.writes.views)
        if current is not None and not fresh:
            self._batch.pushes.append((event.sink, current))
        if run.ended:
            self._batch.pushes.append((event.sink, None))
        else:
            self._batch.watchers.append((run.no, event.name, event.sink))

    def _on_unwatch(self, event: Unwatch) -> None:
        for sinks in self._watchers.values():
            if event.sink in sinks:
                sinks.remove(event.sink)

    # Runs.

    def words(self, no: RunNo) -> Words | None:
        """Return what a run in memory waits for now, or None if its row is all there is."""
        live = self._residency.live.get(no)
        return None if live is None else live.words()

    def resident(self, no: RunNo) -> Resident | None:
        """Return a run in memory, bringing it back from its journal if need be."""
        return self._residency.get(no, self._now_us)

    def _newest(self, id: str) -> Run | None:
        """Return the newest run of an id: of this turn, in memory, or in the file."""
        return (
            self._batch.created.get(id) or self._residency.by_id(id) or self.store.run_by_id(id)
        )

    def _new_run(
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
        now_us = self._now_us
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
        self._batch.writes.runs.append(run)
        self._batch.created[id] = run
        if delay_us:
            self._residency.expect(now_us + delay_us)
        return run

    def begin(self, run: Run, definition: Workflow[Any, Any]) -> Resident:
        """Start a run's code for the first time."""
        resident = Resident(run, Machine(run, definition), HOT)
        self._residency.add(resident)
        self.entering(run.id)
        resident.machine.start(self._now_us)
        self.absorb(resident)
        return resident

    def entering(self, id: str) -> None:
        """Note that a run's code is about to be executed."""
        self.running = id
        self.deliveries += 1

    def _feed(self, resident: Resident, entry: Entry) -> None:
        self.entering(resident.run.id)
        resident.machine.deliver(entry)
        self.absorb(resident)

    def journal(
        self,
        resident: Resident,
        kind: str,
        key: str,
        args: str | None,
        value: str | None = None,
        error: str | None = None,
    ) -> None:
        """Write an entry and deliver it."""
        n, at_us = resident.machine.next_n, self._now_us
        self._batch.writes.journal.append(
            (resident.run.no, n, at_us, kind, key, args, value, error)
        )
        self._feed(resident, Entry(n, at_us, kind, key, args, value, error))

    def _answer(
        self, resident: Resident, operation: Operation, value: str | None, error: str | None
    ) -> None:
        self.journal(resident, operation.kind, operation.key, operation.args, value, error)

    def absorb(self, resident: Resident) -> None:
        """Carry out what a run asked for, and its end."""
        self.running = None
        self._residency.touch(resident)
        machine = resident.machine
        for command in machine.take_commands():
            if isinstance(command, Operation):
                if machine.operations.get(command.key) is command:
                    self._carry_out(resident, command)
            elif isinstance(command, Publish):
                self._batch.writes.views.append((resident.run.no, command.name, command.value))
            elif isinstance(command, Abandon):
                self._abandon(resident, command.operation)
            else:
                self._detach(resident, command)
        outcome = machine.outcome
        if outcome is not None and not resident.run.ended:
            self._end(resident, outcome)

    def _end(self, resident: Resident, outcome: Outcome) -> None:
        run, batch = resident.run, self._batch
        run.status, run.value, run.error = outcome.status, outcome.value, outcome.error
        run.ended_us = self._now_us
        batch.writes.ends.append(
            End(run.no, outcome.status, outcome.value, outcome.error, self._now_us)
        )
        batch.ended.append(resident)
        for operation in list(resident.machine.operations.values()):
            self._abandon(resident, operation)
        resident.machine.operations.clear()
        value, error = _to_waiter(run)
        if run.parent_no is not None and run.parent_key is not None:
            self._work.append(
                partial(self._tell_parent, run.parent_no, run.parent_key, value, error)
            )
        if run.no in self._links:
            batch.writes.unlinked.append(run.no)
            for link in self._links[run.no]:
                self._work.append(
                    partial(self._tell_parent, link.waiter_no, link.key, value, error)
                )

    def _tell_parent(
        self, no: RunNo, key: str, value: str | None, error: str | None
    ) -> None:
        parent = self.resident(no)
        operation = parent.machine.operations.get(key) if parent else None
        if parent is not None and operation is not None:
            self._answer(parent, operation, value, error)

    def _terminate(self, resident: Resident, reason: str) -> None:
        error = _ended_by("Terminated", resident.run.id, reason)
        resident.machine.outcome = Outcome(e.TERMINATED, error=failure.encode(error))
        self._residency.touch(resident)
        self._end(resident, resident.machine.outcome)

    # Operations.

    def _carry_out(self, resident: Resident, operation: Operation) -> None:
        kind = operation.kind
        if kind == e.ACTIVITY:
            assert operation.call is not None
            self._fly(resident, operation, attempts.first(operation.call.opts), failures=0)
        elif kind == e.CHILD:
            self._work.append(partial(self._start_child, resident, operation))
        elif kind == e.SEND:
            self._work.append(partial(self._send, resident, operation))
        elif kind == e.SPAWN:
            self._work.append(partial(self._spawn, resident, operation))
        else:
            assert kind == e.RESULT, f"operation of unknown kind {kind!r}"
            self._work.append(partial(self._link, resident, operation))

    def resume(self, resident: Resident, operation: Operation) -> None:
        """Take up an operation that a replayed run still waits for."""
        no = resident.run.no
        if operation.kind == e.ACTIVITY:
            operation.flight = self.flights.claim(no, operation.key)
            if operation.flight is None:
                self._recover_activity(resident, operation)
        elif operation.kind == e.CHILD:
            id = operation.target or child_id(
                resident.run.id, resident.run.generation, operation.key
            )
            if self._newest(id) is None:
                self._carry_out(resident, operation)
        elif operation.kind == e.RESULT:
            links = self._links.values()
            if not any(x.waiter_no == no and x.key == operation.key for y in links for x in y):
                self._carry_out(resident, operation)
        else:
            self._carry_out(resident, operation)

    def _recover_activity(self, resident: Resident, operation: Operation) -> None:
        assert operation.call is not None
        rows = [a for a in self.store.attempts(resident.run.no) if a.key == operation.key]
        failures = sum(a.state == e.ATTEMPT_FAILED for a in rows)
        plan = attempts.recover(operation.call.opts, rows)
        if isinstance(plan, attempts.Wait):
            resident.retrying[operation.key] = Retrying(plan.number, plan.due_us, failures)
        elif isinstance(plan, attempts.GiveUp):
            error = failure.encode(failure.describe(Interrupted(operation.call.name)))
            self._work.append(partial(self._give_up, resident, operation, error))
        else:
            self._fly(resident, operation, plan, failures)

    def _give_up(self, resident: Resident, operation: Operation, error: str) -> None:
        if resident.machine.operations.get(operation.key) is operation:
            self._answer(resident, operation, None, error)

    def retry(self, resident: Resident, key: str, waiting: Retrying) -> None:
        """Start the attempt whose back-off is over."""
        del resident.retrying[key]
        operation = resident.machine.operations.get(key)
        if operation is not None:
            plan = attempts.after_wait(waiting.number)
            self._fly(resident, operation, plan, waiting.failures)
        self._residency.touch(resident)

    def _fly(
        self, resident: Resident, operation: Operation, plan: attempts.Start, failures: int
    ) -> None:
        run, call = resident.run, operation.call
        assert call is not None
        for number, state in plan.rows:
            self._batch.writes.attempts.append(
                Attempt(run.no, operation.key, number, state, self._now_us)
            )
        operation.flight = flight = Flight(
            self.flights.new_token(),
            run.no,
            run.id,
            operation.key,
            call,
            operation.payload,
            plan.number,
            failures,
            plan.interrupted,
            bool(plan.rows),
            self.store.file_id,
            self._now_us,
        )
        self._batch.launches.append(flight)

    def _start_child(self, parent: Resident, operation: Operation) -> None:
        if parent.machine.operations.get(operation.key) is not operation:
            return
        call = operation.call
        assert call is not None
        try:
            definition = self.registry.find(call.definition.name)
        except UnknownWorkflow as error:
            text = failure.encode(failure.describe(error))
            self._answer(parent, operation, None, text)
            return
        id = child_id(parent.run.id, parent.run.generation, operation.key)
        operation.target = id
        run = self._new_run(
            id,
            definition.name,
            definition.version,
            operation.payload,
            parent=parent.run,
            parent_key=operation.key,
        )
        self.begin(run, definition)

    def _detach(self, parent: Resident, command: Detach) -> None:
        version = workflow_of(command.call).version
        name = command.call.definition.name
        run = self._new_run(command.id, name, version, command.payload, parent=parent.run)
        self._work.append(partial(self._begin_detached, run))

    def _begin_detached(self, run: Run) -> None:
        self.begin(run, self.registry.find(run.name))

    def _spawn(self, parent: Resident, operation: Operation) -> None:
        """Carry out a spawn under an id that others may use too."""
        if parent.machine.operations.get(operation.key) is not operation:
            return
        call, id = operation.call, operation.target
        assert call is not None
        assert id is not None
        id_conflict = str(msgspec.json.decode(operation.payload)[1])
        existing = self._newest(id)
        try:
            definition = self.registry.find(call.definition.name)
            verdict = admit(existing, id, definition.name, id_conflict)
        except Exception as error:  # noqa: BLE001 - recorded as the spawn's failure
            text = failure.encode(failure.describe(error))
            self._answer(parent, operation, None, text)
            return
        if verdict is Admission.ATTACH:
            self._answer(parent, operation, e.JOINED, None)
            return
        self._replace(existing)
        run = self._new_run(
            id,
            definition.name,
            definition.version,
            operation.child_payload or "[]",
            generation=existing.generation + 1 if existing else 1,
            parent=parent.run,
            parent_key=None if operation.detached else operation.child_key,
        )
        self._answer(parent, operation, e.JOINED if operation.detached else e.LINKED, None)
        self._work.append(partial(self.begin, run, definition))

    def _send(self, sender: Resident, operation: Operation) -> None:
        if sender.machine.operations.get(operation.key) is not operation:
            return
        id, kind, channel, message_id, raw = msgspec.json.decode(
            operation.payload, type=tuple[str, str, str, str | None, msgspec.Raw]
        )
        try:
            accepted = self._accept(id, kind, channel, bytes(raw).decode(), message_id)
        except UnknownWorkflow as error:
            self._answer(sender, operation, None, failure.encode(failure.describe(error)))
        else:
            self._answer(sender, operation, msgspec.json.encode(accepted).decode(), None)

    def _link(self, waiter: Resident, operation: Operation) -> None:
        if waiter.machine.operations.get(operation.key) is not operation:
            return
        assert operation.target is not None
        run = self._newest(operation.target)
        if run is None:
            text = failure.encode(failure.describe(unknown(operation.target)))
            self._answer(waiter, operation, None, text)
        elif run.ended:
            self._answer(waiter, operation, *_to_waiter(run))
        else:
            link = Link(run.no, waiter.run.no, operation.key)
            self._batch.writes.links.append(link)
            self._batch.links.append(link)

    def _abandon(self, resident: Resident, operation: Operation) -> None:
        """Stop what nobody waits for any more."""
        resident.retrying.pop(operation.key, None)
        flight: Flight | None = operation.flight
        if flight is not None:
            operation.flight = None
            if flight.token in self.flights.by_token:
                self._batch.landed.append(flight.token)
                self._batch.stopped.append(flight)
            else:
                self._batch.launches.remove(flight)
        if operation.kind == e.CHILD and operation.target is not None:
            self._work.append(partial(self._cancel_child, operation.target))

    def _cancel_child(self, id: str) -> None:
        run = self._newest(id)
        if run is not None and not run.ended:
            self._post(run, e.CANCEL, "", '"its parent no longer waits for it"', None)

    # Messages.

    def _accept(
        self, id: str, kind: str, channel: str, value: str, message_id: str | None
    ) -> Accepted:
        """Take a message into a run's inbox, if the run takes it."""
        run = self._newest(id)
        if run is None:
            raise unknown(id)
        duplicate = message_id is not None and (
            (run.no, message_id) in self._batch.message_ids
            or self.store.has_message(run.no, message_id)
        )
        verdict = receive(run, duplicate=duplicate)
        if verdict.accepted and not duplicate:
            self._post(run, kind, channel, value, message_id)
        return verdict

    def _post(
        self, run: Run, kind: str, channel: str, value: str, message_id: str | None
    ) -> None:
        """Write a message and deliver it, or leave it waiting if the run cannot take it now."""
        if message_id is not None:
            self._batch.message_ids.add((run.no, message_id))
        message = Message(run.no, kind, channel, value, self._now_us, message_id)
        self._batch.writes.messages.append(message)
        resident = None if run.status == e.QUEUED else self.resident(run.no)
        if resident is not None and not resident.run.ended:
            message.n = resident.machine.next_n
            self._deliver_message(resident, message)
        elif run.status == e.QUEUED:
            self._message_to_queued(run, kind, value)

    def _message_to_queued(self, run: Run, kind: str, value: str) -> None:
        """Cancelling or terminating a run that has not started ends it at once."""
        if kind == e.SIGNAL:
            return
        status = e.CANCELLED if kind == e.CANCEL else e.TERMINATED
        error = failure.encode(_ended_by(status.capitalize(), run.id, value))
        run.status, run.ended_us = status, self._now_us
        self._batch.writes.ends.append(End(run.no, status, None, error, self._now_us))

    def park(self, run: Run, status: str, waiting_on: str, error: str | None = None) -> None:
        """Write down why a run cannot go on, once."""
        self._batch.parked.append(run.no)
        if (run.status, run.waiting_on) != (status, waiting_on):
            self.note(run, Words(status, None, waiting_on), error=error)

    def note(
        self, run: Run, words: Words, *, error: str | None = None, started_us: int | None = None
    ) -> None:
        """Write what the row of an open run should say."""
        self._batch.writes.notes.append(
            Note(
                run.no,
                words.status,
                words.wake_at_us,
                words.waiting_on,
                self._now_us,
                started_us,
                error,
            )
        )

    @property
    def batch(self) -> Batch:
        """The turn that is under way."""
        return self._batch


def unknown(id: str) -> UnknownWorkflow:
    """Return the error for an id that no run has."""
    return UnknownWorkflow(f"no run has the id {id!r}; spawn it first, or check the id")


def _ended_by(type_: str, id: str, reason_json: str) -> failure.Failure:
    reason = str(msgspec.json.decode(reason_json))
    words = f"workflow {id!r} was {type_.lower()}" + (f": {reason}" if reason else "")
    return failure.Failure(
        type=type_, module="monolite.errors", message=words, fields={"id": id, "reason": reason}
    )


def _to_waiter(run: Run) -> tuple[str | None, str | None]:
    """Return a run's end as another workflow gets it: a value, or the failure to raise."""
    if run.status == e.COMPLETED:
        return run.value, None
    cause = failure.decode(run.error or "{}")
    if run.status != e.FAILED:
        return None, run.error
    return None, failure.encode(
        failure.Failure(
            type="WorkflowFailed",
            module="monolite.errors",
            message=f"workflow {run.id!r} failed: {cause.summary()}",
            fields={"id": run.id},
            cause=cause,
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
