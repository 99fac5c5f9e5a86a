"""A storm over queues: whatever happens, no limit is exceeded, and everything gets its turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import monolite
from monolite import Breaker, Queue, Rate, Retry, activity, errors, workflow
from monolite.core.entry import Run
from monolite.core.place import Place
from monolite.host.engine import Engine
from monolite.host.events import Ask, ChangeQueue, Event, RetryDead, Spawn
from monolite.host.flights import Flight
from monolite.host.queue_handle import limited, paused
from monolite.host.registry import Registry
from tests.host import storm
from tests.host.storm import POOL, Answer, Storm

RUNS = Queue("runs", concurrency=3, per_key=2)
CALLS = Queue("calls", concurrency=2, per_key=1)
SLOW = Queue("slow", rate=Rate(3, 2), breaker=Breaker(2, 1))
RATED = Queue("rated", rate=Rate(5, 2), breaker=Breaker(3, 2))
"""For attempts only: one that waits in the queue whose slot its own run holds waits for ever."""

KEYS = ["a", "b", None]


@activity(retry=Retry(2, first_delay=1, jitter=0))
async def work(n: int) -> int:
    return n


@activity(queue="calls", at_most_once=True)
async def once(n: int) -> int:
    return n


def queued(random: Random) -> Any:
    queue, key = random.choice(["calls", "rated"]), random.choice(KEYS)
    return work(1).options(queue=queue, key=key, priority=random.randrange(3))


@workflow(name="wanderer")
async def queuer(depth: int) -> int:
    random = monolite.random()
    for _ in range(random.randrange(1, 5)):
        try:
            async with asyncio.timeout(random.choice([1, 50, 50])):
                await anything(random, depth)
        except (errors.MonoliteError, TimeoutError):
            pass
    if random.random() < 0.1:
        # (Not under an id that others restart, nor as a child that is awaited.)
        alone = monolite.current().id.startswith("f") and monolite.current().parent is None
        if depth and alone:
            raise monolite.ContinueAsNew(queuer(depth - 1))
        raise LookupError("at last")
    return depth


async def anything(random: Random, depth: int) -> Any:
    match random.randrange(7 if depth else 5):
        case 0:
            return await asyncio.gather(*(queued(random) for _ in range(4)))
        case 1:
            return await once(2)
        case 2:
            return await work(3)
        case 3:
            return await asyncio.sleep(random.choice([0, 1, 5]))
        case 4:
            return await queued(random)
        case 5:
            return await queuer(depth - 1)
        case _:
            child = queuer(depth - 1).options(queue="slow", key=random.choice(KEYS))
            handle = await monolite.spawn(
                child, id=random.choice([None, *POOL]), id_conflict="restart", detached=True
            )
            return handle.id


class QueueStorm(Storm):
    """The same world, where most things wait for their turn."""

    def open(self) -> Engine:
        return Engine(
            self.store,
            Registry([queuer]),
            max_live=self.max_live,
            queues=[RUNS, CALLS, SLOW, RATED],
        )

    def a_request(self) -> list[Event]:
        reply, id = Answer(), self.random.choice([*POOL, f"f{self.random.random()}"])
        match self.random.randrange(12):
            case 0 | 1 | 2 | 3 | 4 | 5:
                dedupe = self.random.choice([None, "d"])
                debounce_us = self.random.choice([0, 1_500_000]) if dedupe else 0
                place = Place(
                    self.random.choice(["runs", "runs", "slow"]),
                    self.random.choice(KEYS),
                    self.random.randrange(3),
                    dedupe,
                    self.random.choice(["attach", "reject", "replace"]),
                    debounce_us,
                )
                conflict = self.random.choice(["attach", "reject", "restart"])
                args = f"[{self.random.randrange(3)}]"
                spawn = Spawn(id, "wanderer", args, 1, conflict, debounce_us, None, reply)
                spawn.place = place
                return [spawn]
            case 6:
                return [ChangeQueue("runs", paused("runs", paused=True), reply)]
            case 7:
                return [ChangeQueue("runs", paused("runs", paused=False), reply)]
            case 8:
                return [RetryDead("runs", 2, reply)]
            case 9:
                change = limited("slow", {"concurrency": self.random.choice([None, 2])})
                return [ChangeQueue("slow", change, reply)]
            case _:
                return super().a_request()

    def launch(self, flight: Flight) -> None:
        super().launch(flight)
        limits = {"calls": (2, 1)}.get(flight.call.opts.queue or "")
        if limits is not None:
            flying = [x for x in self.in_the_air.values() if x.call.opts.queue == "calls"]
            assert len(flying) <= limits[0], "the concurrency is never exceeded"
            keys = Counter(x.call.opts.key for x in flying)
            assert max(keys.values()) <= limits[1], "nor is what is allowed per key"

    def turn(self, happened: list[Event]) -> None:
        super().turn(happened)
        holders = [(queue, key) for _, queue, key in self.store.holders() if queue == "runs"]
        assert len(holders) <= 3, "the concurrency is never exceeded"
        assert max(Counter(holders).values(), default=0) <= 2, "nor is what is allowed per key"

    def calm_down(self) -> None:
        self.turn([ChangeQueue("runs", paused("runs", paused=False), Answer())])
        super().calm_down()
        counts: list[Any] = []

        class Read(Answer):
            def answer(self, value: Any) -> None:
                counts.extend((row.name, waiting, running) for row, waiting, running, _ in value)

        look: Callable[[Engine], Any] = lambda engine: engine.queues.rows(None)  # noqa: E731
        self.turn([Ask(look, Read())])
        assert counts == [("calls", 0, 0), ("rated", 0, 0), ("runs", 0, 0), ("slow", 0, 0)], (
            "every slot is free"
        )

    def check_replay(self, run: Run) -> None:
        if run.started_us is None:
            return
        kept, storm.wanderer = storm.wanderer, queuer
        try:
            if run.status != "continued":
                super().check_replay(run)
        finally:
            storm.wanderer = kept
