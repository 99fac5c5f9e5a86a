"""What activity code may ask of the attempt it runs in."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from monolite.errors import Misused


class AttemptInfo:
    """The attempt at an activity that is running.

    `number` counts from 1. `idempotency_key` is the same text for every attempt at this
    activity and for no other: hand it to the outside system. `interrupted`: the previous
    attempt was cut off by a crash and may have taken effect.
    """

    __slots__ = ("idempotency_key", "interrupted", "name", "number", "runtime", "workflow_id")

    def __init__(
        self,
        *,
        name: str,
        number: int,
        idempotency_key: str,
        interrupted: bool,
        workflow_id: str,
        runtime: Any = None,
    ) -> None:
        self.name = name
        self.number = number
        self.idempotency_key = idempotency_key
        self.interrupted = interrupted
        self.workflow_id = workflow_id
        self.runtime = runtime

    def __repr__(self) -> str:
        return f"<attempt {self.number} at {self.idempotency_key}>"


current_attempt: ContextVar[AttemptInfo | None] = ContextVar("monolite_attempt", default=None)


def attempt() -> AttemptInfo:
    """Return the attempt that is running; outside a runtime, a first attempt with an empty key.

    So that an activity that asks can be unit-tested bare.
    """
    found = current_attempt.get()
    if found is not None:
        return found
    from monolite.core.loop import running_loop  # noqa: PLC0415 - only on this rare path

    if running_loop() is not None:
        msg = "monolite.attempt() works inside an activity; in a workflow use monolite.current()"
        raise Misused(msg)
    return AttemptInfo(
        name="", number=1, idempotency_key="", interrupted=False, workflow_id="", runtime=None
    )
