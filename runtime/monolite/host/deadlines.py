"""Deadlines: activities that took too long since they were asked for, queueing and all.

They count from the time of the entry at which the code asked, so that a replay finds the same
ones again and no row is needed. What limits a single attempt is the supervisor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monolite.core import failure
from monolite.core.command import Operation
from monolite.errors import ActivityTimedOut
from monolite.host.flights import Flight
from monolite.host.resident import Deadline, Resident

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Deadlines:
    """The deadlines of one engine's activities."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def set(self, resident: Resident, operation: Operation, *, begun: bool = False) -> None:
        """Note until when an activity must have begun and be over, if it has such limits."""
        assert operation.call is not None
        opts = operation.call.opts
        start_us = None if begun else _after(operation, opts.schedule_to_start_s)
        close_us = _after(operation, opts.schedule_to_close_s)
        if start_us is None and close_us is None:
            return
        if resident.deadlines is None:
            resident.deadlines = {}
        resident.deadlines[operation.key] = Deadline(start_us, close_us)

    def expire(self, resident: Resident) -> None:
        """Answer the activities of a run whose time is over."""
        now_us = self._engine.now_us
        for key, deadline in list((resident.deadlines or {}).items()):
            operation = resident.machine.operations.get(key)
            if operation is None or resident.run.ended:
                continue  # the code of one that was answered first gave this one up
            if deadline.start_us is not None and deadline.start_us <= now_us:
                if not _begun(resident, operation):
                    self._time_out(resident, operation, "schedule-to-start")
                    continue
                deadline.start_us = None
            if deadline.close_us is not None and deadline.close_us <= now_us:
                self._time_out(resident, operation, "schedule-to-close")

    def _time_out(self, resident: Resident, operation: Operation, kind: str) -> None:
        call, engine = operation.call, self._engine
        assert call is not None
        start_s, close_s = call.opts.schedule_to_start_s, call.opts.schedule_to_close_s
        limit_s = start_s if kind == "schedule-to-start" else close_s
        attempts = _attempts(resident, operation)
        error = ActivityTimedOut(kind, call.name, attempts, limit_s=limit_s)
        engine.launches.abandon(resident, operation)
        engine.answer(resident, operation, None, failure.encode(failure.describe(error)))


def _after(operation: Operation, limit_s: float | None) -> int | None:
    return None if limit_s is None else operation.asked_us + round(limit_s * 1_000_000)


def _begun(resident: Resident, operation: Operation) -> bool:
    """Return whether the code of an activity has been started, be it in an attempt before."""
    return _attempts(resident, operation) > 0


def _attempts(resident: Resident, operation: Operation) -> int:
    """Return how many attempts at an activity have begun."""
    flight: Flight | None = operation.flight
    if flight is not None:
        return flight.number if flight.begun else flight.number - 1
    blocked = (resident.blocked or {}).get(operation.key)
    if blocked is not None:
        return blocked.number
    if resident.deferred and operation.key in resident.deferred:
        return resident.deferred[operation.key]
    waiting = resident.retrying.get(operation.key)
    return 0 if waiting is None else waiting.number - 1
