"""Points: where a crash is tried, and what is noticed on the way there."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.position import where_waiting
from monolite.host.engine import Engine
from monolite.host.flights import Flight
from monolite.store.memory import MemoryStore
from monolite.store.protocol import RunFilter, Writes

BEFORE_COMMIT = "just before commit {n} ({what}), which is lost"
AFTER_COMMIT = "just after commit {n} ({what}), before anything of it was released"
BEFORE_BODY = "as {what} began"
AFTER_BODY = "as {what} had taken effect, before its outcome was recorded"

RUNS_MAX = 100_000
"""Runs whose end is compared."""

NAMED_MAX = 3
"""Things of one commit that are named."""


class Point(msgspec.Struct, frozen=True):
    """One moment to crash at: the `n`-th time that something of this kind happens."""

    kind: str
    n: int
    what: str = ""

    def __str__(self) -> str:
        return self.kind.format(n=self.n, what=self.what)


class Effect(msgspec.Struct, frozen=True):
    """One activity of one run: what has one idempotency key."""

    run: str
    run_no: int
    key: str
    name: str

    def __str__(self) -> str:
        return f"{self.key} of {self.run}"


class Ending(msgspec.Struct, frozen=True):
    """How a run ended and what it left behind."""

    status: str
    value: str | None
    error: str | None
    views: dict[str, str]
    state: str | None


class CrashingStore(MemoryStore):
    """A store in memory that says when it commits, and can be told to crash there."""

    def __init__(self) -> None:
        super().__init__()
        # Always the same, so that random numbers and idempotency keys are.
        self.file_id = "0" * 32
        self.commits: Callable[[str, Writes], None] | None = None

    def commit(self, writes: Writes) -> None:
        if self.commits is not None:
            self.commits(BEFORE_COMMIT, writes)
        super().commit(writes)
        if self.commits is not None:
            self.commits(AFTER_COMMIT, writes)

    def endings(self) -> dict[str, Ending]:
        """Return how every run ended, by id; of an actor, its state."""
        found: dict[str, Ending] = {}
        for run in self.runs(RunFilter(limit=RUNS_MAX)):
            if run.id in found:
                continue  # an earlier generation
            state = self.state(run.no)
            found[run.id] = Ending(
                run.status if run.ended or run.status == e.DIVERGED else "open",
                run.value,
                None if run.error is None else failure.decode(run.error).summary(),
                {name: value for (no, name), value in self._views.items() if no == run.no},
                None if state is None else state.state,
            )
        return found


class Killer(Protocol):
    """What can be killed: the virtual runtime."""

    def kill(self) -> NoReturn:
        """Die at this very place."""
        ...


class Witness:
    """Counts what happens, kills at the point it was given, and remembers effects."""

    def __init__(self, point: Point | None) -> None:
        self.point = point
        self.points: list[Point] = []
        """Where one can crash, in the order in which the places were passed."""
        self.crashed = False
        self.completed: Counter[Effect] = Counter()
        self.careless: Counter[Effect] = Counter()
        """Completed attempts that asked neither for their key nor whether they are a repetition."""
        self.places: dict[Effect, str] = {}
        self._aware: set[tuple[str, int]] = set()
        self._counts: Counter[str] = Counter()
        self._victim: Killer | None = None
        self._lock = threading.Lock()

    def watch(self, victim: Killer) -> None:
        """Begin to count."""
        self._victim = victim

    def look_away(self) -> None:
        """Count no more."""
        self._victim = None

    def _pass(self, kind: str, what: str) -> None:
        if self._victim is None:
            return
        with self._lock:
            self._counts[kind] += 1
            point = Point(kind, self._counts[kind], what)
            self.points.append(point)
            wanted = self.point
            die = wanted is not None and (kind, point.n) == (wanted.kind, wanted.n)
            self.crashed = self.crashed or die
        if die:
            self._victim.kill()

    # What the store says.

    def commits(self, kind: str, writes: Writes) -> None:
        self._pass(kind, _content(writes))

    # What the attempts say.

    def launched(self, flight: Flight, engine: Engine) -> None:
        place = _place(engine, flight)
        if place is not None:
            self.places.setdefault(_effect(flight), place)

    def begins(self, flight: Flight) -> None:
        self._pass(BEFORE_BODY, str(_effect(flight)))

    def asked_who(self, flight: Flight) -> None:
        with self._lock:
            self._aware.add((flight.idempotency_key, flight.number))

    def took_effect(self, flight: Flight) -> None:
        if self._victim is None:
            return
        effect = _effect(flight)
        with self._lock:
            self.completed[effect] += 1
            if (flight.idempotency_key, flight.number) not in self._aware:
                self.careless[effect] += 1
        self._pass(AFTER_BODY, str(effect))


def _effect(flight: Flight) -> Effect:
    return Effect(flight.workflow_id, flight.run_no, flight.key, flight.call.definition.name)


def _content(writes: Writes) -> str:
    """Return the most telling of what a commit writes, in words."""
    named = [f"{run.name} {run.id} spawned" for run in writes.runs]
    named += [row[4] for row in writes.journal]
    named += [f"{m.kind} {m.channel}".rstrip() for m in writes.messages]
    named += [f"{a.key} {a.state}" for a in writes.attempts]
    named += [f"run {end.status}" for end in writes.ends]
    named += ["what a run waits for"] * bool(writes.notes and not named)
    rest = ["..."] if len(named) > NAMED_MAX else []
    return ", ".join(named[:NAMED_MAX] + rest) or "a transaction"


def _place(engine: Engine, flight: Flight) -> str | None:
    """Return the line of user code that waits for an attempt."""
    resident = engine.residency.live.get(flight.run_no)
    if resident is None:
        return None
    operation = resident.machine.operations.get(flight.key)
    tasks: list[Any] = resident.machine.loop.live_tasks()
    asking = [task for task in tasks if getattr(task, "_fut_waiter", None) is operation]
    places = where_waiting(asking) or where_waiting(tasks)
    return places[0] if places else None
