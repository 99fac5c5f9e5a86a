"""Flights: the attempts at activities that are running now, by token.

A token names one attempt. An outcome that comes with a token which has landed is late, and is
dropped: that is what fences threads that cannot be killed.
"""

from __future__ import annotations

from typing import Any

from monolite.core.call import Call
from monolite.core.entry import RunNo


class Flight:
    """One attempt in flight, and everything the supervisor needs to run it."""

    __slots__ = (
        "args",
        "call",
        "failures",
        "idempotency_key",
        "interrupted",
        "key",
        "number",
        "recorded",
        "run_id",
        "run_no",
        "since_us",
        "token",
    )

    def __init__(
        self,
        *,
        token: int,
        run_no: RunNo,
        run_id: str,
        key: str,
        call: Call[Any],
        args: str,
        number: int,
        failures: int,
        interrupted: bool,
        recorded: bool,
        idempotency_key: str,
        since_us: int,
    ) -> None:
        self.token = token
        self.run_no = run_no
        self.run_id = run_id
        self.key = key
        self.call = call
        self.args = args
        self.number = number
        self.failures = failures
        self.interrupted = interrupted
        self.recorded = recorded
        self.idempotency_key = idempotency_key
        self.since_us = since_us


class Flights:
    """Every attempt in flight."""

    def __init__(self) -> None:
        self._by_token: dict[int, Flight] = {}
        self._by_run: dict[RunNo, dict[str, Flight]] = {}
        self._last_token = 0

    def new_token(self) -> int:
        """Return a token that no attempt had before."""
        self._last_token += 1
        return self._last_token

    def take_off(self, flight: Flight) -> None:
        self._by_token[flight.token] = flight
        self._by_run.setdefault(flight.run_no, {})[flight.key] = flight

    def land(self, token: int) -> None:
        """Forget an attempt: whatever it still reports is late."""
        flight = self._by_token.pop(token, None)
        if flight is None:
            return
        of_run = self._by_run[flight.run_no]
        if of_run.get(flight.key) is flight:
            del of_run[flight.key]
        if not of_run:
            del self._by_run[flight.run_no]

    def get(self, token: int) -> Flight | None:
        return self._by_token.get(token)

    def of(self, run_no: RunNo) -> dict[str, Flight]:
        """Return a run's attempts in flight by operation key."""
        return self._by_run.get(run_no) or {}

    def __len__(self) -> int:
        return len(self._by_token)
