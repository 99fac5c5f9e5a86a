"""The supervisor: has attempts at activities run, on the loop, in threads or processes; reports.

Whatever an activity does (raise anything, return what is not JSON, run too long) becomes one
report to the engine; none of it reaches the event loop.

Attempts run in *lanes*: tasks that take one attempt after the other. An activity that finishes
without waiting costs no task of its own; one that waits keeps its lane, and the next attempt
is taken by another. A lane whose context variables an activity has changed, or that was
cancelled, is not used again, so that activities never see each other's.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, copy_context
from typing import Any

import anyio
import anyio.to_thread

from monolite.core import attempts, failure
from monolite.core.attempt import current_attempt
from monolite.core.duration import seconds
from monolite.core.payload import encode
from monolite.errors import ActivityTimedOut, PayloadInvalid, RetryAfter
from monolite.host.bridge import Bridge, PendingReply
from monolite.host.events import Deferred, Done, Event, Failed, Returned
from monolite.host.flights import Flight
from monolite.host.processes.executor import Executor
from monolite.host.pulse import Pulse

THREADS_MAX = 64
"""Synchronous activities running at once."""

IDLE_LANES_MAX = 64
"""Lanes kept for the next attempts; more end when they run out of work."""

CANCEL_WAIT_S = 2.0
"""How long a cancelled activity may take to end when the runtime is closed."""


class Lane:
    """One task that runs attempts."""

    __slots__ = ("cancel", "flight", "over", "wake")

    def __init__(self) -> None:
        self.over = False
        self.flight: Flight | None = None
        self.cancel: Callable[[], None] = _nothing
        self.wake: PendingReply | None = None


def _nothing() -> None:
    return


def _changed(clean: Context) -> bool:
    """Return whether context variables are no longer as they were."""
    try:
        return copy_context() != clean
    except Exception:  # noqa: BLE001 - a value's own comparison may raise anything
        return True


def _trio_cancelled() -> tuple[type[BaseException], ...]:
    """Return trio's cancellation, which must never be swallowed; asyncio's may be user-raised."""
    cancelled = anyio.get_cancelled_exc_class()
    return () if issubclass(cancelled, asyncio.CancelledError) else (cancelled,)


class Supervisor:
    """Runs what the engine launches. All methods are called on the host's event loop."""

    def __init__(
        self,
        bridge: Bridge,
        report: Callable[[Event], None],
        runtime: Any,
        executor: Executor,
    ) -> None:
        self._bridge = bridge
        self._report = report
        self._runtime = runtime
        self._executor = executor
        self._queue: deque[Flight] = deque()
        self._running: dict[int, Lane] = {}
        self._lanes: set[Lane] = set()
        self._idle: list[Lane] = []
        self._roused = False
        self._threads = anyio.CapacityLimiter(THREADS_MAX)
        self._workers = anyio.CapacityLimiter(math.inf)
        self._pulse = Pulse(bridge)
        self._settled: anyio.Event | None = None
        self._closing = False

    def launch(self, flights: list[Flight]) -> None:
        """Start attempts."""
        if self._closing:
            self._return(flights)
        else:
            self._queue.extend(flights)
            self._rouse()

    def _return(self, flights: Iterable[Flight]) -> None:
        for flight in flights:
            self._report(Returned(flight.token))

    def stop(self, flight: Flight, gone: Callable[[], None]) -> bool:
        """Cancel an attempt whose outcome nobody wants. A thread runs on, unheard.

        Returns whether it runs in a process; then `gone` is called when that is killed.
        """
        killing = self._executor.kill(flight.token, gone)
        flight.cancelled = True
        lane = self._running.pop(flight.token, None)
        if lane is not None:
            lane.over = True  # even if the activity swallows it, the next must not feel it
            lane.cancel()
        return killing

    @property
    def running(self) -> int:
        """How many attempts are running."""
        return len(self._running)

    async def drain(self, grace_s: float) -> None:
        """Let running attempts finish for `grace_s`, then cancel them: they will run again."""
        self._closing = True
        self._return(self._queue)
        self._queue.clear()
        with anyio.move_on_after(grace_s):
            await self._until(lambda: not self._running)
        running, self._running = self._running, {}
        for lane in running.values():
            if lane.flight is not None:
                lane.flight.cancelled = True
            lane.cancel()
        for lane in self._idle:
            if lane.wake is not None:
                lane.wake.answer(None)
        with anyio.move_on_after(CANCEL_WAIT_S):
            await self._until(lambda: not self._lanes)
        self._pulse.stop()

    async def _until(self, settled: Callable[[], bool]) -> None:
        while not settled():
            self._settled = anyio.Event()
            await self._settled.wait()

    # Lanes.

    def _rouse(self) -> None:
        """See to it that a lane will look at the queue."""
        if self._roused or not self._queue:
            return
        self._roused = True
        if self._idle:
            lane = self._idle.pop()
            assert lane.wake is not None
            lane.wake.answer(None)
        else:
            lane = Lane()
            self._lanes.add(lane)
            lane.cancel = self._bridge.start(self._run_lane(lane))

    async def _run_lane(self, lane: Lane) -> None:
        try:
            current_attempt.set(None)
            clean = copy_context()
            while not self._closing:
                self._roused = False
                while self._queue:
                    await self._take(lane, self._queue.popleft())
                    if lane.over or self._bridge.marked() or _changed(clean):
                        return
                if len(self._idle) >= IDLE_LANES_MAX:
                    return
                lane.wake = self._bridge.reply()
                self._idle.append(lane)
                await lane.wake.wait()
        finally:
            self._lanes.discard(lane)
            self._rouse()
            self._notice()

    async def _take(self, lane: Lane, flight: Flight) -> None:
        if self._queue:
            self._rouse()  # this attempt may wait, and the others should not wait for it
        if flight.cancelled:
            return
        token = flight.token
        lane.flight = flight
        self._running[token] = lane
        try:
            report = await self._attempt(flight)
        except BaseException:
            self._running.pop(token, None)
            raise
        if self._running.pop(token, None) is not None:
            self._report(report)
        if self._closing:
            self._notice()

    def _notice(self) -> None:
        if self._settled is not None:
            self._settled.set()

    # One attempt.

    async def _attempt(self, flight: Flight) -> Done | Failed | Deferred:
        try:
            if flight.call.opts.run_in == "process":
                flight.begun = True
                return await self._executor.run(flight)
            value = await self._run(flight)
            return _returned(flight, value)
        except GeneratorExit as error:
            # The activity raised it, or this coroutine is being closed and must not wait again.
            lane = self._running.get(flight.token)
            if lane is not None:
                lane.over = True
            return self._failed(flight, error)
        except BaseException as error:
            if isinstance(error, _trio_cancelled()):
                raise  # we cancelled it, or the host is going down
            # If it was we who stopped it, nobody hears this: see `_take`.
            return self._failed(flight, error)
        finally:
            current_attempt.set(None)

    def _failed(self, flight: Flight, error: BaseException) -> Failed:
        told = error
        try:
            delay_us = None
            if isinstance(error, RetryAfter):
                delay_us = round(seconds(error.delay, name="RetryAfter.delay") * 1_000_000)
                told = error.cause or error
            retryable = delay_us is not None or self._retryable(flight, error)
        except Exception as broken:  # noqa: BLE001 - a user's predicate, or no duration
            broken.__cause__ = error
            return Failed(flight.token, failure.describe(broken), retryable=False)
        return Failed(flight.token, failure.describe(told), retryable, delay_us)

    def _retryable(self, flight: Flight, error: BaseException) -> bool:
        return attempts.retry_of(flight.call.opts).retryable(error)

    async def _run(self, flight: Flight) -> Any:
        call = flight.call
        definition = call.definition
        flight.runtime, flight.report = self._runtime, self._report
        current_attempt.set(flight)
        if call.kwargs:
            args, kwargs = definition.signature.decode(flight.args)
        else:
            args = definition.signature.decode_positional(flight.args, len(call.args))
            kwargs = call.kwargs
        opts = call.opts
        limited = opts.timeout_s is not None or opts.heartbeat_s is not None
        if definition.is_async:
            flight.begun = True
            act = definition.fn(*args, **kwargs)
            return await (self._limited(flight, act) if limited else act)
        # Waiting for a thread is not yet the attempt: its time-outs begin when its code does.
        await self._threads.acquire_on_behalf_of(flight)
        try:
            flight.begun = True
            act = self._in_thread(definition.fn, args, kwargs)
            return await (self._limited(flight, act) if limited else act)
        finally:
            self._threads.release_on_behalf_of(flight)

    async def _in_thread(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # A thread cannot be killed: on a time-out it is left behind, and its token is void.
        result, error = await anyio.to_thread.run_sync(
            lambda: _outcome(fn, args, kwargs), abandon_on_cancel=True, limiter=self._workers
        )
        if error is not None:
            raise error
        return await result if inspect.isawaitable(result) else result

    async def _limited(self, flight: Flight, act: Awaitable[Any]) -> Any:
        """Run an attempt's code under the limits that it has from its start."""
        name, number, opts = flight.name, flight.number, flight.call.opts
        limit_s = math.inf if opts.timeout_s is None else opts.timeout_s
        with anyio.CancelScope() as silence:
            with anyio.move_on_after(limit_s):
                if opts.heartbeat_s is None:
                    return await act
                self._pulse.watch(flight, opts.heartbeat_s, silence)
                try:
                    return await act
                finally:
                    self._pulse.unwatch(flight)
            flight.cancelled = True
            raise ActivityTimedOut("start-to-close", name, number, limit_s=limit_s)
        flight.cancelled = True
        raise ActivityTimedOut("heartbeat", name, number, limit_s=opts.heartbeat_s)


def _returned(flight: Flight, value: Any) -> Done | Failed | Deferred:
    if flight.deferred:
        return Deferred(flight.token)
    try:
        return Done(flight.token, encode(value, flight.call.definition.result_name))
    except PayloadInvalid as error:
        # It has taken effect. Another attempt would repeat that, to return the same again.
        return Failed(flight.token, failure.describe(error), retryable=False)


def _outcome(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, BaseException | None]:
    """Run a function in a thread; a GeneratorExit that came back as one would close the lane."""
    try:
        return fn(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - raised again on the event loop
        return None, error
