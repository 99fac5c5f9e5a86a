"""Many at once: all make progress, and runs that never stop do not stop the others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import monolite
from monolite import Handle, Runtime, Signal, View, activity, workflow
from monolite.host import engine, supervisor
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended
from tests.host.loops import on_both_loops

MANY = 300

ball = Signal("ball", int)
rounds = View("rounds", int)


@activity
async def echo(n: int) -> int:
    return n


@workflow
async def quick(n: int) -> int:
    return await echo(n)


@on_both_loops
async def test_hundreds_of_activities_wait_at_once(home: Home) -> None:
    there, complete = [0], anyio.Event()

    @activity
    async def meet(n: int) -> int:
        there[0] += 1
        if there[0] == MANY:
            complete.set()
        await complete.wait()
        return n

    @workflow
    async def working(n: int) -> int:
        return await meet(n)

    async with home.runtime(working) as rt:
        runs = [await rt.spawn(working(n)) for n in range(MANY)]
        assert [await run.result() for run in runs] == list(range(MANY))


async def test_one_run_has_hundreds_of_activities_at_once(home: Home) -> None:
    everyone = asyncio.Barrier(MANY)

    @activity
    async def meet(n: int) -> int:
        await everyone.wait()
        return n

    @workflow
    async def working() -> list[int]:
        return list(await asyncio.gather(*(meet(n) for n in range(MANY))))

    async with home.runtime(working) as rt:
        assert await (await rt.spawn(working())).result() == list(range(MANY))


async def test_one_run_has_hundreds_of_timers_at_once(home: Home, clock: ManualClock) -> None:
    @workflow
    async def working() -> list[int]:
        woken: list[int] = []

        async def one(n: int) -> None:
            await asyncio.sleep(MANY - n)
            woken.append(n)

        await asyncio.gather(*(one(n) for n in range(MANY)))
        return woken

    async with home.runtime(working, clock=clock) as rt:
        run = await rt.spawn(working())
        await clock.skip(rt, MANY)
        assert await run.result() == list(reversed(range(MANY)))


async def test_one_run_has_hundreds_of_children_at_once(home: Home) -> None:
    @workflow
    async def working() -> list[int]:
        return list(await asyncio.gather(*(quick(n) for n in range(MANY))))

    async with home.runtime(working, quick) as rt:
        assert await (await rt.spawn(working())).result() == list(range(MANY))


async def test_hundreds_of_callers_wait_for_one_result(home: Home) -> None:
    @workflow
    async def waiting() -> str:
        return await gate.wait_for_it()

    async with home.runtime(waiting) as rt, asyncio.TaskGroup() as group:
        run = await rt.spawn(waiting())
        callers = [group.create_task(run.result()) for _ in range(MANY)]
        await gate.open(run, "now")
        assert {await caller for caller in callers} == {"now"}


async def test_more_functions_than_threads_take_turns(home: Home) -> None:
    @activity
    def in_a_thread(n: int) -> int:
        return n

    @workflow
    async def working(n: int) -> int:
        return await in_a_thread(n)

    async with home.runtime(working) as rt:
        runs = [await rt.spawn(working(n)) for n in range(3 * supervisor.THREADS_MAX)]
        assert [await run.result() for run in runs] == list(range(3 * supervisor.THREADS_MAX))


async def test_functions_that_hold_every_thread_hold_up_nothing_else(home: Home) -> None:
    release, full = threading.Event(), threading.Barrier(supervisor.THREADS_MAX + 1)

    @activity
    def blocking() -> bool:
        full.wait(20)
        return release.wait(20)

    @workflow
    async def working() -> bool:
        return await blocking()

    async with home.runtime(working, quick) as rt:
        runs = [await rt.spawn(working()) for _ in range(supervisor.THREADS_MAX)]
        await anyio.to_thread.run_sync(full.wait, 20)
        assert await (await rt.spawn(quick(1))).result() == 1
        release.set()
        assert all([await run.result() for run in runs])


# Runs that never stop.


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer consequences in one turn than usual, so that there are many turns in a short time."""
    monkeypatch.setattr(engine, "CASCADE_MAX", 200)


@workflow
async def player(other: str, start: bool) -> None:
    """Play ball with the run `other`, for ever."""
    there = await monolite.spawn(player(monolite.current().id, start=False), id=other)
    if start:
        await there.signal(ball, 0)
    async for n in ball:
        rounds.set(n)
        await there.signal(ball, n + 1)


async def play(rt: Runtime) -> None:
    await rt.spawn(player("b", start=True), id="a")
    while not await rt.handle("a").view(rounds):
        await anyio.lowlevel.checkpoint()


@pytest.mark.usefixtures("short_turns")
@on_both_loops
async def test_two_runs_that_signal_each_other_for_ever_let_others_commit(home: Home) -> None:
    async with home.runtime(player, quick) as rt:
        await play(rt)
        before = await rt.handle("a").view(rounds)
        for n in range(20):
            assert await (await rt.spawn(quick(n))).result() == n
        after = await rt.handle("a").view(rounds)
        assert before is not None
        assert after is not None
        assert after > before
        await rt.handle("a").terminate()
        assert (await ended(rt.handle("a"))).status == "terminated"
        assert (await ended(rt.handle("b"))).status == "cancelled"  # it is a child of the other


@pytest.mark.usefixtures("short_turns")
async def test_such_runs_can_be_cancelled(home: Home) -> None:
    async with home.runtime(player) as rt:
        await play(rt)
        await rt.handle("b").cancel("enough")
        await rt.handle("a").cancel("enough")
        assert {(await ended(rt.handle(id))).status for id in ("a", "b")} == {"cancelled"}


@pytest.mark.usefixtures("short_turns")
async def test_a_runtime_with_such_runs_can_be_left_and_they_play_on(home: Home) -> None:
    async with home.runtime(player) as rt:
        await play(rt)

    async with home.runtime(player) as rt:
        before = await rt.handle("a").view(rounds)
        assert before is not None
        while (await rt.handle("a").view(rounds) or 0) <= before:
            await anyio.lowlevel.checkpoint()
        await rt.handle("a").terminate()
        await ended(rt.handle("b"))


# What is over the bound of one turn.


@pytest.fixture(params=[1, 2, 7])
def bound(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """As few consequences in one turn."""
    few: int = request.param
    monkeypatch.setattr(engine, "CASCADE_MAX", few)
    return few


@workflow
async def family(depth: int, width: int) -> int:
    """Count a tree of children, awaited, spawned, named and detached."""
    if depth == 0:
        return 1
    own = monolite.current().id
    spawned = await monolite.spawn(family(depth - 1, width))
    named = await monolite.spawn(family(depth - 1, width), id=f"{own}/named")
    detached = await monolite.spawn(family(depth - 1, width), detached=True)
    awaited = await asyncio.gather(*(family(depth - 1, width) for _ in range(width)))
    return 1 + sum(
        [*awaited, await spawned.result(), await named.result(), await detached.result()]
    )


@workflow
async def relay(left: int) -> str:
    """Hand a message down a chain of runs, and the answer up again."""
    if left == 0:
        return await gate.wait_for_it()
    below = await monolite.spawn(relay(left - 1), id=f"relay-{left - 1}")
    async for n in ball:
        await below.signal(ball, n)
        if n < 0:
            break
    return f"{await below.result()}!"


async def appeared(rt: Runtime, id: str) -> Handle[Any]:
    """Return the handle of a run as soon as there is one of this id."""
    while not await rt.list(id_prefix=id):
        await anyio.lowlevel.checkpoint()
    return rt.handle(id)


@pytest.mark.parametrize("max_live", [3, 10_000])
async def test_a_tree_of_children_grows_over_the_bound(
    home: Home, bound: int, max_live: int
) -> None:
    async with home.runtime(family, max_live=max_live) as rt:
        run = await rt.spawn(family(3, 2), id="top")
        with anyio.fail_after(5):
            assert await run.result() == 1 + 5 + 25 + 125


@pytest.mark.parametrize("max_live", [3, 10_000])
async def test_messages_go_down_a_chain_over_the_bound(
    home: Home, bound: int, max_live: int
) -> None:
    async with home.runtime(relay, max_live=max_live) as rt:
        run = await rt.spawn(relay(10), id="relay-10")
        for n in (1, 2, 3, -1):
            await run.signal(ball, n)
        await gate.open(await appeared(rt, "relay-0"), "there")
        with anyio.fail_after(5):
            assert await run.result() == "there" + 10 * "!"


async def test_what_was_over_the_bound_is_taken_up_in_the_next_life(home: Home, bound: int) -> None:
    async with home.runtime(family, relay) as rt:
        await rt.spawn(family(2, 2), id="top")
        await rt.spawn(relay(10), id="relay-10")
        await rt.handle("relay-10").signal(ball, -1)

    async with home.runtime(family, relay) as rt:
        with anyio.fail_after(5):
            assert await rt.handle("top").result() == 1 + 5 + 25
        await gate.open(await appeared(rt, "relay-0"), "there")
        with anyio.fail_after(5):
            assert await rt.handle("relay-10").result() == "there" + 10 * "!"


async def test_a_family_over_the_bound_is_cancelled_as_a_whole(home: Home, bound: int) -> None:
    @workflow
    async def nested(depth: int) -> None:
        if depth == 0:
            await gate.wait_for_it()
        await asyncio.gather(nested(depth - 1), nested(depth - 1))

    async with home.runtime(nested) as rt:
        run = await rt.spawn(nested(4), id="top")
        while len(await rt.list()) < 31:
            await anyio.lowlevel.checkpoint()
        await run.cancel()
        assert (await ended(run)).status == "cancelled"
        with anyio.fail_after(5):
            while {info.status for info in await rt.list()} != {"cancelled"}:
                await anyio.lowlevel.checkpoint()
