"""The pulse: stops attempts whose code has not called `heartbeat()` for too long."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable

import anyio

from monolite.host.bridge import Bridge
from monolite.host.flights import Flight


class Pulse:
    """Watches attempts that promised heartbeats, in one task that runs while there are any."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._watched: dict[int, tuple[Flight, float, anyio.CancelScope]] = {}
        self._dues: list[tuple[float, int]] = []
        self._earlier = anyio.Event()
        self._cancel: Callable[[], None] | None = None

    def watch(self, flight: Flight, limit_s: float, scope: anyio.CancelScope) -> None:
        """Cancel `scope` once the attempt has been silent for `limit_s`."""
        flight.beat_s = time.monotonic()
        self._watched[flight.token] = (flight, limit_s, scope)
        heapq.heappush(self._dues, (flight.beat_s + limit_s, flight.token))
        if self._dues[0][1] == flight.token:
            self._earlier.set()
        if self._cancel is None:
            self._cancel = self._bridge.start(self._run())

    def unwatch(self, flight: Flight) -> None:
        self._watched.pop(flight.token, None)
        if not self._watched:
            self._earlier.set()

    def stop(self) -> None:
        """End the task, whoever is still watched."""
        if self._cancel is not None:
            self._cancel()

    async def _run(self) -> None:
        try:
            while self._watched:
                self._earlier = anyio.Event()
                wait_s = self._dues[0][0] - time.monotonic() if self._dues else math.inf
                with anyio.move_on_after(max(0.0, wait_s)):
                    await self._earlier.wait()
                self._look(time.monotonic())
        finally:
            self._dues.clear()
            self._cancel = None

    def _look(self, now_s: float) -> None:
        while self._dues and self._dues[0][0] <= now_s:
            _, token = heapq.heappop(self._dues)
            if token not in self._watched:
                continue
            flight, limit_s, scope = self._watched[token]
            due_s = flight.beat_s + limit_s
            if due_s <= now_s:
                scope.cancel()
            else:
                heapq.heappush(self._dues, (due_s, token))
