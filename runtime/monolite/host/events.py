"""Events: what the engine is told. Each turn takes all that have piled up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from monolite.core.failure import Failure
from monolite.core.place import Place
from monolite.core.schedule import Amendment
from monolite.store.protocol import QueueRow

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Reply(Protocol):
    """Where an answer goes. Called on the host's event loop, after the commit it waits for."""

    def answer(self, value: Any) -> None: ...
    def refuse(self, error: BaseException) -> None: ...


class Sink(Protocol):
    """Where a view's values go; None says that the run has ended."""

    def push(self, text: str | None) -> None: ...


class Spawn(msgspec.Struct):
    """Start a run, or join one (see `admission.admit`). Answers with the run's id."""

    id: str
    name: str
    args: str
    version: int
    id_conflict: str
    delay_us: int
    attributes: str | None
    reply: Reply
    fresh: bool = False
    """The id was made for this run: there is no need to look for another of it."""
    place: Place | None = None
    """The queue that it goes through, if it does."""


class Post(msgspec.Struct):
    """Put a message into a run's inbox. Answers with Accepted."""

    id: str
    kind: str
    channel: str
    value: str
    message_id: str | None
    reply: Reply
    actor: str | None = None
    """The class of the actor, if it is one: then it need not exist yet."""
    delay_us: int = 0
    caller: str | None = None
    """The run whose activity waits for the answer, if it comes out of one."""


class Done(msgspec.Struct):
    """An activity's attempt returned `value` (JSON)."""

    token: int
    value: str


class Failed(msgspec.Struct):
    """An activity's attempt raised."""

    token: int
    failure: Failure
    retryable: bool
    delay_us: int | None = None
    """When another attempt makes sense, if the failure said so."""


class Returned(msgspec.Struct):
    """An attempt was handed back before it began, because the runtime is closing."""

    token: int


class Deferred(msgspec.Struct):
    """An activity's attempt returned, having left the outcome to somebody else."""

    token: int


class Beat(msgspec.Struct):
    """An activity's attempt has new details of how far it has come (`Flight.said`)."""

    token: int


class Appended(msgspec.Struct):
    """An activity's attempt appended items (JSON) to a stream of its run."""

    token: int
    name: str
    items: list[str]


class AwaitEnd(msgspec.Struct):
    """Answer with the run's row once it has ended."""

    id: str
    reply: Reply


class Unawait(msgspec.Struct):
    """Nobody waits for this answer any more."""

    reply: Reply


class Watch(msgspec.Struct):
    """Push a view's value now and after each commit that changes it."""

    id: str
    name: str
    sink: Sink
    reply: Reply


class Unwatch(msgspec.Struct):
    """Stop pushing to a sink."""

    sink: Sink


class Ask(msgspec.Struct):
    """Answer with what `question` makes of the engine, after this turn's commit."""

    question: Callable[[Engine], Any]
    reply: Reply


class ChangeQueue(msgspec.Struct):
    """Make of a queue's row what `change` returns, given it and the names of all queues.

    Answers with the row.
    """

    name: str
    change: Callable[[QueueRow | None, list[str]], QueueRow]
    reply: Reply


class RetryDead(msgspec.Struct):
    """Queue failed runs again. Answers with their ids."""

    queue: str
    limit: int
    reply: Reply


class AwaitIdle(msgspec.Struct):
    """Answer when nothing of a queue runs."""

    queue: str
    reply: Reply


class Amend(msgspec.Struct):
    """Change a schedule. Answers with the ids of the runs that come of it."""

    name: str
    request: Amendment
    reply: Reply


Event = (
    Spawn
    | Post
    | Done
    | Failed
    | Returned
    | Deferred
    | Beat
    | Appended
    | AwaitEnd
    | Unawait
    | Watch
    | Unwatch
    | Ask
    | ChangeQueue
    | RetryDead
    | AwaitIdle
    | Amend
)
