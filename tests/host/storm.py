"""A storm: an engine driven by hand through whatever may happen at any moment, by a seed.

No thread, no event loop, no clock but our own: the same seed gives the same story. What must hold
however it goes is asserted on the way, and at the end, when the weather is fine again.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from random import Random
from typing import Any

import monolite
from monolite import Retry, Signal, View, activity, errors, workflow
from monolite.core import entry as e
from monolite.core import failure
from monolite.core.entry import Run
from monolite.core.machine import Machine
from monolite.host.batch import Released
from monolite.host.engine import Engine
from monolite.host.events import AwaitEnd, Done, Event, Failed, Post, Returned, Spawn, Watch
from monolite.host.flights import Flight
from monolite.host.registry import Registry
from monolite.store.memory import MemoryStore
from monolite.store.protocol import RunFilter, Writes

START_US = 1_900_000_000_000_000
POOL = [f"p{n}" for n in range(4)]
"""Ids that are taken again and again."""

CALM_TURNS_MAX = 5_000
"""Turns in which everything must come to an end once nothing new happens."""

note = Signal("note", int)
shown = View("shown", int)


@activity(retry=Retry(3, first_delay=1, jitter=0))
async def work(n: int) -> int:
    return n


@activity(at_most_once=True)
async def once(n: int) -> int:
    return n


# The workflow.


@workflow
async def wanderer(depth: int) -> int:
    """Do some of everything, in an order of its own."""
    random = monolite.random()
    total = 0
    try:
        for _ in range(random.randrange(1, 6)):
            try:
                total += await anything(random, depth)
            except (errors.MonoliteError, TimeoutError):
                total -= 1
        return total
    finally:
        if random.random() < 0.3:
            await work(-1)


async def anything(random: Random, depth: int) -> int:
    choices = [activities, sleeps, listens, publishes, gives_up, side_by_side, fails]
    if depth:
        choices += [awaits_a_child, spawns, spawns_by_name, spawns_by_name, asks_and_tells]
    return await random.choice(choices)(random, depth)


async def activities(random: Random, depth: int) -> int:
    return await random.choice([work, once])(random.randrange(100))


async def sleeps(random: Random, depth: int) -> int:
    await asyncio.sleep(random.choice([0, 0.5, 3, 60]))
    return 1


async def listens(random: Random, depth: int) -> int:
    async with asyncio.timeout(5):
        return await note.receive()


async def publishes(random: Random, depth: int) -> int:
    shown.set(random.randrange(100))
    return 0


async def gives_up(random: Random, depth: int) -> int:
    try:
        async with asyncio.timeout(random.choice([0, 1, 3])):
            await anything(random, depth)
            await asyncio.sleep(60)
    finally:
        await work(2)
    return 0


async def side_by_side(random: Random, depth: int) -> int:
    seeds = [random.random() for _ in range(random.randrange(4))]
    return sum(await asyncio.gather(*(anything(Random(seed), depth) for seed in seeds)))


async def fails(random: Random, depth: int) -> int:
    if random.random() < 0.2:
        raise LookupError
    return 0


async def awaits_a_child(random: Random, depth: int) -> int:
    return await wanderer(depth - 1)


async def spawns(random: Random, depth: int) -> int:
    child = await monolite.spawn(wanderer(depth - 1), detached=random.random() < 0.5)
    if random.random() < 0.5:
        await child.signal(note, 1, id=random.choice([None, "same"]))
    return await child.result() if random.random() < 0.5 else 0


async def spawns_by_name(random: Random, depth: int) -> int:
    run = await monolite.spawn(
        wanderer(depth - 1),
        id=random.choice(POOL),
        id_conflict=random.choice(["attach", "attach", "reject", "restart"]),
        detached=random.random() < 0.5,
    )
    match random.randrange(6):
        case 0:
            await run.signal(note, 2)
        case 1:
            await run.cancel("by a workflow")
        case 2:
            await run.terminate("by a workflow")
        case _:
            async with asyncio.timeout(random.choice([0.5, 100])):
                return await run.result()
    return 0


async def asks_and_tells(random: Random, depth: int) -> int:
    """Ask for a result, and make it come, in one turn."""
    run = await monolite.spawn(wanderer(depth - 1), id=random.choice(POOL), detached=True)
    answer = asyncio.ensure_future(run.result())
    await asyncio.sleep(0)
    match random.randrange(3):
        case 0:
            await run.signal(note, 3)
        case 1:
            await run.cancel("by who asks")
        case _:
            await run.terminate("by who asks")
    async with asyncio.timeout(100):  # it may be this very run, or one that waits for it
        return await answer


# The world around the engine.


class Broken(MemoryStore):
    """A store whose commits fail when they are told to."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.file_id = f"{random.getrandbits(128):032x}"
        self._random = random
        self.full_rate = 0.0
        self.crash_rate = 0.0

    def commit(self, writes: Writes) -> None:
        if self._random.random() < self.full_rate:
            message = "full"
            raise errors.StorageFull(message)
        if self._random.random() < self.crash_rate:
            if self._random.random() < 0.5:
                super().commit(writes)  # nobody knows that it went well
            message = "crashed"
            raise errors.CommitUnknown(message)
        super().commit(writes)


class Answer:
    """What came of a request."""

    def __init__(self) -> None:
        self.times = 0

    def answer(self, value: Any) -> None:
        self.times += 1
        assert self.times == 1, "a request is answered once"

    def refuse(self, error: BaseException) -> None:
        assert isinstance(error, errors.MonoliteError), error
        self.answer(error)


class Watcher:
    def __init__(self) -> None:
        self.over = False

    def push(self, text: str | None) -> None:
        assert not self.over, "nothing comes after the end"
        self.over = text is None


class Storm:
    """One story, told by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_us = START_US
        self.store = Broken(self.random)
        self.max_live = self.random.choice([1, 3, 10_000])
        self.rough = (self.random.choice([0, 0, 0.2]), self.random.choice([0, 0, 0.02, 0.1]))
        self.crashed = False
        self.in_the_air: dict[str, Flight] = {}
        self.cut_off: set[str] = set()
        """Activities that were surely running when an engine ended."""
        self.finished: set[str] = set()
        self.begun: dict[str, int] = {}
        """The last attempt at each activity."""
        self.outcomes: dict[int, str] = {}
        """Which activity an outcome was of, by token; for as long as the engine lives."""
        self.landed: list[Event] = []
        self.held: list[Event] = []
        self.engine = self.open()

    def open(self) -> Engine:
        return Engine(self.store, Registry([wanderer]), max_live=self.max_live)

    def run(self) -> list[Run]:
        """Tell the story; return the runs there are at its end."""
        for _ in range(self.random.randrange(10, 150)):
            self.store.full_rate, self.store.crash_rate = self.rough
            self.something()
        self.store.full_rate = self.store.crash_rate = 0
        self.calm_down()
        self.engine.close()
        runs = self.store.runs(RunFilter(limit=1_000_000))
        for run in runs:
            self.check_replay(run)
        return runs

    def something(self) -> None:
        happened: list[Event] = []
        for _ in range(self.random.choice([0, 1, 1, 3, 10])):
            happened += self.random.choice(
                [self.a_request, self.a_request, self.an_outcome, self.an_outcome, self.an_echo]
            )()
        if self.random.random() < 0.3:
            self.now_us += self.random.choice([0, 1_000, 500_000, 1_000_000, 5_000_000])
        self.turn(happened)
        if self.random.random() < 0.02:
            self.leave()
        elif self.random.random() < 0.02:
            self.crash()

    # What may happen.

    def a_request(self) -> list[Event]:
        id, reply = self.random.choice(POOL), Answer()
        post = partial(Post, id, reply=reply)
        match self.random.randrange(9):
            case 0 | 1 | 2:
                conflict = self.random.choice(["attach", "reject", "restart"])
                delay_us = self.random.choice([0, 0, 2_000_000])
                return [Spawn(id, "wanderer", "[3]", 1, conflict, delay_us, None, reply)]
            case 3 | 4:
                message_id = self.random.choice([None, "same", "other"])
                return [post(kind=e.SIGNAL, channel="note", value="5", message_id=message_id)]
            case 5:
                return [post(kind=e.CANCEL, channel="", value='"asked"', message_id=None)]
            case 6:
                return [post(kind=e.TERMINATE, channel="", value='"asked"', message_id=None)]
            case 7:
                return [AwaitEnd(id, reply)]
            case _:
                return [Watch(id, "shown", Watcher(), reply)]

    def an_outcome(self) -> list[Event]:
        if not self.in_the_air:
            return []
        return [self.land(self.random.choice(list(self.in_the_air)))]

    def an_echo(self) -> list[Event]:
        """Something that was heard before."""
        return [self.random.choice(self.landed)] if self.landed else []

    def land(self, key: str) -> Event:
        flight = self.in_the_air.pop(key)
        if self.random.random() < 0.7:
            event: Event = Done(flight.token, str(self.random.randrange(100)))
        else:
            raised = failure.describe(LookupError("as it happens"))
            event = Failed(flight.token, raised, retryable=self.random.random() < 0.8)
        self.outcomes[flight.token] = key
        self.landed.append(event)
        return event

    # Turns and lives.

    def turn(self, happened: list[Event]) -> None:
        given, self.held = self.held + happened, []
        try:
            released = self.engine.turn(given, self.now_us)
        except errors.StorageFull:
            self.held = [x for x in given if isinstance(x, (Done, Failed, Returned))]
        except errors.CommitUnknown:
            self.crash()
        else:
            self.carry_out(released)
            for event in given:
                self.check_heard(event)

    def check_heard(self, event: Event) -> None:
        """See that an event of a committed turn has had its effect."""
        if isinstance(event, (Spawn, Post)) and isinstance(event.reply, Answer):
            assert event.reply.times == 1, "who asked has been told"
        elif isinstance(event, Done):
            self.finished.add(self.outcomes[event.token])

    def carry_out(self, released: Released) -> None:
        for flight in released.stopped:
            self.in_the_air.pop(flight.idempotency_key, None)
        for flight in released.launches:
            self.launch(flight)
        for reply, value in released.answers:
            reply.answer(value)
        for reply, error in released.refusals:
            reply.refuse(error)
        for sink, text in released.pushes:
            sink.push(text)

    def launch(self, flight: Flight) -> None:
        key = flight.idempotency_key
        assert key not in self.in_the_air, "one attempt at a time"
        assert key not in self.finished, "what has completed never runs again"
        number = self.begun.get(key, 0)
        assert flight.number > number, "attempts are numbered in their order"
        assert number == 0 or not flight.call.opts.at_most_once, "at most once"
        assert flight.interrupted or key not in self.cut_off, "who was cut off is told so"
        assert self.crashed or not flight.interrupted, "nobody else is"
        self.cut_off.discard(key)
        self.begun[key] = flight.number
        self.in_the_air[key] = flight

    def crash(self) -> None:
        """Lose everything but the file."""
        self.crashed = True
        self.cut_off.update(self.in_the_air)
        self.cut_off.update(self.outcomes[x.token] for x in self.held if isinstance(x, Done))
        self.engine.residency.unload()
        self.begin_anew()

    def leave(self) -> None:
        """Close the engine as a runtime does, when its last activities have come to their end."""
        engine = self.engine
        engine.leave()
        self.turn([])
        self.turn([self.land(key) for key in list(self.in_the_air)])
        if self.engine is not engine:
            return  # it crashed meanwhile
        assert not self.in_the_air, "nothing begins while it is left"
        if self.held:
            self.crash()  # outcomes that a full disk did not take are lost
            return
        with contextlib.suppress(errors.StorageFull, errors.CommitUnknown):
            engine.rest(self.now_us)
        engine.close()
        self.begin_anew()

    def begin_anew(self) -> None:
        self.in_the_air.clear()
        self.outcomes.clear()
        self.held, self.landed = [], []
        self.engine = self.open()

    def calm_down(self) -> None:
        """Let everything come to its end."""
        for _ in range(CALM_TURNS_MAX):
            self.turn([self.land(key) for key in list(self.in_the_air)])
            wake_us = self.engine.next_wake_us
            if wake_us is None and not self.in_the_air:
                break
            self.now_us = max(self.now_us, wake_us or 0)
        still = self.store.runs(RunFilter(open=True))
        assert still == [], f"these never ended: {still}"

    def check_replay(self, run: Run) -> None:
        """See that the journal alone tells the same story."""
        if run.started_us is None:
            return
        machine = Machine(run, wanderer)
        machine.replaying = True
        machine.start(run.started_us)
        entries = [x for x in self.store.entries(run.no) if x.kind != e.TERMINATE]
        for entry in entries:
            machine.deliver(entry)
        machine.check_replayed(len(entries))
        if run.status == e.TERMINATED:
            machine.unload()
        else:
            assert machine.outcome is not None
            assert (machine.outcome.status, machine.outcome.value) == (run.status, run.value)
            machine.retire()
