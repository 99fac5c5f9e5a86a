"""Births: how a run comes into being: asked for by the host, numbered, begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monolite.core import entry as e
from monolite.core.actor import ActorType
from monolite.core.admission import Admission, admit, admit_to_queue
from monolite.core.definition import Workflow
from monolite.core.entry import Run, RunNo
from monolite.core.machine import Machine
from monolite.core.place import Place
from monolite.core.turn import ActorMachine
from monolite.errors import Misused
from monolite.host.events import RetryDead, Spawn
from monolite.host.resident import HOT, Resident

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Births:
    """Every new run of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next_no = (engine.store.max_run_no() // 2 + 1) * 2

    def on_spawn(self, event: Spawn) -> None:
        place = event.place
        try:
            definition = self._engine.registry.find(event.name, event.version)
            existing = None if event.fresh else self._engine.newest(event.id)
            if place is None:
                verdict = admit(existing, event.id, event.name, event.id_conflict)
            else:
                verdict = self._admit_to_queue(event, existing, place)
        except Exception as error:  # noqa: BLE001 - the spawner's to handle
            self._engine.batch.refusals.append((event.reply, error))
            return
        id, delay_us, since_us = event.id, event.delay_us, None
        waiting = None if place is None else self._waiting(place)
        if verdict is Admission.REPLACE and waiting is not None:
            since_us = waiting.queued_us  # the newer one takes its place
            reason = '"a newer one took its place"'
            self._engine.inbox.post(waiting, e.TERMINATE, "", reason, None)
        elif verdict in (Admission.JOIN, Admission.DEBOUNCE) and waiting is not None:
            id = waiting.id
        if verdict is Admission.DEBOUNCE and waiting is not None and place is not None:
            version = definition.version
            self._engine.duplicates.debounce(waiting, event, version, place.debounce_us)
        elif verdict in (Admission.CREATE, Admission.RESTART, Admission.REPLACE):
            self.replace(existing)
            run = self.new_run(
                event.id,
                event.name,
                definition.version,
                event.args,
                generation=existing.generation + 1 if existing else 1,
                delay_us=delay_us,
                attributes=event.attributes,
                place=place,
                since_us=since_us,
            )
            if run.status != e.QUEUED:
                self.begin(run, definition)
        self._engine.batch.answers.append((event.reply, id))

    def _admit_to_queue(self, event: Spawn, existing: Run | None, place: Place) -> Admission:
        self._engine.queues.check(place.queue)
        return admit_to_queue(
            existing,
            self._waiting(place),
            place,
            id=event.id,
            name=event.name,
            id_conflict=event.id_conflict,
        )

    def _waiting(self, place: Place) -> Run | None:
        """Return the run that waits under the same dedupe key."""
        if place.dedupe is None:
            return None
        return self._engine.duplicates.waiting(place.queue, place.dedupe)

    def retry_dead(self, event: RetryDead) -> None:
        """Queue failed runs again, each as the next generation of its id."""
        engine = self._engine
        try:
            engine.queues.check(event.queue)
        except Misused as error:
            engine.batch.refusals.append((event.reply, error))
            return
        retried: list[str] = []
        for dead in engine.store.dead(event.queue, event.limit):
            if dead.id not in engine.batch.created:
                definition = engine.registry.get(dead.name)
                self.new_run(
                    dead.id,
                    dead.name,
                    dead.version if definition is None else definition.version,
                    dead.args,
                    generation=dead.generation + 1,
                    attributes=dead.attributes,
                    place=Place(event.queue, dead.queue_key, dead.priority or 0),
                )
                retried.append(dead.id)
        engine.batch.answers.append((event.reply, retried))

    def replace(self, existing: Run | None) -> None:
        """Terminate the run that a restart replaces."""
        if existing is not None and not existing.ended:
            self._engine.inbox.post(existing, e.TERMINATE, "", '"restarted"', None)

    def new_run(
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
        place: Place | None = None,
        since_us: int | None = None,
    ) -> Run:
        """Write a new run; one with a `place` waits for its turn there."""
        now_us = self._engine.now_us
        waits = bool(delay_us) or place is not None
        run = Run(
            no=RunNo(self._next_no),
            id=id,
            generation=generation,
            name=name,
            version=version,
            status=e.QUEUED if waits else e.RUNNING,
            args=args,
            created_us=now_us,
            started_us=None if waits else now_us,
            wake_at_us=now_us + delay_us if delay_us else None if waits else 0,
            parent_no=parent.no if parent else None,
            parent_id=parent.id if parent else None,
            parent_key=parent_key,
            attributes=attributes,
            updated_us=now_us,
        )
        self._next_no += 2
        self._engine.batch.writes.runs.append(run)
        self._engine.batch.created[id] = run
        if delay_us:
            self._engine.residency.expect(now_us + delay_us)
        if place is not None:
            run.queue, run.queue_key, run.priority = place.queue, place.key, place.priority
            run.queued_us = now_us + delay_us if since_us is None else since_us
            run.dedupe = place.dedupe
            if run.dedupe is not None:
                self._engine.duplicates.stands(run)
            self._engine.queues.born(run)
        return run

    def begin(self, run: Run, definition: Workflow[Any, Any] | ActorType) -> Resident:
        """Start a run's code for the first time, or bring an actor into being."""
        if isinstance(definition, ActorType):
            return self._start(run, ActorMachine(run, definition, None, definition.version, 0))
        return self._start(run, Machine(run, definition))

    def _start(self, run: Run, machine: Machine) -> Resident:
        resident = Resident(run, machine, HOT)
        self._engine.residency.add(resident)
        self._engine.entering(run)
        resident.machine.start(self._engine.now_us)
        self._engine.absorb(resident)
        return resident
