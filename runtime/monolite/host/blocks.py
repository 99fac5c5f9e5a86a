"""Blocks: what waits until somebody decides: retry it, skip it, or set its result.

An activity whose attempts have run out is held, with its reason, in the row of its last
attempt; the rest of its run goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.admission import can_begin_again, receive, unblock
from monolite.core.command import Operation
from monolite.core.entry import Accepted, Attempt, Run, RunNo
from monolite.errors import MonoliteError, PayloadInvalid
from monolite.host.resident import Blocked, Resident, Words
from monolite.store.protocol import Message

if TYPE_CHECKING:
    from monolite.host.engine import Engine

log = logging.getLogger("monolite.engine")


class Blocks:
    """What is blocked in the runs of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def block(
        self,
        resident: Resident,
        operation: Operation,
        number: int,
        failures: int,
        error: str,
        *,
        fresh: bool,
        said: str | None = None,
    ) -> None:
        """Hold an activity whose attempt `number` was its last, with what that came to."""
        engine, run, call = self._engine, resident.run, operation.call
        assert call is not None
        words = attempts.blocked_words(call.name, failures, failure.decode(error))
        if resident.blocked is None:
            resident.blocked = {}
        resident.blocked[operation.key] = Blocked(number, words, error)
        if resident.deadlines and operation.key in resident.deadlines:
            resident.deadlines[operation.key].start_us = None
        if fresh:
            log.info("%s is blocked: %s", run.id, words)
            row = Attempt(
                run.no, operation.key, number, e.BLOCKED, engine.now_us, None, error, said
            )
            engine.batch.writes.attempts.append(row)
            self._show(resident)

    def _show(self, resident: Resident) -> None:
        """Have the run's row say at once whether something in it is blocked."""
        engine = self._engine
        engine.residency.touch(resident)
        if not resident.paused and not resident.run.ended:
            resident.noted = words = resident.hot()
            resident.run.status = words.status
            engine.note(resident.run, words)

    def release(self, resident: Resident, key: str) -> Blocked | None:
        """Hold an activity no longer, as it was given up or is about to be answered."""
        found = (resident.blocked or {}).pop(key, None)
        if found is not None:
            no, now_us = resident.run.no, self._engine.now_us
            row = Attempt(no, key, found.number, e.RELEASED, now_us, None, found.error)
            self._engine.batch.writes.attempts.append(row)
        return found

    # Runs whose own code takes the process down.

    def is_quarantined(self, no: RunNo) -> bool:
        """Return whether a run's code may not be executed until somebody has it retried."""
        return self._engine.blames.get(no, 0) >= attempts.BLAMES_MAX

    def quarantine(self, run: Run) -> None:
        """Park a run whose code was being executed whenever the process died."""
        cause = attempts.quarantine(self._engine.blames[run.no], "execution")
        words = attempts.blocked_words(f"{run.name}, its own code,", 0, cause)
        waiting_on = f"{words}; monolite retry FILE {run.id}"
        if run.waiting_on != waiting_on:
            log.info("%s is blocked: %s", run.id, words)
        self._engine.park(run, e.BLOCKED, waiting_on, error=failure.encode(cause))

    def pardon(self, run: Run) -> None:
        """Let a run's code be executed again, from the next turn on.

        Not in this one: should the process die in it once more, that must be counted anew.
        """
        engine = self._engine
        engine.batch.writes.pardoned.append(run.no)
        status = e.QUEUED if run.started_us is None else e.RUNNING
        engine.note(run, Words(status, 0, None))

    # What people decide.

    def accept(self, run: Run, kind: str, key: str, value: str, message_id: str | None) -> Accepted:
        """Take a message that releases what is blocked, if something is."""
        engine = self._engine
        duplicate = engine.inbox.knows(run, message_id)
        if duplicate or (run.ended and not can_begin_again(run, kind)):
            return receive(run, duplicate=duplicate)
        if run.ended:
            return self._begin_again(run, message_id)
        resident = engine.resident(run.no)
        if resident is None and self.is_quarantined(run.no):
            found = unblock(run, kind, key, [], quarantined=True)
            if isinstance(found, Accepted):
                return found
            engine.inbox.post(run, kind, key, value, message_id)
            return Accepted(accepted=True)
        if resident is None:
            reason = f"{run.id} cannot run: {engine.residency.why_parked(run.no)}"
            return Accepted(accepted=False, reason=reason)
        blocked = list(resident.blocked or {})
        verdict = unblock(run, kind, key, blocked, quarantined=False)
        if isinstance(verdict, Accepted):
            return verdict
        try:
            self._check(resident, kind, verdict, value)
        except PayloadInvalid as error:
            return Accepted(accepted=False, reason=str(error))
        engine.inbox.post(run, kind, key, value, message_id)
        return Accepted(accepted=True)

    def _begin_again(self, run: Run, message_id: str | None) -> Accepted:
        """Spawn the next generation of a run that has failed."""
        engine = self._engine
        definition = engine.registry.find(run.name, run.version)
        following = engine.births.new_run(
            run.id,
            run.name,
            definition.version,
            run.args,
            generation=run.generation + 1,
            attributes=run.attributes,
        )
        if message_id is not None:
            engine.batch.message_ids.add((run.id, message_id))
            message = Message(following.no, e.RETRY, "", "null", engine.now_us, message_id, -1)
            engine.batch.writes.messages.append(message)
        engine.births.begin(following, definition)
        reason = f"spawned again, as generation {following.generation}"
        return Accepted(accepted=True, reason=reason)

    def _check(self, resident: Resident, kind: str, keys: list[str], value: str) -> None:
        """Raise PayloadInvalid if a result that is set is not of the activity's type."""
        for key in keys if kind == e.SET_RESULT else ():
            call = resident.machine.operations[key].call
            assert call is not None
            call.definition.signature.result.decode(value, f"result of {key}")

    def deliver(self, resident: Resident, message: Message) -> None:
        """Carry out what somebody decided; what it was about may have been released since."""
        run, kind = resident.run, message.kind
        blocked = list(resident.blocked or {})
        verdict = unblock(run, kind, message.channel, blocked, quarantined=False)
        try:
            keys = [] if isinstance(verdict, Accepted) else verdict
            self._check(resident, kind, keys, message.value)
        except PayloadInvalid as error:
            log.warning("%s stays blocked: %s", run.id, error)
            self._refuse(run, message, error)
            return
        for key in keys:
            operation = resident.machine.operations.get(key)
            held = self.release(resident, key)
            if operation is None or held is None:
                continue  # the code of one that was answered first gave this one up
            self._show(resident)
            if kind == e.RETRY:
                self._engine.launches.begin_again(resident, operation, held.number)
                continue
            if resident.deadlines:
                resident.deadlines.pop(key, None)
            answer = message.value if kind == e.SET_RESULT else None
            self._engine.answer(resident, operation, answer, None)

    def _refuse(self, run: Run, message: Message, error: MonoliteError) -> None:
        if message.message_id is not None:
            text = failure.encode(failure.describe(error))
            self._engine.inbox.reply(run, message.message_id, None, text)
