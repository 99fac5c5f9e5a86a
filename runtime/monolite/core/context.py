"""What workflow code may ask: the time, random numbers, ids, who it is, a new run."""

from __future__ import annotations

import random as _random
import uuid as _uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from monolite.core.channel import machine_of


class Current(msgspec.Struct, frozen=True):
    """Which run the code is in. `attempt` counts the runs that had this id, from 1."""

    id: str
    name: str
    attempt: int
    parent: str | None
    version: int


def now() -> datetime:
    """Return the run's time (aware, UTC): the time of the event it is reacting to.

    The same in every replay; it stands still while the code runs without waiting.
    """
    return datetime.fromtimestamp(machine_of("monolite.now()").now_us / 1_000_000, UTC)


def random() -> _random.Random:
    """Return the run's random number generator, seeded from the run: the same in every replay."""
    found: _random.Random = machine_of("monolite.random()").random
    return found


def uuid4() -> _uuid.UUID:
    """Return a new UUID from the run's own generator: the same in every replay."""
    made: _uuid.UUID = machine_of("monolite.uuid4()").uuid4()
    return made


def patched(id: str) -> bool:
    """Return whether this run takes the new path named `id`: code changed under open runs.

    True in runs that come by for the first time now (which is recorded, so that it stays so),
    False in those that went by before the code had it.

        if monolite.patched("ship-by-air"):
            await ship_by_air(o)
        else:
            await ship(o)
    """
    answer: bool = machine_of("monolite.patched()").patched(id)
    return answer


def current() -> Current:
    """Return which run this code is in."""
    run: Any = machine_of("monolite.current()").run
    return Current(run.id, run.name, run.generation, run.parent_id, run.version)
