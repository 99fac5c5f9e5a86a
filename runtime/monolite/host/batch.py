"""A batch: everything one turn decided, held back until its commit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from monolite.core.entry import Entry, Run, RunNo
from monolite.host.backlog import Backlog
from monolite.host.events import Ask, Reply, Sink
from monolite.host.flights import Flight
from monolite.host.resident import Resident
from monolite.store.protocol import Link, Message, Writes


class Batch:
    """What a turn writes (`writes`), and what its commit lets out or puts into memory (the rest).

    Thrown away whole if the commit fails: then nothing has left, and what the turn changed in
    memory is dropped and read again from the file.
    """

    # Not a dataclass: one is made for every turn, and default factories are slow.
    __slots__ = (
        "admitted",
        "answers",
        "askers",
        "asks",
        "backlogs",
        "beats",
        "callers",
        "careful",
        "created",
        "early",
        "ended",
        "ended_unstarted",
        "evicted",
        "expected_us",
        "landed",
        "last_seq",
        "launches",
        "left_over",
        "links",
        "message_ids",
        "parked",
        "posted",
        "pushes",
        "redirected",
        "refusals",
        "replied",
        "skips",
        "stopped",
        "streams",
        "successors",
        "taken",
        "touched",
        "unnamed",
        "waiters",
        "watchers",
        "writes",
    )

    def __init__(self) -> None:
        self.writes = Writes()
        self.careful = False
        """Whether ids that nobody else should have are looked up: the turn is being repeated."""
        # Memory, once committed.
        self.created: dict[str, Run] = {}
        self.touched: dict[RunNo, Resident] = {}
        self.ended: list[Resident] = []
        self.evicted: list[Resident] = []
        self.parked: list[RunNo] = []
        self.links: dict[RunNo, list[Link]] = {}
        self.taken: set[int] = set()
        """Inbox rows that this turn has disposed of."""
        self.admitted: set[int] = set()
        """Inbox rows of other processes that this turn has held to their handler's mailbox."""
        self.backlogs: dict[RunNo, Backlog] = {}
        self.posted: dict[tuple[RunNo, bool], deque[Message]] = {}
        """Messages of this turn to actors, by whether they are delayed; some are delivered."""
        self.last_seq = 0
        self.early: dict[RunNo, list[Message]] = {}
        """Messages to runs that have not begun: one that begins in this turn still gets them."""
        self.expected_us: int | None = None
        """When the first of the rows that this turn writes wants to be woken."""
        self.ended_unstarted: dict[RunNo, Run] = {}
        """Runs that ended before they began: to the file they are still to begin."""
        self.message_ids: set[tuple[str, str]] = set()
        self.landed: list[int] = []
        self.beats: list[tuple[int, Flight, str | None]] = []
        """When to look again at attempts that said something, and what that was."""
        self.skips: dict[tuple[int, str], int] = {}
        self.streams: dict[tuple[RunNo, str, str], list[str]] = {}
        self.unnamed: list[tuple[Message, Reply]] = []
        self.callers: dict[Reply, tuple[str, str]] = {}
        """(asking run, asked run) of those who ask out of activities."""
        self.askers: list[tuple[RunNo, str, Reply]] = []
        self.left_over: dict[RunNo, list[tuple[RunNo, Entry]]] = {}
        """What a continued run that ended at once did not even get, by its number."""
        self.redirected: list[Message] = []
        """Inbox rows that this turn has addressed to another run than the file says."""
        self.successors: list[tuple[RunNo, RunNo]] = []
        self.waiters: list[tuple[RunNo, Reply]] = []
        self.watchers: list[tuple[Run, str, Sink]] = []
        # What leaves.
        self.launches: list[Flight] = []
        self.stopped: list[Flight] = []
        self.answers: list[tuple[Reply, Any]] = []
        self.refusals: list[tuple[Reply, BaseException]] = []
        self.replied: list[tuple[RunNo, str, str | None, str | None]] = []
        self.pushes: list[tuple[Sink, str | None]] = []
        self.asks: list[Ask] = []

    def hand_on(self) -> dict[RunNo, RunNo]:
        """Give what runs put out in this turn to the runs that continue them.

        Returns under which number each of those runs has put out something before this turn.
        """
        heirs: dict[RunNo, RunNo] = {}
        for new_no, old_no in reversed(self.successors):
            heirs[old_no] = heirs.get(new_no, new_no)
        self.writes.views = [
            (heirs.get(no, no), name, value) for no, name, value in self.writes.views
        ]
        streams, self.streams = self.streams, {}
        for (no, name, source), items in streams.items():
            # The operations of the old run are none of the new one's, whatever their keys.
            place = (heirs[no], name, "") if no in heirs else (no, name, source)
            self.streams.setdefault(place, []).extend(items)
        origins: dict[RunNo, RunNo] = {}
        for new_no, old_no in self.successors:
            origins[new_no] = origins.get(old_no, old_no)
        return origins


@dataclass
class Released:
    """What a committed turn lets out: to be carried out on the host's event loop."""

    launches: list[Flight]
    stopped: list[Flight]
    answers: list[tuple[Reply, Any]]
    refusals: list[tuple[Reply, BaseException]]
    pushes: list[tuple[Sink, str | None]]
    changed: bool
    """Whether anything was committed, for watchers in other processes."""

    def __bool__(self) -> bool:
        return bool(self.launches or self.answers or self.refusals or self.stopped or self.pushes)
