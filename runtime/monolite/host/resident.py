"""Residents: the runs that are in memory, and what their rows in the file say of them."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from monolite.core import entry as e
from monolite.core.entry import Run
from monolite.core.machine import Machine
from monolite.core.turn import ActorMachine
from monolite.host.flights import Flight
from monolite.store.protocol import Message


class Retrying(msgspec.Struct, frozen=True):
    """An activity that failed and waits for its next attempt."""

    number: int
    due_us: int
    failures: int
    interrupted: bool = False


class Blocked(msgspec.Struct, frozen=True):
    """An activity that waits for somebody's decision, and why."""

    number: int
    words: str
    error: str


class Deadline:
    """Until when an activity must have begun (None: it has, or may any time), and be over."""

    __slots__ = ("close_us", "start_us")

    def __init__(self, start_us: int | None, close_us: int | None) -> None:
        self.start_us = start_us
        self.close_us = close_us

    def due_us(self) -> int | None:
        """Return which comes first."""
        if self.start_us is None or self.close_us is None:
            return self.close_us if self.start_us is None else self.start_us
        return min(self.start_us, self.close_us)


class Words(msgspec.Struct, frozen=True):
    """What an open run's row says: status, when to wake it, why it waits."""

    status: str
    wake_at_us: int | None
    waiting_on: str | None
    error: str | None = None
    """The failure, as JSON, that somebody has to look at."""


HOT = Words(e.RUNNING, 0, None)
"""The row of a run that is on the move: look at it at start-up. Most runs never have another."""


class Resident:
    """One run in memory."""

    __slots__ = (
        "armed_us",
        "backlog",
        "blocked",
        "deadlines",
        "deferred",
        "machine",
        "message",
        "noted",
        "paused",
        "retrying",
        "run",
        "touched_us",
        "unsettled",
    )

    def __init__(self, run: Run, machine: Machine, noted: Words) -> None:
        self.run = run
        self.machine = machine
        self.noted = noted
        self.retrying: dict[str, Retrying] = {}
        self.deadlines: dict[str, Deadline] | None = None
        """Of activities with a time limit from their request; most runs have none."""
        self.deferred: dict[str, int] | None = None
        """Activities whose outcome comes from elsewhere, by key: their last attempts."""
        self.blocked: dict[str, Blocked] | None = None
        """Activities that wait for somebody's decision; most runs have none."""
        self.touched_us = 0
        self.armed_us: int | None = None
        self.unsettled = False
        self.paused = run.status == e.PAUSED
        self.backlog = False
        """Whether messages may wait for an actor's turn to end."""
        self.message: Message | None = None
        """The message of the actor's turn, if this batch wrote it."""

    @property
    def busy(self) -> bool:
        """Whether it is an actor in the middle of a turn."""
        return isinstance(self.machine, ActorMachine) and self.machine.busy

    def next_due_us(self) -> int | None:
        """Return when the clock next concerns this run."""
        if self.paused:
            return None
        timer = self.machine.next_timer
        due_us = None if timer is None else timer.due_us
        for waiting in self.retrying.values():
            if due_us is None or waiting.due_us < due_us:
                due_us = waiting.due_us
        if self.deadlines:
            limits = [at for x in self.deadlines.values() if (at := x.due_us()) is not None]
            due_us = min(limits if due_us is None else [due_us, *limits], default=None)
        return due_us

    def flights(self) -> list[Flight]:
        """Return the attempts of this run that are running."""
        operations = self.machine.operations.values()
        return [o.flight for o in operations if o.flight is not None]

    def hot(self) -> Words:
        """Return what the run's row should say while it is on the move."""
        return self._blocked_words(0) if self.blocked else HOT

    def words(self) -> Words:
        """Return what the run's row should say while it is quiet."""
        if self.paused:
            return Words(e.PAUSED, None, "resume")
        found = self._words()
        return self._blocked_words(found.wake_at_us) if self.blocked else found

    def _blocked_words(self, wake_at_us: int | None) -> Words:
        assert self.blocked
        first, *others = self.blocked.values()
        more = f" (and {len(others)} more)" if others else ""
        todo = f"monolite retry, skip or set-result FILE {self.run.id}"
        return Words(e.BLOCKED, wake_at_us, f"{first.words}{more}; {todo}", first.error)

    def _words(self) -> Words:
        due_us = self.next_due_us()
        flights = self.flights()
        if flights:
            running = ", ".join(f"{f.key} (attempt {f.number})" for f in flights[:5])
            return Words(e.RUNNING, 0, f"running {running}")
        queued = [
            o
            for o in self.machine.operations.values()
            if o.kind == e.ACTIVITY and o.call is not None and o.call.opts.queue is not None
        ]
        queued = [o for o in queued if o.key not in self.retrying]
        if queued:
            places = ", ".join(f"queue {o.call.opts.queue} ({o.key})" for o in queued[:5] if o.call)
            # Its place is not in the file: the next life has to look at it.
            return Words(e.WAITING, 0, places)
        if self.retrying:
            retries = ", ".join(
                f"{key.partition('#')[0]}, attempt {w.number} at {_clock(w.due_us)}"
                for key, w in list(self.retrying.items())[:5]
            )
            return Words(e.WAITING, due_us, f"retrying {retries}")
        held = {**(self.blocked or {}), **(self.deferred or {})}
        activities = [o.key for o in self.machine.operations.values() if o.kind == e.ACTIVITY]
        begins = [key for key in activities if key not in held]
        if begins:
            # Given back unbegun as the runtime was left: the next life has to look at it.
            return Words(e.RUNNING, 0, f"about to run {', '.join(begins[:5])}")
        waiting_on = self.machine.waiting_on()
        if self.deferred:
            answers = f"an answer for {', '.join(list(self.deferred)[:5])}"
            waiting_on = f"{waiting_on}, {answers}" if waiting_on else answers
        if due_us is not None:
            until = _clock(due_us)
            waiting_on = f"{waiting_on} until {until}" if waiting_on else f"sleeping until {until}"
        return Words(e.WAITING, due_us, waiting_on)


def _clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
