"""A checkup: how a file is, and which of its runs need somebody's help."""

from __future__ import annotations

from pathlib import Path

import msgspec

from monolite.cli.state import age_s, waiting_on
from monolite.core import entry as e
from monolite.core.entry import Run
from monolite.host import report
from monolite.store.protocol import RunFilter
from monolite.store.sqlite.inspector import Inspector, log_bytes
from monolite.store.sqlite.owner import Owner

STUCK_MAX = 20
"""Runs named for each kind of trouble; the counts tell how many there are."""

TROUBLES = {e.STRANDED: "without code", e.DIVERGED: "diverged", e.BLOCKED: "blocked"}
"""The statuses of runs that cannot go on by themselves, and what to call them."""

REMEDIES = {
    e.STRANDED: "serve the modules that hold the code of the runs without code",
    e.DIVERGED: "bring back the code that the diverged runs began with (`monolite show --full` "
    "has the difference), and start the engine again",
    e.BLOCKED: "repair what the blocked runs failed at (`monolite show --full` has it), or "
    "cancel them",
}
"""What to do about them."""


class Oldest(msgspec.Struct, frozen=True):
    """The run that has been open for the longest time."""

    id: str
    age_s: float
    waiting_on: str


class Stuck(msgspec.Struct, frozen=True):
    """A run that cannot go on by itself."""

    id: str
    name: str
    trouble: str
    reason: str


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `problems` is empty if all is well."""

    file: str
    format: int
    file_id: str
    journal_mode: str
    file_bytes: int
    log_bytes: int
    defects: list[str]
    engine: str | None
    epoch: int
    counts: dict[str, int]
    oldest_open: Oldest | None
    undelivered: int
    stuck: list[Stuck]
    problems: list[str]
    next_steps: list[str]


def checkup(inspector: Inspector, path: Path, owner: Owner | None, now_us: int) -> Checkup:
    """Examine a file through one snapshot of it."""
    identity, counts, defects = inspector.identity(), inspector.counts(), inspector.defects()
    return Checkup(
        file=str(path),
        format=identity.format,
        file_id=identity.file_id,
        journal_mode=inspector.journal_mode(),
        file_bytes=path.stat().st_size,
        log_bytes=log_bytes(path),
        defects=defects,
        engine=None if owner is None else str(owner),
        epoch=identity.epoch,
        counts=_shown(counts),
        oldest_open=_oldest(inspector.oldest_open(), owner, now_us),
        undelivered=inspector.undelivered_count(),
        stuck=_stuck(inspector, counts),
        problems=_problems(counts, defects),
        next_steps=_next_steps(path, counts, defects, owner),
    )


def _shown(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts as other commands name the statuses: no code is one reason to wait."""
    shown = dict(counts)
    stranded = shown.pop(e.STRANDED, 0)
    if stranded:
        shown[e.WAITING] = shown.get(e.WAITING, 0) + stranded
    return shown


def _oldest(run: Run | None, owner: Owner | None, now_us: int) -> Oldest | None:
    if run is None:
        return None
    return Oldest(run.id, age_s(run, now_us), waiting_on(run, owner))


def _stuck(inspector: Inspector, counts: dict[str, int]) -> list[Stuck]:
    statuses = [status for status in TROUBLES if counts.get(status)]
    return [
        Stuck(run.id, run.name, TROUBLES[status], _reason(run))
        for status in statuses
        for run in inspector.runs(RunFilter(status=status, limit=STUCK_MAX))
    ]


def _reason(run: Run) -> str:
    info = report.info(run)
    return info.waiting_on or info.error or "the file does not say why"


def _problems(counts: dict[str, int], defects: list[str]) -> list[str]:
    problems = ["the file is damaged"] if defects else []
    stuck = ", ".join(f"{counts[s]} {word}" for s, word in TROUBLES.items() if counts.get(s))
    return [*problems, f"runs that need help: {stuck}"] if stuck else problems


def _next_steps(
    path: Path, counts: dict[str, int], defects: list[str], owner: Owner | None
) -> list[str]:
    steps = ["restore the file from a backup, and keep this one aside"] if defects else []
    steps += [remedy for status, remedy in REMEDIES.items() if counts.get(status)]
    open_runs = sum(n for status, n in counts.items() if status not in e.ENDED)
    if open_runs and owner is None:
        steps.append(f"to go on with the open runs: monolite serve {path} MODULE")
    return steps
