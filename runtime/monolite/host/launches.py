"""Launches: starting attempts at activities, after a wait, and again after a crash."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

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
        self._fly(resident, operation, attempts.first(operation.call.opts), failures=0)

    def recover(self, resident: Resident, operation: Operation) -> None:
        assert operation.call is not None
        rows = [a for a in self._engine.store.attempts(resident.run.no) if a.key == operation.key]
        failures = sum(a.state == e.ATTEMPT_FAILED for a in rows)
        plan = attempts.recover(operation.call.opts, rows)
        if isinstance(plan, attempts.Wait):
            resident.retrying[operation.key] = Retrying(plan.number, plan.due_us, failures)
        elif isinstance(plan, attempts.GiveUp):
            error = failure.encode(failure.describe(Interrupted(operation.call.name)))
            self.give_up(resident, operation, error)
        else:
            self._fly(resident, operation, plan, failures)

    def give_up(self, resident: Resident, operation: Operation, error: str) -> None:
        """Answer with an error what can have no attempt, once this turn gets to it."""
        self._engine.work.append(partial(self._give_up, resident, operation, error))

    def _give_up(self, resident: Resident, operation: Operation, error: str) -> None:
        if resident.machine.operations.get(operation.key) is operation:
            self._engine.answer(resident, operation, None, error)

    def retry(self, resident: Resident, key: str, waiting: Retrying) -> None:
        """Start the attempt whose back-off is over."""
        del resident.retrying[key]
        operation = resident.machine.operations.get(key)
        if operation is not None:
            plan = attempts.after_wait(waiting.number)
            self._fly(resident, operation, plan, waiting.failures)
        self._engine.residency.touch(resident)

    def _fly(
        self, resident: Resident, operation: Operation, plan: attempts.Start, failures: int
    ) -> None:
        call = operation.call
        assert call is not None
        if resident.paused:
            return  # `unpause` takes it up
        if call.opts.queue is not None:
            self._engine.queues.enqueue(resident, operation, plan, failures)
        else:
            self.fly(resident, operation, plan, failures)

    def fly(
        self, resident: Resident, operation: Operation, plan: attempts.Start, failures: int
    ) -> None:
        """Launch an attempt whose turn has come."""
        run, call = resident.run, operation.call
        assert call is not None
        for number, state in plan.rows:
            self._engine.batch.writes.attempts.append(
                Attempt(run.no, operation.key, number, state, self._engine.now_us)
            )
        if self._engine.leaving:
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
        )
        self._engine.batch.launches.append(flight)

    def abandon(self, resident: Resident, operation: Operation) -> None:
        """Stop the attempts at what nobody waits for any more."""
        resident.retrying.pop(operation.key, None)
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
