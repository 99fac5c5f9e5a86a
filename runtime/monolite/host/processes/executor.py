"""The executor: what the supervisor asks to run attempts in child processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import anyio

from monolite.core import attempts, failure
from monolite.core.duration import seconds
from monolite.core.failure import Failure
from monolite.errors import MonoliteError, RetryAfter
from monolite.host.annex import Annex
from monolite.host.bridge import Bridge
from monolite.host.events import Appended, Done, Event, Failed
from monolite.host.flights import Flight
from monolite.host.processes.frames import Beat, Item, Run, Setup
from monolite.host.processes.place import MAIN, place_of
from monolite.host.processes.pool import Job, Outcome, Pool


class Executor:
    """Runs attempts in a pool of child processes, which starts with the first of them.

    All methods are called on the host's event loop.
    """

    def __init__(
        self,
        bridge: Bridge,
        post: Callable[[Event], None],
        size: int | None,
        on_beat: Callable[[Flight, str | None], None] = lambda _flight, _details: None,
    ) -> None:
        self._bridge = bridge
        self._post = post
        self._on_beat = on_beat
        self._size = size or os.cpu_count() or 1
        self._annex = Annex()
        self._pool: Pool | None = None
        self._jobs: dict[int, Job] = {}

    async def run(self, flight: Flight) -> Done | Failed:
        """Run one attempt. If this is cancelled, the attempt's processes are gone after it."""
        try:
            run = run_frame(flight)
        except MonoliteError as error:
            return Failed(flight.token, failure.describe(error), retryable=False)
        reply = self._bridge.reply()
        job = Job(
            run,
            log_fields(flight),
            lambda outcome: self._bridge.soon(reply.answer, outcome),
            lambda frame: self._bridge.soon(self._meanwhile, flight, frame),
        )
        self._jobs[flight.token] = job
        self._annex.soon(self._take, job)
        try:
            return landed(flight, await reply.wait())
        except BaseException:
            gone = self._bridge.reply()
            self._annex.soon(self._stop, job, lambda: gone.answer(None))
            with anyio.CancelScope(shield=True):
                await gone.wait()
            raise
        finally:
            self._jobs.pop(flight.token, None)

    def kill(self, token: int, gone: Callable[[], None]) -> bool:
        """Kill an attempt if it runs here; call back on the host's loop when it is gone."""
        job = self._jobs.get(token)
        if job is None:
            return False
        self._annex.soon(self._stop, job, gone)
        return True

    def _meanwhile(self, flight: Flight, frame: Beat | Item) -> None:
        if isinstance(frame, Beat):
            self._on_beat(flight, frame.details)
        else:
            self._post(Appended(flight.token, frame.stream, [frame.value]))

    async def close(self) -> None:
        """Kill all children; they are gone when this returns."""
        if not self._annex.started:
            return
        closed = self._bridge.reply()
        self._annex.soon(self._close, lambda: self._bridge.soon(closed.answer, None))
        await closed.wait()
        self._annex.close()

    # In the annex.

    def _take(self, job: Job) -> None:
        if self._pool is None:
            self._pool = Pool(self._size, self._setup())
        self._pool.take(job)

    def _stop(self, job: Job, gone: Callable[[], None]) -> None:
        assert self._pool is not None
        self._pool.stop(job, lambda: self._bridge.soon(gone))

    def _close(self, closed: Callable[[], None]) -> None:
        assert self._pool is not None
        closing = asyncio.get_running_loop().create_task(self._pool.close())
        closing.add_done_callback(lambda _task: closed())

    def _setup(self) -> Setup:
        main: Any = sys.modules.get(MAIN)
        file = getattr(main, "__file__", None)
        return Setup(
            sys_path=list(sys.path),
            argv=list(sys.argv),
            main=None if file is None else os.path.abspath(file),  # noqa: PTH100 - links stay
            package=getattr(main, "__package__", None) or None,
            backend=self._bridge.backend,
        )


def run_frame(flight: Flight) -> Run:
    """Return an attempt as another process is told of it; raise Misused if it cannot be there."""
    opts = flight.call.opts
    return Run(
        token=flight.token,
        name=flight.call.name,
        place=place_of(flight.call.definition),
        args=flight.args,
        number=flight.number,
        idempotency_key=flight.idempotency_key,
        interrupted=flight.interrupted,
        workflow_id=flight.workflow_id,
        memory_bytes=opts.memory_bytes,
        timeout_s=opts.timeout_s,
    )


def log_fields(flight: Flight) -> dict[str, Any]:
    """Return what the output of an attempt is logged with."""
    return {"run_id": flight.workflow_id, "key": flight.key, "attempt": flight.number}


def landed(flight: Flight, outcome: Outcome) -> Done | Failed:
    """Return what the engine is told of an attempt that ran in another process."""
    if outcome.failure is None:
        assert outcome.value is not None
        return Done(flight.token, outcome.value)
    described = outcome.failure
    if outcome.final:
        return Failed(flight.token, described, retryable=False)
    try:
        error = as_raised(described, outcome.kinds)
        if isinstance(error, RetryAfter):
            delay_us = round(seconds(error.delay, name="RetryAfter.delay") * 1_000_000)
            told = described if described.cause is None else described.cause
            return Failed(flight.token, told, retryable=True, delay_us=delay_us)
        retry = attempts.retry_of(flight.call.opts)
        return Failed(flight.token, described, retry.retryable_abroad(outcome.kinds, error))
    except Exception as broken:  # noqa: BLE001 - a user's predicate
        broken.__cause__ = failure.rebuild(described)
        return Failed(flight.token, failure.describe(broken), retryable=False)


def as_raised(described: Failure, kinds: list[str]) -> BaseException:
    """Return an error of another process as an instance of its class, or of the nearest known.

    It is made without calling its constructor, which may want what nobody has any more.
    """
    error = failure.rebuild(described)
    for kind in kinds:
        module, _, qualname = kind.partition(":")
        found: Any = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            continue
        if found in (Exception, BaseException) or isinstance(error, found):
            break
        made = found.__new__(found, *(described.args or [described.message]))
        made.__cause__ = error.__cause__
        return made
    return error
