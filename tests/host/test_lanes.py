"""Lanes: what an activity does to its task, no later activity feels."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from monolite import Handle, Runtime, Workflow, activity, errors, workflow
from tests.host.homes import Home
from tests.host.loops import on_both_loops

OTHERS = 20
"""More activities than the lane in question could be hidden among."""


class Stubborn:
    """An activity that is cancelled, and takes its time."""

    def __init__(self) -> None:
        self.began, self.go, self.left = anyio.Event(), anyio.Event(), anyio.Event()

        @activity
        async def endless() -> str:
            self.began.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await self.go.wait()
                self.left.set()
            return "unheard"

        @activity
        async def quick(number: int) -> int:
            return number

        @activity
        async def waiting(number: int) -> int:
            await anyio.lowlevel.checkpoint()
            return number

        @workflow
        async def given_up() -> None:
            await endless()

        @workflow
        async def one_of_each(number: int) -> list[int]:
            return [await quick(number), await waiting(number)]

        self.given_up = given_up
        self.one_of_each = one_of_each

    async def give_up(self, rt: Runtime) -> None:
        """Cancel a run while its activity is running; that goes on until `go`."""
        run = await rt.spawn(self.given_up())
        await self.began.wait()
        await run.cancel()
        with pytest.raises(errors.Cancelled):
            await run.result()

    async def spawn_others(self, rt: Runtime) -> list[Handle[list[int]]]:
        return [await rt.spawn(self.one_of_each(n)) for n in range(OTHERS)]


@on_both_loops
async def test_an_activity_that_takes_its_time_to_stop_holds_up_no_other(home: Home) -> None:
    stubborn = Stubborn()
    async with home.runtime(stubborn.given_up, stubborn.one_of_each) as rt:
        await stubborn.give_up(rt)
        with anyio.fail_after(10):
            for n, run in enumerate(await stubborn.spawn_others(rt)):
                assert await run.result() == [n, n]
        stubborn.go.set()


@on_both_loops
async def test_once_it_has_stopped_its_lane_holds_up_no_other_either(home: Home) -> None:
    stubborn = Stubborn()
    async with home.runtime(stubborn.given_up, stubborn.one_of_each) as rt:
        await stubborn.give_up(rt)
        stubborn.go.set()
        await stubborn.left.wait()
        with anyio.fail_after(10):
            for n, run in enumerate(await stubborn.spawn_others(rt)):
                assert await run.result() == [n, n]


@on_both_loops
async def test_what_is_launched_as_it_stops_is_not_lost(home: Home) -> None:
    stubborn = Stubborn()
    async with home.runtime(stubborn.given_up, stubborn.one_of_each) as rt:
        await stubborn.give_up(rt)
        runs = await stubborn.spawn_others(rt)
        stubborn.go.set()
        with anyio.fail_after(10):
            for n, run in enumerate(runs):
                assert await run.result() == [n, n]


async def test_a_swallowed_cancellation_is_not_felt_by_the_next_activity(home: Home) -> None:
    began, left = anyio.Event(), anyio.Event()

    @activity
    async def deaf() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            left.set()

    @activity(retry=False)
    async def grouping() -> list[str]:
        this = asyncio.current_task()
        assert this is not None
        assert this.cancelling() == 0
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing())
        return [str(error) for error in caught.value.exceptions]

    async def failing() -> None:
        message = "from a task of the group"
        raise ValueError(message)

    @workflow
    async def given_up() -> None:
        await deaf()

    @workflow
    async def working() -> list[str]:
        return await grouping()

    async with home.runtime(given_up, working) as rt:
        run = await rt.spawn(given_up())
        await began.wait()
        await run.cancel()
        await left.wait()
        for _ in range(OTHERS):
            assert await (await rt.spawn(working())).result() == ["from a task of the group"]


@on_both_loops
async def test_an_activity_that_was_given_up_before_it_began_is_not_run(home: Home) -> None:
    ran: list[str] = []

    @activity
    async def unwanted() -> None:
        ran.append("!")

    @activity
    async def wanted() -> str:
        return "wanted"

    @workflow
    async def fickle() -> str:
        task = asyncio.ensure_future(unwanted())
        await asyncio.sleep(0)
        task.cancel()
        return await wanted()

    async with home.runtime(fickle) as rt:
        runs = [await rt.spawn(fickle()) for _ in range(OTHERS)]
        assert [await run.result() for run in runs] == ["wanted"] * OTHERS

    assert ran == []


ODD: dict[str, BaseException] = {
    "error": ValueError("while stopping"),
    "group": ExceptionGroup("while stopping", [ValueError(), TypeError()]),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator exit": GeneratorExit(),
}


def endless_then(raised: str, began: anyio.Event) -> Workflow[[], None]:
    """Return a workflow whose activity raises something of its own when it is cancelled."""

    @activity
    async def endless() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ODD[raised]

    @workflow
    async def working() -> None:
        await endless()

    return working


@pytest.mark.parametrize("raised", ODD)
@on_both_loops
async def test_what_an_activity_raises_as_it_is_stopped_does_no_harm(
    home: Home, raised: str
) -> None:
    began = anyio.Event()
    working = endless_then(raised, began)

    @activity
    async def act() -> str:
        return "unharmed"

    @workflow
    async def other() -> str:
        return await act()

    async with home.runtime(working, other) as rt:
        run = await rt.spawn(working())
        await began.wait()
        await run.cancel()
        with pytest.raises(errors.Cancelled):
            await run.result()
        for _ in range(OTHERS):
            assert await (await rt.spawn(other())).result() == "unharmed"


@pytest.mark.parametrize("raised", ODD)
@on_both_loops
async def test_what_an_activity_raises_as_the_runtime_is_left_does_no_harm(
    home: Home, raised: str
) -> None:
    began = anyio.Event()
    working = endless_then(raised, began)

    async with home.runtime(working, shutdown_grace=0) as rt:
        run = await rt.spawn(working(), id="w")
        await began.wait()
        kinds = [x.kind for x in await run.history()]

    async with home.runtime() as rt:
        left = [x.kind for x in await rt.handle("w").history()]
        assert left == [*kinds, "attempt stopped"]
