"""The engine: a turn takes what happened, runs the code concerned, and commits.

Nothing leaves before its commit; anything may arrive twice.

`Engine.turn` is a plain function of events, time and the file: no thread, no clock, no waiting.
The thread around it (`host.thread`) is thin, and a simulator can call it directly. Memory is a
cache of the file: when a commit fails, what the turn changed in memory is dropped and read again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.actor import ActorType
from monolite.core.command import Abandon, Append, Detach, Mark, Operation, Publish, Reply, Tell
from monolite.core.entry import Entry, Outcome, Run, RunNo
from monolite.core.queue import Queue
from monolite.core.turn import ActorMachine, TurnDone
from monolite.errors import Misused, UnknownWorkflow
from monolite.host.audience import Audience
from monolite.host.batch import Batch, Released
from monolite.host.births import Births
from monolite.host.blocks import Blocks
from monolite.host.deadlines import Deadlines
from monolite.host.deferrals import Deferrals
from monolite.host.duplicates import Duplicates
from monolite.host.ending import ended_by, to_waiter
from monolite.host.events import (
    Amend,
    Appended,
    Ask,
    AwaitEnd,
    AwaitIdle,
    Beat,
    ChangeQueue,
    Deferred,
    Done,
    Event,
    Failed,
    Post,
    RetryDead,
    Returned,
    Spawn,
    Unawait,
    Unwatch,
    Watch,
)
from monolite.host.flights import Flights
from monolite.host.heartbeats import Heartbeats
from monolite.host.inbox import Inbox
from monolite.host.landings import Landings
from monolite.host.launches import Launches
from monolite.host.mailboxes import Mailboxes
from monolite.host.operations import Operations
from monolite.host.queues import Queues
from monolite.host.registry import Registry
from monolite.host.residency import Residency
from monolite.host.resident import Resident, Words
from monolite.host.schedules import Schedules
from monolite.host.streams import Streams
from monolite.host.succession import LeftOver, Succession
from monolite.store.protocol import Conflict, End, Link, Note, RolledBack, Store

log = logging.getLogger("monolite.engine")

CONFLICTS_MAX = 8
"""How often a turn is repeated because another process took the same id at the same moment."""

CASCADE_MAX = 10_000
"""Consequences of one event in one turn; more wait for the next, so that two runs that answer
each other for ever still let the file be committed. Chains that end are never cut."""


class Engine:
    """Owns a store, the live runs and the attempts in flight."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        max_live: int = 10_000,
        history_warning: int = 10_000,
        queues: Iterable[Queue] = (),
    ) -> None:
        self.store = store
        self.history_warning = history_warning
        self.registry = registry
        self.flights = Flights()
        self.executing = store.executing
        self.blames = store.blames()
        """How often in a row the process died in the code of these runs."""
        self.running: str | None = None
        """The run whose code is being executed now, for the watchdog."""
        self.deliveries = 0
        """How often code was given something to do: shows the watchdog whether it moves."""
        self.residency = Residency(self, max_live)
        self.births = Births(self)
        self.operations = Operations(self)
        self.launches = Launches(self)
        self.deadlines = Deadlines(self)
        self.heartbeats = Heartbeats(self)
        self.blocks = Blocks(self)
        self.deferrals = Deferrals(self)
        self.inbox = Inbox(self)
        self.mailboxes = Mailboxes(self)
        self.audience = Audience(self)
        self.streams = Streams(self)
        self.landings = Landings(self)
        self.succession = Succession(self)
        self.schedules = Schedules(self)
        self.batch = Batch()
        self.now_us = 0
        self.duplicates = Duplicates(self)
        self.queues = Queues(self, queues)
        self.urgent: deque[partial[None]] = deque()
        """Transactions of the run that is being executed: before anything else happens."""
        self.transacting: RunNo | None = None
        """The actor whose turn has written the application's tables and has not waited since."""
        self.transacted = False
        self.spoilt: dict[tuple[str, int, str], str] = {}
        """Failures of transactions that rolled this turn back, for its next try: by operation."""
        self.work: deque[partial[None]] = deque()
        self._left: deque[partial[None]] = deque()
        self.links: dict[RunNo, list[Link]] = {}
        self.last_seq = 0
        self.must_look_outside = True
        self.message_due_us: int | None = None
        """When the next delayed message is due."""
        self.must_retime = False
        """Whether this turn changed which delayed message is due next."""
        self.leaving = False
        """Whether the host takes no more attempts: then those that are due are left unbegun."""
        for link in store.links():
            self.links.setdefault(link.target_no, []).append(link)
        self._on = self._receivers()

    def _receivers(self) -> dict[type, Callable[[Any], None]]:
        """Return who takes which event."""
        return {
            Spawn: self.births.on_spawn,
            Post: self._on_post,
            Done: self.landings.on_done,
            Failed: self.landings.on_failed,
            Returned: self.landings.on_returned,
            Deferred: self.deferrals.on_deferred,
            Beat: self.heartbeats.on_beat,
            Appended: self.streams.on_appended,
            AwaitEnd: self.audience.on_await_end,
            Unawait: self._on_unawait,
            Watch: self.audience.on_watch,
            Unwatch: self.audience.on_unwatch,
            Ask: lambda ask: self.batch.asks.append(ask),  # noqa: PLW0108 - each turn has its own
            ChangeQueue: self.queues.on_change,
            AwaitIdle: self.queues.on_await_idle,
            RetryDead: self.births.retry_dead,
            Amend: self.schedules.on_amend,
        }

    # A turn.

    def turn(self, events: list[Event], now_us: int) -> Released:
        """Take the events, run what they concern until it is quiet, commit; return what may leave.

        Raises what `Store.commit` raises; then nothing was released, and the caller still has
        the events.
        """
        left = tuple(self.work)
        tries_left = CONFLICTS_MAX
        while True:
            self.batch = Batch()
            self.batch.careful = tries_left < CONFLICTS_MAX
            self.now_us = now_us
            try:
                self._process(events)
                if self.batch.writes or self.transacted:
                    self.store.commit(self.batch.writes)
            except RolledBack:  # each names another function that is left out from now on
                self._forget(left)
            except Conflict:
                self._forget(left)
                tries_left -= 1
                if tries_left == 0:
                    raise
            except BaseException:
                self._forget(left)
                raise
            else:
                self.spoilt.clear()
                return self._release()

    def _forget(self, left: tuple[partial[None], ...]) -> None:
        """Bring memory back to what is committed."""
        self.store.abort()
        self.residency.forget(self.batch)
        self.queues.undo()
        self.duplicates.clear()
        self.schedules.forget()
        self.work = deque(left)
        self._left.clear()
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
        """Write down what every run waits for, and what is cut off, before the engine stops."""
        self.batch = Batch()
        self.now_us = now_us
        if not self.work:  # what is left over wants a look at start-up, as the rows still say
            self.residency.settle_all(now_us)
        self.queues.write(finally_=True)
        self.landings.cut_off()
        if self.batch.writes:
            self.store.commit(self.batch.writes)

    @property
    def next_wake_us(self) -> int | None:
        """When the next turn is needed if no event comes before."""
        if self.must_look_outside or self.work:
            return 0
        wakes = (
            self.residency.next_wake_us(),
            self.message_due_us,
            self.schedules.next_wake_us,
            self.queues.next_wake_us(),
            self.heartbeats.next_due_us,
        )
        return min((at_us for at_us in wakes if at_us is not None), default=None)

    def look_outside(self) -> None:
        """Say that another process may have written to the file."""
        self.must_look_outside = True

    def _process(self, events: list[Event]) -> None:
        self.urgent.clear()
        self.transacted = False
        if self.batch.careful:
            # Others were first: keep them out, so that a busy one cannot be first for ever.
            self.store.mark()
            self.transacted = True
        self.residency.revive()
        if self.store.changed() or self.must_look_outside:
            self.inbox.take_outside()
            self.queues.take_outside()
            self.schedules.reread()
        for event in events:
            self._on[type(event)](event)
            if self.work or self.urgent:
                self.run_work()
        scheduled_us = self.schedules.next_wake_us
        if scheduled_us is not None and scheduled_us <= self.now_us:
            self.schedules.wake()
        self.residency.wake(self.now_us)
        self.run_work()
        self.heartbeats.look()
        if self.message_due_us is not None and self.message_due_us <= self.now_us:
            self.inbox.take_due()
        self.queues.admit()
        self.work, self._left = self._left, deque()
        self.residency.settle(self.now_us)
        self._leave_work()
        self.queues.write()
        origins = self.batch.hand_on() if self.batch.successors else {}
        if self.batch.streams:
            self.streams.write(origins)
        if self.batch.unnamed:
            self.inbox.answer_unnamed()

    def run_work(self) -> None:
        """Carry out what runs asked of each other, up to the bound of one event."""
        urgent, work = self.urgent, self.work
        worked = 0
        while urgent or (work and worked < CASCADE_MAX):
            if urgent:
                urgent.popleft()()
                continue
            self.transacting = None
            worked += 1
            work.popleft()()
        self.transacting = None
        self._left.extend(work)
        work.clear()

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
            elif work.func == self.operations.begin_spawned:
                self.operations.put_off(work.args[0])
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
        for (token, name), skip in batch.skips.items():
            if token in in_flight:
                in_flight[token].skip = {**in_flight[token].skip, name: skip}
        for target_no, links in batch.links.items():
            self.links.setdefault(target_no, []).extend(links)
        for no in batch.writes.unlinked:
            self.links.pop(no, None)
        self.last_seq = max(self.last_seq, batch.last_seq)
        if self.must_retime:
            self.must_retime = False
            self.message_due_us = self.store.next_message_due_us()
        self.residency.committed(batch, self.now_us)
        self.queues.committed(batch)
        self.duplicates.clear()
        self.heartbeats.committed(batch, self.now_us)
        self.audience.released(batch)
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

    def _on_post(self, event: Post) -> None:
        asks = event.kind == e.UPDATE and not event.delay_us
        try:
            if asks and event.caller is not None:
                self.operations.refuse_cycle(event.caller, event.id)
                self.batch.callers[event.reply] = (event.caller, event.id)
            answer = self.inbox.accept(
                event.id,
                event.kind,
                event.channel,
                event.value,
                event.message_id,
                actor=event.actor,
                delay_us=event.delay_us,
                asker=event.reply if asks else None,
            )
        except (UnknownWorkflow, Misused) as error:
            self.batch.refusals.append((event.reply, error))
        else:
            if asks and answer.accepted:
                if event.message_id is not None:
                    self.audience.await_answer(event)
            else:
                self.batch.answers.append((event.reply, answer))

    def _on_unawait(self, event: Unawait) -> None:
        self.audience.on_unawait(event)
        self.queues.on_unawait(event)

    # Runs.

    def query(self, actor: str, key: str, method: str, args: str) -> str:
        """Return what a query makes of an actor's committed state, as JSON."""
        type_ = self.registry.find_actor(actor)
        try:
            return self._query(type_, key, method, args)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise
            # An exit is the query's failure, not the engine's; the other fits no future.
            raise failure.rebuild(failure.describe(error)) from error

    def _query(self, type_: ActorType, key: str, method: str, args: str) -> str:
        run = self.newest(f"{type_.name}/{key}")
        live = None if run is None else self.residency.live.get(run.no)
        if live is not None and isinstance(live.machine, ActorMachine):
            return type_.read(key, method, args, live.machine.state, live.machine.version)
        stored = None if run is None or run.ended else self.store.state(run.no)
        if stored is None:
            return type_.read(key, method, args, None, type_.version)
        return type_.read(key, method, args, stored.state, stored.version)

    def words(self, no: RunNo) -> Words | None:
        """Return what a run in memory waits for now, or None if its row is all there is."""
        live = self.residency.live.get(no)
        return self.queues.words(no) if live is None else live.words()

    def resident(self, no: RunNo) -> Resident | None:
        """Return a run in memory, bringing it back from its journal if need be."""
        return self.residency.get(no, self.now_us)

    def newest(self, id: str) -> Run | None:
        """Return the newest run of an id: of this turn, in memory, or in the file."""
        known = self.batch.created.get(id) or self.residency.by_id(id)
        run = known or self.store.run_by_id(id)
        return None if run is None else self.batch.ended_unstarted.get(run.no, run)

    def entering(self, run: Run) -> None:
        """Note that a run's code is about to be executed."""
        self.executing[0] = run.no
        self.running = run.id
        self.deliveries += 1

    def left(self) -> None:
        """Note that a run's code is not being executed any more."""
        self.running = None
        self.executing[0] = 0

    def feed(self, resident: Resident, entry: Entry) -> None:
        self.entering(resident.run)
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
        if n == self.history_warning and not isinstance(resident.machine, ActorMachine):
            log.warning(
                "the journal of %r has %s entries, all replayed whenever it comes back; "
                "end it now and then with `raise ContinueAsNew(...)`",
                resident.run.id,
                f"{n:,}",
            )
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
        self.left()
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
            elif isinstance(command, Reply):
                self.inbox.reply(resident.run, command.message_id, command.value, command.error)
            elif isinstance(command, Append):
                self.streams.append(resident.run.no, command.name, "", [command.value])
            elif isinstance(command, TurnDone):
                self.inbox.turn_done(resident, command)
            elif isinstance(command, Tell):
                self.work.append(partial(self.inbox.tell, command))
            elif isinstance(command, Mark):
                self._mark(resident, command)
            else:
                assert isinstance(command, Detach), f"unknown command {command!r}"
                self.operations.detach(resident, command)
        outcome = machine.outcome
        if outcome is not None and not resident.run.ended:
            self._end(resident, outcome)

    def _mark(self, resident: Resident, mark: Mark) -> None:
        machine = resident.machine
        row = (resident.run.no, machine.next_n, self.now_us, e.PATCH, mark.name, None, None, None)
        self.batch.writes.journal.append(row)
        machine.deliver(Entry(row[1], self.now_us, e.PATCH, mark.name))

    def _end(self, resident: Resident, outcome: Outcome) -> None:
        run, batch = resident.run, self.batch
        run.status, run.value, run.error = outcome.status, outcome.value, outcome.error
        run.ended_us = self.now_us
        left_over = resident.machine.unreceived()
        waiting = {entry.args for entry in left_over}
        for message_id in list(resident.machine.unanswered):
            if outcome.status != e.CONTINUED or message_id not in waiting:
                self.inbox.refuse(run, message_id)
        if outcome.status != e.CONTINUED:
            self.inbox.refuse_rest(resident)
        batch.writes.ends.append(
            End(run.no, outcome.status, outcome.value, outcome.error, self.now_us)
        )
        batch.ended.append(resident)
        for operation in list(resident.machine.operations.values()):
            self.operations.abandon(resident, operation)
        resident.machine.operations.clear()
        if run.queue is not None and outcome.status != e.CONTINUED:
            self.queues.ended(run)
        if outcome.status == e.CONTINUED:
            carried = [(run.no, entry) for entry in left_over]
            self.work.append(partial(self._begin_next, run, carried))
        else:
            self.tell_waiting(run, *to_waiter(run))

    def _begin_next(self, run: Run, left_over: list[LeftOver]) -> None:
        rest = self.batch.left_over.pop(run.no, [])
        self.succession.begin(run, left_over + rest)

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
        if run.id in self.schedules.open:
            self.schedules.ended(run.id)

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
                words.error if error is None else error,
                version,
            )
        )
