"""The virtual supervisor: activities really run, but their time-outs are in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import anyio

from monolite.errors import ActivityTimedOut
from monolite.host.bridge import Bridge, TrioBridge
from monolite.host.engine import Engine
from monolite.host.events import Deferred, Done, Event, Failed
from monolite.host.flights import Flight
from monolite.host.processes.executor import Executor
from monolite.host.supervisor import CANCEL_WAIT_S, Supervisor
from monolite.testing.clock import VirtualClock
from monolite.testing.standin import StandIns


class Limit:
    """Until when an attempt must have ended, or said something, in virtual time."""

    def __init__(self, flight: Flight, kind: str, limit_s: float | None, now_us: int) -> None:
        self.flight = flight
        self.kind = kind
        self.limit_s = limit_s
        self.scope = anyio.CancelScope()
        self._limit_us = round((limit_s or 0) * 1_000_000)
        self._beat_s = flight.beat_s
        self.due_us = now_us + self._limit_us

    def fall_due(self, now_us: int) -> None:
        """Stop the attempt, unless it was heard of meanwhile."""
        if self.kind == "heartbeat" and self.flight.beat_s != self._beat_s:
            self._beat_s = self.flight.beat_s
            self.due_us = now_us + self._limit_us
        else:
            self.scope.cancel()


class VirtualSupervisor(Supervisor):
    """Runs attempts, says which are under way, and can drop them all as a crash does."""

    def __init__(
        self,
        bridge: Bridge,
        report: Callable[[Event], None],
        runtime: Any,
        executor: Executor,
        *,
        clock: VirtualClock,
        engine: Engine,
        stand_ins: StandIns,
        moved: Callable[[], None],
    ) -> None:
        super().__init__(bridge, report, runtime, executor)
        self._clock = clock
        self._engine = engine
        self._stand_ins = stand_ins
        self._moved = moved
        self._limits: list[Limit] = []
        self._aloof: set[int] = set()

    def launch(self, flights: list[Flight]) -> None:
        for flight in flights:
            self._stand_ins.dress(flight, self._engine)
        super().launch(flights)

    async def _attempt(self, flight: Flight) -> Done | Failed | Deferred:
        try:
            return await super()._attempt(flight)
        finally:
            self._moved()

    async def _limited(self, flight: Flight, act: Awaitable[Any]) -> Any:
        opts = flight.call.opts
        with self._limit(flight, "heartbeat", opts.heartbeat_s) as silent:
            with self._limit(flight, "start-to-close", opts.timeout_s) as slow:
                return await act
            raise self._too_late(slow)
        raise self._too_late(silent)

    @contextlib.contextmanager
    def _limit(self, flight: Flight, kind: str, limit_s: float | None) -> Generator[Limit]:
        limit = Limit(flight, kind, limit_s, self._clock.now_us())
        if limit_s is not None:
            self._limits.append(limit)
        try:
            with limit.scope:
                yield limit
        finally:
            if limit_s is not None:
                self._limits.remove(limit)

    def _too_late(self, limit: Limit) -> ActivityTimedOut:
        flight = limit.flight
        flight.cancelled = True
        return ActivityTimedOut(limit.kind, flight.name, flight.number, limit_s=limit.limit_s)

    @property
    def next_limit_us(self) -> int | None:
        """When the first of the attempts under way has run, or said nothing, for too long."""
        return min((limit.due_us for limit in self._limits), default=None)

    def expire(self) -> None:
        """Cut off the attempts whose time is up."""
        now_us = self._clock.now_us()
        for limit in list(self._limits):
            if limit.due_us <= now_us:
                limit.fall_due(now_us)

    @property
    def is_busy(self) -> bool:
        """Whether attempts are under way that one should wait for."""
        return bool(self._queue) or any(token not in self._aloof for token in self._running)

    def despair(self) -> None:
        """Wait no longer for the attempts under way: they wait for something themselves."""
        self._aloof.update(self._running)

    def die(self) -> None:
        """Cut everything off at once; nobody hears how it ends."""
        self._closing = True
        self._queue.clear()
        running, self._running = self._running, {}
        for lane in running.values():
            lane.over = True
            if lane.flight is not None:
                lane.flight.cancelled = True
            lane.cancel()
        for lane in self._idle:
            if lane.wake is not None:
                lane.wake.answer(None)

    async def buried(self) -> None:
        """Wait until what was cut off has cleaned up after itself."""
        with anyio.move_on_after(CANCEL_WAIT_S):
            await self._until(lambda: not self._lanes)


class FreeTrioBridge(TrioBridge):
    """The bridge to a trio run whose activities outlive the task that opened the runtime.

    They are system tasks, so that a fixture need not hold a nursery open.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def start(self, coroutine: Any) -> Callable[[], None]:
        import trio

        scope = anyio.CancelScope()

        async def in_scope() -> None:
            with scope:
                await coroutine

        trio.lowlevel.spawn_system_task(in_scope)
        return scope.cancel
