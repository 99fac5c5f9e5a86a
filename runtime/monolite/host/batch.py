"""A batch: everything one turn decided, held back until its commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monolite.core.entry import Run, RunNo
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
        "answers",
        "asks",
        "careful",
        "created",
        "early",
        "ended",
        "ended_unstarted",
        "evicted",
        "landed",
        "last_seq",
        "launches",
        "links",
        "message_ids",
        "parked",
        "pushes",
        "refusals",
        "stopped",
        "taken",
        "touched",
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
        self.last_seq = 0
        self.early: dict[RunNo, list[Message]] = {}
        """Messages to runs that have not begun: one that begins in this turn still gets them."""
        self.ended_unstarted: dict[RunNo, Run] = {}
        """Runs that ended before they began: to the file they are still to begin."""
        self.message_ids: set[tuple[RunNo, str]] = set()
        self.landed: list[int] = []
        self.waiters: list[tuple[RunNo, Reply]] = []
        self.watchers: list[tuple[Run, str, Sink]] = []
        # What leaves.
        self.launches: list[Flight] = []
        self.stopped: list[Flight] = []
        self.answers: list[tuple[Reply, Any]] = []
        self.refusals: list[tuple[Reply, BaseException]] = []
        self.pushes: list[tuple[Sink, str | None]] = []
        self.asks: list[Ask] = []


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
