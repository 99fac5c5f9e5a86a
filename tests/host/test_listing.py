"""Lists: the runs that match, newest first, with the status that they have now."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import monolite
from monolite import Retry, Runtime, activity, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops


@workflow
async def waiting() -> str:
    return await gate.wait_for_it("done")


@workflow
async def failing() -> None:
    raise ValueError


@workflow
async def parent(children: int) -> None:
    await asyncio.gather(*(waiting() for _ in range(children)))


async def ids(rt: Runtime, **where: Any) -> list[str]:
    return [info.id for info in await rt.list(**where)]


@on_both_loops
async def test_by_status_in_every_state(home: Home, clock: ManualClock) -> None:
    began, go = anyio.Event(), anyio.Event()

    @activity
    async def slow() -> None:
        began.set()
        await go.wait()

    @activity(retry=Retry(first_delay="1h"))
    async def flaky() -> None:
        raise ValueError

    @workflow
    async def doing(what: str) -> None:
        match what:
            case "running":
                await slow()
            case "retrying":
                await flaky()
            case "sleeping":
                await asyncio.sleep(3600)
            case _:
                await gate.wait_for_it()

    async with home.runtime(doing, waiting, failing, clock=clock) as rt:
        for what in ("running", "retrying", "sleeping", "receiving"):
            await rt.spawn(doing(what), id=what)
        await began.wait()
        await waits_on(rt.handle("retrying"), "retrying flaky")
        await rt.spawn(waiting(), id="queued", delay="1d")
        for id in ("completed", "cancelled", "terminated"):
            await rt.spawn(waiting(), id=id)
        await gate.open(rt.handle("completed"))
        await rt.handle("cancelled").cancel()
        await rt.handle("terminated").terminate()
        await rt.spawn(failing(), id="failed")
        for id in ("completed", "cancelled", "terminated", "failed"):
            assert (await ended(rt.handle(id))).status == id

        for status in ("running", "queued", "completed", "cancelled", "terminated", "failed"):
            assert await ids(rt, status=status) == [status]
        assert await ids(rt, status="waiting") == ["receiving", "sleeping", "retrying"]
        assert await ids(rt, status="waiting", limit=2) == ["receiving", "sleeping"]
        for status in ("paused", "blocked", "diverged", "no such status"):
            assert await ids(rt, status=status) == []
        listed = await rt.list()
        assert [info.id for info in listed] == [
            "failed",
            "terminated",
            "cancelled",
            "completed",
            "queued",
            "receiving",
            "sleeping",
            "retrying",
            "running",
        ]
        assert listed == [await rt.describe(info.id) for info in listed]
        go.set()


async def test_what_changes_is_listed_anew(home: Home) -> None:
    async with home.runtime(waiting) as rt:
        run = await rt.spawn(waiting(), id="w")
        assert await ids(rt, status="waiting") == ["w"]
        await gate.open(run)
        await run.result()
        assert await ids(rt, status="waiting") == []
        assert await ids(rt, status="completed") == ["w"]


async def test_by_name_prefix_and_parent(home: Home) -> None:
    async with home.runtime(waiting, parent) as rt:
        await rt.spawn(parent(2), id="order-1")
        await rt.spawn(parent(1), id="order-2")
        await rt.spawn(waiting(), id="order")
        await rt.spawn(waiting(), id="letter")
        assert await ids(rt, name="parent") == ["order-2", "order-1"]
        assert await ids(rt, name="waiting", id_prefix="order") == [
            "order",
            "order-2/waiting#1",
            "order-1/waiting#2",
            "order-1/waiting#1",
        ]
        assert await ids(rt, id_prefix="order-1") == [
            "order-1/waiting#2",
            "order-1/waiting#1",
            "order-1",
        ]
        assert await ids(rt, parent="order-2") == ["order-2/waiting#1"]
        assert await ids(rt, parent="letter") == []
        assert await ids(rt, name="nobody") == []
        assert await ids(rt, name="waiting", status="waiting", limit=1) == ["letter"]


@pytest.mark.parametrize("odd", ["50%", "a_b", "*", "[x]", "ä", "'"])
async def test_a_prefix_means_what_it_says(home: Home, odd: str) -> None:
    async with home.runtime(waiting) as rt:
        await rt.spawn(waiting(), id=f"{odd}!")
        await rt.spawn(waiting(), id="500")
        await rt.spawn(waiting(), id="axb")
        await rt.spawn(waiting(), id="x")
        assert await ids(rt, id_prefix=odd) == [f"{odd}!"]


async def test_no_more_than_the_limit_newest_first(home: Home) -> None:
    async with home.runtime(waiting) as rt:
        for n in range(120):
            await rt.spawn(waiting(), id=str(n))
        assert await ids(rt) == [str(n) for n in range(119, 19, -1)]
        assert await ids(rt, limit=3) == ["119", "118", "117"]
        assert len(await ids(rt, limit=1_000)) == 120
        assert await ids(rt, limit=0) == []


async def test_a_run_out_of_memory_is_listed_like_any_other(home: Home) -> None:
    async with home.runtime(waiting, max_live=2) as rt:
        for n in range(20):
            await rt.spawn(waiting(), id=str(n))
        assert len(await ids(rt, status="waiting")) == 20
        assert {info.waiting_on for info in await rt.list()} == {"signal gate"}


async def test_a_detached_child_is_listed_with_its_parent(home: Home) -> None:
    @workflow
    async def detaching() -> None:
        await monolite.spawn(waiting(), id="kid", detached=True)

    async with home.runtime(detaching, waiting) as rt:
        await (await rt.spawn(detaching(), id="d")).result()
        assert await ids(rt, parent="d") == ["kid"]
