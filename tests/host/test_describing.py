"""Every open run says why it is not done; nothing waits silently."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from monolite import Retry, Runtime, Signal, activity, spawn, workflow
from tests.host import gate
from tests.host.clocks import START, ManualClock, look
from tests.host.homes import Home, waits_on
from tests.host.loops import on_both_loops

approval = Signal("approval", str)
advice = Signal("advice", str)


@workflow
async def child() -> str:
    return await approval.receive()


async def described(rt: Runtime, id: str) -> tuple[str, str | None]:
    info = await rt.describe(id)
    (listed,) = [i for i in await rt.list() if i.id == id]
    assert listed == info
    return info.status, info.waiting_on


@on_both_loops
async def test_a_run_that_waits_for_a_message(home: Home) -> None:
    async with home.runtime(child) as rt:
        await rt.spawn(child(), id="c")
        assert await described(rt, "c") == ("waiting", "signal approval")


@on_both_loops
async def test_a_run_that_waits_for_one_of_several_things(home: Home, clock: ManualClock) -> None:
    @workflow
    async def several() -> None:
        async with asyncio.timeout(90):
            await asyncio.gather(approval.receive(), advice.receive(), child())

    async with home.runtime(several, child, clock=clock) as rt:
        await rt.spawn(several(), id="s")
        assert await described(rt, "s") == (
            "waiting",
            "signal approval, signal advice, child child#1 until 2030-01-01T00:01:30.000+00:00",
        )


@on_both_loops
async def test_a_run_that_sleeps(home: Home, clock: ManualClock) -> None:
    @workflow
    async def sleeps() -> None:
        await asyncio.sleep(3_600)

    async with home.runtime(sleeps, clock=clock) as rt:
        await rt.spawn(sleeps(), id="s")
        expected = ("waiting", "sleeping until 2030-01-01T01:00:00.000+00:00")
        assert await described(rt, "s") == expected
    async with home.runtime(clock=clock) as rt:
        assert await described(rt, "s") == expected


@on_both_loops
async def test_a_run_that_sleeps_for_ever(home: Home, clock: ManualClock) -> None:
    @workflow
    async def sleeps() -> None:
        await anyio.sleep_forever()

    async with home.runtime(sleeps, clock=clock) as rt:
        await rt.spawn(sleeps(), id="s")
        await look(rt)
        clock.advance("2s")  # quiet for long enough to have its row written
        await look(rt)
        assert await described(rt, "s") == (
            "waiting",
            "sleeping until 9999-12-31T23:59:59.000+00:00",
        )


@on_both_loops
async def test_a_run_whose_activities_are_running(home: Home) -> None:
    may_end = anyio.Event()

    @activity
    async def work(number: int) -> int:
        await may_end.wait()
        return number

    @workflow
    async def works() -> int:
        return sum(await asyncio.gather(work(1), work(2)))

    async with home.runtime(works) as rt:
        handle = await rt.spawn(works(), id="w")
        assert await described(rt, "w") == (
            "running",
            "running work#1 (attempt 1), work#2 (attempt 1)",
        )
        may_end.set()
        assert await handle.result() == 3


@on_both_loops
async def test_a_run_whose_activity_waits_to_be_tried_again(home: Home, clock: ManualClock) -> None:
    @activity(retry=Retry(3, first_delay="1m", jitter=0))
    async def flaky() -> None:
        msg = "not yet"
        raise ValueError(msg)

    @workflow
    async def tries() -> None:
        await flaky()

    async with home.runtime(tries, clock=clock) as rt:
        handle = await rt.spawn(tries(), id="t")
        await waits_on(handle, "retrying")
        assert await described(rt, "t") == (
            "waiting",
            "retrying flaky, attempt 2 at 2030-01-01T00:01:00.000+00:00",
        )


@on_both_loops
async def test_a_run_that_waits_for_a_child_and_one_that_waits_for_another_run(
    home: Home,
) -> None:
    @workflow
    async def parent() -> str:
        return await child()

    @workflow
    async def follower() -> str:
        handle = await spawn(child(), id="c")
        return await handle.result()

    async with home.runtime(parent, follower, child) as rt:
        await rt.spawn(child(), id="c")
        await rt.spawn(parent(), id="p")
        await rt.spawn(follower(), id="f")
        assert await described(rt, "p") == ("waiting", "child child#1")
        assert await described(rt, "f") == ("waiting", "result result:c#1")
        assert (await rt.describe("p/child#1")).parent == "p"
        assert (await rt.describe("c")).parent is None


@on_both_loops
async def test_a_run_that_waits_for_what_never_comes(home: Home) -> None:
    @workflow
    async def lost() -> None:
        await asyncio.Event().wait()

    async with home.runtime(lost) as rt:
        await rt.spawn(lost(), id="l")
        assert await described(rt, "l") == ("waiting", "something that no entry will answer")


@on_both_loops
async def test_a_run_that_is_to_start_later(home: Home, clock: ManualClock) -> None:
    async with home.runtime(child, clock=clock) as rt:
        await rt.spawn(child(), id="c", delay="1d")
        assert await described(rt, "c") == (
            "queued",
            "an engine, from 2030-01-02T00:00:00+00:00",
        )


@on_both_loops
async def test_a_run_whose_code_is_not_here(home: Home, clock: ManualClock) -> None:
    @workflow
    async def sleeps() -> str:
        await asyncio.sleep(5)
        return "woken"

    async with home.runtime(sleeps, child, clock=clock) as rt:
        await rt.spawn(sleeps(), id="s")
        await rt.spawn(child(), id="c", delay=5)
    clock.advance(5)
    async with home.runtime(clock=clock) as rt:
        await look(rt)
        assert await described(rt, "s") == ("waiting", "no code for 'sleeps'")
        assert await described(rt, "c") == ("waiting", "no code for 'child'")
        assert [info.id for info in await rt.list(status="waiting")] == ["c", "s"]
    async with home.runtime(sleeps, child, clock=clock) as rt:
        assert await rt.handle("s").result() == "woken"
        await waits_on(rt.handle("c"), "signal approval")


@on_both_loops
async def test_a_run_that_has_ended_waits_for_nothing(home: Home) -> None:
    @workflow
    async def ends(well: bool) -> str:
        await gate.wait_for_it()
        if not well:
            msg = "badly"
            raise ValueError(msg)
        return "well"

    async with home.runtime(ends) as rt:
        for id in ("well", "badly", "cancelled", "terminated"):
            handle = await rt.spawn(ends(id == "well"), id=id)
            await gate.reached(handle)
            if id == "cancelled":
                await handle.cancel("enough")
            elif id == "terminated":
                await handle.terminate("at once")
            else:
                await gate.open(handle)
        infos = {info.id: info for info in await rt.list()}
        found = {id: (i.status, i.waiting_on, i.error) for id, i in infos.items()}
        assert found == {
            "well": ("completed", None, None),
            "badly": ("failed", None, "ValueError: badly"),
            "cancelled": (
                "cancelled",
                None,
                "Cancelled: workflow 'cancelled' was cancelled: enough",
            ),
            "terminated": (
                "terminated",
                None,
                "Terminated: workflow 'terminated' was terminated: at once",
            ),
        }
        assert await rt.list(status="waiting") == []


@on_both_loops
async def test_times_are_those_of_the_engine_s_clock(home: Home, clock: ManualClock) -> None:
    async with home.runtime(child, clock=clock) as rt:
        handle = await rt.spawn(child(), id="c", attributes={"a": 1})
        clock.advance("1h")
        await handle.signal(approval, "yes")
        info = await handle.describe()
        assert info.created_at == START
        assert info.updated_at == START + timedelta(hours=1)
        assert info.created_at.tzinfo is UTC
        assert (info.name, info.version, info.generation) == ("child", 1, 1)
        assert info.attributes == {"a": 1}


@on_both_loops
async def test_a_long_activity_shows_in_the_file(home: Home, clock: ManualClock) -> None:
    may_end = anyio.Event()

    @activity
    async def work() -> str:
        await may_end.wait()
        return "done"

    @workflow
    async def works() -> str:
        return await work()

    async def lines(handle: Any) -> list[tuple[str, datetime]]:
        return [(line.kind, line.at) for line in await handle.history() if line.key == "work#1"]

    async with home.runtime(works, clock=clock) as rt:
        handle = await rt.spawn(works())
        await waits_on(handle, "running work#1")
        assert await lines(handle) == []
        clock.advance("2s")
        await look(rt)
        assert await lines(handle) == [("attempt started", START)]
        may_end.set()
        assert await handle.result() == "done"
        assert [kind for kind, _ in await lines(handle)] == ["attempt started", "activity"]
