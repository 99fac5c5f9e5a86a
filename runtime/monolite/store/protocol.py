"""The store's protocol: it loads rows and commits batches, and decides nothing.

`Store` is the owner's side, used by one engine thread. `Reader` is read-only and may be used
by anyone, engine or not. `Door` is how other processes put work into the file.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Any, Protocol, TypeVar

import msgspec

from monolite.core.entry import Accepted, Attempt, Entry, Run, RunNo
from monolite.core.place import Place
from monolite.core.schedule import Amended, ScheduleRow

R = TypeVar("R")

JournalRow = tuple[RunNo, int, int, str, str, str | None, str | None, str | None]
"""run_no, n, at_us, kind, key, args, value, error."""

ScheduleWrite = tuple[int | None, ScheduleRow | None]
"""The revision that the row must have (None: there must be no row), and the new row, if any."""


class Message(msgspec.Struct, gc=False):
    """An inbox row: a message to a run. `n` is its journal position, None until delivered."""

    run_no: RunNo
    kind: str
    channel: str
    value: str
    at_us: int
    message_id: str | None = None
    n: int | None = None
    seq: int | None = None
    due_us: int | None = None
    outside: int | None = None
    """1 if another process put it in, and it was not yet held to its handler's mailbox."""
    answer: str | None = None
    refusal: str | None = None


class State(msgspec.Struct, frozen=True, gc=False):
    """An actor's stored state; entries below `retired_n` belong to turns that have ended."""

    version: int
    state: str
    retired_n: int


class Link(msgspec.Struct, frozen=True, gc=False):
    """A run (`waiter_no`) whose operation `key` waits for the end of another (`target_no`)."""

    target_no: RunNo
    waiter_no: RunNo
    key: str


class Note(msgspec.Struct, frozen=True, gc=False):
    """What a run's row says of a run that is not done: status, when to wake it, why it waits.

    `wake_at_us` may be early, never late: 0 means "look at me at start-up", None "only a
    message will wake me".
    """

    no: RunNo
    status: str
    wake_at_us: int | None
    waiting_on: str | None
    updated_us: int
    started_us: int | None = None
    error: str | None = None
    version: int | None = None
    """Of the code that the run begins with, if whoever spawned it did not have the code."""


class End(msgspec.Struct, frozen=True, gc=False):
    """A run's end."""

    no: RunNo
    status: str
    value: str | None
    error: str | None
    ended_us: int


class QueueRow(msgspec.Struct, frozen=True, gc=False):
    """A queue as the file keeps it; `declared` and `limits` are JSON of `core.queue.Limits`."""

    name: str
    declared: str | None
    limits: str
    paused: bool
    state: str | None = None
    seen: str | None = None


class QueueCounts(msgspec.Struct, gc=False):
    """How many runs of a queue wait, hold a slot, and failed without being spawned again."""

    waiting: int = 0
    running: int = 0
    dead: int = 0


class TicketRow(msgspec.Struct, frozen=True, gc=False):
    """A run that waits in a queue; before `wake_at_us` it does not yet."""

    no: RunNo
    queue: str
    key: str | None
    priority: int
    queued_us: int
    wake_at_us: int | None


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """A run that waits in a queue, with other arguments or at another time."""

    args: str
    version: int
    wake_at_us: int | None
    queued_us: int
    updated_us: int
    no: RunNo


class Writes:
    """Everything that one turn writes, committed as one transaction or not at all."""

    __slots__ = (
        "attempts",
        "continued",
        "deduped",
        "ends",
        "forgotten",
        "held",
        "journal",
        "links",
        "messages",
        "moved",
        "notes",
        "pardoned",
        "queue_seen",
        "queue_states",
        "queues",
        "redirected",
        "refused",
        "released",
        "replies",
        "requeues",
        "retired",
        "runs",
        "schedules",
        "states",
        "streams",
        "taken",
        "turned_away",
        "unlinked",
        "versions",
        "views",
    )

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.journal: list[JournalRow] = []
        self.messages: list[Message] = []
        self.taken: list[tuple[int, int, int]] = []
        """(n, at_us, seq) of waiting inbox rows that were delivered as entry n."""
        self.held: list[tuple[int | None, int | None, int]] = []
        """(due_us, outside, seq) of waiting inbox rows that go on waiting, otherwise."""
        self.turned_away: list[tuple[int, str, int]] = []
        """(at_us, refusal, seq) of waiting inbox rows that will not be delivered."""
        self.replies: list[tuple[str | None, str | None, RunNo, str]] = []
        """(answer, refusal, run_no, message_id) of updates."""
        self.moved: list[tuple[RunNo, int, int, RunNo, int]] = []
        """(new run_no, n, at_us, old run_no, n) of messages that a continued run leaves over."""
        self.redirected: list[tuple[RunNo, int]] = []
        """(run_no, seq) of messages that wait, now for the run that continues theirs."""
        self.continued: list[tuple[RunNo, RunNo]] = []
        """(new run_no, old run_no): views and links go over."""
        self.states: dict[RunNo, tuple[RunNo, int, str, int]] = {}
        """(run_no, version, state, retired_n) of actors after their last turn in this batch."""
        self.retired: dict[RunNo, tuple[int, RunNo]] = {}
        """(retired_n, run_no) of actors whose turns left their state alone; none of `states`."""
        self.refused: list[tuple[str, RunNo, int]] = []
        """(refusal, run_no, n) of one-way messages whose turn was rolled back."""
        self.forgotten: list[tuple[RunNo, int]] = []
        """(run_no, n): entries below n of turns that ended long ago."""
        self.streams: list[tuple[RunNo, str, int, int, str, str]] = []
        """(run_no, name, first, count, source, items) appended to streams."""
        self.versions: list[tuple[int, RunNo]] = []
        """(version, run_no) of runs that go on with another version's code."""
        self.pardoned: list[RunNo] = []
        """Runs whose code may be executed again, although the process died in it."""
        self.views: list[tuple[RunNo, str, str]] = []
        self.attempts: list[Attempt] = []
        self.links: list[Link] = []
        self.unlinked: list[RunNo] = []
        self.notes: list[Note] = []
        self.ends: list[End] = []
        self.queues: list[QueueRow] = []
        """Their limits and whether they are paused; not their state."""
        self.queue_states: dict[str, str] = {}
        self.queue_seen: dict[str, str] = {}
        self.requeues: list[Requeue] = []
        self.released: list[RunNo] = []
        """Runs that no longer stand for their dedupe key."""
        self.deduped: dict[tuple[str, str], tuple[RunNo, int] | None] = {}
        """(no, queued_us) of who waits under (queue, dedupe key); Conflict if that has changed."""
        self.schedules: dict[str, ScheduleWrite] = {}

    def __bool__(self) -> bool:
        return bool(
            self.journal
            or self.ends
            or self.runs
            or self.messages
            or self.taken
            or self.held
            or self.turned_away
            or self.replies
            or self.states
            or self.versions
            or self.streams
            or self.retired
            or self.redirected
            or self.views
            or self.attempts
            or self.pardoned
            or self.links
            or self.unlinked
            or self.notes
            or self.queues
            or self.queue_states
            or self.queue_seen
            or self.requeues
            or self.schedules
        )


class Conflict(Exception):
    """Another process made the same run, changed the same schedule, or who waits in a queue."""


class RolledBack(Conflict):
    """An application's statement has undone the whole turn: repeat it without that function."""


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs to list: all that match what is given, newest first."""

    status: str | None = None
    name: str | None = None
    id_prefix: str | None = None
    parent: str | None = None
    attributes: dict[str, Any] | None = None
    """What a run's attributes must hold; those are JSON with sorted keys."""
    open: bool = False
    """Only runs that have not ended."""
    queue: str | None = None
    """Only runs that go through this queue."""
    limit: int = 100
    before_no: int | None = None


class Reader(Protocol):
    """Reads committed state. Every method sees one consistent snapshot."""

    def run_by_id(self, id: str) -> Run | None:
        """Return the newest run of this id."""
        ...

    def runs(self, where: RunFilter) -> list[Run]:
        """Return the runs that match, newest first."""
        ...

    def counts(self) -> dict[str, int]:
        """Return how many runs there are of each status."""
        ...

    def entries(self, no: RunNo, from_n: int = 0, limit: int = -1) -> list[Entry]:
        """Return a run's journal from `from_n`: its entries and delivered messages, in order.

        At most `limit` of them, if it is not negative.
        """
        ...

    def patches(self, no: RunNo) -> list[str]:
        """Return the names that a run's `patched` has recorded."""
        ...

    def attempts(self, no: RunNo) -> list[Attempt]:
        """Return the attempts recorded for a run, by key and number."""
        ...

    def blames(self) -> dict[RunNo, int]:
        """Return how often in a row each run was executing when the process died: few."""
        ...

    def undelivered(self, no: RunNo) -> list[Message]:
        """Return a run's messages that its code was not given yet, delayed ones too, in order."""
        ...

    def waiting(self, no: RunNo, after_seq: int, limit: int) -> list[Message]:
        """Return a run's messages that wait for nothing but their turn, in order."""
        ...

    def waiting_on_channel(self, no: RunNo, channel: str) -> list[Message]:
        """Return a run's waiting messages of one name, delayed ones too, in order."""
        ...

    def answer(self, run: Run, message_id: str) -> tuple[str | None, str | None] | None:
        """Return (answer, refusal) of a message, or None if none of this id was accepted.

        Accepted by this run or one that it continues. Both are None for a signal, and for an
        update that is still open.
        """
        ...

    def stream(self, no: RunNo, name: str, after: int, limit: int) -> list[tuple[int, str]]:
        """Return (first position, JSON array) of a stream's rows that reach past `after`."""
        ...

    def stream_length(self, no: RunNo, name: str) -> int:
        """Return how many items a stream has."""
        ...

    def stream_source(self, no: RunNo, name: str, source: str) -> int:
        """Return how many of a stream's items one operation has appended."""
        ...

    def queues(self) -> list[QueueRow]:
        """Return every queue, by name."""
        ...

    def queue_counts(self) -> dict[str, QueueCounts]:
        """Return how many runs are in each queue that has any."""
        ...

    def dead(self, queue: str, limit: int) -> list[Run]:
        """Return the failed runs of a queue that nobody spawned again, oldest first."""
        ...

    def deduped(self, queue: str, dedupe: str) -> tuple[RunNo, int] | None:
        """Return (no, queued_us) of who waits in a queue under a dedupe key."""
        ...

    def state(self, no: RunNo) -> State | None:
        """Return an actor's stored state, or None before its first turn that changed it."""
        ...

    def view(self, no: RunNo, name: str) -> str | None:
        """Return the value of a run's view."""
        ...

    def schedules(self) -> list[ScheduleRow]:
        """Return every schedule, by name."""
        ...

    def schedule(self, name: str) -> ScheduleRow | None:
        """Return the schedule of this name."""
        ...

    def close(self) -> None: ...


class Store(Reader, Protocol):
    """The owner's side. Every commit checks that this engine still owns the file."""

    epoch: int
    file_id: str
    blamed: int
    """The run whose code was being executed when the last owner of the file died, or 0."""
    executing: MutableSequence[int]
    """Where the engine keeps the number of the run whose code is being executed, or 0.

    It outlives the process: what it holds when that dies is found, and counted, at the next open.
    """

    def commit(self, writes: Writes) -> None:
        """Write a batch durably.

        Raises Conflict (repeat the turn), StorageFull (nothing written), Fenced (taken over:
        nothing written) or CommitUnknown (stop).
        """
        ...

    def transact(self, act: Callable[[Any], R]) -> R:
        """Let `act` write the application's tables in the transaction that the next commit ends.

        What it wrote is undone if it raises; RolledBack: all of this turn is. Opens the
        transaction if it is not open, which
        checks the epoch; `abort` undoes everything since.
        """
        ...

    def mark(self) -> None:
        """Set the point to which `undo` returns, replacing the one set before."""
        ...

    def undo(self) -> None:
        """Undo what the application's functions wrote since `mark`."""
        ...

    def abort(self) -> None:
        """Undo everything that is not committed."""
        ...

    def application(self) -> Any:
        """Return a new read-only connection to the application's tables."""
        ...

    def run(self, no: RunNo) -> Run | None: ...

    def messages_after(self, seq: int, limit: int) -> list[Message]:
        """Return undelivered messages put in by others since `seq`, in file order."""
        ...

    def messages_due(self, until_us: int, limit: int) -> list[Message]:
        """Return delayed messages whose time has come, in order of their time."""
        ...

    def next_message_due_us(self) -> int | None:
        """Return when the next delayed message is due."""
        ...

    def due(self, after: tuple[int, int], until_us: int, limit: int) -> list[tuple[int, RunNo]]:
        """Return (wake_at_us, no) of open runs after that pair, due by `until_us`, in order."""
        ...

    def next_due_us(self, after_us: int) -> int | None:
        """Return when the first open run after `after_us` wants to be woken."""
        ...

    def queued(self, until_us: int, limit: int) -> list[RunNo]:
        """Return the runs that wait to be started and are due, but for those in queues."""
        ...

    def tickets(self, after: int, limit: int) -> list[TicketRow]:
        """Return the runs that wait in queues, or will, by number after `after`."""
        ...

    def holders(self) -> list[tuple[RunNo, str, str | None]]:
        """Return (no, queue, key) of the runs that hold a slot of their queue."""
        ...

    def parked(self, limit: int, after: int) -> list[RunNo]:
        """Return the runs that stopped for want of fitting code, by number after `after`."""
        ...

    def links(self) -> list[Link]:
        """Return every link: few, kept in memory by the engine."""
        ...

    def schedule_revisions(self) -> dict[str, int]:
        """Return the revision of every schedule."""
        ...

    def max_run_no(self) -> int: ...

    def max_seq(self) -> int:
        """Return the inbox's last sequence number."""
        ...

    def changed(self) -> bool:
        """Return whether someone else committed since this was last asked."""
        ...

    def reader(self) -> Reader:
        """Return a reader of its own, for use on another thread."""
        ...

    def checkpoint(self) -> None:
        """Move what the log holds into the main file, if nobody is in the way."""
        ...


class Door(Protocol):
    """How a process that does not own the file puts work into it; each call is one commit."""

    def spawn(self, run: Run, id_conflict: str, place: Place | None = None) -> Run:
        """Insert a queued run and return it, or the one that exists (see `admission`)."""
        ...

    def change_queue(
        self, name: str, change: Callable[[QueueRow | None, list[str]], QueueRow]
    ) -> QueueRow:
        """Put what `change` makes of a queue's row, given it and the names of all queues."""
        ...

    def retry_dead(self, queue: str, limit: int, now_us: int) -> list[str]:
        """Queue failed runs again that nobody spawned again; return their ids."""
        ...

    def post(self, id: str, message: Message) -> tuple[Run, bool]:
        """Insert a message to the newest run of `id`.

        Returns the run and whether the message was new. Raises UnknownWorkflow.
        """
        ...

    def post_to_actor(self, actor: Run, message: Message) -> tuple[Run, bool]:
        """Insert a message to an actor, and the actor's run if it does not exist yet."""
        ...

    def unblock(self, id: str, message: Message) -> Accepted:
        """Insert a message that releases what is blocked, if something is.

        For a run that has failed, a retry inserts its next generation. Raises UnknownWorkflow.
        """
        ...

    def amend_schedule(
        self, name: str, decide: Callable[[ScheduleRow | None], Amended], now_us: int
    ) -> Amended:
        """Give a schedule the row that `decide` makes of it, and queue the runs it wants."""
        ...
