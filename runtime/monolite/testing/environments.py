"""The environment: a runtime in virtual time, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar, overload

import anyio
import anyio.lowlevel

from monolite.core.call import Call
from monolite.core.definition import Workflow
from monolite.core.duration import Duration, seconds
from monolite.core.entry import DIVERGED, ENDED
from monolite.core.handle import Handle, Info
from monolite.errors import Misused
from monolite.host.runtime import Runtime
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Store
from monolite.store.sqlite.inspector import Inspector, inspect
from monolite.testing.clock import START, VirtualClock, microseconds
from monolite.testing.points import Witness
from monolite.testing.runtime import VirtualRuntime
from monolite.testing.standin import Fakes, StandIns

A = TypeVar("A")
R = TypeVar("R")

PATIENCE_S = 0.5
"""How long, in real time, activities that only wait may hold up the clock."""

YIELDS = 3
"""How often other tasks get a turn before nothing is said to move: they may be about to ask."""

WAKES_MAX = 1_000_000
"""Times that the clock stops on its way: more is an environment that wakes itself for ever."""


class NeverEnded(AssertionError):
    """A run does not come to its end, however the clock is moved; the message says why."""


class Environment:
    """A runtime in virtual time. Use it as `async with testing.environment(actors=[...])`.

    Made in memory, or on a file with `path`. Time stands still until `skip` or `run` moves it,
    so timers and back-offs cost nothing. Activities really run; `replace` says what runs instead.
    It starts with its first use and must be closed, which `async with` does.
    """

    def __init__(
        self,
        actors: Iterable[Any] | ModuleType = (),
        *,
        path: str | Path | None = None,
        replace: Fakes | None = None,
        start: datetime | None = None,
        patience: Duration = PATIENCE_S,
        store: Store | None = None,
        watcher: Witness | None = None,
        one_by_one: bool = False,
        **settings: Any,
    ) -> None:
        self._path = None if path is None else Path(path)
        self._store = MemoryStore() if self._path is None and store is None else store
        self._clock = VirtualClock(microseconds(start) if start else self._start_us())
        self._patience_s = seconds(patience, name="patience")
        self._runtime = VirtualRuntime(
            ":memory:" if self._path is None else self._path,
            clock=self._clock,
            store=self._store,
            stand_ins=StandIns(replace or {}, watcher),
            one_by_one=one_by_one,
            actors=[actors] if isinstance(actors, ModuleType) else actors,
            **{"durability": "normal", **settings},
        )
        self._life: str = "new"

    def _start_us(self) -> int:
        """Return when to begin: on a file of an earlier environment, when that was left."""
        if self._path is None or not self._path.exists():
            return microseconds(START)
        return inspect(self._path, Inspector.latest_us) or microseconds(START)

    async def __aenter__(self) -> Self:
        self._up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()
        with anyio.CancelScope(shield=True):
            await self._runtime.buried()
        if error is None:
            self._runtime.check()

    def _up(self) -> VirtualRuntime:
        """Return the runtime, started if it was not."""
        if self._life == "over":
            msg = "this environment is closed; make a new one"
            raise Misused(msg)
        if self._life == "new":
            self._runtime.open()
            self._life = "started"
        self._runtime.check()
        return self._runtime

    def close(self) -> None:
        """End it without waiting for anything. `async with` does it, and so does the fixture."""
        if self._life == "started":
            self._runtime.close()
        self._life = "over"

    # What a test does in it.

    @property
    def runtime(self) -> Runtime:
        """The runtime, for all that the environment has no method for. It outlives crashes."""
        return self._up()

    @property
    def now(self) -> datetime:
        """What time it is, in UTC. It begins at 2030-01-01, or at `start`."""
        return datetime.fromtimestamp(self._clock.now_us() / 1_000_000, UTC)

    def add(self, *actors: Any) -> None:
        """Add workflows, actor classes or modules to what was given as `actors`."""
        for actor in actors:
            self._runtime.add(actor)

    async def spawn(self, call: Call[R], *, id: str | None = None, **options: Any) -> Handle[R]:
        """Start a run, with the options of `Runtime.spawn`. It moves on as the test waits."""
        return await self._up().spawn(call, id=id, **options)

    async def run(
        self, call: Call[R], *, id: str | None = None, within: Duration = "366d", **options: Any
    ) -> R:
        """Start a run, move the clock from timer to timer until it has ended; return its result.

        Raises what the run failed with, and NeverEnded, saying what it waits for, if nothing is
        left that could wake it, or `within` so much virtual time it does not end.
        """
        handle = await self.spawn(call, id=id, **options)
        await self.until_ended(handle.id, within=within)
        return await handle.result()

    @overload
    def handle(self, id: str, workflow: Workflow[..., R]) -> Handle[R]: ...
    @overload
    def handle(self, id: str, workflow: None = None) -> Handle[Any]: ...
    def handle(self, id: str, workflow: Workflow[..., Any] | None = None) -> Handle[Any]:
        """Return a handle of the run with this id, as `Runtime.handle` does."""
        return self._up().handle(id, workflow)

    def actor(self, cls: type[A], key: str) -> A:
        """Return a reference to one actor, as `Runtime.actor` does."""
        return self._up().actor(cls, key)

    async def list(self, **where: Any) -> list[Info]:
        """Return the runs that match, as `Runtime.list` does."""
        return await self._up().list(**where)

    async def quiet(self) -> None:
        """Wait until nothing moves: nothing will happen until the clock or somebody else acts.

        Activities that are under way count, until all that is left of them has waited for
        `patience` of real time.
        """
        runtime = self._up()
        runtime.stepper.poke()  # other processes may have written to the file
        while True:
            await self._others()
            if not runtime.is_busy:
                return
            with anyio.move_on_after(self._patience_s) as limit:
                while runtime.is_busy:
                    await runtime.moved()
                    runtime.check()
                    limit.deadline = anyio.current_time() + self._patience_s
            if limit.cancelled_caught:
                runtime.supervisor.despair()

    async def _others(self) -> None:
        for _ in range(YIELDS):
            await anyio.lowlevel.checkpoint()

    async def skip(self, duration: Duration) -> None:
        """Move the clock on, firing everything that is due on the way, in order.

        Returns when nothing moves at the new time.
        """
        until_us = self._clock.now_us() + round(seconds(duration) * 1_000_000)
        await self.quiet()
        for _ in range(WAKES_MAX):
            if not await self._to_next_wake(until_us):
                self._clock.move_to(until_us)
                await self.quiet()
                return
        msg = f"the clock stopped more than {WAKES_MAX:,} times on its way; skip less at a time"
        raise NeverEnded(msg)

    async def _to_next_wake(self, until_us: int) -> bool:
        """Move to when something happens next; return False if that is not until then."""
        runtime = self._up()
        wake_us = runtime.next_wake_us
        if wake_us is None or wake_us > until_us:
            return False
        self._clock.move_to(wake_us)
        runtime.supervisor.expire()
        await self.quiet()
        return True

    async def until_ended(self, id: str, *, within: Duration = "366d") -> None:
        """Move the clock from timer to timer until a run has ended; as `run`, of any run."""
        until_us = self._clock.now_us() + round(seconds(within, name="within") * 1_000_000)
        for _ in range(WAKES_MAX):
            await self.quiet()
            runtime = self._up()
            info = await runtime.describe(id)
            if info.status in ENDED:
                return
            if info.status == DIVERGED:
                msg = f"{id} has diverged, and cannot go on: {info.waiting_on}"
                raise NeverEnded(msg)
            if await self._to_next_wake(until_us):
                continue
            if runtime.supervisor.running == 0:
                raise NeverEnded(_why(info, within, later=runtime.next_wake_us is not None))
            await runtime.moved()  # an activity waits for something real
        msg = f"{id} has not ended after {WAKES_MAX:,} moves of the clock; does it wake itself?"
        raise NeverEnded(msg)

    async def crash(self) -> None:
        """Kill the engine and start another on the same store, as if the process had died.

        What was not committed is gone. Activities under way are cancelled, and run again with
        the same idempotency key. Handles go on working; what waits for an answer goes on waiting.
        """
        self._up().crash()
        await self._runtime.buried()
        await self._others()

    def engage(self, witness: Witness) -> None:
        """Let whoever waits for a result move the clock meanwhile, and a witness count."""
        runtime = self._up()
        runtime.autopilot = self.until_ended
        witness.watch(runtime)


def _why(info: Info, within: Duration, *, later: bool) -> str:
    waits = info.waiting_on or info.status
    if later:
        return f"{info.id} has not ended within {within}: it waits for {waits}; raise within="
    return (
        f"{info.id} waits for {waits}, and nothing is left that would wake it; send it what it "
        "waits for: spawn it with env.spawn, signal it, then wait for its result"
    )


def environment(
    actors: Iterable[Any] | ModuleType = (),
    *,
    path: str | Path | None = None,
    replace: Fakes | None = None,
    start: datetime | None = None,
    patience: Duration = PATIENCE_S,
    **settings: Any,
) -> Environment:
    """Return an environment, for `async with testing.environment(actors=[order]) as env:`.

    `actors` as for `Runtime`. `path` keeps it in a file instead of memory. `replace` maps
    activities to what runs instead of them. `start` is what time it is at first. `patience` is
    how long, in real time, activities that only wait hold up the clock. `settings` are the
    runtime's own, such as `max_live`.
    """
    return Environment(
        actors,
        path=path,
        replace=replace,
        start=start,
        patience=patience,
        **settings,
    )
