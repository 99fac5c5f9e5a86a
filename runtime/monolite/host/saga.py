"""Sagas: what to undo, newest first, when a workflow fails half-way."""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import anyio

from monolite.errors import Misused


class Saga:
    """Compensation for steps that cannot be rolled back.

        async with Saga() as undo:
            payment = await charge(card, cents)
            undo.add(refund(payment))
            await ship(order)

    If the block fails or is cancelled, the added calls run newest first, each journaled like
    any step, shielded from the cancellation; then the error goes on. One that fails does not
    keep the others from running; its error is added to the group that is then raised.
    """

    def __init__(self) -> None:
        self._calls: list[Coroutine[Any, Any, Any]] = []

    def add(self, call: Coroutine[Any, Any, Any]) -> None:
        """Add what undoes the step just done: a call, or a coroutine that makes several."""
        given: Any = call  # callers may be untyped
        if not isinstance(given, Coroutine):
            msg = f"Saga.add takes a call, such as refund(payment), not {given!r:.200}"
            raise Misused(msg)
        self._calls.append(call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        calls, self._calls = self._calls, []
        if error is None or isinstance(error, GeneratorExit):
            for call in calls:
                call.close()
            return
        failures = await self._undo(calls)
        if failures:
            msg = f"undoing after {type(error).__name__} failed in part"
            raise BaseExceptionGroup(msg, [error, *failures])

    async def _undo(self, calls: list[Coroutine[Any, Any, Any]]) -> list[BaseException]:
        failures: list[BaseException] = []
        with anyio.CancelScope(shield=True):
            for call in reversed(calls):
                try:
                    await call
                except Exception as error:  # noqa: BLE001 - raised with the others
                    failures.append(error)
        return failures
