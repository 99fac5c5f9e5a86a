"""Births: how a run comes into being: asked for by the host, numbered, begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monolite.core import entry as e
from monolite.core.actor import ActorType
from monolite.core.admission import Admission, admit
from monolite.core.definition import Workflow
from monolite.core.entry import Run, RunNo
from monolite.core.machine import Machine
from monolite.core.turn import ActorMachine
from monolite.host.events import Spawn
from monolite.host.resident import HOT, Resident

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Births:
    """Every new run of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next_no = (engine.store.max_run_no() // 2 + 1) * 2

    def on_spawn(self, event: Spawn) -> None:
        try:
            definition = self._engine.registry.find(event.name, event.version)
            existing = None if event.fresh else self._engine.newest(event.id)
            verdict = admit(existing, event.id, event.name, event.id_conflict)
        except Exception as error:  # noqa: BLE001 - the spawner's to handle
            self._engine.batch.refusals.append((event.reply, error))
            return
        if verdict is not Admission.ATTACH:
            self.replace(existing)
            run = self.new_run(
                event.id,
                event.name,
                definition.version,
                event.args,
                generation=existing.generation + 1 if existing else 1,
                delay_us=event.delay_us,
                attributes=event.attributes,
            )
            if not event.delay_us:
                self.begin(run, definition)
        self._engine.batch.answers.append((event.reply, event.id))

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
    ) -> Run:
        now_us = self._engine.now_us
        run = Run(
            no=RunNo(self._next_no),
            id=id,
            generation=generation,
            name=name,
            version=version,
            status=e.QUEUED if delay_us else e.RUNNING,
            args=args,
            created_us=now_us,
            started_us=None if delay_us else now_us,
            wake_at_us=now_us + delay_us if delay_us else 0,
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
