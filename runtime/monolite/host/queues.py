"""Queues: what waits for its turn in one engine, and giving it the turn.

Tickets are in memory: made of the rows that wait when the engine starts, and of what turns do.
A claim and what it starts are part of one turn. Should that turn's commit fail, every ticket goes
back to where it was, as the file has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.command import Operation
from monolite.core.entry import Run, RunNo
from monolite.core.queue import Limits, Queue, unknown_queue
from monolite.core.scheduler import GONE, HELD, SHELVED, WAITING, Memo, Scheduler, Ticket
from monolite.errors import StorageFull
from monolite.host.batch import Batch
from monolite.host.events import AwaitIdle, ChangeQueue, Reply, Unawait
from monolite.host.flights import Flight
from monolite.host.resident import Resident, Words
from monolite.store.protocol import QueueRow, TicketRow, Writes

if TYPE_CHECKING:
    from monolite.host.engine import Engine

CLAIMS_MAX = 500
"""Claims from one queue in one turn: bounds how long everybody waits for its commit."""

TICKETS_MAX = 5_000
"""Rows of other processes taken in one turn, for the same reason."""

TICKETS_PAGE = 20_000
"""Rows read at a time when the engine starts."""

SEEN_US = 1_000_000
"""How old what the file says of attempts in a queue may be."""

OF_RUN = ""
"""Stands for the key of the operation in the ticket of a run."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What a ticket is for: a run that begins (`key` is empty), or an attempt at its operation."""

    no: RunNo
    key: str = OF_RUN
    plan: attempts.Start | None = None
    failures: int = 0


class State(msgspec.Struct, omit_defaults=True):
    """What of a queue must survive, as its row has it."""

    taken: list[tuple[int, int, int]] = []
    failures: int = 0
    open_until_us: int | None = None


class Seen(msgspec.Struct, frozen=True):
    """How many attempts at activities wait in a queue, and run."""

    waiting: int = 0
    running: int = 0


class Queues:
    """Every queue of one engine."""

    def __init__(self, engine: Engine, declared: Iterable[Queue]) -> None:
        self._engine = engine
        self._schedulers: dict[str, Scheduler] = {}
        self._rows: dict[str, QueueRow] = {}
        self._tickets: dict[tuple[RunNo, str], Ticket] = {}
        self._attempts: dict[str, list[int]] = {}
        """Per queue, how many attempts are waiting and held."""
        self._last_seq = 0
        self._cursor = 0
        """The highest number among the rows of other processes that were taken."""
        self.stirred: dict[str, None] = {}
        """Queues in which something may start that could not before."""
        self._due: dict[str, int] = {}
        self._idle_waiters: list[tuple[str, Reply]] = []
        self._fresh_waiters: list[tuple[str, Reply]] = []
        # Of this turn, until its commit.
        self.fresh: dict[RunNo, Run] = {}
        """Runs that this turn spawned into a queue."""
        self._moves: list[tuple[Ticket, int]] = []
        self._memos: dict[str, Memo] = {}
        self._old_rows: list[tuple[str, QueueRow | None]] = []
        self._old_cursor = 0
        # What the file does not say yet.
        self._undeclared: list[QueueRow] = []
        self._states: dict[str, str] = {}
        self._seen: dict[str, Seen] = {}
        self._seen_us = 0
        self._unseen: dict[str, None] = {}
        self._load(declared)

    # From the file.

    def _load(self, declared: Iterable[Queue]) -> None:
        store = self._engine.store
        for row in store.queues():
            self._take_row(row)
            self._seen[row.name] = seen_of(row)
        for queue in declared:
            text = queue.limits.encoded()
            known = self._rows.get(queue.name)
            if known is None or known.declared != text:
                paused = known is not None and known.paused
                row = QueueRow(queue.name, text, text, paused)
                self._take_row(row)
                self._undeclared.append(row)
        self._declare()
        highest = store.max_run_no()
        for no, name, key in store.holders():
            self._put(Ticket(name, key or "", 0, 0, self._next_seq(), Turn(no)), HELD)
        while rows := store.tickets(self._cursor, TICKETS_PAGE):
            for ticket in rows:
                # One that waits for a time still is woken by the clock.
                if ticket.wake_at_us is None:
                    self._put(self._ticket_of(ticket), WAITING)
            self._cursor = rows[-1].no
        self._cursor = self._old_cursor = max(self._cursor, highest)
        self._moves.clear()
        self._memos.clear()
        self._old_rows.clear()

    def _declare(self) -> None:
        """Write what the code declares at once: other processes may use it from now on."""
        if not self._undeclared:
            return
        writes = Writes()
        writes.queues += self._undeclared
        with contextlib.suppress(StorageFull):  # then the first turn that can will write it
            self._engine.store.commit(writes)
            self._undeclared.clear()

    def _ticket_of(self, row: TicketRow) -> Ticket:
        return Ticket(
            row.queue, row.key or "", row.priority, row.queued_us, self._next_seq(), Turn(row.no)
        )

    def take_outside(self) -> None:
        """Take what other processes put into queues, and what they changed about them."""
        engine = self._engine
        undeclared = {row.name for row in self._undeclared}
        for row in engine.store.queues():
            if row.name in undeclared:
                continue  # what the code declares is about to be written over it
            known = self._rows.get(row.name)
            if known is None or (known.limits, known.paused) != (row.limits, row.paused):
                self._take_row(row)
        rows = engine.store.tickets(self._cursor, TICKETS_MAX)
        for ticket in rows:
            if ticket.no in engine.batch.ended_unstarted:
                continue
            if ticket.wake_at_us is not None:
                engine.residency.expect(ticket.wake_at_us)
            elif (ticket.no, OF_RUN) not in self._tickets:
                self._put(self._ticket_of(ticket), WAITING)
        if rows:
            self._cursor = rows[-1].no
            engine.must_look_outside |= len(rows) == TICKETS_MAX

    def _take_row(self, row: QueueRow) -> None:
        """Go by what a queue's row says now."""
        self._old_rows.append((row.name, self._rows.get(row.name)))
        self._rows[row.name] = row
        limits = Limits.decoded(row.limits)
        scheduler = self._schedulers.get(row.name)
        if scheduler is None:
            scheduler = self._schedulers[row.name] = Scheduler(limits)
            if row.state is not None:
                state = msgspec.json.decode(row.state, type=State)
                scheduler.restore(state.taken, state.failures, state.open_until_us)
        else:
            self._remember(row.name, scheduler)
            scheduler.change(limits)
        scheduler.paused = row.paused
        self.stirred[row.name] = None
        self._unseen[row.name] = None

    def _scheduler(self, name: str) -> Scheduler:
        found = self._schedulers.get(name)
        if found is None:  # somebody deleted its row: what waits there must not wait for ever
            found = self._schedulers[name] = Scheduler(Limits())
        return found

    # Asking.

    def check(self, name: str) -> None:
        """Raise Misused if there is no queue of this name."""
        if name not in self._rows:
            raise unknown_queue(name, list(self._rows))

    def for_workers(self, name: str) -> bool:
        """Return whether only worker processes run the activities of a queue."""
        found = self._schedulers.get(name)
        return found is not None and found.limits.workers

    def words(self, no: RunNo) -> Words | None:
        """Return what a run that waits in a queue waits for, or None if it waits in none."""
        ticket = self._tickets.get((no, OF_RUN))
        if ticket is None or ticket.state != WAITING:
            return None
        why = self._why(ticket.queue)
        words = f"queue {ticket.queue}" + (f" ({why})" if why else "")
        return Words(e.QUEUED, None, words)

    def _why(self, name: str) -> str | None:
        """Return in words why nothing of a queue starts, if there is more to it than its limits."""
        scheduler = self._scheduler(name)
        if scheduler.paused:
            return f"paused; resume it with: monolite queue resume FILE {name}"
        return None if scheduler.open_until_us is None else "its breaker is open"

    def rows(self, name: str | None) -> list[tuple[QueueRow, int, int, str | None]]:
        """Return (row, waiting, running, why nothing starts) of one queue, or of all."""
        if name is not None:
            self.check(name)
        found: list[tuple[QueueRow, int, int, str | None]] = []
        for row in sorted(self._rows.values(), key=lambda row: row.name):
            if name in (None, row.name):
                scheduler = self._schedulers[row.name]
                why = self._why(row.name)
                found.append((row, scheduler.waiting, scheduler.running, why))
        return found

    # Tickets.

    def _next_seq(self) -> int:
        self._last_seq += 1
        return self._last_seq

    def _put(self, ticket: Ticket, state: int) -> None:
        turn: Turn = ticket.subject
        self._tickets[turn.no, turn.key] = ticket
        self._move(ticket, state)

    def _move(self, ticket: Ticket, to: int) -> None:
        was, turn = ticket.state, ticket.subject
        self._moves.append((ticket, was))
        scheduler = self._scheduler(ticket.queue)
        self._remember(ticket.queue, scheduler)
        scheduler.move(ticket, to)
        self._moved(ticket, was)
        if to == GONE:
            del self._tickets[turn.no, turn.key]

    def _moved(self, ticket: Ticket, was: int) -> None:
        """Keep count of attempts, and have the queue looked at."""
        self.stirred[ticket.queue] = None
        if ticket.subject.key == OF_RUN:
            return
        counts = self._attempts.setdefault(ticket.queue, [0, 0, 0, 0])
        counts[was] -= 1
        counts[ticket.state] += 1
        self._unseen[ticket.queue] = None

    def _remember(self, name: str, scheduler: Scheduler) -> None:
        if name not in self._memos:
            self._memos[name] = scheduler.memo()

    def born(self, run: Run) -> None:
        """Take a run that this turn spawned into a queue."""
        self.fresh[run.no] = run
        if run.wake_at_us is None:
            self.wait(run)

    def wait(self, run: Run) -> None:
        """Let a run wait for its turn from now on, unless it does already."""
        engine = self._engine
        assert run.queue is not None
        if (run.no, OF_RUN) in self._tickets or run.no in engine.duplicates.put_off:
            return
        if run.wake_at_us is not None and run.wake_at_us > engine.now_us:
            engine.residency.expect(run.wake_at_us)
            return
        if run.wake_at_us is not None or run.status != e.QUEUED:
            engine.note(run, Words(e.QUEUED, None, None))
        turn, since_us = Turn(run.no), run.queued_us or 0
        seq, priority = self._next_seq(), run.priority or 0
        self._put(Ticket(run.queue, run.queue_key or "", priority, since_us, seq, turn), WAITING)

    def enqueue(
        self, resident: Resident, operation: Operation, plan: attempts.Start, failures: int
    ) -> None:
        """Let an attempt wait for its turn, unless it does already."""
        assert operation.call is not None
        place, no = operation.call.opts.place(), resident.run.no
        assert place is not None
        if (no, operation.key) in self._tickets:
            return
        if place.queue not in self._rows:
            error = failure.encode(failure.describe(unknown_queue(place.queue, list(self._rows))))
            self._engine.launches.give_up(resident, operation, error)
            return
        turn = Turn(no, operation.key, plan, failures)
        now_us, seq = self._engine.now_us, self._next_seq()
        ticket = Ticket(place.queue, place.key or "", place.priority, now_us, seq, turn)
        self._put(ticket, WAITING)

    def withdraw(self, no: RunNo, key: str = OF_RUN) -> None:
        """Take back what waits and need not start any more."""
        ticket = self._tickets.get((no, key))
        if ticket is not None and ticket.state != HELD:
            self._move(ticket, GONE)

    def unshelve(self, no: RunNo, key: str) -> bool:
        """Let an attempt whose turn came while its run was paused wait again, if it did."""
        ticket = self._tickets.get((no, key))
        if ticket is not None and ticket.state == SHELVED:
            self._move(ticket, WAITING)
        return ticket is not None

    def left(self, flight: Flight, *, succeeded: bool | None = None) -> None:
        """Give an attempt's slot free; None: it neither succeeded nor failed."""
        self._leave((flight.run_no, flight.key), succeeded=succeeded)

    def ended(self, run: Run) -> None:
        """Give a run's slot free."""
        told = run.status in (e.COMPLETED, e.FAILED)
        self._leave((run.no, OF_RUN), succeeded=run.status == e.COMPLETED if told else None)

    def _leave(self, key: tuple[RunNo, str], *, succeeded: bool | None) -> None:
        ticket = self._tickets.get(key)
        if ticket is None or ticket.state != HELD:
            return
        scheduler = self._scheduler(ticket.queue)
        self._remember(ticket.queue, scheduler)
        self._moves.append((ticket, HELD))
        scheduler.leave(ticket, self._engine.now_us, succeeded=succeeded)
        self._moved(ticket, HELD)
        del self._tickets[key]

    def succeed(self, old: Run, run: Run) -> None:
        """Give a run's slot to the run that continues it."""
        ticket = self._tickets.get((old.no, OF_RUN))
        if ticket is not None:
            scheduler = self._scheduler(ticket.queue)
            probing = scheduler.probe is ticket
            self._move(ticket, GONE)
            heir = Ticket(ticket.queue, ticket.key, 0, 0, self._next_seq(), Turn(run.no))
            self._put(heir, HELD)
            if probing:
                scheduler.probe = heir

    # Turns.

    def admit(self) -> None:
        """Start whatever may start now."""
        if not self.stirred and not self._due:
            return
        engine, now_us = self._engine, self._engine.now_us
        claims: dict[str, int] = {}
        put_off: list[str] = []
        for name in [name for name, due_us in self._due.items() if due_us <= now_us]:
            self.stirred[name] = None
        while self.stirred and not engine.leaving:
            name = next(iter(self.stirred))
            scheduler = self._scheduler(name)
            self._due.pop(name, None)
            if claims.get(name, 0) >= CLAIMS_MAX:
                del self.stirred[name]
                put_off.append(name)
                continue
            self._remember(name, scheduler)
            ticket = scheduler.claim(now_us)
            if ticket is None:
                del self.stirred[name]
                due_us = scheduler.next_us(now_us)
                if due_us is not None:
                    self._due[name] = due_us
                continue
            claims[name] = claims.get(name, 0) + 1
            self._moves.append((ticket, WAITING))
            self._moved(ticket, WAITING)
            self._start(ticket)
            engine.run_work()
        self.stirred.update(dict.fromkeys(put_off))

    def _start(self, ticket: Ticket) -> None:
        turn: Turn = ticket.subject
        started = self._begin(turn.no) if turn.key == OF_RUN else self._launch(ticket, turn)
        if not started:
            self._leave((turn.no, turn.key), succeeded=None)

    def _begin(self, no: RunNo) -> bool:
        """Begin a run; return whether it did."""
        engine = self._engine
        fresh = self.fresh.pop(no, None)
        run = fresh or engine.store.run(no)
        # (Stranded: its code has come, and that it waits again is yet to be written.)
        waits = run is not None and run.status in (e.QUEUED, e.STRANDED)
        if run is None or not waits or no in engine.batch.ended_unstarted:
            return False
        if run.wake_at_us is not None and run.wake_at_us > engine.now_us:
            engine.residency.expect(run.wake_at_us)  # another process has put it off
            return False
        if run.dedupe is not None:
            engine.duplicates.begins(run, fresh=fresh is not None)
        return engine.residency.admit(run, fresh=fresh is not None)

    def _launch(self, ticket: Ticket, turn: Turn) -> bool:
        """Launch an attempt, bringing its run back if need be; return whether it flies."""
        engine = self._engine
        resident = engine.resident(turn.no)
        operation = None if resident is None else resident.machine.operations.get(turn.key)
        if resident is None or operation is None or operation.flight is not None:
            return False
        if resident.paused:
            self._move(ticket, SHELVED)  # `unpause` takes it up
            return True
        assert turn.plan is not None
        engine.launches.fly(resident, operation, turn.plan, turn.failures)
        engine.residency.touch(resident)
        return True

    def next_wake_us(self) -> int | None:
        """Return when the next turn is needed if no event comes before."""
        if self.stirred and not self._engine.leaving:
            return 0
        times = [] if self._engine.leaving else list(self._due.values())
        if self._unseen:
            times.append(self._seen_us + SEEN_US)
        return min(times, default=None)

    # What is written, and going back.

    def write(self, *, finally_: bool = False) -> None:
        """Write what of the queues must survive this turn."""
        if not self._schedulers:
            return
        writes, now_us = self._engine.batch.writes, self._engine.now_us
        writes.queues[:0] = self._undeclared
        for name in self._memos:
            scheduler = self._schedulers.get(name)
            if scheduler is None or name not in self._rows:
                continue
            if scheduler.bucket.has_rate or scheduler.limits.breaker is not None:
                state = State(scheduler.bucket.state(), *scheduler.breaker_state())
                text = msgspec.json.encode(state).decode()
                if text != self._states.get(name):
                    self._states[name] = writes.queue_states[name] = text
        if self._unseen and (finally_ or abs(now_us - self._seen_us) >= SEEN_US):
            self._seen_us = now_us
            for name in self._unseen:
                counts = self._attempts.get(name, [0, 0, 0, 0])
                seen = Seen(counts[WAITING] + counts[SHELVED], counts[HELD])
                if self._seen.get(name, Seen()) != seen and name in self._rows:
                    self._seen[name] = seen
                    writes.queue_seen[name] = msgspec.json.encode(seen).decode()
            self._unseen.clear()

    def committed(self, batch: Batch) -> None:
        """Let a turn's commit stand."""
        self.fresh.clear()
        self._moves.clear()
        self._memos.clear()
        self._old_rows.clear()
        self._old_cursor = self._cursor
        self._undeclared.clear()
        self._idle_waiters += self._fresh_waiters
        self._fresh_waiters.clear()
        if self._idle_waiters:
            waiting, self._idle_waiters = self._idle_waiters, []
            for name, reply in waiting:
                if self._scheduler(name).running:
                    self._idle_waiters.append((name, reply))
                else:
                    batch.answers.append((reply, None))

    def undo(self) -> None:
        """Go back to before a turn that did not commit."""
        engine = self._engine
        for run in engine.batch.ended_unstarted.values():
            if run.queue is not None:
                engine.residency.revive_later(run.no)
        for no in engine.duplicates.put_off:
            engine.residency.revive_later(no)
        for ticket, state in reversed(self._moves):
            was, turn = ticket.state, ticket.subject
            self._scheduler(ticket.queue).move(ticket, state)
            self._moved(ticket, was)
            if state == GONE:
                self._tickets.pop((turn.no, turn.key), None)
                if turn.key == OF_RUN:
                    # Its time had come in that turn: the clock will not mention it again.
                    engine.residency.revive_later(turn.no)
            else:
                self._tickets[turn.no, turn.key] = ticket
        for name, row in reversed(self._old_rows):
            if row is None:
                self._rows.pop(name, None)
            else:
                self._rows[name] = row
                self._schedulers[name].change(Limits.decoded(row.limits))
                self._schedulers[name].paused = row.paused
        for name, memo in self._memos.items():
            self._schedulers[name].recall(memo)
            self.stirred[name] = None
        self._moves.clear()
        self._memos.clear()
        self._old_rows.clear()
        self.fresh.clear()
        self._fresh_waiters.clear()
        self._states.clear()
        self._seen.clear()
        self._unseen.update(dict.fromkeys(self._rows))
        self._cursor = self._old_cursor

    # Events.

    def on_change(self, event: ChangeQueue) -> None:
        batch = self._engine.batch
        try:
            row = event.change(self._rows.get(event.name), list(self._rows))
        except Exception as error:  # noqa: BLE001 - the asker's to handle
            batch.refusals.append((event.reply, error))
            return
        self._take_row(row)
        batch.writes.queues.append(row)
        batch.answers.append((event.reply, row))

    def on_await_idle(self, event: AwaitIdle) -> None:
        if event.queue in self._rows:
            self._fresh_waiters.append((event.queue, event.reply))
        else:
            error = unknown_queue(event.queue, list(self._rows))
            self._engine.batch.refusals.append((event.reply, error))

    def on_unawait(self, event: Unawait) -> None:
        """Let go of an answer that nobody waits for any more."""
        if self._idle_waiters or self._fresh_waiters:
            gone = event.reply
            self._idle_waiters = [w for w in self._idle_waiters if w[1] is not gone]
            self._fresh_waiters = [w for w in self._fresh_waiters if w[1] is not gone]


def seen_of(row: QueueRow) -> Seen:
    """Return what the engine last saw of attempts in a queue."""
    return Seen() if row.seen is None else msgspec.json.decode(row.seen, type=Seen)
