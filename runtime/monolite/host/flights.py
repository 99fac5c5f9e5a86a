"""Flights: the attempts at activities that are running now, by token.

A token names one attempt. An outcome that comes with a token which has landed is late, and is
dropped: that is what fences threads that cannot be killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from monolite.core.call import Call
from monolite.core.entry import RunNo
from monolite.core.payload import encode
from monolite.core.promise import DEFERRED_PREFIX, make_token
from monolite.errors import Cancelled
from monolite.host.events import Beat


class Flight(msgspec.Struct, eq=False):
    """One attempt in flight: what the supervisor needs to run it, and what its code may ask."""

    token: int
    run_no: RunNo
    workflow_id: str
    key: str
    call: Call[Any]
    args: str
    number: int
    failures: int
    interrupted: bool
    recorded: bool
    file_id: str
    since_us: int
    runtime: Any = None
    report: Callable[[Any], None] | None = None
    """Where it tells the engine what it has to say while it runs."""
    skip: dict[str, int] = {}
    """Per stream, how many of the items it appends are in the file from attempts before."""
    begun: bool = False
    """Whether its code has started: until then it waits in a queue, for a thread or a worker."""
    cancelled: bool = False
    """Whether nobody wants its outcome any more; its code may ask, if it is still running."""
    known: str | None = None
    """What the attempts before it said last of how far they came, as JSON."""
    said: str | None = None
    """What it said itself, as JSON: perhaps newer than what the file has."""
    beat_s: float = 0.0
    """When it was last heard of, by the monotonic clock."""
    generation: int = 1
    """The generation of its run."""
    deferred: bool = False
    """Whether its outcome comes from elsewhere, whatever its function returns."""
    listening: bool = False
    """Whether the engine will look at what it says next, without being told."""

    @property
    def name(self) -> str:
        """The activity's name."""
        return self.call.name

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this activity, in this file and in restored copies."""
        return f"{self.file_id[:8]}-{self.run_no}/{self.workflow_id}/{self.key}"

    @property
    def details(self) -> Any:
        """What the attempts before it said last of how far they came."""
        return None if self.known is None else msgspec.json.decode(self.known)

    def heartbeat(self, details: Any = None) -> None:
        """Say that it is alive, and how far it has come; from any thread."""
        if self.cancelled:
            why = f"nobody waits for attempt {self.number} at {self.key} any more"
            raise Cancelled(self.workflow_id, why)
        self.beat_s = time.monotonic()
        if details is None:
            return
        self.said = encode(details, f"details of a heartbeat of {self.name}")
        if not self.listening and self.report is not None:
            self.listening = True
            self.report(Beat(self.token))

    def defer(self) -> str:
        """Leave the outcome to whoever gets the token that this returns."""
        if self.cancelled:
            why = f"nobody waits for attempt {self.number} at {self.key} any more"
            raise Cancelled(self.workflow_id, why)
        self.deferred = True
        channel = f"{self.key}@{self.generation}"
        return make_token(self.workflow_id, channel, DEFERRED_PREFIX)

    def __repr__(self) -> str:
        return f"<attempt {self.number} at {self.idempotency_key}>"


class Flights:
    """Every attempt in flight."""

    def __init__(self) -> None:
        self.by_token: dict[int, Flight] = {}
        self._unclaimed: dict[tuple[RunNo, str], Flight] = {}
        self._last_token = 0

    def new_token(self) -> int:
        """Return a token that no attempt had before."""
        self._last_token += 1
        return self._last_token

    def set_aside(self, flights: list[Flight]) -> None:
        """Keep the flights of a run that leaves memory until it comes back for them."""
        for flight in flights:
            self._unclaimed[flight.run_no, flight.key] = flight

    def of_runs(self, nos: set[RunNo]) -> list[Flight]:
        """Return the flights of some runs. Looks at every flight: for failed turns only."""
        return [flight for flight in self.by_token.values() if flight.run_no in nos]

    def claim(self, no: RunNo, key: str) -> Flight | None:
        """Return the flight of a run's operation, if it is still in the air."""
        flight = self._unclaimed.pop((no, key), None)
        return flight if flight is not None and flight.token in self.by_token else None

    def __len__(self) -> int:
        return len(self.by_token)
