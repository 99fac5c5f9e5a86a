"""Heartbeats: what attempts say of how far they have come, kept in the file for the next one.

The first word of an attempt is written at once. Then it is looked at again after a while, and
what is newer is written, until it has nothing new: a loop that reports each item costs one row
a second. An attempt that fails brings its last word along.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from monolite.core import entry as e
from monolite.core.entry import Attempt
from monolite.host.events import Beat
from monolite.host.flights import Flight

if TYPE_CHECKING:
    from monolite.host.batch import Batch
    from monolite.host.engine import Engine

LISTEN_US = 1_000_000
"""How long an attempt that has said something is left alone before its next word is written."""


class Heartbeats:
    """What the attempts of one engine say."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listened: deque[tuple[int, Flight, str | None]] = deque()
        """When to look again, at whom, and what it had said: in the order of time."""

    @property
    def next_due_us(self) -> int | None:
        """When the first of them is looked at again."""
        return self._listened[0][0] if self._listened else None

    def on_beat(self, event: Beat) -> None:
        flight = self._engine.flights.by_token.get(event.token)
        if flight is not None and self._flies(flight):
            self._write(flight)

    def _flies(self, flight: Flight) -> bool:
        engine = self._engine
        return flight.token in engine.flights.by_token and flight.token not in engine.batch.landed

    def look(self) -> None:
        """Write what attempts have said since they were last looked at."""
        for due_us, flight, said in self._listened:
            if due_us > self._engine.now_us:
                return
            # In this order: who speaks in between finds nobody listening, and tells us.
            flight.listening = False
            if flight.said != said and self._flies(flight):
                flight.listening = True
                self._write(flight)

    def _write(self, flight: Flight) -> None:
        flight.recorded = True
        said = flight.said
        self._engine.batch.writes.attempts.append(
            Attempt(
                flight.run_no, flight.key, flight.number, e.STARTED, flight.since_us, details=said
            )
        )
        self._engine.batch.beats.append((self._engine.now_us + LISTEN_US, flight, said))

    def committed(self, batch: Batch, now_us: int) -> None:
        """Take note of who was looked at in a turn that has committed."""
        while self._listened and self._listened[0][0] <= now_us:
            self._listened.popleft()
        self._listened.extend(batch.beats)
