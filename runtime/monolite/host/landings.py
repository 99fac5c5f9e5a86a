"""Landings: what becomes of an attempt at an activity when its outcome comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.call import Call
from monolite.core.entry import Attempt
from monolite.errors import ActivityFailed, ActivityTimedOut
from monolite.host.events import Done, Failed, Returned
from monolite.host.flights import Flight
from monolite.host.resident import Resident, Retrying

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Landings:
    """Takes in the outcomes of one engine's attempts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_done(self, event: Done) -> None:
        flight = self._engine.flights.by_token.get(event.token)
        if flight is not None:
            self._engine.queues.left(flight, succeeded=True)
            self._land(flight, event.value, None)

    def on_failed(self, event: Failed) -> None:
        flight = self._engine.flights.by_token.get(event.token)
        if flight is None:
            return
        self._engine.queues.left(flight, succeeded=False)
        failures = flight.failures + 1
        wait_us = attempts.wait_after(
            flight.call.opts,
            failures,
            flight.idempotency_key,
            retryable=event.retryable,
            delay_us=event.delay_us,
        )
        if wait_us is None:
            self._exhausted(flight, failures, event.failure)
            return
        resident = self.landing(flight)
        if resident is None:
            return
        due_us = self._engine.now_us + wait_us
        self._engine.batch.writes.attempts.append(
            Attempt(
                flight.run_no,
                flight.key,
                flight.number,
                e.ATTEMPT_FAILED,
                self._engine.now_us,
                due_us,
                failure.encode(event.failure),
                flight.said,
            )
        )
        resident.machine.operations[flight.key].flight = None
        resident.retrying[flight.key] = Retrying(flight.number + 1, due_us, failures)
        self._engine.residency.touch(resident)

    def _exhausted(self, flight: Flight, failures: int, cause: failure.Failure) -> None:
        """Raise into the workflow what the last attempt came to, or have somebody look at it."""
        if flight.call.opts.on_exhausted != "block":
            self._land(
                flight, None, failure.encode(activity_failed(flight.call, flight.number, cause))
            )
            return
        resident = self.landing(flight)
        if resident is not None:
            operation = resident.machine.operations[flight.key]
            operation.flight = None
            error = failure.encode(cause)
            self._engine.blocks.block(
                resident, operation, flight.number, failures, error, fresh=True, said=flight.said
            )

    def on_returned(self, event: Returned) -> None:
        flight = self._engine.flights.by_token.get(event.token)
        resident = None if flight is None else self.landing(flight)
        if flight is None or resident is None:
            return
        resident.machine.operations[flight.key].flight = None
        self._engine.batch.writes.attempts.append(
            Attempt(flight.run_no, flight.key, flight.number, e.RETURNED, self._engine.now_us)
        )
        self._engine.residency.touch(resident)

    def cut_off(self) -> None:
        """Write down which attempts the end of the runtime cuts off: no crash is to blame."""
        for flight in self._engine.flights.by_token.values():
            state = e.STOPPED if flight.begun else e.RETURNED
            self._engine.batch.writes.attempts.append(
                Attempt(
                    flight.run_no,
                    flight.key,
                    flight.number,
                    state,
                    self._engine.now_us,
                    details=flight.said,
                )
            )

    def landing(self, flight: Flight) -> Resident | None:
        """Take an attempt out of the air; return its run if that still waits for it."""
        self._engine.queues.left(flight)
        self._engine.batch.landed.append(flight.token)
        resident = self._engine.residency.live.get(flight.run_no) or self._engine.resident(
            flight.run_no
        )
        if resident is None or flight.key not in resident.machine.operations:
            return None
        return resident

    def _land(self, flight: Flight, value: str | None, error: str | None) -> None:
        resident = self.landing(flight)
        if resident is not None:
            if resident.deadlines:
                resident.deadlines.pop(flight.key, None)
            self._engine.answer(resident, resident.machine.operations[flight.key], value, error)


def activity_failed(call: Call[Any], number: int, cause: failure.Failure) -> failure.Failure:
    """Return what the workflow gets when an activity's last attempt failed with `cause`."""
    name = call.name
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
