"""Fewer runs in memory than are open: the outcomes are the same."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from monolite import Retry, Signal, View, activity, attempt, errors, now, random, spawn, workflow
from tests.host.clocks import ManualClock, look
from tests.host.homes import Home
from tests.host.loops import on_both_loops

RUNS = 50

approval = Signal("approval", str)
progress = View("progress", str)

ran: list[str] = []


@activity(retry=Retry(3, first_delay="10s", jitter=0))
async def work(run: int, step: int) -> str:
    ran.append(f"work {run} {step} attempt {attempt().number}")
    await anyio.sleep(0)
    if run % 5 == step and attempt().number == 1:
        msg = f"{run} fails once"
        raise ValueError(msg)
    return f"{run}.{step}"


@workflow
async def child(run: int) -> str:
    return f"child of {run} heard {await approval.receive()}"


@workflow
async def story(run: int) -> list[str]:
    """Use a little of everything, a different mix for each run."""
    seen = [str(random().randrange(1_000))]
    progress.set("working")
    seen += await asyncio.gather(*(work(run, step) for step in range(3)))
    await asyncio.sleep(run % 7)
    seen.append(f"{now():%M:%S}")
    if run % 3 == 0:
        handle = await spawn(child(run), id=f"child-{run}")
        seen.append(await handle.result())
    try:
        async with asyncio.timeout(60 if run % 4 else 5):
            seen.append(await approval.receive())
    except TimeoutError:
        seen.append("no approval")
    progress.set("done")
    if run % 10 == 9:
        msg = f"{run} ends badly"
        raise ValueError(msg)
    return seen


async def told(home: Home, clock: ManualClock, max_live: int) -> dict[str, Any]:
    """Tell the story of fifty runs, and return everything that came of it."""
    ran.clear()
    found: dict[str, Any] = {}
    async with home.runtime(story, child, clock=clock, max_live=max_live) as rt:
        handles = [await rt.spawn(story(run), id=f"run-{run}") for run in range(RUNS)]
        for second in range(40):
            while await rt.list(status="running"):
                await look(rt)
            clock.advance(1)
            await look(rt)
            if second == 20:
                for run in range(0, RUNS, 3):
                    assert await rt.handle(f"child-{run}").signal(approval, f"hello {run}")
            if second == 30:
                for handle in handles:
                    await handle.signal(approval, "yes", id="once")
        for handle in handles:
            try:
                outcome: object = await handle.result()
            except errors.WorkflowFailed as failed:
                outcome = str(failed.cause)
            history = await handle.history()
            found[handle.id] = [
                outcome,
                await handle.view(progress),
                sorted((line.kind, line.key, str(line.output)) for line in history),
            ]
        found["statuses"] = sorted((info.id, info.status) for info in await rt.list(limit=1_000))
    found["ran"] = sorted(ran)
    return found


@pytest.mark.parametrize("max_live", [1, 3])
@pytest.mark.parametrize("place", ["file", "memory"])
async def test_fifty_interleaved_runs_end_as_if_all_were_in_memory(
    tmp_path: Any, place: str, max_live: int
) -> None:
    homes = [Home(tmp_path / f"{n}.db" if place == "file" else None) for n in range(2)]
    roomy = await told(homes[0], ManualClock(), 10_000)
    cramped = await told(homes[1], ManualClock(), max_live)
    assert cramped == roomy
    assert len(roomy["ran"]) == 3 * RUNS + sum(run % 5 < 3 for run in range(RUNS))
    assert roomy["statuses"][0] == ("child-0", "completed")


@on_both_loops
async def test_clean_up_code_that_runs_as_a_run_leaves_memory_takes_no_effect(home: Home) -> None:
    cleaned: list[str] = []

    @activity
    async def clean(run: int) -> None:
        cleaned.append(f"cleaned {run}")

    @workflow
    async def tidy(run: int) -> str:
        try:
            return await approval.receive()
        finally:
            await clean(run)

    async with home.runtime(tidy, max_live=2) as rt:
        handles = [await rt.spawn(tidy(run)) for run in range(10)]
        await look(rt)
        assert cleaned == []
        for handle in handles:
            await handle.signal(approval, "done")
        assert [await handle.result() for handle in handles] == ["done"] * 10
    assert sorted(cleaned) == sorted(f"cleaned {run}" for run in range(10))


@on_both_loops
async def test_a_run_that_left_memory_during_its_activity_gets_the_outcome(home: Home) -> None:
    may_end, begun = anyio.Event(), list[int]()

    @activity
    async def slow(run: int) -> int:
        begun.append(run)
        await may_end.wait()
        return run

    @workflow
    async def waits(run: int) -> int:
        return await slow(run)

    async with home.runtime(waits, max_live=1) as rt:
        handles = [await rt.spawn(waits(run)) for run in range(10)]
        while len(begun) < 10:
            await look(rt)
        may_end.set()
        assert [await handle.result() for handle in handles] == list(range(10))
    assert sorted(begun) == list(range(10))


@on_both_loops
async def test_runs_out_of_memory_still_say_why_they_wait(home: Home, clock: ManualClock) -> None:
    @workflow
    async def sleeps(run: int) -> int:
        await asyncio.sleep(run)
        return run

    async with home.runtime(sleeps, clock=clock, max_live=1) as rt:
        handles = [await rt.spawn(sleeps(60 + run), id=f"s-{run}") for run in range(5)]
        await look(rt)
        for run, handle in enumerate(handles):
            info = await handle.describe()
            assert info.status == "waiting"
            assert info.waiting_on == f"sleeping until 2030-01-01T00:01:0{run}.000+00:00"
        assert len(await rt.list(status="waiting")) == 5
        clock.advance("2m")
        await look(rt)
        assert [await handle.result() for handle in handles] == [60, 61, 62, 63, 64]


@on_both_loops
async def test_cancelling_a_run_that_left_memory_cleans_up(home: Home) -> None:
    cleaned: list[int] = []

    @activity
    async def clean(run: int) -> None:
        cleaned.append(run)

    @workflow
    async def tidy(run: int) -> None:
        try:
            await asyncio.sleep(1_000_000)
        finally:
            await clean(run)

    async with home.runtime(tidy, max_live=1) as rt:
        handles = [await rt.spawn(tidy(run)) for run in range(5)]
        await look(rt)
        for handle in handles:
            await handle.cancel("enough")
        for handle in handles:
            with pytest.raises(errors.Cancelled, match="enough"):
                await handle.result()
    assert sorted(cleaned) == [0, 1, 2, 3, 4]
