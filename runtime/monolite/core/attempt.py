"""What activity code may ask of the attempt it runs in."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from monolite.core.loop import running_loop
from monolite.errors import Misused


class AttemptInfo(Protocol):
    """The attempt at an activity that is running.

    `number` counts from 1. `idempotency_key` is the same text for every attempt at this
    activity and for no other: hand it to the outside system. `interrupted`: the previous
    attempt was cut off by a crash and may have taken effect. `details` is what the attempts
    before it gave to `heartbeat` last, or None. `cancelled`: nobody wants the outcome any more,
    because of a time-out, a cancellation, or the end of the runtime; a thread that is told so
    should return.
    """

    @property
    def name(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def idempotency_key(self) -> str: ...
    @property
    def interrupted(self) -> bool: ...
    @property
    def workflow_id(self) -> str: ...
    @property
    def details(self) -> Any: ...
    @property
    def cancelled(self) -> bool: ...

    def heartbeat(self, details: Any = None) -> None:
        """Say that the attempt is alive, and how far it has come; from the loop or a thread.

        `details` are any JSON; the last ones are `details` of the next attempt, after a crash
        too. They reach the file within a second. Raises Cancelled if the attempt was stopped.
        """
        ...

    def defer(self) -> str:
        """Return a token by which the activity will be answered, from any process.

        What the function returns is ignored then: the activity stays open, over crashes too,
        until `Runtime.resolve(token, value)`, `reject`, the same of a Client, or the command line
        answers it. The first answer counts. If the function raises instead, it has failed.
        """
        ...


class BareAttempt:
    """What `attempt()` gives outside a runtime: a first attempt with an empty key."""

    name = ""
    number = 1
    idempotency_key = ""
    interrupted = False
    workflow_id = ""
    details = None
    cancelled = False

    def heartbeat(self, details: Any = None) -> None:
        """Do nothing: nobody listens."""

    def defer(self) -> str:
        """Return no token: what the function returns is its result."""
        return ""


current_attempt: ContextVar[Any] = ContextVar("monolite_attempt", default=None)


def attempt() -> AttemptInfo:
    """Return the attempt that is running; outside a runtime, a first attempt with an empty key.

    So that an activity that asks can be unit-tested bare.
    """
    found: AttemptInfo | None = current_attempt.get()
    if found is not None:
        return found
    if running_loop() is not None:
        msg = "monolite.attempt() works inside an activity; in a workflow use monolite.current()"
        raise Misused(msg)
    return BareAttempt()
