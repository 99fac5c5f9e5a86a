"""The virtual supervisor: activities really run, but their time-outs are in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from monolite.errors import ActivityTimedOut
from monolite.host.bridge import Bridge, TrioBridge
from monolite.host.engine import Engine
from monolite.host.events import Done, Failed, Returned
from monolite.host.flights import Flight
from monolite.host.processes.executor import Executor
from monolite.host.supervisor import CANCEL_WAIT_S, Supervisor
from monolite.testing.clock import VirtualClock
from monolite.testing.standin import StandIns


class VirtualSupervisor(Supervisor):
    """Runs attempts, says which are under way, and can drop them all as a crash does."""

    def __init__(
        self,
        bridge: Bridge,
        report: Callable[[Done | Failed | Returned], None],
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
        self._limits: dict[int, tuple[int, anyio.CancelScope]] = {}
        self._aloof: set[int] = set()

    def launch(self, flights: list[Flight]) -> None:
        for flight in flights:
            self._stand_ins.dress(flight, self._engine)
        super().launch(flights)

    async def _attempt(self, flight: Flight) -> Done | Failed:
        try:
            return await super()._attempt(flight)
        finally:
            self._moved()

    async def _run_limited(self, flight: Flight, timeout_s: float) -> Any:
        due_us = self._clock.now_us() + round(timeout_s * 1_000_000)
        with anyio.CancelScope() as scope:
            self._limits[flight.token] = (due_us, scope)
            try:
                return await self._run(flight)
            finally:
                del self._limits[flight.token]
        raise ActivityTimedOut("start-to-close", flight.call.name, flight.number, limit_s=timeout_s)

    @property
    def next_limit_us(self) -> int | None:
        """When the first of the attempts under way has run for too long."""
        return min((due_us for due_us, _ in self._limits.values()), default=None)

    def expire(self) -> None:
        """Cut off the attempts whose time is up."""
        now_us = self._clock.now_us()
        for due_us, scope in list(self._limits.values()):
            if due_us <= now_us:
                scope.cancel()

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
