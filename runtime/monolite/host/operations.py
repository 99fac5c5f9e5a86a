"""Operations: carrying out what runs ask for, and taking it up again after a crash."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.admission import Admission, admit
from monolite.core.command import Detach, Operation
from monolite.core.entry import Run
from monolite.core.payload import encode
from monolite.core.place import Place
from monolite.core.spawn import child_id, workflow_of
from monolite.core.turn import ActorMachine
from monolite.errors import (
    ActivityFailed,
    AlreadyExists,
    CommitUnknown,
    Fenced,
    Misused,
    Rejected,
    UnknownWorkflow,
)
from monolite.host.ending import ended_by, to_waiter, unknown
from monolite.host.inbox import ask_id, question
from monolite.host.resident import Resident
from monolite.store.protocol import Link, RolledBack

if TYPE_CHECKING:
    from monolite.host.engine import Engine


_WAITS = (e.ASK, e.CHILD, e.RESULT)
"""Operations that wait for another run."""


class Operations:
    """What the runs of one engine asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def carry_out(self, resident: Resident, operation: Operation) -> None:
        kind = operation.kind
        if kind == e.ACTIVITY:
            self._engine.launches.first(resident, operation)
        elif kind == e.CHILD:
            self._engine.work.append(partial(self._start_child, resident, operation))
        elif kind == e.SEND:
            self._engine.work.append(partial(self._send, resident, operation))
        elif kind == e.SPAWN:
            self._engine.work.append(partial(self._spawn, resident, operation))
        elif kind == e.TRANSACTION:
            self._engine.urgent.append(partial(self._transact, resident, operation))
        elif kind == e.ASK:
            self._engine.work.append(partial(self._ask, resident, operation))
        elif kind == e.QUERY:
            self._engine.work.append(partial(self._query, resident, operation))
        else:
            assert kind == e.RESULT, f"operation of unknown kind {kind!r}"
            self._engine.work.append(partial(self._link, resident, operation))

    def resume(self, resident: Resident, operation: Operation) -> None:
        """Take up an operation that a replayed run still waits for."""
        no = resident.run.no
        if operation.kind == e.ACTIVITY:
            operation.flight = self._engine.flights.claim(no, operation.key)
            if operation.flight is None:
                self._engine.launches.recover(resident, operation)
            else:
                self._engine.deadlines.set(resident, operation)
        elif operation.kind == e.CHILD:
            self._resume_child(resident, operation)
        elif operation.kind == e.RESULT:
            links = self._engine.links.values()
            if not any(x.waiter_no == no and x.key == operation.key for y in links for x in y):
                self.carry_out(resident, operation)
        elif operation.kind == e.ASK:
            self._resume_ask(resident, operation)
        else:
            self.carry_out(resident, operation)

    def unpause(self, resident: Resident) -> None:
        """Take up what a paused run asked for."""
        for operation in list(resident.machine.operations.values()):
            waits = operation.flight is not None or operation.key in resident.retrying
            waits = waits or self._engine.queues.unshelve(resident.run.no, operation.key)
            waits = waits or operation.key in (resident.blocked or {})
            waits = waits or operation.key in (resident.deferred or {})
            if operation.kind == e.ACTIVITY and not waits:
                self._engine.launches.recover(resident, operation)
        self._engine.deadlines.expire(resident)

    def _resume_child(self, parent: Resident, operation: Operation) -> None:
        """Wait for a child again; its end may have come while the parent could not take it."""
        run = parent.run
        if operation.target is None:
            operation.target = child_id(run.id, run.generation, operation.key)
        child = self._engine.newest(operation.target)
        if child is None:
            self.carry_out(parent, operation)
        elif child.parent_no != run.no or child.parent_key != operation.key:
            # Somebody restarted the child under its id, which terminated ours.
            reason = ended_by("Terminated", child.id, '"restarted"')
            error = failure.encode(reason)
            self._engine.work.append(
                partial(self._engine.answer_run, run.no, operation.key, None, error)
            )
        elif child.ended:
            self._engine.work.append(
                partial(self._engine.answer_run, run.no, operation.key, *to_waiter(child))
            )

    def _start_child(self, parent: Resident, operation: Operation) -> None:
        if parent.machine.operations.get(operation.key) is not operation:
            return
        call = operation.call
        assert call is not None
        try:
            definition = self._engine.registry.find(call.definition.name, workflow_of(call).version)
        except UnknownWorkflow as error:
            text = failure.encode(failure.describe(error))
            self._engine.answer(parent, operation, None, text)
            return
        id = child_id(parent.run.id, parent.run.generation, operation.key)
        taken = self._taken(id)
        if taken is not None:
            why = f"the id {id!r} of this child is taken by a {taken.name!r} run"
            text = failure.encode(failure.describe(AlreadyExists(why)))
            self._engine.answer(parent, operation, None, text)
            return
        place = call.opts.place()
        if self._has_no_queue(parent, operation, place):
            return
        operation.target = id
        run = self._engine.births.new_run(
            id,
            definition.name,
            definition.version,
            operation.payload,
            parent=parent.run,
            parent_key=operation.key,
            place=place,
        )
        if place is None:
            self._engine.births.begin(run, definition)

    def _has_no_queue(self, parent: Resident, operation: Operation, place: Place | None) -> bool:
        """Answer a request for a queue that nobody declared with what is wrong."""
        try:
            if place is not None:
                self._engine.queues.check(place.queue)
        except Misused as error:
            text = failure.encode(failure.describe(error))
            self._engine.answer(parent, operation, None, text)
            return True
        return False

    def _taken(self, id: str) -> Run | None:
        """Return the run that has an id which only a child should have.

        Whoever took it made the commit fail: only then is it worth looking in the file.
        """
        batch = self._engine.batch
        return self._engine.newest(id) if batch.careful else batch.created.get(id)

    def detach(self, parent: Resident, command: Detach) -> None:
        if self._taken(command.id) is not None:
            return  # nobody waits for an answer that could say so
        version = workflow_of(command.call).version
        name = command.call.definition.name
        run = self._engine.births.new_run(
            command.id,
            name,
            version,
            command.payload,
            parent=parent.run,
            place=command.call.opts.place(),
        )
        if run.queue is None:
            self._engine.work.append(partial(self.begin_spawned, run))

    def begin_spawned(self, run: Run) -> None:
        if run.no in self._engine.residency or run.ended:
            return
        definition = self._engine.registry.get(run.name, run.version)
        if definition is None:
            # A detached child: nobody waits for an answer that could say so.
            self._engine.park(run, e.STRANDED, f"no code for {run.name!r}")
        else:
            self._engine.births.begin(run, definition)

    def put_off(self, run: Run) -> None:
        """Write a run of this turn as one that is still to begin: its code has asked nothing."""
        if not run.ended:
            run.status, run.started_us, run.wake_at_us = e.QUEUED, None, self._engine.now_us
            self._engine.must_look_outside = True

    def _spawn(self, parent: Resident, operation: Operation) -> None:
        """Carry out a spawn under an id that others may use too."""
        if parent.machine.operations.get(operation.key) is not operation:
            return
        call, id = operation.call, operation.target
        assert call is not None
        assert id is not None
        id_conflict = str(msgspec.json.decode(operation.payload)[1])
        existing = self._engine.newest(id)
        try:
            definition = self._engine.registry.find(call.definition.name, workflow_of(call).version)
            verdict = admit(existing, id, definition.name, id_conflict)
        except Exception as error:  # noqa: BLE001 - recorded as the spawn's failure
            text = failure.encode(failure.describe(error))
            self._engine.answer(parent, operation, None, text)
            return
        if verdict is Admission.ATTACH:
            self._engine.answer(parent, operation, e.JOINED, None)
            return
        place = call.opts.place()
        if self._has_no_queue(parent, operation, place):
            return
        self._engine.births.replace(existing)
        run = self._engine.births.new_run(
            id,
            definition.name,
            definition.version,
            operation.child_payload or "[]",
            generation=existing.generation + 1 if existing else 1,
            parent=parent.run,
            parent_key=None if operation.detached else operation.child_key,
            place=place,
        )
        self._engine.answer(parent, operation, e.JOINED if operation.detached else e.LINKED, None)
        if place is None:
            self._engine.work.append(partial(self.begin_spawned, run))

    def _send(self, sender: Resident, operation: Operation) -> None:
        if sender.machine.operations.get(operation.key) is not operation:
            return
        id, kind, channel, message_id, raw = msgspec.json.decode(
            operation.payload, type=tuple[str, str, str, str | None, msgspec.Raw]
        )
        try:
            accepted = self._engine.inbox.accept(id, kind, channel, bytes(raw).decode(), message_id)
        except UnknownWorkflow as error:
            self._engine.answer(sender, operation, None, failure.encode(failure.describe(error)))
        else:
            self._engine.answer(sender, operation, msgspec.json.encode(accepted).decode(), None)

    def _ask(self, asker: Resident, operation: Operation) -> None:
        """Put a question into another run's inbox; its answer is the operation's entry."""
        engine = self._engine
        if asker.machine.operations.get(operation.key) is not operation:
            return
        id, kind, channel, value, actor = question(operation.payload)
        message_id = ask_id(asker.run.no, operation.key)
        try:
            self.refuse_cycle(asker.run.id, id)
            accepted = engine.inbox.accept(id, kind, channel, value, message_id, actor=actor)
            if not accepted.accepted:
                raise Rejected(accepted.reason)
        except (UnknownWorkflow, Rejected, Misused) as error:
            engine.answer(asker, operation, None, failure.encode(failure.describe(error)))

    def _transact(self, resident: Resident, operation: Operation) -> None:
        """Run a function on the application's tables, in the transaction of this turn's commit."""
        engine, call = self._engine, operation.call
        if resident.machine.operations.get(operation.key) is not operation:
            return
        assert call is not None
        if isinstance(resident.machine, ActorMachine) and engine.transacting != resident.run.no:
            engine.store.mark()
            engine.transacting = resident.run.no
        engine.transacted = True
        definition = call.definition

        def act(db: Any) -> str:
            args, kwargs = definition.signature.decode(operation.payload)
            return encode(definition.fn(db, *args, **kwargs), definition.result_name)

        place = (resident.run.id, resident.run.generation, operation.key)
        spoilt = engine.spoilt.get(place)
        if spoilt is not None:
            engine.answer(resident, operation, None, spoilt)
            return
        engine.executing[0] = resident.run.no
        try:
            value = engine.store.transact(act)
        except (Fenced, CommitUnknown):
            raise
        except RolledBack as error:
            told = Misused(f"{call.name} rolled the whole turn back: {error.__cause__}")
            failed = failure.describe(ActivityFailed(call.name, 1, told))
            engine.spoilt[place] = failure.encode(failed)
            raise
        except Exception as error:  # noqa: BLE001 - recorded as the transaction's failure
            failed = failure.describe(ActivityFailed(call.name, 1, error))
            engine.answer(resident, operation, None, failure.encode(failed))
        else:
            engine.answer(resident, operation, value, None)
        finally:
            engine.executing[0] = 0

    def refuse_cycle(self, asker: str, id: str) -> None:
        """Raise Misused if the actor that is asked waits, through others, for the one that asks."""
        paths = [[asker, id]]
        seen = {id}
        while paths:
            path = paths.pop()
            if path[-1] == asker:
                msg = (
                    f"{' asks '.join(path)}: each would wait for the other for ever; "
                    "send() the message instead, or pass on what the other needs"
                )
                raise Misused(msg)
            found = [x for x in self._awaited_by(path[-1]) if x not in seen]
            seen.update(found)
            paths += [[*path, x] for x in found]

    def _awaited_by(self, id: str) -> list[str]:
        """Return the runs whose answer or end the code of another waits for now."""
        run = self._engine.newest(id)
        waiting = None if run is None or run.ended else self._engine.resident(run.no)
        if waiting is None:
            return []
        operations = waiting.machine.operations.values()
        found = [o.target for o in operations if o.kind in _WAITS and o.target and o.is_awaited]
        if any(o.kind == e.ACTIVITY and o.is_awaited for o in operations):
            found += self._engine.audience.asked_by(id)
        return found

    def _query(self, asker: Resident, operation: Operation) -> None:
        """Answer a run's query from an actor's committed state."""
        engine = self._engine
        if asker.machine.operations.get(operation.key) is not operation:
            return
        id, _, method, args, actor = question(operation.payload)
        try:
            value = engine.query(actor or "", id.partition("/")[2], method, args)
        except Exception as error:  # noqa: BLE001 - recorded as the query's failure
            engine.answer(asker, operation, None, failure.encode(failure.describe(error)))
        else:
            engine.answer(asker, operation, value, None)

    def _resume_ask(self, asker: Resident, operation: Operation) -> None:
        engine = self._engine
        target = engine.newest(operation.target or "")
        message_id = ask_id(asker.run.no, operation.key)
        known = None if target is None else engine.store.answer(target, message_id)
        if known is None:
            self.carry_out(asker, operation)
        elif known != (None, None):
            engine.work.append(partial(engine.answer_run, asker.run.no, operation.key, *known))

    def _link(self, waiter: Resident, operation: Operation) -> None:
        if waiter.machine.operations.get(operation.key) is not operation:
            return
        assert operation.target is not None
        run = self._engine.newest(operation.target)
        if run is None:
            text = failure.encode(failure.describe(unknown(operation.target)))
            self._engine.answer(waiter, operation, None, text)
        elif run.ended:
            self._engine.answer(waiter, operation, *to_waiter(run))
        else:
            link = Link(run.no, waiter.run.no, operation.key)
            self._engine.batch.writes.links.append(link)
            self._engine.batch.links.setdefault(run.no, []).append(link)

    def abandon(self, resident: Resident, operation: Operation) -> None:
        """Stop what nobody waits for any more."""
        self._engine.launches.abandon(resident, operation)
        if operation.kind == e.CHILD and operation.target is not None:
            self._engine.work.append(partial(self.cancel_child, operation.target))

    def cancel_child(self, id: str) -> None:
        run = self._engine.newest(id)
        if run is not None and not run.ended:
            self._engine.inbox.post(run, e.CANCEL, "", '"its parent no longer waits for it"', None)
