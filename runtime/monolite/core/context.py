"""What workflow code may ask: the time, random numbers, ids, who it is, a new run.

Outside of workflows and turns there is nothing to repeat: there the answers are real ones, so
that workflow code can be tested bare, and called from activities.
"""

from __future__ import annotations

import random as _random
import uuid as _uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from monolite.core.admission import check_id
from monolite.core.attempt import current_attempt
from monolite.core.loop import running_loop
from monolite.errors import Misused


class Current(msgspec.Struct, frozen=True):
    """Which run the code is in. `attempt` counts the runs that had this id, from 1."""

    id: str = ""
    name: str = ""
    attempt: int = 1
    parent: str | None = None
    version: int = 1


def _machine() -> Any:
    """Return the machine of the workflow or turn that is running, if one is."""
    loop = running_loop()
    return None if loop is None else loop.owner


def now() -> datetime:
    """Return the run's time (aware, UTC): the time of the event it is reacting to.

    The same in every replay; it stands still while the code runs without waiting. Outside of
    workflows and turns, an activity included, it is the real time.
    """
    machine = _machine()
    if machine is None:
        return datetime.now(UTC)
    return datetime.fromtimestamp(machine.now_us / 1_000_000, UTC)


def random() -> _random.Random:
    """Return the run's random number generator, seeded from the run: the same in every replay.

    Outside of workflows and turns it is a fresh one, which nobody can foretell.
    """
    machine = _machine()
    found: _random.Random = _random.Random() if machine is None else machine.random
    return found


def uuid4() -> _uuid.UUID:
    """Return a new UUID from the run's own generator: the same in every replay.

    Outside of workflows and turns it is `uuid.uuid4()`.
    """
    machine = _machine()
    made: _uuid.UUID = _uuid.uuid4() if machine is None else machine.uuid4()
    return made


def patched(id: str) -> bool:
    """Return whether this run takes the new path named `id`: code changed under open runs.

    True in runs that come by for the first time now (which is recorded, so that it stays so),
    False in those that went by before the code had it.

        if monolite.patched("ship-by-air"):
            await ship_by_air(o)
        else:
            await ship(o)

    Outside of workflows it is true.
    """
    check_id(id, "name of a patch")
    machine = _machine()
    answer: bool = machine is None or machine.patched(id)
    return answer


def current() -> Current:
    """Return which run this code is in; outside any runtime, a first run with an empty id.

    In an activity use `monolite.attempt()`, which knows the run that it works for.
    """
    machine = _machine()
    if machine is None:
        if current_attempt.get() is not None:
            msg = (
                "monolite.current() works inside a workflow; in an activity use "
                "monolite.attempt(), whose workflow_id is the run that it works for"
            )
            raise Misused(msg)
        return Current()
    run: Any = machine.run
    return Current(run.id, run.name, run.generation, run.parent_id, run.version)
