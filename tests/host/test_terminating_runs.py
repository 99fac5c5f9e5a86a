"""Terminating: a run ends at once, without its clean-up code."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from monolite import Handle, Retry, activity, attempt, errors, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops


async def terminated(run: Handle[Any], reason: str = "") -> None:
    """Terminate the run and see it end so."""
    assert (await run.terminate(reason)).accepted
    with pytest.raises(errors.Terminated) as caught:
        await run.result()
    assert (caught.value.id, caught.value.reason) == (run.id, reason)
    info = await run.describe()
    assert (info.status, info.waiting_on) == ("terminated", None)
    assert info.error == f"Terminated: {caught.value}"


@on_both_loops
async def test_its_activity_is_stopped_and_its_clean_up_is_not_run(home: Home) -> None:
    began, stopped = anyio.Event(), anyio.Event()
    cleaned: list[str] = []

    @activity
    async def endless() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    @activity
    async def clean_up() -> None:
        cleaned.append("!")

    @workflow
    async def working() -> None:
        try:
            await endless()
        finally:
            await clean_up()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await began.wait()
        await terminated(run, "at once")
        await stopped.wait()
        kinds = [x.kind for x in await run.history()]

    assert cleaned == []
    assert kinds == ["started", "terminate", "terminated"]


async def test_a_run_that_swallows_cancellation_can_be_terminated(home: Home) -> None:
    @workflow
    async def stubborn() -> None:
        while True:
            try:
                await gate.wait_for_it()
            except asyncio.CancelledError:
                continue

    async with home.runtime(stubborn) as rt:
        run = await rt.spawn(stubborn())
        await run.cancel()
        await gate.reached(run)
        await terminated(run, "enough")


@pytest.mark.parametrize("state", ["sleep", "receive", "child", "retry", "delayed"])
async def test_in_every_state(home: Home, clock: ManualClock, state: str) -> None:
    numbers: list[int] = []

    @activity(retry=Retry(first_delay=60))
    async def flaky() -> None:
        numbers.append(attempt().number)
        raise ValueError

    @workflow
    async def child() -> None:
        await gate.wait_for_it()

    @workflow
    async def working() -> None:
        match state:
            case "sleep":
                await asyncio.sleep(60)
            case "child":
                await child()
            case "retry":
                await flaky()
            case _:
                await gate.wait_for_it()

    async with home.runtime(working, child, clock=clock) as rt:
        delay = "1m" if state == "delayed" else None
        run = await rt.spawn(working(), id="w", delay=delay)
        words = {
            "sleep": "sleeping",
            "receive": "signal gate",
            "child": "child child#1",
            "retry": "retrying flaky",
            "delayed": "an engine, from",
        }
        await waits_on(run, words[state])
        await terminated(run, state)
        if state == "child":
            assert (await ended(rt.handle("w/child#1"))).status == "cancelled"
        lines = len(await run.history())
        await clock.skip(rt, "1h")
        assert len(await run.history()) == lines

    assert numbers == ([1] if state == "retry" else [])


async def test_in_the_next_life(home: Home) -> None:
    @workflow
    async def working() -> None:
        await gate.wait_for_it()

    async with home.runtime(working) as rt:
        await rt.spawn(working(), id="w")

    async with home.runtime(working) as rt:
        await terminated(rt.handle("w"))

    async with home.runtime(working) as rt:
        assert (await rt.describe("w")).status == "terminated"


async def test_without_its_code(home: Home) -> None:
    @workflow
    async def working() -> None:
        await gate.wait_for_it()

    async with home.runtime(working) as rt:
        await rt.spawn(working(), id="w")

    async with home.runtime() as rt:
        await terminated(rt.handle("w"), "for good")

    async with home.runtime(working) as rt:
        assert (await rt.describe("w")).status == "terminated"


async def test_once_it_has_ended_does_nothing(home: Home) -> None:
    @workflow
    async def quick() -> str:
        return "done"

    async with home.runtime(quick) as rt:
        run = await rt.spawn(quick())
        assert await run.result() == "done"
        answer = await run.terminate()
        assert (answer.accepted, answer.reason) == (False, "the run has completed")
        assert await run.result() == "done"


async def test_terminated_twice_the_first_reason_stands(home: Home) -> None:
    @workflow
    async def working() -> None:
        await gate.wait_for_it()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await asyncio.gather(*(run.terminate(str(n)) for n in range(10)))
        with pytest.raises(errors.Terminated) as caught:
            await run.result()
        assert caught.value.reason == "0"
        assert not await run.terminate()


async def test_in_the_midst_of_its_clean_up(home: Home) -> None:
    began, stopped = anyio.Event(), anyio.Event()

    @activity
    async def undo() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    @workflow
    async def working() -> None:
        try:
            await gate.wait_for_it()
        finally:
            await undo()

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        await run.cancel()
        await began.wait()
        await terminated(run, "now")
        await stopped.wait()
