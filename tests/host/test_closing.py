"""Leaving a runtime: what runs is given its time, then cut off; the next life takes it up."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

from monolite import View, activity, attempt, errors, workflow
from tests.host import gate
from tests.host.homes import Home, waits_on
from tests.host.loops import on_both_loops

progress = View("progress", str)


class Act:
    """What a test's activity did, and what it is told to do."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.begun = anyio.Event()
        self.may_end = anyio.Event()


async def spent(act: Act) -> str:
    """Be an activity that runs until it may end."""
    mine = attempt()
    act.log.append(f"attempt {mine.number}{', interrupted' if mine.interrupted else ''}")
    act.begun.set()
    try:
        await act.may_end.wait()
    except BaseException:
        act.log.append("cut off")
        raise
    return "done"


@on_both_loops
async def test_an_activity_may_finish_within_the_grace(home: Home) -> None:
    act = Act()

    @activity
    async def work() -> str:
        return await spent(act)

    @workflow
    async def works() -> str:
        return await work()

    async with anyio.create_task_group() as group:

        async def soon() -> None:
            await anyio.sleep(0.02)
            act.may_end.set()

        async with home.runtime(works, shutdown_grace=5) as rt:
            await rt.spawn(works(), id="w")
            await act.begun.wait()
            group.start_soon(soon)
    async with home.runtime(works) as rt:
        assert await rt.handle("w").result() == "done"
    assert act.log == ["attempt 1"]


@on_both_loops
async def test_an_activity_that_is_cut_off_runs_again_and_is_told_so(home: Home) -> None:
    act = Act()

    @activity
    async def work() -> str:
        return await spent(act)

    @workflow
    async def works() -> str:
        return await work()

    async with home.runtime(works, shutdown_grace=0) as rt:
        await rt.spawn(works(), id="w")
        await act.begun.wait()
    assert act.log == ["attempt 1", "cut off"]
    act.may_end.set()
    async with home.runtime(works) as rt:
        handle = rt.handle("w")
        assert await handle.result() == "done"
        assert [line.kind for line in await handle.history() if line.key == "work#1"] == [
            "attempt stopped",
            "attempt started",
            "activity",
        ]
    assert act.log == ["attempt 1", "cut off", "attempt 2, interrupted"]


@on_both_loops
async def test_leaving_waits_until_what_it_cut_off_has_cleaned_up(home: Home) -> None:
    act = Act()

    @activity
    async def work() -> None:
        try:
            await spent(act)
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await anyio.sleep(0.001)
                act.log.append("cleaned up")

    @workflow
    async def works() -> None:
        await work()

    async with home.runtime(works, shutdown_grace=0) as rt:
        await rt.spawn(works())
        await act.begun.wait()
    assert act.log == ["attempt 1", "cut off", "cleaned up"]


@on_both_loops
async def test_an_activity_to_run_at_most_once_is_not_run_again(home: Home) -> None:
    act = Act()

    @activity(at_most_once=True)
    async def work() -> str:
        return await spent(act)

    @workflow
    async def works() -> str:
        try:
            return await work()
        except errors.Interrupted as interrupted:
            return f"{interrupted.name} was interrupted"

    async with home.runtime(works, shutdown_grace=0) as rt:
        await rt.spawn(works(), id="w")
        await act.begun.wait()
    async with home.runtime(works) as rt:
        assert await rt.handle("w").result() == "work was interrupted"
    assert act.log == ["attempt 1", "cut off"]


@on_both_loops
async def test_a_thread_is_left_behind_and_unheard(home: Home) -> None:
    begun, may_end = threading.Event(), threading.Event()
    log: list[str] = []

    @activity
    def work() -> str:
        log.append(f"attempt {attempt().number}")
        begun.set()
        may_end.wait(10)
        return f"from attempt {attempt().number}"

    @workflow
    async def works() -> str:
        return await work()

    async with home.runtime(works, shutdown_grace=0) as rt:
        handle = await rt.spawn(works(), id="w")
        await waits_on(handle, "running work#1")
        while not begun.is_set():
            await anyio.sleep(0)
    async with home.runtime(works) as rt:
        handle = rt.handle("w")
        await waits_on(handle, "running work#1 (attempt 2)")
        may_end.set()
        assert await handle.result() == "from attempt 2"
    assert log == ["attempt 1", "attempt 2"]


@on_both_loops
async def test_who_waits_for_an_answer_is_told_to_ask_again(home: Home) -> None:
    @workflow
    async def waiting() -> str:
        return await gate.wait_for_it()

    told: list[str] = []

    async def wait(ask: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(errors.CommitUnknown) as caught:
            await ask()
        told.append(str(caught.value))

    async with anyio.create_task_group() as group, home.runtime(waiting) as rt:
        handle = await rt.spawn(waiting(), id="w")
        await gate.reached(handle)
        group.start_soon(wait, handle.result)
        await anyio.lowlevel.checkpoint()
        await handle.describe()
    again = "open it again and ask again, with the same id"
    assert told == [f"the runtime was closed before the answer came; {again}"]


@on_both_loops
async def test_who_watches_a_view_is_told_so_too(home: Home) -> None:
    @workflow
    async def showing() -> None:
        progress.set("here")
        await gate.wait_for_it()

    seen: list[str] = []

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, home.runtime(showing) as rt:
            handle = await rt.spawn(showing())
            looking = anyio.Event()

            async def look_on() -> None:
                async for value in handle.watch(progress):
                    seen.append(value)
                    looking.set()

            async def watch() -> None:
                with pytest.raises(errors.CommitUnknown, match="the runtime was closed"):
                    await look_on()
                seen.append("told")

            group.start_soon(watch)
            await looking.wait()
    assert seen == ["here", "told"]


@on_both_loops
async def test_the_file_says_what_every_run_waits_for(home: Home) -> None:
    @workflow
    async def waiting() -> str:
        return await gate.wait_for_it()

    async with home.runtime(waiting) as rt:
        await gate.reached(await rt.spawn(waiting(), id="w"))
    async with home.runtime() as rt:
        info = await rt.describe("w")
        assert (info.status, info.waiting_on) == ("waiting", "signal gate")
    async with home.runtime(waiting) as rt:
        handle = rt.handle("w", waiting)
        await gate.open(handle, "later")
        assert await handle.result() == "later"


@on_both_loops
async def test_an_exception_of_the_program_comes_out_as_it_is(home: Home) -> None:
    async def program() -> None:
        async with home.runtime():
            msg = "mine"
            raise KeyError(msg)

    with pytest.raises(KeyError, match="mine"):
        await program()


@on_both_loops
async def test_a_time_limit_around_the_runtime_ends_it(home: Home) -> None:
    act = Act()

    @activity
    async def work() -> str:
        return await spent(act)

    @workflow
    async def works() -> str:
        return await work()

    with anyio.CancelScope() as scope:
        async with home.runtime(works, shutdown_grace=0) as rt:
            await rt.spawn(works(), id="w")
            await act.begun.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert act.log == ["attempt 1", "cut off"]
    act.may_end.set()
    async with home.runtime(works) as rt:
        assert await rt.handle("w").result() == "done"
    assert act.log == ["attempt 1", "cut off", "attempt 2, interrupted"]


@on_both_loops
async def test_a_cancelled_program_waits_no_longer_than_its_activities_run(home: Home) -> None:
    act = Act()

    @activity
    async def work() -> str:
        return await spent(act)

    @workflow
    async def works() -> str:
        return await work()

    async with anyio.create_task_group() as group:

        async def soon() -> None:
            await anyio.sleep(0.02)
            act.may_end.set()

        group.start_soon(soon)
        with anyio.fail_after(5), anyio.CancelScope() as scope:
            async with home.runtime(works, shutdown_grace="1m") as rt:
                await rt.spawn(works(), id="w")
                await act.begun.wait()
                scope.cancel()
                await anyio.sleep_forever()
    async with home.runtime(works) as rt:
        assert await rt.handle("w").result() == "done"


@on_both_loops
async def test_nothing_begins_while_the_runtime_is_left(home: Home) -> None:
    """A run whose activity ends within the grace goes on in the next life."""
    act, ran = Act(), list[str]()

    @activity
    async def work() -> str:
        return await spent(act)

    @activity
    async def next_work() -> str:
        ran.append(f"attempt {attempt().number}{', interrupted' if attempt().interrupted else ''}")
        return "and next"

    @workflow
    async def works() -> str:
        return await work() + " " + await next_work()

    async with anyio.create_task_group() as group:

        async def soon() -> None:
            await anyio.sleep(0.02)
            act.may_end.set()

        async with home.runtime(works, shutdown_grace=5) as rt:
            await rt.spawn(works(), id="w")
            await act.begun.wait()
            group.start_soon(soon)
    assert ran == []
    async with home.runtime(works) as rt:
        assert await rt.handle("w").result() == "done and next"
    assert ran == ["attempt 1"]
    assert act.log == ["attempt 1"]
