"""Handles: what the outside (and other workflows) hold of a run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from monolite.core.channel import Signal, View
from monolite.core.entry import RETRY, SET_RESULT, SKIP, Accepted
from monolite.core.payload import encode
from monolite.core.stream import Stream
from monolite.core.update import Update
from monolite.errors import Misused

STREAM_PAGE = 1_000
"""Rows of a stream read at a time."""

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
Answer = TypeVar("Answer")


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run. `waiting_on` says in words why it is not done yet."""

    id: str
    name: str
    status: str
    waiting_on: str | None
    created_at: datetime
    updated_at: datetime
    attributes: dict[str, Any]
    error: str | None
    parent: str | None
    generation: int
    version: int = 1


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a run's history: what was asked, what came of it, when.

    `kind` is "started", "activity", "attempt", "child", "timer", "signal", ... or "ended"; `n`
    is the journal position (None for lines that are not journal entries). `input` and `output`
    are decoded JSON; `error` is "Type: message".
    """

    n: int | None
    at: datetime
    kind: str
    key: str
    input: Any = None
    output: Any = None
    error: str | None = None


class StreamPage(msgspec.Struct, frozen=True):
    """Some of a stream's items, each with its position, and whether more can come."""

    items: list[tuple[int, str]]
    ended: bool


def _check(given: Any, kind: type[Any]) -> None:
    """Raise Misused unless what an untyped caller gave is such a channel."""
    if not isinstance(given, kind):
        word = kind.__name__
        msg = f"{given!r:.200} is not a {word}; pass what was made by {word}(name, type)"
        raise Misused(msg)


class Port(Protocol):
    """How a handle reaches its run: through a runtime, a client, or the workflow it is in."""

    async def result_text(self, id: str) -> str: ...
    async def send_signal(
        self, id: str, name: str, text: str, message_id: str | None
    ) -> Accepted: ...
    async def send_update(self, id: str, name: str, text: str, message_id: str | None) -> str: ...
    async def control(self, id: str, kind: str, reason: str) -> Accepted: ...
    async def unblock(
        self, id: str, kind: str, key: str, text: str, message_id: str | None
    ) -> Accepted: ...
    async def view_text(self, id: str, name: str) -> str | None: ...
    def view_texts(self, id: str, name: str) -> AsyncGenerator[str, None]: ...
    async def stream_page(self, id: str, name: str, after: int, limit: int) -> StreamPage: ...
    def stream_changes(self, id: str, name: str) -> AsyncGenerator[str, None]: ...
    async def describe(self, id: str) -> Info: ...
    async def history(self, id: str) -> list[HistoryEntry]: ...


class Handle(Generic[R_co]):
    """One run, by its id. Made by `spawn` or `handle`; holds no resources."""

    __slots__ = ("_codec", "_port", "id")

    def __init__(self, id: str, port: Port, codec: Any = None) -> None:
        self.id = id
        self._port = port
        self._codec = codec

    async def result(self) -> R_co:
        """Wait for the run's end and return its result.

        Raises WorkflowFailed (with its `cause`), Cancelled or Terminated if it ended so, and
        UnknownWorkflow if there is no such run. May be called any number of times.
        """
        text = await self._port.result_text(self.id)
        found: R_co = (
            msgspec.json.decode(text)
            if self._codec is None
            else self._codec.decode(text, f"result of {self.id}")
        )
        return found

    async def signal(self, signal: Signal[T], value: T, *, id: str | None = None) -> Accepted:
        """Send a message into the run; it is durable when this returns.

        With `id`, sending it again has no further effect. The answer is not accepted, with the
        reason, if the run has ended. Raises UnknownWorkflow if there is no such run.
        """
        _check(signal, Signal)
        return await self._port.send_signal(self.id, signal.name, signal.encode(value), id)

    async def update(self, update: Update[T, Answer], value: T, *, id: str | None = None) -> Answer:
        """Send a request into the run and wait for its answer, which is durable when it comes.

        Raises Rejected with the workflow's reason, or because the run ended without answering.
        With `id`, asking again gives the same answer.
        """
        _check(update, Update)
        text = await self._port.send_update(self.id, update.name, update.encode(value), id)
        return update.decode_reply(text)

    async def cancel(self, reason: str = "") -> Accepted:
        """Ask the run to stop: its code gets CancelledError and may clean up, durably.

        Durable when this returns; not accepted if the run has ended. Repeating it is harmless.
        """
        return await self._port.control(self.id, "cancel", reason)

    async def terminate(self, reason: str = "") -> Accepted:
        """End the run at once, without running its clean-up code. Prefer `cancel`."""
        return await self._port.control(self.id, "terminate", reason)

    async def pause(self) -> Accepted:
        """Let the run start nothing new: no activity, timer or message, until `resume`.

        Activities that are running go on, and their outcomes are kept.
        """
        return await self._port.control(self.id, "pause", "")

    async def resume(self) -> Accepted:
        """Let a paused run go on."""
        return await self._port.control(self.id, "resume", "")

    async def retry(self, key: str | None = None, *, id: str | None = None) -> Accepted:
        """Give what is blocked in the run new attempts; `key` is one activity's ("charge#1").

        Releases a run whose own code is quarantined, too. A run that has *failed* is spawned
        again under its id, as its next generation, with the same arguments and attributes, from
        the beginning. Durable when this returns; not accepted, with the reason, if there is
        nothing to retry. With a message `id`, asking again has no further effect.
        """
        return await self._port.unblock(self.id, RETRY, key or "", "null", id)

    async def skip(self, key: str | None = None, *, id: str | None = None) -> Accepted:
        """Let the run go on without a blocked activity, which returns None. As `retry` else."""
        return await self._port.unblock(self.id, SKIP, key or "", "null", id)

    async def set_result(
        self, value: Any, key: str | None = None, *, id: str | None = None
    ) -> Accepted:
        """Let the run go on with this result of a blocked activity, which must be of its type.

        As `retry` else. A value of another type is not accepted; from a client, which does not
        have the code, it is refused when the engine takes it: then the activity stays blocked.
        """
        text = encode(value, "a result that is set")
        return await self._port.unblock(self.id, SET_RESULT, key or "", text, id)

    async def view(self, view: View[T]) -> T | None:
        """Return the committed value of a view, or None if the run has not set it yet."""
        _check(view, View)
        text = await self._port.view_text(self.id, view.name)
        return None if text is None else view.decode(text)

    async def watch(self, view: View[T]) -> AsyncGenerator[T, None]:
        """Yield the view's value, then each later one, until the run ends."""
        _check(view, View)
        async with aclosing(self._port.view_texts(self.id, view.name)) as values:
            async for text in values:
                yield view.decode(text)

    async def read(
        self, stream: Stream[T], *, after: int = 0, follow: bool = True
    ) -> AsyncGenerator[tuple[int, T], None]:
        """Yield (position, item) of a stream behind `after`: what there is, then what comes.

        Ends when the run has ended, or at once with `follow=False`. Keep the last position to
        go on from there later, in this or another process.
        """
        _check(stream, Stream)
        changes = aiter(self._port.stream_changes(self.id, stream.name)) if follow else None
        while True:
            page = await self._port.stream_page(self.id, stream.name, after, STREAM_PAGE)
            for position, text in page.items:
                after = position
                yield position, stream.decode(text)
            if page.items:
                continue
            if page.ended or changes is None:
                return
            await anext(changes, None)

    async def describe(self) -> Info:
        """Return what is known of the run now."""
        return await self._port.describe(self.id)

    async def history(self) -> list[HistoryEntry]:
        """Return everything that happened in the run, oldest first."""
        return await self._port.history(self.id)

    def __repr__(self) -> str:
        return f"<handle of {self.id}>"
