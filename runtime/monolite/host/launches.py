"""Launches: starting attempts at activities, after a wait, and again after a crash."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.command import Operation
from monolite.core.entry import Attempt
from monolite.errors import Interrupted
from monolite.host.flights import Flight
from monolite.host.resident import Resident, Retrying

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Launches:
    """Starts the attempts of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first(self, resident: Resident, operation: Operation) -> None:
        """Start the first attempt at a new request."""
        assert operation.call is not None
        opts = operation.call.opts
        if opts.schedule_to_close_s is not None or opts.schedule_to_start_s is not None:
            self._engine.deadlines.set(resident, operation)
        self._fly(resident, operation, attempts.first(opts), failures=0)

    def recover(self, resident: Resident, operation: Operation) -> None:
        """Take up an activity that was outstanding when its run was last in memory, or paused."""
        assert operation.call is not None
        rows = self._known(resident, operation.key)
        failures = attempts.failures_of(rows)
        now_us, seed = self._engine.now_us, f"{resident.run.id}/{operation.key}"
        innocent = self._engine.store.blamed != 0
        plan = attempts.recover(operation.call.opts, rows, now_us, seed, innocent=innocent)
        self._engine.deadlines.set(resident, operation, begun=attempts.has_begun(rows))
        if isinstance(plan, attempts.Wait):
            resident.retrying[operation.key] = Retrying(
                plan.number, plan.due_us, failures, plan.interrupted
            )
            if plan.cut_off is not None:
                row = (resident.run.no, operation.key, plan.cut_off, e.INTERRUPTED)
                self._engine.batch.writes.attempts.append(Attempt(*row, now_us, plan.due_us))
        elif isinstance(plan, attempts.Block):
            self._engine.blocks.block(
                resident, operation, plan.number, failures + 1, plan.error, fresh=plan.fresh
            )
        elif isinstance(plan, attempts.Await):
            self._engine.deferrals.hold(resident, operation.key, plan.number)
        elif isinstance(plan, attempts.GiveUp):
            self._engine.work.append(
                partial(self._give_up, resident, operation, plan.number, failures)
            )
        else:
            self._fly(resident, operation, plan, failures, attempts.details_of(rows))

    def give_up(self, resident: Resident, operation: Operation, error: str) -> None:
        """Answer with an error what can have no attempt, once this turn gets to it."""
        self._engine.work.append(partial(self._refuse, resident, operation, error))

    def _refuse(self, resident: Resident, operation: Operation, error: str) -> None:
        if resident.machine.operations.get(operation.key) is operation:
            self._engine.answer(resident, operation, None, error)

    def _known(self, resident: Resident, key: str) -> list[Attempt]:
        """Return the rows of an activity's attempts, those of this turn included."""
        no, batch = resident.run.no, self._engine.batch
        rows = {a.number: a for a in self._engine.store.attempts(no) if a.key == key}
        for row in batch.writes.attempts:
            if row.run_no == no and row.key == key:
                known = rows.get(row.number)
                details = row.details or (None if known is None else known.details)
                rows[row.number] = msgspec.structs.replace(row, details=details)
        return [rows[number] for number in sorted(rows)]

    def _give_up(
        self, resident: Resident, operation: Operation, number: int, failures: int
    ) -> None:
        call, engine = operation.call, self._engine
        assert call is not None
        if resident.machine.operations.get(operation.key) is not operation:
            return
        error = failure.encode(failure.describe(Interrupted(call.name)))
        if call.opts.on_exhausted == "block":
            engine.blocks.block(resident, operation, number, failures + 1, error, fresh=True)
        else:
            engine.answer(resident, operation, None, error)

    def begin_again(self, resident: Resident, operation: Operation, last: int) -> None:
        """Start the first of a fresh set of attempts, after attempt `last`."""
        plan = attempts.after_wait(last + 1)
        details = attempts.details_of(self._known(resident, operation.key))
        self._fly(resident, operation, plan, 0, details)

    def retry(self, resident: Resident, key: str, waiting: Retrying) -> None:
        """Start the attempt whose back-off is over."""
        del resident.retrying[key]
        operation = resident.machine.operations.get(key)
        if operation is not None:
            if resident.deadlines and key in resident.deadlines:
                resident.deadlines[key].start_us = None
            plan = attempts.after_wait(waiting.number, interrupted=waiting.interrupted)
            details = attempts.details_of(self._known(resident, key))
            self._fly(resident, operation, plan, waiting.failures, details)
        self._engine.residency.touch(resident)

    def _fly(
        self,
        resident: Resident,
        operation: Operation,
        plan: attempts.Start,
        failures: int,
        details: str | None = None,
    ) -> None:
        call = operation.call
        assert call is not None
        if call.opts.queue is None:
            self.fly(resident, operation, plan, failures, details)
        elif not resident.paused:  # `unpause` takes it up
            self._engine.queues.enqueue(resident, operation, plan, failures)

    def fly(
        self,
        resident: Resident,
        operation: Operation,
        plan: attempts.Start,
        failures: int,
        details: str | None = None,
    ) -> None:
        """Launch an attempt whose turn has come."""
        run, call = resident.run, operation.call
        assert call is not None
        if details is None and plan.number > 1:
            details = attempts.details_of(self._known(resident, operation.key))
        for number, state in plan.rows:
            self._engine.batch.writes.attempts.append(
                Attempt(run.no, operation.key, number, state, self._engine.now_us)
            )
        if self._engine.leaving or resident.paused:
            # Unbegun: the next life takes it up, or `unpause`.
            self._engine.batch.writes.attempts.append(
                Attempt(run.no, operation.key, plan.number, e.RETURNED, self._engine.now_us)
            )
            return
        operation.flight = flight = Flight(
            self._engine.flights.new_token(),
            run.no,
            run.id,
            operation.key,
            call,
            operation.payload,
            plan.number,
            failures,
            plan.interrupted,
            bool(plan.rows),
            self._engine.store.file_id,
            self._engine.now_us,
            known=details,
            generation=run.generation,
        )
        self._engine.batch.launches.append(flight)

    def abandon(
        self, resident: Resident, operation: Operation, *, keep_deadline: bool = False
    ) -> None:
        """Stop the attempts at what nobody waits for any more."""
        resident.retrying.pop(operation.key, None)
        if resident.deferred:
            resident.deferred.pop(operation.key, None)
        if resident.blocked:
            self._engine.blocks.release(resident, operation.key)
        if resident.deadlines and not keep_deadline:
            resident.deadlines.pop(operation.key, None)
        flight: Flight | None = operation.flight
        if flight is None:
            self._engine.queues.withdraw(resident.run.no, operation.key)
        else:
            operation.flight = None
            self._engine.queues.left(flight)
            if flight.token in self._engine.flights.by_token:
                self._engine.batch.landed.append(flight.token)
                self._engine.batch.stopped.append(flight)
            else:
                self._engine.batch.launches.remove(flight)
