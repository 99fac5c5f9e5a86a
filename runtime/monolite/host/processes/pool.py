"""The pool: child processes kept warm, and the attempts that wait for one.

Everything here happens in the annex. An attempt that is not wanted any more, or that takes too
long, is killed with its whole process group, and only reported once that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from monolite.core import failure
from monolite.core.failure import Failure
from monolite.core.size import shown
from monolite.errors import ActivityTimedOut, MonoliteError, ProcessDied
from monolite.host.processes import frames
from monolite.host.processes.frames import Beat, Begun, Frame, Item, Run, Setup
from monolite.host.processes.ward import Ward

IDLE_S = 60.0
"""How long a child without work is kept."""

IMPORT_S_MAX = 300.0
"""How long a child may take to import an activity's module; the attempt has not begun then."""


class Outcome(msgspec.Struct):
    """How an attempt ended: with a value, or a failure and the classes of its error."""

    value: str | None = None
    failure: Failure | None = None
    kinds: list[str] = []
    final: bool = False


class Job:
    """One attempt to be run by a child."""

    def __init__(
        self,
        run: Run,
        fields: dict[str, Any],
        on_outcome: Callable[[Outcome], None],
        on_frame: Callable[[Beat | Item], None],
    ) -> None:
        self.run = run
        self.fields = fields
        """What a line of its output is logged with."""
        self.on_outcome = on_outcome
        self.on_frame = on_frame
        self.task: asyncio.Task[None] | None = None


class Pool:
    """At most `size` children, each with one attempt at a time."""

    def __init__(self, size: int, setup: Setup) -> None:
        self._setup = setup
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Ward] = []
        self._expiries: dict[Ward, asyncio.TimerHandle] = {}
        self._wards: set[Ward] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        os.register_at_fork(after_in_child=partial(_abandon, weakref.ref(self)))

    def take(self, job: Job) -> None:
        """Run an attempt as soon as a child is free."""
        job.task = self._start(self._serve(job))

    def stop(self, job: Job, gone: Callable[[], None]) -> None:
        """Kill an attempt that nobody wants any more; call back when it is gone."""
        assert job.task is not None
        if job.task.done():
            gone()
        else:
            job.task.add_done_callback(lambda _task: gone())
            job.task.cancel()

    async def close(self) -> None:
        """Kill all children; they are gone when this returns."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for expiry in self._expiries.values():
            expiry.cancel()
        await asyncio.gather(*[ward.end() for ward in self._wards])
        self._wards.clear()

    def forget(self) -> None:
        """Let go of the children, in a fork of this process: they are its parent's."""
        for ward in self._wards:
            ward.forget()

    def _start(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # One attempt.

    async def _serve(self, job: Job) -> None:
        try:
            async with self._slots:
                outcome = await self._with_ward(job)
        except Exception as error:  # noqa: BLE001 - such as no memory for another process
            outcome = _raised(error)
        job.on_outcome(outcome)

    async def _with_ward(self, job: Job) -> Outcome:
        ward = await self._free_ward()
        try:
            outcome = await self._attempt(ward, job)
        except BaseException:
            ward.spoilt = True
            raise
        finally:
            if ward.spoilt or not ward.alive:
                await self._end(ward)
            said = ward.output.settle()
            if not ward.spoilt:
                self._keep(ward)
        if outcome is None:
            outcome = _raised(_died(ward, job.run))
        if outcome.failure is not None and said:
            outcome.failure = _with_output(outcome.failure, said)
        return outcome

    async def _attempt(self, ward: Ward, job: Job) -> Outcome | None:
        """Return how an attempt ended; None if the child died of it."""
        run = job.run
        ward.output.attribute(run.name, job.fields)
        ward.send(run)
        error: MonoliteError = MonoliteError(
            f"the module of activity {run.name!r} was not imported within {IMPORT_S_MAX:g} s"
        )
        try:
            async with asyncio.timeout(IMPORT_S_MAX):
                frame = await self._hear(ward, job)
                if not isinstance(frame, Begun):
                    return _outcome(ward, frame)
            limit_s = run.timeout_s
            error = ActivityTimedOut("start-to-close", run.name, run.number, limit_s=limit_s)
            async with asyncio.timeout(limit_s):
                return _outcome(ward, await self._hear(ward, job))
        except TimeoutError:
            ward.spoilt = True
            return _raised(error)

    async def _hear(self, ward: Ward, job: Job) -> Frame | None:
        """Return the next word on how the attempt goes; hand on what it says meanwhile."""
        while True:
            frame = await ward.hear()
            if isinstance(frame, (Beat, Item)):
                if frame.token == job.run.token:
                    job.on_frame(frame)
            else:
                return frame

    # Children.

    async def _free_ward(self) -> Ward:
        while self._idle:
            ward = self._idle.pop()
            self._expiries.pop(ward).cancel()
            if ward.alive:
                return ward
            await self._end(ward)
        ward = Ward(self._setup)
        self._wards.add(ward)
        try:
            await ward.open()
        except BaseException:
            await self._end(ward)
            raise
        return ward

    def _keep(self, ward: Ward) -> None:
        self._idle.append(ward)
        loop = asyncio.get_running_loop()
        self._expiries[ward] = loop.call_later(IDLE_S, self._expire, ward)

    def _expire(self, ward: Ward) -> None:
        self._idle.remove(ward)
        del self._expiries[ward]
        self._start(self._end(ward))

    async def _end(self, ward: Ward) -> None:
        """Kill a child, and wait until it is gone, even if what waits for it is cancelled."""
        ending = self._start(self._finish(ward))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise

    async def _finish(self, ward: Ward) -> None:
        await ward.end()
        self._wards.discard(ward)


def _abandon(pool: weakref.ref[Pool]) -> None:
    found = pool()
    if found is not None:
        found.forget()


def _outcome(ward: Ward, frame: Frame | None) -> Outcome | None:
    if isinstance(frame, frames.Done):
        ward.spoilt = not frame.clean
        return Outcome(frame.value)
    if isinstance(frame, frames.Failed):
        ward.spoilt = not frame.clean
        return Outcome(None, frame.failure, frame.kinds, frame.final)
    ward.spoilt = True
    return None


def _raised(error: BaseException) -> Outcome:
    return Outcome(None, failure.describe(error), kinds_of(error))


def _died(ward: Ward, run: Run) -> ProcessDied:
    """Return what is known of an attempt whose child is gone."""
    code = ward.returncode
    by = None
    if code is not None and code < 0:
        by = f"signal {-code}"
        with contextlib.suppress(ValueError):
            by = signal.Signals(-code).name
    limit = None if run.memory_bytes is None else shown(run.memory_bytes)
    return ProcessDied(run.name, None if by else code, by, limit)


def _with_output(described: Failure, said: str) -> Failure:
    text = f"{described.traceback.rstrip()}\nStandard error, at its end:\n{said}\n"
    return msgspec.structs.replace(described, traceback=text.lstrip())


def kinds_of(error: BaseException) -> list[str]:
    """Return the classes of an error by name, as another process is told of them."""
    return [f"{cls.__module__}:{cls.__qualname__}" for cls in type(error).__mro__]
