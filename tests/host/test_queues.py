"""Queues: what waits, what may start, and that it holds whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

import monolite
from monolite import (
    Breaker,
    Client,
    Handle,
    Queue,
    QueueHandle,
    QueueInfo,
    Rate,
    Retry,
    Runtime,
    Signal,
    activity,
    workflow,
)
from monolite.errors import (
    ActivityFailed,
    AlreadyExists,
    Cancelled,
    Misused,
    Terminated,
    WorkflowFailed,
)
from tests.host.clocks import START, ManualClock, look
from tests.host.homes import Home, waits_on

go = Signal("go", str)
began: list[str] = []
flying: list[str] = []
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    yield
    began.clear()
    flying.clear()
    gates.clear()


@workflow
async def job(name: str) -> str:
    began.append(name)
    return await go.receive()


@workflow
async def quick(name: str) -> str:
    began.append(name)
    return name


@workflow
async def fails_at_first(name: str) -> str:
    began.append(name)
    if len(began) < 3:
        raise LookupError(name)
    return name


@workflow
async def goes_on(left: int) -> str:
    began.append(str(left))
    if left:
        await go.receive()
        raise monolite.ContinueAsNew(goes_on(left - 1))
    return await go.receive()


@activity
async def held(name: str) -> str:
    flying.append(name)
    await gates.setdefault(name, asyncio.Event()).wait()
    return name


@activity(queue="llm", retry=Retry(2, first_delay=10, jitter=0))
async def breaks(name: str) -> str:
    flying.append(name)
    if flying.count(name) == 1:
        raise ConnectionError(name)
    return name


@workflow
async def asks(name: str, queue: str = "llm", key: str | None = None, priority: int = 0) -> str:
    return await held(name).options(queue=queue, key=key, priority=priority)


@workflow
async def asks_broken(name: str) -> str:
    return await breaks(name)


@workflow
async def parent(detached: bool = False) -> list[str]:
    one = await monolite.spawn(quick("one"), queue="llm", priority=1, detached=detached)
    two = await monolite.spawn(quick("two"), id="two", queue="llm", detached=detached)
    three = asyncio.ensure_future(quick("three").options(queue="llm", priority=5))
    return [await one.result(), await two.result(), await three]


CODE = (job, quick, fails_at_first, goes_on, asks, asks_broken, parent)


def runtime(home: Home, clock: ManualClock, *queues: Queue, **settings: Any) -> Runtime:
    return home.runtime(*CODE, clock=clock, shutdown_grace=0, queues=queues, **settings)


async def until_flying(rt: Runtime, *names: str) -> None:
    """Return once exactly these attempts have begun."""
    for _ in range(20_000):
        if len(flying) >= len(names):
            break
        await look(rt)
    assert flying == [*names]


async def info(rt: Runtime | Client, name: str = "llm") -> QueueInfo:
    (found,) = [x for x in await rt.queues() if x.name == name]
    return found


async def open_all(*runs: Handle[Any]) -> None:
    for run in runs:
        await run.signal(go, "on")


async def test_a_run_begins_when_its_turn_has_come(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=2)) as rt:
        runs = [await rt.spawn(job(n), id=n, queue="llm") for n in "abcd"]
        assert began == ["a", "b"]
        found = await runs[2].describe()
        assert (found.status, found.waiting_on) == ("queued", "queue llm")
        now = await info(rt)
        assert (now.waiting, now.running, now.concurrency) == (2, 2, 2)
        await open_all(runs[1])
        assert await runs[1].result() == "on"
        assert began == ["a", "b", "c"]
        await open_all(*runs)
        assert [await run.result() for run in runs] == ["on"] * 4
        assert ((await info(rt)).waiting, (await info(rt)).running) == (0, 0)


async def test_the_highest_priority_begins_first(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        first = await rt.spawn(job("first"), queue="llm")
        others = [await rt.spawn(quick(str(p)), queue="llm", priority=p) for p in (0, 5, -5, 2)]
        await open_all(first)
        assert [await run.result() for run in others] == ["0", "5", "-5", "2"]
    assert began == ["first", "5", "2", "0", "-5"]


async def test_what_waits_and_what_runs_is_known_after_a_restart(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=2, per_key=1)) as rt:
        for n, key in enumerate("aabbc"):
            await rt.spawn(job(f"{key}{n}"), id=f"{key}{n}", queue="llm", key=key, priority=n)
        assert began == ["a0", "b2"]
    began.clear()
    async with runtime(home, clock, Queue("llm", concurrency=2, per_key=1)) as rt:
        await open_all(rt.handle("b2"))
        await rt.handle("b2").result()
        await waits_on(rt.handle("c4"), "go")
        assert began == ["b2", "c4"]  # the first by replay
        assert ((await info(rt)).waiting, (await info(rt)).running) == (2, 2)


async def test_a_run_that_waits_can_be_cancelled_and_never_begins(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        first = await rt.spawn(job("first"), queue="llm")
        second = await rt.spawn(job("second"), queue="llm")
        third = await rt.spawn(quick("third"), queue="llm")
        await second.cancel("enough")
        with pytest.raises(Cancelled, match="enough"):
            await second.result()
        await first.terminate()
        assert await third.result() == "third"
    assert began == ["first", "third"]


async def test_a_delayed_run_enters_the_queue_when_it_is_due(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        await rt.spawn(quick("later"), queue="llm", delay="10s")
        eta = START + timedelta(seconds=20)
        await rt.spawn(quick("eta"), queue="llm", eta=eta)
        with pytest.raises(Misused, match="time zone"):
            await rt.spawn(quick("x"), eta=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point
        with pytest.raises(Misused, match="give one of them"):
            await rt.spawn(quick("x"), eta=datetime.now(UTC), delay=1)
        await clock.skip(rt, "9s")
        assert began == []
        assert (await info(rt)).waiting == 0
        await clock.skip(rt, "1s")
        assert began == ["later"]
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        await clock.skip(rt, "10s")
        await look(rt)
        assert began == ["later", "eta"]


async def test_one_tenant_with_many_jobs_does_not_delay_the_first_of_another(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        first = await rt.spawn(job("first"), queue="llm", key="big")
        async with anyio.create_task_group() as group:
            for n in range(1_000):
                group.start_soon(spawn_in, rt, f"big{n}", "big")
        small = await rt.spawn(quick("small"), queue="llm", key="small")
        await open_all(first)
        assert await small.result() == "small"
        assert began.index("small") <= 2


async def spawn_in(rt: Runtime, name: str, key: str) -> None:
    await rt.spawn(quick(name), queue="llm", key=key)


async def test_an_unknown_queue_is_named_with_those_there_are(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm"), Queue("gpu")) as rt:
        with pytest.raises(Misused, match=r"no queue 'lm'; known are: 'gpu', 'llm'"):
            await rt.spawn(quick("x"), queue="lm")
        with pytest.raises(Misused, match=r"no queue 'lm'"):
            await rt.queue("lm")
        run = await rt.spawn(asks("x", queue="lm"))
        with pytest.raises(WorkflowFailed, match="no queue 'lm'"):
            await run.result()
        assert flying == []


async def test_arguments_that_make_no_sense_are_refused(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm")) as rt:
        given: tuple[Any, ...] = (
            {"key": "a"},
            {"priority": 1},
            {"dedupe": "a"},
            {"queue": "llm", "debounce": 1},
            {"queue": "llm", "dedupe": "a", "on_duplicate": "merge"},
            {"queue": "llm", "priority": 1.5},
        )
        for wrong in given:
            with pytest.raises(Misused):
                await rt.spawn(quick("x"), **wrong)
        with pytest.raises(Misused, match="give queue= too"):
            await held("x").options(key="a")
        with pytest.raises(Misused, match="has no limit"):
            await rt.queue("llm", speed=1)  # type: ignore[call-arg]
    with pytest.raises(Misused, match="two queues"):
        Runtime(":memory:", queues=[Queue("a"), Queue("a")])
    with pytest.raises(Misused, match="queues takes"):
        Runtime(":memory:", queues=["a"])  # type: ignore[list-item]


async def test_children_go_through_queues(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        gate = await rt.spawn(job("gate"), queue="llm")
        run = await rt.spawn(parent(), id="p")
        await waits_on(run, "child")
        assert (await info(rt)).waiting == 3
        await open_all(gate)
        assert await run.result() == ["one", "two", "three"]
        assert await (await rt.spawn(parent(detached=True), id="q")).result()


async def test_a_run_that_continues_keeps_its_slot(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        run = await rt.spawn(goes_on(2), id="g", queue="llm")
        other = await rt.spawn(quick("other"), queue="llm")
        await run.signal(go, "")
        await run.signal(go, "")
        await look(rt)
        assert began == ["2", "1", "0"]
        assert ((await info(rt)).waiting, (await info(rt)).running) == (1, 1)
        await run.signal(go, "end")
        assert await run.result() == "end"
        assert await other.result() == "other"


# Activities.


async def test_attempts_wait_for_their_turn(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        low = await rt.spawn(asks("low"))
        await until_flying(rt, "low")
        runs = [await rt.spawn(asks(n, priority=p)) for n, p in (("x", 1), ("y", 2))]
        found = await waits_on(runs[0], "queue llm (held#1)")
        assert found.status == "waiting"
        gates["low"].set()
        await until_flying(rt, "low", "y")
        gates["y"].set()
        await until_flying(rt, "low", "y", "x")
        gates["x"].set()
        assert [await run.result() for run in (low, *runs)] == ["low", "x", "y"]
        assert (await info(rt)).running == 0


async def test_an_attempt_that_only_waited_is_not_called_interrupted(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        await rt.spawn(asks("one"), id="1")
        await until_flying(rt, "one")
        await rt.spawn(asks("two"), id="2")
        await waits_on(rt.handle("2"), "queue llm")
    flying.clear()
    gates.clear()
    async with runtime(home, clock, Queue("llm", concurrency=2)) as rt:
        for _ in range(20_000):
            if len(flying) == 2:
                break
            await look(rt)
        for gate in gates.values():
            gate.set()
        assert [await rt.handle(id).result() for id in "12"] == ["one", "two"]
        attempts = {
            id: [x.kind for x in await rt.handle(id).history() if "attempt" in x.kind]
            for id in "12"
        }
    assert attempts["1"][0] == "attempt stopped"  # as the runtime was left
    assert attempts["2"] == ["attempt started"]


async def test_each_attempt_takes_a_turn_and_gives_it_back(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        broken = await rt.spawn(asks_broken("b"))
        await waits_on(broken, "retrying")
        other = await rt.spawn(asks("other"))
        await until_flying(rt, "b", "other")
        await clock.skip(rt, "10s")
        await waits_on(broken, "queue llm (breaks#1)")
        gates["other"].set()
        assert await other.result() == "other"
        assert await broken.result() == "b"


async def test_an_attempt_that_nobody_waits_for_leaves_the_queue(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        first, second = [await rt.spawn(asks(n)) for n in "ab"]
        await until_flying(rt, "a")
        await second.cancel()
        with pytest.raises(Cancelled):
            await second.result()
        assert ((await info(rt)).waiting, (await info(rt)).running) == (0, 1)
        await first.cancel()
        with pytest.raises(Cancelled):
            await first.result()
        assert (await info(rt)).running == 0


async def test_a_paused_run_does_not_take_its_turn(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        first, second = [await rt.spawn(asks(n)) for n in "ab"]
        await until_flying(rt, "a")
        await second.pause()
        gates["a"].set()
        assert await first.result() == "a"
        third = await rt.spawn(asks("c"))
        await until_flying(rt, "a", "c")
        await second.resume()
        gates["c"].set()
        await third.result()
        await until_flying(rt, "a", "c", "b")
        gates["b"].set()
        assert await second.result() == "b"


async def test_runs_that_left_memory_come_back_for_their_turn(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1), max_live=1) as rt:
        runs = [await rt.spawn(asks(str(n))) for n in range(4)]
        for n, run in enumerate(runs):
            await until_flying(rt, *map(str, range(n + 1)))
            gates[str(n)].set()
            assert await run.result() == str(n)


# Rates and breakers, on the clock.


async def test_a_rate_holds_over_a_restart(home: Home, clock: ManualClock) -> None:
    queue = Queue("llm", rate=Rate(2, "10s"))
    async with runtime(home, clock, queue) as rt:
        for n in range(5):
            await rt.spawn(quick(str(n)), queue="llm")
        assert len(began) == 2
        await clock.skip(rt, "9s")
    async with runtime(home, clock, queue) as rt:
        await look(rt)
        assert len(began) == 2
        await clock.skip(rt, "1s")
        await look(rt)
        assert len(began) == 4
        await clock.skip(rt, "10s")
        await look(rt)
    assert sorted(began) == ["0", "1", "2", "3", "4"]


async def test_a_breaker_stops_a_queue_whose_work_fails(home: Home, clock: ManualClock) -> None:
    queue = Queue("llm", concurrency=1, breaker=Breaker(2, "30s"))
    async with runtime(home, clock, queue) as rt:
        runs = [await rt.spawn(fails_at_first(n), queue="llm") for n in "abcd"]
        for run in runs[:2]:
            with pytest.raises(WorkflowFailed):
                await run.result()
        assert "breaker" in ((await runs[2].describe()).waiting_on or "")
        assert "breaker" in ((await info(rt)).waiting_on or "")
    async with runtime(home, clock, queue) as rt:
        await clock.skip(rt, "29s")
        assert began == ["a", "b"]
        await clock.skip(rt, "1s")
        assert await rt.handle(runs[3].id).result() == "d"
    assert began == ["a", "b", "c", "d"]


# Looking at a queue, and changing it.


async def test_a_queue_is_paused_resumed_and_drained(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm")) as rt:
        queue = await rt.queue("llm")
        first = await rt.spawn(job("first"), queue="llm")
        second = rt.handle("second", quick)
        async with anyio.create_task_group() as group:
            group.start_soon(queue.drain)
            while not (await queue.describe()).paused:
                await look(rt)
            await rt.spawn(quick("second"), id="second", queue="llm")
            assert "paused; resume it with" in ((await second.describe()).waiting_on or "")
            await open_all(first)
        now = await queue.describe()
        assert (now.running, now.waiting, now.paused) == (0, 1, True)
    async with runtime(home, clock, Queue("llm")) as rt:
        assert (await info(rt)).paused
        await (await rt.queue("llm")).resume()
        assert await rt.handle(second.id).result() == "second"


async def test_limits_that_were_changed_stay_until_the_code_declares_others(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        runs = [await rt.spawn(job(n), id=n, queue="llm") for n in "abc"]
        queue = await rt.queue("llm", concurrency=2)
        assert (await queue.limit(rate=Rate(100, "1m"))).rate == Rate(100, "1m")
        await look(rt)
        assert began == ["a", "b"]
        assert repr(queue) == "<handle of queue llm>"
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        assert ((await info(rt)).concurrency, (await info(rt)).rate) == (2, Rate(100, "1m"))
        await rt.queue("made", per_key=1)
    async with runtime(home, clock, Queue("llm", concurrency=3)) as rt:
        assert ((await info(rt)).concurrency, (await info(rt)).rate) == (3, None)
        assert (await info(rt, "made")).per_key == 1
        for run in runs:
            await rt.handle(run.id).signal(go, "on")
            await rt.handle(run.id).result()


async def test_dead_letters_are_listed_and_tried_again(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        queue = await rt.queue("llm")
        for id in "ab":
            run = await rt.spawn(fails_at_first(id), id=id, queue="llm", attributes={"n": id})
            with pytest.raises(WorkflowFailed):
                await run.result()
        assert [x.id for x in await queue.dead()] == ["a", "b"]
        assert (await queue.describe()).dead == 2
        assert await queue.retry_dead(limit=1) == ["a"]
        assert await rt.handle("a").result() == "a"
        again = await rt.handle("a").describe()
        assert (again.generation, again.attributes) == (2, {"n": "a"})
        assert await queue.retry_dead() == ["b"]
        assert await rt.handle("b").result() == "b"
        assert (await queue.dead(), await queue.retry_dead()) == ([], [])
        assert [x.id for x in await rt.list(queue="llm", status="completed")] == ["b", "a"]
        with pytest.raises(Misused, match="no queue"):
            await QueueHandle("other", queue.port).retry_dead()
        with pytest.raises(Misused, match="no queue"):
            await queue.port.await_idle("other")


# Duplicates.


async def test_a_duplicate_joins_is_refused_or_takes_the_place(
    home: Home, clock: ManualClock
) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        gate = await rt.spawn(job("gate"), queue="llm", dedupe="k")
        one = await rt.spawn(quick("one"), id="one", queue="llm", dedupe="k")
        clock.advance(1)
        other = await rt.spawn(quick("other"), id="other", queue="llm")
        joined = await rt.spawn(quick("joined"), id="joined", queue="llm", dedupe="k")
        assert joined.id == "one"
        with pytest.raises(AlreadyExists, match="dedupe key 'k'"):
            await rt.spawn(quick("x"), queue="llm", dedupe="k", on_duplicate="reject")
        with pytest.raises(AlreadyExists, match="it runs 'quick', not 'job'"):
            await rt.spawn(job("x"), queue="llm", dedupe="k")
        new = await rt.spawn(
            quick("new"), id="new", queue="llm", dedupe="k", on_duplicate="replace"
        )
        with pytest.raises(Terminated, match="took its place"):
            await one.result()
        assert (await rt.list(queue="llm", status="queued", limit=1))[0].id == "new"
        await open_all(gate)
        assert [await new.result(), await other.result()] == ["new", "other"]
        assert await (await rt.spawn(quick("free"), queue="llm", dedupe="k")).result() == "free"
    assert began == ["gate", "new", "other", "free"]


async def test_a_debounced_spawn_waits_anew_and_takes_the_newest_arguments(
    home: Home, clock: ManualClock
) -> None:
    async def again(rt: Runtime, word: str) -> Handle[str]:
        return await rt.spawn(quick(word), queue="llm", dedupe="k", debounce="5s")

    async with runtime(home, clock, Queue("llm")) as rt:
        first = await again(rt, "a")
        await clock.skip(rt, "4s")
        assert (await again(rt, "b")).id == first.id
    async with runtime(home, clock, Queue("llm")) as rt:
        await clock.skip(rt, "4s")
        assert (await again(rt, "c")).id == first.id
        await clock.skip(rt, "4s")
        assert began == []
        await clock.skip(rt, "1s")
        assert await rt.handle(first.id).result() == "c"
        other = await again(rt, "d")
        assert other.id != first.id
        queue = await rt.queue("llm")
        await queue.pause()
        await clock.skip(rt, "5s")  # it is due, and waits for the queue
        assert (await again(rt, "e")).id == other.id
        await queue.resume()
        await look(rt)
        assert began == ["c"]
        await clock.skip(rt, "5s")
        assert await rt.handle(other.id).result() == "e"
    assert began == ["c", "e"]


async def test_an_activity_of_a_queue_can_fail_for_good(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        run = await rt.spawn(asks_broken("b"))
        await waits_on(run, "retrying")
        flying.clear()
        await clock.skip(rt, "10s")
        with pytest.raises(WorkflowFailed) as failed:
            await run.result()
        assert isinstance(failed.value.cause, ActivityFailed)
        assert (await info(rt)).running == 0


# Other processes.


async def test_other_processes_use_queues_by_the_file(tmp_path: Any, clock: ManualClock) -> None:
    home = Home(tmp_path / "app.db")
    async with Client(tmp_path / "app.db", create=True) as client:
        with pytest.raises(Misused, match="known are: none"):
            await client.spawn(quick("x"), queue="llm")
        queue = await client.queue("llm", concurrency=1)
        bounced = [
            await client.spawn(quick(w), queue="llm", dedupe="d", debounce="1h") for w in "abc"
        ]
        assert len({run.id for run in bounced}) == 1
        await bounced[0].terminate()
        early = await client.spawn(quick("early"), queue="llm")
        assert (await queue.describe()).waiting == 2
        assert (await early.describe()).waiting_on == "queue llm"
        async with runtime(home, clock) as rt:
            assert await early.result() == "early"
            await queue.pause()
            late = await client.spawn(
                quick("late"), id="late", queue="llm", key="a", priority=3, dedupe="k"
            )
            joined = await client.spawn(quick("x"), queue="llm", dedupe="k")
            assert joined.id == "late"
            newer = await client.spawn(
                quick("newer"), queue="llm", dedupe="k", on_duplicate="replace"
            )
            with pytest.raises(Terminated):
                await late.result()
            assert began == ["early"]
            assert (await queue.limit(concurrency=2, rate=None)).concurrency == 2
            await queue.resume()
            assert await newer.result() == "newer"
            assert (await info(rt)).concurrency == 2
            for _ in range(2):
                began.clear()
                failing = await client.spawn(
                    fails_at_first("f"), id="f", queue="llm", id_conflict="restart"
                )
                with pytest.raises(WorkflowFailed):
                    await failing.result()
            assert [x.id for x in await queue.dead()] == ["f"]
            began.extend("xyz")
            assert await queue.retry_dead() == ["f"]
            assert await client.handle("f").result() == "f"
            assert [x.id for x in await client.list(queue="llm", name="fails_at_first")] == [
                "f"
            ] * 3
            began.clear()
            await queue.drain()
        assert (await queue.describe()).paused
        with pytest.raises(Misused, match="no queue"):
            await queue.port.describe_queue("other")


# What a failed commit leaves.


async def test_no_code_for_a_run_in_a_queue_frees_its_slot(home: Home, clock: ManualClock) -> None:
    async with runtime(home, clock, Queue("llm", concurrency=1)) as rt:
        await rt.spawn(job("gate"), id="gate", queue="llm")
        await rt.spawn(quick("q"), id="q", queue="llm")
    only = home.runtime(job, clock=clock, shutdown_grace=0)
    async with only as rt:
        await rt.handle("gate").signal(go, "")
        await rt.handle("gate").result()
        await waits_on(rt.handle("q"), "no code for 'quick'")
        assert (await info(rt)).running == 0
    async with runtime(home, clock, Queue("llm", concurrency=2)) as rt:
        assert await rt.handle("q").result() == "q"
