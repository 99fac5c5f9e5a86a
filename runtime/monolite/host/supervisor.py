"""The supervisor: runs attempts at activities on the host's loop or in threads, and reports.

Whatever an activity does (raise anything, return what is not JSON, run too long) becomes one
report to the engine; none of it reaches the event loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread

from monolite.core import attempts, failure
from monolite.core.attempt import AttemptInfo, current_attempt
from monolite.core.payload import encode
from monolite.errors import ActivityTimedOut
from monolite.host.bridge import Bridge
from monolite.host.events import Done, Failed
from monolite.host.flights import Flight

THREADS_MAX = 64
"""Synchronous activities running at once."""


class Supervisor:
    """Runs what the engine launches. All methods are called on the host's event loop."""

    def __init__(
        self, bridge: Bridge, report: Callable[[Done | Failed], None], runtime: Any
    ) -> None:
        self._bridge = bridge
        self._report = report
        self._runtime = runtime
        self._cancel: dict[int, Callable[[], None]] = {}
        self._threads = anyio.CapacityLimiter(THREADS_MAX)
        self._idle: anyio.Event | None = None
        self._closing = False

    def launch(self, flight: Flight) -> None:
        """Start an attempt."""
        if self._closing:
            return  # not begun: the file still has the request
        self._cancel[flight.token] = self._bridge.start(self._attempt(flight))

    def stop(self, token: int) -> None:
        """Cancel an attempt whose outcome nobody wants. A thread runs on, unheard."""
        cancel = self._cancel.pop(token, None)
        if cancel is not None:
            cancel()

    @property
    def running(self) -> int:
        """How many attempts are running."""
        return len(self._cancel)

    async def drain(self, grace_s: float) -> None:
        """Let running attempts finish for `grace_s`, then cancel them: they will run again."""
        self._closing = True
        with anyio.move_on_after(grace_s):
            await self._until_idle()
        for token in list(self._cancel):
            self.stop(token)

    async def _until_idle(self) -> None:
        while self._cancel:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _attempt(self, flight: Flight) -> None:
        try:
            report = await self._outcome(flight)
        except BaseException as error:
            if self._cancel.pop(flight.token, None) is None or not _recordable(error):
                raise  # we cancelled it
            report = Failed(flight.token, failure.describe(error), retryable=True)
        else:
            self._cancel.pop(flight.token, None)
        self._report(report)
        if self._idle is not None and not self._cancel:
            self._idle.set()

    async def _outcome(self, flight: Flight) -> Done | Failed:
        opts = flight.call.opts
        try:
            if opts.timeout_s is None:
                value = await self._run(flight)
            else:
                value = await self._run_limited(flight, opts.timeout_s)
            return Done(flight.token, encode(value, f"result of activity {flight.call.name}"))
        except Exception as error:  # noqa: BLE001 - reported to the workflow
            return self._failed(flight, error)
        except (SystemExit, KeyboardInterrupt, BaseExceptionGroup) as error:
            return self._failed(flight, error)

    def _failed(self, flight: Flight, error: BaseException) -> Failed:
        try:
            retryable = attempts.retry_of(flight.call.opts).retryable(error)
        except Exception as broken:  # noqa: BLE001 - a user's predicate
            broken.__cause__ = error
            return Failed(flight.token, failure.describe(broken), retryable=False)
        return Failed(flight.token, failure.describe(error), retryable)

    async def _run_limited(self, flight: Flight, timeout_s: float) -> Any:
        with anyio.move_on_after(timeout_s) as scope:
            return await self._run(flight)
        assert scope.cancelled_caught
        raise ActivityTimedOut(
            "start-to-close", flight.call.name, flight.number, limit_s=timeout_s
        )

    async def _run(self, flight: Flight) -> Any:
        call = flight.call
        definition = call.definition
        args, kwargs = definition.signature.decode(flight.args)
        current_attempt.set(
            AttemptInfo(
                name=call.name,
                number=flight.number,
                idempotency_key=flight.idempotency_key,
                interrupted=flight.interrupted,
                workflow_id=flight.run_id,
                runtime=self._runtime,
            )
        )
        if inspect.iscoroutinefunction(definition.fn):
            return await definition.fn(*args, **kwargs)
        # A thread cannot be killed: on a time-out it is left behind, and its token is void.
        result = await anyio.to_thread.run_sync(
            lambda: definition.fn(*args, **kwargs),
            abandon_on_cancel=True,
            limiter=self._threads,
        )
        return await result if inspect.isawaitable(result) else result


def _recordable(error: BaseException) -> bool:
    """Return whether an exception is the activity's own doing rather than the loop's."""
    return not isinstance(error, GeneratorExit)
