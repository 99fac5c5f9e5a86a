"""The scheduler: which of one queue's tickets starts next, and whether any may. Pure.

Every ticket belongs to a *lane*, its key's. A lane may start while it has tickets waiting and
fewer than `per_key` running. Among the lanes that may, the one whose first ticket has the highest
priority goes first, and among equals the one that was served longest ago: so a key with ten
thousand tickets costs another key's first no more than one turn. Every tenth claim takes the
ticket that has waited longest, whatever its priority: so that nothing waits for ever.

A claim costs O(log n), whatever waits. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from monolite.core.bucket import Bucket
from monolite.core.queue import Limits

OLDEST_EVERY = 10
"""Each so-manieth claim goes by age alone."""

STALE_SPARE = 64
"""Entries of heaps that may be out of date before a heap is made anew."""

# Where a ticket is.
GONE, WAITING, HELD, SHELVED = range(4)

Memo = tuple[Any, ...]
"""What a scheduler is beside its tickets: to go back to if a commit fails."""


class Ticket(msgspec.Struct, eq=False, gc=False):
    """One thing to start: a run, or an attempt at an activity. `subject` is the caller's own."""

    queue: str
    key: str
    priority: int
    since_us: int
    seq: int
    subject: Any
    state: int = GONE


class _Lane:
    """The tickets of one key. Heaps keep what has left until it comes to their top."""

    __slots__ = ("age", "aged", "key", "no", "ranked", "running", "served", "standing", "waiting")

    def __init__(self, key: str, no: int, served: int) -> None:
        self.key = key
        self.no = no
        self.served = served
        self.waiting = 0
        self.running = 0
        self.ranked: list[tuple[int, int, int, Ticket]] = []
        self.aged: list[tuple[int, int, Ticket]] | None = None
        """By age; None while all have one priority, and rank is age."""
        self.standing: tuple[int, int, int, _Lane] | None = None
        self.age: tuple[int, int, int, _Lane] | None = None

    def add(self, ticket: Ticket) -> None:
        if self.waiting == 1:  # what is still there has left
            self.ranked.clear()
            self.aged = None
        elif self.aged is None and -ticket.priority != self.ranked[0][0]:
            self.aged = [(since_us, seq, other) for _, since_us, seq, other in self.ranked]
            heapify(self.aged)
        heappush(self.ranked, (-ticket.priority, ticket.since_us, ticket.seq, ticket))
        if len(self.ranked) > 2 * self.waiting + STALE_SPARE:
            self.ranked = [x for x in self.ranked if x[-1].state == WAITING]
            heapify(self.ranked)
        if self.aged is not None:
            heappush(self.aged, (ticket.since_us, ticket.seq, ticket))
            if len(self.aged) > 2 * self.waiting + STALE_SPARE:
                self.aged = [x for x in self.aged if x[-1].state == WAITING]
                heapify(self.aged)

    def first(self) -> Ticket:
        """Return the ticket with the highest priority; there is one."""
        ranked = self.ranked
        while ranked[0][-1].state != WAITING:
            heappop(ranked)
        return ranked[0][-1]

    def oldest(self) -> Ticket:
        """Return the ticket that has waited longest; there is one."""
        aged = self.aged
        if aged is None:
            return self.first()
        while aged[0][-1].state != WAITING:
            heappop(aged)
        return aged[0][-1]


class Scheduler:
    """One queue: its limits, what waits, what runs."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.paused = False
        self.waiting = 0
        self.running = 0
        self.failures = 0
        """Failed attempts in a row."""
        self.open_until_us: int | None = None
        """Until when the breaker keeps everything back."""
        self.probe: Ticket | None = None
        """Who went ahead alone after that."""
        self.bucket = Bucket(limits.rate)
        self._claims = 0
        self._serving = 0
        self._lanes: dict[str, _Lane] = {}
        self._lanes_made = 0
        self._standings: list[tuple[int, int, int, _Lane]] = []
        self._ages: list[tuple[int, int, int, _Lane]] = []

    # Tickets come and go.

    def move(self, ticket: Ticket, to: int) -> None:
        """Put a ticket where it belongs now: waiting, held (it runs), or neither."""
        was, ticket.state = ticket.state, to
        if was == to:
            return
        lane = self._lanes.get(ticket.key)
        if lane is None:
            self._lanes_made += 1
            # Before whoever was served last, and after everybody else who waits.
            lane = _Lane(ticket.key, self._lanes_made, self._serving - 1)
            self._lanes[ticket.key] = lane
        if was == WAITING:
            lane.waiting -= 1
            self.waiting -= 1
        elif was == HELD:
            lane.running -= 1
            self.running -= 1
            if ticket is self.probe:
                self.probe = None
        if to == WAITING:
            lane.waiting += 1
            self.waiting += 1
            lane.add(ticket)
        elif to == HELD:
            lane.running += 1
            self.running += 1
        self._place(lane)

    def claim(self, now_us: int) -> Ticket | None:
        """Return the ticket that starts now, held; None if none may."""
        if not self._may_claim(now_us):
            return None
        by_age = (self._claims + 1) % OLDEST_EVERY == 0
        lane = self._oldest_lane() if by_age else self._first_lane()
        if lane is None:
            return None
        ticket = lane.oldest() if by_age else lane.first()
        self._claims += 1
        self._serving += 2
        lane.served = self._serving
        self.bucket.take(now_us)
        if self.open_until_us is not None:
            self.probe = ticket
        self.move(ticket, HELD)
        return ticket

    def leave(self, ticket: Ticket, now_us: int, *, succeeded: bool | None) -> None:
        """Give a held ticket's slot free; None: it neither succeeded nor failed."""
        probing = ticket is self.probe
        if self.limits.breaker is not None and succeeded is not None:
            self._count(now_us, succeeded=succeeded, probing=probing)
        self.move(ticket, GONE)

    def _count(self, now_us: int, *, succeeded: bool, probing: bool) -> None:
        assert self.limits.breaker is not None
        failures, pause_us = self.limits.breaker
        if self.open_until_us is not None and not probing:
            return  # it began before the breaker opened
        if succeeded:
            self.failures, self.open_until_us = 0, None
            return
        self.failures += 1
        if probing or self.failures >= failures:
            self.open_until_us = now_us + pause_us

    # May anything start?

    def _may_claim(self, now_us: int) -> bool:
        if self.paused or not self.waiting or self.probe is not None:
            return False
        if self.limits.concurrency is not None and self.running >= self.limits.concurrency:
            return False
        if self._open_until(now_us) > now_us:
            return False
        return self.bucket.next_us(now_us) <= now_us

    def next_us(self, now_us: int) -> int | None:
        """Return when time alone will let something start; None: it takes more than that."""
        if self.paused or not self.waiting or self.probe is not None:
            return None
        if self.limits.concurrency is not None and self.running >= self.limits.concurrency:
            return None
        if self._first_lane() is None:
            return None
        return max(now_us, self._open_until(now_us), self.bucket.next_us(now_us))

    def _open_until(self, now_us: int) -> int:
        """Return until when the breaker is open; a clock that was set back does not prolong it."""
        if self.open_until_us is None or self.limits.breaker is None:
            return now_us
        self.open_until_us = min(self.open_until_us, now_us + self.limits.breaker[1])
        return self.open_until_us

    # Who is next?

    def _place(self, lane: _Lane) -> None:
        """Note where a lane stands among those that may start."""
        if not lane.waiting:
            lane.standing = lane.age = None
            if not lane.running:
                del self._lanes[lane.key]
            return
        per_key = self.limits.per_key
        if per_key is not None and lane.running >= per_key:
            lane.standing = lane.age = None
            return
        rank = (-lane.first().priority, lane.served, lane.no)
        if lane.standing is None or lane.standing[:3] != rank:
            lane.standing = (*rank, lane)
            heappush(self._standings, lane.standing)
            if len(self._standings) > 4 * len(self._lanes) + STALE_SPARE:
                self._standings = [x for x in self._standings if x[-1].standing is x]
                heapify(self._standings)
        oldest = lane.oldest()
        if lane.age is None or lane.age[1] != oldest.seq:
            lane.age = (oldest.since_us, oldest.seq, lane.no, lane)
            heappush(self._ages, lane.age)
            if len(self._ages) > 4 * len(self._lanes) + STALE_SPARE:
                self._ages = [x for x in self._ages if x[-1].age is x]
                heapify(self._ages)

    def _first_lane(self) -> _Lane | None:
        standings = self._standings
        while standings and standings[0][-1].standing is not standings[0]:
            heappop(standings)
        return standings[0][-1] if standings else None

    def _oldest_lane(self) -> _Lane | None:
        ages = self._ages
        while ages and ages[0][-1].age is not ages[0]:
            heappop(ages)
        return ages[0][-1] if ages else None

    # Limits, and going back.

    def change(self, limits: Limits) -> None:
        """Go on under other limits; what runs already goes on."""
        self.limits = limits
        self.bucket.change(limits.rate)
        if limits.breaker is None:
            self.failures, self.open_until_us, self.probe = 0, None, None
        for lane in list(self._lanes.values()):
            self._place(lane)

    @property
    def entries(self) -> int:
        """How many entries the heaps have, those that are out of date included."""
        of_lanes = sum(len(x.ranked) + len(x.aged or ()) for x in self._lanes.values())
        return of_lanes + len(self._standings) + len(self._ages)

    def breaker_state(self) -> tuple[int, int | None]:
        """Return the failed attempts in a row and until when the breaker is open, to be kept."""
        return (self.failures, self.open_until_us)

    def memo(self) -> Memo:
        """Return what this scheduler is beside its tickets."""
        return (self._claims, self.bucket.state(), *self.breaker_state(), self.probe)

    def recall(self, memo: Memo) -> None:
        """Go back to what `memo` returned; the tickets are moved back one by one."""
        self._claims, taken, self.failures, self.open_until_us, self.probe = memo
        self.bucket.restore(taken)

    def restore(
        self, taken: Iterable[tuple[int, int, int]], failures: int, open_until_us: int | None
    ) -> None:
        """Go on from what an earlier engine kept."""
        self.bucket.restore(list(taken))
        if self.limits.breaker is not None:
            self.failures, self.open_until_us = failures, open_until_us
