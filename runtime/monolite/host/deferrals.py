"""Deferrals: activities whose function has returned, and whose outcome comes from elsewhere.

`attempt().defer()` hands out a token, which is the activity's, not the attempt's: whoever has it
answers once, from any process, before or after the function has returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.admission import receive
from monolite.core.command import Operation
from monolite.core.entry import Accepted, Attempt, Run
from monolite.core.promise import Answer
from monolite.host.events import Deferred
from monolite.host.flights import Flight
from monolite.host.landings import activity_failed
from monolite.host.resident import Resident
from monolite.store.protocol import Message

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Deferrals:
    """The activities of one engine that are answered from elsewhere."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_deferred(self, event: Deferred) -> None:
        engine = self._engine
        flight = engine.flights.by_token.get(event.token)
        resident = None if flight is None else engine.landings.landing(flight)
        if flight is None or resident is None:
            return
        engine.queues.left(flight, succeeded=True)
        resident.machine.operations[flight.key].flight = None
        self.hold(resident, flight.key, flight.number)
        row = (flight.run_no, flight.key, flight.number, e.DEFERRED, engine.now_us)
        engine.batch.writes.attempts.append(Attempt(*row, details=flight.said))
        engine.residency.touch(resident)

    def hold(self, resident: Resident, key: str, number: int) -> None:
        """Keep an activity open whose attempt `number` has returned without an outcome."""
        if resident.deferred is None:
            resident.deferred = {}
        resident.deferred[key] = number
        if resident.deadlines and key in resident.deadlines:
            resident.deadlines[key].start_us = None

    def accept(self, run: Run, channel: str, value: str, message_id: str | None) -> Accepted:
        """Take an answer, if it is the first and the activity still waits for one."""
        engine = self._engine
        duplicate = engine.inbox.knows(run, message_id)
        if duplicate or run.ended:
            return receive(run, duplicate=duplicate)
        resident = engine.resident(run.no)
        if resident is not None and self._asked(resident, channel) is None:
            reason = f"nothing in {run.id} waits for this answer any more"
            return Accepted(accepted=False, reason=reason)
        engine.inbox.post(run, e.ANSWER, channel, value, message_id)
        return Accepted(accepted=True)

    def deliver(self, resident: Resident, message: Message) -> None:
        """Answer the activity that a message is for; it may have been given up meanwhile."""
        engine = self._engine
        operation = self._asked(resident, message.channel)
        if operation is None or operation.call is None:
            return
        answer = msgspec.json.decode(message.value, type=Answer)
        number = self._number(resident, operation)
        flight: Flight | None = operation.flight
        if flight is not None and flight.token in engine.flights.by_token:
            # Its function may come to its end; what it returns is not heard.
            engine.batch.landed.append(flight.token)
            engine.queues.left(flight, succeeded=True)
            operation.flight = None
        if answer.error is not None and operation.call.opts.on_exhausted == "block":
            engine.launches.abandon(resident, operation, keep_deadline=True)
            error = failure.encode(answer.error)
            engine.blocks.block(resident, operation, number, number, error, fresh=True)
            return
        engine.launches.abandon(resident, operation)
        if answer.error is None:
            engine.answer(resident, operation, bytes(answer.value).decode(), None)
        else:
            failed = activity_failed(operation.call, number, answer.error)
            engine.answer(resident, operation, None, failure.encode(failed))

    def _asked(self, resident: Resident, channel: str) -> Operation | None:
        key, _, generation = channel.rpartition("@")
        operation = resident.machine.operations.get(key)
        if operation is None or operation.kind != e.ACTIVITY:
            return None
        return operation if generation == str(resident.run.generation) else None

    def _number(self, resident: Resident, operation: Operation) -> int:
        flight: Flight | None = operation.flight
        if flight is not None:
            return flight.number
        waiting = resident.retrying.get(operation.key)
        blocked = (resident.blocked or {}).get(operation.key)
        if waiting is not None:
            return waiting.number - 1
        return blocked.number if blocked else (resident.deferred or {}).get(operation.key, 1)
