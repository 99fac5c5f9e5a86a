"""A batch: everything one turn decided, held back until its commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from monolite.core.entry import Run, RunNo
from monolite.host.events import Ask, Reply, Sink
from monolite.host.flights import Flight
from monolite.host.resident import Resident
from monolite.store.protocol import Link, Writes


@dataclass
class Batch:
    """What a turn writes (`writes`), and what its commit lets out or puts into memory (the rest).

    Thrown away whole if the commit fails: then nothing has left, and what the turn changed in
    memory is dropped and read again from the file.
    """

    writes: Writes = field(default_factory=Writes)
    created: dict[str, Run] = field(default_factory=dict[str, Run])
    touched: dict[RunNo, Resident] = field(default_factory=dict[RunNo, Resident])
    ended: list[Resident] = field(default_factory=list[Resident])
    evicted: list[Resident] = field(default_factory=list[Resident])
    parked: list[RunNo] = field(default_factory=list[RunNo])
    links: list[Link] = field(default_factory=list[Link])
    taken: set[int] = field(default_factory=set[int])
    message_ids: set[tuple[RunNo, str]] = field(default_factory=set[tuple[RunNo, str]])
    launches: list[Flight] = field(default_factory=list[Flight])
    landed: list[int] = field(default_factory=list[int])
    stopped: list[Flight] = field(default_factory=list[Flight])
    answers: list[tuple[Reply, Any]] = field(default_factory=list[tuple[Reply, Any]])
    refusals: list[tuple[Reply, BaseException]] = field(
        default_factory=list[tuple[Reply, BaseException]]
    )
    pushes: list[tuple[Sink, str | None]] = field(default_factory=list[tuple[Sink, str | None]])
    asks: list[Ask] = field(default_factory=list[Ask])
    waiters: list[tuple[RunNo, Reply]] = field(default_factory=list[tuple[RunNo, Reply]])
    watchers: list[tuple[RunNo, str, Sink]] = field(
        default_factory=list[tuple[RunNo, str, Sink]]
    )


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
        return bool(
            self.launches or self.answers or self.refusals or self.stopped or self.pushes
        )
