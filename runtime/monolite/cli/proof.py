"""The proof: what the journal and the effects say of each step before and after a kill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from monolite.cli.effects import Effect

REPLAYED = "replayed"
CUT_OFF = "cut off"
AFTER = "after"


class Step(msgspec.Struct, frozen=True):
    """One activity of the run, and the attempts at it that left a line, oldest first.

    Its `fate` is "replayed" if its outcome was in the journal at the kill, "cut off" if an
    attempt was running then, and "after" if the first process never ran it.
    """

    operation: str
    fate: str
    attempts: list[Effect]

    @property
    def name(self) -> str:
        return self.operation.partition("#")[0]

    def holds(self, killed: int, resumed: int) -> bool:
        """Return whether the attempts are what monolite promises for the step's fate."""
        pids = [attempt.pid for attempt in self.attempts]
        if self.fate == REPLAYED:
            return pids == [killed]
        if self.fate == AFTER:
            return pids == [resumed]
        again = self.attempts[-1]
        same_key = len({attempt.key for attempt in self.attempts}) == 1
        return pids == [killed, resumed] and again.interrupted and same_key


class Proof(msgspec.Struct, frozen=True):
    """Every step of a run that was killed as process `killed` and finished as `resumed`."""

    killed: int
    resumed: int
    steps: list[Step]

    def of(self, fate: str) -> list[Step]:
        """Return the steps that met a fate."""
        return [step for step in self.steps if step.fate == fate]

    def broken(self) -> list[Step]:
        """Return the steps that break a promise."""
        return [step for step in self.steps if not step.holds(self.killed, self.resumed)]

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table: steps of one name and fate to a row, in the order of their fates."""
        groups: dict[tuple[str, str], list[Step]] = {}
        for fate in (REPLAYED, CUT_OFF, AFTER):
            for step in self.of(fate):
                groups.setdefault((step.name, fate), []).append(step)
        return [self._row(name, fate, steps) for (name, fate), steps in groups.items()]

    def _row(self, name: str, fate: str, steps: list[Step]) -> tuple[str, ...]:
        first, second = {
            REPLAYED: ("done", "replayed from the journal"),
            CUT_OFF: ("cut off by the kill", "run again, same idempotency key"),
            AFTER: ("-", "done"),
        }[fate]
        times = sorted({len(step.attempts) for step in steps})
        return (name, str(len(steps)), first, second, " or ".join(f"{n}x" for n in times))


def prove(
    operations: Iterable[str],
    journaled: set[str],
    effects: Sequence[Effect],
    *,
    killed: int,
    resumed: int,
) -> Proof:
    """Compare the run's operations with those journaled at the kill, and with the effects."""
    by_operation: dict[str, list[Effect]] = {operation: [] for operation in operations}
    for effect in effects:
        by_operation.setdefault(effect.operation, []).append(effect)
    steps = [
        Step(operation, _fate(operation in journaled, attempts, killed), attempts)
        for operation, attempts in by_operation.items()
    ]
    return Proof(killed, resumed, steps)


def _fate(journaled: bool, attempts: list[Effect], killed: int) -> str:  # noqa: FBT001
    if journaled:
        return REPLAYED
    return CUT_OFF if any(attempt.pid == killed for attempt in attempts) else AFTER
