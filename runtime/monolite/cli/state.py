"""States: why a run is not done yet, as far as the file alone can tell."""

from __future__ import annotations

from monolite.core import entry as e
from monolite.core.entry import Run
from monolite.core.handle import Info
from monolite.host import report
from monolite.store.sqlite.owner import Owner


def waiting_on(run: Run, owner: Owner | None) -> str:
    """Return what an open run waits for; empty if it has ended or is on the move."""
    info = report.info(run)
    if run.ended or info.waiting_on:
        return info.waiting_on or ""
    if run.status == e.RUNNING and owner is None:
        return "an engine to go on with it"
    if run.status == e.PAUSED:
        return "somebody to resume it"
    return ""


def info_of(run: Run) -> Info:
    """Return what the file says of a run."""
    return report.info(run)


def age_s(run: Run, now_us: int) -> float:
    """Return how long ago a run was spawned; never negative, whatever the clocks did."""
    return max(0.0, (now_us - run.created_us) / 1_000_000)
