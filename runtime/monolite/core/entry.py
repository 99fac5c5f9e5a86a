"""Journal entries: the events of one run, in the order in which its code saw them.

An entry is the unit of everything: live execution delivers one and runs the code until it is
quiet; replay delivers the recorded ones again. `key` is the operation it answers.
"""

from __future__ import annotations

from typing import NewType

import msgspec

RunNo = NewType("RunNo", int)
"""A run's number in its file: short, unique, never reused."""

# What an entry answers. Readable in the file, so that `SELECT * FROM monolite_journal` speaks.
ACTIVITY = "activity"
CHILD = "child"
SPAWN = "spawn"
SEND = "send"
RESULT = "result"
TIMER = "timer"
SIGNAL = "signal"
UPDATE = "update"
ASK = "ask"
QUERY = "query"
TRANSACTION = "transaction"
PATCH = "patch"
CANCEL = "cancel"
TERMINATE = "terminate"
PAUSE = "pause"
RESUME = "resume"
RETRY = "retry"
SKIP = "skip"
SET_RESULT = "set_result"
ANSWER = "answer"

UNBLOCKING = frozenset({RETRY, SKIP, SET_RESULT})
"""Messages that release what is blocked. What they bring about is journaled, not they."""

TRACELESS = UNBLOCKING | {PAUSE, RESUME, ANSWER}
"""Messages that have no place in the journal."""

LINKED = '"linked"'
"""A spawn's answer: the child is new, and its outcome will come to the parent."""

JOINED = '"joined"'
"""A spawn's answer: there was such a run, or the child is detached; ask for its result."""

FOREVER_US = 2**62
"""Later than any time: for asking for everything that will ever be due."""

SHOWN_MAX = 200
"""Characters of the arguments that a request's description shows."""

INBOX_KINDS = (SIGNAL, UPDATE, CANCEL, TERMINATE)
"""Kinds whose row is in the inbox table: the message itself is the journal entry."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One journal entry. `value` or `error` is JSON text; `args` the request's fingerprint.

    The entry of a message has its `value`, its channel as `key`, and its id as `args`.
    """

    n: int
    at_us: int
    kind: str
    key: str
    args: str | None = None
    value: str | None = None
    error: str | None = None

    def request(self) -> str:
        """Return the recorded operation as a reader knows it, such as `activity charge#1(...)`."""
        return describe_request(self.kind, self.key, self.args)


def describe_request(kind: str, key: str, args: str | None) -> str:
    """Return an operation as words: kind, key and arguments."""
    if kind == TIMER:
        seconds = int(args or 0) / 1_000_000
        return f"{key} (a timer of {seconds:g} s)"
    shown = args or ""
    if len(shown) > SHOWN_MAX:
        shown = shown[:SHOWN_MAX] + "..."
    if shown.startswith("[") and shown.endswith("]"):
        shown = f"({shown[1:-1]})"
    return f"{kind} {key}{shown}"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How a run ended: a terminal status with the result or the failure as JSON text."""

    status: str
    value: str | None = None
    error: str | None = None


QUEUED = "queued"
RUNNING = "running"
WAITING = "waiting"
PAUSED = "paused"
BLOCKED = "blocked"
DIVERGED = "diverged"
STRANDED = "stranded"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"
TERMINATED = "terminated"
CONTINUED = "continued"

ENDED = frozenset({COMPLETED, FAILED, CANCELLED, TERMINATED, CONTINUED})
"""Terminal statuses: such a run never changes again."""


class Accepted(msgspec.Struct, frozen=True):
    """The answer to a message: whether the run took it, and if not, why.

    A repeated message (same id) is accepted again, with the reason "duplicate".
    """

    accepted: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.accepted


class Run(msgspec.Struct, gc=False):
    """One run as its row holds it."""

    no: RunNo
    id: str
    generation: int
    name: str
    version: int
    status: str
    args: str
    created_us: int
    started_us: int | None = None
    ended_us: int | None = None
    wake_at_us: int | None = None
    parent_no: RunNo | None = None
    parent_id: str | None = None
    parent_key: str | None = None
    value: str | None = None
    error: str | None = None
    waiting_on: str | None = None
    attributes: str | None = None
    updated_us: int = 0
    seed: str | None = None
    """What random numbers and set orders derive from, if not from the run's own identity."""
    queue: str | None = None
    queue_key: str | None = None
    priority: int | None = None
    queued_us: int | None = None
    """Since when it waits in its queue, or will: its place there."""
    dedupe: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the run has reached a terminal status."""
        return self.status in ENDED


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """What the file knows of one attempt at an activity that has no outcome yet.

    `state` is "started" (an intent or a long attempt in flight), "interrupted" (cut off by a
    crash, recorded before the next attempt starts), "failed" (next one due at `due_us`),
    "returned" (handed back unbegun, because the runtime was closing), "stopped" (cut off
    because it was), "blocked" (the last one: somebody has to decide), "released" (the same,
    when somebody has) or "deferred" (it returned, and the outcome comes later). `details` is
    the JSON of its last heartbeat that said anything.
    """

    run_no: RunNo
    key: str
    number: int
    state: str
    at_us: int
    due_us: int | None = None
    error: str | None = None
    details: str | None = None


STARTED = "started"
INTERRUPTED = "interrupted"
ATTEMPT_FAILED = "failed"
RETURNED = "returned"
STOPPED = "stopped"
RELEASED = "released"
DEFERRED = "deferred"
