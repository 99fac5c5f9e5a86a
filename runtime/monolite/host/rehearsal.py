"""Rehearsals: recorded runs played again by today's code, without any effect.

Reads the file as the inspector does and changes nothing. Runs that have ended are played too:
today's code must ask for the same things in the same order, and come to the same end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import msgspec

from monolite.core import entry as e
from monolite.core import failure, guard
from monolite.core.actor import ActorType
from monolite.core.definition import Workflow
from monolite.core.entry import Run
from monolite.core.machine import Machine
from monolite.core.turn import ActorMachine
from monolite.errors import Diverged, UnknownWorkflow
from monolite.host import audit, order
from monolite.host.registry import Registry
from monolite.host.report import when
from monolite.store.protocol import RunFilter
from monolite.store.sqlite.inspector import Inspector, inspect

OK = "ok"
DIVERGED = "diverged"
NO_CODE = "no code"

RUNS_PAGE = 500
"""Rows of runs read at a time."""

ENTRIES_PAGE = 1_000
"""Journal entries in memory at a time."""

SHOWN_MAX = 20
"""Runs that a rehearsal names when it is printed; the counts tell how many there are."""


class Replayed(msgspec.Struct, frozen=True):
    """What came of one run: `status` is "ok", "diverged" or "no code".

    Of a diverged one, `expected` is what the journal holds, `actual` what the code asks for now
    and where, `at` the place in the journal.
    """

    id: str
    name: str
    generation: int
    status: str
    expected: str = ""
    actual: str = ""
    at: str = ""

    def __str__(self) -> str:
        if self.status == OK:
            return f"{self.id} ({self.name}): ok"
        if self.status == NO_CODE:
            return f"{self.id} ({self.name}): {self.actual}"
        return (
            f"{self.id} ({self.name}): diverged at {self.at}\n"
            f"    the journal holds {self.expected}\n"
            f"    the code asks for {self.actual}"
        )


class Rehearsal(msgspec.Struct, frozen=True):
    """What came of the runs of a file, oldest first."""

    file: str
    runs: list[Replayed]

    @property
    def ok(self) -> bool:
        """Whether no run diverged. One without code is not held against the code there is."""
        return not any(run.status == DIVERGED for run in self.runs)

    @property
    def diverged(self) -> list[Replayed]:
        """The runs that today's code does not fit."""
        return [run for run in self.runs if run.status == DIVERGED]

    def check(self) -> Self:
        """Raise AssertionError, with the differences, if a run diverged; else return itself."""
        if not self.ok:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        counts = Counter(run.status for run in self.runs)
        words = ", ".join(f"{counts[s]} {s}" for s in (OK, DIVERGED, NO_CODE) if counts[s])
        lines = [f"{self.file}: {words or 'no runs'}"]
        told = [run for run in self.runs if run.status != OK]
        lines += [str(run) for run in told[:SHOWN_MAX]]
        if len(told) > SHOWN_MAX:
            lines.append(f"and {len(told) - SHOWN_MAX} more")
        return "\n".join(lines)


def replay(
    file: str | Path, *actors: ModuleType | Workflow[Any, Any] | type | Iterable[Any], id: str = ""
) -> Rehearsal:
    """Play every recorded run of a file, or the newest of one `id`, on today's code.

    `actors` are modules, workflows and actor classes, or lists of them. Nothing has any effect,
    and the file stays as it is, to the byte. Of an actor, the turn that waits is played. Raises
    UnknownWorkflow if there is no run of that id.
    """
    audit.complete()
    guard.install()
    order.pin()
    registry = Registry(_flat(actors))
    path = Path(file)
    # On a thread of its own: workflow code cannot run inside another event loop.
    with ThreadPoolExecutor(1, "monolite-replay") as thread:
        runs = thread.submit(inspect, path, lambda found: _play_all(found, registry, id)).result()
    return Rehearsal(str(path), runs)


def _flat(actors: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for actor in actors:
        if isinstance(actor, (list, tuple, set, frozenset)):
            found += actor
        else:
            found.append(actor)
    return found


def _play_all(inspector: Inspector, registry: Registry, id: str) -> list[Replayed]:
    if id:
        run = inspector.run_by_id(id)
        if run is None:
            msg = f"no run has the id {id!r}; see `monolite ls` for those there are"
            raise UnknownWorkflow(msg)
        return [_play(inspector, registry, run)]
    played: list[Replayed] = []
    before_no: int | None = None
    while True:
        page = inspector.runs(RunFilter(limit=RUNS_PAGE, before_no=before_no))
        played += [_play(inspector, registry, run) for run in page]
        if len(page) < RUNS_PAGE:
            return played[::-1]
        before_no = page[-1].no


def _play(inspector: Inspector, registry: Registry, run: Run) -> Replayed:
    definition = registry.get(run.name, run.version) or registry.get_actor(run.name)
    if definition is None:
        return _verdict(run, NO_CODE, actual=f"no code for {run.name!r}")
    if run.started_us is None:
        return _verdict(run, OK)  # it has not begun, so any code fits
    try:
        machine = _machine(inspector, run, definition)
    except Exception as error:  # noqa: BLE001 - a migration is the user's code
        return _verdict(
            run, DIVERGED, "its stored state", f"{type(error).__name__}: {error}", run.id
        )
    try:
        _feed(inspector, machine)
        _check_end(machine, run)
    except Diverged as error:
        return _verdict(run, DIVERGED, error.expected, error.actual, error.at)
    except Exception as error:  # noqa: BLE001 - a row that cannot be read is this run's own trouble
        at = f"{run.id} entry {machine.next_n}"
        return _verdict(run, DIVERGED, "an entry", f"{type(error).__name__}: {error}", at)
    finally:
        machine.unload()
    return _verdict(run, OK)


def _verdict(run: Run, status: str, expected: str = "", actual: str = "", at: str = "") -> Replayed:
    return Replayed(run.id, run.name, run.generation, status, expected, actual, at)


def _machine(inspector: Inspector, run: Run, definition: Workflow[Any, Any] | ActorType) -> Machine:
    """Return the machine that the engine would bring a run back with, at its beginning."""
    if isinstance(definition, ActorType):
        stored = inspector.state(run.no)
        if stored is None:
            machine: Machine = ActorMachine(run, definition, None, definition.version, 0)
        else:
            machine = ActorMachine(run, definition, stored.state, stored.version, stored.retired_n)
    else:
        machine = Machine(run, definition)
    machine.replaying = True
    machine.patches = set(inspector.patches(run.no))
    machine.start(run.started_us or run.created_us)
    return machine


def _feed(inspector: Inspector, machine: Machine) -> None:
    while True:
        page = inspector.entries(machine.run.no, machine.next_n, ENTRIES_PAGE)
        for entry in page:
            if entry.kind == e.TERMINATE:
                return  # it ended the run without its code
            machine.deliver(entry)
        if len(page) < ENTRIES_PAGE:
            return


def _check_end(machine: Machine, run: Run) -> None:
    """Raise Diverged if the code does not end as the run did."""
    outcome = machine.outcome
    if run.status == e.TERMINATED or isinstance(machine, ActorMachine):
        return
    recorded = _ending(run.status, run.value, run.error)
    at = f"{run.id}, at its end" + ("" if run.ended_us is None else f" at {when(run.ended_us)}")
    if not run.ended:
        if outcome is not None:
            now = _ending(outcome.status, outcome.value, outcome.error)
            raise Diverged(f"a run that waits for {run.waiting_on or 'more'}", now, at)
    elif outcome is None:
        raise Diverged(recorded, machine.asks_for(), at)
    elif _ending(outcome.status, outcome.value, outcome.error) != recorded:
        raise Diverged(recorded, _ending(outcome.status, outcome.value, outcome.error), at)


def _ending(status: str, value: str | None, error: str | None) -> str:
    """Return how a run ended, in words: what is compared of it."""
    if status == e.CONTINUED:
        return f"the run {e.CONTINUED} as new with {_clip(value or '')}"
    if status == e.COMPLETED:
        return f"the result {_clip(value or 'null')}"
    reason = "" if error is None else f": {failure.decode(error).summary()}"
    return f"the run {status}{reason}"


def _clip(text: str) -> str:
    return text if len(text) <= e.SHOWN_MAX else text[: e.SHOWN_MAX] + "..."
