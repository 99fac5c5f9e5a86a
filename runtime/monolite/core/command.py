"""Commands: what a machine asks of the engine, and what it keeps of what it waits for."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, TypeAlias

import msgspec

from monolite.core import entry as e
from monolite.core.call import Call
from monolite.core.entry import Entry
from monolite.core.loop import OrderedFuture, init_future
from monolite.core.payload import FINGERPRINT_TEXT_MAX, fingerprint
from monolite.errors import Misused


class Owner(Protocol):
    """Who an operation belongs to: the machine."""

    @property
    def loop(self) -> Any: ...
    @property
    def now_us(self) -> int: ...
    def abandon(self, operation: Operation) -> None: ...


class ContinueAsNew(BaseException):
    """Raise it in a workflow to end this run's journal and start the next under the same id.

    `raise ContinueAsNew(order(o2))`. Messages that were not received, views and whoever waits
    for the result go over to the new run. A BaseException, so that `except Exception` on the
    way out does not swallow it.
    """

    def __init__(self, call: Call[Any]) -> None:
        given: Any = call  # callers may be untyped
        if not isinstance(given, Call):
            msg = (
                f"ContinueAsNew takes a call of the workflow, such as order(o), not {given!r:.200}"
            )
            raise Misused(msg)
        super().__init__(f"continue as {call!r}")
        self.call = call


class Operation(OrderedFuture[Any]):
    """Something a run waits for and an entry will answer: an activity, a child, a reply.

    It is the very future that the workflow awaits, and the command that the engine carries out.
    """

    __slots__ = (
        "args",
        "asked_us",
        "call",
        "child",
        "child_key",
        "child_payload",
        "detached",
        "flight",
        "key",
        "kind",
        "machine",
        "payload",
        "target",
    )

    def __init__(
        self, machine: Owner, kind: str, key: str, payload: str, call: Call[Any] | None
    ) -> None:
        loop: Any = machine.loop
        self.order: int = loop.next_order()
        init_future(self, loop=loop)
        self.machine = machine
        self.asked_us = machine.now_us
        """When the code asked: the time of an entry, so that a replay finds the same."""
        self.kind = kind
        self.key = key
        self.payload = payload
        self.args = payload if len(payload) <= FINGERPRINT_TEXT_MAX else fingerprint(payload)
        self.call = call
        self.target: str | None = None
        self.detached = False
        self.child: Operation | None = None
        self.child_key: str | None = None
        self.child_payload: str | None = None
        self.flight: Any = None  # the engine's: the attempt that is running, if one is

    @property
    def is_awaited(self) -> bool:
        """Whether code waits for the outcome now."""
        return bool(self._callbacks)

    def cancel(self, msg: Any = None) -> bool:
        """Give the operation up: its outcome, should one come, is no longer wanted."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.machine.abandon(self)
        return cancelled

    def request(self) -> str:
        """Return the operation in words, as a journal entry for it would read."""
        return e.describe_request(self.kind, self.key, self.args)


class Publish(msgspec.Struct, frozen=True):
    """Command: make `value` the current value of the run's view `name`."""

    name: str
    value: str


class Append(msgspec.Struct, frozen=True):
    """Command: append an item to the run's stream `name`."""

    name: str
    value: str


class Reply(msgspec.Struct, frozen=True):
    """Command: answer the update that came as message `message_id`."""

    message_id: str
    value: str | None
    error: str | None


class Mark(msgspec.Struct, frozen=True):
    """Command: record that this run takes the new path of `patched(name)`."""

    name: str


class Tell(msgspec.Struct, frozen=True):
    """Command: put a message into an actor's inbox, without waiting for anything."""

    id: str
    actor: str
    kind: str
    channel: str
    value: str
    delay_us: int = 0
    message_id: str | None = None


class Detach(msgspec.Struct, frozen=True):
    """Command: start a run that this one does not wait for and will not cancel."""

    id: str
    key: str
    call: Call[Any]
    payload: str


class Abandon(msgspec.Struct, frozen=True):
    """Command: nobody waits for this operation any more; stop it if it runs."""

    operation: Operation


Command: TypeAlias = Any
"""Operation, Publish, Reply, Mark, Tell, Detach, Abandon; of an actor also `turn.TurnDone`."""


class Channel:
    """Messages of one name that were delivered and not yet received, oldest first."""

    __slots__ = ("buffer", "waiters")

    def __init__(self) -> None:
        self.buffer: deque[Entry] = deque()
        self.waiters: deque[OrderedFuture[None]] = deque()

    def push(self, message: Entry) -> None:
        self.buffer.append(message)
        self.wake_one()

    def wake_one(self) -> None:
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
